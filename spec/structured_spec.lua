-- Structured concurrency: timeout, select, scope, each, JoinSet.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local reports = require "spec.support.reports"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"

local closer, in_task, nothing, it_both = steps.closer, steps.in_task, steps.nothing, steps.both(it)

-- A function that waits for ever and notes in the log that it was closed.
local function waiter(log, name)
  return function()
    local _guard <close> = closer(function()
      log[#log + 1] = name
    end)
    tcpnet.sleep(60)
    log[#log + 1] = name .. " went on"
  end
end

describe("timeout", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("gives the results of its function, nils included", function()
    assert.same({ n = 3, nil, 2, nil }, table.pack(tcpnet.timeout(5, function(...) return ... end, nil, 2, nil)))
    assert.equal(0, select("#", tcpnet.timeout(5, nothing)))
    assert.same({ n = 2, false, "x" }, table.pack(tcpnet.timeout(5, function()
      tcpnet.sleep(0.001)
      return false, "x"
    end)))
  end)

  it_both("says where what it ended was waiting, in whatever coroutine and behind whatever of the library", function()
    local stuck, _peer <close> = tcpnet.duplex(10)
    local place
    local function next_line(operation)
      local caller = debug.getinfo(2, "Sl")
      place = (" in %s at %s:%d"):format(operation, caller.short_src, caller.currentline + 1)
    end
    local function read()
      next_line "read_line"
      local got = stuck:read_line()
      return got
    end
    local function through(...) -- no tail call, which would take away the frame
      local results = table.pack(...)
      return table.unpack(results, 1, results.n)
    end
    for what, fn in pairs {
      ["a call"] = read,
      ["a coroutine"] = tcpnet.coroutine.wrap(read),
      ["a longer timeout"] = function() return through(tcpnet.timeout(9, read)) end,
      ["a pcall"] = function() return through(pcall(read)) end,
      ["what gives way"] = function()
        while true do
          next_line "yield"
          tcpnet.yield()
        end
      end,
    } do
      local _, err = tcpnet.timeout(0.002, fn)
      assert.equal("timed out" .. place, err.message, what)
      assert.equal(("timeout: timed out%s (TIMEOUT)"):format(place), tostring(err), what)
    end
    local _, err = tcpnet.timeout(0.002, tcpnet.sleep, 60) -- no Lua of the program's called it
    assert.equal("timed out", err.message)
  end)

  it_both("gives TIMEOUT of its own when the time is up", function()
    local started = tcpnet.now()
    local result, err = tcpnet.timeout(0.005, tcpnet.sleep, 60)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    assert.equal("timeout", err.op)
    assert.is_true(tcpnet.now() - started >= 0.005)
  end)

  it("is told from a stream's own timeout by its op", in_task(function()
    local client, server = tcp.pair()
    server:set_read_timeout(0.002)
    local _, err = tcpnet.timeout(10, server.read, server)
    assert.equal("TIMEOUT", err.code)
    assert.equal("read", err.op)
    server:set_read_timeout(10)
    _, err = tcpnet.timeout(0.002, server.read, server)
    assert.equal("TIMEOUT", err.code)
    assert.equal("timeout", err.op)
    client:close()
    server:close()
  end))

  it_both("closes its function's variables, in order, before it returns", function()
    local log = {}
    tcpnet.timeout(0.002, function()
      local _outer <close> = closer(function() log[#log + 1] = "outer" end)
      local _inner <close> = closer(function() log[#log + 1] = "inner" end)
      pcall(tcpnet.sleep, 60)
      log[#log + 1] = "went on"
    end)
    log[#log + 1] = "returned"
    assert.same({ "inner", "outer", "returned" }, log)
  end)

  it("runs its function in the same task", in_task(function()
    assert.equal(tcpnet.current(), tcpnet.timeout(5, tcpnet.current))
    assert.equal(tcpnet.current(), tcpnet.timeout(5, function()
      tcpnet.sleep(0.001)
      return tcpnet.current()
    end))
  end))

  it_both("passes an error unchanged", function()
    local value = {}
    local ok, err = pcall(tcpnet.timeout, 5, error, value)
    assert.is_false(ok)
    assert.equal(value, err)
    ok, err = pcall(tcpnet.timeout, 5, function()
      tcpnet.sleep(0.001)
      error("late", 0)
    end)
    assert.is_false(ok)
    assert.equal("late", err)
  end)

  it_both("gives the result that is ready although the time has passed (B254)", function()
    assert.equal("ready", tcpnet.timeout(0, function() return "ready" end))
    assert.equal("ready", tcpnet.timeout(0.001, function()
      local busy_until = tcpnet.now() + 0.005
      repeat until tcpnet.now() > busy_until -- luacheck: ignore
      return "ready"
    end))
  end)

  it("gives data that has arrived although the time has passed (B254)", in_task(function()
    local client, server = tcp.pair()
    client:write "there"
    assert.is_true(server:readable() ~= nil)
    assert.equal("there", tcpnet.timeout(0, server.read, server))
    client:close()
    server:close()
  end))

  it("prefers an event to a deadline that came in the same turn (B254)", in_task(function()
    local client, server = tcp.pair()
    local other = tcpnet.spawn(function()
      return tcpnet.timeout(0.005, server.read, server)
    end)
    tcpnet.yield()
    local busy_until = tcpnet.now() + 0.01
    client:write "in time"
    repeat until tcpnet.now() > busy_until -- luacheck: ignore
    assert.same({ true, "in time" }, { other:join() })
    client:close()
    server:close()
  end))

  it_both("of no time ends at the first wait", function()
    local _, err = tcpnet.timeout(0, tcpnet.sleep, 60)
    assert.equal("TIMEOUT", err.code)
  end)

  it_both("ends a loop of operations that are always ready (B256)", function()
    local client, server = tcp.pair()
    local count = 0
    local give_up = tcpnet.now() + 0.3
    local result, err = tcpnet.timeout(0.005, function()
      while tcpnet.now() < give_up do
        assert(client:write "x")
        assert(server:read(1))
        count = count + 1
      end
      return "never ended"
    end)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    assert.is_true(count > 0)
    client:close()
    server:close()
  end)

  it_both("ends a loop that only yields", function()
    for _, give_way in ipairs { tcpnet.yield, tcpnet.sleep } do
      local give_up = tcpnet.now() + 0.3
      local result, err = tcpnet.timeout(0.005, function()
        while tcpnet.now() < give_up do
          give_way(0)
        end
        return "never ended"
      end)
      assert.is_nil(result)
      assert.equal("TIMEOUT", err.code)
    end
  end)

  it_both("ends a loop of operations on what is buffered (B256)", function()
    local client, server = tcp.pair()
    client:write "x"
    local give_up = tcpnet.now() + 0.3
    local result, err = tcpnet.timeout(0.005, function()
      while tcpnet.now() < give_up do
        assert(server:peek(1))
      end
      return "never ended"
    end)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    client:close()
    server:close()
  end)

  it_both("within another: the inner one ends first", function()
    local log = {}
    local outer = tcpnet.timeout(10, function()
      local _, err = tcpnet.timeout(0.002, tcpnet.sleep, 60)
      log[1] = err.code
      return "outer goes on"
    end)
    assert.equal("outer goes on", outer)
    assert.equal("TIMEOUT", log[1])
  end)

  it_both("within another: the outer one ends both", function()
    local log = {}
    local result, err = tcpnet.timeout(0.002, function()
      local _guard <close> = closer(function() log[#log + 1] = "outer" end)
      tcpnet.timeout(10, waiter(log, "inner"))
      log[#log + 1] = "went on"
    end)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    assert.same({ "inner", "outer" }, log)
  end)

  it_both("of math.huge never ends its function", function()
    assert.equal("done", tcpnet.timeout(math.huge, function()
      tcpnet.sleep(0.002)
      return "done"
    end))
  end)

  it("refuses wrong arguments", function()
    for _, wrong in ipairs { -1, 0 / 0, "x", {} } do
      assert.is_false((pcall(tcpnet.timeout, wrong, nothing)))
      assert.is_nil((tcpnet.spawn(function() tcpnet.timeout(wrong, nothing) end):join()))
    end
    assert.is_false((pcall(tcpnet.timeout, 1)))
    assert.is_false((pcall(tcpnet.timeout, nil, nothing)))
    assert.error_matches(function() tcpnet.timeout(-1, nothing) end, "bad argument #1 to 'timeout'")
  end)

  it_both("loses nothing of what was not read", function()
    local client, server = tcp.pair()
    client:write "12345"
    local _, err = tcpnet.timeout(0.005, server.read_exact, server, 10)
    assert.equal("TIMEOUT", err.code)
    client:write "67890"
    assert.equal("1234567890", server:read_exact(10))
    client:close()
    server:close()
  end)

  it_both("is not sticky", function()
    tcpnet.timeout(0.001, tcpnet.sleep, 60)
    local started = tcpnet.now()
    tcpnet.sleep(0.005)
    assert.is_true(tcpnet.now() - started >= 0.005)
    assert.equal("fine", tcpnet.timeout(5, function()
      tcpnet.sleep(0.002)
      return "fine"
    end))
    tcpnet.sleep(0.002)
  end)

  it("closes its function when the task is cancelled from outside", function()
    local log = {}
    local task = tcpnet.spawn(function()
      local _guard <close> = closer(function() log[#log + 1] = "task" end)
      pcall(tcpnet.timeout, 50, waiter(log, "function"))
      log[#log + 1] = "went on"
    end)
    tcpnet.yield()
    task:cancel()
    assert.same({ "function", "task" }, log)
    assert.equal("cancelled", task:status())
  end)

  it("reports an error in a __close that it ran, and still gives TIMEOUT", function()
    local caught <close> = reports.catch(true)
    tcpnet.spawn(function()
      local _, err = tcpnet.timeout(0.002, function()
        local _guard <close> = closer(function() error "in closing" end)
        tcpnet.sleep(60)
      end)
      assert.equal("TIMEOUT", err.code)
    end):join()
    assert.equal(1, #caught)
    assert.matches("in closing", caught[1][2])
  end)

  it("that fails shows in its task's traceback where", function()
    local caught <close> = reports.catch(true)
    local function culprit()
      error "deep"
    end
    tcpnet.spawn(function()
      tcpnet.timeout(5, function()
        tcpnet.sleep(0.001)
        culprit()
      end)
    end)
    tcpnet.sleep(0.01)
    assert.matches("culprit", caught[1][3])
  end)
end)

describe("select", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("gives the key and the results of the first branch to return, nils included", function()
    local results = table.pack(tcpnet.select {
      slow = function() tcpnet.sleep(60) end,
      quick = function()
        tcpnet.sleep(0.001)
        return nil, 2, nil
      end,
    })
    assert.same({ n = 4, "quick", nil, 2, nil }, results)
    assert.same({ n = 1, 1 }, table.pack(tcpnet.select { nothing }))
  end)

  it_both("cancels the others before it returns", function()
    local log = {}
    local key = tcpnet.select { waiter(log, "a"), waiter(log, "b"), function() tcpnet.sleep(0.002) end }
    assert.equal(3, key)
    table.sort(log)
    assert.same({ "a", "b" }, log)
  end)

  it_both("starts array branches in order, and the first that is ready wins", function()
    local log = {}
    local key = tcpnet.select {
      function()
        log[#log + 1] = 1
        tcpnet.yield()
        return 1
      end,
      function()
        log[#log + 1] = 2
        tcpnet.yield()
        return 2
      end,
      function()
        log[#log + 1] = 3
        tcpnet.sleep(60)
      end,
    }
    assert.equal(1, key)
    assert.same({ 1, 2, 3 }, log)
    for _ = 1, 20 do
      assert.equal(1, (tcpnet.select { nothing, nothing, x = nothing }))
    end
  end)

  it_both("takes any key", function()
    local object = {}
    assert.equal(object, (tcpnet.select { [object] = nothing }))
    assert.equal(1.5, (tcpnet.select { [1.5] = nothing }))
    assert.equal(false, (tcpnet.select { [false] = nothing }))
    assert.equal(7, (tcpnet.select { [7] = nothing }))
  end)

  it_both("raises the error of a branch unchanged, with the others cancelled", function()
    local log, value = {}, {}
    local ok, err = pcall(tcpnet.select, {
      waiter(log, "a"),
      function()
        tcpnet.sleep(0.001)
        error(value)
      end,
    })
    assert.is_false(ok)
    assert.equal(value, err)
    assert.same({ "a" }, log)
    ok, err = pcall(tcpnet.select, { function() error(nil) end })
    assert.is_false(ok)
    assert.is_nil(err)
  end)

  it("reports no error that it raises", in_task(function()
    local caught <close> = reports.catch()
    pcall(tcpnet.select, { function() error "raised" end })
    tcpnet.sleep(0.001)
    assert.equal(0, #caught)
  end))

  it("refuses an empty table, and what is no function (B264)", function()
    assert.error_matches(function() tcpnet.select {} end, "bad argument #1 to 'select'")
    assert.error_matches(function() tcpnet.select() end, "bad argument #1 to 'select'")
    assert.error_matches(function() tcpnet.select { 1 } end, "bad argument #1 to 'select'")
    assert.error_matches(function() tcpnet.select { nothing, x = {} } end, "bad argument #1 to 'select'")
  end)

  it("loses nothing of what a loser had not read", in_task(function()
    local client, server = tcp.pair()
    client:write "12345"
    local key = tcpnet.select {
      all = function() return server:read_exact(10) end,
      clock = function() tcpnet.sleep(0.005) end,
    }
    assert.equal("clock", key)
    client:write "67890"
    assert.equal("1234567890", server:read_exact(10))
    client:close()
    server:close()
  end))

  it("is cancelled from outside with all its branches", function()
    local log = {}
    local task = tcpnet.spawn(function()
      pcall(tcpnet.select, { waiter(log, "a"), b = waiter(log, "b") })
      log[#log + 1] = "went on"
    end)
    tcpnet.yield()
    tcpnet.yield()
    task:cancel()
    table.sort(log)
    assert.same({ "a", "b" }, log)
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it_both("may be nested", function()
    assert.same({ "outer", "inner", 5 }, {
      tcpnet.select {
        outer = function()
          return tcpnet.select { inner = function() return 5 end, other = function() tcpnet.sleep(60) end }
        end,
        other = function() tcpnet.sleep(60) end,
      },
    })
  end)

  it("in a loop leaves no task and no timer behind", in_task(function()
    local before = tcpnet.metrics()
    for i = 1, 50 do
      local key, value = tcpnet.select {
        function() tcpnet.sleep(60) end,
        function()
          tcpnet.yield()
          return i
        end,
      }
      assert.equal(2, key)
      assert.equal(i, value)
    end
    local after = tcpnet.metrics()
    assert.equal(before.tasks, after.tasks)
    assert.equal(before.timers, after.timers)
  end))
end)

describe("scope", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("passes arguments and gives the results of its function, nils included", function()
    local results = table.pack(tcpnet.scope(function(scope, ...)
      assert.is_function(scope.spawn)
      return select("#", ...), nil, ...
    end, 1, nil))
    assert.same({ n = 4, 2, nil, 1, nil }, results)
    assert.equal(0, select("#", tcpnet.scope(nothing)))
  end)

  it_both("returns once every child is done, grandchildren of its included", function()
    local done = {}
    local result = tcpnet.scope(function(scope)
      for i = 1, 3 do
        scope:spawn(function(seconds)
          tcpnet.sleep(seconds)
          done[#done + 1] = i
          if i == 3 then
            scope:spawn(function()
              tcpnet.sleep(0.001)
              done[#done + 1] = "late"
            end)
          end
        end, i * 0.003)
      end
      return "first"
    end)
    assert.equal("first", result)
    assert.same({ 1, 2, 3, "late" }, done)
  end)

  it("gives a task for every child, that can be joined", in_task(function()
    local value = tcpnet.scope(function(scope)
      local child = scope:spawn(function(x) return x * 2 end, 21)
      return select(2, child:join())
    end)
    assert.equal(42, value)
  end))

  it_both("raises its function's error unchanged and cancels the children", function()
    local log, value = {}, {}
    local ok, err = pcall(tcpnet.scope, function(scope)
      scope:spawn(waiter(log, "child"))
      tcpnet.yield()
      error(value)
    end)
    assert.is_false(ok)
    assert.equal(value, err)
    assert.same({ "child" }, log)
  end)

  it_both("raises a child's error unchanged and cancels the rest, its function too", function()
    local log, value = {}, {}
    local ok, err = pcall(tcpnet.scope, function(scope)
      scope:spawn(waiter(log, "child"))
      scope:spawn(function()
        tcpnet.sleep(0.002)
        error(value)
      end)
      waiter(log, "function")()
    end)
    assert.is_false(ok)
    assert.equal(value, err)
    table.sort(log)
    assert.same({ "child", "function" }, log)
  end)

  it_both("raises an error that is nil or an Error as well", function()
    local ok, err = pcall(tcpnet.scope, function(scope) scope:spawn(error) end)
    assert.is_false(ok)
    assert.is_nil(err)
    local listener <close> = tcp.listener()
    listener:close()
    local failure = select(2, listener:accept())
    ok, err = pcall(tcpnet.scope, function(scope) scope:spawn(error, failure) end)
    assert.is_false(ok)
    assert.equal(failure, err)
  end)

  it_both("raises the first of several errors", function()
    local ok, err = pcall(tcpnet.scope, function(scope)
      scope:spawn(error, "first")
      scope:spawn(error, "second")
      tcpnet.sleep(60)
    end)
    assert.is_false(ok)
    assert.equal("first", err)
  end)

  it("reports none of the errors that it raises", in_task(function()
    local caught <close> = reports.catch()
    pcall(tcpnet.scope, function(scope) scope:spawn(error, "x") end)
    tcpnet.sleep(0.001)
    assert.equal(0, #caught)
  end))

  it_both("raises an Error of code CANCELED that a child raised itself", function()
    local victim = tcpnet.spawn(tcpnet.sleep, 60)
    victim:cancel()
    local canceled = select(2, victim:join())
    local ok, err = pcall(tcpnet.scope, function(scope) scope:spawn(error, canceled) end)
    assert.is_false(ok)
    assert.equal(canceled, err)
  end)

  it_both("goes on when a child alone is cancelled", function()
    local log = {}
    local result = tcpnet.scope(function(scope)
      local child = scope:spawn(waiter(log, "child"))
      scope:spawn(function()
        tcpnet.sleep(0.002)
        log[#log + 1] = "other"
      end)
      tcpnet.yield()
      child:cancel()
      return "fine"
    end)
    assert.equal("fine", result)
    assert.same({ "child", "other" }, log)
  end)

  it_both("is ended by its cancel, with all its children", function()
    local log = {}
    tcpnet.scope(function(scope)
      scope:spawn(waiter(log, "a"))
      scope:spawn(waiter(log, "b"))
      tcpnet.yield()
      scope:cancel()
    end)
    table.sort(log)
    assert.same({ "a", "b" }, log)
  end)

  it_both("gives the results of a function that cancels the scope and then returns", function()
    local log = {}
    local results = table.pack(tcpnet.scope(function(scope)
      scope:spawn(waiter(log, "a"))
      tcpnet.yield()
      scope:cancel()
      return "result", nil
    end))
    assert.same({ n = 2, "result", nil }, results)
    assert.same({ "a" }, log)
  end)

  it("may be cancelled by a child", in_task(function()
    local log = {}
    tcpnet.scope(function(scope)
      scope:spawn(waiter(log, "a"))
      scope:spawn(function()
        tcpnet.sleep(0.001)
        scope:cancel()
      end)
    end)
    assert.same({ "a" }, log)
  end))

  it("refuses to spawn once it has ended, and what is no function", in_task(function()
    local kept
    tcpnet.scope(function(scope)
      kept = scope
      assert.is_false((pcall(scope.spawn, scope, 1)))
    end)
    assert.is_false((pcall(kept.spawn, kept, nothing)))
    assert.error_matches(function() tcpnet.scope() end, "bad argument #1 to 'scope'")
  end))

  it("is cancelled from outside with its function and its children", function()
    local log = {}
    local task = tcpnet.spawn(function()
      pcall(tcpnet.scope, function(scope)
        scope:spawn(waiter(log, "a"))
        scope:spawn(waiter(log, "b"))
        waiter(log, "function")()
      end)
      log[#log + 1] = "went on"
    end)
    tcpnet.sleep(0.002)
    task:cancel()
    table.sort(log)
    assert.same({ "a", "b", "function" }, log)
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it("lets no task outlive it when it is timed out", in_task(function()
    local log = {}
    local _, err = tcpnet.timeout(0.05, tcpnet.scope, function(scope)
      scope:spawn(waiter(log, "child"))
    end)
    assert.equal("TIMEOUT", err.code)
    assert.same({ "child" }, log)
    assert.equal(1, tcpnet.metrics().tasks)
  end))

  it_both("may be nested, and an inner error ends all", function()
    local log = {}
    local ok, err = pcall(tcpnet.scope, function(outer)
      outer:spawn(waiter(log, "outer child"))
      outer:spawn(function()
        tcpnet.scope(function(inner)
          inner:spawn(waiter(log, "inner child"))
          tcpnet.sleep(0.001)
          error("inner", 0)
        end)
      end)
    end)
    assert.is_false(ok)
    assert.equal("inner", err)
    table.sort(log)
    assert.same({ "inner child", "outer child" }, log)
  end)
end)

describe("each", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("gives the outcomes in the order of the items, nils included", function()
    local outcomes = tcpnet.each({ 3, 1, 2 }, 3, function(item, index)
      tcpnet.sleep(item * 0.002)
      return nil, item, index, nil
    end)
    assert.equal(3, #outcomes)
    for index, item in ipairs { 3, 1, 2 } do
      assert.is_true(outcomes[index][1])
      assert.is_nil(outcomes[index][2])
      assert.equal(item, outcomes[index][3])
      assert.equal(index, outcomes[index][4])
    end
  end)

  it_both("runs no more at once than the limit, and as many", function()
    local now, most = 0, 0
    tcpnet.each({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 3, function()
      now = now + 1
      most = math.max(most, now)
      tcpnet.sleep(0.001)
      now = now - 1
    end)
    assert.equal(3, most)
    assert.equal(0, now)
  end)

  it_both("goes on after a failure, which is in the outcome", function()
    local value = {}
    local outcomes = tcpnet.each({ 1, 2, 3 }, 1, function(item)
      if item == 2 then
        error(value)
      end
      return item
    end)
    assert.same({ true, 1 }, outcomes[1])
    assert.is_nil(outcomes[2][1])
    assert.equal(value, outcomes[2][2])
    assert.same({ true, 3 }, outcomes[3])
  end)

  it("reports no failure that is in the outcome", in_task(function()
    local caught <close> = reports.catch()
    tcpnet.each({ 1, 2 }, 2, function() error "known" end)
    tcpnet.sleep(0.001)
    assert.equal(0, #caught)
  end))

  it_both("takes an iterator, which it asks only for what may run", function()
    local asked, running = 0, 0
    local outcomes = tcpnet.each(function()
      asked = asked + 1
      assert.is_true(running < 2)
      return asked <= 5 and asked * 10 or nil
    end, 2, function(item)
      running = running + 1
      tcpnet.sleep(0.001)
      running = running - 1
      return item
    end)
    assert.equal(6, asked)
    for i = 1, 5 do
      assert.same({ true, i * 10 }, outcomes[i])
    end
    assert.is_nil(outcomes[6])
  end)

  it("takes an iterator that waits", in_task(function()
    local count = 0
    local outcomes = tcpnet.each(function()
      tcpnet.sleep(0.001)
      count = count + 1
      return count <= 3 and count or nil
    end, 2, function(item) return item end)
    assert.same({ { true, 1 }, { true, 2 }, { true, 3 } }, outcomes)
  end))

  it("takes an iterator that is a coroutine of tcpnet's", in_task(function()
    local outcomes = tcpnet.each(tcpnet.coroutine.wrap(function()
      for i = 1, 3 do
        tcpnet.sleep(0.001)
        tcpnet.coroutine.yield(i)
      end
    end), 2, function(item) return item end)
    assert.same({ { true, 1 }, { true, 2 }, { true, 3 } }, outcomes)
  end))

  it_both("of no items gives an empty list", function()
    assert.same({}, tcpnet.each({}, 5, error))
    assert.same({}, tcpnet.each(nothing, 5, error))
  end)

  it_both("raises an iterator's error, with what runs cancelled", function()
    local log, count = {}, 0
    local ok, err = pcall(tcpnet.each, function()
      count = count + 1
      if count == 2 then
        tcpnet.sleep(0.002)
        error("no more", 0)
      end
      return count
    end, 5, waiter(log, "item"))
    assert.is_false(ok)
    assert.equal("no more", err)
    assert.same({ "item" }, log)
  end)

  it("refuses wrong arguments", function()
    assert.error_matches(function() tcpnet.each(1, 1, nothing) end, "bad argument #1 to 'each'")
    assert.error_matches(function() tcpnet.each({}, 0, nothing) end, "bad argument #2 to 'each'")
    assert.error_matches(function() tcpnet.each({}, 1.5, nothing) end, "bad argument #2 to 'each'")
    assert.error_matches(function() tcpnet.each({}, nil, nothing) end, "bad argument #2 to 'each'")
    assert.error_matches(function() tcpnet.each({}, 1) end, "bad argument #3 to 'each'")
  end)

  it("is cancelled from outside with what runs, and starts no more", function()
    local log = {}
    local task = tcpnet.spawn(function()
      pcall(tcpnet.each, { 1, 2, 3 }, 2, waiter(log, "item"))
      log[#log + 1] = "went on"
    end)
    tcpnet.sleep(0.002)
    task:cancel()
    assert.same({ "item", "item" }, log)
    assert.equal(0, tcpnet.metrics().tasks)
  end)
end)

describe("a JoinSet", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local JoinSet = tcpnet.JoinSet

  it_both("gives its tasks as they end, with their results, nils included", function()
    local set <close> = JoinSet.new()
    local slow = set:spawn(function(...)
      tcpnet.sleep(0.004)
      return ...
    end, "slow", nil)
    local quick = set:spawn(function() return nil, "quick" end)
    assert.same({ n = 4, quick, true, nil, "quick" }, table.pack(set:join_next()))
    assert.same({ n = 4, slow, true, "slow", nil }, table.pack(set:join_next()))
    assert.same({ n = 1, nil }, table.pack(set:join_next()))
  end)

  it_both("is gone through until it is empty, failures included", function()
    local set <close> = JoinSet.new()
    local got = {}
    for i = 1, 4 do
      set:spawn(function()
        tcpnet.sleep(i * 0.001)
        if i == 3 then
          error("no " .. i, 0)
        end
        return i, i == 4 and set:spawn(function() return 5, 6 end) and 4
      end)
    end
    for _, ok, first, second in set:iter() do
      got[#got + 1] = table.pack(ok or "failed", first, second or "")
    end
    assert.same({
      { n = 3, true, 1, "" }, { n = 3, true, 2, "" }, { n = 3, "failed", "no 3", "" }, { n = 3, true, 4, 4 },
      { n = 3, true, 5, 6 },
    }, got)
    local step = set:iter()
    assert.is_nil(step())
    assert.is_nil(step())
    tcp.raises(function() JoinSet.iter(5) end, "structured_spec.lua:", "bad argument #1 to 'iter'", "JoinSet expected")
  end)

  it("is gone through no further by what closes in a cancel", in_task(function()
    local seen
    local task = tcpnet.spawn(function()
      local set <close> = JoinSet.new()
      set:spawn(tcpnet.sleep, 60)
      local _end <close> = closer(function()
        seen = select(2, pcall(function()
          for _ in set:iter() do
            error "not reached"
          end
        end))
      end)
      tcpnet.sleep(60)
    end)
    tcpnet.sleep(0)
    task:cancel()
    assert.equal("CANCELED", seen.code)
  end))

  it("counts what was not yet given out", in_task(function()
    local set <close> = JoinSet.new()
    assert.equal(0, #set)
    set:spawn(nothing)
    set:spawn(tcpnet.sleep, 60)
    assert.equal(2, #set)
    tcpnet.yield()
    assert.equal(2, #set)
    set:join_next()
    assert.equal(1, #set)
    set:abort_all()
    assert.equal(1, #set)
    assert.equal("CANCELED", select(3, set:join_next()).code)
    assert.equal(0, #set)
  end))

  it("gives a failed task with what it raised, which is not reported", in_task(function()
    local caught <close> = reports.catch()
    local set <close> = JoinSet.new()
    local value = {}
    local task = set:spawn(error, value)
    tcpnet.sleep(0.001)
    local got, ok, err = set:join_next()
    assert.equal(task, got)
    assert.is_nil(ok)
    assert.equal(value, err)
    assert.equal(0, #caught)
  end))

  it("gives 8 results and 8 CANCELED when 8 of its 16 tasks are cancelled (B259)", in_task(function()
    local set <close> = JoinSet.new()
    local tasks = {}
    for i = 1, 16 do
      tasks[i] = set:spawn(function()
        tcpnet.sleep(0.003)
        return i
      end)
    end
    tcpnet.yield()
    for i = 1, 16, 2 do
      tasks[i]:cancel()
    end
    local results, cancelled = {}, 0
    while true do
      local task, ok, value = set:join_next()
      if not task then
        break
      end
      if ok then
        results[#results + 1] = value
      else
        assert.equal("CANCELED", value.code)
        cancelled = cancelled + 1
      end
    end
    table.sort(results)
    assert.same({ 2, 4, 6, 8, 10, 12, 14, 16 }, results)
    assert.equal(8, cancelled)
  end))

  it("that is collected aborts its 16 tasks (B258)", function()
    local tasks, closed = {}, 0
    local set = JoinSet.new()
    for i = 1, 16 do
      tasks[i] = set:spawn(function()
        local _guard <close> = closer(function()
          closed = closed + 1
        end)
        tcpnet.sleep(60)
      end)
    end
    tcpnet.yield()
    assert.equal(16, tcpnet.metrics().tasks)
    set = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    tcpnet.yield()
    for i = 1, 16 do
      assert.equal("cancelled", tasks[i]:status())
    end
    assert.equal(16, closed)
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it("that is collected while tasks of its end all the time is no trouble (B258)", function()
    collectgarbage "incremental"
    tcpnet.run(function()
      for i = 1, 300 do
        local set = JoinSet.new()
        for j = 1, 4 do
          set:spawn(function()
            for _ = 1, (i + j) % 7 do
              tcpnet.yield()
            end
          end)
        end
        set = nil -- luacheck: ignore
        tcpnet.yield()
        collectgarbage("step", 1)
      end
    end)
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it("that is closed aborts its tasks at once (B258)", in_task(function()
    local log = {}
    local kept
    do
      local set <close> = JoinSet.new()
      kept = set
      set:spawn(waiter(log, "a"))
      tcpnet.yield()
    end
    assert.same({ "a" }, log)
    assert.is_nil((kept:join_next()))
  end))

  it("that is empty after being waited for by another task wakes it", in_task(function()
    local set <close> = JoinSet.new()
    set:spawn(tcpnet.sleep, 0.003)
    local function take()
      return (set:join_next())
    end
    local a, b = tcpnet.spawn(take), tcpnet.spawn(take)
    local _, first = a:join(5)
    local _, second = b:join(5)
    assert.equal("userdata", type(first))
    assert.is_nil(second)
  end))

  it("gives each task to one waiter, in the order of their waiting", in_task(function()
    local set <close> = JoinSet.new()
    local takers = {}
    for i = 1, 4 do
      set:spawn(function()
        tcpnet.sleep(i * 0.002)
        return i
      end)
    end
    for i = 1, 4 do
      takers[i] = tcpnet.spawn(function()
        local _, _, value = set:join_next()
        return value
      end)
    end
    for i = 1, 4 do
      assert.same({ true, i }, { takers[i]:join(5) })
    end
  end))

  it("loses no task when a waiter is cancelled or timed out", in_task(function()
    local set <close> = JoinSet.new()
    local member = set:spawn(tcpnet.park)
    local cancelled = tcpnet.spawn(set.join_next, set)
    tcpnet.yield()
    local task, ok, err = set:join_next(0.001)
    assert.is_nil(task)
    assert.equal("TIMEOUT", tcpnet.is_error(ok) and ok.code or err and err.code)
    cancelled:cancel()
    member:unpark "kept"
    assert.equal("kept", select(3, set:join_next()))
  end))

  it("loses no task to a waiter that is cancelled after it was woken", in_task(function()
    local set <close> = JoinSet.new()
    local waiting = tcpnet.spawn(set.join_next, set)
    local gate
    set:spawn(function()
      gate = tcpnet.current()
      return tcpnet.park()
    end)
    waiting:cancel()
    waiting = tcpnet.spawn(set.join_next, set)
    local second = tcpnet.spawn(set.join_next, set)
    tcpnet.yield()
    tcpnet.yield()
    gate:unpark "value"
    tcpnet.spawn(function() waiting:cancel() end)
    tcpnet.yield()
    tcpnet.yield()
    -- either had it before the cancel, or the second one has it now
    local _, _, _, value = second:join(0.05)
    if value == nil then
      assert.equal("done", waiting:status())
      value = select(4, waiting:join())
    end
    assert.equal("value", value)
    second:cancel()
  end))

  it("is cancelled from outside in join_next, and its tasks with its scope", function()
    local log = {}
    local task = tcpnet.spawn(function()
      local set <close> = JoinSet.new()
      set:spawn(waiter(log, "a"))
      pcall(set.join_next, set)
      log[#log + 1] = "went on"
    end)
    tcpnet.sleep(0.002)
    task:cancel()
    assert.same({ "a" }, log)
  end)

  it("lets its tasks be joined besides", in_task(function()
    local set <close> = JoinSet.new()
    local task = set:spawn(function() return "both" end)
    assert.same({ true, "both" }, { task:join() })
    assert.equal("both", select(3, set:join_next()))
  end))

  it("may be filled by its own tasks", in_task(function()
    local set <close> = JoinSet.new()
    local seen = 0
    local function grow(depth)
      if depth > 0 then
        set:spawn(grow, depth - 1)
        set:spawn(grow, depth - 1)
      end
    end
    set:spawn(grow, 5)
    while set:join_next() do
      seen = seen + 1
    end
    assert.equal(63, seen)
  end))

  it("spawns outside tasks, and is joined there", function()
    local set <close> = JoinSet.new()
    for i = 1, 3 do
      set:spawn(function() return i end)
    end
    local sum = 0
    for _ = 1, 3 do
      sum = sum + select(3, set:join_next())
    end
    assert.equal(6, sum)
  end)

  it("shows what it is, and refuses wrong receivers and times", function()
    local set <close> = JoinSet.new()
    assert.matches("JoinSet", tostring(set))
    assert.error_matches(function() JoinSet.join_next {} end, "JoinSet expected")
    assert.error_matches(function() JoinSet.spawn(set, 1) end, "bad argument")
    assert.error_matches(function() set:join_next(-1) end, "bad argument")
    assert.error_matches(function() set:join_next(0 / 0) end, "bad argument")
  end)

  it("aborts a task that aborts the set in its __close", in_task(function()
    local set <close> = JoinSet.new()
    local closed = 0
    for _ = 1, 3 do
      set:spawn(function()
        local _guard <close> = closer(function()
          closed = closed + 1
          set:abort_all()
        end)
        tcpnet.sleep(60)
      end)
    end
    tcpnet.yield()
    set:abort_all()
    assert.equal(3, closed)
    for _ = 1, 3 do
      assert.equal("CANCELED", select(3, set:join_next()).code)
    end
  end))
end)
