-- Where a wait is written in Lua, reports of who waits where named a line of the library ("waits in park at
-- …/tcpnet/sync/waiters.lua:50"); of a wait outside every task they gave no line at all.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local waits = {
  notified = function() sync.Notify.new():notified() return 1 end,
  acquire = function() sync.Semaphore.new(0):acquire() return 1 end,
  read = function() local here, there = tcpnet.duplex(10) here:read() return here, there end,
  copy = function() local here, there = tcpnet.duplex(10) tcpnet.copy(here, there) return here, there end,
  select = function() tcpnet.select { tcpnet.park, tcpnet.park } return 1 end,
  scope = function() tcpnet.scope(function(set) set:spawn(tcpnet.park) end) return 1 end,
  each = function() tcpnet.each({ 1 }, 1, function() tcpnet.park() end) return 1 end,
  sleep = function() tcpnet.sleep(math.huge) return 1 end,
}

describe("who waits in", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, wait in pairs(waits) do
    local here = "060_[%w_]+%.lua:" .. debug.getinfo(wait, "S").linedefined

    it(name .. " in a task does so at a line of the program", function()
      local report = raised(tcpnet.run, wait)
      assert.matches("waits[^\n]* at [^\n]*" .. here, report)
      assert.is_nil(report:find("lua/tcpnet", 1, true), report)
    end)

    it(name .. " outside tasks does so at a line of the program", function()
      local report = raised(wait)
      assert.matches("deadlock: [^\n]*\n", report)
      assert.matches("the program waits[^\n]* at [^\n]*" .. here, report)
      assert.is_nil(report:find("lua/tcpnet", 1, true), report)
    end)
  end

  it("a C function of the library is named with it", function()
    assert.matches("task %d+ waits in sleep at ", raised(tcpnet.run, waits.sleep))
    assert.matches("the program waits in sleep at ", raised(waits.sleep))
    assert.not_matches("pcall", raised(tcpnet.run, function() return (pcall(waits.sleep)) end))
  end)

  it("timeout does so where that was called", function()
    local notify = sync.Notify.new()
    local line = debug.getinfo(1, "l").currentline + 2
    local report = raised(tcpnet.run, function()
      tcpnet.timeout(math.huge, notify.notified, notify)
      return 1
    end)
    assert.matches("waits in [^\n]* at [^\n]*060_[%w_]+%.lua:" .. line, report)
  end)
end)
