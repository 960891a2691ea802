-- A copy waits in one of its two streams at a time. Where a half that it had to do with was closed while it waited in
-- the other stream, it went on waiting.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function ends_closed(copy, copied)
  local ok, result, err, count = copy:join(5)
  assert.is_true(ok)
  tcp.fails("CLOSED", result, err)
  assert.equal("copy", err.op)
  assert.equal(copied, count)
end

describe("a copy ends", function()
  it("when the half that it writes to is closed", tcp.in_task(function()
    local reader, source = assert(tcpnet.UnixStream.pair())
    local writer, peer = assert(tcpnet.UnixStream.pair())
    local _all <close> = tcp.guard(reader, source, peer)
    local kept, half = writer:into_split()
    local _half <close> = kept
    local copy = tcpnet.spawn(tcpnet.copy, reader, half)
    local behind = tcpnet.spawn(half.write, half, "behind")
    assert(source:write "abc")
    tcpnet.sleep(0.01)
    half:close()
    ends_closed(copy, 3)
    assert.equal("CLOSED", select(3, behind:join(5)).code)
    assert.equal("abc", peer:read_to_end())
  end))

  it("when the half that it reads from is closed", tcp.in_task(function()
    local reader, source = assert(tcpnet.UnixStream.pair())
    local writer, peer = assert(tcpnet.UnixStream.pair())
    local _all <close> = tcp.guard(source, writer, peer)
    local half, kept = reader:into_split()
    local _half <close> = kept
    while writer:try_write(("x"):rep(65536)) do end
    assert(source:write "abc")
    local copy = tcpnet.spawn(tcpnet.copy, half, writer)
    tcpnet.sleep(0.01)
    assert.equal("waiting", copy:status())
    half:close()
    ends_closed(copy, 0)
  end))

  it("when the half that it reads from is closed while it waits for its turn", tcp.in_task(function()
    local reader, source = assert(tcpnet.UnixStream.pair())
    local writer, peer = assert(tcpnet.UnixStream.pair())
    local _all <close> = tcp.guard(source, writer, peer)
    local half, kept = reader:into_split()
    local _half <close> = kept
    while writer:try_write(("x"):rep(65536)) do end
    local first = tcpnet.spawn(writer.write, writer, "first")
    tcpnet.sleep(0)
    local copy = tcpnet.spawn(tcpnet.copy, half, writer)
    tcpnet.sleep(0.01)
    half:close()
    ends_closed(copy, 0)
    first:cancel()
  end))
end)
