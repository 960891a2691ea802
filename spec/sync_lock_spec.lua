-- The locks of tcpnet.sync: Semaphore, Mutex, Barrier, Notify.
local leaks = require "spec.support.leaks"
local reports = require "spec.support.reports"
local steps = require "spec.support.steps"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync
local closer, settle, in_task, waiting, result, is_closed, is_again, it_both = steps.all(it)

-- Calls fn with a full collection at the moment when the operation in it has found that it must wait: whatever a
-- collected guard gives back just then must not be missed.
local function collecting(fn, ...)
  debug.sethook(function()
    if debug.getinfo(2, "f").func == setmetatable then
      debug.sethook()
      collectgarbage()
    end
  end, "c")
  return fn(...)
end

describe("a Semaphore", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("gives permits as long as there are any", function()
    local semaphore = sync.Semaphore.new(3)
    assert.equal(3, semaphore:available_permits())
    local one, two = assert(semaphore:acquire()), assert(semaphore:acquire(2))
    assert.equal(0, semaphore:available_permits())
    is_again(semaphore:try_acquire())
    is_again(semaphore:try_acquire(2))
    one:release()
    one:release()
    assert.equal(1, semaphore:available_permits())
    is_again(semaphore:try_acquire(2))
    local again = assert(semaphore:try_acquire())
    two:release()
    again:release()
    assert.equal(3, semaphore:available_permits())
  end)

  it_both("acquire waits for a release", function()
    local semaphore = sync.Semaphore.new(0)
    tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      semaphore:add_permits(1)
    end)
    local permit = assert(semaphore:acquire())
    assert.equal(0, semaphore:available_permits())
    permit:release()
    assert.equal(1, semaphore:available_permits())
  end)

  it("serves in order, whatever the sizes", in_task(function()
    local semaphore = sync.Semaphore.new(0)
    local log, permits = {}, {}
    for i, n in ipairs { 2, 1, 3, 1 } do
      waiting(function()
        permits[i] = semaphore:acquire(n)
        log[#log + 1] = i
      end)
    end
    semaphore:add_permits(1)
    settle()
    assert.same({}, log) -- the second in line must not overtake the first
    is_again(semaphore:try_acquire())
    semaphore:add_permits(1)
    settle()
    assert.same({ 1 }, log)
    semaphore:add_permits(1)
    settle()
    assert.same({ 1, 2 }, log)
    semaphore:add_permits(4)
    settle()
    assert.same({ 1, 2, 3, 4 }, log)
    assert.equal(0, semaphore:available_permits())
    for i = 1, 4 do
      permits[i]:release()
    end
    assert.equal(7, semaphore:available_permits())
  end))

  it("gives a permit to who waits, not to who comes before that task runs", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local permit = semaphore:acquire()
    local task = waiting(semaphore.acquire, semaphore)
    permit:release()
    is_again(semaphore:try_acquire())
    assert.equal(0, semaphore:available_permits())
    result(task):release()
    assert.equal(1, semaphore:available_permits())
  end))

  it("lets those behind go on when the first in line is cancelled", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local big = waiting(semaphore.acquire, semaphore, 5)
    local small = waiting(semaphore.acquire, semaphore)
    big:cancel()
    result(small):release()
    assert.equal(1, semaphore:available_permits())
  end))

  it("gets back what was granted to a task that is cancelled before it ran", in_task(function()
    local semaphore = sync.Semaphore.new(0)
    local first = waiting(semaphore.acquire, semaphore, 2)
    local second, third = waiting(semaphore.acquire, semaphore), waiting(semaphore.acquire, semaphore)
    semaphore:add_permits(2)
    assert.equal("ready", first:status())
    first:cancel()
    local permits = { result(second), result(third) }
    assert.equal(0, semaphore:available_permits())
    permits[1]:release()
    permits[2]:release()
    local late = waiting(semaphore.acquire, semaphore, 3)
    semaphore:add_permits(1)
    late:cancel()
    assert.equal(3, semaphore:available_permits())
  end))

  it("gives up only the place in line to a timeout and a select", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local value, err = tcpnet.timeout(0.002, semaphore.acquire, semaphore, 2)
    assert.is_nil(value)
    assert.equal("TIMEOUT", err.code)
    assert.equal(2, tcpnet.select { function() return semaphore:acquire(2) end, function() tcpnet.yield() end })
    assert.equal(1, semaphore:available_permits())
    semaphore:acquire():release()
  end))

  it("forgets permits, and takes new ones", in_task(function()
    local semaphore = sync.Semaphore.new(2)
    local permit = semaphore:acquire(2)
    permit:forget()
    permit:release()
    assert.equal(0, semaphore:available_permits())
    semaphore:add_permits(3)
    semaphore:add_permits(0)
    assert.equal(3, semaphore:available_permits())
  end))

  it("takes its permits back by to-be-closed variables, and from the collector", in_task(function()
    local semaphore = sync.Semaphore.new(3)
    do
      local _permit <close> = semaphore:acquire(2)
      assert.equal(1, semaphore:available_permits())
    end
    assert.equal(3, semaphore:available_permits())
    local task = waiting(function()
      local _permit <close> = semaphore:acquire(3)
      tcpnet.sleep(60)
    end)
    local next_task = waiting(semaphore.acquire, semaphore, 3)
    task:cancel()
    assert.is_truthy(result(next_task))
    task, next_task = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(3, semaphore:available_permits())
  end))

  it("a collected permit wakes who waits for it", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local permit = semaphore:acquire() -- luacheck: ignore
    local task = waiting(semaphore.acquire, semaphore)
    permit = nil -- luacheck: ignore
    collectgarbage()
    assert.is_truthy(result(task))
  end))

  it("a permit that is collected just when acquire begins to wait is not missed", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local permit = semaphore:acquire() -- luacheck: ignore
    local task = tcpnet.spawn(function()
      permit = nil
      return (collecting(semaphore.acquire, semaphore))
    end)
    assert.is_truthy(result(task))
  end))

  it("close ends every wait, and every acquire to come", in_task(function()
    local semaphore = sync.Semaphore.new(1)
    local permit = semaphore:acquire()
    local tasks = { waiting(semaphore.acquire, semaphore), waiting(semaphore.acquire, semaphore, 2) }
    assert.is_false(semaphore:is_closed())
    semaphore:close()
    semaphore:close()
    assert.is_true(semaphore:is_closed())
    for _, task in ipairs(tasks) do
      is_closed("the semaphore is closed", result(task))
    end
    is_closed("the semaphore is closed", semaphore:acquire())
    is_closed("the semaphore is closed", semaphore:try_acquire())
    permit:release()
    assert.equal(1, semaphore:available_permits())
    is_closed("the semaphore is closed", semaphore:acquire(0))
  end))

  it("wants a count of permits, and blames the caller's line", function()
    local semaphore = sync.Semaphore.new(1)
    for name, call in pairs {
      new = function(n) sync.Semaphore.new(n) end,
      acquire = function(n) semaphore:acquire(n) end,
      try_acquire = function(n) semaphore:try_acquire(n) end,
      add_permits = function(n) semaphore:add_permits(n) end,
    } do
      for _, n in ipairs { -1, 1.5, "1", true } do
        local ok, message = pcall(call, n)
        assert.is_false(ok, name .. " of " .. tostring(n))
        local info = debug.getinfo(call, "S")
        assert.equal(("%s:%d: bad argument #1 to '%s' (permits: integer from 0 expected, got %s)")
          :format(info.short_src, info.linedefined, name, type(n) == "number" and tostring(n) or type(n)), message)
      end
    end
    assert.equal(1, semaphore:available_permits())
  end)

  it("bounds how many work at once", in_task(function()
    local semaphore = sync.Semaphore.new(3)
    local now, most = 0, 0
    tcpnet.scope(function(scope)
      for _ = 1, 20 do
        scope:spawn(function()
          local _permit <close> = semaphore:acquire()
          now = now + 1
          most = math.max(most, now)
          tcpnet.yield()
          now = now - 1
        end)
      end
    end)
    assert.equal(3, most)
    assert.equal(3, semaphore:available_permits())
  end))
