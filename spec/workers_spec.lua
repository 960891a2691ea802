-- Workers: threads with a Lua state and a reactor of their own; what goes from one to the other, how they end.
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local reports = require "spec.support.reports"
local tcpnet = require "tcpnet"

-- How many threads this process has; nil where /proc does not tell.
local function threads()
  local list <close> = io.popen "ls /proc/$PPID/task 2>/dev/null | wc -l"
  return math.tointeger(tonumber(list:read "l"))
end

local threads_before

-- Several objects that are closed at the end of a block.
local function closing(...)
  local objects = { ... }
  return setmetatable({}, { __close = function()
    for _, object in ipairs(objects) do
      object:close()
    end
  end })
end

describe("workers", function()
  setup(function() -- with the first thread TSan begins one of its own
    assert(tcpnet.workers(1, function() end)):close()
  end)

  before_each(function()
    leaks.note()
    threads_before = threads()
  end)

  -- A thread is gone a moment after its worker has been joined or closed.
  after_each(function()
    leaks.check()
    for _ = 1, 500 do
      if threads() <= threads_before then
        return
      end
      tcpnet.sleep(0.02)
    end
    error(("%d threads are left"):format(threads() - threads_before))
  end)

  -- One worker that sends back what it receives.
  local function echo(parent)
    while true do
      local function back(...)
        return (...) ~= nil and parent:send(...)
      end
      if not back(parent:recv()) then
        return "end"
      end
    end
  end

  -- One worker that receives nothing until it is told so by the end of a pipe, then counts.
  local function late(parent)
    local gate = parent:recv()
    parent:send("ready")
    gate:read()
    local count, bytes = 0, 0
    while true do
      local message = parent:recv(5)
      if message == "stop" then
        return count, bytes
      end
      count, bytes = count + 1, bytes + #tostring(message)
    end
  end

  local function late_worker()
    local sender, receiver = tcpnet.pipe()
    local workers = assert(tcpnet.workers(1, late))
    assert(workers[1]:send(receiver))
    assert.equal("ready", workers[1]:recv(10))
    return workers, workers[1], sender
  end

  describe("begin", function()
    it("with their arguments, and end with their results", function()
      local workers <close> = assert(tcpnet.workers(3, function(parent, ...)
        return parent:index(), select("#", ...), ...
      end, "a", nil, 2.5, nil))
      assert.equal(3, #workers)
      for i = 1, 3 do
        assert.equal(i, workers[i]:index())
        assert.same({ true, i, 4, "a", nil, 2.5, nil, n = 7 }, table.pack(workers[i]:join(10)))
        assert.equal("done", workers[i]:status())
      end
      assert.is_true(workers:join())
    end)

    it("as tasks of a run of their own", function()
      local workers <close> = assert(tcpnet.workers(1, function()
        local child = tcpnet.spawn(function() tcpnet.sleep(0.01) return 3 end)
        return select(2, child:join()), tcpnet.current():name()
      end))
      assert.same({ true, 3, "worker 1" }, { workers[1]:join(10) })
    end)

    it("on threads that run while the parent computes", function()
      local folder <close> = program.folder()
      local path = folder.path .. "/ran"
      local workers <close> = assert(tcpnet.workers(1, function(_, name)
        local file = assert(io.open(name, "w"))
        file:write("here")
        file:close()
      end, path))
      local file
      repeat
        file = io.open(path)
      until file and file:seek "end" == 4
      file:close()
      assert.equal("running", workers[1]:status())
      assert.is_true(workers[1]:join(10))
    end)

    it("with a script, which gets the same arguments", function()
      local folder <close> = program.folder()
      local path = program.write(folder.path .. "/script.lua",
        "local parent, x = ... return parent:index() + x, select('#', ...)")
      local workers <close> = assert(tcpnet.workers(2, path, 40))
      assert.same({ true, 42, 2 }, { workers[2]:join(10) })
      assert.same({ true, 41, 2 }, { workers[1]:join(10) })
    end)

    it("not with a script that cannot be read or compiled", function()
      local folder <close> = program.folder()
      local none, err = tcpnet.workers(1, folder.path .. "/none.lua")
      assert.is_nil(none)
      assert.same({ "ENOENT", "workers", folder.path .. "/none.lua" }, { err.code, err.op, err.address })
      none, err = tcpnet.workers(1, program.write(folder.path .. "/bad.lua", "x ="))
      assert.is_nil(none)
      assert.equal("EINVAL", err.code)
      assert.matches("bad.lua:1: unexpected symbol", err.message)
      none, err = tcpnet.workers(1, program.write(folder.path .. "/binary.lua", string.dump(function() end)))
      assert.is_nil(none)
      assert.matches("binary chunk", err.message)
    end)

    it("not with a function that would leave something behind", function()
      local outside = 1
      local function raises(pattern, ...)
        local ok, message = pcall(tcpnet.workers, ...)
        assert.is_false(ok)
        assert.matches(pattern, message)
      end
      raises("bad argument #2 to '[%w_]+' %(the function uses the local variable 'outside'", 1, function()
        return outside
      end)
      raises("bad argument #2 to '[%w_]+' %(a function of C", 1, print)
      raises("bad argument #2 to '[%w_]+' %(function expected, got nil", 1)
      raises("bad argument #1 to '[%w_]+' %(integer from 1 to 1024 expected, got 0%)", 0, function() end)
      raises("bad argument #1 to '[%w_]+' %(integer from 1 to 1024 expected, got 1.5%)", 1.5, function() end)
      raises("bad argument #1 to '[%w_]+' %(integer from 1 to 1024 expected, got string%)", "1", function() end)
      raises("%(a function cannot go to another thread%)", 1, function() end, print)
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      raises("%(a TcpListener cannot go to several workers; send it to one%)", 1, function() end, listener)
      raises("%(in a table, a TcpListener cannot", 1, function() end, { listener })
      assert.is_false(listener:closed())
    end)

    it("with modules that the function uses from outside it", function()
      local _G, text = _G, string
      local workers <close> = assert(tcpnet.workers(1, function(_, here)
        local own = tcpnet == require "tcpnet" and text == require "string" and _G == _ENV
        return own, tostring(tcpnet) ~= here, text.upper "x"
      end, tostring(tcpnet)))
      assert.same({ true, true, true, "X" }, { workers[1]:join(10) })
    end)

    it("in states of their own", function()
      something_global = 1 -- luacheck: ignore
      tcpnet.configure { buffer_size = 100 }
      local workers <close> = assert(tcpnet.workers(2, function()
        local before = something_global -- luacheck: ignore
        something_global = 2 -- luacheck: ignore
        return before, require "tcpnet".configure().buffer_size
      end))
      for i = 1, 2 do
        assert.same({ true, nil, 65536, n = 3 }, table.pack(workers[i]:join(10)))
      end
      assert.equal(1, something_global) -- luacheck: ignore
      something_global = nil -- luacheck: ignore
      tcpnet.configure { buffer_size = 65536 }
    end)

    it("with the parent's ways to find modules", function()
      local folder <close> = program.folder()
      program.write(folder.path .. "/of_a_file.lua", "return { from = 'file' }")
      local path = package.path
      package.path = folder.path .. "/?.lua;" .. path
      package.preload["of.lua"] = function(name) return name .. " preloaded" end
      package.preload["of.c"] = string.upper
      local function with_more() return path end
      package.preload["of.more"] = with_more
      local workers <close> = assert(tcpnet.workers(1, function()
        return require "of_a_file".from, (require "of.lua"), (require "of.c"), (pcall(require, "of.more"))
      end))
      package.path = path
      package.preload["of.lua"], package.preload["of.c"], package.preload["of.more"] = nil, nil, nil
      assert.same({ true, "file", "of.lua preloaded", "OF.C", false }, { workers[1]:join(10) })
    end)
  end)

  describe("carry", function()
    local function round_trip(...)
      local workers <close> = assert(tcpnet.workers(1, echo))
      assert.is_true(workers[1]:send(...))
      return table.pack(workers[1]:recv(20))
    end

    it("every kind of value, exactly", function()
      local sent = table.pack(true, false, 0, math.mininteger, math.maxinteger, 1.0, -0.0, math.huge, -math.huge,
        0.1, 5e-324, "", "\0\255\n", ("x"):rep(100), nil, "end", nil)
      local got = round_trip(table.unpack(sent, 1, sent.n))
      assert.equal(sent.n, got.n)
      for i = 1, sent.n do
        assert.equal(sent[i], got[i])
        assert.equal(math.type(sent[i]), math.type(got[i]))
      end
      assert.equal(-math.huge, 1 / got[7])
    end)

    it("what is not equal to itself", function()
      local got = round_trip(0 / 0)
      assert.is_true(got.n == 1 and got[1] ~= got[1] and math.type(got[1]) == "float")
    end)

    it("long strings, whole", function()
      local parts = {}
      for i = 1, 50000 do
        parts[i] = ("%08x"):format((i * 2654435761) & 0xffffffff) .. ("\0"):rep(32)
      end
      local long = table.concat(parts)
      assert.is_true(round_trip(long)[1] == long)
    end)

    it("many values, and tables", function()
      local sent = { 1, 2, 3, [10] = "ten", [2.5] = 1, [true] = false, [-1] = math.pi, name = "x", [""] = "" }
      local got = round_trip(sent, {}, { "only" })
      assert.same({ sent, {}, { "only" }, n = 3 }, got)
      assert.equal(3, #got[1])
      local list = {}
      for i = 1, 100000 do
        list[i] = i
      end
      assert.same(list, round_trip(list)[1])
      local holes = {}
      for i = 0, 30 do
        holes[1 << i] = i
      end
      assert.same(holes, round_trip(holes)[1])
      assert.same(table.pack(table.unpack(list, 1, 5000)), round_trip(table.unpack(list, 1, 5000)))
    end)

    it("addresses and errors", function()
      local v6 = tcpnet.SocketAddr.new("fe80::1", 80)
      local unix = assert(tcpnet.SocketAddr.unix "/tmp/x")
      local _, err = tcpnet.TcpStream.connect "127.0.0.1:1"
      local got = round_trip(v6, { unix }, err)
      assert.equal(v6, got[1])
      assert.equal(unix, got[2][1])
      assert.is_true(tcpnet.is_error(got[3], err.code))
      for _, field in ipairs { "code", "errno", "op", "address", "message", "where" } do
        assert.equal(err[field], got[3][field])
      end
      assert.equal(tostring(err), tostring(got[3]))
    end)

    it("nothing else, and then nothing at all", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local worker = workers[1]
      local stream, other = tcpnet.UnixStream.pair()
      local _closing <close> = closing(stream, other)
      local half = other:split()
      for pattern, value in pairs {
        ["a function cannot go to another thread"] = print,
        ["a thread cannot"] = coroutine.create(print),
        ["a userdata cannot"] = io.stdout,
        ["a Buffer cannot"] = tcpnet.Buffer.new(1),
        ["a ReadHalf cannot"] = half,
        ["a Worker cannot"] = worker,
        ["in a table, a table cannot"] = { {} },
        ["in a table, a function cannot"] = { x = print },
        ["as a key, a table cannot"] = { [{}] = 1 },
        ["with a metatable, a table cannot"] = setmetatable({}, {}),
      } do
        for name, call in pairs {
          send = function() local _ = worker:send(1, stream, value) end,
          try_send = function() local _ = worker:try_send(1, stream, value) end,
        } do
          local ok, message = pcall(call)
          assert.is_false(ok)
          assert.matches(pattern, message)
          assert.matches("bad argument #3 to '" .. name .. "'", message)
        end
      end
      assert.is_false(stream:closed())
      for _, call in ipairs { worker.send, worker.try_send } do
        for count = 0, 2 do
          local ok, message = pcall(call, worker, table.unpack({ nil, 1 }, 1, count))
          assert.is_false(ok)
          assert.matches("value expected, got nil: that is the end", message)
        end
      end
      assert.is_nil(worker:recv(0.05))
    end)

    it("messages in order, both ways, however many", function()
      local workers <close> = assert(tcpnet.workers(2, echo))
      tcpnet.run(function()
        for _, worker in ipairs(workers) do
          tcpnet.spawn(function()
            for i = 1, 5000 do
              assert(worker:send(i))
            end
          end)
        end
        for i = 1, 5000 do
          assert.equal(i, (workers[1]:recv()))
          assert.equal(i, (workers[2]:recv()))
        end
      end)
    end)

    it("messages of many tasks, each once", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      tcpnet.run(function()
        local seen, count = {}, 0
        local receivers = tcpnet.JoinSet.new()
        for _ = 1, 3 do
          receivers:spawn(function()
            while count < 2000 do
              local i = workers[1]:recv()
              if i ~= "over" then
                assert.is_nil(seen[i])
                seen[i], count = true, count + 1
              end
            end
            workers[1]:send("over") -- for the others, who wait
          end)
        end
        for task = 1, 20 do
          tcpnet.spawn(function()
            for i = 1, 100 do
              assert(workers[1]:send(task * 1000 + i))
            end
          end)
        end
        while receivers:join_next() do
          assert.is_true(count >= 2000)
        end
        assert.equal(2000, count)
      end)
    end)
  end)

  describe("hold back", function()
    it("who sends more than is received", function()
      local workers <close>, worker, gate = late_worker()
      local count = 0
      while worker:try_send("x") do
        count = count + 1
      end
      assert.equal(128, count)
      assert.is_true(tcpnet.is_error(select(2, worker:try_send("x")), "EAGAIN"))
      local waiting = tcpnet.spawn(worker.send, worker, "y")
      tcpnet.sleep(0.05)
      assert.equal("waiting", waiting:status())
      gate:close()
      assert.same({ true, true }, { waiting:join(10) })
      assert.is_true(worker:send("stop"))
      assert.same({ true, 129, 129 }, { worker:join(10) })
      assert.is_true(workers:join())
    end)

    it("who sends more bytes than are received, but not one large message", function()
      local workers <close>, worker, gate = late_worker()
      local message, count = ("x"):rep(300000), 0
      while worker:try_send(message) do
        count = count + 1
      end
      assert.equal(4, count)
      gate:close()
      assert.is_true(worker:send(("x"):rep(5000000)))
      assert.is_true(worker:send("stop"))
      assert.same({ true, 5, 6200000 }, { worker:join(20) })
      assert.is_true(workers:join())
    end)

    it("and send nothing where they are cancelled or run out of time", function()
      local workers <close>, worker, gate = late_worker()
      local stream, other = tcpnet.UnixStream.pair()
      local _closing <close> = closing(stream, other)
      repeat until not worker:try_send("x")
      assert.is_nil(tcpnet.timeout(0.02, worker.send, worker, "late", stream))
      local task = tcpnet.spawn(worker.send, worker, "late", stream)
      tcpnet.sleep(0.01)
      task:cancel()
      assert.is_false(stream:closed())
      assert.equal(2, stream:write "ok")
      assert.equal("ok", other:read())
      gate:close()
      assert.is_true(worker:send("stop"))
      assert.same({ true, 128, 128 }, { worker:join(10) })
      assert.is_true(workers:join())
    end)
  end)

  describe("receive", function()
    it("within a time, or at once", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local none, err = workers[1]:recv(0.01)
      assert.is_nil(none)
      assert.same({ "TIMEOUT", "recv" }, { err.code, err.op })
      assert.is_true(tcpnet.is_error(select(2, workers[1]:try_recv()), "EAGAIN"))
      workers[1]:send("x")
      assert.equal("x", workers[1]:recv())
      assert.is_false(pcall(workers[1].recv, workers[1], -1))
    end)

    it("at once also where nobody turns the reactor", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local worker, back = workers[1], 0
      local sent = 0
      while back < 1000 do
        if sent < 1000 and worker:try_send(sent) then
          sent = sent + 1
        end
        if worker:try_recv() then
          back = back + 1
        end
      end
      assert.equal(1000, sent)
    end)

    it("what was sent before the end, then the end", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        for i = 1, 3 do
          parent:send(i, { i })
        end
      end))
      assert.is_true(workers[1]:join(10))
      local got = {}
      for i, t in workers[1]:messages() do
        got[#got + 1] = { i, t }
      end
      assert.same({ { 1, { 1 } }, { 2, { 2 } }, { 3, { 3 } } }, got)
      assert.same({ nil, n = 1 }, table.pack(workers[1]:recv()))
      assert.same({ nil, n = 1 }, table.pack(workers[1]:try_recv()))
      local sent, err = workers[1]:send("x")
      assert.is_nil(sent)
      assert.same({ "CLOSED", "the worker has ended" }, { err.code, err.message })
    end)

    it("the end, where the other side finishes", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        local sum = 0
        for n in parent:messages() do
          sum = sum + n
        end
        assert(parent:recv() == nil and parent:try_recv() == nil)
        parent:send(sum)
        parent:finish()
        require "tcpnet".sleep(math.huge)
      end))
      local worker = workers[1]
      for i = 1, 300 do
        assert(worker:send(i))
      end
      assert.is_true(worker:finish())
      assert.is_true(worker:finish())
      local sent, err = worker:send(1)
      assert.is_nil(sent)
      assert.same({ "CLOSED", "nothing can be sent after finish" }, { err.code, err.message })
      assert.equal(45150, worker:recv(10))
      assert.same({ nil, n = 1 }, table.pack(worker:recv(10)))
      assert.equal("running", worker:status())
    end)

    it("nothing less where a receive is cancelled", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local worker = workers[1]
      tcpnet.run(function()
        tcpnet.spawn(function()
          for i = 1, 500 do
            assert(worker:send(i))
          end
        end)
        local expected = 1
        while expected <= 500 do
          local key, i = tcpnet.select {
            message = function() return worker:recv() end,
            tick = function() tcpnet.yield() end,
          }
          if key == "message" then
            assert.equal(expected, i)
            expected = expected + 1
          end
        end
      end)
    end)

    it("in the worker the end of its parent as a cancel", function()
      local sender, receiver <close> = tcpnet.pipe()
      do
        local workers <close> = assert(tcpnet.workers(1, function(parent)
          local pipe <close> = parent:recv()
          local _notice <close> = setmetatable({}, { __close = function() pipe:write "closing" end })
          parent:send("ready")
          parent:recv()
          pipe:write "went on"
        end))
        workers[1]:send(sender)
        assert.equal("ready", workers[1]:recv(10))
      end
      assert.equal("closing", receiver:read_to_end())
    end)
  end)

  describe("move", function()
    -- Sends the objects to a worker, which sends them back → the objects as they come back.
    local function travel(...)
      local workers <close> = assert(tcpnet.workers(1, echo))
      local objects = table.pack(...)
      assert(workers[1]:send("objects", ...))
      for i = 1, objects.n do
        assert.is_true(objects[i]:closed())
        assert.matches("^%w+ %(consumed%)$", tostring(objects[i]))
      end
      local function results(word, ...)
        assert.equal("objects", word)
        return ...
      end
      return results(workers[1]:recv(10))
    end

    local function kind(object)
      return tostring(object):match "^%w+"
    end

    it("streams and listeners of every class", function()
      local folder <close> = program.folder()
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local unix_listener = assert(tcpnet.UnixListener.bind(folder.path .. "/socket"))
      local stream = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local a, b = tcpnet.UnixStream.pair()
      local sender, receiver = tcpnet.pipe()
      local l, u, s, a2, b2, ps, pr = travel(listener, unix_listener, stream, a, b, sender, receiver)
      local _closing <close> = closing(l, u, s, a2, b2, ps, pr)
      assert.same({ "TcpListener", "UnixListener", "TcpStream", "UnixStream", "UnixStream", "PipeSender",
        "PipeReceiver" }, { kind(l), kind(u), kind(s), kind(a2), kind(b2), kind(ps), kind(pr) })
      local accepted <close> = assert(l:accept())
      assert(accepted:write "over tcp")
      assert.equal("over tcp", s:read())
      assert.equal(s:peer_addr(), l:local_addr())
      local client <close> = assert(tcpnet.UnixStream.connect(folder.path .. "/socket"))
      local served <close> = assert(u:accept())
      assert(client:write "over unix")
      assert.equal("over unix", served:read())
      assert(a2:write "in a pair")
      assert.equal("in a pair", b2:read())
      assert(ps:write "in a pipe")
      assert.equal("in a pipe", pr:read())
    end)

    it("sockets of every class", function()
      local udp = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      local d1, d2 = tcpnet.UnixDatagram.pair()
      local raw = assert(tcpnet.Socket.new("inet", "stream"))
      local tcp = assert(tcpnet.TcpSocket.new_v4())
      local unix = assert(tcpnet.UnixSocket.new_stream())
      local address = udp:local_addr()
      local u, x, y, r, t, w = travel(udp, d1, d2, raw, tcp, unix)
      local _closing <close> = closing(u, x, y, r, t, w)
      assert.same({ "UdpSocket", "UnixDatagram", "UnixDatagram", "Socket", "TcpSocket", "UnixSocket" },
        { kind(u), kind(x), kind(y), kind(r), kind(t), kind(w) })
      assert.equal(address, u:local_addr())
      assert(u:send_to("to itself", address))
      assert.equal("to itself", (u:recv_from()))
      assert(x:send "datagram")
      assert.equal("datagram", y:recv())
      assert.is_true(r:set_reuseaddr(true):reuseaddr())
      assert(t:bind "127.0.0.1:0")
    end)

    it("with all that belongs to them", function()
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      listener:set_accept_options { ttl = 33 }
      listener:set_timeout(0.25)
      local l <close> = travel(listener)
      local client <close> = assert(tcpnet.TcpStream.connect(l:local_addr()))
      local accepted = assert(l:accept())
      assert.equal(33, accepted:ttl())
      assert.equal(0.25, l:timeout())

      accepted:set_read_timeout(1.5)
      assert(client:write "line\nrest and more")
      assert.equal("line", accepted:read_line())
      assert.equal(13, accepted:buffered())
      local moved <close> = travel(accepted)
      assert.equal(1.5, moved:read_timeout())
      assert.equal(13, moved:buffered())
      assert.equal(client:local_addr(), moved:peer_addr())
      assert.equal("rest", moved:read_exact(4))
      assert(client:shutdown())
      assert.equal(" and more", moved:read_to_end())
    end)

    it("with descriptors that came along the bytes", function()
      local a <close>, b = tcpnet.UnixStream.pair()
      local sender, receiver <close> = tcpnet.pipe()
      assert(a:write "first")
      assert(a:send_fd(sender))
      sender:close()
      assert.equal("f", b:read_exact(1))
      assert(b:readable())
      local moved <close> = travel(b)
      assert.equal("irst", moved:read_exact(4))
      local fd = assert(moved:recv_fd())
      local again <close> = assert(tcpnet.PipeSender.from_fd(fd))
      assert(again:write "it came")
      assert.equal("it came", receiver:read())
    end)

    it("in tables and results, too", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        local box = parent:recv()
        return { back = box.stream, 1 }
      end))
      local a, b <close> = tcpnet.UnixStream.pair()
      assert(workers[1]:send { stream = a, n = 1 })
      local ok, box = workers[1]:join(10)
      assert.is_true(ok)
      local back <close> = box.back
      assert(back:write "hello")
      assert.equal("hello", b:read())
    end)

    it("not what is closed, a view, or there twice; then the others stay", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local worker = workers[1]
      local a, b = tcpnet.UnixStream.pair()
      local _closing <close> = closing(a, b)
      local closed = tcpnet.UnixStream.pair()
      closed:close()
      local function refused(code, message, ...)
        local sent, err = worker:send(...)
        assert.is_nil(sent)
        assert.equal(code, err.code)
        assert.matches(message, err.message)
        assert.is_false(a:closed())
      end
      refused("CLOSED", "the UnixStream is closed", 1, a, closed)
      refused("EINVAL", "view", 1, a, b:as_socket())
      refused("EINVAL", "twice", 1, a, { a })
      assert.is_true(worker:send(1, a))
      local sent, err = worker:send(1, a)
      assert.is_nil(sent)
      assert.matches("the UnixStream was consumed by send", err.message)
      assert.equal(1, (worker:recv()))
    end)

    it("and whoever waits in them here hears of it", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local task = tcpnet.spawn(listener.accept, listener)
      tcpnet.sleep(0.01)
      assert.is_true(workers[1]:send("x", listener))
      local _, stream, err = task:join(10)
      assert.is_nil(stream)
      assert.equal("CLOSED", err.code)
      local _, back = workers[1]:recv()
      back:close()
    end)

    it("or the receiver is wrong", function()
      for _, class in ipairs { tcpnet.Worker, tcpnet.Parent } do
        for name, method in pairs(class) do
          for _, wrong in ipairs { false, {}, io.stdout, tcpnet.Buffer.new(1) } do
            local ok, message = pcall(method, wrong, 1)
            assert.is_false(ok)
            assert.matches("bad argument #1 to '.*' %(%a+ expected", message, 1, false, name)
          end
        end
      end
    end)

    it("nothing where there is no room for them; they come to whoever has it", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        local stream = require "tcpnet".UnixStream.pair()
        local values = { [300000] = true }
        parent:send(stream, table.unpack(values, 1, 300000))
        parent:recv()
      end))
      local function receive(...) -- what is given takes its room on the stack
        return (...), workers[1]:recv(10)
      end
      local nothing = {}
      assert.error_matches(function() receive(table.unpack(nothing, 1, 800000)) end, "too many values")
      local all = table.pack(receive())
      assert.equal(300002, all.n)
      assert.equal("UnixStream", tcpnet.private.kind(all[2]))
      assert.is_true(all[300002])
      all[2]:close()
    end)

    it("nothing where the worker has ended, though nobody has heard of it yet", function()
      local workers <close> = assert(tcpnet.workers(1, function() end))
      local tries = 0
      local ok, err
      repeat
        os.execute "sleep 0.02"
        tries = tries + 1
        ok, err = workers[1]:try_send("x")
      until not ok or tries == 500
      assert.is_nil(ok)
      assert.same({ "CLOSED", "the worker has ended" }, { err.code, err.message })
      assert.is_true(workers[1]:join(10))
    end)

    it("or are closed, where nobody receives them", function()
      local a, b <close> = tcpnet.UnixStream.pair()
      local workers <close>, worker, gate = late_worker()
      assert.is_true(worker:send("x", a))
      worker:close()
      assert.is_nil(b:read())
      gate:close()
      assert.is_nil(workers:join())
      -- the same from the worker
      local waiting <close> = assert(tcpnet.workers(1, function(parent)
        local one, other = tcpnet.UnixStream.pair()
        parent:send("keep", one)
        parent:send("leave", other)
        parent:recv()
      end))
      local _, kept = waiting[1]:recv(10)
      local own <close> = kept
      tcpnet.sleep(0.02)
      waiting[1]:close()
      assert.is_nil(own:read())
    end)
  end)

  describe("serve", function()
    -- Each connection writes a line, gets it back with the number of its worker, and ends.
    local function ask(address)
      local stream <close> = assert(tcpnet.TcpStream.connect(address))
      assert(stream:write "who\n")
      return math.tointeger(assert(stream:read_line()):match "^who (%d)$")
    end

    it("one port on every thread, by reuseport", function()
      local workers <close> = assert(tcpnet.workers(2, function(parent, address)
        local listener <close> = assert(tcpnet.TcpListener.bind(address or "127.0.0.1:0", { reuseport = true }))
        parent:send(listener:local_addr())
        for stream in listener:incoming() do
          tcpnet.spawn(function()
            stream:write(stream:read_line(), " ", parent:index(), "\n")
            stream:close()
          end)
        end
      end, tcpnet.SocketAddr.new("127.0.0.1", process.free_port())))
      local address = workers[1]:recv(10)
      assert.equal(address, workers[2]:recv(10))
      local seen = {}
      for _ = 1, 200 do
        local index = ask(address)
        seen[index] = (seen[index] or 0) + 1
      end
      assert.equal(200, seen[1] + seen[2])
    end)

    it("connections that are handed over to them", function()
      local workers <close> = assert(tcpnet.workers(2, function(parent)
        for _, stream in parent:messages() do
          tcpnet.spawn(function()
            stream:write(stream:read_line(), " ", parent:index(), "\n")
            stream:close()
          end)
        end
      end))
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      tcpnet.run(function()
        tcpnet.spawn(function()
          local turn = 0
          for stream, from in listener:incoming() do
            turn = turn % 2 + 1
            assert(workers[turn]:send(from, stream))
          end
        end)
        local seen = { 0, 0 }
        for _ = 1, 200 do
          local index = ask(listener:local_addr())
          seen[index] = seen[index] + 1
        end
        assert.same({ 100, 100 }, seen)
      end)
    end)
  end)

  describe("fail", function()
    local function failure(fn, ...)
      local workers <close> = assert(tcpnet.workers(1, fn, ...))
      local ok, err = workers[1]:join(10)
      assert.is_nil(ok)
      assert.equal("failed", workers[1]:status())
      return err
    end

    it("with a string and the worker's traceback", function()
      local err = failure(function()
        local function deep()
          error "out of order"
        end
        deep()
      end)
      assert.matches("^spec/workers_spec.lua:%d+: out of order\nstack traceback:\n.*in local 'deep'", err)
    end)

    it("with an Error as it was, and its traceback", function()
      local err = failure(function()
        local _, failed = require "tcpnet".TcpStream.connect "127.0.0.1:1"
        error(failed)
      end)
      assert.is_true(tcpnet.is_error(err, "ECONNREFUSED"))
      assert.same({ "connect", "127.0.0.1:1" }, { err.op, err.address })
      assert.matches("^spec/workers_spec.lua:%d+$", err.where)
      assert.matches("stack traceback:\n.*spec/workers_spec.lua", err.traceback)
    end)

    it("with any other value, or with the words for it", function()
      assert.equal(7, failure(function() error(7) end))
      assert.is_nil(failure(function() error(nil) end))
      assert.same({ code = 3 }, failure(function() error { code = 3 } end))
      assert.matches("^table: ", failure(function() error { {} } end))
      assert.equal("in words", failure(function()
        error(setmetatable({}, { __tostring = function() return "in words" end }))
      end))
    end)

    it("with results that cannot go", function()
      assert.matches("result #2: a function cannot go to another thread", failure(function() return 1, print end))
      assert.matches("a result cannot go to another thread: the UnixStream is closed", failure(function()
        local a, b = require "tcpnet".UnixStream.pair()
        a:close()
        return b, a
      end))
    end)

    it("where a module is not found, a deadlock is seen, a task fails", function()
      assert.matches("module 'no.such.module' not found", failure(function() require "no.such.module" end))
      local reported = failure(function()
        tcpnet.configure { on_task_error = function() end }
        tcpnet.spawn(function() error "of a task" end)
        tcpnet.sleep(0.01)
      end)
      assert.matches("of a task", reported)
    end)

    it("and are reported where nobody joins them, and raised by run", function()
      local list <close> = reports.catch()
      local ok, message = pcall(tcpnet.run, function()
        local workers <close> = assert(tcpnet.workers(1, function() error "unheard" end))
        while workers[1]:status() == "running" do
          tcpnet.sleep(0.01)
        end
      end)
      assert.is_false(ok)
      assert.matches("unheard", message)
      assert.equal(1, #list)
      assert.equal("worker 1", list[1][1]:name())
      assert.matches("unheard", list[1][2])
    end)

    it("and are not reported where somebody does", function()
      local list <close> = reports.catch()
      tcpnet.run(function()
        local workers <close> = assert(tcpnet.workers(2, function(parent)
          if parent:index() == 2 then
            error "heard"
          end
          parent:recv()
        end))
        local ok, err, worker = workers:join(10)
        assert.is_nil(ok)
        assert.matches("heard", err)
        assert.equal(workers[2], worker)
      end)
      assert.equal(0, #list)
    end)

    it("to join in time", function()
      local workers <close> = assert(tcpnet.workers(2, function(parent) parent:recv() end))
      local ok, err = workers[1]:join(0.01)
      assert.is_nil(ok)
      assert.same({ "TIMEOUT", "join" }, { err.code, err.op })
      ok, err = workers:join(0.01)
      assert.is_nil(ok)
      assert.same({ "TIMEOUT", "join" }, { err.code, err.op })
      assert.equal("running", workers[1]:status())
    end)
  end)

  describe("end", function()
    it("when cancelled, where they wait", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        local _closing <close> = setmetatable({}, { __close = function() parent:try_send("closing") end })
        parent:send("ready")
        require "tcpnet".sleep(math.huge)
        parent:send("never")
      end))
      local worker = workers[1]
      assert.equal("ready", worker:recv(10))
      assert.is_true(worker:cancel())
      local ok, err = worker:join(10)
      assert.is_nil(ok)
      assert.equal("CANCELED", err.code)
      assert.equal("cancelled", worker:status())
      assert.is_false(worker:cancel())
      assert.equal("closing", worker:recv())
      assert.is_nil(worker:recv())
      assert.equal("CANCELED", select(2, workers:join()).code)
    end)

    it("when closed: what was sent is dropped", function()
      local workers <close> = assert(tcpnet.workers(1, function(parent)
        parent:send("dropped")
        parent:recv()
      end))
      local worker = workers[1]
      local waiting = tcpnet.spawn(worker.recv, worker)
      assert.same({ true, "dropped" }, { waiting:join(10) })
      waiting = tcpnet.spawn(worker.recv, worker)
      tcpnet.sleep(0.01)
      assert.is_false(worker:closed())
      worker:close()
      worker:close()
      assert.is_true(worker:closed())
      local _, none, err = waiting:join(10)
      assert.is_nil(none)
      assert.same({ "CLOSED", "the Worker is closed" }, { err.code, err.message })
      assert.equal("CLOSED", select(2, worker:send(1)).code)
      assert.equal("CLOSED", select(2, worker:try_recv()).code)
      assert.equal("CANCELED", select(2, worker:join(10)).code)
      assert.is_false(worker:cancel())
    end)

    -- A worker that holds one end of a pipe, and its other end, which comes to its end with the worker's state.
    local function watched(fn)
      local sender, receiver = tcpnet.pipe()
      local workers = assert(tcpnet.workers(1, fn))
      assert(workers[1]:send(sender))
      assert.equal("ready", workers[1]:recv(10))
      return workers, receiver
    end

    local function wait_for_more(parent)
      local _pipe = parent:recv()
      parent:send("ready")
      parent:recv()
    end

    it("when they are collected", function()
      local _, pipe <close> = watched(wait_for_more)
      _ = nil
      collectgarbage()
      collectgarbage()
      assert.is_nil(pipe:read())
    end)

    it("with the run that they were made in", function()
      local pipe, worker
      tcpnet.run(function()
        local workers
        workers, pipe = watched(wait_for_more)
        worker = workers[1]
      end)
      assert.is_true(worker:closed())
      assert.is_nil(pipe:read())
      pipe:close()
    end)

    it("not with a run that they were made before", function()
      local workers <close> = assert(tcpnet.workers(1, echo))
      tcpnet.run(function() workers[1]:send(1) end)
      assert.equal(1, workers[1]:recv(10))
    end)

    for name, fn in pairs {
      ["in a loop"] = function(parent)
        local _pipe = parent:recv()
        parent:send("ready")
        while true do
          local _ = {}
        end
      end,
      ["and catch errors"] = function(parent)
        local _pipe = parent:recv()
        parent:send("ready")
        while true do
          pcall(function() return {} .. "" end)
        end
      end,
    } do
      it("when closed though they compute " .. name, function()
        local workers, pipe = watched(fn)
        local _closing <close> = closing(workers, pipe)
        workers:close()
        assert.is_nil(pipe:read())
      end)
    end

    it("many times, leaving nothing behind", function()
      for _ = 1, 10 do
        local workers <close> = assert(tcpnet.workers(4, function(parent)
          if parent:index() % 2 == 0 then
            parent:recv()
          end
          parent:send("x")
        end))
        for i = 1, 4, 2 do
          assert.equal("x", workers[i]:recv(10))
        end
      end
    end)
  end)
