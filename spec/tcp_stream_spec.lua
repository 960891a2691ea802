-- TcpStream: connecting, options, timeouts, readiness, closing. Reading and writing have files of their own.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local TcpSocket, TcpStream = tcpnet.TcpSocket, tcpnet.TcpStream
local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

-- Runs a script where the name "several" has the addresses of a list and `both` those of both families → its output,
-- or nil where a file cannot be mounted over /etc/hosts.
local function with_names(hosts, source)
  if not tcp.can "unshare -m true" then
    return nil
  end
  local names = os.tmpname()
  local file = assert(io.open(names, "w"))
  file:write("127.0.0.1 localhost\n", hosts)
  file:close()
  local output, status = tcp.child(source, ([[unshare -m sh -c "mount --bind %s /etc/hosts && exec $LUA $SCRIPT"]])
    :format(names))
  os.remove(names)
  return output, status
end

-- Children's functions: a listener that answers, and one that does not answer at all, on one port.
local SILENT = [[
local function silent(address)
  address = assert(tcpnet.SocketAddr.parse(address))
  local socket = assert(address:is_ipv6() and TcpSocket.new_v6() or TcpSocket.new_v4())
  local listener = assert(assert(socket:bind(address)):listen(1))
  local waiting = {}
  while true do
    local stream, err = TcpStream.connect(listener:local_addr(), { timeout = 0.05 })
    if not stream then
      assert(err.code == "TIMEOUT", tostring(err))
      return listener, waiting
    end
    waiting[#waiting + 1] = stream
  end
end
]]

describe("TcpStream", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("connect", function()
    it("by address: each side's local_addr is the other's peer_addr (B4)", in_task(function()
      for _, address in ipairs { "127.0.0.1:0", "[::1]:0" } do
        local listener <close> = tcp.listener(address)
        local client <close> = assert(TcpStream.connect(listener:local_addr()))
        local server <close>, from = listener:accept()
        assert(server, from)
        assert.equal(client:local_addr(), server:peer_addr())
        assert.equal(server:local_addr(), client:peer_addr())
        assert.equal(from, server:peer_addr())
        assert.equal(listener:local_addr(), client:peer_addr())
        assert.is_nil(client:take_error())
      end
    end))

    it("takes text, host and port, a name, a SocketAddr", in_task(function()
      local listener <close> = tcp.listener()
      local port = listener:local_addr():port()
      for _, target in ipairs {
        { ("127.0.0.1:%d"):format(port) }, { "127.0.0.1", port }, { ("localhost:%d"):format(port) },
        { "localhost", port }, { listener:local_addr() }, { "127.0.0.1", port, {} },
        { "127.0.0.1", port, { nodelay = true } }, { "localhost", port, { timeout = 5 } },
      } do
        local client <close> = assert(TcpStream.connect(table.unpack(target)))
        assert.equal(port, client:peer_addr():port())
      end
    end))

    it("outside every task needs none", function()
      local client, server, _guard <close> = tcp.pair()
      client:write "two lines suffice\n"
      assert.equal("two lines suffice", server:read_line())
    end)

    it("refused is ECONNREFUSED, returned and not raised (FIELD 15)", in_task(function()
      local address = tcp.refusing_address()
      local err = fails("ECONNREFUSED", TcpStream.connect(address))
      assert.equal("connect", err.op)
      assert.equal(address, err.address)
      assert.matches("tcp_stream_spec.lua:%d+", err.where)
      assert.equal("failed: " .. tostring(err), "failed: " .. err)
    end))

    it("to one who does not answer is TIMEOUT, not the kernel's ETIMEDOUT (FIELD 17, 25)", in_task(function()
      local listener <close>, _waiting = tcp.silent_listener()
      local address = listener:local_addr()
      local err = fails("TIMEOUT", TcpStream.connect(address, { timeout = 0.02 }))
      assert.equal("connect", err.op)
      assert.equal(tostring(address), err.address)
      err = fails("TIMEOUT", TcpStream.connect("localhost", address:port(), { timeout = 0.02 }))
      assert.equal("connect", err.op)
    end))

    it("cancelled leaves neither descriptor nor handle (F9)", in_task(function()
      local listener <close>, _waiting = tcp.silent_listener()
      local handles = tcpnet.metrics().sources
      for _ = 1, 10 do
        local task = tcpnet.spawn(TcpStream.connect, listener:local_addr())
        tcpnet.sleep(0.001)
        assert.equal("waiting", task:status())
        assert.is_true(task:cancel())
        fails("CANCELED", task:join())
      end
      fails("TIMEOUT", tcpnet.timeout(0.005, TcpStream.connect, "localhost", listener:local_addr():port()))
      for _ = 1, 2 do
        collectgarbage()
      end
      assert.equal(handles, tcpnet.metrics().sources)
    end))

    it("to a name that does not exist is an EAI_ error", in_task(function()
      local _, err = TcpStream.connect("no-such-name.invalid", 80)
      assert.is_true(tcpnet.is_error(err))
      assert.matches("^EAI_", err.code)
    end))

    it("refuses what is cut or guessed elsewhere (F50)", in_task(function()
      for _, wrong in ipairs {
        "127.0.0.1\0evil:80", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:", "127.0.0.1", "", ":80", "[::1", "::1:x",
        "[fe80::1%nosuchdevice]:80", ("x"):rep(300) .. ":80",
      } do
        local called, value = pcall(TcpStream.connect, wrong, { timeout = 1 })
        assert.is_true(not called or value == nil, ("%q was accepted"):format(wrong))
      end
    end))

    it("tries several addresses until one answers (FIELD 45, 47)", function()
      local output = with_names("127.0.0.2 several\n127.0.0.3 several\n127.0.0.4 several\n", [[
        local found = assert(tcpnet.lookup_host("several", 1))
        assert(#found == 3, #found)
        for i = 1, 3 do
          local listener = assert(TcpListener.bind(found[i]:ip(), 0))
          local port = listener:local_addr():port()
          local stream = assert(TcpStream.connect("several", port))
          print(stream:peer_addr():ip() == found[i]:ip())
          listener:close()
          stream, err = TcpStream.connect("several", port)
          print(stream, err.code, err.address == found[3]:ip() .. ":" .. port)
        end
      ]])
      if not output then
        return pending "needs the right to mount"
      end
      assert.equal(("true\nnil\tECONNREFUSED\ttrue\n"):rep(3), output)
    end)

    it("to a name of both families finds the one that listens", function()
      local output = with_names("127.0.0.1 both\n::1 both\n", [[
        local found = assert(tcpnet.lookup_host("both", 1))
        assert(#found == 2, #found)
        for _, text in ipairs { "127.0.0.1", "::1" } do
          for _, opts in ipairs { {}, { happy_eyeballs = false }, { happy_eyeballs = true }, { timeout = 5 } } do
            local listener = assert(TcpListener.bind(text, 0))
            local stream = assert(TcpStream.connect("both", listener:local_addr():port(), opts))
            print(stream:peer_addr():ip() == text)
            listener:close()
          end
        end
        local stream, err = TcpStream.connect("both", 1)
        local last = tcpnet.SocketAddr.new(found[2]:ip(), 1)
        print(stream, err.code, err.address == tostring(last))
      ]])
      if not output then
        return pending "needs the right to mount"
      end
      assert.equal(("true\n"):rep(8) .. "nil\tECONNREFUSED\ttrue\n", output)
    end)

    it("to a name of both families does not wait for the first that does not answer", function()
      local output = with_names("127.0.0.1 both\n::1 both\n", SILENT .. [[
        local found = assert(tcpnet.lookup_host("both", 0))
        local first, second = found[1], found[2]
        assert(first:family() ~= second:family())
        local listener, waiting = silent(tostring(first))
        local port = listener:local_addr():port()
        local answering = assert(TcpListener.bind(second:ip(), port))
        tcpnet.run(function()
          local begun = tcpnet.now()
          local stream = assert(TcpStream.connect("both", port, { timeout = 5, nodelay = true }))
          print(stream:peer_addr():ip() == second:ip(), stream:nodelay(), tcpnet.now() - begun >= 0.2)
          stream:close()
          stream, err = TcpStream.connect("both", port, { timeout = 0.4, happy_eyeballs = false })
          print(stream, err.code, err.op)
          collectgarbage() collectgarbage()
          tcpnet.sleep(0.01)
          print(tcpnet.metrics().tasks)
        end)
      ]])
      if not output then
        return pending "needs the right to mount"
      end
      assert.equal("true\ttrue\ttrue\nnil\tTIMEOUT\tconnect\n1\n", output)
    end)

    it("to two addresses of one family that do not answer obeys its timeout as a whole", function()
      local output = with_names("127.0.0.2 several\n127.0.0.3 several\n", SILENT .. [[
        local one, keep_one = silent "127.0.0.2:0"
        local two, keep_two = silent("127.0.0.3:" .. one:local_addr():port())
        local stream, err = TcpStream.connect("several", one:local_addr():port(), { timeout = 0.1 })
        print(stream, err.code, err.op)
      ]])
      if not output then
        return pending "needs the right to mount"
      end
      assert.equal("nil\tTIMEOUT\tconnect\n", output)
    end)

    it("to a net without a route is ENETUNREACH", function()
      if not tcp.can "unshare -n true" then
        return pending "needs network namespaces"
      end
      local output = tcp.child([[
        local stream, err = TcpStream.connect("192.0.2.1:80", { timeout = 5 })
        print(stream, err.code)
      ]], [[unshare -n "$LUA" "$SCRIPT"]])
      assert.equal("nil\tENETUNREACH\n", output)
    end)

    it("to a host that swallows everything is TIMEOUT, and can be cancelled (F9)", function()
      if not tcp.can "unshare -n ip link add black type veth peer name hole" then
        return pending "needs network namespaces"
      end
      local output = tcp.child([[
        local stream, err = TcpStream.connect("192.0.2.77:80", { timeout = 0.05 })
        print(stream, err.code, err.address)
        stream, err = tcpnet.timeout(0.05, TcpStream.connect, "192.0.2.77:80")
        print(stream, err.code, err.op)
      ]], [[unshare -n sh -c "ip link add black type veth peer name hole
            ip address add 192.0.2.1/24 dev black
            ip link set black up; ip link set hole up
            ip neighbour replace 192.0.2.77 lladdr 02:00:00:00:00:77 dev black
            exec $LUA $SCRIPT"]])
      assert.equal("nil\tTIMEOUT\t192.0.2.77:80\nnil\tTIMEOUT\ttimeout\n", output)
    end)
  end)

  describe("connect's options:", function()
    it("any socket option by name, set before the connection is made", in_task(function()
      local listener <close> = tcp.listener()
      local client <close> = assert(TcpStream.connect(listener:local_addr(), {
        nodelay = true, keepalive = true, recv_buffer_size = 4096, send_buffer_size = 4096, linger = 3, tos_v4 = 0x10,
        ttl = 17,
      }))
      assert.is_true(client:nodelay())
      assert.is_true(client:keepalive())
      assert.equal(3, client:linger())
      assert.equal(0x10, client:tos_v4())
      assert.equal(17, client:ttl())
      if tcp.can "test -e /proc/self" then
        assert.equal(8192, client:recv_buffer_size())
        assert.equal(8192, client:send_buffer_size())
      end
      client:set_linger(nil)
    end))

    it("local_addr", in_task(function()
      local listener <close> = tcp.listener()
      local client <close> = assert(TcpStream.connect(listener:local_addr(), { local_addr = "127.0.0.1:0" }))
      assert.equal("127.0.0.1", client:local_addr():ip())
      local port
      do
        local free <close> = tcp.listener()
        port = free:local_addr():port()
      end
      local chosen <close> = assert(TcpStream.connect(listener:local_addr(), {
        local_addr = ("127.0.0.1:%d"):format(port), reuseaddr = true,
      }))
      assert.equal(port, chosen:local_addr():port())
    end))

    it("a local_addr that cannot be bound is returned", in_task(function()
      local listener <close> = tcp.listener()
      local err = fails("EADDRNOTAVAIL", TcpStream.connect(listener:local_addr(), { local_addr = "192.0.2.1:0" }))
      assert.equal("bind", err.op)
    end))

    it("unknown ones raise and name it (F30)", in_task(function()
      local listener <close> = tcp.listener()
      for _, name in ipairs { "no_delay", "connect", "close", "timeouts" } do
        local ok, message = pcall(TcpStream.connect, listener:local_addr(), { [name] = true })
        assert.is_false(ok, name .. " was accepted")
        assert.matches(name, tostring(message), 1, true)
      end
      assert.has_error(function() TcpStream.connect(listener:local_addr(), { [1] = true }) end)
    end))

    it("values of the wrong type raise (F30)", in_task(function()
      local listener <close> = tcp.listener()
      local accepted = {}
      for name, wrong in pairs {
        nodelay = 1, keepalive = "yes", recv_buffer_size = "4096", timeout = "1", linger = -1, happy_eyeballs = "no",
        send_buffer_size = 0.5, local_addr = 5,
      } do
        if pcall(TcpStream.connect, listener:local_addr(), { [name] = wrong }) then
          accepted[#accepted + 1] = name
        end
      end
      assert.same({}, accepted)
      for _, wrong in ipairs { -1, 0 / 0 } do
        assert.has_error(function() TcpStream.connect(listener:local_addr(), { timeout = wrong }) end)
      end
      for _, wrong in ipairs { true, print, "x" } do
        assert.has_error(function() TcpStream.connect("127.0.0.1", 1, wrong) end)
      end
    end))

    it("the table is left as it was", in_task(function()
      local listener <close> = tcp.listener()
      local opts = { timeout = 5, nodelay = true, local_addr = "127.0.0.1:0" }
      local client <close> = assert(TcpStream.connect(listener:local_addr(), opts))
      assert.same({ timeout = 5, nodelay = true, local_addr = "127.0.0.1:0" }, opts)
      assert.is_false(client:closed())
    end))
  end)

  describe("options at any time:", function()
    it("nodelay, keepalive, ttl", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert.equal(client, client:set_nodelay(true))
      assert.is_true(client:nodelay())
      assert.equal(client, client:set_nodelay(false))
      assert.is_false(client:nodelay())
      assert.equal(client, client:set_ttl(5))
      assert.equal(5, client:ttl())
      assert.equal(client, client:set_keepalive(true))
      assert.is_true(client:keepalive())
      assert.has_error(function() client:set_ttl(256) end)
      assert.has_error(function() client:set_ttl(-1) end)
    end))

    it("linger 1 s, zero, none read so (B24)", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert.equal(1, client:set_linger(1):linger())
      assert.equal(0, client:set_zero_linger():linger())
      assert.is_nil(client:set_linger(nil):linger())
    end))

    it("quickack follows each set, and the transfer does not mind (B25)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local ok, err = client:set_quickack(true)
      if not ok then
        fails("ENOTSUP", ok, err)
        return
      end
      assert.is_true(client:quickack())
      server:write "x"
      assert.equal("x", client:read())
      assert.equal(client, client:set_quickack(false))
      assert.is_false(client:quickack())
      server:write "y"
      assert.equal("y", client:read())
    end))
  end)

  describe("timeouts", function()
    it("are nil at first, set and read one by one, and chain", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert.is_nil(client:timeout())
      assert.is_nil(client:read_timeout())
      assert.is_nil(client:write_timeout())
      assert.equal(client, client:set_read_timeout(1.5))
      assert.equal(1.5, client:read_timeout())
      assert.is_nil(client:write_timeout())
      assert.equal(client, client:set_write_timeout(2))
      assert.equal(2, client:write_timeout())
      assert.equal(1.5, client:read_timeout())
      assert.equal(client, client:set_read_timeout(nil):set_write_timeout(nil))
      assert.is_nil(client:read_timeout())
    end))

    it("set_timeout sets both ways", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert.equal(client, client:set_timeout(0.02))
      assert.equal(0.02, client:read_timeout())
      assert.equal(0.02, client:write_timeout())
      assert.equal(0.02, client:timeout())
      fails("TIMEOUT", client:read())
      tcp.fill(client)
      fails("TIMEOUT", client:write(("x"):rep(1 << 20)))
      client:set_timeout(nil)
      assert.is_nil(client:read_timeout())
      assert.is_nil(client:write_timeout())
    end))

    it("of one direction leave the other without a limit (FIELD 31)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:set_write_timeout(0.01)
      tcpnet.spawn(function()
        tcpnet.sleep(0.05)
        server:write "late"
      end)
      assert.equal("late", client:read())
    end))

    it("raise on what is no time; huge means never (F31, F32)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _, wrong in ipairs { -1, -0.001, 0 / 0, "1", true, {} } do
        assert.has_error(function() client:set_timeout(wrong) end)
        assert.has_error(function() client:set_read_timeout(wrong) end)
        assert.has_error(function() client:set_write_timeout(wrong) end)
      end
      for _, long in ipairs { math.huge, 1e300, 2 ^ 53, math.maxinteger } do
        client:set_timeout(long)
        tcpnet.spawn(server.write, server, "x")
        assert.equal("x", client:read())
      end
    end))
  end)

  describe("readiness:", function()
    it("readable waits with nothing there and is ready with bytes (B34, B35)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.is_true(waits(server.readable, server))
      client:write "1234"
      assert(server:readable())
      assert(server:readable())
      assert.equal("1234", server:read_exact(4))
      fails("EAGAIN", server:try_read())
      assert.is_true(waits(server.readable, server))
      client:write "again"
      assert(server:readable())
    end))

    it("readable is ready when the peer goes (B36)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.readable, server)
      tcpnet.yield()
      client:close()
      assert.is_true((task:join(5)))
    end))

    it("writable is ready on a new stream, and when a full peer goes (B37, B38)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:writable())
      tcp.fill(client)
      assert.is_true(waits(client.writable, client))
      local task = tcpnet.spawn(client.writable, client)
      tcpnet.yield()
      server:close()
      assert.is_true((task:join(5)))
    end))

    it("ready tells read_closed once the peer is gone (B33)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:close()
      local closed
      for _ = 1, 100 do
        closed = assert(server:ready "r"):is_read_closed()
        if closed then
          break
        end
        tcpnet.sleep(0.005)
      end
      assert.is_true(closed)
    end))

    it("ready tells read_closed after the peer's shutdown, not before (B132, B147)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.is_false(assert(server:ready "rw"):is_read_closed())
      client:shutdown()
      assert.is_true(assert(server:ready "r"):is_read_closed())
    end))

    it("ready does not tell read_closed of one who is there (B39)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x"
      local ready = assert(server:ready "r")
      assert.is_true(ready:is_readable())
      assert.is_false(ready:is_read_closed())
      assert.is_false(ready:is_error())
    end))

    it("ready does not tell write_closed of a full stream that drains (B40)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local total = tcp.fill(client)
      tcpnet.spawn(server.read_exact, server, total)
      local ready = assert(client:ready "w")
      assert.is_true(ready:is_writable())
      assert.is_false(ready:is_write_closed())
    end))

    it("ready takes r, w and rw, and nothing else", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.is_true(assert(client:ready "rw"):is_writable())
      assert.is_false(assert(client:ready "w"):is_readable())
      server:write "x"
      assert.is_true(assert(client:ready "r"):is_readable())
      for _, wrong in ipairs { "", "x", "rwx", 1, true, {} } do
        assert.has_error(function() client:ready(wrong) end)
      end
      assert.has_error(function() client:ready() end)
    end))

    it("take_error gives the reset once", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(server)
      assert(client:readable())
      local err = client:take_error()
      assert.is_true(tcpnet.is_error(err, "ECONNRESET"))
      assert.is_nil(client:take_error())
    end))

    it("several tasks may wait for it on one stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local tasks = {}
      for i = 1, 5 do
        tasks[i] = tcpnet.spawn(server.readable, server)
      end
      tcpnet.yield()
      client:write "x"
      for i = 1, 5 do
        assert.is_true((tasks[i]:join(5)))
      end
    end))

    it("try_io for writing runs its function no more once it answered EAGAIN (B93)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local _, again = server:try_read()
      assert(client:writable())
      local runs = 0
      local function attempt(...)
        local results = table.pack(...)
        return client:try_io("w", function()
          runs = runs + 1
          return table.unpack(results, 1, results.n)
        end)
      end
      assert.equal(1, attempt(1))
      fails("EAGAIN", attempt(nil, again))
      assert.equal(2, runs)
      fails("EAGAIN", attempt(1))
      assert.equal(2, runs)
    end))

    it("try_io for reading runs its function neither before there is something nor after (B94)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local runs = 0
      local function attempt()
        return server:try_io("r", function()
          runs = runs + 1
          return server:try_read(1)
        end)
      end
      fails("EAGAIN", attempt())
      client:write "ab"
      assert(server:readable())
      runs = 0
      assert.equal("a", attempt())
      assert.equal("b", attempt())
      fails("EAGAIN", attempt())
      local after = runs
      fails("EAGAIN", attempt())
      assert.equal(after, runs)
      client:write "c"
      assert(server:readable())
      assert.equal("c", attempt())
      local _, again = client:try_read()
      client:write "d"
      assert(server:readable())
      runs = 0
      for _ = 1, 2 do -- though there is a byte
        fails("EAGAIN", server:try_io("r", function()
          runs = runs + 1
          return nil, again
        end))
      end
      assert.equal(1, runs)
    end))

    it("try_io gives all results of its function, and its errors pass", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert(client:writable())
      assert.same({ 1, 2, 3 }, { client:try_io("w", function() return 1, 2, 3 end) })
      local ok, value = pcall(client.try_io, client, "w", function() error({ mine = true }) end)
      assert.is_false(ok)
      assert.is_true(value.mine)
      assert.has_error(function() client:try_io("w") end)
    end))

    it("async_io calls its function until it does not answer EAGAIN", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        client:write "hello"
      end)
      assert.equal("hello", server:async_io("r", function() return server:try_read() end))
    end))
  end)

  it("who waits does not spin: the reactor turns a few times only", in_task(function()
    local client, _, _guard <close> = tcp.pair()
    client:set_read_timeout(0.15)
    local before = tcpnet.metrics().polls
    for _ = 1, 3 do
      fails("TIMEOUT", client:read())
    end
    assert.is_true(tcpnet.metrics().polls - before < 100, "the reactor spins")
  end))

  describe("closing", function()
    it("while another task waits ends that wait with CLOSED, once (F5, FIELD 32, 33)", in_task(function()
      for _, call in ipairs {
        { "read" }, { "read_exact", 10 }, { "read_line" }, { "read_to_end" }, { "peek" }, { "readable" },
        { "ready", "r" },
      } do
        local client, server, _guard <close> = tcp.pair()
        local name = call[1]
        local task = tcpnet.spawn(server[name], server, call[2])
        tcpnet.yield()
        assert.equal("waiting", task:status())
        server:close()
        local ok, value, err = task:join(5)
        assert.is_true(ok, name)
        fails("CLOSED", value, err)
        assert.is_false(client:closed())
      end
    end))

    it("while writes wait ends them all with CLOSED and what they sent (F5)", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      tcp.fill(client)
      local one = tcpnet.spawn(client.write, client, "one")
      local two = tcpnet.spawn(client.write, client, "two")
      local three = tcpnet.spawn(client.writable, client)
      tcpnet.yield()
      client:close()
      for _, task in ipairs { one, two } do
        local ok, total, err, sent = task:join(5)
        assert.is_true(ok)
        fails("CLOSED", total, err)
        assert.equal(0, sent)
      end
      local ok, value, err = three:join(5)
      assert.is_true(ok)
      fails("CLOSED", value, err)
    end))

    it("twice is fine; everything then answers CLOSED (F29)", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      client:close()
      client:close()
      assert.is_true(client:closed())
      assert.matches("^TcpStream %(closed", tostring(client))
      local buffer = tcpnet.Buffer.new(4)
      buffer:append "x"
      for _, call in ipairs {
        { "read" }, { "read_exact", 1 }, { "read_line" }, { "read_until", "x" }, { "read_to_end" }, { "peek" },
        { "read_into", tcpnet.Buffer.new(4) }, { "write", "x" }, { "write_some", "x" }, { "write_from", buffer },
        { "write_vectored", { "x" } }, { "try_read" }, { "try_read_into", tcpnet.Buffer.new(4) },
        { "try_read_vectored", { tcpnet.Buffer.new(4) } }, { "try_write", "x" }, { "try_write_vectored", { "x" } },
        { "ready", "r" }, { "readable" }, { "writable" }, { "shutdown" }, { "finish" }, { "reset" }, { "nodelay" },
        { "set_nodelay", true }, { "linger" }, { "local_addr" }, { "peer_addr" }, { "take_error" }, { "fd" },
        { "into_fd" }, { "split" }, { "into_split" }, { "try_io", "r", print }, { "async_io", "r", print },
      } do
        local name = call[1]
        local called, value, err = pcall(client[name], client, table.unpack(call, 2))
        assert.is_true(called, name .. " raised: " .. tostring(value))
        assert.is_true(name == "take_error" and tcpnet.is_error(value or err, "CLOSED")
          or value == nil and tcpnet.is_error(err, "CLOSED"), name .. " does not answer CLOSED")
      end
    end))

    it("by a to-be-closed variable", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      do
        local scoped <close> = client
        scoped:write "bye"
      end
      assert.is_true(client:closed())
      assert.equal("bye", server:read_to_end())
    end))

    it("by collection", in_task(function()
      local client, server = tcp.pair()
      server:write "x"
      server = nil
      collectgarbage()
      collectgarbage()
      assert.equal("x", client:read_to_end())
      assert.is_nil(server)
      client:close()
    end))

    it("and reuse of the descriptor's number in one turn reaches nobody else (F26)", in_task(function()
      for _ = 1, 100 do
        local one, other, _guard <close> = tcp.pair()
        local late = tcpnet.spawn(other.read, other)
        tcpnet.yield()
        one:write "for the old one"
        other:close()
        local two, fresh, _second <close> = tcp.pair()
        local ok, bytes, err = late:join(5)
        assert.is_true(ok)
        fails("CLOSED", bytes, err)
        two:write "new"
        assert.equal("new", fresh:read())
      end
    end))

    it("tostring tells kind, state, addresses and descriptor", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      local text = tostring(client)
      assert.matches("^TcpStream", text)
      for _, part in ipairs { tostring(client:local_addr()), tostring(client:peer_addr()), tostring(client:fd()) } do
        assert.is_truthy(text:find(part, 1, true), text)
      end
    end))
  end)

  describe("into_fd", function()
    it("and from_fd carry a connection over; bytes before and after arrive (B41)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:write "twelve bytes")
      local fd = client:into_fd()
      assert.is_true(client:closed())
      fails("CLOSED", client:write "x")
      client:close()
      local again <close> = assert(TcpStream.from_fd(fd))
      assert(again:write "twelve again")
      assert.equal("twelve bytestwelve again", server:read_exact(24))
      server:write "back"
      assert.equal("back", again:read())
    end))

    it("is EBUSY while buffered bytes would be lost; into_fd(true) gives them", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      fails("EBUSY", server:into_fd())
      assert.is_false(server:closed())
      assert.equal("r", server:read(1))
      fails("EBUSY", server:into_fd(false))
      local fd, bytes = server:into_fd(true)
      assert.equal("integer", math.type(fd))
      assert.equal("est", bytes)
      local again <close> = assert(TcpStream.from_fd(fd))
      client:write "more"
      assert.equal("more", again:read())
    end))

    it("ends the wait of another task with CLOSED", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.read, server)
      tcpnet.yield()
      local fd, refused = server:into_fd()
      if not fd then
        fails("EBUSY", fd, refused)
        return
      end
      local ok, bytes, err = task:join(5)
      assert.is_true(ok)
      fails("CLOSED", bytes, err)
      local again <close> = assert(TcpStream.from_fd(fd))
      client:write "x"
      assert.equal("x", again:read())
    end))

    it("from_fd refuses a socket that is not connected", function()
      local socket <close> = assert(TcpSocket.new_v4())
      local value, err = TcpStream.from_fd(socket:fd())
      assert.is_nil(value)
      assert.is_true(tcpnet.is_error(err))
    end)

    it("from_fd refuses a stream that another object owns: it would be closed twice (F27)", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      local second, err = TcpStream.from_fd(client:fd())
      if second then
        second:into_fd() -- so that nothing is closed twice here
      end
      fails("EEXIST EBUSY EINVAL", second, err)
    end))
  end)

  it("leaving a script with streams open and tasks waiting is clean", function()
    for _, ending in ipairs { "", "os.exit(0, true)", "os.exit(0)" } do
      local output, status = tcp.child([[
        local listener = assert(TcpListener.bind "127.0.0.1:0")
        local client = assert(TcpStream.connect(listener:local_addr()))
        local server = assert(listener:accept())
        tcpnet.spawn(server.read, server)
        tcpnet.spawn(client.write, client, ("x"):rep(1 << 24))
        tcpnet.spawn(listener.accept, listener)
        tcpnet.step(0)
        print "end"
      ]] .. ending)
      assert.equal("end\n", output)
      assert.equal(0, status)
    end
  end)
end)