end)

describe("a Mutex", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("is held by one guard at a time", function()
    local mutex = sync.Mutex.new()
    local guard = assert(mutex:lock())
    is_again(mutex:try_lock())
    guard:unlock()
    guard = assert(mutex:try_lock())
    is_again(mutex:try_lock())
    guard:unlock()
    guard:unlock()
  end)

  it_both("lock waits for the guard's unlock, which may come from any task", function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock()
    tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      guard:unlock()
    end)
    mutex:lock():unlock()
  end)

  it("serves in order", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock()
    local log = {}
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = waiting(function()
        local _guard <close> = mutex:lock()
        log[#log + 1] = i
        tcpnet.yield()
      end)
    end
    tasks[2]:cancel()
    guard:unlock()
    is_again(mutex:try_lock())
    for _, i in ipairs { 1, 3, 4, 5 } do
      result(tasks[i])
    end
    assert.same({ 1, 3, 4, 5 }, log)
  end))

  it("unlocking twice does not take it from the next", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock()
    guard:unlock()
    local other = mutex:lock()
    guard:unlock()
    is_again(mutex:try_lock())
    other:unlock()
  end))

  it("keeps a critical section together across waits", in_task(function()
    local mutex = sync.Mutex.new()
    local value = 0
    tcpnet.scope(function(scope)
      for _ = 1, 20 do
        scope:spawn(function()
          for _ = 1, 5 do
            local _guard <close> = mutex:lock()
            local before = value
            tcpnet.yield()
            value = before + 1
          end
        end)
      end
    end)
    assert.equal(100, value)
  end))

  it("is released when the task that holds it is cancelled, or fails", in_task(function()
    local caught <close> = reports.catch(true)
    local mutex = sync.Mutex.new()
    for _, ending in ipairs { "cancel", "error" } do
      local task = waiting(function()
        local _guard <close> = mutex:lock()
        tcpnet.park()
        error("failed", 0)
      end)
      local next_task = waiting(function()
        local _guard <close> = mutex:lock()
        return "next"
      end)
      if ending == "cancel" then
        task:cancel()
      else
        task:unpark()
      end
      assert.equal("next", result(next_task))
      assert.equal(ending == "cancel" and "cancelled" or "failed", task:status())
    end
    assert.equal(1, #caught)
    mutex:try_lock():unlock()
  end))

  it("is released when its guard is collected, and the next in line has it", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock() -- luacheck: ignore
    local task = waiting(mutex.lock, mutex)
    guard = nil -- luacheck: ignore
    collectgarbage()
    result(task):unlock()
    mutex:try_lock():unlock()
  end))

  it("a guard that is collected just when lock begins to wait is not missed", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock() -- luacheck: ignore
    local task = tcpnet.spawn(function()
      guard = nil
      collecting(mutex.lock, mutex):unlock()
      return "locked"
    end)
    assert.equal("locked", result(task))
  end))

  it("goes on to the next when the one it was given to is cancelled", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock()
    local first, second = waiting(mutex.lock, mutex), waiting(mutex.lock, mutex)
    guard:unlock()
    assert.equal("ready", first:status())
    first:cancel()
    result(second):unlock()
    mutex:try_lock():unlock()
  end))

  it("is given back by a lock that lost a timeout or a select", in_task(function()
    local mutex = sync.Mutex.new()
    local guard = mutex:lock()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, mutex.lock, mutex)).code)
    local key = tcpnet.select {
      function() return mutex:lock() end,
      function()
        guard:unlock()
        return "unlocked"
      end,
    }
    assert.equal(2, key)
    mutex:try_lock():unlock()
  end))

  it("is locked and unlocked in the __close of a cancelled task", in_task(function()
    local mutex = sync.Mutex.new()
    local log = {}
    local task = waiting(function()
      local _cleanup <close> = closer(function()
        local guard <close> = mutex:lock()
        log[#log + 1] = guard and "locked"
      end)
      tcpnet.sleep(60)
    end)
    task:cancel()
    assert.same({ "locked" }, log)
    mutex:try_lock():unlock()
  end))
end)

