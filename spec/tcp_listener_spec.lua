-- TcpListener: binding, accepting in order, running out of descriptors, listeners made by others.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local TcpListener, TcpStream = tcpnet.TcpListener, tcpnet.TcpStream
local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

describe("TcpListener", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("bind", function()
    it("takes text, host and port, a name, a SocketAddr, and sets reuseaddr", in_task(function()
      for _, target in ipairs {
        { "127.0.0.1:0" }, { "127.0.0.1", 0 }, { "localhost:0" }, { "localhost", 0 },
        { tcpnet.SocketAddr.new("127.0.0.1", 0) }, { "127.0.0.1", 0, { backlog = 3 } },
      } do
        local listener <close> = assert(TcpListener.bind(table.unpack(target)))
        assert.is_true(listener:local_addr():is_loopback())
        assert.equal("integer", math.type(listener:local_addr():port()))
        assert.is_true(listener:local_addr():port() > 0)
        assert.is_true(listener:reuseaddr())
        assert.is_false(listener:reuseport())
      end
    end))

    it("takes any option by name, set before listen", in_task(function()
      local listener <close> = assert(TcpListener.bind("127.0.0.1:0", {
        recv_buffer_size = 4096, reuseaddr = false, keepalive = true, ttl = 9, backlog = 7,
      }))
      assert.is_false(listener:reuseaddr())
      assert.equal(9, listener:ttl())
      assert.is_true(listener:keepalive())
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.is_true(server:keepalive())
      assert.is_true(server:recv_buffer_size() <= 8192)
      assert.is_false(client:closed())
    end))

    it("raises on unknown options and wrong values (F30, F31)", function()
      for name, wrong in pairs {
        no_such_option = true, backlog = -1, reuseport = 1, only_v6 = "yes", nodelay = 0, timeout = 1,
        recv_buffer_size = 0.5,
      } do
        assert.has_error(function() TcpListener.bind("127.0.0.1:0", { [name] = wrong }) end)
      end
      assert.has_error(function() TcpListener.bind("127.0.0.1:0", { backlog = 2 ^ 40 }) end)
      assert.has_error(function() TcpListener.bind() end)
      assert.has_error(function() TcpListener.bind {} end)
    end)

    it("to a port in use is EADDRINUSE with its address", function()
      local listener <close> = tcp.listener()
      local err = fails("EADDRINUSE", TcpListener.bind(listener:local_addr()))
      assert.equal(tostring(listener:local_addr()), err.address)
    end)

    it("to an address of another machine is EADDRNOTAVAIL", function()
      fails("EADDRNOTAVAIL", TcpListener.bind "192.0.2.1:0")
    end)

    it("refuses an address with a NUL, a bad port or rubbish (F50)", function()
      for _, wrong in ipairs { "127.0.0.1\0evil:0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1", "", "[::1" } do
        local called, value = pcall(TcpListener.bind, wrong)
        assert.is_true(not called or value == nil, ("%q was accepted"):format(wrong))
      end
    end)

    it("again at once after its connections were closed: TIME_WAIT does not hold the port", in_task(function()
      local listener = tcp.listener()
      local address = listener:local_addr()
      local client = assert(TcpStream.connect(address))
      local server = assert(listener:accept())
      server:close()
      assert.equal("", client:read_to_end())
      client:close()
      listener:close()
      local again <close> = assert(TcpListener.bind(address))
      assert.equal(address, again:local_addr())
    end))

    it("with reuseport, two listeners share a port (FIELD 48)", in_task(function()
      local one <close> = tcp.listener("127.0.0.1:0", { reuseport = true })
      local two <close> = assert(TcpListener.bind(one:local_addr(), { reuseport = true }))
      assert.is_true(one:reuseport() and two:reuseport())
      fails("EADDRINUSE", TcpListener.bind(one:local_addr()))
      local clients, count = {}, 0
      for i = 1, 20 do
        clients[i] = assert(TcpStream.connect(one:local_addr()))
      end
      for _, listener in ipairs { one, two } do
        while true do
          local stream, err = listener:try_accept()
          if not stream then
            fails("EAGAIN", stream, err)
            break
          end
          count = count + 1
          stream:close()
        end
      end
      assert.equal(20, count)
      tcp.guard(table.unpack(clients)):__close()
    end))

    it("with only_v6 leaves the port to IPv4; without it takes both", in_task(function()
      local six <close> = tcp.listener("[::]:0", { only_v6 = true })
      assert.is_true(six:only_v6())
      local port = six:local_addr():port()
      fails("ECONNREFUSED", TcpStream.connect("127.0.0.1", port))
      local four <close> = assert(TcpListener.bind("127.0.0.1", port))
      assert.equal(port, four:local_addr():port())

      local both <close> = tcp.listener("[::]:0", { only_v6 = false })
      assert.is_false(both:only_v6())
      local client <close> = assert(TcpStream.connect("127.0.0.1", both:local_addr():port()))
      local server <close>, from = both:accept()
      assert(server, from)
      assert.equal(client:local_addr():port(), from:port())
    end))

    it("with a small backlog: who is over it is not answered", in_task(function()
      local listener <close>, waiting = tcp.silent_listener()
      assert.is_true(#waiting <= 4)
      local accepted = {}
      for i = 1, #waiting do
        accepted[i] = assert(listener:accept())
      end
      assert.equal(#waiting, #accepted)
    end))
  end)

  describe("accept", function()
    it("gives a stream and the peer's address (B4)", in_task(function()
      local listener <close> = tcp.listener()
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close>, address = listener:accept()
      assert.matches("^TcpStream", tostring(server))
      assert.equal(client:local_addr(), address)
      assert.equal(address, server:peer_addr())
      assert.equal(listener:local_addr(), server:local_addr())
    end))

    it("outside every task waits for a task that connects", function()
      local listener <close> = tcp.listener()
      local task = tcpnet.spawn(function()
        local client <close> = assert(TcpStream.connect(listener:local_addr()))
        return client:read_to_end()
      end)
      local server = assert(listener:accept())
      server:write "hello"
      server:close()
      assert.same({ true, "hello" }, { task:join(5) })
    end)

    it("serves waiting tasks in order, one for each connection (B3)", in_task(function()
      local listener <close> = tcp.listener()
      local order, tasks = {}, {}
      for i = 1, 50 do
        tasks[i] = tcpnet.spawn(function()
          local stream <close>, from = listener:accept()
          order[#order + 1] = i
          assert(stream, from)
          return from
        end)
      end
      tcpnet.yield()
      for i = 1, 50 do
        local client <close> = assert(TcpStream.connect(listener:local_addr()))
        local ok, from = tasks[i]:join(5)
        assert.is_true(ok)
        assert.equal(client:local_addr(), from)
        assert.equal(i, #order)
      end
      for i = 1, 50 do
        assert.equal(i, order[i])
      end
    end))

    it("several at once: all of a burst are accepted, in order of connecting", in_task(function()
      local listener <close> = tcp.listener()
      local clients, ports = {}, {}
      for i = 1, 100 do
        clients[i] = assert(TcpStream.connect(listener:local_addr()))
        ports[i] = clients[i]:local_addr():port()
      end
      for i = 1, 100 do
        local server <close>, from = listener:accept()
        assert(server, from)
        assert.equal(ports[i], from:port())
      end
      fails("EAGAIN", listener:try_accept())
      tcp.guard(table.unpack(clients)):__close()
    end))

    it("cancelled in one task leaves the connection to the next", in_task(function()
      local listener <close> = tcp.listener()
      local first = tcpnet.spawn(listener.accept, listener)
      local second = tcpnet.spawn(listener.accept, listener)
      tcpnet.yield()
      first:cancel()
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local ok, server = second:join(5)
      assert.is_true(ok)
      assert.equal(client:local_addr(), server:peer_addr())
      server:close()
    end))

    it("cancelled just when a connection came loses it not", in_task(function()
      local listener <close> = tcp.listener()
      for _ = 1, 50 do
        local first = tcpnet.spawn(listener.accept, listener)
        tcpnet.yield()
        local client <close> = assert(TcpStream.connect(listener:local_addr()))
        if first:cancel() then
          local server <close> = assert(listener:accept())
          assert.equal(client:local_addr(), server:peer_addr())
        else
          select(2, first:join()):close()
        end
      end
    end))

    it("times out by set_timeout, which is not sticky", in_task(function()
      local listener <close> = tcp.listener()
      assert.is_nil(listener:timeout())
      assert.equal(listener, listener:set_timeout(0.01))
      assert.equal(0.01, listener:timeout())
      for _ = 1, 2 do
        local err = fails("TIMEOUT", listener:accept())
        assert.equal("accept", err.op)
      end
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.equal(client:local_addr(), server:peer_addr())
      listener:set_timeout(nil)
      assert.is_true(waits(listener.accept, listener))
      for _, wrong in ipairs { -1, 0 / 0, "1", {} } do
        assert.has_error(function() listener:set_timeout(wrong) end)
      end
    end))

    it("ends with CLOSED for all who wait when the listener is closed (F5, B13)", in_task(function()
      local listener = tcp.listener()
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = tcpnet.spawn(listener.accept, listener)
      end
      tcpnet.yield()
      listener:close()
      for i = 1, 3 do
        local ok, stream, err = tasks[i]:join(5)
        assert.is_true(ok)
        fails("CLOSED", stream, err)
      end
      fails("CLOSED", listener:accept())
    end))

    it("accepted streams are non-blocking and close-on-exec (B136)", in_task(function()
      local listener <close> = tcp.listener()
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.is_false(client:closed())
      local info = io.open(("/proc/self/fdinfo/%d"):format(server:fd()))
      if info then
        local flags = tonumber(info:read("a"):match "flags:%s*(%d+)", 8)
        info:close()
        assert.is_true(flags & tonumber("2004000", 8) == tonumber("2004000", 8))
      end
      fails("EAGAIN", server:try_read())
    end))

    it("try_accept is EAGAIN with nobody there, and a stream else (B122)", in_task(function()
      local listener <close> = tcp.listener()
      fails("EAGAIN", listener:try_accept())
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close>, from = listener:try_accept()
      assert(server, from)
      assert.equal(client:local_addr(), from)
      fails("EAGAIN", listener:try_accept())
    end))

    it("a connection that was reset before it is accepted does no harm", in_task(function()
      local listener <close> = tcp.listener()
      tcp.close_with_reset(assert(TcpStream.connect(listener:local_addr())))
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local reached = false
      for _ = 1, 2 do
        local server <close>, from = listener:accept()
        assert(server, from)
        if from == client:local_addr() then
          reached = true
          break
        end
        fails("ECONNRESET", server:read())
      end
      assert.is_true(reached)
    end))

    it("never shows ECONNABORTED and its like (F36)", function()
      if not tcp.can "strace -o /dev/null true" then
        return pending "needs strace"
      end
      for _, code in ipairs { "ECONNABORTED", "EPROTO", "EINTR", "EPERM", "ENETDOWN", "EHOSTUNREACH", "ETIMEDOUT" } do
        local output = tcp.child([[
          local listener = assert(TcpListener.bind "127.0.0.1:0")
          tcpnet.run(function()
            tcpnet.spawn(function()
              for _ = 1, 3 do
                local client = assert(TcpStream.connect(listener:local_addr()))
                client:write "x"
                client:shutdown()
              end
            end)
            for _ = 1, 3 do
              print(assert(listener:accept()):read_to_end())
            end
          end)
        ]], ([[strace -f -o /dev/null -e trace=accept4 -e inject=accept4:error=%s:when=1+3 \
          "$LUA" "$SCRIPT"]]):format(code))
        assert.equal("x\nx\nx\n", output, code)
      end
    end)
  end)

  describe("incoming", function()
    it("gives streams and addresses, and ends when the listener is closed", in_task(function()
      local listener = tcp.listener()
      local ports, seen = {}, {}
      tcpnet.spawn(function()
        for _ = 1, 3 do
          local client <close> = assert(TcpStream.connect(listener:local_addr()))
          ports[#ports + 1] = client:local_addr():port()
          client:read()
        end
        listener:close()
      end)
      for stream, address in listener:incoming() do
        seen[#seen + 1] = address:port()
        stream:close()
      end
      assert.same(ports, seen)
      assert.equal(3, #seen)
      for _ in listener:incoming() do
        error "a closed listener gives something"
      end
    end))

    it("raises any other error, such as a timeout", in_task(function()
      local listener <close> = tcp.listener()
      listener:set_timeout(0.01)
      local ok, err = pcall(listener:incoming())
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
    end))
  end)

  describe("set_accept_options", function()
    it("is what accepted streams inherit", in_task(function()
      local listener <close> = tcp.listener()
      assert.equal(listener, listener:set_accept_options { nodelay = true, keepalive = true, linger = 2 })
      for _, name in ipairs { "accept", "try_accept" } do
        local client <close> = assert(TcpStream.connect(listener:local_addr()))
        local server <close>, from = listener[name](listener)
        assert(server, from)
        assert.is_true(server:nodelay())
        assert.is_true(server:keepalive())
        assert.equal(2, server:linger())
        assert.is_false(client:nodelay())
      end
    end))

    it("may be said again", in_task(function()
      local listener <close> = tcp.listener()
      assert(listener:set_accept_options { nodelay = true, ttl = 30 })
      assert(listener:set_accept_options { nodelay = false, ttl = 31 })
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.is_false(server:nodelay())
      assert.equal(31, server:ttl())
      assert.is_false(client:closed())
    end))

    it("raises on unknown names and wrong values", function()
      local listener <close> = tcp.listener()
      for _, wrong in ipairs { { no_such_option = true }, { nodelay = 1 }, { linger = -1 }, { [1] = "nodelay" } } do
        assert.has_error(function() listener:set_accept_options(wrong) end)
      end
      assert.has_error(function() listener:set_accept_options() end)
      assert.has_error(function() listener:set_accept_options "nodelay" end)
    end)
  end)

  it("ttl is read and set", function()
    local listener <close> = tcp.listener()
    assert.equal(listener, listener:set_ttl(61))
    assert.equal(61, listener:ttl())
    for _, wrong in ipairs { -1, 256, 0.5, "64" } do
      assert.has_error(function() listener:set_ttl(wrong) end)
    end
    assert.is_nil(listener:take_error())
  end)

  describe("out of descriptors:", function()
    -- A child with few descriptors has as many streams as it can hold; 40 more wait in the kernel's queue.
    local FEW = [[ulimit -S -n 40; exec "$LUA" "$SCRIPT"]]
    local CROWD = [[
      local listener = assert(TcpListener.bind "127.0.0.1:0")
      local port = listener:local_addr():port()
      local connect = 'eval "exec $i<>/dev/tcp/127.0.0.1/' .. port .. '"'
      local crowd = assert(io.popen("exec bash -c 'ulimit -S -n 200; for i in {10..69}; do " .. connect
        .. "; done; echo ready; read -r _ <&10'"))
      assert(crowd:read "l" == "ready")
      local held, total = {}, 0
      local function let_go()
        total = total + #held
        for i = 2, #held do
          held[i]:close()
        end
        held = { held[1] }
        total = total - 1
      end
    ]]

    it("accept is EMFILE once, then pauses without spinning, and nothing is lost (F35, FIELD 56)", function()
      local output = tcp.child(CROWD .. [[
        tcpnet.run(function()
          local errors, seen = 0, 0
          local polls, released = 0, false
          while seen < 60 do
            local stream, err = listener:accept()
            if stream then
              seen = seen + 1
              held[#held + 1] = stream
            else
              assert(err.code == "EMFILE", tostring(err))
              errors = errors + 1
              if errors == 1 then
                local before = tcpnet.metrics().polls
                tcpnet.spawn(function()
                  tcpnet.sleep(0.35)
                  polls = tcpnet.metrics().polls - before
                  released = true
                  let_go()
                end)
              elseif released then
                let_go()
              end
            end
          end
          print(errors >= 1 and errors <= 10 and "few errors" or errors, polls < 60 and "no spinning" or polls)
          print(seen, listener:try_accept())
          held[1]:close()
        end)
      ]], FEW)
      assert.matches("^few errors\tno spinning\n60\tnil", output)
    end)

    it("incoming waits it out (F35)", function()
      local output = tcp.child(CROWD .. [[
        tcpnet.run(function()
          tcpnet.spawn(function()
            while true do
              tcpnet.sleep(0.05)
              let_go()
            end
          end)
          local seen = 0
          for stream in listener:incoming() do
            seen = seen + 1
            held[#held + 1] = stream
            if seen == 60 then
              break
            end
          end
          print(seen)
          held[1]:close()
        end)
      ]], FEW)
      assert.equal("60\n", output)
    end)

    it("other tasks go on during the pause, and a close ends it", function()
      local output = tcp.child(CROWD .. [[
        tcpnet.run(function()
          local ticks = 0
          tcpnet.spawn(function()
            while true do
              tcpnet.sleep(0.005)
              ticks = ticks + 1
              if ticks == 10 then
                listener:close()
              end
            end
          end)
          while true do
            local stream, err = listener:accept()
            if stream then
              held[#held + 1] = stream
            elseif err.code == "CLOSED" then
              break
            else
              assert(err.code == "EMFILE", tostring(err))
            end
          end
          print(ticks >= 10)
          let_go()
          held[1]:close()
        end)
      ]], FEW)
      assert.equal("true\n", output)
    end)

    it("connect and bind are EMFILE, returned", function()
      local output = tcp.child([[
        local sockets = {}
        while true do
          local socket, err = TcpSocket.new_v4()
          if not socket then
            print(err.code)
            break
          end
          sockets[#sockets + 1] = socket
        end
        print(select(2, TcpStream.connect "127.0.0.1:1").code, select(2, TcpListener.bind "127.0.0.1:0").code)
        table.remove(sockets):close()
        print(assert(TcpListener.bind "127.0.0.1:0"):local_addr():ip())
      ]], FEW)
      assert.equal("EMFILE\nEMFILE\tEMFILE\n127.0.0.1\n", output)
    end)
  end)

  describe("from_fd", function()
    it("adopts a listener that into_fd gave up, with who waits in it", in_task(function()
      local listener = tcp.listener()
      local address = listener:local_addr()
      local client <close> = assert(TcpStream.connect(address))
      local fd = listener:into_fd()
      assert.equal("integer", math.type(fd))
      assert.is_true(listener:closed())
      fails("CLOSED", listener:accept())
      local again <close> = assert(TcpListener.from_fd(fd))
      assert.equal(address, again:local_addr())
      local server <close> = assert(again:accept())
      assert.equal(client:local_addr(), server:peer_addr())
    end))

    it("refuses a socket that does not listen", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      local fd = client:into_fd()
      fails("EINVAL", TcpListener.from_fd(fd))
      local again <close> = assert(TcpStream.from_fd(fd))
      assert.is_true(again:peer_addr():is_loopback())
    end))

    it("refuses a listener that another object owns: it would be closed twice (F27)", function()
      local listener <close> = tcp.listener()
      local second, err = TcpListener.from_fd(listener:fd())
      if second then
        second:into_fd() -- so that nothing is closed twice here
      end
      fails("EEXIST EBUSY EINVAL", second, err)
    end)
  end)

  describe("listen_fds", function()
    it("is empty without the variables, or with those of another process", function()
      local source = [[
        local list = assert(tcpnet.listen_fds())
        print(#list)
      ]]
      assert.equal("0\n", (tcp.child(source, [[unset LISTEN_FDS LISTEN_PID; exec "$LUA" "$SCRIPT"]])))
      assert.equal("0\n", (tcp.child(source, [[export LISTEN_FDS=1 LISTEN_PID=1; exec "$LUA" "$SCRIPT"]])))
      assert.equal("0\n", (tcp.child(source, [[export LISTEN_FDS=1; unset LISTEN_PID; exec "$LUA" "$SCRIPT"]])))
      assert.equal("0\n", (tcp.child(source, [[export LISTEN_PID=$$; unset LISTEN_FDS; exec "$LUA" "$SCRIPT"]])))
      assert.equal("0\n", (tcp.child(source, [[export LISTEN_PID=$$ LISTEN_FDS=x; exec "$LUA" "$SCRIPT"]])))
      assert.equal("0\n", (tcp.child(source, [[export LISTEN_PID=$$ LISTEN_FDS=0; exec "$LUA" "$SCRIPT"]])))
    end)

    it("is an error where a descriptor is no listener", function()
      local output = tcp.child([[
        local list, err = tcpnet.listen_fds()
        print(list, tcpnet.is_error(err) and err.code)
      ]], [[exec 3</etc/passwd; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$LUA" "$SCRIPT"]])
      assert.equal("nil\tENOTSOCK\n", output)
    end)

    it("takes none where one is no listener: each may still be had by itself", in_task(function()
      local folder <close> = program.folder()
      local script = program.write(folder.path .. "/script.lua", [[
        local tcpnet = require "tcpnet"
        for _ = 1, 2 do
          local list, err = tcpnet.listen_fds()
          print(list, err.code, err.op)
          collectgarbage()
          collectgarbage()
        end
        print(tcpnet.TcpListener.from_fd(3):local_addr())
      ]])
      local listener = tcp.listener()
      local address = tostring(listener:local_addr())
      local child <close> = assert(tcpnet.process.spawn { "sh", "-c", ([[
        exec 3<&0 4</etc/passwd; export LISTEN_PID=$$ LISTEN_FDS=2; exec %s %s
      ]]):format(program.quote(program.interpreter), program.quote(script)), stdin = listener, stdout = "pipe" })
      local output <close> = child.stdout
      assert.equal(("nil\tENOTSOCK\tlisten_fds\n"):rep(2) .. address .. "\n", output:read_to_end())
    end))

    it("gives the listeners that systemd-socket-activate passes", function()
      if not tcp.can "command -v systemd-socket-activate" then
        return pending "needs systemd-socket-activate"
      end
      local ports
      do
        local one <close> = tcp.listener()
        local two <close> = tcp.listener()
        ports = { one:local_addr():port(), two:local_addr():port() }
      end
      tcp.with_script([[
        local listeners = assert(tcpnet.listen_fds())
        local stream = assert(listeners[2]:accept())
        local flags = tonumber(io.open("/proc/self/fdinfo/3"):read("a"):match "flags:%s*(%d+)", 8)
        stream:write(#listeners, " ", listeners[1]:local_addr():port(), " ", listeners[2]:local_addr():port(), " ",
          flags & tonumber("2004000", 8) == tonumber("2004000", 8) and "close-on-exec" or "inherited")
        stream:close()
      ]], function(script)
        local activate = assert(io.popen(([[
          timeout -k 1 20 systemd-socket-activate -l 127.0.0.1:%d -l 127.0.0.1:%d -E LUA_PATH -E LUA_CPATH \
            -E LUA_PATH_5_4 -E LUA_CPATH_5_4 -E LD_PRELOAD -E ASAN_OPTIONS "%s" "%s" 2>/dev/null]]):format(
          ports[1], ports[2], program.interpreter, script), "w"))
        local stream
        for _ = 1, 200 do
          stream = TcpStream.connect("127.0.0.1", ports[2])
          if stream then
            break
          end
          tcpnet.sleep(0.02)
        end
        assert(stream, "systemd-socket-activate does not listen")
        stream:set_timeout(10)
        local answer = stream:read_to_end()
        stream:close()
        activate:close()
        assert.equal(("2 %d %d close-on-exec"):format(ports[1], ports[2]), answer)
      end)
    end)
  end)

  describe("closing", function()
    it("twice is fine; everything then answers CLOSED (F29)", function()
      local listener = tcp.listener()
      listener:close()
      listener:close()
      assert.is_true(listener:closed())
      assert.matches("^TcpListener %(closed", tostring(listener))
      fails("CLOSED", listener:accept())
      fails("CLOSED", listener:try_accept())
      fails("CLOSED", listener:local_addr())
      fails("CLOSED", listener:ttl())
      fails("CLOSED", listener:set_ttl(1))
      fails("CLOSED", listener:fd())
      fails("CLOSED", listener:into_fd())
      fails("CLOSED", listener:set_accept_options { nodelay = true })
    end)

    it("refuses who waited in the queue, and who comes later", in_task(function()
      local listener = tcp.listener()
      local address = listener:local_addr()
      local client <close> = assert(TcpStream.connect(address))
      listener:close()
      fails("ECONNRESET", client:read())
      fails("ECONNREFUSED", TcpStream.connect(address))
    end))

    it("leaves accepted streams alone, collection too", in_task(function()
      local listener = tcp.listener()
      local client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      listener = nil
      collectgarbage()
      collectgarbage()
      server:write "x"
      assert.equal("x", client:read())
      assert.is_nil(listener)
    end))

    it("a listener lives while a task waits in it, whoever else dropped it (F1)", in_task(function()
      local listener = tcp.listener()
      local address = listener:local_addr()
      local task = tcpnet.spawn(function(object)
        return object:accept()
      end, listener)
      listener = nil
      tcpnet.yield()
      collectgarbage()
      collectgarbage()
      local client <close> = assert(TcpStream.connect(address))
      local ok, server = task:join(5)
      assert.is_true(ok)
      assert.equal(client:local_addr(), server:peer_addr())
      server:close()
      assert.is_nil(listener)
    end))
  end)
end)
