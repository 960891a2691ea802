-- A closed socket has no family, and a path was taken for an address without its port: EINVAL in place of CLOSED. And
-- a name was looked up first.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a closed socket given an address in words", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function is_closed(socket, class, address)
    socket:close()
    for name, call in pairs {
      connect = function() return socket:connect(address) end,
      send_to = function() return socket:send_to("x", address) end,
      send_to_vectored = function() return socket:send_to_vectored({ "x" }, address) end,
      sendmsg = function() return socket:sendmsg { data = "x", address = address } end,
    } do
      local result, err = call()
      assert.is_nil(result)
      assert.same({ "CLOSED", name, ("the %s is closed"):format(class) }, { err.code, err.op, err.message })
    end
  end

  it("answers CLOSED, be it a path or a name", function()
    is_closed(assert(tcpnet.UnixDatagram.unbound()), "UnixDatagram", "/nowhere/socket")
    is_closed(assert(tcpnet.Socket.new("unix", "dgram")), "Socket", "/nowhere/socket")
    is_closed(assert(tcpnet.UdpSocket.new_v4()), "UdpSocket", "no-such-host.invalid:1")
    is_closed(assert(tcpnet.Socket.new("inet", "dgram")), "Socket", "no-such-host.invalid:1")
  end)
end)
