-- A finalizer that cancelled a task in the moment in which that got its thread was told that it was alive, but the task
-- ran all the same, and nothing could cancel it any more.
local collect = require "spec.support.collect"
local tcpnet = require "tcpnet"

describe("a task that a finalizer cancels while it begins", function()
  local function cancelled_by(drive, ...)
    local began, cancelled = false, nil
    local task = tcpnet.spawn(function()
      began = true
      tcpnet.sleep(0.01)
    end, ...)
    local debt = {}
    collect.during(function() cancelled = task:cancel() end, function()
      rawset(debt, 1, true) -- memory that the collector has not looked at: it will where the thread is made
      drive()
    end)
    assert.is_true(cancelled)
    assert.is_false(task:cancel())
    assert.is_false(began)
    local ok, err = task:join(5)
    assert.is_nil(ok)
    assert.equal("CANCELED", err.code)
    assert.equal("cancelled", task:status())
  end

  it("does not run", function()
    local kept = {} -- no thread is to be had but by making one
    for i = 1, 64 do
      kept[i] = tcpnet.spawn(tcpnet.sleep, 10)
    end
    tcpnet.step()
    cancelled_by(tcpnet.step)
    cancelled_by(tcpnet.step, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    for _, task in ipairs(kept) do
      task:cancel()
    end
  end)
end)
