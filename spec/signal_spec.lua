-- Signals: who hears them, how many they count for, and what they do again once nobody listens.
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task
local signal = tcpnet.signal

-- Sends this process a signal; it has arrived when this returns.
local function raise(name)
  assert(os.execute(("kill -s %s %d"):format(name:gsub("^SIG", ""), tcpnet.private.pid())))
end

-- What scripts begin with. os.execute ignores SIGINT while it waits, hence the child for that.
local PRELUDE = [[
  io.stdout:setvbuf "no"
  local tcpnet = require "tcpnet"
  local function raise(name)
    assert(tcpnet.process.spawn { "sh", "-c", ("kill -s %s %d"):format(name:sub(4), tcpnet.private.pid()) }):wait()
  end
  local function busy(seconds)
    local done = os.clock() + seconds
    while os.clock() < done do end
  end
]]

local function script(text)
  return program.lua(PRELUDE .. text)
end

-- How a script ends that a signal killed, under a shell.
local function killed_by(number)
  return 128 + number
end

local function spec(name, body)
  describe(name, function()
    before_each(leaks.note)
    after_each(leaks.check)
    body()
  end)
end

spec("a signal", function()
  it("is heard, by its name", in_task(function()
    for _, name in ipairs { "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGTERM", "SIGALRM", "SIGWINCH", "SIGCONT", "SIGPIPE" } do
      local listener <close> = assert(signal(name))
      assert.is_true(tcp.waits(listener.recv, listener))
      raise(name)
      assert.equal(name, listener:recv(5))
      assert.is_true(tcp.waits(listener.recv, listener))
    end
  end))

  it("is heard by a task that waits, each time", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    for _ = 1, 5 do
      local task = tcpnet.spawn(listener.recv, listener)
      tcpnet.yield()
      assert.equal("waiting", task:status())
      raise "SIGUSR1"
      assert.same({ true, "SIGUSR1" }, { task:join(5) })
    end
  end))

  it("counts once, however often it came before somebody asked", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    for _ = 1, 3 do
      raise "SIGUSR1"
      tcpnet.sleep(0.002)
    end
    assert.equal("SIGUSR1", listener:recv(5))
    fails("TIMEOUT", listener:recv(0.02))
  end))

  it("is not what came before the object", in_task(function()
    local first <close> = assert(signal "SIGUSR1")
    raise "SIGUSR1"
    assert.equal("SIGUSR1", first:recv(5))
    local second <close> = assert(signal "SIGUSR1")
    fails("TIMEOUT", second:recv(0.02))
  end))

  it("is heard by every object that listens", in_task(function()
    local first <close> = assert(signal "SIGUSR1")
    local second <close> = assert(signal(first and "SIGUSR1"))
    local other <close> = assert(signal "SIGUSR2")
    raise "SIGUSR1"
    assert.equal("SIGUSR1", first:recv(5))
    assert.equal("SIGUSR1", second:recv(5))
    fails("TIMEOUT", other:recv(0.02))
    first:close()
    raise "SIGUSR1"
    assert.equal("SIGUSR1", second:recv(5))
  end))

  it("is heard by one of the tasks that wait in an object, in order", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    local heard, tasks = {}, {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(function()
        assert.equal("SIGUSR1", listener:recv(5))
        heard[#heard + 1] = i
      end)
    end
    tcpnet.yield()
    for i = 1, 3 do
      raise "SIGUSR1"
      tcpnet.sleep(0.01)
      assert.equal(i, #heard)
    end
    assert.same({ 1, 2, 3 }, heard)
    for _, task in ipairs(tasks) do
      assert.is_true(task:join(5))
    end
  end))

  it("is not lost to a task that is cancelled with it", function()
    local listener <close> = assert(signal "SIGUSR1")
    for _ = 1, 20 do
      local task = tcpnet.spawn(listener.recv, listener)
      tcpnet.step(0)
      assert.equal("waiting", task:status())
      raise "SIGUSR1"
      tcpnet.step(0)
      task:cancel()
      if not task:join() then
        assert.equal("SIGUSR1", listener:recv(5))
      end
    end
  end)

  it("may lose a select", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    assert.equal("time", (tcpnet.select {
      signal = function() return listener:recv() end,
      time = function() tcpnet.sleep(0.01) end,
    }))
    raise "SIGUSR1"
    assert.same({ "signal", "SIGUSR1" }, { tcpnet.select {
      signal = function() return listener:recv() end,
      time = function() tcpnet.sleep(5) end,
    } })
  end))

  it("may be given by its number", in_task(function()
    local listener <close> = assert(signal(10.0))
    assert.equal("Signal (SIGUSR1)", tostring(listener))
    raise "SIGUSR1"
    assert.equal("SIGUSR1", listener:recv(5))
  end))

  it("outside every task is heard, while tasks go on", function()
    local listener <close> = assert(signal "SIGUSR1")
    local ticks = 0
    tcpnet.spawn(function()
      while ticks < 3 do
        tcpnet.sleep(0.002)
        ticks = ticks + 1
      end
      raise "SIGUSR1"
    end)
    assert.equal("SIGUSR1", listener:recv(5))
    assert.equal(3, ticks)
  end)

  it("that somebody waits for is no deadlock", function()
    local code, text = script [[
      local listener = assert(tcpnet.signal "SIGUSR1")
      os.execute(("(sleep 0.3; kill -s USR1 %d) >/dev/null 2>&1 &"):format(tcpnet.private.pid()))
      print(tcpnet.run(function() return listener:recv() end))
      print(pcall(tcpnet.run, function() return tcpnet.park() end))
    ]]
    assert.equal(0, code, text)
    assert.matches("^SIGUSR1\nfalse\t.*deadlock: ", text) -- an object alone wakes nobody
  end)
end)

