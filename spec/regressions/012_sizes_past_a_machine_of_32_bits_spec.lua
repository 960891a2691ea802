-- Where a size has 32 bits, an integer of Lua that has more was cut: an exact read of 4 GiB was one of no bytes, the
-- end of a range of a Buffer lay before its beginning, a zone of 2^32 was the one before it.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local HUGE = 1 << 32

-- A stream on which "some" comes, then the end.
local function with_some()
  local a, b = tcp.pair()
  assert(b:write "some")
  b:close()
  return a
end

describe("a size past 32 bits", function()
  it("is one to wait for in an exact read", function()
    local a <close> = with_some()
    local nothing, err, came = a:read_exact(HUGE)
    assert.is_nil(nothing)
    assert.equal("EOF", err.code)
    assert.equal("some", came)
  end)

  it("is no limit of a read to the end", function()
    local a <close> = with_some()
    assert.equal("some", a:read_to_end(HUGE))
  end)

  it("is as much as a Buffer has room for", function()
    local a <close> = with_some()
    local buffer = tcpnet.Buffer.new(8)
    assert.equal(4, a:read_into(buffer, HUGE))
    assert.equal("some", tostring(buffer))
  end)

  it("is past the end of a Buffer", function()
    local buffer = tcpnet.Buffer.new(8):append "abc"
    assert.equal("abc", buffer:sub(1, HUGE))
    assert.equal("", buffer:sub(HUGE + 1))
    assert.is_nil(buffer:byte(HUGE + 1))
    assert.is_nil(buffer:find("a", HUGE + 1))
    assert.is_nil(buffer:find("", HUGE))
    assert.equal(4, buffer:find("", 4))
  end)

  it("is not a small capacity", function()
    local ok, buffer = pcall(tcpnet.Buffer.new, HUGE + 8)
    assert.is_true(not ok or buffer:capacity() == HUGE + 8 or buffer:capacity() >= (1 << 31) - 1)
  end)

  it("is no zone of an address", function()
    assert.is_nil((tcpnet.SocketAddr.new("fe80::1%4294967296", 80)))
    assert.equal(4294967295, tcpnet.SocketAddr.new("fe80::1%4294967295", 80):scope_id())
  end)
end)
