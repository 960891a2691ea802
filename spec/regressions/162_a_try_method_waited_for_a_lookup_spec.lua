-- try_send_to, try_send_to_vectored and try_sendmsg looked a name up, and waited for that, or raised where nothing can.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a try_ method that sends to a name", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function check(op, address, value, err)
    assert.is_nil(value)
    assert.equal("EINVAL", err.code)
    assert.equal(op, err.op)
    assert.equal(address, err.address)
    assert.matches("a name would have to be looked up", err.message)
    assert.matches("162_", err.where)
  end

  it("fails at once, wherever it is called", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    local ran = false
    local other = tcpnet.spawn(function() ran = true end)
    for _, socket in ipairs { udp, sock } do
      check("send_to", "localhost:9", socket:try_send_to("x", "localhost:9"))
      check("send_to", "localhost", socket:try_send_to("x", "localhost", 9))
      check("send_to_vectored", "localhost:9", socket:try_send_to_vectored({ "x" }, "localhost:9"))
      check("sendmsg", "localhost:9", socket:try_sendmsg { data = "x", address = "localhost:9" })
      ;("x"):gsub("x", function() -- where nothing can wait
        check("send_to", "localhost:9", socket:try_send_to("x", "localhost:9"))
        assert.equal(1, socket:try_send_to("x", tostring(udp:local_addr())))
      end)
    end
    assert.is_false(ran)
    other:cancel()
  end)

  it("takes addresses in words, and paths", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local addr = udp:local_addr()
    assert.equal(1, udp:try_send_to("x", tostring(addr)))
    assert.equal(1, udp:try_send_to_vectored({ "x" }, addr:ip(), addr:port()))
    assert.equal(1, udp:try_sendmsg { data = "x", address = tostring(addr) })
    local name = ("@tcpnet-%d-try"):format(tcpnet.private.pid())
    local datagram <close> = assert(tcpnet.UnixDatagram.bind(name))
    assert.equal(1, datagram:try_send_to("x", name))
  end)
end)