end)

-- The whole program ends: in processes of their own.
describe("a program with workers", function()
  local busy = [[
    local tcpnet = require "tcpnet"
    local workers = assert(tcpnet.workers(4, function(parent)
      local listener = tcpnet.TcpListener.bind("127.0.0.1:0")
      tcpnet.spawn(function() while true do tcpnet.sleep(0) end end)
      parent:send("ready")
      if parent:index() == 4 then
        listener:accept()
      else
        for message in parent:messages() do parent:send(message) end
      end
    end))
    for i = 1, 4 do assert(workers[i]:recv(10) == "ready") end
    io.stdout:setvbuf "no"
    io.write "up\n"
  ]]

  for name, ending in pairs {
    ["at the end of its script"] = { "", 0, "up\n" },
    ["by os.exit"] = { "os.exit(3)", 3, "up\n" },
    ["by os.exit with its state closed"] = { "os.exit(4, true)", 4, "up\n" },
    ["by os.exit in a task"] = { "tcpnet.run(function() tcpnet.sleep(0.01) os.exit(5, true) end)", 5, "up\n" },
    ["by an error"] = { "error('broken', 0)", 1, "up\n.*: broken\n" },
    ["by an error in a run"] = { "tcpnet.run(function() error('broken', 0) end)", 1, "up\n.*broken" },
    ["with its variables closed"] = { "local _workers <close> = workers", 0, "up\n" },
    ["with nobody left to hear them"] = { "workers[1]:send(1) workers = nil collectgarbage()", 0, "up\n" },
  } do
    it("ends " .. name, function()
      local code, output = program.lua(busy .. ending[1])
      assert.equal(ending[2], code, output)
      assert.matches("^" .. ending[3], output)
    end)
  end

  it("ends, though a worker never does", function()
    local folder <close> = program.folder()
    local script = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      local workers = tcpnet.workers(1, function(parent) parent:send("ready") while true do end end)
      print(workers[1]:recv(10))
    ]])
    -- what that worker has open, nobody closes: the ledger stays away
    local code, output = program.shell("LUA_INIT_5_4= " .. program.command(script))
    assert.equal(0, code, output)
    assert.equal("ready\n", output)
  end)

  it("is ended by os.exit in a worker", function()
    for call, expected in pairs {
      ["os.exit(7)"] = 7, ["os.exit(8, true)"] = 8, ["os.exit(true)"] = 0, ["os.exit(false)"] = 1,
    } do
      local code, output = program.lua(([[
        local tcpnet = require "tcpnet"
        io.stdout:setvbuf "full"
        io.write "buffered\n"
        local workers = tcpnet.workers(2, function(parent) if parent:index() == 2 then %s end parent:recv() end)
        workers:join()
        print "not reached"
      ]]):format(call))
      assert.equal(expected, code, output)
      assert.equal("buffered\n", output)
    end
  end)

  it("does not wait for a worker's worker that has no end", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local workers = assert(tcpnet.workers(1, function()
        require "tcpnet".workers(1, function(parent) parent:recv() os.execute "sleep 1.1" end)[1]:finish()
        return "left"
      end))
      print(workers[1]:join(10))
      os.execute "sleep 0.3" -- the other one ends after the state that had it
    ]]
    assert.equal(0, code, output)
    assert.equal("true\tleft\n", output)
  end)

  it("is interrupted as any other, be they idle or not", function()
    local code, output = program.interrupted(busy .. [[
      tcpnet.run(function() print(workers[1]:recv()) end)
    ]])
    assert.equal(1, code, output)
    assert.matches("interrupted!", output)
  end)

  it("starts programs in a worker that hear their signals, and hears its own itself", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local workers = tcpnet.workers(1, function()
        local status <close> = io.open "/proc/thread-self/status"
        local blocked = status and tonumber(status:read "a":match "SigBlk:%s*(%x+)", 16) or 1 << 1
        local function blocks(number) return blocked & 1 << number - 1 ~= 0 end
        return blocks(2), blocks(15), (select(3, os.execute "kill -TERM $$; sleep 5")),
          tcpnet.process.spawn { "true" }:wait().code
      end)
      print(workers[1]:join())
    ]]
    assert.equal(0, code, output)
    assert.equal("true\ttrue\tfalse\t15\t0\n", output) -- the interpreter handles SIGINT
  end)

  it("may leave a signal to a worker", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local workers = tcpnet.workers(1, function(parent)
        local signal <close> = assert(tcpnet.signal "SIGUSR1")
        parent:send("ready")
        return signal:recv(10)
      end)
      workers[1]:recv(10)
      os.execute "kill -USR1 $PPID"
      print(workers[1]:join(10))
    ]]
    assert.equal(0, code, output)
    assert.equal("true\tSIGUSR1\n", output)
  end)

  it("has workers that have workers", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local workers = tcpnet.workers(2, function(parent)
        local own <close> = assert(tcpnet.workers(2, function(_, base) return base * 10 end, parent:index()))
        return select(2, own[1]:join()) + select(2, own[2]:join())
      end)
      print(workers[1]:join()) print(workers[2]:join())
    ]]
    assert.equal(0, code, output)
    assert.equal("true\t20\ntrue\t40\n", output)
  end)
end)

it("available_parallelism counts at least one", function()
  local count = tcpnet.available_parallelism()
  assert.is_true(math.type(count) == "integer" and count >= 1)
end)
