-- Finalizers, closing and cancelling at the worst of moments: in the middle of a read, of an accept, of another's wait.
local reports = require "spec.support.reports"
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"

-- Garbage whose finalizer calls fn.
local function litter(fn)
  setmetatable({}, { __gc = fn })
end

describe("a finalizer", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that touches a socket while a read gives out its bytes doubles none", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local other, other_peer, _other <close> = tcp.pair()
    other_peer:write(("o"):rep(1000))
    local sent = 400 * 8000
    tcpnet.spawn(function()
      for i = 1, 400 do
        server:write(("%08d"):format(i):rep(1000))
      end
      server:shutdown()
    end)
    local parts, taken = {}, 0
    while true do
      litter(function()
        other:fd()
        taken = taken + #(other:try_read(1) or "")
      end)
      local data, err = client:read(8000)
      assert(not err, err)
      if not data then
        break
      end
      parts[#parts + 1] = data
    end
    local all = table.concat(parts)
    assert.equal(sent, #all)
    for i = 1, 400 do
      assert.equal(("%08d"):format(i), all:sub((i - 1) * 8000 + 1, (i - 1) * 8000 + 8))
    end
    assert.equal(("o"):rep(1000 - taken), other:read_exact(1000 - taken))
  end))

  it("may close the very stream that is being read", tcp.in_task(function()
    for _ = 1, 60 do
      local client, server, _guard <close> = tcp.pair()
      server:write(("x"):rep(60000))
      client:read_exact(10)
      for _ = 1, 20 do
        litter(function() client:close() end)
      end
      for _ = 1, 50 do
        if not client:read(1000) then
          break
        end
      end
    end
  end))

  it("may close the very listener that accepts", tcp.in_task(function()
    for _ = 1, 40 do
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      for _ = 1, 20 do
        litter(function() listener:close() end)
      end
      local stream, err = listener:accept()
      if stream then
        stream:close()
      else
        assert.equal("CLOSED", err.code)
      end
      assert.is_false(client:closed())
    end
  end))
end)

describe("closing", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("ends a copy that waits for the other party", tcp.in_task(function()
    local a, a_peer, _a <close> = tcp.pair()
    local b, _, _b <close> = tcp.pair()
    local task <close> = tcpnet.spawn(tcpnet.copy, a, b)
    tcpnet.yield()
    b:close()
    local _, nothing, err = task:join(5)
    assert.is_nil(nothing)
    assert.equal("CLOSED", err.code)
    assert.equal(3, a_peer:write "abc")
    assert.equal("abc", a:read())
  end))

  it("into halves ends the waits of the whole", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local task <close> = tcpnet.spawn(client.read, client)
    tcpnet.yield()
    local read_half <close>, write_half = client:into_split()
    local _, nothing, err = task:join(5)
    assert.is_nil(nothing)
    assert.equal("CLOSED", err.code)
    server:write "for the half"
    assert.equal("for the half", read_half:read())
    write_half:close()
  end))

  it("in the function of try_io is fine", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local idle, _, _idle <close> = tcp.pair()
    server:write "x"
    client:readable()
    local nothing, err = client:try_io("r", function()
      client:close()
      return idle:try_read()
    end)
    assert.is_nil(nothing)
    assert.equal("EAGAIN", err.code)
  end))
end)

