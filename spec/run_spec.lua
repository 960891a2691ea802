-- The loop: run, the blocking mode outside tasks, steps for a foreign loop, settings, and how a process ends.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local reports = require "spec.support.reports"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"

local closer, nothing = steps.closer, steps.nothing

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("run", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("passes its arguments and gives the results, nils included", function()
    assert.same({ n = 3, nil, 2, nil }, table.pack(tcpnet.run(function(...) return ... end, nil, 2, nil)))
    assert.equal(0, select("#", tcpnet.run(nothing)))
  end)

  it("runs the function as a task", function()
    local task = tcpnet.run(tcpnet.current)
    assert.equal("done", task:status())
    assert.is_nil(tcpnet.current())
  end)

  it("wants a function", function()
    assert.error_matches(function() tcpnet.run() end, "bad argument #1 to 'run'")
    assert.error_matches(function() tcpnet.run "text" end, "bad argument #1 to 'run'")
  end)

  it("raises an error string with the traceback of the task appended", function()
    local function culprit()
      error "broken"
    end
    local err = raised(tcpnet.run, function()
      culprit()
    end)
    assert.matches("^spec/run_spec%.lua:%d+: broken\n", err)
    assert.matches("stack traceback:", err)
    assert.matches("culprit", err)
  end)

  it("raises any other value unchanged", function()
    local value = {}
    assert.equal(value, raised(tcpnet.run, error, value))
    assert.is_nil(raised(tcpnet.run, error))
  end)

  it("raises an Error unchanged, which has the traceback then", function()
    local failure
    local function culprit()
      local listener <close> = tcp.listener()
      listener:close()
      failure = select(2, listener:accept())
      error(failure)
    end
    local err = raised(tcpnet.run, function()
      culprit()
    end)
    assert.equal(failure, err)
    assert.matches("culprit", err.traceback)
  end)

  it("within run raises, and the outer one goes on (F21)", function()
    local message, after = tcpnet.run(function()
      local err = raised(tcpnet.run, nothing)
      tcpnet.sleep(0.001)
      return err, "goes on"
    end)
    assert.matches("run", message)
    assert.equal("goes on", after)
  end)

  it("works again after an error, also one of a nested run (F21)", function()
    raised(tcpnet.run, error, "first")
    raised(tcpnet.run, function() tcpnet.run(nothing) end)
    assert.equal("works", tcpnet.run(function() return "works" end))
  end)

  it("cancels the tasks spawned meanwhile, in its end", function()
    local closed, task = 0, nil
    tcpnet.run(function()
      task = tcpnet.spawn(function()
        local _guard <close> = closer(function()
          closed = closed + 1
        end)
        tcpnet.spawn(function() -- by whomever
          local _inner <close> = closer(function()
            closed = closed + 1
          end)
          tcpnet.sleep(30)
        end)
        tcpnet.sleep(30)
      end)
      tcpnet.sleep(0.002)
    end)
    assert.equal("cancelled", task:status())
    assert.equal(2, closed)
  end)

  it("cancels them after an error too", function()
    local task
    raised(tcpnet.run, function()
      task = tcpnet.spawn(tcpnet.sleep, 30)
      tcpnet.yield()
      error "x"
    end)
    assert.equal("cancelled", task:status())
  end)

  it("ends what a cancelled task spawns in its __close", function()
    local ran = false
    tcpnet.run(function()
      tcpnet.spawn(function()
        local _guard <close> = closer(function()
          tcpnet.spawn(function()
            ran = true
          end)
        end)
        tcpnet.sleep(30)
      end)
      tcpnet.yield()
    end)
    tcpnet.sleep(0.002)
    assert.is_false(ran)
    assert.equal(0, tcpnet.metrics().tasks)
  end)

  it("leaves tasks alone that were spawned before it", function()
    local ticks = 0
    local before = tcpnet.spawn(function()
      for _ = 1, 3 do
        tcpnet.sleep(0.005)
        ticks = ticks + 1
      end
      return "lived"
    end)
    tcpnet.run(tcpnet.sleep, 0.008)
    assert.is_true(ticks >= 1)
    assert.same({ true, "lived" }, { before:join() })
    assert.equal(3, ticks)
  end)

  it("ends when its function does, whoever still waits", function()
    local client, server = tcp.pair()
    local before = tcpnet.spawn(function() return server:read() end)
    assert.equal(1, tcpnet.run(function() return 1 end))
    client:write "later"
    assert.same({ true, "later" }, { before:join() })
    client:close()
    server:close()
  end)

  it("raises the first failure of a task that nobody joined", function()
    local caught <close> = reports.catch()
    local err = raised(tcpnet.run, function()
      tcpnet.spawn(error, "first lost")
      tcpnet.spawn(error, "second lost")
      tcpnet.sleep(0.002)
      return "result"
    end)
    assert.matches("^first lost\n", err)
    assert.matches("stack traceback", err)
    assert.equal(2, #caught)
  end)

  it("raises no failure that on_task_error dealt with", function()
    local caught <close> = reports.catch(true)
    assert.equal("result", tcpnet.run(function()
      tcpnet.spawn(error, "dealt with")
      tcpnet.sleep(0.002)
      return "result"
    end))
    assert.equal(1, #caught)
  end)

  it("raises no failure that somebody joined later", function()
    local caught <close> = reports.catch()
    assert.equal("result", tcpnet.run(function()
      local task = tcpnet.spawn(error, "known")
      tcpnet.sleep(0.002)
      task:join()
      return "result"
    end))
    assert.equal(1, #caught)
  end)

  it("raises its own function's error rather than another task's", function()
    local caught <close> = reports.catch()
    assert.matches("^own", raised(tcpnet.run, function()
      tcpnet.spawn(error, "other")
      tcpnet.sleep(0.002)
      error("own", 0)
    end))
    assert.equal(1, #caught)
  end)

  it("does not raise an older run's failure", function()
    local caught <close> = reports.catch()
    raised(tcpnet.run, function()
      tcpnet.spawn(error, "old")
      tcpnet.sleep(0.002)
    end)
    assert.equal("new", tcpnet.run(function() return "new" end))
    assert.equal(1, #caught)
  end)

  it("does not report its own function's error", function()
    local caught <close> = reports.catch()
    raised(tcpnet.run, error, "x")
    assert.equal(0, #caught)
  end)

  it("may be called in a plain coroutine outside tasks", function()
    local results = table.pack(coroutine.wrap(function()
      return tcpnet.run(function()
        tcpnet.sleep(0.001)
        return 1, 2
      end)
    end)())
    assert.same({ n = 2, 1, 2 }, results)
  end)

  it("serves a client and a server in one script", function()
    local answer = tcpnet.run(function()
      local listener <close> = tcp.listener()
      tcpnet.spawn(function()
        for stream in listener:incoming() do
          tcpnet.spawn(function()
            local mine <close> = stream
            mine:write("echo: ", mine:read_line(), "\n")
          end)
        end
      end)
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      client:write "hello\n"
      return client:read_line()
    end)
    assert.equal("echo: hello", answer)
  end)
end)

describe("outside tasks", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("every operation blocks until it is done", function()
    local started = tcpnet.now()
    tcpnet.sleep(0.01)
    assert.is_true(tcpnet.now() - started >= 0.01)
    local client, server = tcp.pair()
    client:write "line\nrest"
    assert.equal("line", server:read_line())
    client:close()
    assert.equal("rest", server:read_to_end())
    server:close()
  end)

  it("an operation in a plain coroutine blocks, and yields stay the coroutine's own", function()
    local client, server = tcp.pair()
    local lines = coroutine.wrap(function()
      for _ = 1, 3 do
        tcpnet.sleep(0.001)
        coroutine.yield(server:read_line())
      end
    end)
    client:write "a\nb\nc\n"
    assert.equal("abc", lines() .. lines() .. lines())
    client:close()
    server:close()
  end)

  it("an operation below string.gsub blocks like any other", function()
    local result = ("x"):gsub("x", function()
      tcpnet.sleep(0.001)
      return "y"
    end)
    assert.equal("y", result)
  end)

  it("timeout, select, scope and each work too", function()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, tcpnet.sleep, 30)).code)
    assert.same({ "b", 2 }, { tcpnet.select { a = function() tcpnet.sleep(30) end, b = function() return 2 end } })
    assert.equal(3, tcpnet.scope(function(scope)
      scope:spawn(tcpnet.sleep, 0.001)
      return 3
    end))
    assert.same({ { true, 10 }, { true, 20 } }, tcpnet.each({ 1, 2 }, 2, function(item) return item * 10 end))
  end)

  it("an error of a wait leaves nothing behind", function()
    local task = tcpnet.spawn(tcpnet.park)
    assert.error_matches(function() task:join() end, "^.-deadlock: ")
    local done = tcpnet.spawn(function() return 1 end)
    assert.same({ true, 1 }, { done:join() })
    task:cancel()
  end)
end)

describe("a deadlock", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is raised by run, with a line for the task that says where it waits", function()
    local line
    local err = raised(tcpnet.run, function()
      tcpnet.current():name "lonely"
      line = debug.getinfo(1, "l").currentline + 1
      tcpnet.park()
      return 1
    end)
    assert.matches("deadlock: 1 task", err)
    assert.matches("\n[^\n]*lonely[^\n]*park[^\n]*run_spec%.lua:" .. line, err)
  end)

  it("names every task", function()
    local names = { "first", "second", "third" }
    local err = raised(tcpnet.run, function()
      for _, name in ipairs(names) do
        tcpnet.spawn(function()
          tcpnet.park()
          return 1
        end):name(name)
      end
      tcpnet.current():name "main"
      tcpnet.park()
      return 1
    end)
    assert.matches("deadlock: 4 tasks", err)
    for _, name in ipairs { "main", table.unpack(names) } do
      assert.matches("\n[^\n]*" .. name .. "[^\n]*run_spec%.lua:%d+", err)
    end
    assert.equal(4, select(2, err:gsub("\n[^\n]*run_spec%.lua:%d+", "")))
  end)

  it("of tasks that join one another is one", function()
    local err = raised(tcpnet.run, function()
      local me = tcpnet.current()
      local other = tcpnet.spawn(function()
        me:join()
        return 1
      end)
      other:join()
      return 1
    end)
    assert.matches("deadlock: 2 tasks", err)
    assert.matches("join", err)
  end)

  it("is raised by a blocking wait, and the task lives on", function()
    local task = tcpnet.spawn(function()
      return tcpnet.park()
    end)
    assert.matches("deadlock: 1 task", raised(task.join, task))
    assert.is_true(task:unpark "rescued")
    assert.same({ true, "rescued" }, { task:join() })
  end)

  it("is a sleep for ever too", function()
    assert.matches("deadlock", raised(tcpnet.run, tcpnet.sleep, math.huge))
    assert.matches("deadlock", raised(tcpnet.sleep, math.huge))
  end)

  it("closes the to-be-closed variables of the tasks of run", function()
    local closed = 0
    raised(tcpnet.run, function()
      local _guard <close> = closer(function()
        closed = closed + 1
      end)
      tcpnet.park()
    end)
    assert.equal(1, closed)
  end)

  it("is none while a socket could still bring something", function()
    local client, server = tcp.pair()
    local result, err = tcpnet.run(function()
      return tcpnet.timeout(0.08, server.read, server)
    end)
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
    client:close()
    server:close()
  end)

  it("is none before the collector had its turn, which may wake somebody", function()
    local ok = tcpnet.run(function()
      local me = tcpnet.current()
      setmetatable({}, {
        __gc = function()
          me:unpark "collected"
        end,
      })
      return tcpnet.park()
    end)
    assert.equal("collected", ok)
  end)

  it("is seen though a socket was used before", function()
    local client, server = tcp.pair()
    tcpnet.spawn(function() server:write(server:read(5)) end)
    client:write "12345"
    assert.equal("12345", client:read())
    assert.matches("deadlock", raised(tcpnet.run, function() tcpnet.park() end))
    client:close()
    server:close()
  end)
end)

describe("a busy task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that never has to wait gives way after 128 operations (B64)", function()
    local client, server = tcp.pair()
    local turns = tcpnet.run(steps.turns_during, function()
      for _ = 1, 1024 do
        assert(client:write "x")
        assert(server:read(1))
      end
    end)
    -- once for each 64 pairs; a read that the loopback was late for may add a few
    assert.is_true(turns >= 15, "only " .. turns .. " turns for the others")
    assert.is_true(turns <= 1024, turns .. " turns for the others")
    client:close()
    server:close()
  end)

  for size, most in pairs { [1] = 128, [4096] = 64, [65536] = 8 } do -- 4 KiB more are as much as an operation more
    it(("that moves %d bytes at a time gives way after %d operations"):format(size, most), function()
      local one, two = assert(tcpnet.UnixStream.pair())
      local data = ("x"):rep(size)
      local done, other = 0, false
      tcpnet.run(function()
        tcpnet.yield() -- a full budget begins
        tcpnet.spawn(function() other = true end)
        while not other do
          assert(done % 2 == 0 and one:write(data) or done % 2 == 1 and two:read_exact(size))
          done = done + (other and 0 or 1)
        end
      end)
      assert.equal(most, done)
      one:close()
      two:close()
    end)
  end

  it("that reads what is buffered lets others run before it is through", function()
    local client, server = tcp.pair()
    client:write(("x"):rep(1000))
    assert.equal("x", server:read_exact(1))
    local log = {}
    tcpnet.run(function()
      local reader = tcpnet.spawn(function()
        for i = 1, 999 do
          server:read(1)
          log[#log + 1] = i
        end
      end)
      local seen_at
      local other = tcpnet.spawn(function()
        seen_at = #log
      end)
      other:join()
      assert.is_true(seen_at > 0 and seen_at <= 128, "the other ran after " .. seen_at)
      reader:join()
    end)
    assert.equal(999, #log)
    client:close()
    server:close()
  end)

  it("outside every task turns the reactor", function()
    local client, server = tcp.pair()
    local turns = 0
    local task = tcpnet.spawn(function()
      while true do
        turns = turns + 1
        tcpnet.yield()
      end
    end)
    client:write(("x"):rep(1000))
    for _ = 1, 1000 do
      server:read_exact(1)
    end
    task:cancel()
    assert.is_true(turns >= 6, "only " .. turns .. " turns")
    client:close()
    server:close()
  end)

  it("that only yields does not keep timers from firing", function()
    local fired = false
    tcpnet.run(function()
      tcpnet.spawn(function()
        tcpnet.sleep(0.002)
        fired = true
      end)
      while not fired do
        tcpnet.yield()
      end
    end)
    assert.is_true(fired)
  end)

  it("that only yields does not keep sockets from being served", function()
    local client, server = tcp.pair()
    local got
    tcpnet.run(function()
      tcpnet.spawn(function()
        got = server:read()
      end)
      tcpnet.yield()
      client:write "x"
      while not got do
        tcpnet.yield()
      end
    end)
    assert.equal("x", got)
    client:close()
    server:close()
  end)
end)

describe("an idle program", function()
  it("gives the memory of tasks that have ended back to the system", function()
    if program.sanitized or program.foreign or not io.open "/proc/self/status" then
      return pending "needs the allocator of the GNU C library, and /proc"
    end
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local function resident()
        local file <close> = assert(io.open "/proc/self/status")
        return tonumber(file:read("a"):match "VmRSS:%s*(%d+)")
      end
      local before = resident()
      local set = tcpnet.JoinSet.new()
      for _ = 1, 20000 do
        set:spawn(tcpnet.sleep, 60)
      end
      local _keep <close> = tcpnet.spawn(tcpnet.sleep, 60) -- above all those, where the memory ends
      tcpnet.sleep(0)
      local most = resident()
      set:abort_all()
      set = nil
      for _ = 1, 50 do
        tcpnet.sleep(0.1)
        if resident() - before < (most - before) / 4 then
          print "given back"
          os.exit(true, true)
        end
      end
      print(before, most, resident())
    ]]
    assert.equal("given back\n", output)
    assert.equal(0, code)
  end)
end)

describe("step", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("runs what is ready, once, and tells whether anything ran", function()
    local turns = 0
    local task = tcpnet.spawn(function()
      for _ = 1, 3 do
        turns = turns + 1
        tcpnet.yield()
      end
    end)
    assert.equal(0, turns)
    assert.is_true(tcpnet.step())
    assert.is_true(turns >= 1)
    while task:status() ~= "done" do
      assert.is_true(tcpnet.step(0))
    end
    assert.is_false(tcpnet.step())
    assert.equal(3, turns)
  end)

  it("does not wait by default", function()
    local task = tcpnet.spawn(tcpnet.sleep, 30)
    tcpnet.step()
    assert.is_false(tcpnet.step())
    assert.is_false(tcpnet.step(0))
    task:cancel()
  end)

  it("waits up to its time for an event", function()
    local started = tcpnet.now()
    tcpnet.step(0.01)
    assert.is_true(tcpnet.now() - started >= 0.009)
  end)

  it("wakes for a timer before its time is up", function()
    local woke = false
    tcpnet.spawn(function()
      tcpnet.sleep(0.005)
      woke = true
    end)
    local turns = 0
    while not woke and turns < 1000 do
      tcpnet.step(30)
      turns = turns + 1
    end
    assert.is_true(woke)
  end)

  it("refuses a wrong time, and to run within a task", function()
    assert.error_matches(function() tcpnet.step(-1) end, "bad argument #1 to 'step'")
    assert.error_matches(function() tcpnet.step(0 / 0) end, "bad argument #1 to 'step'")
    assert.error_matches(function() tcpnet.run(function() tcpnet.step() end) end, "step")
  end)

  it("reports the errors of tasks instead of raising them", function()
    local caught <close> = reports.catch()
    tcpnet.spawn(error, "x")
    assert.is_true(tcpnet.step())
    assert.equal(1, #caught)
  end)

  it("drives a whole conversation", function()
    local client, server = tcp.pair()
    local answer
    tcpnet.spawn(function()
      server:write(server:read_line():upper(), "\n")
    end)
    tcpnet.spawn(function()
      client:write "hello\n"
      answer = client:read_line()
    end)
    local turns = 0
    while not answer and turns < 1000 do
      tcpnet.step(1)
      turns = turns + 1
    end
    assert.equal("HELLO", answer)
    client:close()
    server:close()
  end)
end)

describe("backend_timeout", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is nil in a program that has nothing to do, which would spin on 0", function()
    local code, output = program.lua 'print(require "tcpnet".backend_timeout())'
    assert.same({ 0, "nil\n" }, { code, output })
  end)

  -- A timer that is no longer wanted may still end one sleep, to no effect.
  local function outlast_old_timers(limit)
    for _ = 1, 10 do
      local seconds = tcpnet.backend_timeout()
      if not seconds or seconds > limit then
        return seconds
      end
      tcpnet.step(seconds)
    end
    return tcpnet.backend_timeout()
  end

  it("is nil where nothing is timed", function()
    local client, server = tcp.pair()
    do
      local _reader <close> = tcpnet.spawn(server.read, server)
      tcpnet.step()
      assert.is_nil(outlast_old_timers(1))
    end
    client:close()
    server:close()
  end)

  it("is 0 while something is ready", function()
    local task = tcpnet.spawn(nothing)
    assert.equal(0, tcpnet.backend_timeout())
    task:cancel()
  end)

  it("is the time until the next timer", function()
    local _late <close> = tcpnet.spawn(tcpnet.sleep, 30)
    tcpnet.step()
    local seconds = outlast_old_timers(1)
    assert.is_true(seconds > 20 and seconds <= 30.1, tostring(seconds))
    local _soon <close> = tcpnet.spawn(tcpnet.sleep, 5)
    tcpnet.step()
    seconds = tcpnet.backend_timeout()
    assert.is_true(seconds > 3 and seconds <= 5.1, tostring(seconds))
  end)

  it("with backend_fd is enough for a foreign loop", function()
    assert.equal("integer", math.type(tcpnet.backend_fd()))
    assert.is_true(tcpnet.backend_fd() >= 0)
    local done = false
    tcpnet.spawn(function()
      tcpnet.sleep(0.005)
      done = true
    end)
    local turns = 0
    while not done and turns < 1000 do
      tcpnet.step(tcpnet.backend_timeout())
      turns = turns + 1
    end
    assert.is_true(done)
  end)
end)

describe("metrics", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("count tasks by state", function()
    local waiting = tcpnet.spawn(tcpnet.sleep, 30)
    tcpnet.yield()
    local ready = tcpnet.spawn(nothing)
    local metrics = tcpnet.metrics()
    assert.equal(2, metrics.tasks)
    assert.equal(1, metrics.tasks_waiting)
    assert.equal(1, metrics.tasks_ready)
    assert.equal(0, metrics.tasks_running)
    waiting:cancel()
    ready:cancel()
    assert.equal(0, tcpnet.metrics().tasks)
    assert.equal(1, tcpnet.run(tcpnet.metrics).tasks_running)
  end)

  it("count sources, timers, polls, wakes and bytes, as integers", function()
    local before = tcpnet.metrics()
    local client, server = tcp.pair()
    client:write "12345"
    server:read_exact(5)
    local task = tcpnet.spawn(tcpnet.sleep, 30)
    tcpnet.sleep(0.001)
    local metrics = tcpnet.metrics()
    assert.equal(1, metrics.timers)
    assert.is_true(metrics.sources >= 2)
    assert.equal(5, metrics.bytes_read - before.bytes_read)
    assert.equal(5, metrics.bytes_written - before.bytes_written)
    assert.is_true(metrics.polls > before.polls)
    assert.is_true(metrics.wakes > before.wakes)
    assert.equal(os.getenv "TCPNET_POLLER" or "epoll", metrics.poller)
    metrics.poller = nil
    for name, value in pairs(metrics) do
      if name ~= "opened" and name ~= "closed" then
        assert.equal("integer", math.type(value), name)
      end
    end
    for _, name in ipairs { "opened", "closed" } do
      for class, count in pairs(metrics[name]) do
        assert(tcpnet[class] and math.type(count) == "integer", class)
      end
    end
    assert.equal(2, metrics.opened.TcpStream - (before.opened.TcpStream or 0))
    assert.equal(1, metrics.closed.TcpListener - (before.closed.TcpListener or 0))
    task:cancel()
    client:close()
    server:close()
    assert.equal(0, tcpnet.metrics().timers)
    assert.equal(before.sources, tcpnet.metrics().sources)
  end)
end)

describe("configure", function()
  before_each(leaks.note)
  after_each(function()
    tcpnet.configure { spin = 0, buffer_size = 65536, on_task_error = false }
    leaks.check()
  end)

  it("gives the settings in force", function()
    local code, output = program.lua [[
      local settings = require "tcpnet".configure()
      print(settings.spin == 0, settings.buffer_size, settings.on_task_error)
    ]]
    assert.same({ 0, "true\t65536\tnil\n" }, { code, output })
  end)

  it("changes what is named and leaves the rest", function()
    assert.equal(1000, tcpnet.configure({ buffer_size = 1000 }).buffer_size)
    local settings = tcpnet.configure { spin = 0.001 }
    assert.equal(0.001, settings.spin)
    assert.equal(1000, settings.buffer_size)
    assert.same(settings, tcpnet.configure())
  end)

  it("refuses settings that are unknown or of the wrong type", function()
    for _, wrong in ipairs {
      { spinn = 1 }, { spin = -1 }, { spin = 0 / 0 }, { spin = "x" }, { buffer_size = 0 }, { buffer_size = 1.5 },
      { buffer_size = {} }, { on_task_error = 1 }, { on_task_error = "text" }, { 1 },
    } do
      assert.is_false(pcall(tcpnet.configure, wrong))
    end
    assert.error_matches(function() tcpnet.configure { spinn = 1 } end, "spinn")
    assert.error_matches(function() tcpnet.configure(1) end, "bad argument #1 to 'configure'")
    local settings = tcpnet.configure()
    assert.equal(0, settings.spin)
    assert.equal(65536, settings.buffer_size)
  end)

  it("lets the reactor spin, with timers and sockets as before", function()
    tcpnet.configure { spin = 0.001 }
    local client, server = tcp.pair()
    local task = tcpnet.spawn(function() return server:read() end)
    tcpnet.sleep(0.003)
    client:write "spun"
    assert.same({ true, "spun" }, { task:join() })
    client:close()
    server:close()
  end)

  it("does not let it spin longer than a step may take", function()
    tcpnet.configure { spin = 5 }
    local started = tcpnet.now()
    assert.is_false(tcpnet.step(0.01))
    assert.is_true(tcpnet.now() - started < 4)
  end)
end)

describe("SIGINT", function()
  it("raises interrupted! from run, and the tasks are closed", function()
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      print "ready"
      print(pcall(tcpnet.run, function()
        local guard <close> = setmetatable({}, { __close = function() print "closed" end })
        tcpnet.sleep(30)
      end))
      tcpnet.sleep(0.01)
      print(tcpnet.run(function() return "works again" end))
    ]]
    assert.equal(0, code)
    assert.matches("closed", output)
    assert.matches("false\t[^\n]*interrupted!", output)
    assert.matches("works again\n$", output)
  end)

  it("raises interrupted! from a blocking wait", function()
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      print "ready"
      print(pcall(listener.accept, listener))
      local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      print(listener:accept() and "works again")
    ]]
    assert.equal(0, code)
    assert.matches("false\t[^\n]*interrupted!", output)
    assert.matches("works again\n$", output)
  end)

  it("raises interrupted! while tasks are busy", function()
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      print "ready"
      print(pcall(tcpnet.run, function()
        while true do tcpnet.yield() end
      end))
    ]]
    assert.equal(0, code)
    assert.matches("interrupted!", output)
  end)

  it("ends a script that does not catch it", function()
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      print "ready"
      tcpnet.run(tcpnet.sleep, 30)
    ]]
    assert.equal(1, code)
    assert.matches("interrupted!", output)
  end)

  it("after a wait is the interpreter's again", function()
    if program.defers_signals then
      return pending "TSan delivers signals late"
    end
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      tcpnet.sleep(0.1)
      print "ready"
      print(pcall(function() while true do end end))
    ]]
    assert.equal(0, code)
    assert.matches("interrupted!", output)
  end)
