-- A read of a stream in memory that has to wait makes a value for Lua before it stands in line. What a finalizer wrote
-- then woke nobody, and the read waited on, with the bytes there.
local collect = require "spec.support.collect"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a wait for a stream in memory", function()
  it("ends with what a finalizer writes before it has begun", tcp.in_task(function()
    for n in collect.each_time() do
      local stream, peer = tcpnet.duplex(100)
      local ran = false
      local task = tcpnet.spawn(function()
        return collect.during_nth(n, function() ran = peer:try_write "came" end, stream.read, stream)
      end)
      tcpnet.sleep(0)
      if not ran then
        peer:try_write "came"
      end
      local ok, bytes = task:join(1)
      assert.is_true(ok)
      assert.equal("came", bytes:sub(1, 4)) -- twice, where the finalizer runs in the middle of that write
    end
  end))

  it("ends with the room that a finalizer makes before it has begun", tcp.in_task(function()
    for n in collect.each_time() do
      local stream, peer = tcpnet.duplex(4)
      assert(peer:write "full")
      local ran = false
      local task = tcpnet.spawn(function()
        return collect.during_nth(n, function() ran = stream:try_read() end, peer.write, peer, "more")
      end)
      tcpnet.sleep(0)
      if not ran then
        stream:try_read()
      end
      assert.same({ true, 4 }, { task:join(1) })
    end
  end))
end)
