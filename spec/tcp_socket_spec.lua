-- TcpSocket: a socket before it is a stream or a listener.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local TcpListener, TcpSocket, TcpStream = tcpnet.TcpListener, tcpnet.TcpSocket, tcpnet.TcpStream
local fails, in_task = tcp.fails, tcp.in_task
local on_linux = os.execute "test -e /proc/self/exe"

describe("TcpSocket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local families = {
    { name = "v4", new = TcpSocket.new_v4, any = "127.0.0.1:0" },
    { name = "v6", new = TcpSocket.new_v6, any = "[::1]:0" },
  }

  describe("is made", function()
    it("by new_v4 for IPv4 alone", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.equal("TcpSocket", tostring(socket):match "^%w+")
      assert.is_false(socket:closed())
      fails("EAFNOSUPPORT EINVAL", socket:bind "[::1]:0")
    end)

    it("by new_v6 for IPv6", function()
      local socket <close> = assert(TcpSocket.new_v6())
      assert(socket:bind "[::1]:0")
      assert.is_true(socket:local_addr():is_ipv6())
    end)

    it("close-on-exec: a child does not see it (FIELD 58)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local list = assert(io.popen "ls -l /proc/self/fd 2>/dev/null")
      local seen = list:read "a"
      list:close()
      assert.is_nil(seen:find(("%d -> socket:"):format(socket:fd()), 1, true))
    end)

    it("non-blocking: the kernel's flags say so", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local info = io.open(("/proc/self/fdinfo/%d"):format(socket:fd()))
      if not info then
        return pending "needs /proc"
      end
      local flags = tonumber(info:read("a"):match "flags:%s*(%d+)", 8)
      info:close()
      assert.is_true(flags & tonumber("4000", 8) ~= 0, "O_NONBLOCK is not set")
      assert.is_true(flags & tonumber("2000000", 8) ~= 0, "O_CLOEXEC is not set")
    end)

    it("with an integer for a descriptor, borrowed by fd()", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.equal("integer", math.type(socket:fd()))
      assert.equal(socket:fd(), socket:fd())
    end)
  end)

  describe("from_fd", function()
    it("adopts a TCP socket that into_fd gave up", function()
      local socket = assert(TcpSocket.new_v4())
      assert(socket:bind "127.0.0.1:0")
      local address = socket:local_addr()
      local fd = socket:into_fd()
      assert.equal("integer", math.type(fd))
      local again <close> = assert(TcpSocket.from_fd(fd))
      assert.equal(fd, again:fd())
      assert.equal(address, again:local_addr())
      local listener <close> = assert(again:listen())
      local client <close> = assert(TcpStream.connect(address))
      local server <close> = assert(listener:accept())
      assert.equal(client:local_addr(), server:peer_addr())
    end)

    it("refuses a number that is no open descriptor with EBADF", function()
      fails("EBADF", TcpSocket.from_fd(19999))
    end)

    it("raises where the number can be no descriptor", function()
      for _, wrong in ipairs { -1, 0.5, 2 ^ 53, math.mininteger, math.maxinteger, 1e300, 0 / 0, math.huge } do
        assert.has_error(function() TcpSocket.from_fd(wrong) end)
      end
    end)

    it("raises where the argument is no number", function()
      for _, wrong in ipairs { "3", "x", {}, true, print } do
        assert.has_error(function() TcpSocket.from_fd(wrong) end)
      end
      assert.has_error(function() TcpSocket.from_fd() end)
    end)

    it("refuses a file and a UDP socket, and leaves them open (F27)", function()
      local output = tcp.child([[
        for _, class in ipairs { TcpSocket, TcpStream, TcpListener } do
          for fd = 5, 6 do
            local object, err = class.from_fd(fd)
            assert(object == nil, tostring(object))
            print(fd, tcpnet.is_error(err) and err.code)
          end
        end
        collectgarbage() collectgarbage()
        os.execute "exec 2>/dev/null; ls -l /proc/$PPID/fd | grep -c -E ' (5|6) -> '"
      ]], [[exec 5</etc/passwd 6<>/dev/udp/127.0.0.1/9; exec "$LUA" "$SCRIPT"]])
      assert.equal(("5\tENOTSOCK\n6\tEINVAL\n"):rep(3) .. "2\n", output)
    end)

    it("refuses a Unix stream socket (F27)", function()
      if not tcp.can "command -v socat" then
        return pending "needs socat"
      end
      local output = tcp.child([[
        local object, err = TcpStream.from_fd(0)
        io.stderr:write(tostring(object), " ", tostring(tcpnet.is_error(err)), "\n")
      ]], [[socat -t 20 EXEC:"$LUA $SCRIPT" - </dev/null]]) -- half a second, unless told, is not enough everywhere
      assert.matches("nil true\n", output)
      assert.is_nil(output:find("TcpStream", 1, true))
    end)

    it("refuses a descriptor that another object owns: it would be closed twice (F27)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      fails("EEXIST EBUSY EINVAL", TcpSocket.from_fd(socket:fd()))
      fails("EEXIST EBUSY EINVAL", TcpStream.from_fd(socket:fd()))
      assert(socket:bind "127.0.0.1:0")
    end)

    it("makes the descriptor non-blocking", function()
      local listener <close> = tcp.listener()
      local output = tcp.child([[
        local stream = assert(TcpStream.from_fd(5))
        local bytes, err = stream:try_read()
        print(bytes, err and err.code)
        local flags = tonumber(io.open("/proc/self/fdinfo/5"):read("a"):match "flags:%s*(%d+)", 8)
        print(flags & tonumber("4000", 8) ~= 0)
      ]], ([[exec 5<>/dev/tcp/127.0.0.1/%d; exec "$LUA" "$SCRIPT"]]):format(listener:local_addr():port()))
      assert.equal("nil\tEAGAIN\ntrue\n", output)
    end)
  end)

  describe("options:", function()
    for _, family in ipairs(families) do
      for _, name in ipairs { "keepalive", "reuseaddr", "reuseport", "nodelay" } do
        it(("%s of a %s socket is false, then what was set (B19, B20)"):format(name, family.name), function()
          local socket <close> = assert(family.new())
          assert.is_false(socket[name](socket))
          assert.equal(socket, socket["set_" .. name](socket, true))
          assert.is_true(socket[name](socket))
          assert.equal(socket, socket["set_" .. name](socket, false))
          assert.is_false(socket[name](socket))
        end)
      end

      for _, name in ipairs { "send_buffer_size", "recv_buffer_size" } do
        it(("%s of a %s socket: 4096 reads 8192 on Linux (B21)"):format(name, family.name), function()
          local socket <close> = assert(family.new())
          assert.equal(socket, socket["set_" .. name](socket, 4096))
          local size = socket[name](socket)
          assert.equal("integer", math.type(size))
          assert.equal(on_linux and 8192 or 4096, size)
        end)
      end

      it(("linger of a %s socket: none, then zero by set_zero_linger (B18)"):format(family.name), function()
        local socket <close> = assert(family.new())
        local linger, err = socket:linger()
        assert.is_nil(linger)
        assert.is_nil(err)
        assert.equal(socket, socket:set_zero_linger())
        assert.equal(0, socket:linger())
      end)

      it(("linger of a %s socket: 10 s reads 10 s, nil turns it off (B22)"):format(family.name), function()
        local socket <close> = assert(family.new())
        assert.equal(socket, socket:set_linger(10))
        assert.equal(10, socket:linger())
        assert.equal(socket, socket:set_linger(nil))
        assert.is_nil(socket:linger())
      end)

      it(("device of a %s socket: bound to the loopback interface and freed"):format(family.name), function()
        local socket <close> = assert(family.new())
        assert.is_nil(socket:device())
        local ok, err = socket:set_device "lo"
        if not ok and (err:is "EPERM" or err:is "ENOTSUP" or err:is "ENODEV") then
          return pending(tostring(err))
        end
        assert.equal(socket, ok)
        assert.equal("lo", socket:device())
      end)
    end

    it("bind_device is another name of set_device, and nil frees", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local ok, err = socket:bind_device "lo"
      if not ok then
        return pending(tostring(err))
      end
      assert.equal("lo", socket:device())
      assert.equal(socket, socket:set_device(nil))
      assert.is_nil(socket:device())
    end)

    it("an interface that does not exist is ENODEV", function()
      local socket <close> = assert(TcpSocket.new_v4())
      fails("ENODEV EPERM", socket:set_device "nosuchdevice0")
    end)

    it("the name of an interface is never cut: too long a name or a NUL is refused", function()
      local socket <close> = assert(TcpSocket.new_v4())
      for _, wrong in ipairs { "lo\0evil", ("l"):rep(300) } do
        local called, value = pcall(socket.set_device, socket, wrong)
        assert.is_true(not called or value == nil)
        assert.is_nil(socket:device())
      end
    end)

    it("tos_v4", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.equal(0, socket:tos_v4())
      assert.equal(socket, socket:set_tos_v4(0x10))
      assert.equal(0x10, socket:tos_v4())
      assert.equal("integer", math.type(socket:tos_v4()))
    end)

    it("tclass_v6", function()
      local socket <close> = assert(TcpSocket.new_v6())
      assert.equal(0, socket:tclass_v6())
      assert.equal(socket, socket:set_tclass_v6(96))
      assert.equal(96, socket:tclass_v6())
    end)

    it("only_v6", function()
      local socket <close> = assert(TcpSocket.new_v6())
      assert.equal(socket, socket:set_only_v6(true))
      assert.is_true(socket:only_v6())
      assert.equal(socket, socket:set_only_v6(false))
      assert.is_false(socket:only_v6())
    end)

    it("of the other family are the system's own error", function()
      local socket <close> = assert(TcpSocket.new_v4())
      fails("ENOPROTOOPT EINVAL EOPNOTSUPP ENOTSUP", socket:tclass_v6())
    end)

    it("setters chain", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local same = assert(assert(assert(socket:set_reuseaddr(true)):set_nodelay(true)):set_keepalive(true))
      assert.equal(socket, assert(same:bind "127.0.0.1:0"))
      assert.is_true(socket:reuseaddr() and socket:nodelay() and socket:keepalive())
    end)

    it("a boolean option takes booleans alone: 0 would be true in Lua (F30)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      for _, name in ipairs { "set_keepalive", "set_reuseaddr", "set_reuseport", "set_nodelay" } do
        for _, wrong in ipairs { 0, 1, "true", "", {} } do
          assert.has_error(function() socket[name](socket, wrong) end)
        end
        assert.has_error(function() socket[name](socket) end)
        assert.has_error(function() socket[name](socket, nil) end)
      end
    end)

    it("a number takes integers in its range alone (F30, F31)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      for _, name in ipairs { "set_send_buffer_size", "set_recv_buffer_size", "set_tos_v4" } do
        for _, wrong in ipairs {
          -1, 0.5, 2 ^ 53, math.maxinteger, math.mininteger, 1e300, 0 / 0, math.huge, "12", "0x10", true, {},
        } do
          assert.has_error(function() socket[name](socket, wrong) end)
        end
        assert.has_error(function() socket[name](socket) end)
      end
      assert.has_error(function() socket:set_tos_v4(256) end)
    end)

    it("linger takes seconds, neither negative nor NaN nor text (F31, F32)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      for _, wrong in ipairs { -1, 0 / 0, "10", true, {} } do
        assert.has_error(function() socket:set_linger(wrong) end)
      end
      assert.is_nil(socket:linger())
    end)
  end)

  describe("bind", function()
    it("gives the socket and an address with the port that was free (B15)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.equal(socket, socket:bind "127.0.0.1:0")
      assert.equal("127.0.0.1", socket:local_addr():ip())
      assert.is_true(socket:local_addr():port() > 0)
    end)

    it("takes host and port as two arguments, or a SocketAddr", function()
      local one <close> = assert(TcpSocket.new_v4())
      assert.equal(one, one:bind("127.0.0.1", 0))
      local two <close> = assert(TcpSocket.new_v4())
      assert.equal(two, two:bind(tcpnet.SocketAddr.new("127.0.0.1", 0)))
      assert.equal("127.0.0.1", two:local_addr():ip())
    end)

    it("takes a name", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.equal(socket, socket:bind "localhost:0")
      assert.is_true(socket:local_addr():is_loopback())
    end)

    it("to a port in use is EADDRINUSE, and the socket is still good", function()
      local listener <close> = tcp.listener()
      local socket <close> = assert(TcpSocket.new_v4())
      local err = fails("EADDRINUSE", socket:bind(listener:local_addr()))
      assert.equal("bind", err.op)
      assert.equal(tostring(listener:local_addr()), err.address)
      assert.equal(socket, socket:bind "127.0.0.1:0")
    end)

    it("to an address of another machine is EADDRNOTAVAIL", function()
      local socket <close> = assert(TcpSocket.new_v4())
      fails("EADDRNOTAVAIL", socket:bind "192.0.2.1:0")
    end)

    it("twice is EINVAL", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert(socket:bind "127.0.0.1:0")
      fails("EINVAL", socket:bind "127.0.0.1:0")
    end)

    it("refuses what is cut or guessed elsewhere (F50)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      for _, wrong in ipairs {
        "127.0.0.1\0evil:0", "127.0.0.1:0\0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:", "127.0.0.1", "", ":",
      } do
        local called, value = pcall(socket.bind, socket, wrong)
        assert.is_true(not called or value == nil, ("%q was accepted"):format(wrong))
      end
      for _, port in ipairs { -1, 65536, 0.5, 0 / 0, 2 ^ 53 } do
        local called, value = pcall(socket.bind, socket, "127.0.0.1", port)
        assert.is_true(not called or value == nil, ("port %s was accepted"):format(port))
      end
      assert(socket:bind "127.0.0.1:0")
    end)
  end)

  describe("listen", function()
    it("with a backlog; another socket connects and is accepted (B15)", in_task(function()
      for _, family in ipairs(families) do
        local socket = assert(family.new())
        assert(socket:bind(family.any))
        local listener <close> = assert(socket:listen(128))
        local client_socket = assert(family.new())
        local client <close> = assert(client_socket:connect(listener:local_addr()))
        local server <close>, address = listener:accept()
        assert(server, address)
        assert.equal(client:local_addr(), address)
      end
    end))

    it("consumes the socket", function()
      local socket = assert(TcpSocket.new_v4())
      assert(socket:bind "127.0.0.1:0")
      local listener <close> = assert(socket:listen())
      assert.matches("^TcpListener", tostring(listener))
      assert.is_true(socket:closed())
      for _, call in ipairs {
        { "bind", "127.0.0.1:0" }, { "listen" }, { "connect", "127.0.0.1:1" }, { "local_addr" }, { "nodelay" },
        { "set_nodelay", true }, { "take_error" }, { "into_fd" }, { "fd" },
      } do
        local method = call[1]
        fails("CLOSED", socket[method](socket, table.unpack(call, 2)))
      end
      socket:close()
      assert.is_false(listener:closed())
      assert(listener:local_addr())
    end)

    it("raises on a backlog that is none (F31)", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert(socket:bind "127.0.0.1:0")
      for _, wrong in ipairs { -1, 0.5, 2 ^ 40, 0 / 0, "5", {}, true } do
        assert.has_error(function() socket:listen(wrong) end)
      end
      assert.is_false(socket:closed())
    end)

    it("keeps the options that were set", function()
      local socket = assert(TcpSocket.new_v4())
      assert(socket:set_reuseport(true):bind "127.0.0.1:0")
      local listener <close> = assert(socket:listen())
      assert.is_true(listener:reuseport())
    end)
  end)

  describe("connect", function()
    it("gives a stream after a bind of one's own (B17)", in_task(function()
      local listener <close> = tcp.listener()
      local socket = assert(TcpSocket.new_v4())
      assert(socket:bind "127.0.0.1:0")
      local mine = socket:local_addr()
      local client <close> = assert(socket:connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.equal(mine, client:local_addr())
      assert.equal(mine, server:peer_addr())
      assert.equal(listener:local_addr(), client:peer_addr())
    end))

    it("works outside every task", function()
      local listener <close> = tcp.listener()
      local client <close> = assert(assert(TcpSocket.new_v4()):connect(listener:local_addr()))
      assert.equal(listener:local_addr(), client:peer_addr())
    end)

    it("keeps the options that were set before", in_task(function()
      local listener <close> = tcp.listener()
      local socket = assert(TcpSocket.new_v4())
      assert(socket:set_nodelay(true):set_keepalive(true))
      local client <close> = assert(socket:connect(listener:local_addr()))
      assert.is_true(client:nodelay())
      assert.is_true(client:keepalive())
    end))

    it("consumes the socket", in_task(function()
      local listener <close> = tcp.listener()
      local socket = assert(TcpSocket.new_v4())
      local client <close> = assert(socket:connect(listener:local_addr()))
      assert.is_true(socket:closed())
      fails("CLOSED", socket:local_addr())
      fails("CLOSED", socket:connect(listener:local_addr()))
      socket:close()
      assert.is_false(client:closed())
      assert(client:write "still there")
    end))

    it("refused is ECONNREFUSED with its address, and closes the socket", in_task(function()
      local address = tcp.refusing_address()
      local socket = assert(TcpSocket.new_v4())
      local err = fails("ECONNREFUSED", socket:connect(address))
      assert.equal("connect", err.op)
      assert.equal(address, err.address)
      assert.equal("integer", math.type(err.errno))
      assert.equal(("connect %s: connection refused (ECONNREFUSED)"):format(address), tostring(err))
      assert.is_true(socket:closed())
      fails("CLOSED", socket:connect(address))
    end))

    it("has a timeout, which closes the socket", in_task(function()
      local listener <close>, _waiting = tcp.silent_listener()
      local socket = assert(TcpSocket.new_v4())
      local err = fails("TIMEOUT", socket:connect(listener:local_addr(), { timeout = 0.02 }))
      assert.equal("connect", err.op)
      assert.is_true(socket:closed())
    end))

    it("cancelled leaves neither descriptor nor handle (F9)", in_task(function()
      local listener <close>, _waiting = tcp.silent_listener()
      local socket = assert(TcpSocket.new_v4())
      local task = tcpnet.spawn(function()
        socket:connect(listener:local_addr())
      end)
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      assert.is_true(task:cancel())
      fails("CANCELED", task:join())
      assert.is_true(socket:closed())
    end))

    it("ends with CLOSED when the socket is closed meanwhile (F5)", in_task(function()
      local listener <close>, _waiting = tcp.silent_listener()
      local socket = assert(TcpSocket.new_v4())
      local task = tcpnet.spawn(function()
        return socket:connect(listener:local_addr())
      end)
      tcpnet.sleep(0.01)
      socket:close()
      local ok, stream, err = task:join(5)
      assert.is_true(ok)
      fails("CLOSED", stream, err)
    end))

    it("raises on an option that does not exist", function()
      local socket <close> = assert(TcpSocket.new_v4())
      assert.has_error(function() socket:connect("127.0.0.1:1", { no_such_option = true }) end)
    end)
  end)

  describe("ends:", function()
    it("take_error is nil when there is none", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local err, second = socket:take_error()
      assert.is_nil(err)
      assert.is_nil(second)
    end)

    it("into_fd gives the descriptor away: closing and collecting leave it open", function()
      local socket = assert(TcpSocket.new_v4())
      local fd = socket:into_fd()
      assert.is_true(socket:closed())
      socket:close()
      socket = nil
      collectgarbage()
      collectgarbage()
      local again <close> = assert(TcpSocket.from_fd(fd))
      assert.is_nil(socket)
      assert.equal(fd, again:fd())
    end)

    it("close may be called twice; everything then answers CLOSED (F29)", function()
      local socket = assert(TcpSocket.new_v4())
      socket:close()
      socket:close()
      assert.is_true(socket:closed())
      assert.matches("closed", tostring(socket))
      fails("CLOSED", socket:bind "127.0.0.1:0")
      fails("CLOSED", socket:connect "127.0.0.1:1")
      fails("CLOSED", socket:listen())
      fails("CLOSED", socket:local_addr())
      fails("CLOSED", socket:set_nodelay(true))
      fails("CLOSED", socket:nodelay())
      fails("CLOSED", socket:linger())
      fails("CLOSED", socket:fd())
      fails("CLOSED", socket:into_fd())
    end)

    it("collection closes what nobody closed", function()
      for _ = 1, 100 do
        assert(TcpSocket.new_v4())
      end
      -- leaks.check counts the descriptors
    end)

    it("closing twice does not close another's descriptor that got the same number (F26)", function()
      local first = assert(TcpSocket.new_v4())
      local fd = first:fd()
      first:close()
      local second <close> = assert(TcpSocket.new_v4())
      assert.equal(fd, second:fd())
      first:close()
      collectgarbage()
      assert(second:bind "127.0.0.1:0")
    end)

    it("methods refuse what is no TcpSocket (F28)", function()
      local listener <close> = tcp.listener()
      for _, wrong in ipairs { listener, io.stdout, {}, "x", 1 } do
        assert.has_error(function() TcpSocket.bind(wrong, "127.0.0.1:0") end)
        assert.has_error(function() TcpSocket.listen(wrong) end)
        assert.has_error(function() TcpStream.read(wrong) end)
      end
      for _, wrong in ipairs { io.stdout, {}, "x", 1 } do
        assert.has_error(function() TcpSocket.local_addr(wrong) end)
        assert.has_error(function() TcpSocket.close(wrong) end)
        assert.has_error(function() TcpListener.accept(wrong) end)
      end
      assert.has_error(function() TcpSocket.listen() end)
    end)
  end)
end)
