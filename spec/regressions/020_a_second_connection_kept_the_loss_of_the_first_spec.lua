-- A Socket that is connected anew, after its connection was reset, took the end of the second for the reset of the
-- first.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a Socket that is connected anew", function()
  it("begins without the losses of its first connection", tcp.in_task(function()
    local listener <close> = tcp.listener()
    local socket <close> = assert(tcpnet.Socket.new("inet", "stream"))
    assert(socket:connect(listener:local_addr()))
    tcp.close_with_reset(assert(listener:accept()))
    tcp.fails("ECONNRESET", socket:recv())
    tcp.fails("ECONNRESET", socket:recv())
    assert(socket:connect(listener:local_addr()))
    local second = assert(listener:accept())
    second:write "x"
    second:close()
    assert.equal("x", socket:recv())
    assert.same({ nil, n = 1 }, table.pack(socket:recv()))
  end))
end)