end)

describe("leaving", function()
  -- Everything that can be open or pending.
  local everything = [[
    local tcpnet = require "tcpnet"
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local server = assert(listener:accept())
    local function guarded(fn, ...)
      tcpnet.spawn(function(...)
        local guard <close> = setmetatable({}, { __close = function() end })
        fn(...)
      end, ...)
    end
    local function open_everything()
      guarded(listener.accept, listener)
      guarded(client.read, client)
      guarded(server.write, server, ("x"):rep(1 << 24))
      guarded(tcpnet.sleep, 30)
      guarded(tcpnet.park)
      guarded(tcpnet.lookup_host, "localhost", 80)
      guarded(tcpnet.timeout, 20, tcpnet.sleep, 30)
      guarded(tcpnet.scope, function(scope) scope:spawn(tcpnet.sleep, 30) tcpnet.sleep(30) end)
      guarded(tcpnet.coroutine.wrap(function() tcpnet.sleep(30) end))
      tcpnet.yield()
      tcpnet.yield()
    end
  ]]
  for argument, expected in pairs { ["0"] = 0, ["3"] = 3, ["true"] = 0, ["false"] = 1 } do
    it("by os.exit(" .. argument .. ", true) in a task with everything open is clean (F22)", function()
      local code, output = program.lua(everything .. [[
        tcpnet.run(function()
          open_everything()
          os.exit(]] .. argument .. [[, true)
        end)
        print "not reached"
      ]])
      assert.same({ expected, "" }, { code, output })
    end)
  end

  it("by os.exit in the function of a spawned task below a coroutine and a timeout is clean (F22)", function()
    local code, output = program.lua(everything .. [[
      tcpnet.spawn(function()
        open_everything()
        tcpnet.timeout(10, function()
          tcpnet.coroutine.wrap(function() os.exit(7, true) end)()
        end)
      end)
      tcpnet.sleep(5)
      print "not reached"
    ]])
    assert.same({ 7, "" }, { code, output })
  end)

  it("by os.exit in a __close of a cancelled task is clean (F22)", function()
    local code, output = program.lua(everything .. [[
      tcpnet.run(function()
        open_everything()
        local task = tcpnet.spawn(function()
          local guard <close> = setmetatable({}, { __close = function() os.exit(9, true) end })
          tcpnet.sleep(30)
        end)
        tcpnet.yield()
        task:cancel()
      end)
    ]])
    assert.same({ 9, "" }, { code, output })
  end)

  it("by os.exit in on_task_error is clean (F22)", function()
    local code, output = program.lua(everything .. [[
      tcpnet.configure { on_task_error = function() os.exit(4, true) end }
      tcpnet.run(function()
        open_everything()
        tcpnet.spawn(error, "x")
        tcpnet.sleep(5)
      end)
    ]])
    assert.same({ 4, "" }, { code, output })
  end)

  it("by the end of the file with everything open is clean (F20)", function()
    local code, output = program.lua(everything .. [[
      tcpnet.run(function()
        open_everything()
      end)
      tcpnet.spawn(open_everything):join()
    ]])
    assert.same({ 0, "" }, { code, output })
  end)

  it("by an error with everything open gives the interpreter's message", function()
    local code, output = program.lua(everything .. [[
      tcpnet.run(function()
        open_everything()
        error "the end"
      end)
    ]])
    assert.equal(1, code)
    assert.matches("the end", output)
  end)

  it("finalizers that use sockets after the reactor is gone get an error, or nothing (F20)", function()
    local code, output = program.lua([[
      local late = {}
      keep = setmetatable({}, { __gc = function()
        for _, object in ipairs(late) do
          pcall(object.close, object)
          pcall(object.read, object)
          tostring(object)
        end
        pcall(late.tcpnet.sleep, 1)
        pcall(late.tcpnet.run, print)
        pcall(late.tcpnet.spawn, print)
        pcall(late.tcpnet.TcpStream.connect, "127.0.0.1:1")
        pcall(late.tcpnet.metrics)
        print "finalized"
      end })
      ]] .. everything .. [[
      late[1], late[2], late[3], late.tcpnet = listener, client, server, tcpnet
      tcpnet.spawn(open_everything):join()
    ]])
    assert.same({ 0, "finalized\n" }, { code, output })
  end)
end)