describe("a task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that cancels itself in the close of its own failure fails", function()
    tcpnet.configure { on_task_error = function() return true end }
    local task = tcpnet.run(function()
      local task = tcpnet.spawn(function()
        local _guard <close> = setmetatable({}, { __close = function() tcpnet.current():cancel() end })
        coroutine.yield()
      end)
      tcpnet.sleep(0.01)
      return task
    end)
    tcpnet.configure { on_task_error = false }
    assert.equal("failed", task:status())
  end)

  it("whose thread a stranger resumed before it began fails, and nothing breaks (F3)", function()
    tcpnet.configure { on_task_error = function() return true end }
    local old
    tcpnet.run(function() old = coroutine.running() end)
    local task = tcpnet.spawn(function() return 1 end)
    coroutine.resume(old)
    tcpnet.step()
    local _, err = task:join()
    tcpnet.configure { on_task_error = false }
    assert.is_true(task:status() == "failed" and err:find("somebody else", 1, true) ~= nil or task:status() == "done")
  end)

  it("that failed is not silent, though its joiner was cancelled before it heard of it", function()
    local ok, err = pcall(tcpnet.run, function()
      local task = tcpnet.spawn(function()
        tcpnet.yield()
        error("unheard", 0)
      end)
      local joiner = tcpnet.spawn(task.join, task)
      tcpnet.yield()
      tcpnet.yield()
      joiner:cancel()
      tcpnet.sleep(0)
    end)
    assert.is_false(ok)
    assert.matches("unheard", err)
  end)

  it("closed by its scope cannot spawn into it any more", function()
    local said <close> = reports.catch()
    local ok, err = pcall(tcpnet.scope, function(scope)
      scope:spawn(function()
        local _guard <close> = setmetatable({}, {
          __close = function()
            scope:spawn(tcpnet.sleep, 30)
          end,
        })
        tcpnet.sleep(30)
      end)
      tcpnet.yield()
      error("done", 0)
    end)
    assert.is_false(ok)
    assert.equal("done", err)
    assert.equal(1, #said)
    assert.matches("spawn: the scope has ended", said[1][2], 1, true)
  end)

  it("that catches errors over and over gathers no tracebacks", function()
    local grown = tcpnet.run(function()
      local function fail()
        pcall(tcpnet.timeout, 1, error, "caught")
      end
      for _ = 1, 200 do fail() end
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 8000 do fail() end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count" - before
    end)
    assert.is_true(grown < 300, grown)
  end)
end)

describe("arguments that would corrupt", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("the same Buffer twice in one vectored read is refused", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local buffer = tcpnet.Buffer.new(4096)
    server:write(("x"):rep(8192))
    client:readable()
    assert.has_error(function() client:try_read_vectored { buffer, buffer } end)
    assert.equal(0, #buffer)
  end))

  it("a linger of part of a second is not rounded to none", function()
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    assert.equal(1, socket:set_linger(0.5):linger())
    assert.is_false(socket:zero_linger())
  end)
end)

-- sockets of other kinds, and pipes -----------------------------------------------------------------------------------

-- A path in a folder that goes away with the guard.
local function socket_path()
  local folder = program.folder()
  return folder.path .. "/socket", folder
end

-- Unix datagrams of which the first can send no more.
local function full_datagrams()
  local one, other = assert(tcpnet.UnixDatagram.pair())
  while one:try_send "x" do end
  return one, other
end

-- Everything that has a descriptor, by name: a function that makes a list of objects. Shared with scripts.
local everything = [[
  local tcpnet = require "tcpnet"
  return {
    UdpSocket = function() return { assert(tcpnet.UdpSocket.bind "127.0.0.1:0") } end,
    UnixSocket = function() return { assert(tcpnet.UnixSocket.new_stream()) } end,
    UnixStream = function() return { assert(tcpnet.UnixStream.pair()) } end,
    UnixDatagram = function() return { assert(tcpnet.UnixDatagram.pair()) } end,
    UnixListener = function()
      local path = os.tmpname()
      local listener = assert(tcpnet.UnixListener.bind(path .. ".socket"))
      local client = assert(tcpnet.UnixStream.connect(path .. ".socket"))
      os.remove(path)
      os.remove(path .. ".socket")
      return { listener, client }
    end,
    halves = function()
      local one, other = assert(tcpnet.UnixStream.pair())
      local read_half, write_half = one:into_split()
      return { read_half, write_half, other }
    end,
    pipe = function() return { assert(tcpnet.pipe()) } end,
    Socket = function() return { assert(tcpnet.Socket.pair("unix", "seqpacket")) } end,
    views = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local view = assert(stream:as_socket())
      return { view, stream, assert(view:as_socket()), peer }
    end,
    Message = function()
      local one, other = assert(tcpnet.Socket.pair("unix", "dgram"))
      assert(one:sendmsg { data = "x", control = { { type = "fds", fds = { one, other, 0 } } } })
      return { one, other, (assert(other:recvmsg())) }
    end,
    ["descriptors on their way"] = function()
      local one, other = assert(tcpnet.UnixStream.pair())
      assert(one:send_fd(one))
      assert(one:send_fd(0))
      assert(other:read_exact(1)) -- the first is in the queue of the stream, the second in the kernel
      return { one, other }
    end,
  }
]]
local makers = assert(load(everything))()

