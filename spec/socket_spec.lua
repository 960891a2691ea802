-- Socket, the generic one: how it is made, how it connects, what it becomes, and views of typed sockets. What it
-- sends and receives is in socket_io_spec.lua, its options in the specs of options.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Socket, SocketAddr = tcpnet.Socket, tcpnet.SocketAddr
local TcpStream = tcpnet.TcpStream
local fails, in_task = tcp.fails, tcp.in_task
local on_linux = tcp.can "test -e /proc/self/fdinfo"
local is_root = tcp.can '[ "$(id -u)" = 0 ]'

local ABSENT = "this system has no socket of that domain, type and protocol"
local PROTECTED = { raw = true }

-- The flags that the kernel has for a descriptor.
local function flags_of(fd)
  local info = assert(io.open(("/proc/self/fdinfo/%d"):format(fd)))
  local flags = tonumber(info:read("a"):match "flags:%s*(%d+)", 8)
  info:close()
  return flags
end

local function expect_birth_flags(socket, what)
  if on_linux then
    local flags = flags_of(socket:fd())
    assert.is_true(flags & tonumber("4000", 8) ~= 0, what .. " is blocking")
    assert.is_true(flags & tonumber("2000000", 8) ~= 0, what .. " stays open in children")
  end
end

-- listening(address[, domain[, type[, backlog]]]) → a Socket that listens.
local function listening(address, domain, kind, backlog)
  local socket = assert(Socket.new(domain or "inet", kind or "stream"))
  assert(socket:bind(address or "127.0.0.1:0"))
  return assert(socket:listen(backlog))
end

-- Two connected Sockets, and what closes both.
local function connected(address, domain, kind)
  local listener <close> = listening(address, domain, kind)
  local client = assert(Socket.new(domain or "inet", kind or "stream"))
  assert(client:connect(listener:local_addr()))
  local server = assert(listener:accept())
  return client, server, tcp.guard(client, server)
end

-- Both ends of a connection carry bytes in both directions.
local function expect_conversation(one, other)
  assert.equal(4, one:send "ping")
  assert.equal("ping", other:recv())
  assert.equal(4, other:send "pong")
  assert.equal("pong", one:recv())
end

local function misuse(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok, "it was taken")
  assert.is_string(message)
  assert.is_truthy(message:find(text, 1, true), ("%q is not in %q"):format(text, message))
end

