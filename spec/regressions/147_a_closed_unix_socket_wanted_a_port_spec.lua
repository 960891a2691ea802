-- A closed socket has no family, and a path was taken for an address without its port: EINVAL in place of CLOSED. And
-- a name was looked up first; the try_ forms of sending said that it cannot be looked up, and given a path or an
-- address in words their error bore the try_ form's name, as no other error does.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a closed socket given an address in words", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local ARGUMENTS = {
    connect = function(address) return address end,
    send_to = function(address) return "x", address end,
    send_to_vectored = function(address) return { "x" }, address end,
    sendmsg = function(address) return { data = "x", address = address } end,
  }

  -- Of the methods, or of the try_ forms that they have, whose errors bear the same names.
  local function is_closed(prefix, socket, class, address)
    socket:close()
    for name, arguments in pairs(ARGUMENTS) do
      if prefix == "" or name ~= "connect" then
        local result, err = socket[prefix .. name](socket, arguments(address))
        assert.is_nil(result)
        assert.same({ "CLOSED", name, ("the %s is closed"):format(class) }, { err.code, err.op, err.message })
      end
    end
  end

  it("answers CLOSED, be it a path or a name", function()
    is_closed("", assert(tcpnet.UnixDatagram.unbound()), "UnixDatagram", "/nowhere/socket")
    is_closed("", assert(tcpnet.Socket.new("unix", "dgram")), "Socket", "/nowhere/socket")
    is_closed("", assert(tcpnet.UdpSocket.new_v4()), "UdpSocket", "no-such-host.invalid:1")
    is_closed("", assert(tcpnet.Socket.new("inet", "dgram")), "Socket", "no-such-host.invalid:1")
  end)

  it("answers CLOSED to a try_ form by the operation's name, whatever the address is", function()
    for _, address in ipairs { "no-such-host.invalid:1", "127.0.0.1:1", tcpnet.SocketAddr.new("127.0.0.1", 1) } do
      is_closed("try_", assert(tcpnet.UdpSocket.new_v4()), "UdpSocket", address)
      is_closed("try_", assert(tcpnet.Socket.new("inet", "dgram")), "Socket", address)
    end
    is_closed("try_", assert(tcpnet.UnixDatagram.unbound()), "UnixDatagram", "/nowhere/socket")
  end)
end)
