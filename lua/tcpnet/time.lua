-- Deadlines and intervals.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local outside = require "tcpnet.outside"
local waiting = require "tcpnet.waiting"

-- timeout(seconds, fn, ...) → results of fn, or nil, err (TIMEOUT, op "timeout"): in C, but where there is no task.
core.private.detour("timeout", outside(core.timeout, "timeout"))

local Interval = {}
Interval.__index = Interval
Interval.__name = "Interval"

-- Every tick is late by a little: that is no missed one, or "delay" would drift with each. As much as Tokio allows.
local SLACK <const> = 0.005

local behaviors = { burst = true, delay = true, skip = true }

-- No period is shorter than the clock can tell: counts of it would be no integers.
local LEAST <const> = 1e-9

-- interval(seconds) → object whose first tick() is immediate, as Tokio's.
function core.interval(seconds)
  check.that(type(seconds) == "number" and seconds > 0, 1, "interval",
    ("seconds, more than 0, expected, got %s"):format(check.shown(seconds)))
  return setmetatable({ period = math.max(seconds, LEAST), due = core.now(), behavior = "burst" }, Interval)
end

-- What a tick that comes late means for the next: "burst" catches up, "delay" starts anew, "skip" keeps the rhythm.
function Interval:set_missed_tick_behavior(behavior)
  check.that(behaviors[behavior or 1], 1, "set_missed_tick_behavior",
    ("'burst', 'delay' or 'skip' expected, got %s"):format(tostring(behavior)))
  self.behavior = behavior
  return self
end

-- tick() ⏳ → how many periods have passed since the last tick: 1 when in time | nil, err. Cancel safe.
function Interval:tick()
  waiting.begin "tick"
  local now = core.now()
  if now < self.due then
    local _, err = core.sleep(self.due - now)
    if err then
      return waiting.named("tick", nil, err)
    end
    now = core.now()
  end
  local late = now - self.due
  if self.behavior == "burst" or late <= SLACK then
    self.due = self.due + self.period
    return 1
  end
  local missed = math.floor(late / self.period)
  if self.behavior == "delay" then
    self.due = now + self.period
  else
    self.due = self.due + (missed + 1) * self.period
  end
  return missed + 1
end

function Interval:reset()
  self.due = core.now() + self.period
end

check.methods(Interval, function(self)
  return ("every %g s"):format(self.period)
end)