describe("Socket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("new", function()
    local rows = {
      { "inet", "stream", nil, 2, 1, nil, "tcp" },
      { "inet", "stream", "tcp", 2, 1, 6, "tcp" },
      { "inet", "dgram", nil, 2, 2, nil, "udp" },
      { "inet", "dgram", "udp", 2, 2, 17, "udp" },
      { "inet", "raw", "icmp", 2, 3, 1, "icmp" },
      { "inet", "stream", "mptcp", 2, 1, 262, "mptcp" },
      { "inet6", "stream", nil, 10, 1, nil, "tcp" },
      { "inet6", "dgram", nil, 10, 2, nil, "udp" },
      { "inet6", "raw", "icmpv6", 10, 3, 58, "icmpv6" },
      { "inet6", "stream", "mptcp", 10, 1, 262, "mptcp" },
      { "unix", "stream", nil, 1, 1, nil, nil },
      { "unix", "dgram", nil, 1, 2, nil, nil },
      { "unix", "seqpacket", nil, 1, 5, nil, nil },
      { "packet", "raw", nil, 17, 3, nil, nil },
      { "packet", "dgram", nil, 17, 2, nil, nil },
      { "vsock", "stream", nil, 40, 1, nil, nil },
      { "netlink", "raw", nil, 16, 3, nil, nil },
      { "netlink", "dgram", nil, 16, 2, nil, nil },
    }

    for _, row in ipairs(rows) do
      local domain, kind, protocol = row[1], row[2], row[3]
      local name = ("%s, %s%s"):format(domain, kind, protocol and ", " .. protocol or "")

      it(name .. ": by names and by numbers, non-blocking and close-on-exec from birth (B202)", function()
        local features = tcpnet.features()
        for _, part in ipairs { domain, kind, protocol or domain } do
          if features[part] == false then
            return pending("the kernel has no " .. part)
          end
        end
        local ways = { { domain, kind, protocol } }
        if on_linux then
          ways[2] = { row[4], row[5], row[6] }
        end
        for _, way in ipairs(ways) do
          local socket, err = Socket.new(way[1], way[2], way[3])
          if not is_root and (PROTECTED[kind] and domain ~= "netlink" or domain == "packet") then
            assert.is_nil(socket)
            assert.is_true(err:is("EPERM", "EACCES"), tostring(err))
          else
            local _close <close> = assert(socket, err)
            assert.equal(domain, socket:domain())
            assert.equal(kind, socket:type())
            assert.equal(row[7], (socket:protocol()))
            expect_birth_flags(socket, name)
            assert.is_false(socket:closed())
            assert.matches("^Socket %(", tostring(socket))
            assert.is_truthy(tostring(socket):find(("fd %d)"):format(socket:fd()), 1, true))
          end
        end
      end)
    end

    it("answers a clear error for what the kernel lacks", function()
      for _, kinds in ipairs {
        { "inet", "stream", "sctp" }, { "inet", "seqpacket", "sctp" }, { "inet", "dccp", "dccp" },
        { "inet6", "dccp", "dccp" }, { "inet", "stream", "divert" }, { 4093, "stream" }, { "inet", 4093 },
        { "inet", "stream", "udp" }, { "inet", "dgram", "tcp" }, { "unix", "stream", "tcp" },
      } do
        local socket, err = Socket.new(kinds[1], kinds[2], kinds[3])
        if socket then -- it has sctp or dccp
          assert.is_true(kinds[3] == "sctp" or kinds[3] == "dccp", tostring(kinds[3]))
          socket:close()
        else
          assert.is_true(err:is("EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EAFNOSUPPORT", "ENOTSUP", "EINVAL"), err)
          assert.equal("new", err.op)
          if err.code ~= "EINVAL" then
            assert.equal(ABSENT, err.message)
          end
        end
      end
    end)

    it("raises for unknown names, with the list of those that there are (F30)", function()
      local new = Socket.new
      misuse("domain: a number or one of inet inet6 unix packet vsock netlink expected, got ipv4", function()
        new("ipv4", "stream")
      end)
      misuse("bad argument #1 to 'new'", function() Socket.new("ipv4", "stream") end)
      misuse("type: a number or one of stream dgram seqpacket raw dccp expected, got tcp", function()
        new("inet", "tcp")
      end)
      misuse("bad argument #2 to 'new'", function() Socket.new("inet", "tcp") end)
      misuse("protocol: a number or one of tcp udp icmp icmpv6 mptcp sctp dccp udplite divert expected, got TCP",
        function() new("inet", "stream", "TCP") end)
      misuse("bad argument #3 to 'new'", function() Socket.new("inet", "stream", "TCP") end)
      misuse("bad argument #3 to 'pair'", function() Socket.pair("unix", "stream", "TCP") end)
    end)

    it("raises for a wrong type, and for a number that is none of the system's (F31)", function()
      misuse("domain: a number or one of inet inet6 unix packet vsock netlink expected, got no value", Socket.new)
      misuse("expected, got no value", Socket.new, "inet")
      misuse("expected, got table", Socket.new, "inet", {})
      misuse("expected, got boolean", Socket.new, "inet", "stream", false)
      for _, number in ipairs { -1, 2 ^ 31, 0.5, 0 / 0, math.huge, math.mininteger } do
        misuse("domain: integer from 0 to 2147483647 expected", Socket.new, number, "stream")
        misuse("type: integer from 0 to 2147483647 expected", Socket.new, "inet", number)
        misuse("protocol: integer from 0 to 2147483647 expected", Socket.new, "inet", "stream", number)
      end
    end)

    it("cannot be told to be blocking: a type with the kernel's flags in it is what it was", function()
      if not on_linux then
        return pending "numbers of Linux"
      end
      local socket <close> = assert(Socket.new("inet", 1 | tonumber("2000000", 8)))
      assert.equal("stream", socket:type())
      expect_birth_flags(socket, "it")
    end)
  end)

  describe("pair", function()
    for _, kind in ipairs { "stream", "dgram", "seqpacket" } do
      it("makes two connected unix sockets of type " .. kind, in_task(function()
        local one, other = assert(Socket.pair("unix", kind))
        local _close <close> = tcp.guard(one, other)
        assert.is_not.equal(one:fd(), other:fd())
        expect_birth_flags(one, "the first")
        expect_birth_flags(other, "the second")
        assert.equal(kind, other:type())
        assert.is_true(one:peer_addr():is_unnamed())
        expect_conversation(one, other)
      end))
    end

    it("answers an error where the domain has no pairs", function()
      local one, err, more = Socket.pair("inet", "stream")
      assert.is_nil(one)
      assert.is_nil(more)
      assert.equal("ENOTSUP", err.code)
      assert.equal("pair", err.op)
      assert.equal(ABSENT, err.message)
    end)
  end)

  describe("from_fd", function()
    it("adopts any socket that into_fd gave up, with what it was doing", function()
      local one, other = assert(Socket.pair("unix", "seqpacket"))
      local _close <close> = other
      local fd = one:into_fd()
      assert.equal("integer", math.type(fd))
      assert.is_true(one:closed())
      assert.equal("Socket (consumed)", tostring(one))
      local err = fails("CLOSED", one:recv())
      assert.matches("into_fd", err.message)
      local again <close> = assert(Socket.from_fd(fd))
      assert.equal(fd, again:fd())
      assert.equal("seqpacket", again:type())
      assert.equal(1, other:send "x")
      assert.equal("x", again:recv())
    end)

    it("makes an inherited one non-blocking and close-on-exec", function()
      local output = tcp.child([[
        local socket = assert(tcpnet.Socket.from_fd(6))
        print(socket:domain(), socket:type(), socket:peer_addr())
        local file = io.open "/proc/self/fdinfo/6"
        print(tonumber(file:read("a"):match "flags:%s*(%d+)", 8) & tonumber("2004000", 8) == tonumber("2004000", 8))
        print(select(2, socket:try_recv()).code)
      ]], [[exec 6<>/dev/udp/127.0.0.1/9; exec "$LUA" "$SCRIPT"]])
      assert.equal("inet\tdgram\t127.0.0.1:9\ntrue\nEAGAIN\n", output)
    end)

    it("refuses what is no socket, what is not open, and what another object has (F27)", function()
      local output = tcp.child([[
        local socket, err = tcpnet.Socket.from_fd(5)
        print(socket, err)
        os.execute "exec 2>/dev/null; ls -l /proc/$PPID/fd | grep -c ' 5 -> '"
      ]], [[exec 5</dev/null; exec "$LUA" "$SCRIPT"]])
      assert.equal("nil\tfrom_fd: the descriptor is not a socket (ENOTSOCK)\n1\n", output)
      fails("EBADF", Socket.from_fd(19999))
      local socket <close> = assert(Socket.new("inet", "dgram"))
      local err = fails("EBUSY", Socket.from_fd(socket:fd()))
      assert.equal("another object has this descriptor", err.message)
      local listener <close> = tcp.listener()
      fails("EBUSY", Socket.from_fd(listener:fd()))
      local fd = socket:fd()
      socket:close()
      fails("EBADF", Socket.from_fd(fd))
    end)

    it("raises where the argument can be no descriptor (F31)", function()
      for _, wrong in ipairs { -1, 0.5, 2 ^ 31, 0 / 0, math.huge, math.mininteger } do
        misuse("fd: integer from 0 to 2147483647 expected", Socket.from_fd, wrong)
      end
      misuse("bad argument #1", Socket.from_fd, "3")
      misuse("bad argument #1", Socket.from_fd)
    end)
  end)

  describe("try_clone", function()
    it("gives another object of the same socket: shared options, a life of its own", in_task(function()
      local one, other = assert(Socket.pair("unix", "stream"))
      local twin = assert(one:try_clone())
      local _close <close> = tcp.guard(one, other, twin)
      assert.is_not.equal(one:fd(), twin:fd())
      expect_birth_flags(twin, "the clone")
      assert.equal(one:cookie(), twin:cookie())
      assert.is_false(twin:passcred())
      assert(one:set_passcred(true))
      assert.is_true(twin:passcred())
      assert(one:set_passcred(false))
      one:close()
      assert.is_true(one:closed())
      assert.is_false(twin:closed())
      expect_conversation(twin, other)
      twin:close()
      assert.is_nil((other:recv()))
    end))

    it("of a view owns its descriptor", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local twin <close> = assert(client:as_socket():try_clone())
      assert.matches("^Socket %(", tostring(twin))
      client:close()
      assert.equal(1, twin:send "x")
      assert.equal("x", server:read())
      local stream <close> = assert(twin:into_tcp_stream())
      assert(stream:write "y")
      assert.equal("y", server:read())
    end))

    it("both may wait at once, and each is told of its own close", in_task(function()
      local one, other = assert(Socket.pair("unix", "dgram"))
      local twin = assert(one:try_clone())
      local _close <close> = tcp.guard(one, other, twin)
      local first = tcpnet.spawn(one.recv, one)
      local second = tcpnet.spawn(twin.recv, twin)
      tcpnet.yield()
      one:close()
      local _, result, err = first:join()
      fails("CLOSED", result, err)
      assert.equal(1, other:send "x")
      assert.same({ true, "x" }, { second:join() })
    end))
  end)

  it("closes once, whoever asks how often; after that every operation answers CLOSED", function()
    local socket = assert(Socket.new("inet", "stream"))
    socket:close()
    socket:close()
    assert.is_true(socket:closed())
    assert.equal("Socket (closed)", tostring(socket))
    for _, call in ipairs {
      { "bind", "127.0.0.1:0" }, { "connect", "127.0.0.1:1" }, { "connect_timeout", "127.0.0.1:1", 1 }, { "listen" },
      { "accept" }, { "try_accept" }, { "recv" }, { "send", "x" }, { "local_addr" }, { "try_clone" }, { "as_socket" },
      { "into_fd" }, { "into_tcp_stream" }, { "into_tcp_socket" }, { "into_tcp_listener" }, { "detach_filter" },
      { "type" }, { "is_listener" }, { "readable" }, { "take_error" },
    } do
      local err = fails("CLOSED", socket[call[1]](socket, call[2], call[3]))
      assert.equal("the Socket is closed", err.message, call[1])
    end
  end)