describe("the module", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("required again after package.loaded was wiped has the same classes", function()
    local saved = {}
    for name, module in pairs(package.loaded) do
      if name:find "^tcpnet" then
        saved[name] = module
      end
    end
    local client, server = tcp.pair()
    local task = tcpnet.spawn(function() return server:read() end)
    tcpnet.yield()
    for name in pairs(saved) do
      package.loaded[name] = nil
    end
    local again = require "tcpnet"
    for name in pairs(package.loaded) do
      if name:find "^tcpnet" then
        package.loaded[name] = saved[name]
      end
    end
    assert.equal(tcpnet.TcpStream, again.TcpStream)
    assert.equal(tcpnet.Task, again.Task)
    assert.equal(5, again.TcpStream.write(client, "again"))
    local ok, data = again.Task.join(task)
    assert.is_true(ok)
    assert.equal("again", data)
    assert.equal(1, again.run(function() return again.timeout(1, function() return 1 end) end))
    client:close()
    server:close()
  end)

  it("keeps its settings when it is required again", function()
    local code, output = program.lua [[
      local function handler() end
      require "tcpnet".configure { buffer_size = 123, spin = 0.5, on_task_error = handler }
      for name in pairs(package.loaded) do
        if name:find "^tcpnet" then package.loaded[name] = nil end
      end
      local settings = require "tcpnet".configure()
      print(settings.buffer_size, settings.spin, settings.on_task_error == handler)
    ]]
    assert.same({ 0, "123\t0.5\ttrue\n" }, { code, output })
  end)

  it("lets no socket through to a child process (F24)", function()
    local client, server = tcp.pair()
    local pipe = assert(io.popen "ls -l /proc/self/fd 2>/dev/null")
    local list = pipe:read "a"
    pipe:close()
    assert.not_matches("socket:", list)
    assert.not_matches("eventpoll", list)
    client:close()
    server:close()
  end)
end)

