-- Memory that runs out, states that close with everything open, threads and forks: a C host compiled here runs them.
-- F1, F2, F15, F17, F18, F19, F20, F23, F24, F26.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"

local folder, host

local function shell(command)
  local _, output = program.shell(command .. "; echo status $?")
  return output
end

setup(function()
  folder = program.folder()
  host = program.host(folder)
end)
teardown(function() getmetatable(folder).__close() end)

-- What the host prints for a script, with its exit status; less what a report says that found no memory.
local function run_host(mode, script, more)
  local path = program.write(folder.path .. "/script.lua", script)
  local output = shell(("timeout -k 1 1500 %s %s %s %s"):format(host, mode, program.quote(path), more or ""))
  return (output:gsub("tcpnet: [^\n]*not enough memory\n", ""))
end

-- Everything of a small program: names of its own for what a failed allocation leaves open.
local echo = [[
  collectgarbage "generational"
  local ok, err = pcall(function()
    local tcpnet = require "tcpnet"
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { nodelay = true }))
    assert(listener:set_accept_options { nodelay = true, quickack = true })
    tcpnet.run(function()
      tcpnet.spawn(function()
        local stream <close> = assert(listener:accept())
        while true do
          local line = stream:read_line()
          if not line then break end
          stream:write(line, "\n")
        end
      end)
      local stream <close> = assert(tcpnet.TcpStream.connect(tostring(listener:local_addr()), { timeout = 5 }))
      for _ = 1, 2 do
        assert(stream:write("hello", "\n"))
        assert(stream:read_exact(6) == "hello\n")
      end
      tcpnet.timeout(0.001, stream.read, stream)
      tcpnet.select { a = function() tcpnet.sleep(0) end, b = function() return stream:read() end }
      local buffer = tcpnet.Buffer.new(16)
      stream:write_from(buffer:append "x\n")
      stream:read_into(buffer)
      stream:shutdown()
      stream:read_to_end()
      local _, failure = tcpnet.TcpStream.connect("127.0.0.1:1")
      tostring(failure)
      local read_half, write_half = stream:into_split()
      read_half:reunite(write_half)
    end)
  end)
]]

-- What a walk says for itself, with its exit status; the reports of tasks that found no memory go nowhere.
local function torture(environment, how, distance)
  return shell(("{ %s timeout -k 1 600 %s run spec/support/torture_walk.lua %s %d 2>/dev/null; }"):format(environment,
    host, how, distance))
end

-- How far apart the allocations are that fail: `./dev torture` fails every one.
local exhaustive = os.getenv "TCPNET_TORTURE" ~= nil
local function step(distance)
  return exhaustive and 1 or distance
end

describe("allocations that fail", function()
  local modes = {
    once = { what = "each one once", loading = 97, walking = 5 },
    on = { what = "all from each one on", loading = 23, walking = 5 },
  }

  for mode, row in pairs(modes) do
    -- Loading the library makes most of the allocations, and each of them is a run of its own.
    it(row.what .. ", loading the library: no crash, no block and no descriptor left (F17, F18)", function()
      if not host then
        return pending "no C compiler or no lua5.4 for it"
      end
      assert.equal("fine after many\nstatus 0\n", run_host(mode, echo, step(row.loading)))
    end)

    it(row.what .. ", in all that the library does: a clean error, and the program goes on (F17, F18)", function()
      if not host then
        return pending "no C compiler or no lua5.4 for it"
      end
      local output = torture("", mode, step(row.walking))
      local attempts = tonumber(output:match "^fine, (%d+) attempts\nstatus 0\n$")
      assert(attempts and attempts > 200, output)
    end)
  end

  it("of the library itself, each one and all from it on: a clean error, and the program goes on (F17)", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    -- the C path of this run is that of another build
    local path = (os.getenv "LUA_CPATH_5_4"):gsub("^[^;]*/%?%.so", program.faults_build() .. "/?.so", 1)
    local output = torture(("LD_PRELOAD= LUA_CPATH_5_4='%s'"):format(path), "core", 1)
    local attempts = tonumber(output:match "^fine, (%d+) attempts\nstatus 0\n$")
    assert(attempts and attempts > 200, output)
  end)
end)