end)

describe("Socket becomes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("a TcpStream, and what had come is still there", in_task(function()
    local client, server, _guard <close> = connected()
    local server_addr = server:local_addr()
    assert.equal(6, server:send "before")
    assert(client:readable())
    local fd = client:fd()
    local stream <close> = assert(client:into_tcp_stream())
    assert.matches("^TcpStream %(", tostring(stream))
    assert.equal(fd, stream:fd())
    assert.is_true(client:closed())
    assert.equal("Socket (consumed)", tostring(client))
    local err = fails("CLOSED", client:recv())
    assert.matches("into_tcp_stream", err.message)
    assert.equal("before", stream:read_exact(6))
    assert.equal(5, stream:write "after")
    assert.equal("after", server:recv())
    local other <close> = assert(server:into_tcp_stream())
    assert(other:write "line\n")
    assert.equal("line", stream:read_line())
    assert.equal(server_addr, stream:peer_addr())
  end))

  it("a TcpStream that knows its peer even after a reset", in_task(function()
    local client, server, _guard <close> = connected()
    local peer = client:local_addr()
    local stream <close> = assert(server:into_tcp_stream())
    assert(client:set_zero_linger())
    client:close()
    fails("ECONNRESET", stream:read())
    assert.equal(peer, stream:peer_addr())
    local err = fails("ECONNRESET EPIPE", stream:write "x")
    assert.equal(tostring(peer), err.address)
  end))

  it("a TcpListener that goes on with what is in its queue", in_task(function()
    local socket = listening()
    local client <close> = assert(TcpStream.connect(socket:local_addr()))
    local listener <close> = assert(socket:into_tcp_listener())
    assert.matches("^TcpListener %(", tostring(listener))
    local server <close>, addr = assert(listener:accept())
    assert.matches("^TcpStream %(", tostring(server))
    assert.equal(client:local_addr(), addr)
    assert(client:write "x")
    assert.equal("x", server:read())
    fails("CLOSED", socket:accept())
  end))

  it("a TcpSocket that keeps its address and options", in_task(function()
    local socket = assert(Socket.new("inet6", "stream"))
    assert(assert(socket:set_reuseaddr(true)):bind "[::1]:0")
    local address = socket:local_addr()
    local tcp_socket = assert(socket:into_tcp_socket())
    assert.matches("^TcpSocket %(", tostring(tcp_socket))
    assert.equal(address, tcp_socket:local_addr())
    assert.is_true(tcp_socket:reuseaddr())
    local listener <close> = assert(tcp_socket:listen())
    local client <close> = assert(TcpStream.connect(address))
    local server <close> = assert(listener:accept())
    assert.equal(client:local_addr(), server:peer_addr())
  end))

  it("nothing that it is not, and stays as it was (F27)", in_task(function()
    local fresh <close> = assert(Socket.new("inet", "stream"))
    fails("ENOTCONN", fresh:into_tcp_stream())
    assert.equal("the socket does not listen", fails("EINVAL", fresh:into_tcp_listener()).message)
    assert(fresh:bind "127.0.0.1:0")
    local listener <close> = listening()
    fails("ENOTCONN", listener:into_tcp_stream())
    local one, other = assert(Socket.pair("unix", "stream"))
    local udp = assert(Socket.new("inet", "dgram"))
    local _close <close> = tcp.guard(one, other, udp)
    for _, socket in ipairs { one, udp } do
      for _, method in ipairs { "into_tcp_stream", "into_tcp_socket", "into_tcp_listener" } do
        assert.equal("the descriptor is not a TCP socket", fails("EINVAL", socket[method](socket)).message)
        assert.is_false(socket:closed())
      end
    end
    expect_conversation(one, other)
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    assert.equal(client:local_addr(), server:peer_addr())
  end))

  it("nothing while it is a view", function()
    local listener <close> = tcp.listener()
    local view <close> = assert(listener:as_socket())
    for _, method in ipairs { "into_tcp_listener", "into_tcp_stream", "into_tcp_socket", "into_fd" } do
      local err = fails("EINVAL", view[method](view))
      assert.equal("as_socket() gave a view; the object that it is of owns the descriptor", err.message)
    end
    assert.is_false(listener:closed())
    assert.is_false(view:closed())
  end)

  it("something else while a task waits in it: the wait ends, and says why", in_task(function()
    local client, server, _guard <close> = connected()
    local waiting = tcpnet.spawn(client.recv, client)
    tcpnet.yield()
    local stream <close> = assert(client:into_tcp_stream())
    local _, result, err = waiting:join()
    assert.matches("into_tcp_stream", fails("CLOSED", result, err).message)
    assert.equal(1, server:send "x")
    assert.equal("x", stream:read())
  end))