describe("a Barrier", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("lets all go on when the last has come, which is the leader", function()
    local barrier = sync.Barrier.new(3)
    local tasks = { waiting(barrier.wait, barrier), waiting(barrier.wait, barrier) }
    assert.is_true(barrier:wait())
    assert.is_false(result(tasks[1]))
    assert.is_false(result(tasks[2]))
  end)

  it_both("can be used again, at once", function()
    local barrier = sync.Barrier.new(2)
    local rounds, leaders = {}, 0
    local tasks = {}
    for i = 1, 2 do
      tasks[i] = tcpnet.spawn(function()
        for round = 1, 10 do
          rounds[i] = round
          if barrier:wait() then
            leaders = leaders + 1
          end
          assert.is_true(math.abs(rounds[1] - rounds[2]) <= 1)
        end
      end)
    end
    result(tasks[1])
    result(tasks[2])
    assert.equal(10, leaders)
  end)

  it("of one, or none, never waits", in_task(function()
    for n = 0, 1 do
      local barrier = sync.Barrier.new(n)
      for _ = 1, 3 do
        assert.is_true(barrier:wait())
      end
    end
  end))

  it("does not count who is cancelled", in_task(function()
    local barrier = sync.Barrier.new(2)
    waiting(barrier.wait, barrier):cancel()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, barrier.wait, barrier)).code)
    local task = waiting(barrier.wait, barrier)
    assert.is_true(barrier:wait())
    assert.is_false(result(task))
    task = waiting(barrier.wait, barrier)
    barrier:wait() -- opened: who is cancelled now was through
    task:cancel()
    waiting(barrier.wait, barrier):cancel()
  end))

  it("wants a count, and blames the caller's line", function()
    local call = function(n) sync.Barrier.new(n) end
    local info = debug.getinfo(call, "S")
    for _, n in ipairs { -1, 0.5, "2", false } do
      local ok, message = pcall(call, n)
      assert.is_false(ok)
      assert.equal(("%s:%d: bad argument #1 to 'new' (n: integer from 0 expected, got %s)")
        :format(info.short_src, info.linedefined, type(n) == "number" and tostring(n) or type(n)), message)
    end
  end)
