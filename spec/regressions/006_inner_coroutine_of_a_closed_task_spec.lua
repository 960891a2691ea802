-- A stranger may close the coroutine of a task that waits in timeout. The coroutine inside had nobody then who held it,
-- and was collected before the task that was to close it.
local tcpnet = require "tcpnet"
local reports = require "spec.support.reports"

describe("a task whose coroutine a stranger closes", function()
  it("keeps what waits inside until it ends itself", function()
    local _caught <close> = reports.catch(true)
    local held = setmetatable({}, { __mode = "k" })
    local thread
    tcpnet.run(function()
      local task = tcpnet.spawn(function()
        thread = coroutine.running()
        tcpnet.timeout(10, function()
          held[coroutine.running()] = true
          tcpnet.sleep(0.01)
        end)
      end)
      tcpnet.yield()
      coroutine.close(thread)
      collectgarbage()
      collectgarbage()
      assert.is_not_nil(next(held), "the inner coroutine was collected")
      local ok, err = task:join(10)
      assert.is_nil(ok)
      assert.matches("by somebody else", tostring(err))
    end)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(held), "the inner coroutine is left")
  end)
end)