describe("allocations that fail, with workers,", function()
  -- The parent's: a worker has the allocator of every new state.
  local script = [[
    disarm()
    local tcpnet = require "tcpnet"
    local function echo(parent, text, list)
      assert(text == "text" and list[3] == "c")
      for box, word, number in parent:messages() do
        parent:send(box, word, number)
      end
      return { "done" }, 2
    end
    local one, other = tcpnet.UnixStream.pair()
    arm()
    pcall(function()
      tcpnet.configure { on_task_error = function() end }
      local workers <close> = assert(tcpnet.workers(1, echo, "text", { "a", "b", "c" }))
      local worker = workers[1]
      local function check(box, word, number)
        assert(word == "word" and number == 1.5 and box.list == nil and #box == 3)
        return box.stream
      end
      assert(worker:send({ 1, 2, 3, stream = one }, "word", 1.5))
      local back
      for _ = 1, 3 do -- what could not be read is still there
        local ok, stream = pcall(function() return check(worker:recv(5)) end)
        back = ok and stream
        if back then break end
      end
      worker:finish()
      worker:join(5)
    end)
    disarm()
    -- Wherever the stream is by now: it works, or it is closed at both ends.
    collectgarbage()
    collectgarbage()
    if one:closed() then
      local data, err = other:set_timeout(5):read()
      assert(data == nil and not tcpnet.is_error(err, "TIMEOUT"), "the stream is lost")
    else
      assert(one:write "x" and other:read() == "x")
    end
  ]]

  for mode, what in pairs { once = "each one once", on = "all from each one on" } do
    it(what .. ": no crash, no block, no descriptor and no stream left", function()
      if not host then
        return pending "no C compiler or no lua5.4 for it"
      end
      assert.matches("^fine after %a+\nstatus 0\n$", run_host(mode, script, "3"))
    end)
  end
end)

describe("a state that closes", function()
  it("with everything open and waiting leaves no block and no descriptor (F19, F20)", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("status 0\n", run_host("run", [[
      local tcpnet = require "tcpnet"
      listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      server = assert(listener:accept())
      read_half, write_half = assert(tcpnet.TcpStream.connect(listener:local_addr())):into_split()
      socket = assert(tcpnet.TcpSocket.new_v4())
      buffer = tcpnet.Buffer.new(1000000):append(("x"):rep(1000000))
      set = tcpnet.JoinSet.new()
      set:spawn(tcpnet.sleep, 100)
      for _, fn in ipairs {
        function() listener:accept() listener:accept() end, function() client:read() end,
        function() while true do client:write(buffer) end end, function() read_half:read_line() end,
        function() tcpnet.sleep(100) end, function() tcpnet.lookup_host "localhost:1" end,
        function() set:join_next() end, function() tcpnet.timeout(100, tcpnet.park) end,
        function()
          local guard <close> = setmetatable({}, { __close = function() client:write "x" end })
          tcpnet.park()
        end,
        function() tcpnet.select { function() tcpnet.park() end, function() server:ready "p" end } end,
        function() tcpnet.coroutine.wrap(function() server:ready "p" end)() end,
      } do
        tcpnet.spawn(fn)
      end
      tcpnet.sleep(0.01)
      setmetatable({}, { __gc = function() pcall(client.write, client, "late") pcall(tcpnet.spawn, print) end })
    ]]))
  end)

  it("may be one of many, in four threads at once (F23)", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("fine\nstatus 0\n", run_host("threads", echo .. "\nif not ok then error(err) end"))
  end)
end)

describe("a fork", function()
  it("leaves the parent's sockets alone, and fails clearly in the child (F24)", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("parent: hello\nstatus 0\n", run_host("run", [[
      local tcpnet = require "tcpnet"
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      local word
      tcpnet.run(function()
        local reader = tcpnet.spawn(function() word = client:read() end)
        tcpnet.sleep(0.005) -- it is registered now
        local child = fork()
        if child == 0 then
          for name, call in pairs {
            read = function() return server:read() end, write = function() return server:write "child" end,
            try_read = function() return server:try_read() end, accept = function() return listener:accept() end,
            connect = function() return tcpnet.TcpStream.connect(listener:local_addr()) end,
            spawn = function() return tcpnet.spawn(print) end, sleep = function() return tcpnet.sleep(0) end,
            new = function() return tcpnet.TcpSocket.new_v4() end,
            lookup = function() return tcpnet.lookup_host "localhost:1" end,
          } do
            local ok, result, err = pcall(call)
            local message = ok and tostring(err) or tostring(result)
            if ok and result ~= nil or not message:find "fork" then
              io.stderr:write(name, ": ", message, "\n")
              exit_at_once(4)
            end
          end
          client:close()
          collectgarbage()
          exit_at_once(7)
        end
        local status = wait_for(child)
        if status ~= 7 then error("the child ended with " .. status) end
        assert(server:write "hello")
        reader:join()
      end)
      print("parent: " .. word)
    ]]))
  end)

  it("leaves the parent's workers alone, and does not wait for threads that it has not", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("hello\nstatus 0\n", run_host("run", [[
      local tcpnet = require "tcpnet"
      local workers <close> = assert(tcpnet.workers(2, function(parent)
        for message in parent:messages() do parent:send(message) end
      end))
      for i = 1, 2 do
        workers[i]:send "x"
        assert(workers[i]:recv(5) == "x")
      end
      local child = fork()
      if child == 0 then
        for name, call in pairs {
          send = function() return workers[1]:send(1) end, try_send = function() return workers[1]:try_send(1) end,
          recv = function() return workers[1]:recv() end, cancel = function() return workers[1]:cancel() end,
          join = function() return workers[1]:join() end, workers = function() return tcpnet.workers(1, load "") end,
        } do
          local ok, message = pcall(call)
          if ok or not message:find "fork" then
            io.stderr:write(name, ": ", tostring(message), "\n")
            exit_at_once(4)
          end
        end
        workers[1]:close()
        os.exit(7, true)
      end
      local status = wait_for(child)
      if status ~= 7 then error("the child ended with " .. status) end
      workers[1]:send "hello"
      print(workers[1]:recv(5))
    ]]))
  end)

  it("whose child closes its state leaves the parent's sockets alone (F24)", function()
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("hello\nstatus 0\n", run_host("run", [[
      local tcpnet = require "tcpnet"
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert(client:set_read_timeout(0.005):read() == nil)
      client:set_read_timeout(5)
      local child = fork()
      if child == 0 then os.exit(7, true) end
      local status = wait_for(child)
      if status ~= 7 then error("the child ended with " .. status) end
      assert(server:write "hello")
      print(client:read())
    ]]))
  end)
end)

describe("the collector", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function pair()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    return client, (assert(listener:accept()))
  end

  it("takes neither a waiting task nor its stream (F1, F2)", function()
    local got
    tcpnet.run(function()
      local client, server = pair()
      tcpnet.spawn(function(reader)
        local stream <close> = reader
        got = stream:read_line()
      end, client)
      client = nil -- luacheck: ignore 311
      tcpnet.yield()
      for _ = 1, 3 do
        collectgarbage()
        tcpnet.sleep(0.001)
      end
      assert(server:write "hello\n")
      tcpnet.sleep(0.01)
      server:close()
    end)
    assert.equal("hello", got)
  end)

  it("may run at every step of everything (F1, F2)", function()
    collectgarbage("incremental", 1, 1000, 4)
    local ok, err = pcall(tcpnet.run, function()
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local address = listener:local_addr()
      tcpnet.spawn(function()
        for stream in listener:incoming() do
          tcpnet.spawn(function()
            tcpnet.copy(stream, stream)
            stream:close()
          end)
        end
      end)
      tcpnet.scope(function(scope)
        for i = 1, 8 do
          scope:spawn(function()
            local stream <close> = assert(tcpnet.TcpStream.connect(address))
            for j = 1, 5 do
              local line = ("line %d %d"):format(i, j)
              assert(stream:write(line, "\n"))
              collectgarbage "step"
              assert(stream:read_line() == line)
            end
          end)
        end
      end)
    end)
    collectgarbage("incremental", 200, 100, 13)
    assert(ok, err)
  end)

  it("takes streams that closures in their tasks refer to, and closes them (F15)", function()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    for _ = 1, 100 do
      local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server = assert(listener:accept())
      local task
      task = tcpnet.spawn(function()
        return client, server, task
      end)
      task:join()
    end
    collectgarbage()
    collectgarbage()
    tcpnet.step(0)
    assert.equal(1, tcpnet.metrics().sources)
  end)
end)

describe("descriptors", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are close-on-exec: a child process gets none (F24)", function()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    local pipe = assert(io.popen "ls -l /proc/self/fd")
    local list = pipe:read "a"
    pipe:close()
    assert.is_nil(list:find("socket:", 1, true), list)
    assert.is_nil(list:find("eventpoll", 1, true), list)
    assert.is_nil(list:find("eventfd", 1, true), list)
    assert.is_false(server:closed() or client:closed() or socket:closed())
  end)

  it("that are closed and reused in one turn are not mixed up (F26)", function()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local address = listener:local_addr()
    tcpnet.run(function()
      for _ = 1, 300 do
        local first = assert(tcpnet.TcpStream.connect(address))
        local first_peer = assert(listener:accept())
        local second = assert(tcpnet.TcpStream.connect(address))
        local second_peer = assert(listener:accept())
        local replaced, replaced_peer, outcome
        local reader = tcpnet.spawn(function()
          assert(first:read() == "1")
          second:close() -- its event is in the same batch
          replaced = assert(tcpnet.TcpStream.connect(address))
          replaced_peer = assert(listener:accept())
        end)
        local other = tcpnet.spawn(function()
          outcome = table.pack(second:read())
        end)
        tcpnet.yield()
        first_peer:write "1"
        second_peer:write "2"
        reader:join()
        other:join()
        assert(outcome[1] == "2" or outcome[1] == nil and outcome[2].code == "CLOSED")
        local again = tcpnet.spawn(replaced.read, replaced)
        tcpnet.yield()
        replaced_peer:write "3"
        local _, word = again:join(1)
        assert.equal("3", word)
        for _, stream in ipairs { first, first_peer, second_peer, replaced, replaced_peer } do
          stream:close()
        end
      end
    end)
  end)
end)
