-- A join that gave way before it waited, as the first operation of a program did, and every hundredth or so, was not
-- there yet when its task failed: the failure was reported as nobody's.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

describe("a failure that somebody joins is not reported", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("by the first operation of a program", function()
    local _, output = program.lua [[
      local tcpnet = require "tcpnet"
      print(tcpnet.spawn(error, "J"):join()) ]]
    assert.equal("nil\tJ\n", output)
  end)

  it("nor where that is a timeout", function()
    local _, output = program.lua [[print(pcall(require "tcpnet".timeout, 1, error, "x"))]]
    assert.equal("false\tx\n", output)
  end)

  it("by a task that did any number of operations before", function()
    local reports = 0
    tcpnet.configure { on_task_error = function() reports = reports + 1 end }
    tcpnet.run(function()
      local line = tcpnet.sync.Semaphore.new(1)
      for count = 120, 135 do
        tcpnet.yield()
        for _ = 1, count do
          line:acquire(1)
          line:add_permits(1)
        end
        assert.is_nil(tcpnet.spawn(error, "J"):join())
      end
    end)
    tcpnet.configure { on_task_error = false }
    assert.equal(0, reports)
  end)
end)
