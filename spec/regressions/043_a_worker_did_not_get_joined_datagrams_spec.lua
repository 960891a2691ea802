-- A UDP socket keeps the datagrams that came joined until they are received. into_fd refuses meanwhile; sent to a
-- worker, the socket left them behind.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local UdpSocket = tcpnet.UdpSocket

describe("a UDP socket that keeps datagrams", function()
  it("goes to a worker once they are received", tcp.in_task(function()
    if not tcpnet.features().udp_gro then
      return pending "the kernel joins no datagrams"
    end
    local here = assert(UdpSocket.bind "127.0.0.1:0")
    local there = assert(UdpSocket.bind "127.0.0.1:0")
    local _both <close> = tcp.guard(here, there)
    assert(here:set_udp_gro(true))
    assert(there:connect(here:local_addr()))
    local sent = { "datagram 1", "datagram 2", "datagram 3" }
    assert.equal(3, there:send_many(sent))
    local workers <close> = assert(tcpnet.workers(1, function(parent)
      local socket <close> = parent:recv()
      return socket:recv()
    end))
    assert.equal(sent[1], here:recv())
    local refused, into_fd = here:into_fd()
    if not refused then -- else the kernel did not join them
      assert.equal("EBUSY", into_fd.code)
      local ok, err = workers[1]:send(here)
      assert.is_nil(ok)
      assert.equal("EBUSY", err.code)
      assert.equal(into_fd.message, err.message)
      assert.equal(sent[2], here:recv())
    end
    assert.equal(sent[3], here:recv())
    assert.is_true(workers[1]:send(here))
    assert.equal(4, there:send "last")
    assert.same({ true, "last" }, { workers[1]:join() })
  end))
end)
