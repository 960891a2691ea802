-- The text of an abstract Unix address ended at a NUL in the name: programs that give bind() all of a sockaddr_un have
-- names that end with many, and different addresses looked the same.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local SocketAddr = tcpnet.SocketAddr

describe("an abstract name with a NUL in it", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local prefix = ("@tcpnet-%d-"):format(tcpnet.private.pid())

  local function address(name)
    local bytes = SocketAddr.unix(prefix):bytes()
    return SocketAddr.from_bytes(bytes .. name)
  end

  it("is shown whole", function()
    assert.equal(prefix .. "a\\0b", tostring(address "a\0b"))
    assert.equal(prefix .. "a\0b", address "a\0b":path())
    assert.equal(prefix .. "a\\0\\0", tostring(address "a\0\0"))
    assert.equal(prefix .. "a", tostring(address "a"))
    local header = SocketAddr.unix("@"):bytes()
    local longest = SocketAddr.from_bytes(header .. ("\0"):rep(107))
    assert.equal("@" .. ("\\0"):rep(107), tostring(longest))
    assert.equal(SocketAddr.from_bytes(longest:bytes()), longest)
  end)

  it("is shown whole by sockets and errors", function()
    local addr = address "a\0b"
    local datagram <close> = assert(tcpnet.UnixDatagram.bind(addr))
    assert.matches(prefix .. "a\\0b, fd", tostring(datagram), 1, true)
    assert.equal(addr, datagram:local_addr())
    local sender <close> = assert(tcpnet.UnixDatagram.unbound())
    assert(sender:connect(addr))
    local _, err = sender:connect(address "nobody\0here")
    assert.equal(prefix .. "nobody\\0here", err.address)
  end)
end)
