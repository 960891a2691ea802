-- Time: sleep, now, interval. Lower bounds and order alone: how quick a machine is says nothing about the library.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"

describe("now", function()
  it("is a float that never goes back", function()
    local last = tcpnet.now()
    assert.equal("float", math.type(last))
    for _ = 1, 1000 do
      local now = tcpnet.now()
      assert.is_true(now >= last)
      last = now
    end
  end)

  it("goes on while the task sleeps", function()
    local before = tcpnet.now()
    tcpnet.sleep(0.005)
    assert.is_true(tcpnet.now() >= before + 0.005)
  end)
end)

describe("sleep", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("never ends too early (F33)", function()
    tcpnet.run(function()
      for _, seconds in ipairs { 0.0001, 0.0005, 0.001, 0.0011, 0.0025, 0.01 } do
        for _ = 1, 3 do
          local started = tcpnet.now()
          tcpnet.sleep(seconds)
          local took = tcpnet.now() - started
          assert.is_true(took >= seconds, ("%g s took %g"):format(seconds, took))
        end
      end
    end)
  end)

  it("never ends too early after the script was busy without a turn of the loop", function()
    tcpnet.run(function()
      local busy_until = tcpnet.now() + 0.02
      while tcpnet.now() < busy_until do
        busy_until = busy_until + 0
      end
      local started = tcpnet.now()
      tcpnet.sleep(0.01)
      assert.is_true(tcpnet.now() - started >= 0.01)
    end)
  end)

  it("gives nothing back", function()
    assert.equal(0, select("#", tcpnet.sleep(0)))
    assert.equal(0, select("#", tcpnet.sleep(0.001)))
    assert.equal(0, select("#", tcpnet.yield()))
  end)

  it("refuses a time that is negative or NaN, and what is no number (F31, F32)", function()
    for _, wrong in ipairs { -1, -1e-9, -math.huge, 0 / 0, math.mininteger, {}, "x", true } do
      assert.error_matches(function() tcpnet.sleep(wrong) end, "bad argument #1 to 'sleep'")
      local ok = tcpnet.spawn(function() tcpnet.sleep(wrong) end):join()
      assert.is_nil(ok)
    end
    assert.error_matches(function() tcpnet.sleep() end, "bad argument #1 to 'sleep'")
    assert.error_matches(function() tcpnet.sleep(nil) end, "bad argument #1 to 'sleep'")
  end)

  it("of any huge time sleeps on (F32)", function()
    for _, seconds in ipairs { math.huge, 1e300, 2 ^ 63, 2 ^ 53, math.maxinteger, 1e10, 1e9, 2 ^ 32 } do
      local task <close> = tcpnet.spawn(tcpnet.sleep, seconds)
      tcpnet.sleep(0.002)
      assert.equal("waiting", task:status(), tostring(seconds))
    end
  end)

  it("of math.huge never ends, though the timer beside it does", function()
    local for_ever = tcpnet.spawn(tcpnet.sleep, math.huge)
    for _ = 1, 5 do
      tcpnet.sleep(0.001)
    end
    assert.equal("waiting", for_ever:status())
    for_ever:cancel()
  end)

  it("of zero gives way once, as yield does", function()
    local order = {}
    local function member(name, give_way)
      for _ = 1, 3 do
        order[#order + 1] = name
        give_way(0)
      end
    end
    local a = tcpnet.spawn(member, "a", tcpnet.sleep)
    local b = tcpnet.spawn(member, "b", tcpnet.yield)
    a:join()
    b:join()
    assert.equal("ababab", table.concat(order))
  end)

  it("takes an integer too", function()
    local task = tcpnet.spawn(tcpnet.sleep, 1)
    tcpnet.yield()
    assert.equal("waiting", task:status())
    task:cancel()
  end)

  it("of many tasks ends in the order of their times", function()
    local woken = {}
    local tasks = {}
    -- all have to wait before the first is due, however long a wait takes to begin
    local before = tcpnet.now()
    for _ = 1, 40 do
      tcpnet.yield()
    end
    local started = tcpnet.now() + 2 * (tcpnet.now() - before)
    -- one time base for all, with steps well above the granularity of the timer
    for i = 1, 40 do
      local place = (i * 17) % 41 -- 1..40 in a mixed order
      tasks[i] = tcpnet.spawn(function()
        tcpnet.sleep(math.max(0, started + 0.01 + place * 0.003 - tcpnet.now()))
        woken[#woken + 1] = place
      end)
    end
    for _, task in ipairs(tasks) do
      task:join()
    end
    for place = 1, 40 do
      assert.equal(place, woken[place])
    end
  end)

  it("of a thousand tasks wakes each once, and none too early", function()
    local woken, early = 0, 0
    tcpnet.run(function()
      local set = tcpnet.JoinSet.new()
      for i = 1, 1000 do
        set:spawn(function()
          local seconds = (i * 7919 % 1000) / 40000
          local started = tcpnet.now()
          tcpnet.sleep(seconds)
          woken = woken + 1
          if tcpnet.now() - started < seconds then
            early = early + 1
          end
        end)
      end
      while set:join_next() do
        assert(true)
      end
    end)
    assert.equal(1000, woken)
    assert.equal(0, early)
  end)

  it("that is cancelled among many leaves the others their order", function()
    local woken, tasks = {}, {}
    for i = 1, 100 do
      tasks[i] = tcpnet.spawn(function()
        tcpnet.sleep(0.005 + (i * 37 % 100) * 0.0002)
        woken[i] = true
      end)
    end
    tcpnet.yield()
    for i = 1, 100, 2 do
      tasks[i]:cancel()
    end
    assert.equal(50, tcpnet.metrics().timers)
    for i = 2, 100, 2 do
      tasks[i]:join()
    end
    for i = 1, 100 do
      assert.equal(i % 2 == 0 or nil, woken[i])
    end
  end)

  it("shorter than one already waited for ends first", function()
    local order = {}
    local long = tcpnet.spawn(function()
      tcpnet.sleep(0.03)
      order[#order + 1] = "long"
    end)
    tcpnet.sleep(0.001)
    local short = tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      order[#order + 1] = "short"
    end)
    long:join()
    short:join()
    assert.same({ "short", "long" }, order)
  end)
end)

describe("an interval", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("refuses a period that is no positive number", function()
    for _, wrong in ipairs { 0, -1, 0 / 0, "x", {} } do
      assert.error_matches(function() tcpnet.interval(wrong) end, "bad argument #1 to 'interval'")
    end
    assert.error_matches(function() tcpnet.interval() end, "bad argument #1 to 'interval'")
  end)

  it("ticks at once, then once a period", function()
    local interval = tcpnet.interval(0.005)
    local started = tcpnet.now()
    assert.equal(1, interval:tick())
    for i = 1, 4 do
      local periods = interval:tick()
      assert.equal("integer", math.type(periods))
      assert.is_true(tcpnet.now() - started >= i * 0.005 - 1e-6)
    end
  end)

  it("refuses a behaviour that it does not know, and chains those that it does", function()
    local interval = tcpnet.interval(1)
    for _, behavior in ipairs { "burst", "delay", "skip" } do
      assert.equal(interval, interval:set_missed_tick_behavior(behavior))
    end
    assert.error_matches(function() interval:set_missed_tick_behavior "Burst" end, "bad argument")
    assert.error_matches(function() interval:set_missed_tick_behavior() end, "bad argument")
  end)

  local PERIOD = 0.02

  -- Ticks once, is late by three and a half periods, and gives the time of the first tick.
  local function late(behavior)
    local interval = tcpnet.interval(PERIOD)
    if behavior then
      interval:set_missed_tick_behavior(behavior)
    end
    interval:tick()
    local started = tcpnet.now()
    tcpnet.sleep(3.5 * PERIOD)
    return interval, started
  end

  -- A tick that is due already must not wait: it is over before a task that was ready before it is through.
  local function is_immediate(interval)
    local before = tcpnet.metrics().polls
    interval:tick()
    return tcpnet.metrics().polls == before
  end

  it("catches up at once with the ticks it missed, by default (burst)", function()
    for _, behavior in ipairs { "burst", false } do
      local interval, started = late(behavior)
      for _ = 1, 3 do
        assert.is_true(is_immediate(interval))
      end
      interval:tick()
      local elapsed = tcpnet.now() - started
      assert.is_true(elapsed >= 3.9 * PERIOD, elapsed)
    end
  end)

  it("starts anew from the late tick (delay)", function()
    local interval = late "delay"
    assert.is_true(is_immediate(interval))
    local ticked = tcpnet.now()
    interval:tick()
    assert.is_true(tcpnet.now() - ticked >= PERIOD * 0.99)
  end)

  it("leaves out what it missed and keeps the rhythm (skip)", function()
    local interval, started = late "skip"
    local periods = interval:tick()
    assert.is_true(periods >= 3, "periods: " .. periods)
    interval:tick()
    local elapsed = tcpnet.now() - started
    assert.is_true(elapsed >= 3.9 * PERIOD)
    interval:tick()
    assert.is_true(tcpnet.now() - started >= 4.9 * PERIOD)
  end)

  it("is back in its rhythm with the tick after one that was late (skip)", function()
    local soonest = math.huge
    for _ = 1, 20 do -- a busy machine is late again, but not always
      local interval, started = late "skip"
      interval:tick()
      interval:tick()
      soonest = math.min(soonest, tcpnet.now() - started)
      if soonest < 4.4 * PERIOD then
        return
      end
    end
    error(("%g, where a new period would end after %g"):format(soonest, 4.5 * PERIOD))
  end)

  it("counts the periods passed when it skips or delays, and one by one in a burst", function()
    for behavior, least in pairs { burst = 1, delay = 3, skip = 3 } do
      local interval = late(behavior)
      local periods = interval:tick()
      assert.equal("integer", math.type(periods))
      assert.is_true(periods >= least, behavior .. ": " .. periods)
      if behavior == "burst" then
        assert.equal(1, periods)
      end
    end
  end)

  it("loses no tick when the wait for it is cancelled", function()
    local interval = tcpnet.interval(0.02)
    interval:tick()
    local started = tcpnet.now()
    local _, err = tcpnet.timeout(0.002, interval.tick, interval)
    assert.equal("TIMEOUT", err.code)
    assert.equal(1, interval:tick())
    assert.is_true(tcpnet.now() - started >= 0.0199)
  end)
end)