describe("sockets of every kind and pipes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, make in pairs(makers) do
    it(("%s: collected while open, alone or with a view, leave no descriptor"):format(name), function()
      for _ = 1, 3 do
        local objects = make()
        assert.is_userdata(objects[1])
        local view = objects[1].as_socket and objects[1]:as_socket()
        objects = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
        tcpnet.step(0)
        assert.is_true(view == nil or view == false or type(view:closed()) == "boolean")
      end
    end)

    it(("%s: closed in a finalizer, and once more, in either order"):format(name), function()
      for _, first in ipairs { 1, -1 } do
        local objects, closed = make(), 0
        litter(function()
          for i = first == 1 and 1 or #objects, first == 1 and #objects or 1, first do
            objects[i]:close()
            objects[i]:close()
            closed = closed + 1
          end
        end)
        collectgarbage()
        assert.equal(#objects, closed)
        for _, object in ipairs(objects) do
          object:close()
        end
      end
    end)
  end

  it("leave a program cleanly with all of it open and waited for, whatever the way out", function()
    for _, ending in ipairs { "", "os.exit(0)", "os.exit(0, true)", "tcpnet.run(function() os.exit(0, true) end)" } do
      local code, output = program.lua(("local tcpnet = require 'tcpnet'\nlocal makers = (function() %s end)()\n%s%s")
        :format(everything, [[
          tcpnet.configure { on_task_error = function() return true end } -- two views wait for the same bytes
          kept = {}
          for name, make in pairs(makers) do
            kept[name] = make()
            for _, object in ipairs(kept[name]) do
              for _, way in ipairs { "recv_many", "recv", "recv_fd", "accept", "read" } do
                if object[way] and name ~= "UnixSocket" then
                  tcpnet.spawn(function()
                    -- somebody has to own what comes
                    local got = object[way](object, way ~= "accept" and 1 or nil)
                    kept[object] = way == "recv_fd" and got and tcpnet.Socket.from_fd(got) or got
                  end)
                  break
                end
              end
            end
          end
          for _ = 1, 3 do tcpnet.step(0) end
          -- closed with the state, in an order that is not theirs
          setmetatable({}, { __gc = function() kept.pipe[1]:close() kept.views[1]:recv() end })
        ]], ending))
      assert.equal("", output)
      assert.equal(0, code)
    end
  end)

  -- Each: what waits → its call, and what to close; then what else is to be closed.
  local waits = {
    ["recv of a UdpSocket"] = function()
      local socket = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      return socket, function() return socket:recv() end
    end,
    ["recv_many of a UdpSocket"] = function()
      local socket = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      return socket, function() return socket:recv_many(64) end
    end,
    ["recvmsg of a Socket"] = function()
      local socket, peer = assert(tcpnet.Socket.pair("unix", "seqpacket"))
      return socket, function() return socket:recvmsg { control = 4096 } end, peer
    end,
    ["send_many of a UnixDatagram"] = function()
      local socket, peer = full_datagrams()
      return socket, function() return socket:send_many { "a", "b" } end, peer
    end,
    ["sendmsg with a descriptor"] = function()
      local socket, peer = full_datagrams()
      return socket, function()
        return socket:sendmsg { data = "x", control = { { type = "fds", fds = { peer } } } }
      end, peer
    end,
    ["recv_fd"] = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      return stream, function() return stream:recv_fd() end, peer
    end,
    ["send_fd"] = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      tcp.fill(stream)
      return stream, function() return stream:send_fd(peer) end, peer
    end,
    ["sendfile"] = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      tcp.fill(stream)
      local file = assert(io.tmpfile())
      file:write(("f"):rep(2 ^ 20))
      return stream, function()
        local ok, err = stream:sendfile(file)
        file:close()
        return ok, err
      end, peer
    end,
    ["accept of a UnixListener"] = function()
      local path, folder = socket_path()
      local listener = assert(tcpnet.UnixListener.bind(path))
      return listener, function()
        local _folder <close> = folder
        return listener:accept()
      end
    end,
    ["connect of a UnixSocket"] = function()
      local path, folder = socket_path()
      local listener = assert(assert(assert(tcpnet.UnixSocket.new_stream()):bind(path)):listen(0))
      local first = assert(tcpnet.UnixStream.connect(path)) -- fills the queue
      local socket = assert(tcpnet.UnixSocket.new_stream())
      return socket, function()
        local _folder <close> = folder
        return socket:connect(path)
      end, tcp.guard(listener, first)
    end,
    ["read of a pipe"] = function()
      local sender, receiver = assert(tcpnet.pipe())
      return receiver, function() return receiver:read() end, sender
    end,
    ["write to a pipe"] = function()
      local sender, receiver = assert(tcpnet.pipe())
      return sender, function() return sender:write(("x"):rep(2 ^ 20)) end, receiver
    end,
    ["recv of a view"] = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local view = assert(stream:as_socket())
      return stream, function()
        local _view <close> = view
        return view:recv()
      end, peer
    end,
  }

  for name, make in pairs(waits) do
    it("closing ends " .. name .. " with CLOSED, and cancelling is clean", tcp.in_task(function()
      for _, way in ipairs { "close", "finalizer", "cancel" } do
        local object, wait, other = make()
        local _other <close> = other
        local task = tcpnet.spawn(wait)
        tcpnet.sleep(0)
        tcpnet.sleep(0.002)
        assert.is_true(task:status() == "waiting" or task:status() == "ready") -- a full queue is tried over and over
        if way == "cancel" then
          assert.is_true(task:cancel())
          local _, err = task:join(5)
          assert.equal("CANCELED", err.code)
        else
          if way == "close" then
            object:close()
          else
            litter(function() object:close() end)
            collectgarbage()
          end
          local ok, nothing, err = task:join(5)
          assert.is_true(ok)
          assert.is_nil(nothing)
          assert.equal("CLOSED", err.code)
        end
        object:close()
        assert.is_true(object:closed())
      end
    end))
  end

  it("views outlive and are outlived, in any order, and give nothing of the descriptor away", function()
    local orders = { { 1, 2, 3 }, { 1, 3, 2 }, { 2, 1, 3 }, { 2, 3, 1 }, { 3, 1, 2 }, { 3, 2, 1 } }
    for _, order in ipairs(orders) do
      for _, collect in ipairs { false, true } do
        local peer
        local objects = {}
        objects[1], peer = assert(tcpnet.UnixStream.pair())
        objects[2] = assert(objects[1]:as_socket())
        objects[3] = assert(objects[2]:as_socket())
        for i, index in ipairs(order) do
          local open = not objects[index]:closed()
          if collect then
            objects[index] = nil
            collectgarbage()
            tcpnet.step(0)
          else
            objects[index]:close()
          end
          -- closing the owner ends it for all; where it is collected, what a view still needs is kept
          open = open and (collect and i < 3 or not collect and index ~= 1)
          assert.equal(open, peer:try_write "x" == 1, ("step %d of order %s"):format(i, table.concat(order)))
        end
        peer:close()
      end
    end
  end)

  it("a view's descriptors that were queued go with the stream", function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local view = assert(stream:as_socket())
    assert(peer:send_fd(peer))
    assert.equal("\0", stream:read())
    view:close()
    local fd = assert(stream:recv_fd())
    local twin = assert(tcpnet.UnixStream.from_fd(fd))
    assert(peer:send_fd(0))
    assert.equal("\0", stream:read())
    stream:close()
    assert.is_true(twin:write "x" == nil)
    twin:close()
    peer:close()
  end)
end)

describe("a batch", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("on its way into Lua is not overwritten by that of a finalizer", function()
    local sender, receiver = assert(tcpnet.UnixDatagram.pair())
    local other_sender, other = assert(tcpnet.UnixDatagram.pair())
    local finalized = false
    for round = 1, 200 do
      for i = 1, 5 do
        assert(sender:send(tostring(i):rep(3000)))
        other_sender:try_send(("z"):rep(4000))
      end
      for _ = 1, 20 do
        litter(function()
          finalized = true
          other:try_recv_many(round < 100 and 4 or 64)
        end)
      end
      local garbage = {}
      for i = 1, round * 5 do
        garbage[i] = {}
      end
      for i, datagram in ipairs(assert(receiver:recv_many(5))) do
        assert(datagram.data == tostring(i):rep(3000), ("datagram %d of round %d is another's"):format(i, round))
      end
      assert.equal(round * 5, #garbage)
    end
    collectgarbage()
    assert.is_true(finalized)
    for _, object in ipairs { sender, receiver, other_sender, other } do
      object:close()
    end
  end)
end)

describe("a table with metamethods", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- Something that closes the object when it is asked for the nth time.
  local function trap(object, nth, answers)
    local asked = 0
    return setmetatable({}, {
      __index = function(_, key)
        asked = asked + 1
        if asked == nth then
          object:close()
        end
        collectgarbage()
        return answers[key]
      end,
    })
  end

  it("cannot close a socket under a call that reads the table", function()
    local makers_of = {
      sendmsg = function(socket, nth) return trap(socket, nth, { data = "x" }) end,
      send_many = function(socket, nth) return { trap(socket, nth, { data = "x" }), "y" } end,
      control = function(socket, nth)
        return { data = "x", control = { trap(socket, nth, { type = "fds", fds = { 0 } }) } }
      end,
    }
    for name, make in pairs(makers_of) do
      for nth = 1, 16 do
        local socket, peer = assert(tcpnet.UnixDatagram.pair())
        local method = name == "control" and "sendmsg" or name
        pcall(socket[method], socket, make(socket, nth)) -- sent, refused or closed: nothing freed is touched
        local other, other_peer = assert(tcpnet.UnixDatagram.pair())
        assert.equal(2, other:send "ok")
        assert.equal("ok", other_peer:recv())
        for _, object in ipairs { socket, peer, other, other_peer } do
          object:close()
        end
      end
    end
  end)

  it("in a list of options the same", function()
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    for asked = 1, 8 do
      local count = 0
      local signature = setmetatable({}, {
        __index = function(_, key)
          count = count + 1
          if count == asked then
            listener:close()
          end
          return ({ address = "127.0.0.1", key = "secret" })[key]
        end,
      })
      pcall(listener.set_accept_options, listener, { tcp_md5sig = signature, quickack = true })
    end
    listener:close()
  end)

  it("gives send_many no bytes that are collected before they go out", function()
    local sender, receiver = assert(tcpnet.UnixDatagram.pair())
    local function item(letter)
      return setmetatable({}, {
        __index = function(_, key)
          collectgarbage()
          return key == "data" and letter:rep(5000) or nil
        end,
      })
    end
    local _, sent = pcall(sender.send_many, sender, { item "a", item "b", item "c" })
    for i = 1, type(sent) == "number" and sent or 0 do
      assert.equal((("abc"):sub(i, i)):rep(5000), receiver:recv())
    end
    sender:close()
    receiver:close()
  end)

  it("that pairs gives of a Message is not its own: what is done to it breaks nothing", function()
    local one, other = assert(tcpnet.Socket.pair("unix", "dgram"))
    assert(one:send "x")
    local message = assert(other:recvmsg())
    local _, fields = pairs(message)
    pcall(function()
      fields.control = nil
    end)
    assert.is_nil(message:find "fds")
    assert.equal("x", message.data)
    local seen = {}
    for key in pairs(message) do
      seen[key] = true
    end
    assert.is_true(seen.data and seen.length and seen.flags)
    message:close()
    one:close()
    other:close()
  end)
end)
