-- Of a period far shorter than a nanosecond a tick that came late stood for so many that the count was no integer, and
-- of the shortest for infinitely many, so that the next tick never came.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a period that no clock can tell", function()
  for _, period in ipairs { 5e-324, 1e-300, 1e-12 } do
    for _, behavior in ipairs { "burst", "skip", "delay" } do
      it(("of %g s has ticks and counts them: %s"):format(period, behavior), tcp.in_task(function()
        local interval = tcpnet.interval(period):set_missed_tick_behavior(behavior)
        for _ = 1, 3 do
          tcpnet.sleep(0.01)
          local count
          assert(tcpnet.timeout(5, function()
            count = interval:tick()
            return true
          end))
          assert.equal("integer", math.type(count))
          assert.is_true(count >= 1)
        end
      end))
    end
  end
end)
