-- A copy of a stream to itself that could not write for now waited for something to read: it was woken again and again
-- where that was there already, or not at all.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("copy of a stream to itself", function()
  it("goes on when there is room to write, though nothing more comes to read", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local echo = tcpnet.spawn(tcpnet.copy, server, server)
    local all = tcp.bytes(24 << 20)
    local writer = tcpnet.spawn(client.write, client, all)
    repeat -- until nothing moves any more
      local before = tcpnet.metrics().bytes_read
      tcpnet.sleep(0.05)
    until before == tcpnet.metrics().bytes_read and before > 0
    assert.equal("waiting", echo:status())
    local wakes = tcpnet.metrics().wakes
    tcpnet.sleep(0.4)
    assert.is_true(tcpnet.metrics().wakes - wakes < 50)
    assert.is_true(client:read_exact(#all) == all)
    assert.is_true(writer:join(5))
    client:shutdown()
    assert.same({ true, #all }, { echo:join(5) })
  end))
end)
