-- With udp_gro a peek took the datagram out of the kernel and kept it: a task that had waited for it slept on, in recv
-- or in readable, for no event tells of what is kept.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"
local udp = require "spec.support.udp"

local FORMS = {
  try_peek = "recv",
  try_peek_from = "recv_from",
  try_peek_sender = "recvmsg",
}

describe("a datagram that was peeked at", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for peek, receive in pairs(FORMS) do
    it("wakes who waits for it: " .. peek, tcp.in_task(function()
      local a, b, _guard <close> = udp.connected()
      if not b:set_udp_gro(true) then
        return pending "needs UDP_GRO"
      end
      local ready <close> = tcpnet.spawn(b.readable, b)
      local receiving <close> = tcpnet.spawn(b[receive], b)
      tcpnet.sleep(0.01)
      assert(a:send "one")
      assert(b[peek](b))
      assert.is_true((ready:join(5)))
      local ok, data = receiving:join(5)
      assert.is_true(ok)
      assert.equal("one", type(data) == "string" and data or data.data)
      tcp.fails("EAGAIN", b:try_recv())
    end))
  end
end)