end)

describe("a Notify", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("keeps one notification for who comes next, and only one", function()
    local notify = sync.Notify.new()
    notify:notify_one()
    notify:notify_one()
    assert.is_true(notify:notified())
    local task = waiting(notify.notified, notify)
    notify:notify_one()
    assert.is_true(result(task))
  end)

  it("wakes one for each, in order", in_task(function()
    local notify = sync.Notify.new()
    local log = {}
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = waiting(function()
        notify:notified()
        log[#log + 1] = i
      end)
    end
    notify:notify_one()
    settle()
    assert.same({ 1 }, log)
    tasks[2]:cancel()
    notify:notify_one()
    notify:notify_one()
    settle()
    assert.same({ 1, 3, 4 }, log)
  end))

  it("notify_waiters wakes all that wait, and keeps nothing", in_task(function()
    local notify = sync.Notify.new()
    notify:notify_waiters()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = waiting(notify.notified, notify)
    end
    notify:notify_waiters()
    local late = tcpnet.spawn(notify.notified, notify)
    for i = 1, 3 do
      assert.is_true(result(tasks[i]))
    end
    settle()
    assert.equal("waiting", late:status())
    late:cancel()
  end))

  it("a woken waiter that is cancelled passes notify_one on, to the next or to who comes", in_task(function()
    local notify = sync.Notify.new()
    local first, second = waiting(notify.notified, notify), waiting(notify.notified, notify)
    notify:notify_one()
    assert.equal("ready", first:status())
    first:cancel()
    assert.is_true(result(second))
    first = waiting(notify.notified, notify)
    notify:notify_one()
    first:cancel()
    assert.is_true(tcpnet.timeout(10, notify.notified, notify))
  end))

  it("a woken waiter that is cancelled passes notify_waiters on to nobody", in_task(function()
    local notify = sync.Notify.new()
    local first = waiting(notify.notified, notify)
    notify:notify_waiters()
    first:cancel()
    local late = waiting(notify.notified, notify)
    late:cancel()
  end))

  it("loses no notification to a timeout or a select", in_task(function()
    local notify = sync.Notify.new()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, notify.notified, notify)).code)
    local key = tcpnet.select {
      function() return notify:notified() end,
      function()
        notify:notify_one()
        return "notified"
      end,
    }
    assert.equal(2, key)
    assert.is_true(tcpnet.timeout(10, notify.notified, notify))
  end))

  it("a notification by a finalizer just when notified begins to wait is not missed", in_task(function()
    local notify = sync.Notify.new()
    local task = tcpnet.spawn(function()
      setmetatable({}, { __gc = function() notify:notify_one() end })
      return (collecting(notify.notified, notify))
    end)
    assert.is_true(result(task))
  end))
end)