spec("a Signal", function()
  it("that is closed ends the waits in it", in_task(function()
    local listener = assert(signal "SIGUSR1")
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(listener.recv, listener)
    end
    tcpnet.yield()
    assert.is_false(listener:closed())
    listener:close()
    listener:close()
    for _, task in ipairs(tasks) do
      local ok, name, err = task:join(5)
      assert.is_true(ok)
      assert.equal("recv", fails("CLOSED", name, err).op)
    end
    fails("CLOSED", listener:recv())
    assert.is_true(listener:closed())
    assert.equal("Signal (SIGUSR1, closed)", tostring(listener))
  end))

  it("takes a time limit, and hears later what came after it", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    assert.equal("recv", fails("TIMEOUT", listener:recv(0.01)).op)
    fails("TIMEOUT", listener:recv(0))
    raise "SIGUSR1"
    assert.equal("SIGUSR1", listener:recv(5))
    for _, wrong in ipairs { -1, 0 / 0, "x", {} } do
      assert.has_error(function() listener:recv(wrong) end)
    end
  end))

  it("refuses what cannot be caught", function()
    for _, name in ipairs { "SIGKILL", "SIGSTOP" } do
      local err = fails("EINVAL", signal(name))
      assert.equal("signal", err.op)
      assert.matches("cannot be caught", tostring(err))
    end
  end)

  it("refuses what is no signal", function()
    for _, wrong in ipairs { "SIGNOTHING", "USR1", "sigusr1", "", "SIGUSR1 ", 0, -1, 65, 1.5, 0 / 0, true, {} } do
      assert.error_matches(function() signal(wrong) end, "bad argument #1 to 'signal' %(")
    end
    assert.error_matches(function() signal() end, "bad argument #1")
  end)

  it("of a number without a name gives the number", function()
    local code, text = script [[
      local listener = assert(tcpnet.signal(40))
      os.execute(("kill -40 %d"):format(tcpnet.private.pid()))
      print(listener:recv(5))
    ]]
    assert.same({ 0, "40\n" }, { code, text })
  end)

  it("may be opened and closed very often", in_task(function()
    for _ = 1, 2000 do
      assert(signal "SIGUSR1"):close()
    end
    local list = {}
    for i = 1, 200 do
      list[i] = assert(signal "SIGUSR2")
    end
    raise "SIGUSR2"
    for _, listener in ipairs(list) do
      assert.equal("SIGUSR2", listener:recv(5))
      listener:close()
    end
  end))
end)

spec("the default action", function()
  for how, ending in pairs {
    ["close"] = "listener:close()",
    ["__close"] = "do local _closing <close> = listener end",
    ["the collector"] = "listener = nil collectgarbage() collectgarbage()",
  } do
    it("is back after " .. how, function()
      local code, text = script([[
        local listener = assert(tcpnet.signal "SIGUSR1")
        raise "SIGUSR1"
        print(listener:recv(5))
        ]] .. ending .. [[

        print "closed"
        raise "SIGUSR1"
        tcpnet.sleep(5)
        print "alive"
      ]])
      assert.same({ killed_by(10), "SIGUSR1\nclosed\n" }, { code, (text:gsub("[^\n]*User defined[^\n]*\n", "")) })
    end)
  end

  it("is not there while a second object listens", function()
    local code, text = script [[
      local first, second = assert(tcpnet.signal "SIGUSR1"), assert(tcpnet.signal "SIGUSR1")
      first:close()
      raise "SIGUSR1"
      print(second:recv(5))
    ]]
    assert.same({ 0, "SIGUSR1\n" }, { code, text })
  end)

  it("of a signal that was ignored is to ignore it again", function()
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", PRELUDE .. [[
      assert(tcpnet.signal "SIGHUP"):close()
      raise "SIGHUP"
      tcpnet.sleep(0.05)
      print "alive"
    ]])
    assert.same({ 0, "alive\n" }, { program.shell(([[
      timeout -k 1 10 sh -c "trap '' HUP; exec %s %s"]]):format(program.interpreter, path)) })
  end)

  it("is a child's, whatever is listened to here", in_task(function()
    local listener <close> = assert(signal "SIGUSR1")
    local child <close> = assert(tcpnet.process.spawn { "sleep", 30 })
    child:kill "SIGUSR1"
    assert.same({ signal = "SIGUSR1" }, child:wait(5))
    fails("TIMEOUT", listener:recv(0.01))
  end))
end)

