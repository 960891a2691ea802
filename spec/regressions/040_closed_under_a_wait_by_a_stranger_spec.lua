-- A stranger closed a coroutine of a task inside of which another one waited: that one stayed the task's innermost, or
-- left another in its place, and every wait of the task itself was refused from then on.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a task, one of whose coroutines a stranger closed under a wait,", function()
  local waits = {
    sleep = function() tcpnet.sleep(0.01) end,
    park = function() tcpnet.park() end,
    ["sleep in a timeout"] = function() tcpnet.timeout(10, tcpnet.sleep, 0.01) end,
  }
  for name, wait in pairs(waits) do
    for depth = 2, 4 do
      it(("goes on: %s, %d deep"):format(name, depth), tcp.in_task(function()
        local outermost, closed
        local function nest(left)
          if left == 0 then
            local _ <close> = setmetatable({}, { __close = function() closed = true end })
            return wait()
          end
          local co = tcpnet.coroutine.create(nest)
          outermost = outermost or co
          return select(2, assert(tcpnet.coroutine.resume(co, left - 1)))
        end
        local task = tcpnet.spawn(function()
          local ok, message = pcall(nest, depth)
          assert.is_false(ok)
          assert.match("cannot resume dead coroutine", message, 1, true)
          assert.is_true(closed)
          assert.equal(0, select("#", tcpnet.sleep(0.001)))
          return tcpnet.timeout(10, function()
            tcpnet.sleep(0.001)
            return "goes on"
          end)
        end)
        tcpnet.yield()
        assert.is_true(coroutine.close(outermost))
        if name == "park" then
          assert.is_true(task:unpark(1, 2, 3))
        end
        assert.same({ true, "goes on" }, { task:join() })
      end))
    end
  end
end)
