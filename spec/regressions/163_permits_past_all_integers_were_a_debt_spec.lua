-- Permits that were released, or given back, on top of the largest integer of them wrapped: the semaphore had fewer
-- than none. add_permits alone refused that.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local Semaphore = tcpnet.sync.Semaphore

describe("a semaphore with as many permits as there can be", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function refused(name, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.matches("163_.*: " .. name .. ": more permits than the largest integer", message)
  end

  it("refuses more, whichever way they come", function()
    local semaphore = Semaphore.new(math.maxinteger)
    local permit = assert(semaphore:acquire(5))
    semaphore:add_permits(1)
    refused("release", function() permit:release() end)
    assert.equal(math.maxinteger - 4, semaphore:available_permits())
    refused("give_back", function() semaphore:give_back(5) end)
    refused("add_permits", function() semaphore:add_permits(math.maxinteger) end)
    assert.equal(math.maxinteger - 4, semaphore:available_permits())
    refused("release", function()
      local _same <close> = permit
    end)
    assert.is_true(semaphore:try_take(1))
    permit:release()
    assert.equal(math.maxinteger, semaphore:available_permits())
  end)

  it("serves who waits as before", function()
    tcpnet.run(function()
      local semaphore = Semaphore.new(0)
      local waiting = tcpnet.spawn(function() return semaphore:take(3) end)
      tcpnet.sleep(0)
      semaphore:add_permits(2)
      semaphore:give_back(2)
      assert(waiting:join(5))
      assert.equal(1, semaphore:available_permits())
    end)
  end)
end)