spec("SIGINT", function()
  -- Once only: the interpreter's own handler leaves the default action behind.
  it("raises in a wait when it is not taken any more", function()
    local code, text = script [[
      local function interrupted(when)
        tcpnet.spawn(function() tcpnet.sleep(0.3) raise "SIGINT" end)
        local ok, err = pcall(tcpnet.sleep, 1)
        print(when, ok, ok and "" or (tostring(err):match "interrupted!" or err))
      end
      local listener = assert(tcpnet.signal "SIGINT")
      interrupted "taken"
      print(listener:recv(5))
      local second = assert(tcpnet.signal "SIGINT")
      listener:close()
      interrupted "by another"
      print(second:recv(5))
      second:close()
      interrupted "after"
    ]]
    local lines = { "taken\ttrue\t", "SIGINT", "by another\ttrue\t", "SIGINT", "after\tfalse\tinterrupted!\n" }
    assert.same({ 0, table.concat(lines, "\n") }, { code, text })
  end)

  it("taken by a task while the program is idle, and after run has ended", function()
    local code, text = script [[
      local listener
      tcpnet.run(function()
        tcpnet.sleep(0.4)
        listener = assert(tcpnet.signal "SIGINT")
        raise "SIGINT"
        print(listener:recv(5))
        tcpnet.sleep(0.4)
      end)
      raise "SIGINT"
      print(listener:recv(5))
      tcpnet.run(function() tcpnet.sleep(0.4) raise "SIGINT" end)
      print(listener:recv(5))
    ]]
    assert.same({ 0, "SIGINT\nSIGINT\nSIGINT\n" }, { code, text })
  end)

  it("stops a script that computes, as before, once it is not taken any more", function()
    if program.defers_signals then
      return pending "TSan delivers signals late"
    end
    local code, text = script [[
      assert(tcpnet.signal "SIGINT"):close()
      os.execute(("(sleep 0.2; kill -s INT %d) >/dev/null 2>&1 &"):format(tcpnet.private.pid()))
      print(pcall(busy, 3))
    ]]
    assert.equal(0, code, text)
    assert.matches("^false\t.*interrupted!", text)
  end)

  it("taken lets a script that computes go on, and is heard after it", function()
    local code, text = script [[
      local listener = assert(tcpnet.signal "SIGINT")
      os.execute(("(sleep 0.1; kill -s INT %d) >/dev/null 2>&1 &"):format(tcpnet.private.pid()))
      busy(0.4)
      print(listener:recv(5))
    ]]
    assert.same({ 0, "SIGINT\n" }, { code, text })
  end)
end)

spec("SIGCHLD", function()
  it("is heard beside children that are waited for", in_task(function()
    local listener <close> = assert(signal "SIGCHLD")
    for code = 1, 5 do
      local child <close> = assert(tcpnet.process.spawn { "sh", "-c", "exit " .. code })
      assert.equal("SIGCHLD", listener:recv(5))
      assert.same({ code = code }, child:wait(5))
    end
    listener:close()
    local child <close> = assert(tcpnet.process.spawn { "sh", "-c", "exit 6" })
    assert.same({ code = 6 }, child:wait(5)) -- closing the object does not take it from them
  end))

  it("first listened to, then used for children, then no more listened to", function()
    local code, text = script [[
      local listener = assert(tcpnet.signal "SIGCHLD")
      local child = assert(tcpnet.process.spawn { "sh", "-c", "sleep 0.1; exit 3" })
      listener:close()
      print(child:wait(5).code)
      print(assert(tcpnet.process.spawn { "sh", "-c", "exit 4" }):wait(5).code)
    ]]
    assert.same({ 0, "3\n4\n" }, { code, text })
  end)
end)

spec("SIGTERM", function()
  it("ends a server in order", function()
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/server.lua", [[
      local tcpnet = require "tcpnet"
      io.stdout:setvbuf "line"
      tcpnet.run(function()
        local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
        local stop <close> = assert(tcpnet.signal "SIGTERM")
        print("listening on " .. tostring(listener:local_addr()))
        local serving = tcpnet.spawn(tcpnet.scope, function(scope)
          for stream in listener:incoming() do
            scope:spawn(function()
              local closing <close> = stream
              tcpnet.copy(stream, stream)
            end)
          end
        end)
        local name = stop:recv()
        listener:close()
        print(name)
        print(serving:join(10))
      end)
    ]])
    local server <close> = process.serve(path)
    local stream <close> = process.connect(server.port)
    stream:write "one\n"
    assert.equal("one", stream:read_line())
    assert(os.execute("kill -s TERM " .. server.pid)) -- that of `timeout`, which passes it on
    assert.equal("SIGTERM", server:expect "^(SIGTERM)$")
    fails("ECONNREFUSED", tcpnet.TcpStream.connect("127.0.0.1", server.port))
    stream:write "two\n"
    assert.equal("two", stream:read_line())
    stream:shutdown()
    assert.same({ 0, "true\n" }, { server:wait() })
  end)

  it("not listened to ends a program that waits", function()
    local code = script [[raise "SIGTERM" tcpnet.sleep(5) print "alive"]]
    assert.equal(killed_by(15), code)
  end)
end)
