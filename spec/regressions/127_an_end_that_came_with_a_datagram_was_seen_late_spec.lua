-- Where a socket of datagrams was shut down for reading by another descriptor of it, and a datagram had come before in
-- the same turn, who read the datagram was not told of the end: up to a second later the reactor looked by itself.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("the end of a socket of datagrams", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, form in ipairs { "recv", "recv_from", "recv_many", "recvmsg" } do
    it("is seen behind a datagram that came in the same turn: " .. form, tcp.in_task(function()
      local peer, socket = assert(tcpnet.Socket.pair("unix", "dgram"))
      local clone = assert(socket:try_clone())
      local _guard <close> = tcp.guard(peer, socket, clone)
      local function receive()
        return socket[form](socket, form == "recv_many" and 5 or nil)
      end
      local reading <close> = tcpnet.spawn(function()
        return receive() ~= nil, receive()
      end)
      tcpnet.sleep(0.01)
      assert(peer:send "last")
      assert(clone:shutdown "read")
      for _ = 1, 20 do
        tcpnet.sleep(0.001)
      end
      assert.equal("done", reading:status())
      assert.same({ true, true, nil, n = 3 }, table.pack(reading:join()))
    end))
  end
end)
