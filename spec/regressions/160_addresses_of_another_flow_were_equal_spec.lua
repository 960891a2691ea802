-- == of two IPv6 addresses did not look at flowinfo, which Rust's SocketAddrV6 compares between port and scope.
local tcpnet = require "tcpnet"

-- struct sockaddr_in6 begins with family, port and flowinfo, the last in network order
local function with_flow(addr, flow)
  local bytes = addr:bytes()
  return tcpnet.SocketAddr.from_bytes(bytes:sub(1, 4) .. (">I4"):pack(flow) .. bytes:sub(9))
end

describe("IPv6 addresses that differ in flowinfo alone", function()
  local addr = tcpnet.SocketAddr.new("::1", 80)
  local one, two = with_flow(addr, 1), with_flow(addr, 0x20000)

  it("are not equal, and in its order", function()
    assert.same({ 0, 1, 0x20000 }, { addr:flowinfo(), one:flowinfo(), two:flowinfo() })
    assert.is_false(addr == one)
    assert.is_false(one == two)
    assert.is_true(one == with_flow(addr, 1))
    assert.is_true(addr < one and one < two and not (two < one) and one <= two)
  end)

  it("are ordered by their ports before, and by their scopes behind", function()
    local higher = with_flow(tcpnet.SocketAddr.new("::1", 81), 0)
    assert.is_true(two < higher)
    local function scoped(flow, scope)
      return with_flow(tcpnet.SocketAddr.new("fe80::1%" .. scope, 80), flow)
    end
    assert.is_true(scoped(1, 2) < scoped(2, 1))
    assert.is_true(scoped(1, 1) < scoped(1, 2))
  end)
end)
