-- Deadlines and intervals.
local core = require "tcpnet.core"
local outside = require "tcpnet.outside"

-- timeout(seconds, fn, ...) → results of fn, or nil, err (code TIMEOUT, op "timeout").
core.timeout = outside(core.private.timeout)

local Interval = {}
Interval.__index = Interval
Interval.__name = "Interval"

local behaviors = { burst = true, delay = true, skip = true }

-- interval(seconds) → object whose first tick() is immediate, as Tokio's.
function core.interval(seconds)
  if type(seconds) ~= "number" or not (seconds > 0) then
    error(("bad argument #1 to 'interval' (seconds, more than 0, expected, got %s)"):format(tostring(seconds)), 2)
  end
  return setmetatable({ period = seconds, due = core.now(), behavior = "burst" }, Interval)
end

-- What a tick that comes late means for the next: "burst" catches up, "delay" starts anew, "skip" keeps the rhythm.
function Interval:set_missed_tick_behavior(behavior)
  if not behaviors[behavior] then
    error(("bad argument #1 to 'set_missed_tick_behavior' ('burst', 'delay' or 'skip' expected, got %s)")
      :format(tostring(behavior)), 2)
  end
  self.behavior = behavior
  return self
end

-- tick() → how many periods have passed since the last tick: 1 when in time. Cancel safe.
function Interval:tick()
  local now = core.now()
  if now < self.due then
    core.sleep(self.due - now)
    now = core.now()
  end
  local missed = math.max(0, math.floor((now - self.due) / self.period))
  if self.behavior == "burst" then
    self.due = self.due + self.period
    return 1
  elseif self.behavior == "delay" then
    self.due = now + self.period
  else
    self.due = self.due + (missed + 1) * self.period
  end
  return missed + 1
end

function Interval:reset()
  self.due = core.now() + self.period
end

return core
