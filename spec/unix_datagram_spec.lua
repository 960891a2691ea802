-- UnixDatagram: messages by path, by abstract name and over pairs; full receivers; batches; the ways that it ends.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits
local SocketAddr, UnixDatagram = tcpnet.SocketAddr, tcpnet.UnixDatagram

local folder, count = nil, 0

local function new_path()
  count = count + 1
  return ("%s/%d"):format(folder, count)
end

local function pair()
  local a, b = UnixDatagram.pair()
  assert(a, b)
  return a, b, tcp.guard(a, b)
end

local function bound(name)
  return assert(UnixDatagram.bind(name or new_path()))
end

local function unbound()
  return assert(UnixDatagram.unbound())
end

-- guarded(object...) → the objects, and a guard of them.
local function guarded(...)
  local objects = { ... }
  objects[#objects + 1] = tcp.guard(...)
  return table.unpack(objects)
end

-- Sends until the kernel queues no more → how many it took.
local function fill(send)
  for i = 0, 100000 do
    local ok, err = send(i)
    if not ok then
      fails("EAGAIN ENOBUFS", ok, err)
      return i
    end
  end
  error "the queue never fills"
end

describe("UnixDatagram", function()
  setup(function() folder = program.folder() end)
  teardown(function() getmetatable(folder).__close(folder) end)
  before_each(leaks.note)
  after_each(leaks.check)

  it("bind makes a file, which stays behind; an existing one is EADDRINUSE", in_task(function()
    local path = new_path()
    local socket = bound(path)
    assert.equal(path, socket:local_addr():path())
    assert.equal(("UnixDatagram (%s, fd %d)"):format(path, socket:fd()), tostring(socket))
    assert.equal("dgram", socket:type())
    socket:close()
    assert.is_true(tcp.can(("test -S '%s'"):format(path)))
    local err = fails("EADDRINUSE", UnixDatagram.bind(path))
    assert.same({ "bind", path }, { err.op, err.address })
    local again <close> = assert(UnixDatagram.bind(path, { unlink = true }))
    assert.equal(path, again:local_addr():path())
  end))

  it("bind takes options, refuses others, and paths that do not fit", in_task(function()
    local socket <close> = assert(UnixDatagram.bind(SocketAddr.unix(new_path()), { recv_buffer_size = 8192 }))
    assert.equal(16384, socket:recv_buffer_size())
    assert.has_error(function() UnixDatagram.bind(new_path(), { backlog = 1 }) end)
    assert.has_error(function() UnixDatagram.bind(new_path(), { unlink = "yes" }) end)
    assert.has_error(function() UnixDatagram.bind() end)
    assert.has_error(function() UnixDatagram.bind(SocketAddr.new("127.0.0.1", 1)) end)
    fails("EINVAL", UnixDatagram.bind("/" .. ("x"):rep(107)))
    fails("EINVAL", UnixDatagram.bind "/tmp/\0")
    fails("ENOENT", UnixDatagram.bind(new_path() .. "/below"))
  end))

  it("unbound has no name, pair neither", in_task(function()
    local socket <close> = unbound()
    local a, b, _guard <close> = pair()
    for _, one in ipairs { socket, a, b } do
      assert.is_true(one:local_addr():is_unnamed())
      assert.is_nil(one:local_addr():path())
    end
    assert.is_true(a:peer_addr():is_unnamed())
    fails("ENOTCONN", socket:peer_addr())
    fails("ENOTCONN", socket:send "x")
  end))

  it("a pair sends and receives, both ways", in_task(function()
    local a, b, _guard <close> = pair()
    assert.equal(3, a:send "one")
    assert.equal(5, b:send "three")
    assert.equal("one", b:recv())
    assert.equal("three", a:recv())
  end))

  it("a client that is bound and connected gets its echo, the server its path (B74)", in_task(function()
    local server, client, _guard <close> = guarded(bound(), bound())
    local path, client_path = server:local_addr():path(), client:local_addr():path()
    local echo = tcpnet.spawn(function()
      for _ = 1, 2 do
        local data, from = server:recv_from()
        assert.equal(client_path, from:path())
        assert(server:send_to(data, from))
      end
    end)
    assert.equal(client, client:connect(path))
    assert.equal(path, client:peer_addr():path())
    assert.equal(4, client:send "ECHO")
    assert.equal("ECHO", client:recv())
    client:send "again"
    local data, from = client:recv_from()
    assert.equal("again", data)
    assert.equal(path, from:path())
    assert.is_true(echo:join(5))
  end))

  it("one socket in two tasks: one sends to its own path, one receives (B76)", in_task(function()
    local socket <close> = bound()
    local path = socket:local_addr():path()
    local receiver = tcpnet.spawn(socket.recv_from, socket)
    local sender = tcpnet.spawn(socket.send_to, socket, "to myself", path)
    local _, data, from = assert(receiver:join(5))
    assert.equal("to myself", data)
    assert.equal(path, from:path())
    assert.same({ true, 9 }, { sender:join(5) })
  end))

  it("takes abstract names for bind, connect and send_to", in_task(function()
    local name = "@" .. new_path()
    local server, client, _guard <close> = guarded(bound(name), bound(name .. " client"))
    assert.equal(name, server:local_addr():path())
    client:send_to("by name", name)
    local data, from = server:recv_from()
    assert.equal("by name", data)
    assert.equal(name .. " client", from:path())
    assert(client:connect(name)):send "connected"
    assert.equal("connected", server:recv())
    assert.equal(name, client:peer_addr():path())
    server:close()
    fails("ECONNREFUSED", client:send_to("x", name))
  end))

  it("send_to takes a path and a SocketAddr", in_task(function()
    local server, client, _guard <close> = guarded(bound(), unbound())
    local path = server:local_addr():path()
    assert.equal(1, client:send_to("1", path))
    assert.equal(1, client:send_to("2", server:local_addr()))
    assert.equal(1, client:try_send_to("3", path))
    for i = 1, 3 do
      assert.equal(tostring(i), server:recv())
    end
    assert.has_error(function() client:send_to("x") end)
    assert.has_error(function() client:send_to("x", 80) end)
    assert.has_error(function() client:send_to("x", path, 80) end)
    fails("EINVAL", client:send_to("x", "/" .. ("x"):rep(107)))
    fails("EINVAL", client:send_to("x", "/\0"))
  end))

  it("an unnamed sender has an address without a path, in every form of receiving (B182)", in_task(function()
    local server, client, _guard <close> = guarded(bound(), unbound())
    local path = server:local_addr():path()
    for _ = 1, 5 do
      client:send_to("x", path)
    end
    local senders = {
      peek_sender = server:peek_sender() or false,
      peek_from = select(2, server:peek_from()) or false,
      recv_from = select(2, server:recv_from()) or false,
      try_recv_from = select(2, server:try_recv_from()) or false,
      recv_from_vectored = select(2, server:recv_from_vectored { tcpnet.Buffer.new(1) }) or false,
      recvmsg = server:recvmsg({ data = 1 }).address or false,
      recv_many = server:recv_many(1)[1].address or false,
    }
    for form, address in pairs(senders) do
      assert.is_truthy(address, form .. " has no address")
      assert.is_true(address:is_unnamed(), form)
      assert.is_nil(address:path())
    end
  end))

  it("errors name the path: no file, nobody behind it, no datagram socket", in_task(function()
    local client <close> = unbound()
    local path = new_path()
    local err = fails("ENOENT", client:send_to("x", path))
    assert.same({ "send_to", path }, { err.op, err.address })
    fails("ENOENT", client:connect(path))
    bound(path):close()
    fails("ECONNREFUSED", client:send_to("x", path))
    fails("ECONNREFUSED", client:connect(path))
    fails("ECONNREFUSED", client:try_send_to("x", program.write(new_path(), "a file")))
    local listener_path = new_path()
    local _listener <close> = assert(tcpnet.UnixListener.bind(listener_path))
    fails("EPROTOTYPE", client:send_to("x", listener_path))
    fails("EPROTOTYPE", client:connect(listener_path))
    assert.is_false(client:closed())
  end))

  it("connected, it takes nothing from others, and refuses what they get from it", in_task(function()
    local one, other, client, _guard <close> = guarded(bound(), bound(), bound())
    local path = client:local_addr():path()
    assert(client:connect(one:local_addr()))
    fails("EPERM", other:send_to("x", path))
    one:send_to("from the peer", path)
    assert.equal("from the peer", client:recv())
    assert(client:connect(other:local_addr())) -- another peer from now on
    assert.equal(other:local_addr(), client:peer_addr())
    fails("EPERM", one:send_to("x", path))
    other:send_to("from the new one", path)
    assert.equal("from the new one", client:recv())
  end))

  it("sendto names another than the peer: it goes there", in_task(function()
    local one, other, client, _guard <close> = guarded(bound(), bound(), unbound())
    assert(client:connect(one:local_addr()))
    client:send_to("there", other:local_addr())
    assert.equal("there", other:recv())
    fails("EAGAIN", one:try_recv())
  end))

  describe("messages", function()
    it("keep their boundaries, empty ones too", in_task(function()
      local a, b, _guard <close> = pair()
      for _, text in ipairs { "one", "", "\0three\0", "four" } do
        assert.equal(#text, a:send(text))
      end
      assert.equal("one", b:recv())
      assert.same({ "", n = 1 }, table.pack(b:recv()))
      assert.equal("\0three\0", b:recv())
      assert.equal("four", b:recv())
      assert.is_true(waits(b.recv, b))
    end))

    it("that are cut say so: data, address, real length", in_task(function()
      local server, client, _guard <close> = guarded(bound(), bound())
      local path = server:local_addr():path()
      for _ = 1, 4 do
        client:send_to("0123456789", path)
      end
      assert.same({ "0123", nil, 10, n = 3 }, table.pack(server:recv(4)))
      local data, from, length = server:recv_from(4)
      assert.same({ "0123", 10 }, { data, length })
      assert.equal(client:local_addr(), from)
      assert.same({ "0123456789", n = 1 }, table.pack(server:recv(10)))
      assert.equal("", (server:recv(0)))
      fails("EAGAIN", server:try_recv())
    end))

    it("may be as large as the kernel takes, and no larger: EMSGSIZE", in_task(function()
      local a, b, _guard <close> = pair()
      local text = tcp.bytes(100000)
      assert.equal(#text, a:send(text))
      assert.is_true(b:recv(200000) == text)
      a:send(text)
      local cut, _, length = b:recv()
      assert.equal(#text, length)
      assert.is_true(#cut >= 65507 and cut == text:sub(1, #cut))
      fails("EMSGSIZE", a:send(("x"):rep(10000000)))
      a:send "goes on"
      assert.equal("goes on", b:recv())
    end))

    it("can be looked at first: peek, peek_from, peek_sender", in_task(function()
      local server, client, _guard <close> = guarded(bound(), bound())
      fails("EAGAIN", server:try_peek())
      fails("EAGAIN", server:try_peek_sender())
      client:send_to("look", server:local_addr())
      assert.equal("look", server:peek())
      assert.same({ "lo", nil, 4, n = 3 }, table.pack(server:peek(2)))
      assert.equal(client:local_addr(), select(2, server:peek_from()))
      assert.equal(client:local_addr(), server:peek_sender())
      assert.equal("look", server:try_peek())
      assert.equal("look", server:recv())
      assert.is_true(waits(server.peek, server))
    end))

    it("come out of several pieces into several pieces", in_task(function()
      local a, b, _guard <close> = pair()
      assert.equal(9, a:send_vectored { "abc", "def", "ghi" })
      local one, two = tcpnet.Buffer.new(4), tcpnet.Buffer.new(10)
      assert.equal(9, (b:recv_vectored { one, two }))
      assert.same({ "abcd", "efghi" }, { tostring(one), tostring(two) })
    end))

    it("take Buffers", in_task(function()
      local a, b, _guard <close> = pair()
      local buffer = tcpnet.Buffer.new(10)
      buffer:append "buffered"
      assert.equal(8, a:send(buffer))
      assert.equal("buffered", b:recv())
      assert.has_error(function() a:send {} end)
      assert.has_error(function() a:send() end)
    end))
  end)

  describe("waiting:", function()
    it("recv is woken, cancelled and timed out without harm", in_task(function()
      local a, b, _guard <close> = pair()
      assert.is_true(waits(b.recv, b))
      assert.is_true(waits(b.recv_from, b))
      b:set_read_timeout(0.02)
      local err = fails("TIMEOUT", b:recv())
      assert.equal("recv", err.op)
      b:set_read_timeout()
      local receiver = tcpnet.spawn(b.recv, b)
      tcpnet.sleep(0.01)
      assert.equal("waiting", receiver:status())
      a:send "woken"
      assert.same({ true, "woken" }, { receiver:join(5) })
    end))

    it("several tasks receive, each one datagram, in order", in_task(function()
      local a, b, _guard <close> = pair()
      local tasks = {}
      for i = 1, 5 do
        tasks[i] = tcpnet.spawn(b.recv, b)
      end
      tcpnet.yield()
      for i = 1, 5 do
        a:send(i)
        tcpnet.sleep(0.002)
      end
      for i = 1, 5 do
        assert.same({ true, tostring(i) }, { tasks[i]:join(5) })
      end
    end))

    it("try_send until EAGAIN, then all of it arrives whole, then EAGAIN (B75)", in_task(function()
      local a, b, _guard <close> = pair()
      local sent = fill(function(i) return a:try_send(("message %d"):format(i)) end)
      assert.is_true(sent > 0)
      for i = 0, sent - 1 do
        assert.equal("message " .. i, b:try_recv())
      end
      fails("EAGAIN", b:try_recv())
      assert.equal(1, a:try_send "x") -- and back
      assert.equal("x", b:recv())
    end))

    it("writable waits for a full peer, readable for a message", in_task(function()
      local a, b, _guard <close> = pair()
      assert.is_true(a:writable())
      assert.is_true(waits(b.readable, b))
      fill(function() return a:try_send "x" end)
      assert.is_true(waits(a.writable, a))
      assert.is_true(b:readable())
      assert.is_true(b:ready("r"):is_readable())
      repeat until not b:try_recv()
      assert.is_true(a:writable())
    end))

    -- The ways that a sender meets a full receiver: fn() → receiver, sender, function that sends one, or tries to.
    local function over(receiver, sender)
      return receiver, sender, function(prefix) return sender[prefix .. "send"](sender, "x") end
    end
    local function by(method, argument)
      return function()
        local receiver, sender = bound(), unbound()
        local path = receiver:local_addr():path()
        return receiver, sender, function(prefix)
          return sender[prefix .. method](sender, argument(path), path)
        end
      end
    end
    local ways = {
      ["send over a pair"] = function()
        local a, b = UnixDatagram.pair()
        return over(b, a)
      end,
      ["send to a connected path"] = function()
        local receiver, sender = bound(), unbound()
        assert(sender:connect(receiver:local_addr()))
        return over(receiver, sender)
      end,
      ["send_to a path"] = by("send_to", function() return "x" end),
      ["send_many to a path"] = by("send_many", function(path) return { { "x", path } } end),
      ["sendmsg to a path"] = by("sendmsg", function(path) return { data = "x", address = path } end),
    }

    for name, prepare in pairs(ways) do
      describe(name, function()
        local function full()
          local receiver, sender, send = prepare()
          local sent = fill(function() return send "try_" end)
          assert.is_true(sent > 0)
          return receiver, sender, sent, function() return send "" end
        end

        it("waits for a full receiver without spinning, and goes on when it drains", in_task(function()
          local receiver, sender, sent, send = full()
          local _guard <close> = tcp.guard(receiver, sender)
          local waiting = tcpnet.spawn(send)
          local cpu, before = os.clock(), tcpnet.metrics().polls
          tcpnet.sleep(0.4)
          assert.are_not.equal("done", waiting:status())
          assert.is_true(os.clock() - cpu < 0.2, ("%.2f seconds of CPU while it waited"):format(os.clock() - cpu))
          assert.is_true(tcpnet.metrics().polls - before < 200)
          for _ = 1, sent do -- all of them: a pair is writable when most of its memory is free
            assert.equal("x", receiver:recv())
          end
          assert.same({ true, 1 }, { waiting:join(5) })
          assert.equal("x", receiver:recv())
          fails("EAGAIN", receiver:try_recv())
        end))

        it("is cancelled and times out, and has sent nothing then", in_task(function()
          local receiver, sender, sent, send = full()
          local _guard <close> = tcp.guard(receiver, sender)
          assert.is_true(waits(send))
          sender:set_write_timeout(0.03)
          fails("TIMEOUT", send())
          for _ = 1, sent do
            assert.equal("x", receiver:try_recv())
          end
          fails("EAGAIN", receiver:try_recv())
          assert.equal(1, send())
        end))

        it("lets other tasks go on meanwhile, and sees the receiver close", in_task(function()
          local receiver, sender, _, send = full()
          local _guard <close> = tcp.guard(receiver, sender)
          local waiting = tcpnet.spawn(send)
          local a, b, _other <close> = pair()
          for i = 1, 100 do
            a:send(i)
            assert.equal(tostring(i), b:recv())
          end
          assert.are_not.equal("done", waiting:status())
          receiver:close()
          local ok, result, err = waiting:join(5)
          assert.is_true(ok)
          fails("ECONNREFUSED ENOTCONN EPIPE ECONNRESET", result, err)
        end))
      end)
    end

    it("closing ends the waits of both directions", in_task(function()
      local a, _, _guard <close> = pair()
      fill(function() return a:try_send "x" end)
      local sender, receiver = tcpnet.spawn(a.send, a, "x"), tcpnet.spawn(a.recv, a)
      tcpnet.yield()
      a:close()
      for _, task in ipairs { sender, receiver } do
        local ok, result, err = task:join(5)
        assert.is_true(ok)
        fails("CLOSED", result, err)
      end
      fails("CLOSED", a:try_send "x")
      assert.matches("closed", tostring(a))
    end))

    it("try_io and async_io serve foreign calls", in_task(function()
      local a, b, _guard <close> = pair()
      fails("EAGAIN", b:try_io("r", function() error "not to be run" end))
      tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        a:send "async"
      end)
      assert.equal("async", b:async_io("r", function() return b:try_recv() end))
    end))
  end)

  describe("many at once:", function()
    it("send_many and recv_many, with and without addresses", in_task(function()
      local server, client, _guard <close> = guarded(bound(), bound())
      local path = server:local_addr():path()
      assert.equal(3, client:send_many { { "1", path }, { "", server:local_addr() }, { data = "3", address = path } })
      local list = server:recv_many(10)
      assert.equal(3, #list)
      for i, text in ipairs { "1", "", "3" } do
        assert.equal(text, list[i].data)
        assert.equal(client:local_addr(), list[i].address)
        assert.is_nil(list[i].length)
      end
      assert(client:connect(path))
      assert.equal(2, client:send_many { "a", "b" })
      assert.equal("a", server:recv_many(1)[1].data)
      assert.equal("b", server:try_recv_many(5)[1].data)
      fails("EAGAIN", server:try_recv_many(5))
      assert.is_true(waits(server.recv_many, server, 5))
      assert.equal(0, client:send_many {})
    end))

    it("more than the receiver queues: send_many goes on as it drains, each arrives once, in order", in_task(function()
      local a, b, _guard <close> = pair()
      local list = {}
      for i = 1, 2000 do
        list[i] = ("datagram %d"):format(i)
      end
      local sender = tcpnet.spawn(a.send_many, a, list)
      local got = {}
      while #got < 2000 do
        for _, one in ipairs(assert(b:recv_many(100))) do
          got[#got + 1] = one.data
        end
      end
      assert.same({ true, 2000 }, { sender:join(5) })
      assert.same(list, got)
    end))

    it("send_many that times out says how many went out", in_task(function()
      local a, b, _guard <close> = pair()
      local list = {}
      for i = 1, 2000 do
        list[i] = tostring(i)
      end
      a:set_write_timeout(0.03)
      local total, err, sent = a:send_many(list)
      fails("TIMEOUT", total, err)
      assert.is_true(sent > 0 and sent < 2000)
      for i = 1, sent do
        assert.equal(tostring(i), b:try_recv())
      end
      fails("EAGAIN", b:try_recv())
    end))

    it("what is cut says its length; what is no item raises", in_task(function()
      local a, b, _guard <close> = pair()
      a:send "0123456789"
      local one = b:recv_many(5, 4)[1]
      assert.same({ "0123", 10 }, { one.data, one.length })
      assert.has_error(function() a:send_many { {} } end)
      assert.has_error(function() a:send_many { { "x", 80 } } end)
      assert.has_error(function() a:send_many "x" end)
      assert.has_error(function() b:recv_many(0) end)
    end))
  end)

  describe("the end:", function()
    it("shutdown of writing is EPIPE here; the peer still sends (B181)", in_task(function()
      local a, b, _guard <close> = pair()
      assert.equal(a, a:shutdown "write")
      fails("EPIPE", a:send "x")
      b:send "still"
      assert.equal("still", a:recv())
      assert.is_true(a:ready("w"):is_write_closed())
      assert.same({ n = 1 }, table.pack(a:take_error()))
    end))

    it("shutdown of reading is seen by ready, and the peer gets EPIPE (B181)", in_task(function()
      local a, b, _guard <close> = pair()
      assert.equal(a, a:shutdown "read")
      assert.is_true(a:ready("r"):is_read_closed())
      fails("EPIPE", b:send "x")
      assert.equal(1, a:send "y")
      assert.equal("y", b:recv())
    end))

    it("shutdown of both is EPIPE for both, and again no failure", in_task(function()
      local a, b, _guard <close> = pair()
      for _ = 1, 2 do
        assert.equal(a, a:shutdown "both")
      end
      fails("EPIPE", a:send "x")
      fails("EPIPE", b:send "x")
      assert.has_error(function() a:shutdown "sideways" end)
    end))

    it("a peer that is gone is ECONNREFUSED, and no signal", in_task(function()
      local a, b, _guard <close> = pair()
      a:send "before"
      a:close()
      assert.equal("before", b:recv())
      fails("ECONNREFUSED ECONNRESET ENOTCONN", b:send "x")
      local server, client, _others <close> = guarded(bound(), unbound())
      assert(client:connect(server:local_addr()))
      assert.equal(1, client:send "x")
      server:close()
      fails("ECONNREFUSED ECONNRESET", client:send "y")
      fails("ECONNREFUSED ENOTCONN", client:send "z")
      local again <close> = bound()
      assert(client:connect(again:local_addr()))
      client:send "to another"
      assert.equal("to another", again:recv())
    end))

    it("from_fd takes over what into_fd gave up, and only a Unix datagram socket", in_task(function()
      local socket = bound()
      local path = socket:local_addr():path()
      fails("EBUSY", UnixDatagram.from_fd(socket:fd()))
      local again <close> = assert(UnixDatagram.from_fd((socket:into_fd())))
      fails("CLOSED", socket:recv())
      assert.equal(path, again:local_addr():path())
      local udp = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      local fd = udp:into_fd()
      fails("EINVAL", UnixDatagram.from_fd(fd))
      assert(tcpnet.UdpSocket.from_fd(fd)):close()
      local a, b = tcpnet.UnixStream.pair()
      local _guard <close> = tcp.guard(b)
      fd = a:into_fd()
      fails("EINVAL", UnixDatagram.from_fd(fd))
      assert(tcpnet.UnixStream.from_fd(fd)):close()
    end))
  end)

  it("credentials and descriptors come with a message", in_task(function()
    local a, b, _guard <close> = pair()
    local x, y, _other <close> = pair()
    assert(b:set_passcred(true))
    a:sendmsg { data = "with", control = { { type = "fds", fds = { x } } } }
    local message <close> = b:recvmsg { data = 100, control = 200 }
    assert.equal("with", message.data)
    assert.equal(b:peer_cred().pid, message:find("credentials").pid)
    local fds = message:take_fds()
    assert.equal(1, #fds)
    local got <close> = assert(UnixDatagram.from_fd(fds[1]))
    got:send "through the copy"
    assert.equal("through the copy", y:recv())
  end))
end)
