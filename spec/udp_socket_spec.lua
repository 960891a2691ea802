-- UdpSocket: binding, connecting, each way to send and to receive, batches, multicast, errors of the network.
local leaks = require "spec.support.leaks"
local ledger = require "spec.support.ledger"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"
local udp = require "spec.support.udp"

local UdpSocket, SocketAddr, Buffer = tcpnet.UdpSocket, tcpnet.SocketAddr, tcpnet.Buffer
local fails, raises, in_task, guard = tcp.fails, tcp.raises, tcp.in_task, tcp.guard
local bound, connected = udp.bound, udp.connected

-- Two sockets that are not connected → a, b, guard of both
local function unconnected(address)
  local a, b = bound(address), bound(address)
  return a, b, guard(a, b)
end

-- A connected socket whose peer has gone.
local function deserted()
  local socket = bound()
  local peer <close> = bound()
  assert(socket:connect(peer:local_addr()))
  return socket
end

-- How many descriptors this process has open; 0 where the system does not tell.
local function descriptors()
  local count = 0
  for _ in pairs(ledger.descriptors() or {}) do
    count = count + 1
  end
  return count
end

describe("UdpSocket.bind", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for what, arguments in pairs {
    ["text"] = { "127.0.0.1:0" },
    ["host and port"] = { "127.0.0.1", 0 },
    ["a SocketAddr"] = { SocketAddr.new("127.0.0.1", 0) },
    ["options behind the text"] = { "127.0.0.1:0", { reuseaddr = true } },
    ["options behind the port"] = { "127.0.0.1", 0, { reuseaddr = true } },
  } do
    it("takes " .. what, in_task(function()
      local socket <close> = assert(UdpSocket.bind(table.unpack(arguments)))
      assert.equal("127.0.0.1", socket:local_addr():ip())
      assert.is_true(socket:local_addr():port() > 0)
      assert.equal("integer", math.type(socket:local_addr():port()))
      assert.equal(type(arguments[#arguments]) == "table", socket:reuseaddr())
    end))
  end

  it("fails on a port that is taken, and names it", in_task(function()
    local socket <close> = bound "127.0.0.1:0"
    local err = fails("EADDRINUSE", UdpSocket.bind(tostring(socket:local_addr())))
    assert.equal("bind", err.op)
    assert.equal(tostring(socket:local_addr()), err.address)
  end))

  it("takes a name, the first of whose addresses can be bound", in_task(function()
    local socket <close> = assert(UdpSocket.bind("localhost", 0))
    assert.is_true(socket:local_addr():is_loopback())
    local other <close> = assert(UdpSocket.bind "localhost:0")
    assert.is_true(other:local_addr():is_loopback())
  end))

  it("takes IPv6", in_task(function()
    local socket <close> = bound "[::1]:0"
    assert.equal("inet6", socket:local_addr():family())
    assert.matches("^UdpSocket %(%[::1%]:%d+, fd %d+%)$", tostring(socket))
  end))

  it("sets options by name before it binds", in_task(function()
    local first <close> = bound("127.0.0.1:0", { reuseport = true, recv_buffer_size = 50000, broadcast = true })
    assert.is_true(first:broadcast())
    assert.is_true(first:recv_buffer_size() >= 50000)
    local second <close> = bound(first:local_addr(), { reuseport = true })
    assert.equal(first:local_addr(), second:local_addr())
  end))

  it("sets no SO_REUSEADDR of its own accord", in_task(function()
    local socket <close> = bound()
    assert.is_false(socket:reuseaddr())
  end))

  it("fails with the system's error, and leaves nothing open", in_task(function()
    local before = descriptors()
    fails("EADDRNOTAVAIL", UdpSocket.bind "192.0.2.1:0")
    fails("EAI_NONAME EAI_AGAIN EAI_FAIL", UdpSocket.bind "nowhere.invalid:0")
    fails("EACCES EPERM ENOPROTOOPT EINVAL ENODEV", UdpSocket.bind("127.0.0.1:0", { device = "no-such-device" }))
    fails("EINVAL", UdpSocket.bind "127.0.0.1:65536")
    fails("EINVAL", UdpSocket.bind "127.0.0.1")
    local patience = tcpnet.now() + 10
    repeat -- the reactor closes them at its next turn
      tcpnet.sleep(0.01)
    until descriptors() <= before or tcpnet.now() > patience
    assert.is_true(descriptors() <= before)
  end))

  it("raises on what is no address and no option", function()
    raises(function() UdpSocket.bind() end, "bad argument #1 to 'bind'", "udp_socket_spec.lua:")
    raises(function() UdpSocket.bind(5) end, "bad argument #1 to 'bind'", "got 5")
    raises(function() UdpSocket.bind("127.0.0.1", 65536) end, "bad argument #2 to 'bind'", "65536")
    raises(function() UdpSocket.bind("127.0.0.1", -1) end, "bad argument #2 to 'bind'")
    raises(function() UdpSocket.bind("127.0.0.1:0", { nodelay = true }) end, "bad argument #2 to 'bind'", "nodelay")
    raises(function() UdpSocket.bind("127.0.0.1", 0, { nope = 1 }) end, "bad argument #3 to 'bind'", "'nope'")
    raises(function() UdpSocket.bind("127.0.0.1:0", { broadcast = 1 }) end, "broadcast: boolean expected, got 1")
    raises(function() UdpSocket.bind("127.0.0.1", 0, 7) end, "bad argument #3 to 'bind'", "table expected")
  end)
end)

describe("UdpSocket.new_v4 and new_v6", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, row in pairs {
    new_v4 = { unbound = "0.0.0.0:0", address = "127.0.0.1:0", ip = "127.0.0.1", domain = "inet" },
    new_v6 = { unbound = "[::]:0", address = "[::1]:0", ip = "::1", domain = "inet6" },
  } do
    it(name .. " gives a socket that is bound by its first send", in_task(function()
      local receiver <close> = bound(row.address)
      local socket <close> = assert(UdpSocket[name]())
      assert.equal(row.unbound, tostring(socket:local_addr()))
      assert.equal(row.domain, socket:domain())
      assert.equal("dgram", socket:type())
      assert.equal("udp", socket:protocol())
      assert.equal(1, socket:send_to("x", receiver:local_addr()))
      local _, from = receiver:recv_from()
      assert.equal(row.ip, from:ip())
      assert.equal(from:port(), socket:local_addr():port())
    end))

    it(name .. " gives a socket that bind binds, after options are set", in_task(function()
      local socket <close> = assert(UdpSocket[name]())
      assert.equal(socket, socket:set_reuseaddr(true):bind(row.address))
      assert.equal(row.ip, socket:local_addr():ip())
      assert.is_true(socket:local_addr():port() > 0)
      local other <close> = assert(UdpSocket[name]())
      assert.equal(other, other:bind(row.ip, 0))
      assert.equal(row.ip, other:local_addr():ip())
      local err = fails("EINVAL", other:bind(SocketAddr.new(row.ip, 0))) -- it has an address
      assert.equal("bind", err.op)
    end))

    it(name .. " gives a socket that its view binds", in_task(function()
      local socket <close> = assert(UdpSocket[name]())
      assert(socket:as_socket():bind(row.address))
      assert.equal(row.ip, socket:local_addr():ip())
    end))
  end

  it("are of one family", in_task(function()
    local four <close> = assert(UdpSocket.new_v4())
    local six <close> = assert(UdpSocket.new_v6())
    fails("EAFNOSUPPORT EINVAL", four:send_to("x", SocketAddr.new("::1", 9)))
    assert(six:set_only_v6(true))
    fails("ENETUNREACH EAFNOSUPPORT EINVAL", six:send_to("x", SocketAddr.new("127.0.0.1", 9)))
    assert.is_true(six:only_v6())
  end))
end)

describe("connect", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("sets the peer of send, and shows it", in_task(function()
    local a, b, _guard <close> = unconnected()
    fails("ENOTCONN", a:peer_addr())
    assert.matches("^UdpSocket %(127%.0%.0%.1:%d+, fd %d+%)$", tostring(a))
    assert.equal(a, a:connect(b:local_addr()))
    assert.equal(b:local_addr(), a:peer_addr())
    assert.equal(("UdpSocket (%s -> %s, fd %d)"):format(a:local_addr(), b:local_addr(), a:fd()), tostring(a))
    assert.equal(5, a:send "hello")
    assert.equal("hello", b:recv())
  end))

  for what, of in pairs {
    ["text"] = function(addr) return tostring(addr) end,
    ["host and port"] = function(addr) return addr:ip(), addr:port() end,
    ["a name"] = function(addr) return "localhost:" .. addr:port() end,
    ["a name and a port"] = function(addr) return "localhost", addr:port() end,
  } do
    it("takes " .. what, in_task(function()
      local a, b, _guard <close> = unconnected()
      assert.equal(a, a:connect(of(b:local_addr())))
      assert.equal(b:local_addr(), a:peer_addr())
    end))
  end

  it("looks names up for the family of the socket", in_task(function()
    local a, b, _guard <close> = unconnected "[::1]:0"
    local ok, err = a:connect("localhost", b:local_addr():port())
    if not ok and err.code:find "^EAI_" then
      return pending(tostring(err))
    end
    assert.equal(b:local_addr(), a:peer_addr())
  end))

  it("again points it at another peer (B163)", in_task(function()
    local a, b, _guard <close> = connected()
    local c <close> = bound()
    assert.equal(a, a:connect(c:local_addr()))
    assert.equal(c:local_addr(), a:peer_addr())
    a:send "for c"
    assert.equal("for c", c:recv())
    fails("EAGAIN", b:try_recv())
    b:send "no longer heard"
    c:send_to("heard", a:local_addr())
    assert.equal("heard", a:recv())
    fails("EAGAIN", a:try_recv())
  end))

  it("lets in nobody but the peer (B167)", in_task(function()
    local a, b, _guard <close> = connected()
    local stranger <close> = bound()
    assert.equal(1, stranger:send_to("x", a:local_addr()))
    assert.is_true(tcp.waits(a.readable, a))
    b:send "y"
    assert.equal("y", a:recv())
  end))

  it("leaves sending to others allowed (B166)", in_task(function()
    local a, b, _guard <close> = connected()
    local c <close> = bound()
    local sent, err = a:send_to("for c", c:local_addr())
    if not sent then
      return assert.equal("EISCONN", err.code)
    end
    assert.equal("for c", (c:recv_from()))
    b:send "from b"
    local data, from = a:peek_from()
    assert.same({ "from b", tostring(b:local_addr()) }, { data, tostring(from) })
    data, from = a:recv_from()
    assert.same({ "from b", tostring(b:local_addr()) }, { data, tostring(from) })
  end))

  it("fails on a name that is none and keeps the peer", in_task(function()
    local a, b, _guard <close> = connected()
    fails("EAI_NONAME EAI_AGAIN EAI_FAIL", a:connect "nowhere.invalid:1")
    assert.equal(b:local_addr(), a:peer_addr())
  end))

  it("is necessary for send, and not for the rest (B165)", in_task(function()
    local a, b, _guard <close> = unconnected()
    local err = fails("EDESTADDRREQ ENOTCONN", a:send "x")
    assert.equal("send", err.op)
    assert.equal(1, a:send_to("x", b:local_addr()))
    assert.equal("x", b:peek())
    assert.equal("x", b:recv())
  end))
end)

describe("send and recv", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, address in ipairs { "127.0.0.1:0", "[::1]:0" } do
    it("carry data between connected sockets of " .. address .. " (B50)", in_task(function()
      local a, b, _guard <close> = connected(address)
      local waiting <close> = tcpnet.spawn(b.recv, b)
      tcpnet.yield()
      assert.equal(5, a:send "hello")
      assert.same({ true, "hello" }, { waiting:join() })
      assert.equal(7, b:send "and\0you")
      assert.equal("and\0you", a:recv())
    end))

    it("_to and _from tell who it was, over " .. address .. " (B52)", in_task(function()
      local a, b, _guard <close> = unconnected(address)
      local waiting <close> = tcpnet.spawn(b.recv_from, b)
      tcpnet.yield()
      assert.equal(5, a:send_to("hello", b:local_addr()))
      local _, data, from = waiting:join()
      assert.equal("hello", data)
      assert.equal(a:local_addr(), from)
      assert.equal(3, b:send_to("you", from))
      data, from = a:recv_from()
      assert.equal("you", data)
      assert.equal(b:local_addr(), from)
    end))

    it("start out writable, and cross, over " .. address .. " (B159)", in_task(function()
      local a, b, _guard <close> = unconnected(address)
      assert.is_true(a:writable())
      assert.is_true(b:writable())
      for _, socket in ipairs { a, b } do
        fails("EAGAIN", socket:try_recv())
        fails("EAGAIN", socket:try_peek())
      end
      a:send_to("from a", b:local_addr())
      b:send_to("from b", a:local_addr())
      for socket, expected in pairs { [a] = "from b", [b] = "from a" } do
        assert.is_true(socket:readable())
        assert.equal(expected, (socket:peek_from()))
        assert.equal(expected, (socket:recv_from()))
        assert.is_nil(socket:take_error())
      end
    end))
  end

  it("work between two tasks with one socket (B56)", in_task(function()
    local socket <close> = bound()
    local receiver <close> = tcpnet.spawn(socket.recv_from, socket)
    local sender <close> = tcpnet.spawn(socket.send_to, socket, "to myself", socket:local_addr())
    assert.same({ true, 9 }, { sender:join() })
    local _, data, from = receiver:join()
    assert.equal("to myself", data)
    assert.equal(socket:local_addr(), from)
  end))

  for what, of in pairs {
    ["a SocketAddr"] = function(addr) return addr end,
    ["text"] = function(addr) return tostring(addr) end,
    ["host and port"] = function(addr) return addr:ip(), addr:port() end,
    ["a name"] = function(addr) return "localhost:" .. addr:port() end,
    ["a name and a port"] = function(addr) return "localhost", addr:port() end,
  } do
    it("_to takes " .. what, in_task(function()
      local a, b, _guard <close> = unconnected()
      local again = what:find "name" and "send_to" or "try_send_to" -- which does not wait for a lookup
      assert.equal(1, a:send_to("1", of(b:local_addr())))
      assert.equal(1, a[again](a, "2", of(b:local_addr())))
      assert.equal("1", b:recv())
      assert.equal("2", b:recv())
    end))
  end

  it("take strings, numbers and Buffers, which stay as they were", in_task(function()
    local a, b, _guard <close> = connected()
    local buffer = Buffer.new(16):append "bytes"
    assert.equal(5, a:send(buffer))
    assert.equal(2, a:send(42))
    assert.equal(3, a:send(1.5))
    assert.equal(5, a:send_to(buffer, b:local_addr()))
    assert.equal("bytes", tostring(buffer))
    for _, expected in ipairs { "bytes", "42", "1.5", "bytes" } do
      assert.equal(expected, b:recv())
    end
  end))

  for _, receive in ipairs { "recv", "recv_from", "peek", "peek_from", "try_recv", "try_recv_from" } do
    it(receive .. " knows that an empty datagram is data (B161)", in_task(function()
      local a, b, _guard <close> = connected()
      assert.equal(0, a:send "")
      assert.is_true(b:readable())
      local data, from = b[receive](b)
      assert.equal("", data)
      assert.equal(receive:find "_from" and a:local_addr() or nil, from)
      if receive:find "peek" then
        assert.equal("", b:try_recv())
      end
      fails("EAGAIN", b:try_recv())
    end))
  end

  it("keep the boundaries between datagrams", in_task(function()
    local a, b, _guard <close> = connected()
    for _, text in ipairs { "one", "", "three", "", "" } do
      assert.equal(#text, a:send(text))
    end
    local got = {}
    for i = 1, 5 do
      got[i] = b:try_recv()
    end
    assert.same({ "one", "", "three", "", "" }, got)
    fails("EAGAIN", b:try_recv())
  end))

  it("tell the sender of an empty datagram (B161, F52)", in_task(function()
    local a, b, _guard <close> = unconnected()
    assert.equal(0, a:send_to("", b:local_addr()))
    local data, from, length = b:recv_from()
    assert.equal("", data)
    assert.equal(a:local_addr(), from)
    assert.is_nil(length)
  end))

  for _, receive in ipairs { "recv", "recv_from", "try_recv", "try_recv_from", "peek", "peek_from" } do
    it(receive .. " tells the real length of a datagram that it cuts (F52)", in_task(function()
      local a, b, _guard <close> = connected()
      a:send "0123456789"
      b:readable()
      local data, from, length = b[receive](b, 4)
      assert.equal("0123", data)
      assert.equal(10, length)
      assert.equal("integer", math.type(length))
      if receive:find "_from" then
        assert.equal(a:local_addr(), from)
      else
        assert.is_nil(from)
      end
      if receive:find "peek" then
        assert.equal(1, select("#", b:recv(10)))
      end
      fails("EAGAIN", b:try_recv()) -- the rest of it is gone
      a:send "0123456789"
      assert.equal(receive:find "_from" and 2 or 1, select("#", b[receive](b, 10)))
    end))
  end

  it("take a max of 0 and of more than any datagram has", in_task(function()
    local a, b, _guard <close> = connected()
    a:send "abc"
    assert.same({ "", nil, 3 }, { b:recv(0) })
    a:send "abc"
    assert.same({ "abc" }, { b:recv(1 << 20) })
    fails("EAGAIN", b:try_recv(1 << 20))
  end))

  it("carry the largest datagram there is, and no larger one (EMSGSIZE)", in_task(function()
    local a, b, _guard <close> = connected()
    a:set_send_buffer_size(200000)
    local largest = tcp.bytes(65507)
    assert.equal(65507, a:send(largest))
    assert.is_true(b:recv() == largest)
    for _, fn in ipairs { "send", "try_send" } do
      local err = fails("EMSGSIZE", a[fn](a, largest .. "x"))
      assert.equal("send", err.op)
      assert.equal(tostring(b:local_addr()), err.address)
    end
    local err = fails("EMSGSIZE", a:send_to(largest .. "x", b:local_addr()))
    assert.equal("send_to", err.op)
    assert.equal(tostring(b:local_addr()), err.address)
    assert.equal(1, a:send "x") -- nothing is sticky
    assert.equal("x", b:recv())
  end))

  it("raise on what are no bytes, no address and no size", in_task(function()
    local socket <close> = bound()
    raises(function() socket:send() end, "bad argument #1 to 'send'", "string, number or Buffer expected")
    raises(function() socket:send {} end, "bad argument #1 to 'send'", "got table")
    raises(function() socket:send_to(nil, "127.0.0.1:1") end, "udp_socket_spec.lua:", "bad argument #1 to 'send_to'",
      "string, number or Buffer expected")
    raises(function() socket:send_to({}, socket:local_addr()) end, "udp_socket_spec.lua:",
      "bad argument #1 to 'send_to'")
    raises(function() socket:send_to "x" end, "udp_socket_spec.lua:", "bad argument #2 to 'send_to'")
    raises(function() socket:send_to("x", "127.0.0.1", 65536) end, "bad argument #3 to 'send_to'", "65536")
    raises(function() socket:recv(-1) end, "bad argument #1 to 'recv'", "max: integer from 0")
    raises(function() socket:recv_from(1.5) end, "bad argument #1 to 'recv_from'", "max: integer")
    raises(function() socket:peek "x" end, "bad argument #1 to 'peek'", "max: integer")
    raises(function() socket.recv(5) end, "bad argument #1 to")
    raises(function() UdpSocket.send_to(5, "x", "127.0.0.1:1") end, "bad argument #1 to 'send_to'", "Socket expected")
    raises(function() socket:recv(10, { "nope" }) end, "bad argument #2 to 'recv'", "flags: list of")
    for _, where in ipairs { "127.0.0.1:9", "localhost:9" } do
      raises(function() socket:send_to("x", where, nil, { "nope" }) end, "to 'send_to'", "flags: list of")
      raises(function() socket:send_to("x", where, {}, { "dontroute" }) end, "to 'send_to'")
    end
    fails("EINVAL", socket:send_to("x", "127.0.0.1:65536"))
    fails("EAI_NONAME EAI_AGAIN EAI_FAIL", socket:send_to("x", "nowhere.invalid:1"))
  end))
end)

describe("peek", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("_from gives data and sender and takes nothing (B53)", in_task(function()
    local a, b, _guard <close> = unconnected()
    local waiting <close> = tcpnet.spawn(b.peek_from, b)
    tcpnet.yield()
    a:send_to("hello", b:local_addr())
    local outcome = table.pack(waiting:join())
    assert.same({ true, "hello", tostring(a:local_addr()) }, { outcome[1], outcome[2], tostring(outcome[3]) })
    for _, name in ipairs { "peek_from", "try_peek_from", "recv_from" } do
      local data, from = b[name](b)
      assert.equal("hello", data)
      assert.equal(a:local_addr(), from)
    end
    fails("EAGAIN", b:try_recv_from())
  end))

  it("_from has a form that never waits (B54)", in_task(function()
    local a, b, _guard <close> = unconnected()
    fails("EAGAIN", b:try_peek_from())
    a:send_to("hello", b:local_addr())
    assert.is_true(b:readable())
    for _, name in ipairs { "try_peek_from", "peek_from", "recv_from" } do
      local data, from = b[name](b)
      assert.equal("hello", data)
      assert.equal(a:local_addr(), from)
    end
  end))

  it("without a sender gives the data alone", in_task(function()
    local a, b, _guard <close> = connected()
    fails("EAGAIN", b:try_peek())
    a:send "hello"
    assert.same({ "hello" }, { b:peek() })
    assert.same({ "hello" }, { b:try_peek() })
    assert.same({ "hello" }, { b:recv() })
  end))

  it("_sender gives the sender and leaves the datagram whole (B55, B211)", in_task(function()
    local a, b, _guard <close> = unconnected()
    fails("EAGAIN", b:try_peek_sender())
    local waiting <close> = tcpnet.spawn(b.peek_sender, b)
    tcpnet.yield()
    a:send_to("hello, you", b:local_addr())
    local _, sender = waiting:join()
    assert.equal(a:local_addr(), sender)
    assert.equal(a:local_addr(), b:try_peek_sender())
    assert.equal(a:local_addr(), b:peek_sender())
    local data, from = b:try_recv_from()
    assert.equal("hello, you", data)
    assert.equal(a:local_addr(), from)
    fails("EAGAIN", b:try_peek_sender())
  end))

  it("_sender tells the sender of an empty datagram", in_task(function()
    local a, b, _guard <close> = unconnected()
    a:send_to("", b:local_addr())
    assert.equal(a:local_addr(), b:peek_sender())
    assert.equal("", b:recv())
  end))
end)

describe("what never waits", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("goes five rounds with readable and writable, connected (B59)", in_task(function()
    local a, b, _guard <close> = connected()
    for round = 1, 5 do
      local text = "hello world"
      assert.is_true(a:writable())
      assert.equal(11, a:try_send(text))
      assert.is_true(b:readable())
      if round % 2 == 0 then
        assert.equal(text, b:try_recv())
      else
        local buffer = Buffer.new(64)
        assert.same({ 11 }, { (b:try_recv_vectored { buffer }) })
        assert.equal(text, tostring(buffer))
      end
      fails("EAGAIN", b:try_recv())
    end
  end))

  it("goes five rounds with addresses (B60)", in_task(function()
    local a, b, _guard <close> = unconnected()
    for round = 1, 5 do
      assert.is_true(a:writable())
      assert.equal(11, a:try_send_to("hello world", b:local_addr()))
      assert.is_true(b:readable())
      if round % 2 == 0 then
        local data, from = b:try_recv_from()
        assert.equal("hello world", data)
        assert.equal(a:local_addr(), from)
      else
        local buffer = Buffer.new(64)
        local count, from = b:try_recv_from_vectored { buffer }
        assert.equal(11, count)
        assert.equal(a:local_addr(), from)
        assert.equal("hello world", tostring(buffer))
      end
      fails("EAGAIN", b:try_recv_from())
    end
  end))

  it("sends several pieces as one datagram, and receives into several (B212)", in_task(function()
    local a, b, _guard <close> = connected()
    assert.equal(9, a:send_vectored { "abc", Buffer.new(3):append "def", "ghi" })
    local one, two, three = Buffer.new(2), Buffer.new(3), Buffer.new(10)
    local count, flags = b:recv_vectored { one, two, three }
    assert.equal(9, count)
    assert.same({}, flags)
    assert.same({ "ab", "cde", "fghi" }, { tostring(one), tostring(two), tostring(three) })
    assert.equal(6, a:send_to_vectored({ "abc", "def" }, b:local_addr()))
    local small = Buffer.new(4)
    local from
    count, from, flags = b:recv_from_vectored { small }
    assert.equal(4, count)
    assert.equal(a:local_addr(), from)
    assert.same({ truncated = true }, flags)
  end))

  it("works as messages with control data", in_task(function()
    local a, b, _guard <close> = unconnected()
    assert(b:set_recv_pktinfo_v4(true))
    assert.equal(4, a:sendmsg { data = { "ab", "cd" }, address = tostring(b:local_addr()) })
    local message = b:recvmsg { data = 3 }
    assert.equal("abc", message.data)
    assert.equal(4, message.length)
    assert.is_true(message.flags.truncated)
    assert.equal(a:local_addr(), message.address)
    assert.equal("127.0.0.1", message:find("pktinfo").destination or message:find("pktinfo").address)
    fails("EAGAIN", b:try_recvmsg())
    assert.equal(1, a:try_sendmsg { data = "x", address = b:local_addr() })
    assert.equal("x", b:try_recvmsg().data)
  end))
end)

describe("a port that nobody holds", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("fails the receive that follows (B51)", in_task(function()
    local socket <close> = deserted()
    assert.equal(1, socket:send "x")
    local err = fails("ECONNREFUSED ECONNRESET", socket:set_read_timeout(5):recv())
    assert.equal("recv", err.op)
    assert.equal(tostring(socket:peer_addr()), err.address)
  end))

  it("ends a receive that waits", in_task(function()
    for _, name in ipairs { "recv", "recv_from", "peek", "peek_from", "peek_sender", "recvmsg" } do
      local socket <close> = deserted()
      local waiting <close> = tcpnet.spawn(socket[name], socket)
      tcpnet.yield()
      assert.equal("waiting", waiting:status())
      assert.equal(1, socket:send "x")
      local _, value, err = waiting:join()
      fails("ECONNREFUSED", value, err)
      assert.equal(name, err.op)
    end
    local socket <close> = deserted()
    local waiting <close> = tcpnet.spawn(socket.recv_many, socket, 10)
    tcpnet.yield()
    socket:send "x"
    local _, value, err = waiting:join()
    assert.equal("recv_many", fails("ECONNREFUSED", value, err).op)
  end))

  it("fails the send that follows, once", in_task(function()
    local socket <close> = deserted()
    assert.equal(1, socket:send "x")
    socket:readable()
    assert.equal("send", fails("ECONNREFUSED", socket:send "y").op)
    assert.equal(1, socket:send "z")
    socket:readable()
    fails("ECONNREFUSED", socket:try_send "y")
    assert.is_nil(socket:take_error())
  end))

  it("shows in readiness and take_error", in_task(function()
    local socket <close> = deserted()
    assert.equal(1, socket:send "x")
    assert.is_true(socket:ready("r"):is_error())
    assert.equal("ECONNREFUSED", socket:take_error().code)
    assert.is_nil(socket:take_error())
    fails("EAGAIN", socket:try_recv())
  end))

  it("is not told to a socket that is not connected", in_task(function()
    local socket <close> = bound()
    local gone = bound()
    local addr = gone:local_addr()
    gone:close()
    for _ = 1, 3 do
      assert.equal(1, socket:send_to("x", addr))
    end
    assert.is_true(tcp.waits(socket.recv, socket))
  end))

  it("leaves the socket usable for the one that comes there", in_task(function()
    local socket <close> = deserted()
    socket:send "x"
    fails("ECONNREFUSED", socket:recv())
    local peer <close> = bound(socket:peer_addr())
    socket:send "here?"
    local data, from = peer:recv_from()
    assert.equal("here?", data)
    peer:send_to("here", from)
    assert.equal("here", socket:recv())
  end))
end)

describe("tasks that share a socket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, name in ipairs { "recv", "recv_from", "recv_many" } do
    it("and wait in " .. name .. " are served in order", in_task(function()
      local a, b, _guard <close> = unconnected()
      local order, tasks = {}, {}
      for i = 1, 5 do
        tasks[i] = tcpnet.spawn(function()
          local got = assert(b[name](b, 1))
          order[#order + 1] = { i, type(got) == "table" and got[1].data or got }
        end)
      end
      tcpnet.yield()
      for i = 1, 5 do
        a:send_to(tostring(i), b:local_addr())
      end
      for _, task in ipairs(tasks) do
        assert(task:join())
      end
      assert.same({ { 1, "1" }, { 2, "2" }, { 3, "3" }, { 4, "4" }, { 5, "5" } }, order)
    end))
  end

  it("are each woken, though datagrams come one at a time", in_task(function()
    local a, b, _guard <close> = unconnected()
    local order, tasks = {}, {}
    for i = 1, 5 do
      tasks[i] = tcpnet.spawn(function()
        assert(b:recv())
        order[#order + 1] = i
      end)
    end
    tcpnet.yield()
    for i = 1, 5 do
      a:send_to("x", b:local_addr())
      assert(tasks[i]:join(5))
    end
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end))

  it("may send at once, and nothing is mixed or lost", in_task(function()
    local a, b, _guard <close> = connected()
    b:set_recv_buffer_size(1 << 20)
    local set <close> = tcpnet.JoinSet.new()
    for i = 1, 10 do
      set:spawn(function()
        for k = 1, 20 do
          assert(a:send((i .. " " .. k .. " "):rep(20)) > 0)
          tcpnet.yield()
        end
      end)
    end
    local seen, last = 0, {}
    while seen < 200 do
      local text = assert(b:recv())
      local i, k = text:match "^(%d+) (%d+) "
      assert.equal((i .. " " .. k .. " "):rep(20), text)
      assert.equal((last[i] or 0) + 1, tonumber(k))
      last[i], seen = tonumber(k), seen + 1
    end
  end))

  it("may wait for different things: a reader keeps no writer waiting", in_task(function()
    local a, b, _guard <close> = connected()
    local reader <close> = tcpnet.spawn(a.recv, a)
    tcpnet.yield()
    assert.equal(1, a:send "x")
    assert.is_true(a:writable())
    assert.equal("x", b:recv())
    assert.equal("waiting", reader:status())
    b:send "end"
    assert.same({ true, "end" }, { reader:join() })
  end))

  it("are all told that readable has come true", in_task(function()
    local a, b, _guard <close> = connected()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(b.readable, b)
    end
    tcpnet.yield()
    a:send "x"
    for _, task in ipairs(tasks) do
      assert.same({ true, true }, { task:join(5) })
    end
    assert.equal("x", b:recv())
  end))
end)

describe("a wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("ends at the socket's timeout, which is not sticky", in_task(function()
    local a, b, _guard <close> = connected()
    assert.equal(b, b:set_timeout(0.01))
    assert.equal(0.01, b:timeout())
    for _, name in ipairs { "recv", "recv_from", "peek", "peek_from", "peek_sender", "recvmsg" } do
      local err = fails("TIMEOUT", b[name](b))
      assert.equal(name, err.op)
      assert.equal(tostring(a:local_addr()), err.address)
    end
    fails("TIMEOUT", b:recv_many(3))
    assert.is_true(select(2, tcpnet.timeout(0.01, b.readable, b)).code == "TIMEOUT")
    a:send "x"
    assert.equal("x", b:recv())
    b:set_read_timeout(nil)
    assert.is_nil(b:read_timeout())
    assert.is_true(tcp.waits(b.recv, b))
    a:send "y"
    assert.equal("y", b:recv())
  end))

  it("with a deadline tries before it looks at the clock", in_task(function()
    local a, b, _guard <close> = connected()
    a:send "x"
    b:readable()
    assert.equal("x", b:set_read_timeout(0):recv())
    fails("TIMEOUT", b:recv())
  end))

  it("that is cancelled has taken nothing", in_task(function()
    local a, b, _guard <close> = connected()
    for _, name in ipairs { "recv", "recv_from", "peek", "peek_sender", "recv_many", "recvmsg", "readable" } do
      local task = tcpnet.spawn(b[name], b, name == "recv_many" and 5 or nil)
      tcpnet.yield()
      assert.is_true(task:cancel())
      a:send(name)
      assert.equal(name, b:recv())
    end
  end))

  it("that is cancelled just when a datagram has come hands it to the next in line", in_task(function()
    local a, b, _guard <close> = connected()
    local first = tcpnet.spawn(b.recv, b)
    local second <close> = tcpnet.spawn(b.recv, b)
    tcpnet.yield()
    a:send "x"
    first:cancel()
    assert.same({ true, "x" }, { second:join(5) })
  end))

  it("that loses a select has taken nothing", in_task(function()
    local a, b, _guard <close> = connected()
    local winner = tcpnet.select {
      clock = function() tcpnet.sleep(0.01) end,
      socket = function() return b:recv() end,
    }
    assert.equal("clock", winner)
    a:send "x"
    assert.same({ "socket", "x" }, { tcpnet.select {
      clock = function() tcpnet.sleep(10) end,
      socket = function() return b:recv() end,
    } })
  end))

  it("ends when the socket is closed", in_task(function()
    for _, name in ipairs { "recv", "recv_from", "peek", "peek_from", "peek_sender", "recv_many", "readable" } do
      local socket = bound()
      local one <close> = tcpnet.spawn(socket[name], socket, name == "recv_many" and 5 or nil)
      local two <close> = tcpnet.spawn(socket[name], socket, name == "recv_many" and 5 or nil)
      tcpnet.yield()
      socket:close()
      for _, task in ipairs { one, two } do
        local _, value, err = task:join()
        assert.matches("closed", fails("CLOSED", value, err).message)
        assert.equal(name, err.op)
      end
    end
  end))

  it("ends when the descriptor is given away", in_task(function()
    local socket = bound()
    local task <close> = tcpnet.spawn(socket.recv, socket)
    tcpnet.yield()
    local fd = assert(socket:into_fd())
    local _, value, err = task:join()
    fails("CLOSED", value, err)
    local again <close> = assert(UdpSocket.from_fd(fd))
    assert.equal(fd, again:fd())
  end))

  it("works outside of every task", function()
    local a, b, _guard <close> = connected()
    tcpnet.spawn(function()
      tcpnet.sleep(0.01)
      a:send "from a task"
    end)
    assert.equal("from a task", b:recv())
  end)
end)

describe("readiness", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("tells both directions", in_task(function()
    local a, b, _guard <close> = connected()
    local ready = b:ready "rw"
    assert.is_true(ready:is_writable())
    assert.is_false(ready:is_readable())
    assert.is_false(ready:is_read_closed())
    assert.is_true(tcp.waits(b.ready, b, "r"))
    a:send "x"
    assert.is_true(b:ready("r"):is_readable())
    assert.is_true(b:readable())
    assert.equal("x", b:recv())
    assert.is_true(tcp.waits(b.readable, b))
  end))

  it("comes again after each datagram (B171)", in_task(function()
    local a, b, _guard <close> = connected()
    for round = 1, 3 do
      local waiting <close> = tcpnet.spawn(b.readable, b)
      tcpnet.yield()
      assert.equal("waiting", waiting:status())
      a:send(tostring(round))
      assert.same({ true, true }, { waiting:join(5) })
      assert.equal(tostring(round), b:try_recv())
      fails("EAGAIN", b:try_recv())
    end
  end))

  it("of empty datagrams, too", in_task(function()
    local a, b, _guard <close> = connected()
    a:send ""
    assert.is_true(b:readable())
    assert.equal("", b:try_recv())
  end))

  it("stays while a second datagram is there", in_task(function()
    local a, b, _guard <close> = connected()
    a:send "1"
    a:send "2"
    assert.equal("1", b:recv())
    assert.is_true(b:readable())
    assert.equal("2", b:try_recv())
  end))

  it("serves try_io", in_task(function()
    local a, b, _guard <close> = connected()
    local runs = 0
    local function read()
      runs = runs + 1
      return b:try_recv()
    end
    fails("EAGAIN", b:try_io("r", read))
    assert.equal(0, runs)
    a:send "x"
    b:readable()
    assert.equal("x", b:try_io("r", read))
    fails("EAGAIN", b:try_io("r", read))
    assert.same({ "a", nil, "c" }, { b:try_io("w", function() return "a", nil, "c" end) })
    raises(function() b:try_io("rw", read) end, "one direction expected")
    raises(function() b:try_io("x", read) end, "interest:")
    raises(function() b:try_io("r", 5) end, "function expected")
  end))

  it("serves async_io", in_task(function()
    local a, b, _guard <close> = connected()
    local runs = 0
    local waiting <close> = tcpnet.spawn(function()
      return b:async_io("r", function()
        runs = runs + 1
        return b:try_recv_from()
      end)
    end)
    tcpnet.yield()
    a:send "x"
    local _, data, from = waiting:join(5)
    assert.equal("x", data)
    assert.equal(a:local_addr(), from)
    assert.is_true(runs <= 2)
    assert.equal(1, a:async_io("w", function() return a:try_send "y" end))
    assert.equal("y", b:recv())
  end))
end)

describe("multicast", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local GROUP = "239.255.77.1"

  it("of IPv4 reaches who has joined, until it leaves", in_task(function()
    local member <close> = bound "0.0.0.0:0"
    local other <close> = bound(("0.0.0.0:%d"):format(0))
    local sender <close> = bound()
    local port = member:local_addr():port()
    assert.equal(member, member:join_multicast_v4(GROUP, "127.0.0.1"))
    assert.equal(sender, sender:set_multicast_if_v4 "127.0.0.1")
    assert.equal("127.0.0.1", sender:multicast_if_v4())
    assert.equal(5, sender:send_to("hello", GROUP, port))
    local data, from = member:set_read_timeout(5):recv_from()
    assert.equal("hello", data)
    assert.equal(sender:local_addr(), from)
    fails("EAGAIN", other:try_recv())
    assert.equal("EADDRINUSE", select(2, member:join_multicast_v4(GROUP, "127.0.0.1")).code)
    assert.equal(member, member:leave_multicast_v4(GROUP, "127.0.0.1"))
    assert.equal("leave_multicast_v4", fails("EADDRNOTAVAIL", member:leave_multicast_v4(GROUP, "127.0.0.1")).op)
    assert(member:set_multicast_all_v4(false))
    sender:send_to("late", GROUP, port)
    assert.is_true(tcp.waits(member.recv, member))
  end))

  it("takes an interface by its name or index, or leaves it to the system", in_task(function()
    local member <close> = bound "0.0.0.0:0"
    local sender <close> = bound()
    assert(sender:set_multicast_if_v4 "lo")
    for _, interface in ipairs { "lo", 1 } do
      assert.equal(member, member:join_multicast_v4(GROUP, interface))
      sender:send_to("x", GROUP, member:local_addr():port())
      assert.equal("x", member:set_read_timeout(5):recv())
      assert.equal(member, member:leave_multicast_v4(GROUP, interface))
    end
    fails("ENODEV EADDRNOTAVAIL EINVAL", member:join_multicast_v4(GROUP, "no-such-device"))
  end))

  it("comes back to its own host as multicast_loop says, with the time to live of multicast_ttl", in_task(function()
    local member <close> = bound "0.0.0.0:0"
    assert(member:join_multicast_v4(GROUP, "127.0.0.1"))
    assert(member:set_recv_ttl_v4(true))
    local sender <close> = bound()
    assert(sender:set_multicast_if_v4 "127.0.0.1")
    assert.is_true(sender:multicast_loop_v4())
    assert.equal(1, sender:multicast_ttl_v4())
    assert.equal(sender, sender:set_multicast_ttl_v4(7))
    assert.equal(7, sender:multicast_ttl_v4())
    sender:send_to("x", GROUP, member:local_addr():port())
    local message = member:set_read_timeout(5):recvmsg()
    assert.equal("x", message.data)
    assert.equal(7, message:find("ttl").value)
    assert.equal(sender, sender:set_multicast_loop_v4(false))
    assert.is_false(sender:multicast_loop_v4())
  end))

  it("refuses what is no group", in_task(function()
    local socket <close> = bound "0.0.0.0:0"
    raises(function() socket:join_multicast_v4() end, "bad argument #1 to 'join_multicast_v4'", "multicast address")
    raises(function() socket:join_multicast_v4 "10.0.0.1" end, "bad argument #1 to 'join_multicast_v4'")
    raises(function() socket:join_multicast_v4 "ff02::1" end, "bad argument #1 to 'join_multicast_v4'")
    raises(function() socket:join_multicast_v6 "239.1.1.1" end, "bad argument #1 to 'join_multicast_v6'")
    raises(function() socket:set_multicast_ttl_v4(256) end, "bad argument #1 to 'set_multicast_ttl_v4'")
  end))

  it("of IPv6 reaches who has joined, until it leaves", function()
    if not tcp.can "unshare -n ip link add left type veth peer name right" then
      return pending "needs root, unshare and iproute2"
    end
    local output = tcp.child([[
      local bind = tcpnet.UdpSocket.bind
      local member, sender = assert(bind "[::]:0"), assert(bind "[::]:0")
      local port = member:local_addr():port()
      print(member:join_multicast_v6("ff02::77", "left") == member, sender:set_multicast_if_v6 "left" == sender)
      print(sender:multicast_loop_v6(), sender:multicast_hops_v6())
      print(sender:set_multicast_hops_v6(9):multicast_hops_v6())
      member:set_timeout(5):set_recv_hoplimit_v6(true)
      print(sender:send_to("hello", "ff02::77", port))
      local message = assert(member:recvmsg())
      print(message.data, message.address:ip(), message:find("hoplimit").value)
      print(sender:set_multicast_loop_v6(false):multicast_loop_v6())
      member:set_timeout(0.1)
      sender:send_to("not here", "ff02::77", port)
      print(select(2, member:recv()).code)
      sender:set_multicast_loop_v6(true)
      print(member:leave_multicast_v6("ff02::77", "left") == member)
      print(select(2, member:leave_multicast_v6("ff02::77", "left")).code)
      sender:send_to("late", "ff02::77", port)
      print(select(2, member:recv()).code)
    ]], [[unshare -n sh -e -c "
      ip link set lo up
      ip link add left type veth peer name right
      ip link set left up
      ip addr add fd00::1/64 dev left nodad
      exec $LUA $SCRIPT"]])
    assert.equal("true\ttrue\ntrue\t1\n9\n5\nhello\tfd00::1\t9\nfalse\nTIMEOUT\ntrue\nEADDRNOTAVAIL\nTIMEOUT\n", output)
  end)
end)

describe("broadcast", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("needs the permission of the socket", in_task(function()
    local receiver <close> = bound "0.0.0.0:0"
    local sender <close> = bound()
    local port = receiver:local_addr():port()
    assert.is_false(sender:broadcast())
    assert.equal("send_to", fails("EACCES", sender:send_to("x", "127.255.255.255", port)).op)
    fails("EACCES", sender:connect("127.255.255.255", port))
    assert.equal(sender, sender:set_broadcast(true))
    assert.is_true(sender:broadcast())
    assert.equal(1, sender:send_to("x", "127.255.255.255", port))
    local data, from = receiver:set_read_timeout(5):recv_from()
    assert.equal("x", data)
    assert.equal(sender:local_addr():port(), from:port())
  end))
end)

describe("options", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are Tokio's, by method", in_task(function()
    local socket <close> = bound()
    assert.equal(socket, socket:set_ttl(9))
    assert.equal(9, socket:ttl())
    assert.equal(socket, socket:set_tos_v4(16))
    assert.equal(16, socket:tos_v4())
    assert.is_nil(socket:device())
    local six <close> = bound "[::1]:0"
    assert.equal(six, six:set_tclass_v6(32))
    assert.equal(32, six:tclass_v6())
    assert.is_true(six:multicast_loop_v6())
  end))

  it("are the system's, by name", in_task(function()
    local socket <close> = bound()
    assert.is_false(socket:get "SO_BROADCAST")
    assert.equal(socket, socket:set("SO_BROADCAST", true))
    assert.is_true(socket:options().broadcast)
    assert.equal("dgram", socket:options().type)
  end))

  it("cut a block into datagrams (udp_segment), and join them again (udp_gro)", in_task(function()
    local features = tcpnet.features()
    local a, b, _guard <close> = connected()
    assert.equal("boolean", type(features.udp_segment))
    assert.equal("boolean", type(features.udp_gro))
    if not features.udp_segment or not features.udp_gro then
      fails("ENOTSUP ENOPROTOOPT EOPNOTSUPP", a:set_udp_segment(100))
      return pending "this system has no UDP_SEGMENT"
    end
    assert.equal(0, a:udp_segment())
    assert.equal(a, a:set_udp_segment(100))
    assert.equal(100, a:udp_segment())
    local block = tcp.bytes(950)
    assert.equal(950, a:send(block))
    local parts = {}
    for i = 1, 10 do
      parts[i] = assert(b:try_recv())
      assert.equal(i < 10 and 100 or 50, #parts[i])
    end
    assert.is_true(table.concat(parts) == block)
    fails("EAGAIN", b:try_recv())
    assert.is_false(b:udp_gro())
    assert.equal(b, b:set_udp_gro(true))
    assert.is_true(b:udp_gro())
    a:send(block)
    local message = b:recvmsg()
    assert.is_true(message.data == block)
    assert.equal(100, message:find("gro_size").value)
    a:set_udp_segment(0)
    a:send "one"
    assert.equal("one", b:recv())
    assert.equal(3, a:sendmsg { data = "abc", control = { { type = "segment_size", value = 2 } } })
  end))
end)

describe("send_many", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("sends a list to the peer, in order", in_task(function()
    local a, b, _guard <close> = connected()
    assert.equal(3, a:send_many { "one", "", "three" })
    local got = assert(b:recv_many(10))
    assert.equal(3, #got)
    for i, expected in ipairs { "one", "", "three" } do
      assert.equal(expected, got[i].data)
      assert.equal(a:local_addr(), got[i].address)
      assert.is_nil(got[i].length)
    end
  end))

  it("takes strings, Buffers, pairs and tables, each with an address or none", in_task(function()
    local a, b, _guard <close> = connected()
    local c <close> = bound()
    local buffer = Buffer.new(16):append "buffer"
    assert.equal(8, a:send_many {
      "plain",
      buffer,
      { "pair" },
      { "for c", c:local_addr() },
      { "text", tostring(c:local_addr()) },
      { data = "named", address = c:local_addr() },
      { data = buffer, address = tostring(c:local_addr()) },
      { data = "peer" },
    })
    local function texts(socket)
      local list = {}
      for i, item in ipairs(socket:recv_many(10)) do
        list[i] = item.data
      end
      return list
    end
    assert.same({ "plain", "buffer", "pair", "peer" }, texts(b))
    assert.same({ "for c", "text", "named", "buffer" }, texts(c))
    assert.equal("buffer", tostring(buffer))
  end))

  it("sends what recv_many gave", in_task(function()
    local a, b, _guard <close> = unconnected()
    assert.equal(3, a:send_many { { "1", b:local_addr() }, { "2", b:local_addr() }, { "3", b:local_addr() } })
    assert.equal(3, b:send_many(b:recv_many(10)))
    local echoed = a:recv_many(10)
    assert.same({ "1", "2", "3" }, { echoed[1].data, echoed[2].data, echoed[3].data })
    assert.equal(b:local_addr(), echoed[1].address)
  end))

  it("takes addresses of IPv6 as text", in_task(function()
    local a, b, _guard <close> = unconnected "[::1]:0"
    assert.equal(1, a:send_many { { "x", tostring(b:local_addr()) } })
    local data, from = b:recv_from()
    assert.equal("x", data)
    assert.equal(a:local_addr(), from)
  end))

  it("of nothing sends nothing", in_task(function()
    local a, b, _guard <close> = connected()
    assert.equal(0, a:send_many {})
    assert.equal(0, a:try_send_many {})
    fails("EAGAIN", b:try_recv())
  end))

  for _, count in ipairs { 1, 63, 64, 65, 128, 129, 1024 } do
    it(("and recv_many carry %d at once, in order"):format(count), in_task(function()
      local a, b, _guard <close> = connected()
      b:set_recv_buffer_size(4 << 20)
      local list = {}
      for i = 1, count do
        list[i] = tostring(i)
      end
      local sent, got = 0, 0
      while sent < count do -- no more at once than the smallest receive buffer holds
        local part = table.move(list, sent + 1, math.min(sent + 128, count), 1, {})
        assert.equal(#part, a:send_many(part))
        sent = sent + #part
        for _, item in ipairs(assert(b:recv_many(1024))) do
          got = got + 1
          assert.equal(list[got], item.data)
        end
      end
      assert.equal(count, got)
    end))
  end

  it("of 1024 is received by one recv_many of 1024, where the buffer is large enough", in_task(function()
    local a, b, _guard <close> = connected()
    b:set_recv_buffer_size(4 << 20)
    if b:recv_buffer_size() < 2 << 20 and not b:set_recv_buffer_size_force(4 << 20) then
      return pending "needs a larger net.core.rmem_max, or root"
    end
    local list = {}
    for i = 1, 1024 do
      list[i] = tostring(i)
    end
    assert.equal(1024, a:send_many(list))
    local got = b:recv_many(1024)
    assert.equal(1024, #got)
    for i = 1, 1024 do
      assert.equal(list[i], got[i].data)
    end
    fails("EAGAIN", b:try_recv_many(1))
  end))

  it("says how many have gone where one fails", in_task(function()
    local a, b, _guard <close> = connected()
    local huge = ("x"):rep(70000)
    for _, name in ipairs { "send_many", "try_send_many" } do
      local count, err, sent = a[name](a, { "one", "two", huge, "four" })
      fails("EMSGSIZE", count, err)
      assert.equal("send_many", err.op)
      assert.equal(2, sent)
      assert.equal("integer", math.type(sent))
      local got = b:recv_many(10)
      assert.equal(2, #got)
      assert.same({ "one", "two" }, { got[1].data, got[2].data })
    end
    local count, err, sent = a:send_many { huge }
    fails("EMSGSIZE", count, err)
    assert.equal(0, sent)
    local list = {}
    for i = 1, 100 do
      list[i] = "x"
    end
    list[90] = huge
    assert.equal(89, select(3, a:send_many(list)))
    assert.equal(89, #b:recv_many(200))
  end))

  it("without a peer or an address fails at that item", in_task(function()
    local a, b, _guard <close> = unconnected()
    local count, err, sent = a:send_many { { "x", b:local_addr() }, "nowhere" }
    fails("EDESTADDRREQ ENOTCONN", count, err)
    assert.equal(1, sent)
    assert.equal("x", b:recv())
  end))

  it("raises on a wrong item, naming its number, before anything is sent", in_task(function()
    local a, b, _guard <close> = connected()
    local wrong = "string, number, Buffer or {data, address} expected"
    local no_address = "a SocketAddr or the text of an address expected"
    for _, row in ipairs {
      { { true }, 1, wrong },
      { { 1, true }, 2, wrong },
      { { "a", true }, 2, wrong },
      { { "a", "b", {} }, 3, wrong },
      { { { false } }, 1, wrong },
      { { "a", { data = true } }, 2, wrong },
      { { { "a", 5 } }, 1, no_address },
      { { "a", { "b", "nonsense" } }, 2, no_address },
      { { { "a", "localhost:1" } }, 1, no_address },
      { { { "a", "127.0.0.1" } }, 1, no_address },
      { { { "a", "127.0.0.1:65536" } }, 1, no_address },
      { { { "a", "127.0.0.1:1\0" } }, 1, no_address },
      { { { "a", a } }, 1, no_address },
    } do
      raises(function() a:send_many(row[1]) end, "bad argument #1 to 'send_many'",
        ("item %d: %s"):format(row[2], row[3]))
      raises(function() a:try_send_many(row[1]) end, "bad argument #1 to 'try_send_many'",
        ("item %d: %s"):format(row[2], row[3]))
    end
    raises(function() a:send_many() end, "bad argument #1 to 'send_many'", "table expected")
    raises(function() a:send_many "x" end, "bad argument #1 to 'send_many'", "table expected")
    fails("EAGAIN", b:try_recv())
  end))

  it("never sends bytes that are not those of the item, whatever its metatable does", in_task(function()
    local a, b, _guard <close> = connected()
    local function made_up(letter)
      return setmetatable({}, {
        __index = function(_, key)
          collectgarbage()
          local filler = {}
          for i = 1, 50 do
            filler[i] = ("z"):rep(1000) .. i
          end
          return key == "data" and letter:rep(1000) .. #filler or nil
        end,
      })
    end
    local ok = pcall(a.send_many, a, { made_up "a", made_up "b", made_up "c" })
    local got = b:try_recv_many(10) or {}
    assert.equal(ok and 3 or 0, #got)
    for i, letter in ipairs { "a", "b", "c" } do
      assert.is_true(not ok or got[i].data == letter:rep(1000) .. 50, "the datagram has other bytes")
    end
  end))

  it("survives a metatable that closes the socket", in_task(function()
    for last = 1, 12 do
      local a, _, _guard <close> = connected()
      local calls = 0
      local item = setmetatable({}, {
        __index = function(_, key)
          calls = calls + 1
          if calls == last then
            a:close()
            collectgarbage()
          end
          return key == "data" and "x" or nil
        end,
      })
      local ok, count, err = pcall(a.send_many, a, { item })
      assert.is_true(not ok or count == 1 or err.code == "CLOSED")
      calls = 0
      a = bound()
      ok, count, err = pcall(a.sendmsg, a, setmetatable({}, getmetatable(item)))
      assert.is_true(not ok or count == nil and err:is("CLOSED", "EDESTADDRREQ"), tostring(count))
      a:close()
    end
  end))

  it("waits while the kernel has no room, and counts what has gone when its time is up", function()
    if not tcp.can "unshare -n tc qdisc add dev lo root tbf rate 8mbit burst 64kb latency 50s" then
      return pending "needs root, unshare and tc"
    end
    local output = tcp.child([[
      local bind = tcpnet.UdpSocket.bind
      local a, b = assert(bind("127.0.0.1:0", { send_buffer_size = 4608 })), assert(bind "127.0.0.1:0")
      assert(b:set_recv_buffer_size_force(1 << 22)) -- none is dropped while a busy machine lets the receiver wait
      a:connect(b:local_addr())
      local list = {}
      for i = 1, 200 do
        list[i] = ("x"):rep(1000) .. i
      end
      local _, err, sent = a:try_send_many(list)
      print(err.code, sent > 0 and sent < 200)
      local first = sent
      a:set_write_timeout(0.001)
      _, err, sent = a:send_many(list)
      print(err.code, err.op, sent >= 0 and sent < 200)
      first = first + sent
      a:set_write_timeout(nil)
      print(tcpnet.run(function()
        local sender = tcpnet.spawn(a.send_many, a, list)
        local other = tcpnet.spawn(a.send, a, "last")
        for _ = 1, first do
          assert(b:recv())
        end
        for i = 1, 200 do
          assert(assert(b:recv()) == list[i], i)
        end
        assert(other:join())
        return b:recv(), sender:join()
      end))
      -- a send of one datagram waits as well
      local count, went, err = -1, nil, nil
      repeat
        went, err = a:try_send(("y"):rep(1000))
        count = count + 1
      until not went
      print(count > 0, err.code)
      print(a:send(("z"):rep(1000)))
      a:close()
    ]], [[unshare -n sh -e -c "
      ip link set lo up
      tc qdisc add dev lo root tbf rate 8mbit burst 64kb latency 50s
      exec $LUA $SCRIPT"]])
    assert.equal("EAGAIN\ttrue\nTIMEOUT\tsend_many\ttrue\nlast\ttrue\t200\ntrue\tEAGAIN\n1000\n", output)
  end)

  it("on a closed socket says so, with nothing sent", in_task(function()
    local socket = bound()
    socket:close()
    local count, err, sent = socket:send_many { "x" }
    fails("CLOSED", count, err)
    assert.equal(0, sent)
    fails("CLOSED", socket:recv_many(1))
    fails("CLOSED", socket:try_recv_many(1))
  end))
end)

describe("recv_many", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("waits when nothing is there, then gives what there is", in_task(function()
    local a, b, _guard <close> = connected()
    local waiting <close> = tcpnet.spawn(b.recv_many, b, 100)
    tcpnet.yield()
    assert.equal("waiting", waiting:status())
    assert.equal(2, a:send_many { "one", "two" })
    local ok, got = waiting:join(5)
    assert.is_true(ok)
    assert.same({ "one", "two" }, { got[1].data, got[2].data })
    assert.equal(2, #got)
  end))

  it("gives no more than it is asked for", in_task(function()
    local a, b, _guard <close> = connected()
    a:send_many { "1", "2", "3", "4", "5" }
    assert.equal(2, #b:recv_many(2))
    local rest = b:recv_many(3)
    assert.same({ "3", "4", "5" }, { rest[1].data, rest[2].data, rest[3].data })
    fails("EAGAIN", b:try_recv_many(1))
  end))

  it("cuts at max, and tells the real length", in_task(function()
    local a, b, _guard <close> = connected()
    a:send_many { "abc", "abcd", "abcde", "" }
    local got = b:recv_many(10, 4)
    assert.same({ "abc", "abcd", "abcd", "" }, { got[1].data, got[2].data, got[3].data, got[4].data })
    assert.same({ nil, nil, 5, nil }, { got[1].length, got[2].length, got[3].length, got[4].length })
    assert.equal("integer", math.type(got[3].length))
  end))

  it("gives the largest of datagrams whole", in_task(function()
    local a, b, _guard <close> = connected()
    a:set_send_buffer_size(400000)
    b:set_recv_buffer_size(1 << 20)
    local first, second = tcp.bytes(65507), tcp.bytes(65506)
    assert.equal(2, a:send_many { first, second })
    local got = b:recv_many(5)
    assert.is_true(got[1].data == first)
    assert.is_true(got[2].data == second)
  end))

  it("raises on a wrong number", in_task(function()
    local socket <close> = bound()
    for _, n in ipairs { 0, -1, 1025, 1.5, "x" } do
      raises(function() socket:recv_many(n) end, "bad argument #1 to 'recv_many'", "n: integer from 1 to 1024 expected")
    end
    raises(function() socket:recv_many() end, "bad argument #1 to 'recv_many'", "got nil")
    raises(function() socket:recv_many(1, 0) end, "bad argument #2 to 'recv_many'", "max: integer from 1")
    raises(function() socket:recv_many(1, 65537) end, "bad argument #2 to 'recv_many'", "max: integer from 1")
  end))

  it("tells a failure in the middle of a batch to the next call", function()
    if not tcp.can "strace -o /dev/null true" then
      return pending "needs strace"
    end
    -- The second recvmmsg of the child fails, as it does when an ICMP error comes between two of them: the kernel
    -- tells of it once.
    local output = tcp.child([[
      local socket = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      socket:connect(socket:local_addr())
      local list = {}
      for i = 1, 70 do
        list[i] = tostring(i)
      end
      assert(socket:send_many(list) == 70)
      print(#socket:recv_many(100))
      print(socket:try_recv_many(100))
      print(#socket:recv_many(100))
    ]], -- the call's name where a time has 32 bits
      [[strace -o /dev/null -e trace=/recvmmsg -e inject=/recvmmsg:error=ECONNREFUSED:when=2 "$LUA" "$SCRIPT"]])
    assert.matches("^64\nnil\trecv_many [%d.:]+: connection refused %(ECONNREFUSED%)\n6\n$", output)
  end)
end)

describe("a flood", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of 10,000 datagrams is received without loss, where the receive buffer is large enough", in_task(function()
    local a, b, _guard <close> = connected()
    b:set_recv_buffer_size(32 << 20)
    if b:recv_buffer_size() < 32 << 20 and not b:set_recv_buffer_size_force(32 << 20) then
      return pending "needs root for a receive buffer of 32 MiB"
    end
    local list = {}
    for i = 1, 10000 do
      list[i] = ("%d "):format(i):rep(10)
    end
    assert.equal(10000, a:send_many(list))
    local count = 0
    while count < 10000 do
      for _, item in ipairs(assert(b:set_read_timeout(5):recv_many(1024))) do
        count = count + 1
        assert.equal(list[count], item.data)
      end
    end
    fails("EAGAIN", b:try_recv())
  end))

  it("of 10,000 goes through a small buffer, where both sides take turns", in_task(function()
    local a, b, _guard <close> = connected()
    local sender <close> = tcpnet.spawn(function()
      for i = 1, 10000, 50 do
        local list = {}
        for k = 0, 49 do
          list[k + 1] = tostring(i + k)
        end
        assert(a:send_many(list) == 50)
        assert(a:recv() == "go on")
      end
    end)
    local count = 0
    while count < 10000 do
      for _, item in ipairs(assert(b:set_read_timeout(5):recv_many(64))) do
        count = count + 1
        assert.equal(tostring(count), item.data)
        if count % 50 == 0 then
          b:send "go on"
        end
      end
    end
    assert(sender:join())
  end))
end)

describe("a busy socket", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives way once for 64 pairs of send and recv (B64)", in_task(function()
    local socket <close> = bound()
    assert(socket:connect(socket:local_addr()))
    for _ = 1, 64 do -- recv finds one, also where a busy kernel hands over a moment later
      assert(socket:send "x")
    end
    tcpnet.sleep(0.05)
    local turns = 0
    local counter <close> = tcpnet.spawn(function()
      while true do
        tcpnet.yield()
        turns = turns + 1
      end
    end)
    tcpnet.yield() -- the counter waits for its turn, and a full budget begins
    local before, seen = turns, {}
    for _ = 1, 1024 do
      assert(socket:send "x")
      assert(socket:recv())
      seen[#seen + 1] = turns - before
    end
    for i = 2, #seen do
      assert.is_true(seen[i] - seen[i - 1] <= 1)
    end
    assert.is_true(seen[1024] == 15 or seen[1024] == 16, tostring(seen[1024]))
    for i = 1, 1024 - 65 do -- in any 65 pairs in a row somebody else has had a turn
      assert.is_true(seen[i + 65] > seen[i])
    end
    assert.is_true(counter:cancel())
  end))

  for what, work in pairs {
    ["recv and send"] = function(socket)
      assert(socket:send "x")
      assert(socket:recv())
    end,
    ["recv_many and send_many"] = function(socket)
      assert(socket:send_many { "x", "y", "z" })
      assert(socket:recv_many(64))
    end,
    ["peek"] = function(socket)
      assert(socket:try_peek() or socket:send "x")
      assert(socket:peek())
    end,
    ["readable and writable"] = function(socket)
      assert(socket:writable())
    end,
  } do
    it("does not starve other tasks: " .. what, in_task(function()
      local socket <close> = bound()
      assert(socket:connect(socket:local_addr()))
      local done, rounds = false, 0
      local sleeper <close> = tcpnet.spawn(function()
        for _ = 1, 5 do
          tcpnet.sleep(0.001)
        end
        done = true
      end)
      while not done do
        work(socket)
        rounds = rounds + 1
      end
      assert.is_true(rounds > 64)
      assert.equal("done", sleeper:status())
    end))
  end

  it("gives way in the middle of a list of 100,000", in_task(function()
    local a, _, _guard <close> = connected()
    local list = {}
    for i = 1, 100000 do
      list[i] = "x"
    end
    local turns = steps.turns_during(function()
      assert.equal(100000, a:send_many(list))
    end)
    assert.is_true(turns > 2, tostring(turns))
  end))
end)

describe("from_fd and what a socket becomes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives the descriptor away and adopts it", in_task(function()
    local a, b, _guard <close> = connected()
    local fd = assert(a:into_fd())
    assert.equal("integer", math.type(fd))
    assert.equal("UdpSocket (consumed)", tostring(a))
    assert.matches("consumed by into_fd", fails("CLOSED", a:send "x").message)
    local again <close> = assert(UdpSocket.from_fd(fd))
    assert.equal(fd, again:fd())
    assert.equal(b:local_addr(), again:peer_addr())
    again:send "x"
    assert.equal("x", b:recv())
  end))

  it("refuses what is no UDP socket, and leaves it open", function()
    local output = tcp.child([[
      for _, fd in ipairs { 5, 6, 300, 301 } do
        local object, err = tcpnet.UdpSocket.from_fd(fd)
        print(object, err.code, err.op)
      end
      os.execute "ls -l /proc/$PPID/fd | grep -c -E ' (5|6) -> '"
      print(pcall(tcpnet.UdpSocket.from_fd, "x"))
      print(pcall(tcpnet.UdpSocket.from_fd, -1))
    ]], [[exec 5</etc/passwd 6</dev/null; exec "$LUA" "$SCRIPT"]])
    assert.matches("^nil\tENOTSOCK\tfrom_fd\nnil\tENOTSOCK\tfrom_fd\nnil\tEBADF\tfrom_fd\nnil\tEBADF\tfrom_fd\n2\n" ..
      "false\t[^\n]*fd: integer from 0[^\n]*\nfalse\t[^\n]*fd: integer from 0[^\n]*\n$", output)
  end)

  it("refuses a stream, a Unix datagram and what another object owns", in_task(function()
    local stream = assert(tcpnet.TcpSocket.new_v4()):into_fd()
    assert.matches("not a UDP socket", fails("EINVAL", UdpSocket.from_fd(stream)).message)
    assert(tcpnet.TcpSocket.from_fd(stream)):close()
    local unix = assert(tcpnet.UnixDatagram.unbound()):into_fd()
    fails("EINVAL", UdpSocket.from_fd(unix))
    assert(tcpnet.UnixDatagram.from_fd(unix)):close()
    local owner <close> = bound()
    fails("EBUSY", UdpSocket.from_fd(owner:fd()))
    assert.is_false(owner:closed())
  end))

  it("makes the descriptor non-blocking", function()
    local output = tcp.child([[
      local socket = assert(tcpnet.UdpSocket.from_fd(5))
      print(select(2, socket:try_recv()).code)
      print(socket:peer_addr())
    ]], [[exec 5<>/dev/udp/127.0.0.1/9; exec "$LUA" "$SCRIPT"]])
    assert.equal("EAGAIN\n127.0.0.1:9\n", output)
  end)

  it("comes from a generic socket", in_task(function()
    local generic = assert(tcpnet.Socket.new("inet", "dgram"))
    assert(generic:bind "127.0.0.1:0")
    local addr = generic:local_addr()
    local socket <close> = assert(generic:into_udp_socket())
    assert.equal("Socket (consumed)", tostring(generic))
    assert.matches("consumed by into_udp_socket", fails("CLOSED", generic:fd()).message)
    assert.equal(addr, socket:local_addr())
    assert.equal(1, socket:send_to("x", addr))
    assert.equal("x", socket:recv())
    local stream <close> = assert(tcpnet.Socket.new("inet", "stream"))
    fails("EINVAL", stream:into_udp_socket())
    assert.is_false(stream:closed())
  end))

  it("has a view with every option, which does not own it", in_task(function()
    local socket <close> = bound()
    do
      local view <close> = assert(socket:as_socket())
      assert.equal("dgram", view:type())
      assert.equal(socket:fd(), view:fd())
      assert(view:set_ttl(33))
      assert.equal(1, view:send_to("x", socket:local_addr()))
      assert.equal("x", view:recv())
    end
    assert.is_false(socket:closed())
    assert.equal(33, socket:ttl())
    local view = socket:as_socket()
    socket:close()
    fails("CLOSED", view:ttl())
    fails("CLOSED", view:recv())
  end))

  it("closes once, and everything says so afterwards", in_task(function()
    local socket = bound()
    assert.is_false(socket:closed())
    socket:close()
    socket:close()
    assert.is_true(socket:closed())
    assert.equal("UdpSocket (closed)", tostring(socket))
    for _, name in ipairs { "recv", "recv_from", "peek", "peek_from", "peek_sender", "try_recv", "try_recv_from",
      "local_addr", "peer_addr", "readable", "writable", "fd", "into_fd", "take_error", "ttl", "as_socket" } do
      assert.matches("the UdpSocket is closed", fails("CLOSED", socket[name](socket)).message)
    end
    fails("CLOSED", socket:send "x")
    fails("CLOSED", socket:try_send "x")
    fails("CLOSED", socket:send_to("x", "127.0.0.1:9"))
    fails("CLOSED", socket:connect "127.0.0.1:9")
    fails("CLOSED", socket:set_ttl(3))
    fails("CLOSED", socket:join_multicast_v4 "239.1.1.1")
  end))

  it("is closed when it is collected", in_task(function()
    local function settled()
      collectgarbage()
      collectgarbage()
      tcpnet.sleep(0.01) -- the reactor closes them at its next turn
      return descriptors()
    end
    local before = settled()
    for _ = 1, 20 do
      bound()
    end
    assert.is_true(settled() <= before)
  end))

  it("is not collected while a task waits in it", in_task(function()
    local sender <close> = bound()
    local addr
    local task <close> = tcpnet.spawn(function()
      local socket <close> = bound()
      addr = socket:local_addr()
      return socket:recv()
    end)
    tcpnet.yield()
    collectgarbage()
    collectgarbage()
    sender:send_to("x", addr)
    assert.same({ true, "x" }, { task:join(5) })
  end))

  it("lives without a reactor's wait: the lines of the shortest script", function()
    local a <close> = bound()
    local b <close> = bound()
    assert(a:send_to("ping", b:local_addr()))
    local data, from = b:recv_from()
    assert.equal("ping", data)
    assert(b:send_to("pong", from))
    assert.equal("pong", a:recv())
  end)
end)
