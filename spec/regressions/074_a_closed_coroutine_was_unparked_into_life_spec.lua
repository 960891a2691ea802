-- Values that unpark left on a coroutine that somebody had closed made it one that can be resumed: the last value was
-- called on it, below a message handler that its stack had no more.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a task whose coroutine a stranger closed while it was parked", function()
  before_each(function() tcpnet.configure { on_task_error = function() end } end)
  after_each(function() tcpnet.configure { on_task_error = false } end)

  it("is not brought to life by the values of unpark", tcp.in_task(function()
    local thread, called
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      return tcpnet.park()
    end)
    tcpnet.yield()
    assert.is_true(coroutine.close(thread))
    assert.is_true(task:unpark(1, function() called = true end))
    assert.equal("dead", coroutine.status(thread))
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(thread) })
    local joined, err = task:join(1)
    assert.is_nil(joined)
    assert.matches("resumed or closed by somebody else", err)
    assert.is_nil(called)
  end))
end)