describe("a forgotten socket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is closed by an idle program's collector, so that its peer learns it (F14)", function()
    local client, server = tcp.pair()
    client:write "last words"
    client = nil -- luacheck: ignore
    local data, after, err = tcpnet.run(function()
      local data = server:read()
      return data, tcpnet.timeout(5, server.read, server)
    end)
    assert.equal("last words", data)
    assert.is_nil(after)
    assert.is_nil(err)
    server:close()
  end)

  it("is closed in a blocking wait as well (F14)", function()
    local listener <close> = tcp.listener()
    local function forgetful()
      assert(tcpnet.TcpStream.connect(listener:local_addr()))
    end
    forgetful()
    local server = assert(listener:accept())
    server:set_read_timeout(5)
    assert.same({ n = 1, nil }, table.pack(server:read()))
    server:close()
  end)

  it("is not closed while the collector is stopped", function()
    local _, server = tcp.pair()
    _ = nil -- luacheck: ignore
    collectgarbage "stop"
    local _, err = tcpnet.timeout(0.15, server.read, server)
    collectgarbage "restart"
    assert.equal("TIMEOUT", err and err.code)
    server:close()
  end)
end)

describe("a process", function()
  local folder
  setup(function()
    folder = program.folder()
  end)
  teardown(function()
    getmetatable(folder).__close()
  end)

  it("that forked leaves its sockets to the parent: the child gets a clear error (F24)", function()
    local library = program.c(folder, "forker.so", [[
      #include <lauxlib.h>
      #include <sys/wait.h>
      #include <unistd.h>
      static int l_fork(lua_State *L) { lua_pushinteger(L, fork()); return 1; }
      static int l_wait(lua_State *L) {
        int status = 0;
        waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
        lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        return 1;
      }
      int luaopen_forker(lua_State *L) {
        lua_newtable(L);
        lua_pushcfunction(L, l_fork); lua_setfield(L, -2, "fork");
        lua_pushcfunction(L, l_wait); lua_setfield(L, -2, "wait");
        return 1;
      }
    ]], "-shared -fPIC")
    if not library then
      return pending "no C compiler, or no headers of Lua"
    end
    local code, output = program.lua(([[
      local forker = package.loadlib(%q, "luaopen_forker")()
      local tcpnet = require "tcpnet"
      io.stdout:setvbuf "no"
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server = assert(listener:accept())
      local waiting = tcpnet.spawn(function() return server:read() end)
      tcpnet.sleep(0.001)
      local pid = forker.fork()
      if pid == 0 then
        for name, fn in pairs {
          read = function() return client:read() end,
          sleep = function() return tcpnet.sleep(0.001) end,
          run = function() return tcpnet.run(print) end,
          spawn = function() return tcpnet.spawn(print) end,
          connect = function() return tcpnet.TcpStream.connect("127.0.0.1:1") end,
          nodelay = function() return client:nodelay() end,
          set_nodelay = function() return client:set_nodelay(true) end,
        } do
          local ok, first, second = pcall(fn)
          local message = tostring(not ok and first or second)
          if not message:find "fork" then
            print("the child's " .. name .. ": " .. message)
            os.exit(1, true)
          end
        end
        server:close()
        client:close()
        os.exit(42, true)
      end
      print(forker.wait(pid))
      client:write "still mine"
      print(waiting:join(5))
      server:write "answer"
      print(client:read())
    ]]):format(library))
    assert.same({ 0, "42\ntrue\tstill mine\nanswer\n" }, { code, output })
  end)

  it("may have two Lua states, each with a reactor of its own (F23)", function()
    local host = program.c(folder, "host", [[
      #include <lauxlib.h>
      #include <lualib.h>
      #include <stdio.h>
      static lua_State *start(void) { lua_State *L = luaL_newstate(); luaL_openlibs(L); return L; }
      static void run(lua_State *L, const char *name) {
        lua_getglobal(L, name);
        if (lua_pcall(L, 0, 0, 0) != LUA_OK) { printf("%s: %s\n", name, lua_tostring(L, -1)); lua_pop(L, 1); }
      }
      int main(int count, char **names) {
        lua_State *a = start(), *b = start();
        (void)count;
        if (luaL_dofile(a, names[1]) || luaL_dofile(b, names[1])) { puts("not loaded"); return 1; }
        run(a, "begin"); run(b, "begin"); run(a, "go_on"); run(b, "go_on"); run(a, "begin");
        lua_close(a);
        run(b, "go_on"); run(b, "begin"); run(b, "go_on");
        lua_close(b);
        for (int i = 0; i < 20; i++) {
          a = start();
          if (luaL_dofile(a, names[1])) { puts("not loaded again"); return 1; }
          run(a, "begin");
          lua_close(a);
        }
        puts("closed");
        return 0;
      }
    ]])
    if not host then
      return pending "no C compiler, or no headers of Lua"
    end
    local script = program.write(folder.path .. "/states.lua", [[
      local tcpnet = require "tcpnet"
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client, server, task
      function begin()
        client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
        server = assert(listener:accept())
        task = tcpnet.spawn(function() return server:read() end)
        tcpnet.spawn(tcpnet.sleep, 30)
        tcpnet.sleep(0.001)
      end
      function go_on()
        client:write "x"
        local ok, data = task:join(5)
        assert(ok and (data == "x" or not data), "nothing came")
      end
    ]])
    local code, output = program.shell(("timeout -k 1 10 %s %s"):format(program.quote(host), program.quote(script)))
    assert.same({ 0, "closed\n" }, { code, output })
  end)
end)
