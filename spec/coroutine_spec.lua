-- tcpnet.coroutine: coroutines in a task whose waits suspend the task, and whose yields are their own.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local reports = require "spec.support.reports"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"

local co = tcpnet.coroutine
local closer, in_task = steps.closer, steps.in_task

describe("a coroutine of tcpnet.coroutine", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is one of Lua's, and has the functions of Lua's library", function()
    for _, name in ipairs { "create", "wrap", "resume", "close", "status", "yield", "isyieldable", "running" } do
      assert.is_function(co[name])
    end
    assert.equal("thread", type(co.create(print)))
  end)

  it("passes values both ways, nils included", in_task(function()
    local thread = co.create(function(...)
      local got = table.pack(co.yield(select("#", ...), nil))
      return got.n, got[1], got[2], nil
    end)
    assert.same({ n = 3, true, 3, nil }, table.pack(co.resume(thread, nil, 2, nil)))
    assert.same({ n = 5, true, 2, "a", nil, nil }, table.pack(co.resume(thread, "a", nil)))
    assert.equal("dead", co.status(thread))
    local ok, message = co.resume(thread)
    assert.is_false(ok)
    assert.matches("dead", message)
  end))

  it("works the same outside tasks", function()
    local thread = co.create(function(a)
      tcpnet.sleep(0.001)
      local b = co.yield(a + 1)
      tcpnet.sleep(0.001)
      return b + 1
    end)
    assert.same({ true, 2 }, { co.resume(thread, 1) })
    assert.equal("suspended", co.status(thread))
    assert.same({ true, 11 }, { co.resume(thread, 10) })
    assert.equal("dead", co.status(thread))
  end)

  it("that sleeps between its yields shows the resumer the yields alone", in_task(function()
    local numbers = {}
    for number in co.wrap(function()
      for i = 1, 5 do
        tcpnet.sleep(0.001)
        co.yield(i)
        tcpnet.yield()
      end
    end) do
      numbers[#numbers + 1] = number
    end
    assert.same({ 1, 2, 3, 4, 5 }, numbers)
  end))

  it("may be a generator that reads a socket (F10)", in_task(function()
    local client, server = tcp.pair()
    local sender = tcpnet.spawn(function()
      for i = 1, 3 do
        tcpnet.sleep(0.001)
        client:write("line ", i, "\n")
      end
      client:close()
    end)
    local lines = {}
    for line in co.wrap(function()
      while true do
        local line = server:read_line()
        if not line then
          return
        end
        co.yield(line)
      end
    end) do
      lines[#lines + 1] = line
    end
    assert.same({ "line 1", "line 2", "line 3" }, lines)
    sender:join()
    server:close()
  end))

  it("suspends its task while it waits, and others run", in_task(function()
    local log = {}
    local other = tcpnet.spawn(function()
      log[#log + 1] = "other"
    end)
    co.wrap(function()
      tcpnet.sleep(0.002)
      log[#log + 1] = "generator"
    end)()
    log[#log + 1] = "resumer"
    other:join()
    assert.same({ "other", "generator", "resumer" }, log)
  end))

  it("runs in the same task", in_task(function()
    local me = tcpnet.current()
    assert.equal(me, co.wrap(tcpnet.current)())
    assert.equal(me, co.wrap(function()
      tcpnet.sleep(0.001)
      return co.wrap(tcpnet.current)()
    end)())
  end))

  it("knows who runs, who is normal, and who may yield", in_task(function()
    local outer, inner
    outer = co.create(function()
      inner = co.create(function()
        return co.status(outer), co.status(inner), co.running() == inner, co.isyieldable()
      end)
      return co.resume(inner)
    end)
    assert.equal("suspended", co.status(outer))
    assert.same({ true, true, "normal", "running", true, true }, { co.resume(outer) })
    assert.equal("dead", co.status(outer))
  end))

  it("refuses wrong arguments as Lua's does", function()
    assert.error_matches(function() co.create(1) end, "bad argument #1")
    assert.error_matches(function() co.wrap() end, "bad argument #1")
    assert.error_matches(function() co.resume(print) end, "bad argument #1")
    assert.error_matches(function() co.status {} end, "bad argument #1")
    assert.error_matches(function() co.close "x" end, "bad argument #1")
  end)

  it("gives its error to resume, as it was raised, and is dead", in_task(function()
    local value = {}
    local thread = co.create(function()
      tcpnet.sleep(0.001)
      error(value)
    end)
    local ok, err = co.resume(thread)
    assert.is_false(ok)
    assert.equal(value, err)
    assert.equal("dead", co.status(thread))
    assert.is_false((co.resume(thread)))
  end))

  it("raises its error through wrap, and its variables are closed", in_task(function()
    local closed = false
    local ok, err = pcall(co.wrap(function()
      local _guard <close> = closer(function()
        closed = true
      end)
      tcpnet.sleep(0.001)
      error "inner trouble"
    end))
    assert.is_false(ok)
    assert.matches("inner trouble$", err)
    assert.is_true(closed)
  end))

  it("that is dead says so through wrap as well", in_task(function()
    local generator = co.wrap(function() return 1 end)
    assert.equal(1, generator())
    local ok, err = pcall(generator)
    assert.is_false(ok)
    assert.matches("cannot resume dead coroutine", err)
  end))

  it("shows where it failed in the traceback of its task", function()
    local caught <close> = reports.catch(true)
    local function culprit()
      error "deep"
    end
    tcpnet.spawn(function()
      co.wrap(function()
        tcpnet.sleep(0.001)
        culprit()
      end)()
    end)
    tcpnet.sleep(0.01)
    assert.equal(1, #caught)
    assert.matches("culprit", caught[1][3])
  end)

  it("may wait below a pcall of its own", in_task(function()
    local result = co.wrap(function()
      return select(2, pcall(function()
        tcpnet.sleep(0.001)
        error("kept", 0)
      end))
    end)()
    assert.equal("kept", result)
  end))

  it("is closed by close, with its variables in order, and its error given", in_task(function()
    local log = {}
    local thread = co.create(function()
      local _a <close> = closer(function() log[#log + 1] = "a" end)
      local _b <close> = closer(function() log[#log + 1] = "b" end)
      tcpnet.sleep(0.001)
      co.yield()
    end)
    co.resume(thread)
    assert.is_true(co.close(thread))
    assert.same({ "b", "a" }, log)
    assert.equal("dead", co.status(thread))
    assert.is_true(co.close(thread))

    local failing = co.create(function()
      local _guard <close> = closer(function() error("in closing", 0) end)
      co.yield()
    end)
    co.resume(failing)
    assert.same({ false, "in closing" }, { co.close(failing) })
    assert.is_true(co.close(co.create(print)))
  end))

  it("cannot close or resume itself", in_task(function()
    local thread
    thread = co.create(function()
      local closed, message = pcall(co.close, thread)
      return closed, message, co.resume(thread)
    end)
    local _, closed, message, resumed, refusal = co.resume(thread)
    assert.is_false(closed)
    assert.matches("running", message)
    assert.is_false(resumed)
    assert.is_string(refusal)
  end))

  -- In processes of their own: a running coroutine that is reset takes the process with it.
  it("refuses to call its own wrap again", function()
    for _, where in ipairs { "in a task", "outside tasks" } do
      local code, output = program.lua(([[
        local tcpnet = require "tcpnet"
        local function main()
          local generator
          generator = tcpnet.coroutine.wrap(function()
            local guard <close> = setmetatable({}, { __close = function() print "closed" end })
            local ok, message = pcall(generator)
            print(ok, message:match "non%%-suspended")
            return "the end"
          end)
          print(generator())
        end
        if %q == "in a task" then tcpnet.run(main) else main() end
      ]]):format(where))
      assert.same({ 0, "false\tnon-suspended\nclosed\nthe end\n" }, { code, output })
    end
  end)

  it("refuses to call the wrap of the one that resumed it", function()
    for _, where in ipairs { "in a task", "outside tasks" } do
      local code, output = program.lua(([[
        local tcpnet = require "tcpnet"
        local function main()
          local outer
          outer = tcpnet.coroutine.wrap(function()
            local inner = tcpnet.coroutine.wrap(function()
              local ok, message = pcall(outer)
              print(ok, message:match "non%%-suspended")
              return "inner"
            end)
            print(inner())
            tcpnet.sleep(0.001)
            return "outer"
          end)
          print(outer())
        end
        if %q == "in a task" then tcpnet.run(main) else main() end
      ]]):format(where))
      assert.same({ 0, "false\tnon-suspended\ninner\nouter\n" }, { code, output })
    end
  end)

  it("that waits is normal to other tasks, whose resume and close refuse it", in_task(function()
    local thread = co.create(function()
      tcpnet.sleep(0.01)
      return "undisturbed"
    end)
    local owner = tcpnet.spawn(function() return co.resume(thread) end)
    tcpnet.yield()
    assert.equal("normal", co.status(thread))
    local ok, message = co.resume(thread, "fake")
    assert.is_false(ok)
    assert.is_string(message)
    assert.is_false((pcall(co.close, thread)))
    assert.equal("normal", co.status(thread))
    assert.same({ true, true, "undisturbed" }, { owner:join() })
    assert.equal("dead", co.status(thread))
  end))

  it("that waits in wrap refuses another task's call", in_task(function()
    local generator = co.wrap(function()
      tcpnet.sleep(0.005)
      return "undisturbed"
    end)
    local owner = tcpnet.spawn(generator)
    tcpnet.yield()
    assert.is_false((pcall(generator)))
    assert.same({ true, "undisturbed" }, { owner:join() })
  end))

  it("that yielded in one task may go on in another", in_task(function()
    local thread = co.create(function()
      tcpnet.sleep(0.001)
      co.yield(tcpnet.current())
      tcpnet.sleep(0.001)
      return tcpnet.current()
    end)
    local _, first = co.resume(thread)
    assert.equal(tcpnet.current(), first)
    local other = tcpnet.spawn(function() return co.resume(thread) end)
    local _, _, second = other:join()
    assert.equal(other, second)
  end))

  it("is closed when its task is cancelled, innermost first", function()
    local log = {}
    local function guard(name)
      return closer(function()
        log[#log + 1] = name
      end)
    end
    local outer, inner
    local task = tcpnet.spawn(function()
      local _body <close> = guard "body"
      outer = co.create(function()
        local _outer <close> = guard "outer"
        inner = co.create(function()
          local _inner <close> = guard "inner"
          pcall(tcpnet.sleep, 30)
          log[#log + 1] = "went on"
        end)
        pcall(co.resume, inner)
        log[#log + 1] = "went on"
      end)
      pcall(co.resume, outer)
      log[#log + 1] = "went on"
    end)
    tcpnet.yield()
    assert.is_true(task:cancel())
    assert.same({ "inner", "outer", "body" }, log)
    assert.equal("dead", co.status(inner))
    assert.equal("dead", co.status(outer))
  end)

  it("that yielded stays when its task is cancelled, and may go on elsewhere", function()
    local thread = co.create(function()
      co.yield()
      tcpnet.sleep(0.001)
      return "went on"
    end)
    local task = tcpnet.spawn(function()
      co.resume(thread)
      tcpnet.sleep(30)
    end)
    tcpnet.yield()
    task:cancel()
    assert.equal("suspended", co.status(thread))
    assert.same({ true, "went on" }, { co.resume(thread) })
  end)

  it("answers CANCELED in its __close while its task is cancelled", function()
    local answer
    local task = tcpnet.spawn(function()
      co.wrap(function()
        local _guard <close> = closer(function()
          answer = table.pack(tcpnet.sleep(1))
        end)
        tcpnet.sleep(30)
      end)()
    end)
    tcpnet.yield()
    task:cancel()
    assert.is_nil(answer[1])
    assert.equal("CANCELED", answer[2].code)
  end)

  it("may use timeout, through which its own yields pass", in_task(function()
    local got = {}
    local generator = co.wrap(function(first)
      got[#got + 1] = first
      local result, err = tcpnet.timeout(10, function()
        tcpnet.sleep(0.001)
        got[#got + 1] = co.yield "one"
        tcpnet.sleep(0.001)
        got[#got + 1] = co.yield "two"
        return "finished"
      end)
      return result, err
    end)
    assert.equal("one", generator "a")
    assert.equal("two", generator "b")
    assert.same({ "finished" }, { generator "c" })
    assert.same({ "a", "b", "c" }, got)
  end))

  it("is told by timeout when the time ran out while it was suspended", in_task(function()
    local generator = co.wrap(function()
      return tcpnet.timeout(0.002, function()
        co.yield "before"
        tcpnet.sleep(30)
        return "never"
      end)
    end)
    assert.equal("before", generator())
    tcpnet.sleep(0.005)
    local result, err = generator()
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.code)
  end))

  it("that is resumed inside a timeout is closed when the time is up", in_task(function()
    local closed = false
    local thread = co.create(function()
      local _guard <close> = closer(function()
        closed = true
      end)
      tcpnet.sleep(30)
    end)
    local _, err = tcpnet.timeout(0.002, co.resume, thread)
    assert.equal("TIMEOUT", err.code)
    assert.is_true(closed)
    assert.equal("dead", co.status(thread))
    tcpnet.sleep(0.001)
  end))

  it("nests a hundred deep, waiting at the bottom", in_task(function()
    local function level(n)
      if n == 0 then
        tcpnet.sleep(0.001)
        return 0
      end
      return 1 + co.wrap(level)(n - 1)
    end
    assert.equal(100, level(100))
  end))

  it("nested too deep is an error, not a crash", in_task(function()
    local function level(n)
      return co.wrap(level)(n + 1)
    end
    local ok, err = pcall(level, 1)
    assert.is_false(ok)
    assert.matches("overflow", tostring(err))
    tcpnet.sleep(0.001)
  end))

  it("that waits in a chain of generators gives each its own values", in_task(function()
    local function source()
      for i = 1, 5 do
        tcpnet.sleep(0.001)
        co.yield(i)
      end
    end
    local function doubled(input)
      for value in input do
        tcpnet.yield()
        co.yield(value * 2)
      end
    end
    local sum = 0
    local input = co.wrap(source)
    for value in co.wrap(function() doubled(input) end) do
      sum = sum + value
    end
    assert.equal(30, sum)
  end))

  it("refuses to wait in a plain coroutine inside it (F10)", in_task(function()
    local message = co.wrap(function()
      return select(2, coroutine.resume(coroutine.create(function()
        tcpnet.sleep(0.001)
      end)))
    end)()
    assert.matches("tcpnet%.coroutine", message)
  end))

  it("survives the collector while it waits (F2)", in_task(function()
    local result = co.wrap(function()
      local data = {}
      for i = 1, 10 do
        tcpnet.sleep(0.0005)
        collectgarbage()
        data[i] = tostring(i)
      end
      return table.concat(data)
    end)()
    assert.equal("12345678910", result)
  end))

  it("that was dropped half way is collected", in_task(function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local thread = co.create(function()
        tcpnet.sleep(0.001)
        co.yield()
      end)
      co.resume(thread)
      weak[thread] = true
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end))

  it("that plain code resumes while it waits fails its wait, not the program (F3)", function()
    local thread
    local task = tcpnet.spawn(function()
      return co.wrap(function()
        thread = coroutine.running()
        tcpnet.sleep(0.005)
        return "made up"
      end)()
    end)
    tcpnet.yield()
    coroutine.resume(thread, "fake")
    local ok = task:join(5)
    assert.is_nil(ok)
    assert.equal("failed", task:status())
  end)

  it("that plain code closes while it waits fails its task (F3)", function()
    local thread
    local task = tcpnet.spawn(function()
      return co.wrap(function()
        thread = coroutine.running()
        tcpnet.sleep(0.005)
        return "made up"
      end)()
    end)
    tcpnet.yield()
    coroutine.close(thread)
    local ok = task:join(5)
    assert.is_nil(ok)
    assert.equal("failed", task:status())
  end)

  it("that gives more than there is room for is an error of its resumer, and goes on", in_task(function()
    local nothing = {}
    local thread = co.create(function()
      co.yield(table.unpack(nothing, 1, 600000))
      return "end"
    end)
    local function resume(...) -- what is given takes its room on the stack
      return (...), co.resume(thread)
    end
    local function within(...) -- so does what a timeout gives
      return (...), tcpnet.timeout(5, table.unpack, nothing, 1, 600000)
    end
    for _, call in ipairs { resume, within } do
      assert.error_matches(function() call(table.unpack(nothing, 1, 500000)) end, "too many results")
    end
    assert.equal("suspended", co.status(thread))
    assert.same({ 1, true, "end" }, { resume(1) })
    assert.equal(600001, select("#", within()))
  end))

  it("that plain code runs, and that waits there, keeps its task from going on meanwhile", function()
    local thread, over
    local task = tcpnet.spawn(function()
      thread = co.create(function()
        assert.is_false(pcall(tcpnet.sleep, 0.005))
        tcpnet.sleep(0.015) -- outside every task
        over = true
        return "by a stranger"
      end)
      local resumed = co.resume(thread)
      return over, resumed
    end)
    tcpnet.step()
    assert.same({ true, "by a stranger" }, { coroutine.resume(thread) })
    assert.same({ true, true, false }, { task:join(5) })
  end)
end)
