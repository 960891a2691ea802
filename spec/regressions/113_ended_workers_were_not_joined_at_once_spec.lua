-- workers:join(0) timed out though all had returned, or one had failed: it asked each in a task, and those had not run.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

local function until_ended(workers)
  for _, worker in ipairs(workers) do
    worker:join(5)
  end
  return workers
end

describe("workers that have ended", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are joined whatever the time", in_task(function()
    local workers <close> = until_ended(assert(tcpnet.workers(3, function() end)))
    for _ = 1, 200 do
      assert.same({ true, n = 1 }, table.pack(workers:join(0)))
    end
    assert.is_true(workers:join())
  end))

  it("tell of the one that failed", in_task(function()
    tcpnet.configure { on_task_error = function() return true end } -- it may fail before it is joined
    local workers <close> = until_ended(assert(tcpnet.workers(2, function(parent)
      return parent:index() == 1 or error("the second", 0)
    end)))
    tcpnet.configure { on_task_error = false }
    local ok, err, which = workers:join(0)
    assert.is_nil(ok)
    assert.matches("^the second", err)
    assert.equal(workers[2], which)
  end))

  it("do not keep others from being waited for", in_task(function()
    local workers <close> = assert(tcpnet.workers(2, function(parent)
      return parent:index() == 1 or parent:recv()
    end))
    assert.is_true(workers[1]:join(5))
    local _, err = workers:join(0)
    assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
    workers[2]:finish()
    assert.is_true(workers:join(5))
  end))
end)
