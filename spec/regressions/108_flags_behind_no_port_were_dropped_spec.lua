-- send_to(bytes, SocketAddr, nil, flags) sent without the flags, which the same call with a text has; a port that stood
-- there was taken for them.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("flags in the fourth place, behind an address and a port", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function each(fn)
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    for _, socket in ipairs { udp, sock } do
      for _, prefix in ipairs { "", "try_" } do
        fn(socket, prefix .. "send_to", "x", udp:local_addr())
        fn(socket, prefix .. "send_to_vectored", { "x" }, udp:local_addr())
      end
    end
  end

  it("count, whatever the address is", function()
    each(function(socket, name, data, addr)
      for _, address in ipairs { addr, tostring(addr) } do
        local ok, message = pcall(socket[name], socket, data, address, nil, "unknown")
        assert.is_false(ok, name)
        assert.matches("flags: list of oob dontroute", message)
        assert.equal(1, assert(socket[name](socket, data, address, nil, "dontroute")))
        assert.equal(1, assert(socket[name](socket, data, address, "dontroute")))
        assert.equal(1, assert(socket[name](socket, data, address, "dontroute", nil)))
      end
      assert.equal(1, assert(socket[name](socket, data, addr:ip(), addr:port(), "dontroute")))
    end)
  end)

  it("stand beside no port where there is a SocketAddr", function()
    each(function(socket, name, data, addr)
      for _, port in ipairs { 80, "dontroute" } do
        local ok, message = pcall(socket[name], socket, data, addr, port, "dontroute")
        assert.is_false(ok)
        assert.matches("bad argument #3 to '" .. name .. "' %(no port beside a SocketAddr expected", message)
      end
    end)
  end)
end)
