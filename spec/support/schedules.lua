-- Random schedules: what tasks do to each other at random moments, and the loop that runs many schedules, each from a
-- number of its own, so that a failure can name the command that repeats it. TCPNET_SCHEDULE is the first number, and
-- the only one unless TCPNET_SCHEDULES says how many there are ("500"), or for how long ("60s").
local tcpnet = require "tcpnet"

local schedules = {}
local random = math.random

local PATIENCE = 90 -- seconds for one schedule; more than any takes, so that a wait that never ends shows as one

function schedules.chance(percent)
  return random(100) <= percent
end

function schedules.closer(fn)
  return setmetatable({}, { __close = fn })
end

function schedules.yields(most)
  for _ = 1, random(0, most) do
    tcpnet.yield()
  end
end

-- A count that a task leads for as long as it is at something, however that ends.
function schedules.counted(model, name, by)
  model[name] = model[name] + by
  return schedules.closer(function()
    model[name] = model[name] - by
  end)
end

-- The ways to do something that may wait, given a world with a CancellationToken. What the function returned, if it
-- was let to its end, is the first result.
schedules.ways = {
  function(_, fn) return fn() end,
  function(_, fn) return fn() end,
  function(_, fn) return (tcpnet.timeout(0, fn)) end,
  function(_, fn)
    local key, result = tcpnet.select { fn, function() schedules.yields(4) end }
    return key == 1 and result or nil
  end,
  function(world, fn) return (world.token:run_until_cancelled(fn)) end,
}

-- operate(world, fn[, ways]): fn in one of the ways. One that was let to its end must not look like one that lost.
function schedules.operate(world, fn, ways)
  ways = ways or schedules.ways
  local report = {}
  local seen = ways[random(#ways)](world, function()
    fn()
    report.done = true
    return report
  end)
  assert(seen == report or not report.done, "an operation that was done looks as if it had been ended")
  return report.done
end

local function repeats(number)
  local source = debug.getinfo(3, "S").short_src:gsub("^%./", "")
  return ("TCPNET_SCHEDULE=%d ./dev test %s"):format(number, source)
end

-- How many there are, and until when: one of the two is endless.
local function extent(default)
  local amount = os.getenv "TCPNET_SCHEDULES"
  local seconds = amount and tonumber(amount:match "^(%d+)s$")
  if seconds then
    return math.maxinteger, tcpnet.now() + seconds
  end
  amount = amount and assert(tonumber(amount), "TCPNET_SCHEDULES: a number, or seconds as 60s")
  return amount or (os.getenv "TCPNET_SCHEDULE" and 1 or default), math.huge
end

-- each(default, run) → how many: run(number) as a task, for each number. Whatever fails in any task fails its schedule.
function schedules.each(default, run)
  local first = math.tointeger(tonumber(os.getenv "TCPNET_SCHEDULE" or 1))
  local count, until_when = extent(default)
  local first_failure
  tcpnet.configure {
    on_task_error = function(_, err, traceback)
      first_failure = first_failure or tostring(err) .. "\n" .. traceback
      return true
    end,
  }
  local _end <close> = schedules.closer(function()
    tcpnet.configure { on_task_error = false }
    math.randomseed(os.time())
  end)
  local number = first
  while number - first < count and tcpnet.now() < until_when do
    first_failure = nil
    local task = tcpnet.spawn(function()
      math.randomseed(number)
      run(number)
    end)
    local ok, err = task:join(PATIENCE)
    if not ok or first_failure then
      error(("schedule %d (repeat it: %s): %s"):format(number, repeats(number), first_failure or tostring(err)), 0)
    end
    number = number + 1
  end
  return number - first
end

return schedules
