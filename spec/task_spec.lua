-- Tasks: spawn, join, cancel, park, and what becomes of their errors.
local tcpnet = require "tcpnet"
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local reports = require "spec.support.reports"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"

local closer, nothing = steps.closer, steps.nothing

-- Lets every task that is ready run once.
local function settle()
  tcpnet.spawn(nothing):join()
end

describe("a task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gets the arguments of spawn, nils included", function()
    local got
    tcpnet.spawn(function(...)
      got = table.pack(...)
    end, 1, nil, "three", nil):join()
    assert.same({ n = 4, 1, nil, "three", nil }, got)
  end)

  it("gives its results to join after true, nils included", function()
    local task = tcpnet.spawn(function()
      return nil, 2, nil
    end)
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(task:join()))
  end)

  it("gives one result, and none, to join", function()
    assert.same({ n = 2, true, false }, table.pack(tcpnet.spawn(function() return false end):join()))
    assert.same({ n = 2, true, nil }, table.pack(tcpnet.spawn(function() return nil end):join()))
    assert.same({ n = 1, true }, table.pack(tcpnet.spawn(nothing):join()))
  end)

  it("takes and gives two hundred values", function()
    local numbers = {}
    for i = 1, 200 do
      numbers[i] = i
    end
    local got = table.pack(tcpnet.spawn(function(...) return ... end, table.unpack(numbers)):join())
    assert.equal(201, got.n)
    assert.equal(200, got[201])
  end)

  it("starts later, in the order of the spawns", function()
    local order = {}
    local last
    for i = 1, 100 do
      last = tcpnet.spawn(function()
        order[#order + 1] = i
      end)
    end
    assert.same({}, order)
    last:join()
    for i = 1, 100 do
      assert.equal(i, order[i])
    end
  end)

  it("may be joined by several tasks, and again when it is done", function()
    local task = tcpnet.spawn(function()
      tcpnet.sleep(0.005)
      return "result"
    end)
    local joiners = {}
    for i = 1, 3 do
      joiners[i] = tcpnet.spawn(function()
        return task:join()
      end)
    end
    for i = 1, 3 do
      assert.same({ true, true, "result" }, { joiners[i]:join() })
    end
    assert.same({ true, "result" }, { task:join() })
  end)

  it("cannot be made of what is no function", function()
    assert.error_matches(function() tcpnet.spawn(nil) end, "bad argument #1 to 'spawn'")
    assert.error_matches(function() tcpnet.spawn {} end, "bad argument #1 to 'spawn'")
  end)

  it("is the receiver of its methods and nothing else is", function()
    for _, name in ipairs { "join", "cancel", "status", "name", "unpark" } do
      for _, wrong in ipairs { io.stdout, {}, "text", 1, tcpnet.JoinSet.new() } do
        assert.error_matches(function() tcpnet.Task[name](wrong) end, "bad argument #1 to '.-' %(Task expected")
      end
    end
  end)

  it("is told by current, which is nil outside tasks", function()
    local inside
    local task = tcpnet.spawn(function()
      inside = tcpnet.current()
      tcpnet.yield()
      return tcpnet.current() == inside
    end)
    assert.is_nil(tcpnet.current())
    assert.same({ true, true }, { task:join() })
    assert.equal(task, inside)
    assert.is_nil(tcpnet.current())
  end)

  it("has a name that can be set and is shown", function()
    local task = tcpnet.spawn(nothing)
    assert.is_nil(task:name())
    assert.equal(task, task:name "reader")
    assert.equal("reader", task:name())
    assert.matches("reader", tostring(task))
    assert.error_matches(function() task:name {} end, "bad argument")
    task:join()
    assert.equal("reader", task:name())
  end)

  it("does not lose what a task is called with, or ends with, to a name given at any time", function()
    for when = 1, 3 do
      local task = tcpnet.spawn(function(...)
        tcpnet.yield()
        return ...
      end, when, "and", nil)
      if when == 1 then
        task:name "early"
      end
      settle()
      if when == 2 then
        task:name "late"
      end
      collectgarbage()
      local joined = table.pack(task:join())
      if when == 3 then
        task:name "last"
      end
      collectgarbage()
      assert.same({ true, when, "and", n = 4 }, joined)
      assert.same(joined, table.pack(task:join()))
      assert.equal(({ "early", "late", "last" })[when], task:name())
    end
    local failing = tcpnet.spawn(error, "oh"):name "failing"
    local _, err = failing:join()
    assert.matches("oh", err)
    local cancelled = tcpnet.spawn(tcpnet.sleep, 60):name "cancelled"
    settle()
    assert.is_true(cancelled:cancel())
    assert.is_true(select(2, cancelled:join()):is "CANCELED")
  end)

  it("nor to one that a finalizer gives in the middle of another", function()
    for n in collect.each_time() do
      local task = tcpnet.spawn(function(...) return ... end, n, "and")
      collect.during_nth(n, function() task:name "inner" end, task.name, task, "outer")
      assert.equal("outer", task:name())
      assert.same({ true, n, "and" }, { task:join() })
    end
  end)

  it("does not inherit the name of an older task", function()
    for i = 1, 500 do
      tcpnet.spawn(nothing):name("old " .. i):join()
    end
    collectgarbage()
    collectgarbage()
    for _ = 1, 500 do
      local task <close> = tcpnet.spawn(nothing)
      assert.is_nil(task:name())
    end
  end)

  it("does not inherit the traceback of an older task", function()
    local function of_an_older_task()
      error "older"
    end
    for _ = 1, 500 do
      tcpnet.spawn(function()
        of_an_older_task()
      end):join()
    end
    collectgarbage()
    collectgarbage()
    local caught <close> = reports.catch(true)
    for _ = 1, 500 do
      tcpnet.spawn(error, "younger")
    end
    tcpnet.sleep(0.001)
    assert.equal(500, #caught)
    for i = 1, 500 do
      assert.not_matches("of_an_older_task", caught[i][3])
    end
  end)

  it("shows what it is and its state", function()
    local task = tcpnet.spawn(nothing)
    assert.matches("[Tt]ask.*ready", tostring(task))
    task:join()
    assert.matches("[Tt]ask.*done", tostring(task))
  end)

  it("goes through ready, running, waiting and done", function()
    local seen
    local task
    task = tcpnet.spawn(function()
      seen = task:status()
      tcpnet.sleep(0.002)
    end)
    assert.equal("ready", task:status())
    settle()
    assert.equal("running", seen)
    assert.equal("waiting", task:status())
    task:join()
    assert.equal("done", task:status())
  end)

  it("is ready, not waiting, after yield", function()
    local task = tcpnet.spawn(tcpnet.yield)
    tcpnet.yield()
    assert.equal("ready", task:status())
    task:join()
  end)

  it("is failed after an error and cancelled after a cancel", function()
    local failing = tcpnet.spawn(error, {})
    failing:join()
    assert.equal("failed", failing:status())
    local cancelled = tcpnet.spawn(tcpnet.sleep, 10)
    settle()
    cancelled:cancel()
    assert.equal("cancelled", cancelled:status())
  end)

  it("runs in the blocking mode of whoever waits outside tasks", function()
    local ran = 0
    local task = tcpnet.spawn(function()
      for _ = 1, 3 do
        tcpnet.sleep(0.001)
        ran = ran + 1
      end
    end)
    tcpnet.sleep(0.02)
    assert.is_true(ran > 0)
    task:join()
    assert.equal(3, ran)
  end)

  it("gives way to the others in yield", function()
    local order = {}
    local function member(name)
      for _ = 1, 3 do
        order[#order + 1] = name
        tcpnet.yield()
      end
    end
    local a, b = tcpnet.spawn(member, "a"), tcpnet.spawn(member, "b")
    a:join()
    b:join()
    assert.equal("ababab", table.concat(order))
  end)

  it("is not kept alive for its user, who may drop it", function()
    local done = false
    tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      done = true
    end)
    collectgarbage()
    collectgarbage()
    tcpnet.sleep(0.02)
    assert.is_true(done)
  end)

  it("gives its memory back when it is done", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local value = {}
      weak[value] = true
      weak[tcpnet.spawn(function() return value end)] = true
    end
    settle()
    settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("that waits keeps the stream it reads, whoever else forgot it (F1, F2)", function()
    local client, server = tcp.pair()
    local task = tcpnet.spawn(function(stream)
      local data = stream:read()
      stream:close()
      return data
    end, server)
    server = nil -- luacheck: ignore
    settle()
    collectgarbage()
    collectgarbage()
    client:write "still there"
    assert.same({ true, "still there" }, { task:join() })
    client:close()
  end)
end)

describe("join", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("ends with TIMEOUT of its own, and the task goes on", function()
    local task = tcpnet.spawn(function()
      tcpnet.sleep(0.02)
      return "late"
    end)
    local ok, err = task:join(0.002)
    assert.is_nil(ok)
    assert.equal("TIMEOUT", err.code)
    assert.equal("join", err.op)
    assert.same({ true, "late" }, { task:join(5) })
  end)

  it("with no time at all asks only whether the task is done", function()
    local task = tcpnet.spawn(tcpnet.sleep, 10)
    local ok, err = task:join(0)
    assert.is_nil(ok)
    assert.equal("TIMEOUT", err.code)
    task:cancel()
    local done = tcpnet.spawn(nothing)
    done:join()
    assert.is_true(done:join(0))
  end)

  it("refuses a time that is negative or NaN", function()
    local task = tcpnet.spawn(nothing)
    assert.error_matches(function() task:join(-1) end, "bad argument #%d to 'join'")
    assert.error_matches(function() task:join(0 / 0) end, "bad argument #%d to 'join'")
    task:join(math.huge)
  end)

  it("of oneself raises", function()
    local task = tcpnet.spawn(function()
      return pcall(function() return tcpnet.current():join() end)
    end)
    local _, ok, message = task:join()
    assert.is_false(ok)
    assert.matches("join", message)
  end)

  it("gives an error string as it was raised, with its position", function()
    local task = tcpnet.spawn(function()
      error "broken"
    end)
    local ok, err = task:join()
    assert.is_nil(ok)
    assert.matches("^spec/task_spec%.lua:%d+: broken$", err)
  end)

  it("gives any other value unchanged", function()
    local value = setmetatable({}, { __index = { is_error = true } })
    local ok, err = tcpnet.spawn(error, value):join()
    assert.is_nil(ok)
    assert.equal(value, err)
    assert.same({ n = 2, nil, nil }, table.pack(tcpnet.spawn(error, nil):join()))
    assert.same({ n = 2, nil, false }, table.pack(tcpnet.spawn(error, false):join()))
  end)

  it("gives an Error the traceback of the task that raised it", function()
    local function where_it_failed()
      local listener <close> = tcp.listener()
      listener:close()
      error(select(2, listener:accept()))
    end
    local ok, err = tcpnet.spawn(function()
      where_it_failed()
    end):join()
    assert.is_nil(ok)
    assert.is_true(tcpnet.is_error(err, "CLOSED"))
    assert.matches("where_it_failed", err.traceback)
    assert.matches("where_it_failed", tostring(err))
  end)

  it("gives CANCELED for a task that was cancelled", function()
    local task = tcpnet.spawn(tcpnet.sleep, 10)
    task:cancel()
    local ok, err = task:join()
    assert.is_nil(ok)
    assert.equal("CANCELED", err.code)
  end)

  it("is woken when the task that it waits for is cancelled", function()
    local task = tcpnet.spawn(tcpnet.sleep, 10)
    local joiner = tcpnet.spawn(function() return task:join() end)
    settle()
    task:cancel()
    local _, ok, err = joiner:join()
    assert.is_nil(ok)
    assert.equal("CANCELED", err.code)
  end)

  it("that is cancelled leaves the task alone", function()
    local task = tcpnet.spawn(tcpnet.sleep, 0.01)
    local joiner = tcpnet.spawn(function() return task:join() end)
    settle()
    joiner:cancel()
    assert.equal("waiting", task:status())
    assert.is_true(task:join())
  end)
end)

describe("an error of a task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that nobody joins goes to on_task_error, with the traceback", function()
    local caught <close> = reports.catch()
    local function culprit()
      error "lost"
    end
    local task = tcpnet.spawn(function()
      culprit()
    end)
    tcpnet.sleep(0.001)
    assert.equal(1, #caught)
    assert.equal(task, caught[1][1])
    assert.matches("lost$", caught[1][2])
    assert.matches("stack traceback", caught[1][3])
    assert.matches("culprit", caught[1][3])
  end)

  it("that is no string goes there unchanged", function()
    local caught <close> = reports.catch()
    local value = {}
    tcpnet.spawn(error, value)
    tcpnet.sleep(0.001)
    assert.equal(value, caught[1][2])
    assert.is_string(caught[1][3])
  end)

  it("is reported though it is nil", function()
    local caught <close> = reports.catch()
    tcpnet.spawn(error)
    tcpnet.sleep(0.001)
    assert.equal(1, #caught)
    assert.is_nil(caught[1][2])
  end)

  it("of each of three tasks is reported, and the sockets still close (F4)", function()
    local caught <close> = reports.catch()
    local streams = {}
    for i = 1, 3 do
      local client, server = tcp.pair()
      streams[i] = client
      tcpnet.spawn(function()
        local mine <close> = server
        error("failure " .. mine:read())
      end)
    end
    local client, server = tcp.pair()
    local healthy = tcpnet.spawn(function()
      local mine <close> = server
      return mine:read()
    end)
    settle()
    for i = 1, 3 do
      streams[i]:write(tostring(i))
    end
    client:write "well"
    assert.same({ true, "well" }, { healthy:join() })
    tcpnet.sleep(0.005)
    assert.equal(3, #caught)
    for i = 1, 3 do
      assert.is_nil((streams[i]:read()))
      streams[i]:close()
    end
    client:close()
  end)

  it("is not reported when somebody waits in join for it", function()
    local caught <close> = reports.catch()
    local task = tcpnet.spawn(function()
      tcpnet.sleep(0.001)
      error "expected"
    end)
    local ok = task:join()
    assert.is_nil(ok)
    assert.equal(0, #caught)
  end)

  it("is not reported for a cancel", function()
    local caught <close> = reports.catch()
    local task = tcpnet.spawn(tcpnet.sleep, 10)
    settle()
    task:cancel()
    tcpnet.sleep(0.001)
    assert.equal(0, #caught)
  end)

  it("is taken with its traceback before the to-be-closed variables are closed, which may wait", function()
    local log = {}
    local task
    task = tcpnet.spawn(function()
      local _first <close> = closer(function(_, err)
        log[#log + 1] = "first " .. tostring(err):match "inner"
      end)
      local _second <close> = closer(function()
        tcpnet.sleep(0.002)
        log[#log + 1] = tcpnet.current() == task and "second" or "another task"
      end)
      error "inner failure"
    end)
    local _, err = task:join()
    assert.matches("inner failure", err)
    assert.same({ "second", "first inner" }, log)
    assert.equal("failed", task:status())
  end)

  it("may come from an operation that failed while others have events in the same batch", function()
    local caught <close> = reports.catch(true)
    local pairs_of = {}
    for i = 1, 8 do
      pairs_of[i] = { tcp.pair() }
    end
    local got = {}
    for i, both in ipairs(pairs_of) do
      tcpnet.spawn(function()
        local stream <close> = both[2]
        got[i] = stream:read()
        if i % 2 == 0 then
          error(i)
        end
      end)
    end
    settle()
    for _, both in ipairs(pairs_of) do
      both[1]:write "x"
    end
    tcpnet.sleep(0.01)
    assert.equal(8, #got)
    assert.equal(4, #caught)
    for _, both in ipairs(pairs_of) do
      both[1]:close()
    end
  end)

  it("of a stack overflow is an error like others", function()
    local function deeper()
      return 1 + deeper()
    end
    local ok, err = tcpnet.spawn(deeper):join()
    assert.is_nil(ok)
    assert.matches("stack overflow", err)
  end)

  it("goes to stderr by default, with the task's name and the traceback", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local function culprit() error "never silent" end
      tcpnet.spawn(function() culprit() end):name "worker"
      tcpnet.sleep(0.01)
      print "goes on"
    ]]
    assert.equal(0, code)
    assert.matches("worker", output)
    assert.matches("never silent", output)
    assert.matches("stack traceback", output)
    assert.matches("culprit", output)
    assert.matches("goes on\n$", output)
  end)

  it("in on_task_error goes to stderr", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      tcpnet.configure { on_task_error = function() error "the handler is broken too" end }
      tcpnet.spawn(error, "first")
      tcpnet.sleep(0.01)
      print "goes on"
    ]]
    assert.equal(0, code)
    assert.matches("the handler is broken too", output)
    assert.matches("goes on\n$", output)
  end)

  it("finds on_task_error outside every task, where waiting is refused", function()
    local seen
    tcpnet.configure {
      on_task_error = function()
        seen = { current = tcpnet.current(), waited = pcall(tcpnet.sleep, 0.001) }
        return true
      end,
    }
    tcpnet.spawn(error, "x")
    tcpnet.sleep(0.005)
    tcpnet.configure { on_task_error = false }
    assert.same({ waited = false }, seen)
  end)

  it("may be answered by on_task_error with a new task", function()
    local restarted
    tcpnet.configure {
      on_task_error = function()
        tcpnet.spawn(function()
          restarted = true
        end)
        return true
      end,
    }
    tcpnet.spawn(error, "x")
    tcpnet.sleep(0.005)
    tcpnet.configure { on_task_error = false }
    assert.is_true(restarted)
  end)
end)

describe("cancel", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- What makes a task wait, by name; each gets a list for what it has to close.
  local waits = {
    sleep = function()
      tcpnet.sleep(30)
    end,
    ["sleep for ever"] = function()
      tcpnet.sleep(math.huge)
    end,
    yield = function()
      tcpnet.yield()
    end,
    read = function(open)
      open[1], open[2] = tcp.pair()
      open[2]:read()
    end,
    read_exact = function(open)
      open[1], open[2] = tcp.pair()
      open[1]:write "12"
      open[2]:read_exact(3)
    end,
    readable = function(open)
      open[1], open[2] = tcp.pair()
      open[2]:readable()
    end,
    write = function(open)
      open[1], open[2] = tcp.pair()
      open[1]:write(("x"):rep(16 * 1024 * 1024))
    end,
    accept = function(open)
      open[1] = tcp.listener()
      open[1]:accept()
    end,
    connect = function(open)
      local listener, waiting = tcp.silent_listener()
      table.move(waiting, 1, #waiting, 1, open)
      open[#open + 1], open.connecting = listener, true
      tcpnet.TcpStream.connect(listener:local_addr())
    end,
    join = function()
      local child <close> = tcpnet.spawn(tcpnet.sleep, 30)
      child:join()
    end,
    ["join with a time"] = function()
      local child <close> = tcpnet.spawn(tcpnet.sleep, 30)
      child:join(20)
    end,
    park = function()
      tcpnet.park()
    end,
    ["park with a time"] = function()
      tcpnet.park(30)
    end,
    join_next = function()
      local set <close> = tcpnet.JoinSet.new()
      set:spawn(tcpnet.sleep, 30)
      set:join_next()
    end,
    timeout = function()
      tcpnet.timeout(20, tcpnet.sleep, 30)
    end,
    select = function()
      tcpnet.select { tcpnet.park, function() tcpnet.sleep(30) end }
    end,
    scope = function()
      tcpnet.scope(function(scope)
        scope:spawn(tcpnet.sleep, 30)
      end)
    end,
    each = function()
      tcpnet.each({ 30, 30 }, 1, tcpnet.sleep)
    end,
    ["a coroutine's wait"] = function()
      tcpnet.coroutine.wrap(function()
        tcpnet.sleep(30)
      end)()
    end,
    ["an interval's tick"] = function()
      local interval = tcpnet.interval(30)
      interval:tick()
      interval:tick()
    end,
    copy = function(open)
      open[1], open[2] = tcp.pair()
      open[3], open[4] = tcp.pair()
      tcpnet.copy(open[1], open[3])
    end,
    copy_bidirectional = function(open)
      open[1], open[2] = tcp.pair()
      open[3], open[4] = tcp.pair()
      tcpnet.copy_bidirectional(open[1], open[3])
    end,
    lookup_host = function()
      tcpnet.lookup_host("localhost", 80)
    end,
  }
  local names = {}
  for name in pairs(waits) do
    names[#names + 1] = name
  end
  table.sort(names)

  for _, name in ipairs(names) do
    it("ends a task that waits in " .. name .. ", whose pcall cannot swallow it", function()
      local open, log = {}, {}
      local entered = false
      local task = tcpnet.spawn(function()
        local _outer <close> = closer(function(_, err)
          log[#log + 1] = "outer " .. tostring(err)
        end)
        local _inner <close> = closer(function(_, err)
          log[#log + 1] = "inner " .. tostring(err)
        end)
        pcall(function()
          local _innermost <close> = closer(function()
            log[#log + 1] = "innermost"
          end)
          entered = true
          waits[name](open)
        end)
        log[#log + 1] = "went on"
      end)
      if name == "connect" then
        repeat
          tcpnet.sleep(0.01)
        until open.connecting
        tcpnet.sleep(0.01)
      else
        -- pair() and the tasks of select and their like take several turns; one that yields has one
        for _ = 1, name == "yield" and 1 or name == "lookup_host" and 1 or 10 do
          tcpnet.yield()
        end
      end
      assert.is_true(entered)
      assert.equal(name == "yield" and "ready" or "waiting", task:status())
      assert.is_true(task:cancel())
      assert.equal("cancelled", task:status())
      assert.same({ "innermost", "inner nil", "outer nil" }, log)
      assert.is_false(task:cancel())
      local ok, err = task:join()
      assert.is_nil(ok)
      assert.equal("CANCELED", err.code)
      for _, object in ipairs(open) do
        object:close()
      end
    end)
  end

  it("before the task ran prevents it from ever running", function()
    local ran = false
    local task = tcpnet.spawn(function()
      ran = true
    end)
    assert.is_true(task:cancel())
    assert.equal("cancelled", task:status())
    settle()
    assert.is_false(ran)
    assert.equal("CANCELED", select(2, task:join()).code)
  end)

  it("of a task that is done or failed tells that it was too late", function()
    local done = tcpnet.spawn(nothing)
    done:join()
    assert.is_false(done:cancel())
    assert.equal("done", done:status())
    local failed = tcpnet.spawn(error, "x")
    failed:join()
    assert.is_false(failed:cancel())
    assert.equal("failed", failed:status())
  end)

  it("of oneself takes effect at the next wait", function()
    local log = {}
    local task = tcpnet.spawn(function()
      local _closed <close> = closer(function()
        log[#log + 1] = "closed"
      end)
      log[#log + 1] = tcpnet.current():cancel()
      log[#log + 1] = tcpnet.current():status()
      pcall(tcpnet.sleep, 0.001)
      log[#log + 1] = "went on"
    end)
    assert.equal("CANCELED", select(2, task:join()).code)
    assert.same({ true, "running", "closed" }, log)
  end)

  it("of oneself takes effect at a yield too", function()
    local went_on = false
    local task = tcpnet.spawn(function()
      tcpnet.current():cancel()
      tcpnet.yield()
      went_on = true
    end)
    assert.equal("CANCELED", select(2, task:join()).code)
    assert.is_false(went_on)
  end)

  it("of oneself without another wait leaves the results alone", function()
    local task = tcpnet.spawn(function()
      tcpnet.current():cancel()
      return "returned"
    end)
    assert.same({ true, "returned" }, { task:join() })
    assert.equal("done", task:status())
  end)

  it("in a __close of the task that ends by itself takes effect at the next wait", function()
    local log = {}
    local task = tcpnet.spawn(function()
      local _outer <close> = closer(function()
        log[#log + 1] = "outer"
      end)
      local _inner <close> = closer(function()
        tcpnet.current():cancel()
        log[#log + 1] = "inner"
        tcpnet.sleep(0.001)
        log[#log + 1] = "waited"
      end)
      return 1
    end)
    assert.equal("CANCELED", select(2, task:join()).code)
    assert.same({ "inner", "outer" }, log)
  end)

  it("lets an operation in __close try once, and answers CANCELED where it would wait", function()
    local client, server = tcp.pair()
    local log = {}
    local task = tcpnet.spawn(function()
      local _guard <close> = closer(function()
        log.wrote = server:write "goodbye"
        log.read = table.pack(server:read())
        log.again = table.pack(server:read())
        log.slept = table.pack(tcpnet.sleep(1))
        log.current = tcpnet.current()
        log.accepted = tcpnet.now()
      end)
      tcpnet.park()
    end)
    settle()
    client:write "there"
    tcpnet.sleep(0.005)
    task:cancel()
    assert.equal(7, log.wrote)
    assert.same({ n = 1, "there" }, log.read)
    assert.is_nil(log.again[1])
    assert.equal("CANCELED", log.again[2].code)
    assert.is_nil(log.slept[1])
    assert.equal("CANCELED", log.slept[2].code)
    assert.equal(task, log.current)
    assert.equal("goodbye", client:read())
    client:close()
    server:close()
  end)

  it("answers CANCELED in __close to every operation that would wait", function()
    local listener <close> = tcp.listener()
    local other = tcpnet.spawn(tcpnet.sleep, 30)
    local codes = {}
    local task = tcpnet.spawn(function()
      local _guard <close> = closer(function()
        local function note(name, ...)
          local _, err = ...
          codes[name] = err and err.code
        end
        note("accept", listener:accept())
        note("join", other:join())
        note("yield", tcpnet.yield())
        note("park", tcpnet.park())
        local set <close> = tcpnet.JoinSet.new()
        set:spawn(tcpnet.sleep, 30)
        note("join_next", set:join_next())
        note("timeout", tcpnet.timeout(10, function() return tcpnet.sleep(20) end))
      end)
      tcpnet.sleep(30)
    end)
    settle()
    task:cancel()
    other:cancel()
    assert.same({ accept = "CANCELED", join = "CANCELED", yield = "CANCELED", park = "CANCELED",
                  join_next = "CANCELED", timeout = "CANCELED" }, codes)
  end)

  it("reports an error in __close and goes on closing", function()
    local caught <close> = reports.catch(true)
    local log = {}
    local task = tcpnet.spawn(function()
      local _first <close> = closer(function()
        log[#log + 1] = "first"
      end)
      local _second <close> = closer(function()
        error "trouble in closing"
      end)
      local _third <close> = closer(function()
        log[#log + 1] = "third"
      end)
      tcpnet.sleep(30)
    end)
    settle()
    assert.is_true(task:cancel())
    assert.same({ "third", "first" }, log)
    assert.equal("cancelled", task:status())
    assert.equal(1, #caught)
    assert.equal(task, caught[1][1])
    assert.matches("trouble in closing", caught[1][2])
  end)

  it("does not let a coroutine of the canceller's be lost: the canceller goes on", function()
    local victim = tcpnet.spawn(tcpnet.sleep, 30)
    local canceller = tcpnet.spawn(function()
      tcpnet.yield()
      local before = tcpnet.current()
      victim:cancel()
      tcpnet.sleep(0.001)
      return before == tcpnet.current()
    end)
    assert.same({ true, true }, { canceller:join() })
  end)

  it("of each other in __close ends both", function()
    local a, b
    local log = {}
    a = tcpnet.spawn(function()
      local _guard <close> = closer(function()
        local alive = b:cancel()
        log[#log + 1] = { "b", alive }
      end)
      tcpnet.sleep(30)
    end)
    b = tcpnet.spawn(function()
      local _guard <close> = closer(function()
        a:cancel()
        log[#log + 1] = { "a" }
      end)
      tcpnet.sleep(30)
    end)
    settle()
    a:cancel()
    assert.same({ { "a" }, { "b", true } }, log)
    assert.equal("cancelled", a:status())
    assert.equal("cancelled", b:status())
  end)

  it("nests 12,000 deep", function()
    local depth = 12000
    local tasks, closed = {}, 0
    for i = 1, depth do
      tasks[i] = tcpnet.spawn(function()
        local _guard <close> = closer(function()
          closed = closed + 1
          if tasks[i + 1] then
            tasks[i + 1]:cancel()
          end
        end)
        tcpnet.park()
      end)
    end
    settle()
    assert.is_true(tasks[1]:cancel())
    assert.equal(depth, closed)
    for i = 1, depth do
      assert.equal("cancelled", tasks[i]:status())
    end
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it("from a finalizer ends the task", function()
    local task = tcpnet.spawn(tcpnet.sleep, 30)
    settle()
    local closed
    setmetatable({}, {
      __gc = function()
        closed = task:cancel()
      end,
    })
    collectgarbage()
    collectgarbage()
    assert.is_true(closed)
    assert.equal("cancelled", task:status())
    assert.equal("CANCELED", select(2, task:join()).code)
  end)

  it("is what __close of a task does", function()
    local task
    do
      local guard <close> = tcpnet.spawn(tcpnet.sleep, 30)
      task = guard
    end
    assert.equal("cancelled", task:status())
  end)

  it("closes a task that failed to end in time, in its joiner's timeout", function()
    local child
    local result, err = tcpnet.timeout(0.005, function()
      local guard <close> = tcpnet.spawn(tcpnet.sleep, 30)
      child = guard
      return guard:join()
    end)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    assert.equal("cancelled", child:status())
  end)

  it("leaves what was not read readable", function()
    local client, server = tcp.pair()
    local task = tcpnet.spawn(function() server:read_exact(10) end)
    client:write "12345"
    tcpnet.sleep(0.005)
    task:cancel()
    client:write "67890"
    assert.equal("1234567890", server:read_exact(10))
    client:close()
    server:close()
  end)

  it("frees the place of the reader for another task (F7)", function()
    local client, server = tcp.pair()
    local first = tcpnet.spawn(function() server:read() end)
    settle()
    first:cancel()
    local second = tcpnet.spawn(function() return server:read() end)
    settle()
    client:write "for the second"
    assert.same({ true, "for the second" }, { second:join() })
    client:close()
    server:close()
  end)

  it("of what a parent's child waits in leaves nothing pending (F11)", function()
    local client, server = tcp.pair()
    local child
    local parent = tcpnet.spawn(function()
      local guard <close> = tcpnet.spawn(function() server:read() end)
      child = guard
      tcpnet.sleep(30)
    end)
    tcpnet.sleep(0.002)
    parent:cancel()
    assert.equal("cancelled", child:status())
    client:write "late"
    collectgarbage()
    tcpnet.sleep(0.002)
    assert.equal("late", server:read())
    client:close()
    server:close()
  end)
end)

describe("a task's coroutine", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function reader(stream)
    local thread
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      return stream:read()
    end)
    settle()
    return task, thread
  end

  it("that somebody else resumes fails its task, and no read is made up (F3)", function()
    local client, server = tcp.pair()
    local task, thread = reader(server)
    local ok = coroutine.resume(thread, "fake")
    client:write "data"
    local joined, err = task:join(5)
    assert.is_nil(joined)
    assert.matches("somebody else", tostring(err))
    assert.equal("failed", task:status())
    assert.is_boolean(ok)
    assert.equal("data", server:read())
    client:close()
    server:close()
  end)

  it("that somebody else resumes in a sleep fails its task alone", function()
    local thread
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      tcpnet.sleep(0.01)
    end)
    local other = tcpnet.spawn(function()
      tcpnet.sleep(0.02)
      return "fine"
    end)
    settle()
    coroutine.resume(thread)
    local _, err = task:join()
    assert.matches("somebody else", tostring(err))
    assert.same({ true, "fine" }, { other:join() })
  end)

  it("that somebody else closes fails its task, and the data is for the next reader (F3)", function()
    local client, server = tcp.pair()
    local task, thread = reader(server)
    coroutine.close(thread)
    client:write "data"
    local joined, err = task:join(5)
    assert.is_nil(joined)
    assert.matches("somebody else", tostring(err))
    assert.equal("data", server:read())
    client:close()
    server:close()
  end)

  it("that somebody else closed can still be cancelled", function()
    local client, server = tcp.pair()
    local task, thread = reader(server)
    coroutine.close(thread)
    assert.is_true(task:cancel())
    assert.equal("cancelled", task:status())
    client:close()
    server:close()
  end)

  it("ends with an error that says so after a plain coroutine.yield", function()
    local closed = false
    local task = tcpnet.spawn(function()
      local _guard <close> = closer(function()
        closed = true
      end)
      coroutine.yield(1)
    end)
    local ok, err = task:join()
    assert.is_nil(ok)
    assert.matches("coroutine%.yield", err)
    assert.is_true(closed)
    assert.equal("failed", task:status())
  end)

  it("cannot be waited in from a plain coroutine, and the message names tcpnet.coroutine (F10)", function()
    local client, server = tcp.pair()
    local messages = {}
    tcpnet.spawn(function()
      local function refused(name, fn, ...)
        local co = coroutine.create(fn)
        local ok, message = coroutine.resume(co, ...)
        messages[name] = not ok and message or "not refused"
      end
      refused("sleep", tcpnet.sleep, 0.001)
      refused("yield", tcpnet.yield)
      refused("read", server.read, server)
      refused("write", server.write, server, "never sent")
      refused("timeout", tcpnet.timeout, 1, nothing)
    end):join()
    for _, name in ipairs { "sleep", "yield", "read", "write", "timeout" } do
      assert.matches("tcpnet%.coroutine", messages[name])
      assert.matches(name, messages[name])
    end
    client:write "works"
    assert.equal("works", server:read())
    local nothing_came, err = client:try_read()
    assert.is_nil(nothing_came)
    assert.equal("EAGAIN", err.code)
    client:close()
    server:close()
  end)

  it("cannot be waited in below string.gsub or table.sort, and the stream still works (F12)", function()
    local client, server = tcp.pair()
    local messages = {}
    tcpnet.spawn(function()
      local function refused(name, fn, ...)
        local ok, message = pcall(fn, ...)
        messages[name] = ok and "not refused" or message
      end
      refused("gsub", string.gsub, "x", "x", function()
        server:read()
      end)
      refused("gsub with no need to wait", string.gsub, "x", "x", function()
        server:write "never sent"
      end)
      refused("sort", table.sort, { 2, 1 }, function(a, b)
        tcpnet.sleep(0)
        return a < b
      end)
    end):join()
    for _, name in ipairs { "gsub", "gsub with no need to wait", "sort" } do
      assert.matches("cannot wait here", messages[name])
      assert.matches("string%.gsub", messages[name])
    end
    client:write "works"
    assert.equal("works", server:read())
    assert.equal("EAGAIN", select(2, client:try_read()).code)
    client:close()
    server:close()
  end)

  it("may wait below pcall, in __index, in an iterator and in __close (F12)", function()
    local log = {}
    local ok, err = tcpnet.spawn(function()
      log[#log + 1] = select(2, pcall(function()
        tcpnet.sleep(0.001)
        return "pcall"
      end))
      log[#log + 1] = setmetatable({}, {
        __index = function(_, key)
          tcpnet.sleep(0.001)
          return key
        end,
      }).index
      for value in function(_, last)
        tcpnet.sleep(0.001)
        return not last and "iterator" or nil
      end do
        log[#log + 1] = value
      end
      do
        local _guard <close> = closer(function()
          tcpnet.sleep(0.001)
          log[#log + 1] = "close"
        end)
      end
    end):join()
    assert.is_true(ok, err)
    assert.same({ "pcall", "index", "iterator", "close" }, log)
  end)

  it("cannot be waited in from a finalizer, where close works (F13)", function()
    local client, server = tcp.pair()
    local message, closed
    tcpnet.spawn(function()
      setmetatable({}, {
        __gc = function()
          message = select(2, pcall(server.read, server))
          server:close()
          closed = server:closed()
        end,
      })
      collectgarbage()
      collectgarbage()
    end):join()
    assert.matches("finalizer", message)
    assert.is_true(closed)
    client:close()
  end)

  it("is refused in a finalizer outside tasks too (F13)", function()
    local message
    setmetatable({}, {
      __gc = function()
        message = select(2, pcall(tcpnet.sleep, 0.001))
      end,
    })
    collectgarbage()
    collectgarbage()
    assert.matches("finalizer", message)
  end)
end)

describe("park", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function parked(...)
    local task = tcpnet.spawn(function(...)
      return tcpnet.park(...)
    end, ...)
    settle()
    return task
  end

  it("ends with the arguments of unpark, nils included", function()
    local task = parked()
    assert.is_true(task:unpark(nil, 2, nil))
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(task:join()))
  end)

  it("ends with nothing when unpark has no arguments", function()
    local task = parked()
    assert.is_true(task:unpark())
    assert.same({ n = 1, true }, table.pack(task:join()))
  end)

  it("takes two hundred arguments", function()
    local numbers = {}
    for i = 1, 200 do
      numbers[i] = i
    end
    local task = parked()
    assert.is_true(task:unpark(table.unpack(numbers)))
    assert.equal(201, select("#", task:join()))
  end)

  it("is ended by the first unpark alone", function()
    local task = parked()
    assert.is_true(task:unpark "first")
    assert.is_false(task:unpark "second")
    assert.same({ true, "first" }, { task:join() })
  end)

  it("does not remember an unpark that came before", function()
    local task = tcpnet.spawn(function()
      return tcpnet.park(0.005)
    end)
    assert.is_false(task:unpark "early")
    local joined, result, err = task:join()
    assert.is_true(joined)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
  end)

  it("ends with TIMEOUT when its time is up", function()
    local started = tcpnet.now()
    local _, result, err = parked(0.01):join()
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    assert.is_true(tcpnet.now() - started >= 0.01)
  end)

  it("with a time may be unparked before", function()
    local task = parked(30)
    assert.is_true(task:unpark "soon")
    assert.same({ true, "soon" }, { task:join() })
  end)

  it("refuses a time that is negative or NaN", function()
    local ok = tcpnet.spawn(function()
      assert.error_matches(function() tcpnet.park(-1) end, "bad argument #1 to 'park'")
      assert.error_matches(function() tcpnet.park(0 / 0) end, "bad argument #1 to 'park'")
    end):join()
    assert.is_true(ok)
  end)

  it("is the only wait that unpark ends", function()
    local client, server = tcp.pair()
    local sleeping = tcpnet.spawn(function()
      tcpnet.sleep(0.01)
      return "slept"
    end)
    local reading = tcpnet.spawn(function() return server:read() end)
    local joining = tcpnet.spawn(function() return reading:join() end)
    settle()
    for _, task in ipairs { sleeping, reading, joining } do
      assert.is_false(task:unpark "never")
    end
    assert.same({ true, "slept" }, { sleeping:join() })
    client:write "data"
    assert.same({ true, true, "data" }, { joining:join() })
    client:close()
    server:close()
  end)

  it("works in a coroutine of the task", function()
    local task = tcpnet.spawn(function()
      return tcpnet.coroutine.wrap(function()
        return "got", tcpnet.park()
      end)()
    end)
    settle()
    assert.is_true(task:unpark("a", nil))
    assert.same({ n = 4, true, "got", "a", nil }, table.pack(task:join()))
  end)

  it("works inside timeout", function()
    local task = tcpnet.spawn(function()
      return tcpnet.timeout(10, tcpnet.park)
    end)
    settle()
    assert.is_true(task:unpark("a", "b"))
    assert.same({ true, "a", "b" }, { task:join() })
  end)

  it("outside every task raises", function()
    assert.error_matches(function() tcpnet.park(0.001) end, "park")
  end)

  it("does not wake a task that was unparked and then cancelled", function()
    local went_on = false
    local task = tcpnet.spawn(function()
      tcpnet.park()
      went_on = true
    end)
    settle()
    assert.is_true(task:unpark(1, 2, 3))
    assert.is_true(task:cancel())
    settle()
    assert.is_false(went_on)
    assert.equal("cancelled", task:status())
  end)

  it("of a done task is not ended", function()
    local task = tcpnet.spawn(nothing)
    task:join()
    assert.is_false(task:unpark())
  end)
end)
