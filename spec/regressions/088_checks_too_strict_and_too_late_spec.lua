-- lines(1.0) and chunks(1.0) raised on streams in memory, where read_line(1.0) and those of the system take it; a bind
-- of a UnixSocket set options before it raised because of another.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a limit of 1.0", function()
  it("is one of 1, to the iterators of a stream in memory too", tcp.in_task(function()
    local a, b = tcpnet.io.duplex(100)
    a:write "ab\nc\n"
    a:shutdown()
    assert.equal("a", b:chunks(1.0)())
    assert.equal("b", b:lines(1.0)())
    assert.equal("c", b:lines(1.0)())
    local ok, message = pcall(b.lines, b, 1.5)
    assert.is_false(ok)
    assert.matches("max: integer from 1 to 2147483647 expected, got 1.5", message, 1, true)
  end))
end)

describe("the bind of a UnixSocket", function()
  it("that raises has set nothing", function()
    local socket <close> = tcpnet.UnixSocket.new_stream()
    local before = socket:send_buffer_size()
    local ok, message = pcall(socket.bind, socket, "", { send_buffer_size = before // 4, unlink = 1 })
    assert.is_false(ok)
    assert.matches("unlink: boolean expected, got number", message, 1, true)
    assert.equal(before, socket:send_buffer_size())
  end)
end)
