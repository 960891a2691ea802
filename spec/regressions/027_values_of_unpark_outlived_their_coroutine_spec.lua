-- Values that unpark left on a coroutine's stack, which somebody closed before it went on, were taken from below that
-- stack.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a coroutine that was unparked with values and then closed by a stranger", function()
  for depth = 1, 3 do
    it("is dead, and nothing else: of depth " .. depth, tcp.in_task(function()
      local inner
      local function nest(left)
        inner = tcpnet.coroutine.create(left > 1 and nest or tcpnet.park)
        return select(2, tcpnet.coroutine.resume(inner, left > 1 and left - 1 or nil))
      end
      local task = tcpnet.spawn(function()
        local result = table.pack(nest(depth))
        return result[result.n]
      end)
      tcpnet.yield()
      assert.is_true(task:unpark(1, 2, 3, 4, 5))
      assert.is_true(coroutine.close(inner))
      assert.same({ true, "cannot resume dead coroutine" }, { task:join() })
    end))
  end

  it("was unparked after that, too", tcp.in_task(function()
    local inner = tcpnet.coroutine.create(tcpnet.park)
    local task = tcpnet.spawn(function() return select(2, tcpnet.coroutine.resume(inner)) end)
    tcpnet.yield()
    assert.is_true(coroutine.close(inner))
    assert.is_true(task:unpark(1, 2))
    assert.same({ true, "cannot resume dead coroutine" }, { task:join() })
  end))
end)
