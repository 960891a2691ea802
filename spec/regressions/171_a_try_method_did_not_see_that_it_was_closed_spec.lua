-- The try_ forms of sending, given a name on a closed socket, said that a name cannot be looked up, in place of CLOSED;
-- given a path or an address in words their error bore the try_ form's name, as no other error does.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a try_ form of sending on a closed socket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function is_closed(socket, class, address)
    socket:close()
    for name, call in pairs {
      send_to = function() return socket:try_send_to("x", address) end,
      send_to_vectored = function() return socket:try_send_to_vectored({ "x" }, address) end,
      sendmsg = function() return socket:try_sendmsg { data = "x", address = address } end,
    } do
      local result, err = call()
      assert.is_nil(result)
      assert.same({ "CLOSED", name, ("the %s is closed"):format(class) }, { err.code, err.op, err.message })
    end
  end

  it("answers CLOSED by the operation's name, whatever the address is", function()
    for _, address in ipairs { "no-such-host.invalid:1", "127.0.0.1:1", tcpnet.SocketAddr.new("127.0.0.1", 1) } do
      is_closed(assert(tcpnet.UdpSocket.new_v4()), "UdpSocket", address)
      is_closed(assert(tcpnet.Socket.new("inet", "dgram")), "Socket", address)
    end
    is_closed(assert(tcpnet.UnixDatagram.unbound()), "UnixDatagram", "/nowhere/socket")
  end)
end)
