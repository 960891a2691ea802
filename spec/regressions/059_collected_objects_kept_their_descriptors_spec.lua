-- What the collector had taken kept its descriptor until the reactor next turned: a port that nothing held any more was
-- in use, and a loop of sockets ran out of descriptors.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

describe("an object that the collector took", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function collect()
    collectgarbage()
    collectgarbage()
  end

  it("has left its port when the next one binds it", function()
    local address = assert(tcpnet.TcpListener.bind "127.0.0.1:0"):local_addr()
    collect()
    local again = assert(tcpnet.TcpListener.bind(address))
    again:close()
  end)

  it("has done so also for a socket that was there before", function()
    local socket <close> = assert(tcpnet.UdpSocket.new_v4())
    local address = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"):local_addr()
    collect()
    assert(socket:bind(address))
  end)

  it("has closed its descriptor for whatever opens one", function()
    if program.needs_descriptors then
      return pending(program.needs_descriptors)
    end
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      tcpnet.sleep(0)
      local listener = assert(tcpnet.UnixListener.bind(arg[1]))
      local socket <close> = assert(tcpnet.Socket.new("inet", "dgram"))
      local opens = {
        function() return tcpnet.UdpSocket.bind "127.0.0.1:0" end,
        function() return tcpnet.Socket.new("inet", "dgram") end,
        function() return tcpnet.Socket.pair("unix", "stream") end,
        function() return tcpnet.UnixStream.pair() end,
        function() return tcpnet.pipe() end,
        function() return socket:try_clone() end,
        function() return tcpnet.Poll.new() end,
        function() return tcpnet.UdpSocket.from_fd(tcpnet.UdpSocket.new_v4():into_fd()) end,
        function() return tcpnet.pipe.open_receiver(arg[2]) end,
        function()
          local client <close> = assert(tcpnet.UnixSocket.new_stream())
          client:set_linger(0)
          assert(client:connect(arg[1]))
          return listener:try_accept()
        end,
      }
      os.execute("mkfifo " .. arg[2])
      for number, open in ipairs(opens) do
        for _ = 1, 40 do
          local object, err = open()
          if not object then
            print(number, err)
            break
          end
          object = nil
          collectgarbage()
          collectgarbage()
        end
      end
    ]])
    local _, output = program.shell(("ulimit -n 30; timeout 20 %s %s %s %s"):format(program.quote(program.interpreter),
      program.quote(path), folder.path .. "/socket", folder.path .. "/fifo"))
    assert.equal("", output)
  end)
end)
