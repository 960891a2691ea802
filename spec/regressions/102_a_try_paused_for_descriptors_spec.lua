-- For a tenth of a second after an accept that lacked a descriptor, try_accept said EAGAIN whatever there was. Under a
-- Poll, which tells of a connection once, that was the last that its program heard of it.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  local listener, connect = (%s)()
  local poll = assert(tcpnet.Poll.new())
  assert(poll:registry():register(listener, 1, "r"))
  local client, events = assert(connect()), tcpnet.Events.new(4)
  print(poll:poll(events, 5))
  local filling = {}
  repeat
    local full = tcpnet.Socket.new("unix", "dgram")
    filling[#filling + 1] = full
  until not full
  local none, err = listener:try_accept()
  print(none, err.code)
  none, err = listener:try_accept()
  print(none, err.code) -- as long as it is so
  for _, object in ipairs(filling) do
    object:close()
  end
  print(listener:try_accept() ~= nil, select(2, listener:try_accept()).code)
]]

local kinds = {
  TcpListener = [[function()
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    return listener, function() return tcpnet.TcpStream.connect(listener:local_addr()) end
  end]],
  UnixListener = [[function()
    local listener = assert(tcpnet.UnixListener.bind "")
    return listener, function() return tcpnet.UnixStream.connect(listener:local_addr()) end
  end]],
  Socket = [[function()
    local listener = assert(assert(tcpnet.Socket.new("inet", "stream"):bind "127.0.0.1:0"):listen())
    return listener, function() return tcpnet.TcpStream.connect(listener:local_addr()) end
  end]],
}

describe("try_accept without a descriptor left", function()
  for kind, make in pairs(kinds) do
    it("says so, and gives the connection once there is one: " .. kind, function()
      if program.needs_descriptors then
        return pending(program.needs_descriptors)
      end
      local folder <close> = program.folder()
      local path = program.write(folder.path .. "/script.lua", script:format(make))
      assert.same({ 0, "1\nnil\tEMFILE\nnil\tEMFILE\ntrue\tEAGAIN\n" },
        { program.shell(program.limited(path, 64)) })
    end)
  end
end)