end)

describe("a view", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of every typed socket has all options, on the same descriptor", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local listener <close> = tcp.listener()
    local fresh <close> = assert(tcpnet.TcpSocket.new_v4())
    local plain <close> = assert(Socket.new("inet", "dgram"))
    for _, owner in ipairs { client, server, listener, fresh, plain } do
      local view = assert(owner:as_socket())
      assert.equal(owner:fd(), view:fd())
      assert.equal(("Socket view (%s"):format(owner:local_addr()), tostring(view):match "^[^,]-%d+%.%d+%.%d+%.%d+:%d+")
      assert.equal("inet", view:domain())
      assert.equal(owner == listener, view:is_listener())
      assert(view:set_reuseaddr(true))
      assert.is_true(owner:reuseaddr())
      assert(view:set_reuseaddr(false))
      assert.is_false(owner:reuseaddr())
      assert.equal(view, view:set_priority(3))
      assert.equal(3, view:priority())
      assert.equal(3, view:get "SO_PRIORITY")
      view:close()
      assert.is_true(view:closed())
      assert.equal("Socket view (closed)", tostring(view))
      assert.is_false(owner:closed())
    end
    assert(client:write "x")
    assert.equal("x", server:read())
  end))

  it("ends with its owner, however the owner ends", in_task(function()
    local ends = {
      close = function(stream) stream:close() end,
      reset = function(stream) stream:reset() end,
      into_fd = function(stream)
        local fd = stream:into_fd()
        return function() assert(TcpStream.from_fd(fd)):close() end
      end,
      finish = function(stream) stream:finish(0) end,
      into_split = function(stream)
        local reader, writer = stream:into_split()
        reader:close()
        writer:close()
      end,
      forget = function(stream)
        local reader, writer = stream:into_split()
        writer:forget()
        reader:close()
      end,
    }
    for name, finish in pairs(ends) do
      local client, server, _guard <close> = tcp.pair()
      local view = assert(client:as_socket())
      local after = finish(client)
      assert.is_true(view:closed(), name)
      fails("CLOSED", view:recv())
      fails("CLOSED", view:nodelay())
      assert.equal("Socket view (closed)", tostring(view))
      view:close()
      if after then
        after()
      end
      server:close()
    end
  end))

  it("stays where its owner becomes halves or something else", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local view <close> = assert(client:as_socket())
    local reader, writer = client:into_split()
    assert.is_false(view:closed())
    assert.equal(1, view:send "x")
    assert.equal("x", server:read())
    local again <close> = assert(reader:reunite(writer))
    assert.equal(again:fd(), view:fd())
    local socket = assert(Socket.new("inet", "stream"))
    local other_view <close> = assert(socket:as_socket())
    local tcp_socket <close> = assert(socket:into_tcp_socket())
    assert(other_view:bind "127.0.0.1:0")
    assert.equal(tcp_socket:local_addr(), other_view:local_addr())
  end))

  it("collected before its owner closes nothing, after it leaves nothing", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    do
      local view = assert(client:as_socket())
      assert.is_true(view:nodelay() ~= nil)
    end
    collectgarbage()
    collectgarbage()
    tcpnet.sleep(0.001)
    assert.is_false(client:closed())
    assert(client:write "x")
    assert.equal("x", server:read())
    local sources = tcpnet.metrics().sources
    local view
    do
      local listener = tcp.listener()
      view = assert(listener:as_socket())
      assert.equal(sources + 1, tcpnet.metrics().sources)
    end
    collectgarbage()
    collectgarbage()
    tcpnet.sleep(0.001)
    assert.is_true(view:closed() or view:is_listener())
    view = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    tcpnet.sleep(0.001)
    assert.equal(sources, tcpnet.metrics().sources)
  end))

  it("gives the bytes that the stream has read ahead first, then those of the kernel", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert(server:write "one\ntwo\nthree")
    assert.equal("one", client:read_line())
    local view <close> = assert(client:as_socket())
    assert.equal(9, client:buffered())
    assert(view:readable())
    assert.is_true(view:ready("r"):is_readable())
    assert.equal("two\n", view:peek(4))
    assert.equal("tw", view:recv(2))
    assert.equal(7, client:buffered())
    local buffer = tcpnet.Buffer.new(3)
    assert.equal(3, (view:recv_vectored { buffer }))
    assert.equal("o\nt", tostring(buffer))
    assert.equal("hr", (view:recv_from(2)))
    assert.equal("ee", view:recvmsg({ data = 100 }).data)
    assert.equal(0, client:buffered())
    assert(server:write "four")
    assert.equal("four", view:recv())
    assert(server:write "five")
    assert.equal("five", client:read())
  end))

  it("does not read while a task reads the stream, as every second reader", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local view <close> = assert(client:as_socket())
    local reading = tcpnet.spawn(client.read_exact, client, 2)
    tcpnet.yield()
    for _, method in ipairs {
      "recv", "try_recv", "recv_from", "peek", "peek_from", "recvmsg", "recv_out_of_band", "peek_sender",
    } do
      misuse(method:gsub("try_", "") .. ": another task is reading from this Socket", view[method], view)
    end
    misuse("recv_vectored: another task is reading", view.recv_vectored, view, { tcpnet.Buffer.new(1) })
    assert(server:write "ab")
    assert.same({ true, "ab" }, { reading:join() })
    assert(server:write "c")
    assert.equal("c", view:recv())
  end))

  it("queues its writes behind one of the stream that waits", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local view <close> = assert(client:as_socket())
    local filled = tcp.fill(client)
    local first = tcpnet.spawn(client.write, client, ("a"):rep(300000))
    tcpnet.yield()
    local second = tcpnet.spawn(view.send, view, "z")
    tcpnet.yield()
    assert.equal("waiting", second:status())
    local all = assert(server:read_exact(filled + 300000 + 1))
    assert.same({ true, 300000 }, { first:join() })
    assert.same({ true, 1 }, { second:join() })
    assert.equal(("a"):rep(300000) .. "z", all:sub(filled + 1))
  end))

  it("of a listener accepts Sockets, of which each is its own", in_task(function()
    local listener <close> = tcp.listener()
    local view <close> = assert(listener:as_socket())
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close>, addr = assert(view:accept())
    assert.matches("^Socket %(", tostring(server))
    assert.equal(client:local_addr(), addr)
    view:close()
    assert.is_false(server:closed())
    assert(client:write "x")
    assert.equal("x", server:recv())
  end))
