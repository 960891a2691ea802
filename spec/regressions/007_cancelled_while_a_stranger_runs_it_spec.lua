-- A task that a stranger has resumed by hand may cancel itself, or be cancelled by what it calls: its coroutine was
-- closed in the middle of its run, and the process died. Such a cancel waits until the stranger is done.
local tcpnet = require "tcpnet"
local reports = require "spec.support.reports"

describe("a cancel of a task that a stranger runs", function()
  for name, wait in pairs {
    itself = function(body) body() end,
    ["a coroutine inside"] = function(body) tcpnet.timeout(10, body) end,
  } do
    it("waits until the stranger is done: " .. name, function()
      local _caught <close> = reports.catch(true)
      local thread, task, cancelled, reached
      tcpnet.run(function()
        task = tcpnet.spawn(function()
          wait(function()
            thread = coroutine.running()
            pcall(tcpnet.sleep, 10) -- fails: a stranger ends it
            cancelled = task:cancel()
            reached = ("x"):rep(100)
          end)
        end)
        tcpnet.yield()
        coroutine.resume(thread)
        assert.is_true(cancelled)
        assert.equal(100, #reached)
        local ok = task:join(10)
        assert.is_nil(ok)
        assert.not_equal("waiting", task:status())
      end)
    end)
  end
end)
