-- recv and recvmsg give out what a stream has read ahead. Where Lua had no memory for it, it came back behind the bytes
-- that had come after it, or not at all.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  local receive = {
    recv = function(socket) return socket:recv(300) end,
    recvmsg = function(socket)
      local message <close> = assert(socket:recvmsg { data = 300 })
      return message.data
    end,
  }
  local sent = {}
  for i = 1, 100 do
    sent[i] = ("%09d,"):format(i)
  end
  sent = table.concat(sent)
  local failures = 0
  for name, once in pairs(receive) do
    local nth, hits = 0
    repeat
      nth = nth + 1
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local socket = assert(stream:as_socket())
      assert(peer:write(sent))
      local first, next = assert(stream:read_exact(10)), "" -- all of it is in the library now
      _, hits = attempt(function() next = once(socket) end, nth, true)
      failures = failures + hits
      peer:close()
      local all = first .. next .. stream:read_to_end()
      assert(all == sent, ("%s, allocation %d: %s"):format(name, nth, all))
      socket:close()
      stream:close()
    until hits == 0
  end
  assert(failures > 2)
  print "in order" ]]

describe("bytes read ahead for which Lua has no memory", function()
  it("stay before those that came after them", function()
    local output = program.in_host(script)
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("in order\n", output)
  end)
end)
