-- While a coroutine that waits inside a task is closed, whatever resumed it still counts as waiting for it. A
-- to-be-closed variable of the one that resumed the other went on with that wait: the library closed the very coroutine
-- that ran, and memory that was freed was used.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a coroutine whose inner one is being closed", function()
  before_each(function() tcpnet.configure { on_task_error = function() end } end)
  after_each(function() tcpnet.configure { on_task_error = false } end)

  -- body(holds, wait): holds() keeps the coroutine that it is called in, wait() waits in one inside and resumes that
  -- when it closes.
  local function resumed(body, finish)
    local outer, results
    local function hold()
      outer = coroutine.running()
    end
    local function wait()
      tcpnet.coroutine.wrap(function()
        local _closing <close> = setmetatable({}, { __close = function() results = { coroutine.resume(outer) } end })
        tcpnet.park()
      end)()
    end
    local task = tcpnet.spawn(body, hold, wait)
    tcpnet.yield()
    finish(task)
    local outcome = { task:join(1) }
    assert.matches("resumed by somebody else than the reactor", tostring(results[2]))
    return outcome
  end

  local function cancel(task)
    task:cancel()
  end

  it("is not gone on with where the task is cancelled", tcp.in_task(function()
    tcp.fails("CANCELED", table.unpack(resumed(function(hold, wait)
      hold()
      wait()
    end, cancel)))
  end))

  it("is not gone on with where it is between others", tcp.in_task(function()
    tcp.fails("CANCELED", table.unpack(resumed(function(hold, wait)
      tcpnet.coroutine.wrap(function()
        hold()
        wait()
      end)()
    end, cancel)))
  end))

  it("is not gone on with where its time runs out", tcp.in_task(function()
    local outcome = resumed(function(hold, wait)
      return tcpnet.timeout(0.001, function()
        hold()
        wait()
      end)
    end, function() end)
    assert.is_true(outcome[1])
    tcp.fails("TIMEOUT", outcome[2], outcome[3])
  end))
end)
