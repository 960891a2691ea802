-- Every tick ends a moment after its time, and an interval that delays began a new period there: it drifted with each.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

-- Is the tick over at once?
local function is_immediate(interval)
  local before = tcpnet.metrics().polls
  local periods = interval:tick()
  return tcpnet.metrics().polls == before and periods == 1
end

local function spin_until(time)
  repeat
    local now = tcpnet.now()
  until now >= time
end

describe("a tick that is late by less than 5 ms", function()
  for _, behavior in ipairs { "delay", "skip" } do
    it("leaves the rhythm as it was: " .. behavior, tcp.in_task(function()
      for _ = 1, 100 do
        local before = tcpnet.now()
        local interval = tcpnet.interval(0.001):set_missed_tick_behavior(behavior)
        local made = tcpnet.now()
        interval:tick()
        spin_until(made + 0.0035)
        local first, second = is_immediate(interval), is_immediate(interval)
        if tcpnet.now() - before < 0.005 then -- or the machine was busy
          assert.is_true(first)
          assert.is_true(second)
          return
        end
      end
      pending "the machine is too busy"
    end))
  end
end)