end)

describe("Socket connects", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function rows()
    local folder = program.folder()
    local name = ("@tcpnet-%d-%d"):format(tcpnet.now() * 1e6 // 1 | 0, math.random(1 << 30))
    return folder, {
      { "inet", "stream", "127.0.0.1:0" }, { "inet6", "stream", "[::1]:0" },
      { "unix", "stream", folder.path .. "/stream" }, { "unix", "seqpacket", folder.path .. "/seqpacket" },
      { "unix", "stream", on_linux and name or folder.path .. "/plain" },
      { "unix", "seqpacket", on_linux and name .. "-s" or folder.path .. "/packets" },
    }
  end

  it("and accepts over inet, inet6 and unix, by path and by abstract name, streams and seqpackets", in_task(function()
    local folder, list = rows()
    local _folder <close> = folder
    for _, row in ipairs(list) do
      local domain, kind, address = table.unpack(row)
      local listener <close> = assert(Socket.new(domain, kind))
      assert.is_false(listener:is_listener()) -- B219
      assert.equal(listener, listener:bind(address))
      assert.equal(listener, listener:listen(5))
      assert.is_true(listener:is_listener())
      local client <close> = assert(Socket.new(domain, kind))
      local there = domain == "unix" and address or listener:local_addr()
      assert.equal(client, client:connect(there))
      local server <close>, addr = assert(listener:accept())
      assert.equal("Socket", tostring(server):match "^%w+")
      expect_birth_flags(server, "the accepted one")
      assert.equal(kind, server:type())
      if domain == "unix" then
        assert.equal(address, listener:local_addr():path())
        assert.equal(address, client:peer_addr():path())
        assert.is_true(addr:is_unnamed())
      else
        assert.equal(client:local_addr(), addr)
        assert.equal(listener:local_addr(), client:peer_addr())
      end
      assert.equal(addr, server:peer_addr())
      expect_conversation(client, server)
      fails("EAGAIN", listener:try_accept())
    end
  end))

  it("by name: bind, connect and connect_timeout take localhost", in_task(function()
    local listener <close> = assert(Socket.new("inet", "stream"))
    assert(listener:bind "localhost:0")
    assert(listener:listen())
    local port = listener:local_addr():port()
    assert.equal("127.0.0.1", listener:local_addr():ip())
    for _, way in ipairs {
      function(socket) return socket:connect(("localhost:%d"):format(port)) end,
      function(socket) return socket:connect("localhost", port) end,
      function(socket) return socket:connect_timeout(("localhost:%d"):format(port), 10) end,
      function(socket) return socket:connect_timeout("localhost", port, 10) end,
      function(socket) return socket:connect_timeout(listener:local_addr(), 10) end, -- B207
    } do
      local client <close> = assert(Socket.new("inet", "stream"))
      assert.equal(client, way(client))
      local server <close> = assert(listener:accept())
      expect_conversation(client, server)
    end
    local client <close> = assert(Socket.new("inet", "stream"))
    fails("EAI_NONAME EAI_AGAIN EAI_FAIL EAI_NODATA EAI_ADDRFAMILY", client:connect "no-such-host.invalid:1")
    assert.is_false(client:closed())
  end))

  it("not, and stays open and usable: it may connect again", in_task(function()
    local refusing = tcp.refusing_address()
    local listener <close> = listening()
    local client <close> = assert(Socket.new("inet", "stream"))
    local err = fails("ECONNREFUSED", client:connect(refusing))
    assert.equal("connect", err.op)
    assert.equal(refusing, err.address)
    assert.is_false(client:closed())
    err = fails("ECONNREFUSED", client:connect_timeout(refusing, 5)) -- B206
    assert.equal(refusing, err.address)
    fails("EAFNOSUPPORT EINVAL", client:connect "[::1]:1")
    assert(client:connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    expect_conversation(client, server)
    local folder <close> = program.folder()
    local path = folder.path .. "/socket"
    local unix <close> = assert(Socket.new("unix", "stream"))
    err = fails("ENOENT", unix:connect(path))
    assert.equal(path, err.address)
    local unix_listener <close> = listening(path, "unix")
    assert(unix:connect(path))
    local peer <close> = assert(unix_listener:accept())
    expect_conversation(unix, peer)
  end))

  it("once: a second connect of a connected stream is EISCONN", in_task(function()
    local client, server, _guard <close> = connected()
    local listener <close> = listening()
    fails("EISCONN", client:connect(listener:local_addr()))
    fails("EAGAIN", listener:try_accept())
    expect_conversation(client, server)
    local one, other = assert(Socket.pair("unix", "stream"))
    local _close <close> = tcp.guard(one, other)
    local folder <close> = program.folder()
    local unix_listener <close> = listening(folder.path .. "/socket", "unix")
    fails("EISCONN", one:connect(unix_listener:local_addr()))
  end))

  it("within the time given, or not (B205)", in_task(function()
    local silent, waiting = tcp.silent_listener()
    local _close <close> = tcp.guard(silent, table.unpack(waiting))
    local client <close> = assert(Socket.new("inet", "stream"))
    local err = fails("TIMEOUT", client:connect_timeout(silent:local_addr(), 0.05))
    assert.equal("connect", err.op)
    assert.equal(tostring(silent:local_addr()), err.address)
    assert.is_false(client:closed())
    fails("TIMEOUT", client:connect_timeout(silent:local_addr(), 0))
    assert(client:set_write_timeout(0.05))
    fails("TIMEOUT", client:connect(silent:local_addr()))
  end))

  it("to where it was told: an attempt that goes on is not taken for one to another address", in_task(function()
    local silent, waiting = tcp.silent_listener()
    local _close <close> = tcp.guard(silent, table.unpack(waiting))
    local listener <close> = listening()
    local client <close> = assert(Socket.new("inet", "stream"))
    fails("TIMEOUT", client:connect_timeout(silent:local_addr(), 0.05))
    local emptying = tcpnet.spawn(function()
      for stream in silent:incoming() do
        stream:close()
      end
    end)
    local ok, err = client:connect_timeout(listener:local_addr(), 10)
    emptying:cancel()
    if ok then
      assert.equal(listener:local_addr(), client:peer_addr())
    else
      assert.is_true(err:is("EALREADY", "EISCONN", "TIMEOUT"), tostring(err))
    end
  end))

  it("to the address of before once more, and takes up the attempt that a cancel left", in_task(function()
    local silent, waiting = tcp.silent_listener()
    local _close <close> = tcp.guard(silent, table.unpack(waiting))
    local client <close> = assert(Socket.new("inet", "stream"))
    assert.is_true(tcp.waits(client.connect, client, silent:local_addr()))
    local emptying = tcpnet.spawn(function()
      for stream in silent:incoming() do
        waiting[#waiting + 1] = stream
      end
    end)
    assert(client:connect(silent:local_addr()))
    assert.equal(silent:local_addr(), client:peer_addr())
    emptying:cancel()
    tcp.guard(table.unpack(waiting)):__close()
  end))

  it("datagrams, again and again, and tells the default peer", in_task(function()
    local one <close> = assert(Socket.new("inet", "dgram"))
    local two <close> = assert(Socket.new("inet", "dgram"))
    local client <close> = assert(Socket.new("inet", "dgram"))
    for _, peer in ipairs { one, two } do
      assert(peer:bind "127.0.0.1:0")
      assert(client:connect(peer:local_addr()))
      assert.equal(peer:local_addr(), client:peer_addr())
      assert.equal(1, client:send "x")
      assert.equal("x", peer:recv())
    end
  end))

  it("closed meanwhile by another task: CLOSED", in_task(function()
    local silent, waiting = tcp.silent_listener()
    local _close <close> = tcp.guard(silent, table.unpack(waiting))
    local client = assert(Socket.new("inet", "stream"))
    local connecting = tcpnet.spawn(client.connect, client, silent:local_addr())
    tcpnet.yield()
    client:close()
    local _, result, err = connecting:join()
    fails("CLOSED", result, err)
  end))

  it("with a unix listener whose queue is full: it waits without spinning, and succeeds when room comes",
    in_task(function()
      local folder <close> = program.folder()
      local listener <close> = listening(folder.path .. "/socket", "unix", "stream", 0)
      local list = {}
      local _list <close> = tcp.guard()
      local late
      repeat
        late = assert(Socket.new("unix", "stream"))
        _list[#_list + 1] = late
        list[#list + 1] = late
        local ok = late:connect_timeout(listener:local_addr(), 0.03)
      until not ok or #list > 100
      assert.is_true(#list <= 100, "the queue never fills")
      local before = tcpnet.metrics().polls
      local connecting = tcpnet.spawn(late.connect, late, listener:local_addr())
      tcpnet.sleep(0.2)
      assert.is_not.equal("done", connecting:status()) -- it tries again now and then
      local polls = tcpnet.metrics().polls - before
      assert.is_true(polls < 400, ("%d polls in a fifth of a second"):format(polls))
      for _ = 1, #list - 1 do
        _list[#_list + 1] = assert(listener:accept())
      end
      assert.same({ true, late }, { connecting:join() })
      local server <close> = assert(listener:accept())
      expect_conversation(late, server)
    end))

  it("and is accepted by several tasks in the order in which they came", in_task(function()
    local listener <close> = listening()
    local order, guard = {}, tcp.guard()
    local _close <close> = guard
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(function()
        local socket = assert(listener:accept())
        guard[#guard + 1] = socket
        order[#order + 1] = i
        return socket
      end)
    end
    tcpnet.yield()
    for i = 1, 3 do
      local client = assert(Socket.new("inet", "stream"))
      guard[#guard + 1] = client
      assert(client:connect(listener:local_addr()))
      local ok, server = tasks[i]:join(10)
      assert.is_true(ok, tostring(server))
      assert.equal(client:local_addr(), server:peer_addr())
    end
    assert.same({ 1, 2, 3 }, order)
  end))

  it("to a listener that closes while a task accepts: CLOSED", in_task(function()
    local listener = listening()
    local accepting = tcpnet.spawn(listener.accept, listener)
    tcpnet.yield()
    listener:close()
    local _, result, err = accepting:join()
    fails("CLOSED", result, err)
  end))

  it("only of the right kind and state", in_task(function()
    local stream <close> = assert(Socket.new("inet", "stream"))
    fails("EINVAL", stream:accept())
    fails("EINVAL", stream:try_accept())
    local udp <close> = assert(Socket.new("inet", "dgram"))
    fails("ENOTSUP EOPNOTSUPP", udp:accept())
    fails("ENOTSUP EOPNOTSUPP", udp:listen())
    local listener <close> = listening()
    fails("EADDRINUSE", stream:bind(listener:local_addr()))
    local err = fails("EADDRNOTAVAIL", stream:bind "192.0.2.1:0")
    assert.equal("192.0.2.1:0", err.address)
    listener:set_timeout(0.03)
    fails("TIMEOUT", listener:accept())
  end))

  it("raises for wrong arguments, naming them at the caller's line (F30, F31)", function()
    local socket <close> = assert(Socket.new("inet", "stream"))
    local unix <close> = assert(Socket.new("unix", "stream"))
    local function here(text, fn)
      local ok, message = pcall(fn)
      assert.is_false(ok)
      assert.is_truthy(tostring(message):find(text, 1, true), ("%q is not in %q"):format(text, tostring(message)))
      assert.matches("^spec/socket_spec%.lua:%d+: bad argument #", message)
    end
    for _, method in ipairs { "bind", "connect", "connect_timeout" } do
      local seconds = method == "connect_timeout" and 1 or nil
      here("#1 to '" .. method .. "' (SocketAddr, \"host:port\" or host, port expected, got table", function()
        socket[method](socket, {}, seconds)
      end)
    end
    here("#2 to 'bind' (port: integer from 0 to 65535 expected, got 65536)", function()
      socket:bind("127.0.0.1", 65536)
    end)
    here("#1 to 'connect' (string expected, got table)", function() unix:connect({}) end)
    here("#2 to 'connect' (no port beside a path expected", function() unix:connect("/x", 1) end)
    here("#2 to 'connect_timeout' (seconds, 0 or more, expected, got no value)", function()
      socket:connect_timeout "127.0.0.1:1"
    end)
    here("#2 to 'connect_timeout' (timeout: seconds, 0 or more, expected, got -1)", function()
      socket:connect_timeout("127.0.0.1:1", -1)
    end)
    here("#3 to 'connect_timeout' (timeout: seconds, 0 or more, expected, got string)", function()
      socket:connect_timeout("127.0.0.1", 1, "x")
    end)
    here("backlog: integer from 0 to 2147483647 expected, got -1", function() socket:listen(-1) end)
    here("backlog: integer from 0 to 2147483647 expected, got 0.5", function() socket:listen(0.5) end)
    local err = fails("EINVAL", unix:connect(("x"):rep(200)))
    assert.equal("the path is longer than the system allows", err.message)
    err = fails("EINVAL", unix:bind "a\0b")
    assert.equal("the path contains a NUL byte", err.message)
  end)
end)

describe("Socket speaks", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("MPTCP end to end", in_task(function()
    if not tcpnet.features().mptcp then
      return pending "the kernel has no MPTCP"
    end
    local listener <close> = assert(Socket.new("inet", "stream", "mptcp"))
    assert(listener:bind "127.0.0.1:0")
    assert(listener:listen())
    local client <close> = assert(Socket.new("inet", "stream", "mptcp"))
    assert(client:connect(listener:local_addr()))
    local server <close>, addr = assert(listener:accept())
    assert.equal("mptcp", server:protocol())
    assert.equal(client:local_addr(), addr)
    expect_conversation(client, server)
    local bytes = tcp.bytes(300000)
    local sending = tcpnet.spawn(function()
      local at = 1
      while at <= #bytes do
        at = at + assert(client:send(bytes:sub(at)))
      end
      assert(client:shutdown "write")
    end)
    local parts = {}
    for part in function() return (server:recv()) end do
      parts[#parts + 1] = part
    end
    assert(sending:join())
    assert.is_true(table.concat(parts) == bytes, "other bytes came")
    local plain <close> = assert(TcpStream.connect(listener:local_addr()))
    local fallen_back <close> = assert(listener:accept())
    assert(plain:write "x")
    assert.equal("x", fallen_back:recv())
  end))

  it("vsock with itself, where the kernel has the loopback", in_task(function()
    if not tcpnet.features().vsock then
      fails("EAFNOSUPPORT", Socket.new("vsock", "stream"))
      return
    end
    local listener <close> = assert(Socket.new("vsock", "stream"))
    assert(listener:bind(SocketAddr.vsock(4294967295, 4294967295)))
    assert(listener:listen())
    local port = listener:local_addr():port()
    assert.is_true(port > 0 and port < 4294967295)
    local client <close> = assert(Socket.new("vsock", "stream"))
    local ok, err = client:connect_timeout(SocketAddr.vsock(1, port), 5)
    if not ok then
      assert.is_true(err:is("ENODEV", "EADDRNOTAVAIL", "ENETUNREACH", "ECONNRESET", "EPROTONOSUPPORT", "ETIMEDOUT",
        "EHOSTUNREACH"), tostring(err))
      assert.equal(("vsock:1:%d"):format(port), err.address)
      return pending("the kernel has no loopback of vsock: " .. err.code)
    end
    local server <close> = assert(listener:accept())
    expect_conversation(client, server)
    assert.equal("vsock", server:peer_addr():family())
    assert.equal(1, server:peer_addr():cid())
  end))

  it("netlink: asks the kernel for the loopback interface", in_task(function()
    if not tcpnet.features().netlink then
      return pending "no netlink here"
    end
    local socket <close> = assert(Socket.new("netlink", "raw", 0)) -- NETLINK_ROUTE
    local kernel = SocketAddr.from_bytes(("=I2I2I4I4"):pack(16, 0, 0, 0))
    -- RTM_GETLINK as a dump: struct nlmsghdr, struct ifinfomsg
    local request = ("=I4I2I2I4I4 I1I1I2i4I4I4"):pack(32, 18, 0x301, 7, 0, 0, 0, 0, 0, 0, 0)
    assert.equal(32, socket:send_to(request, kernel))
    local answer, from = assert(socket:recv_from())
    assert.equal(kernel, from)
    assert.equal("netlink", from:family())
    local _, kind, _, sequence = ("=I4I2I2I4"):unpack(answer)
    assert.equal(16, kind) -- RTM_NEWLINK
    assert.equal(7, sequence)
    assert.is_truthy(answer:find("lo\0", 1, true))
  end))

  it("ICMP: an echo of 127.0.0.1 comes back", in_task(function()
    if not is_root then
      return pending "raw sockets take root"
    end
    local socket <close> = assert(Socket.new("inet", "raw", "icmp"))
    assert(socket:set_read_timeout(10))
    local function checksum(text)
      local sum = 0
      for at = 1, #text, 2 do
        sum = sum + (">I2"):unpack(text, at)
      end
      while sum > 0xffff do
        sum = (sum & 0xffff) + (sum >> 16)
      end
      return ~sum & 0xffff
    end
    local identity, payload = math.random(0, 0xffff), "tcpnet"
    local plain = (">BBI2I2I2"):pack(8, 0, 0, identity, 1) .. payload
    local request = plain:sub(1, 2) .. (">I2"):pack(checksum(plain)) .. plain:sub(5)
    assert.equal(#request, socket:send_to(request, SocketAddr.new("127.0.0.1", 0)))
    while true do
      local packet, from = assert(socket:recv_from())
      local icmp = packet:sub((packet:byte() & 15) * 4 + 1)
      if icmp:byte() == 0 and (">I2"):unpack(icmp, 5) == identity then -- an echo reply, of ours
        assert.equal("127.0.0.1", from:ip())
        assert.equal(payload, icmp:sub(9))
        assert.equal(0, checksum(icmp))
        break
      end
    end
  end))

  it("packets: one bound to the loopback sees the frame of a datagram", in_task(function()
    if not is_root or not tcpnet.features().packet then
      return pending "packet sockets take root, and Linux"
    end
    local receiver <close> = assert(Socket.new("inet", "dgram"))
    assert(receiver:bind "127.0.0.1:0")
    local packets <close> = assert(Socket.new("packet", "raw"))
    packets:attach_filter { -- what others send over the loopback meanwhile would fill its buffer
      { 0x30, 0, 0, 23 }, { 0x15, 0, 3, 17 }, -- UDP
      { 0x28, 0, 0, 36 }, { 0x15, 0, 1, receiver:local_addr():port() }, -- to that port
      { 0x06, 0, 0, 0xffff }, { 0x06, 0, 0, 0 },
    }
    assert(packets:bind(SocketAddr.packet("lo", 0x0800)))
    assert(packets:set_read_timeout(10))
    local index = packets:local_addr():interface()
    assert.equal(SocketAddr.packet(index):interface(), SocketAddr.packet("lo"):interface())
    assert.equal(0x0800, packets:local_addr():protocol())
    local sender <close> = assert(Socket.new("inet", "dgram"))
    local mark = ("tcpnet %d %f"):format(receiver:local_addr():port(), tcpnet.now())
    assert.equal(#mark, sender:send_to(mark, receiver:local_addr()))
    repeat
      local frame, from = assert(packets:recv_from())
      local seen = frame:sub(-#mark) == mark
      if seen then
        assert.equal("\8\0", frame:sub(13, 14)) -- the Ethernet type of IPv4
        assert.equal(14 + 20 + 8 + #mark, #frame)
        assert.equal("packet", from:family())
        assert.equal(index, from:interface())
        assert.equal(0x0800, from:protocol())
        assert.equal(("\0"):rep(6), from:hardware())
      end
    until seen
    assert.equal(mark, receiver:recv())
  end))
end)
