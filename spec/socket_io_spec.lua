-- What a Socket sends and receives: bytes, datagrams and packets, urgent data, files, and filters of what comes. How
-- it is made and connected is in socket_spec.lua, control data in the spec of messages.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Buffer, Socket, SocketAddr = tcpnet.Buffer, tcpnet.Socket, tcpnet.SocketAddr
local fails, in_task = tcp.fails, tcp.in_task

-- Two Sockets connected by TCP, and what closes both.
local function connected(ip)
  local domain = ip and "inet6" or "inet"
  local listener <close> = assert(Socket.new(domain, "stream"))
  assert(listener:bind(ip or "127.0.0.1", 0))
  assert(listener:listen())
  local client = assert(Socket.new(domain, "stream"))
  assert(client:connect(listener:local_addr()))
  local server = assert(listener:accept())
  return client, server, tcp.guard(client, server)
end

-- A UDP Socket with an address.
local function bound(ip)
  local socket = assert(Socket.new(ip and "inet6" or "inet", "dgram"))
  return assert(socket:bind(ip or "127.0.0.1", 0))
end

-- Two UDP Sockets, the first connected to the second.
local function datagrams()
  local one, two = bound(), bound()
  assert(one:connect(two:local_addr()))
  return one, two, tcp.guard(one, two)
end

-- Sends until the kernel takes no more → bytes sent.
local function fill(socket)
  local piece, total, idle = ("x"):rep(65536), 0, 0
  while idle < 20 do -- longer than the kernel holds back an acknowledgment
    local count, err = socket:try_send(piece)
    if count then
      total, idle = total + count, 0
    else
      fails("EAGAIN", count, err)
      idle = idle + 1
      tcpnet.sleep(0.005) -- the peer's kernel may still take some
    end
  end
  return total
end

local function expect_misuse(text, fn, ...)
  local arguments = table.pack(...)
  local ok, message = pcall(function()
    fn(table.unpack(arguments, 1, arguments.n))
  end)
  assert.is_false(ok, "it was taken")
  assert.is_truthy(tostring(message):find(text, 1, true), ("%q is not in %q"):format(text, tostring(message)))
end

local function buffers(...)
  local list = {}
  for i, size in ipairs { ... } do
    list[i] = Buffer.new(size)
  end
  return list
end

local function texts(list)
  local out = {}
  for i, buffer in ipairs(list) do
    out[i] = tostring(buffer)
  end
  return out
end

describe("a Socket of a stream", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("receives up to max bytes, and nil alone at the end", in_task(function()
    for _, ip in ipairs { false, "::1" } do
      local client, server, _guard <close> = connected(ip or nil)
      assert.equal(5, client:send "hello")
      assert.equal("he", server:recv(2))
      assert.equal("llo", server:recv())
      assert.equal(client, client:shutdown())
      assert.equal(0, select("#", server:recv()) - 1)
      for _, method in ipairs { "recv", "recv_from", "peek", "peek_from", "try_recv", "try_recv_from", "recvmsg" } do
        local data, err = server[method](server)
        assert.is_nil(data, method)
        assert.is_nil(err, method)
      end
      local count, err = server:recv_vectored(buffers(4))
      assert.is_nil(count)
      assert.is_nil(err)
      assert.equal(2, server:send "ok")
      assert.equal("ok", client:recv())
      assert.equal(server, server:shutdown "both")
      fails("EPIPE", server:send "x")
      fails("EPIPE", server:send_vectored { "x" })
      fails("EPIPE", server:send_out_of_band "x")
    end
  end))

  it("of a seqpacket keeps records apart, and tells the end from the beginning of the next", in_task(function()
    local one, other = assert(Socket.pair("unix", "seqpacket"))
    local _close <close> = tcp.guard(one, other)
    assert.equal(5, one:send "first")
    assert.equal(6, one:send "second")
    local data, none, length = other:recv(3)
    assert.same({ "fir", nil, 5 }, { data, none, length })
    assert.equal("second", other:recv())
    fails("EAGAIN", other:try_recv())
    one:close()
    data, none = other:recv()
    assert.is_nil(data)
    assert.is_nil(none)
    fails("EPIPE", other:send "x")
  end))

  it("peeks without taking, from the front each time", in_task(function()
    local client, server, _guard <close> = connected()
    assert.equal(3, client:send "abc")
    assert.equal("ab", server:peek(2))
    assert.equal("abc", server:try_peek())
    local data = server:peek_from(1)
    assert.equal("a", data)
    assert.equal("abc", server:recv(nil, "peek"))
    assert.equal("abc", server:recv(nil, { "peek" }))
    assert.equal("abc", server:recv())
    fails("EAGAIN", server:try_peek())
    fails("EAGAIN", server:try_peek_from())
  end))

  it("answers EAGAIN in every try_ form where it would wait", in_task(function()
    local client, _, _guard <close> = connected()
    for _, method in ipairs {
      "try_recv", "try_recv_from", "try_peek", "try_peek_from", "try_peek_sender", "try_recvmsg",
      "try_recv_out_of_band",
    } do
      fails("EAGAIN", client[method](client))
    end
    fails("EAGAIN", client:try_recv_vectored(buffers(1)))
    fails("EAGAIN", client:try_recv_from_vectored(buffers(1)))
    fill(client)
    fails("EAGAIN", client:try_send "x")
    fails("EAGAIN", client:try_send_vectored { "x" })
    fails("EAGAIN", client:try_sendmsg { data = "x" })
  end))

  it("sends what the kernel takes, and waits for room where there is none", in_task(function()
    local client, server, _guard <close> = connected()
    local filled = fill(client)
    local sending = tcpnet.spawn(client.send, client, "end")
    tcpnet.yield()
    assert.equal("waiting", sending:status())
    local got = 0
    while got < filled do
      got = got + #assert(server:recv(filled - got))
    end
    assert.same({ true, 3 }, { sending:join() })
    assert.equal("end", server:recv())
  end))

  it("gathers and scatters in the order of the list", in_task(function()
    local client, server, _guard <close> = connected()
    local buffer = Buffer.new(8):append "buffer"
    assert.equal(15, client:send_vectored { "one", 42, "", buffer, "four" })
    local list = buffers(2, 3, 1, 20)
    list[3]:append "!"
    local count, flags = server:recv_vectored(list)
    assert.equal(15, count)
    assert.same({}, flags)
    assert.same({ "on", "e42", "!", "bufferfour" }, texts(list))
    assert.equal("buffer", tostring(buffer))
    assert.equal(2, client:try_send_vectored { "x", "y" })
    local more, address
    more, address, flags = server:recv_from_vectored(buffers(4))
    assert.equal(2, more)
    assert.is_nil(address)
    assert.same({}, flags)
  end))

  it("tells a reset from an end", in_task(function()
    local client, server, _guard <close> = connected()
    local waiting = tcpnet.spawn(server.recv, server)
    tcpnet.yield()
    assert(client:set_zero_linger())
    client:close()
    local _, data, err = waiting:join()
    assert.equal("recv", fails("ECONNRESET", data, err).op)
    fails("ECONNRESET", server:recv())
    fails("EPIPE ECONNRESET", server:send "x")
  end))

  it("keeps to its timeouts, and is usable after (API 1.11)", in_task(function()
    local client, server, _guard <close> = connected()
    assert.equal(server, server:set_timeout(0.03))
    assert.equal(0.03, server:read_timeout())
    assert.equal(0.03, server:write_timeout())
    assert.equal(0.03, server:timeout())
    local err = fails("TIMEOUT", server:recv())
    assert.equal("recv", err.op)
    fails("TIMEOUT", server:recv_from())
    fails("TIMEOUT", server:peek())
    fails("TIMEOUT", server:recv_vectored(buffers(1)))
    fails("TIMEOUT", server:recvmsg())
    fill(server)
    fails("TIMEOUT", server:send "x")
    assert(server:set_timeout(nil))
    assert.is_nil(server:timeout())
    assert(server:set_read_timeout(0.03))
    assert.is_nil(server:write_timeout())
    fails("TIMEOUT", server:recv())
    assert.equal(1, client:send "x")
    assert.equal("x", server:recv())
  end))

  it("knows its readiness, and try_io goes by it", in_task(function()
    local client, server, _guard <close> = connected()
    assert.is_true(server:writable())
    assert.is_true(tcp.waits(server.readable, server))
    local ready = server:ready "rw"
    assert.is_true(ready:is_writable())
    assert.is_false(ready:is_readable())
    fails("EAGAIN", server:try_io("r", function() error "it is not ready" end))
    assert.equal(1, client:send "x")
    assert.is_true(server:readable())
    assert.same({ "x", 7 }, { server:try_io("r", function() return server:try_recv(), 7 end) })
    fails("EAGAIN", server:try_io("r", server.try_recv, server))
    assert(client:shutdown())
    ready = server:ready "r"
    assert.is_true(ready:is_read_closed())
    assert.is_false(ready:is_write_closed())
    fill(client:try_clone() and server)
    assert.is_true(tcp.waits(server.writable, server))
  end))
end)

describe("a Socket of datagrams", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("sends to addresses of every form and tells whom what came from is from", in_task(function()
    local one <close> = bound()
    local two <close> = bound()
    local there, port = two:local_addr(), two:local_addr():port()
    for _, send in ipairs {
      function() return one:send_to("data", there) end,
      function() return one:send_to("data", tostring(there)) end,
      function() return one:send_to("data", "127.0.0.1", port) end,
      function() return one:send_to("data", ("localhost:%d"):format(port)) end,
      function() return one:send_to("data", "localhost", port) end,
      function() return one:send_to("data", there, { "dontroute" }) end,
      function() return one:send_to("data", "localhost", port, "dontroute") end,
      function() return one:send_to("data", ("localhost:%d"):format(port), {}) end,
      function() return one:try_send_to("data", there) end,
      function() return one:send_to_vectored({ "da", "ta" }, ("localhost:%d"):format(port)) end,
      function() return one:try_send_to_vectored({ "da", "ta" }, there) end,
      function() return one:sendmsg { data = "data", address = ("localhost:%d"):format(port) } end,
    } do
      assert.equal(4, send())
      local data, from = two:recv_from()
      assert.equal("data", data)
      assert.equal(one:local_addr(), from)
    end
    local six <close> = bound "::1"
    assert.equal(1, six:send_to("x", six:local_addr()))
    local data, from = six:recv_from()
    assert.equal("x", data)
    assert.equal(six:local_addr(), from)
    fails("EAFNOSUPPORT EINVAL", six:send_to("x", SocketAddr.from_bytes(("=I2"):pack(1))))
    local fresh <close> = assert(Socket.new("inet", "dgram"))
    fails("EDESTADDRREQ", fresh:send "x")
    assert.equal("127.0.0.1:0", fails("EINVAL", fresh:send_to("x", "127.0.0.1:0")).address)
  end))

  it("receives an empty one as data", in_task(function()
    local one, two, _guard <close> = datagrams()
    assert.equal(0, one:send "")
    assert.equal("", two:recv())
    assert.equal(0, one:send "")
    local data, from = two:recv_from()
    assert.equal("", data)
    assert.equal(one:local_addr(), from)
    assert.equal(0, one:send_to("", two:local_addr()))
    local count, flags = two:recv_vectored(buffers(4))
    assert.equal(0, count)
    assert.same({}, flags)
    assert.equal(0, one:send_vectored { "", "" })
    assert.equal("", two:recvmsg().data)
    fails("EAGAIN", two:try_recv())
    local left, right = assert(Socket.pair("unix", "dgram"))
    local _close <close> = tcp.guard(left, right)
    assert.equal(0, left:send "")
    assert.equal("", right:recv())
  end))

  it("cuts what does not fit, and tells its real length (B215)", in_task(function()
    local one, two, _guard <close> = datagrams()
    local text = "The quick brown fox jumps over the dog!"
    assert.equal(39, #text)
    assert.equal(39, one:send(text))
    assert.same({ text:sub(1, 24), nil, 39, n = 3 }, table.pack(two:peek(24)))
    local data, from, length = two:peek_from(24)
    assert.same({ text:sub(1, 24), tostring(one:local_addr()), 39 }, { data, tostring(from), length })
    assert.same({ text:sub(1, 24), nil, 39, n = 3 }, table.pack(two:recv(24)))
    assert.equal(39, one:send(text))
    data, from, length = two:recv_from(24)
    assert.same({ text:sub(1, 24), tostring(one:local_addr()), 39 }, { data, tostring(from), length })
    assert.equal(39, one:send(text))
    assert.same({ "", nil, 39, n = 3 }, table.pack(two:recv(0)))
    assert.equal(39, one:send(text))
    assert.same({ text, n = 1 }, table.pack(two:recv(39)))
    assert.equal(39, one:send(text))
    local list = buffers(10, 14)
    local count, flags = two:recv_vectored(list)
    assert.equal(24, count)
    assert.same({ truncated = true }, flags)
    assert.same({ text:sub(1, 10), text:sub(11, 24) }, texts(list))
    assert.equal(39, one:send(text))
    list = buffers(24)
    count, from, flags = two:recv_from_vectored(list)
    assert.equal(24, count)
    assert.equal(one:local_addr(), from)
    assert.same({ truncated = true }, flags)
    assert.same({ text:sub(1, 24) }, texts(list))
    fails("EAGAIN", two:try_recv())
  end))

  it("takes the largest there is", in_task(function()
    local one, two, _guard <close> = datagrams()
    local text = tcp.bytes(65507)
    assert.equal(65507, one:send(text))
    assert.is_true(two:recv() == text)
    fails("EMSGSIZE", one:send(text .. "x"))
    local left, right = assert(Socket.pair("unix", "dgram"))
    local _close <close> = tcp.guard(left, right)
    local large = tcp.bytes(100000)
    assert.equal(100000, left:send(large))
    local data, _, length = right:peek()
    assert.equal(65536, #data)
    assert.equal(100000, length)
    assert.is_true(right:recv(1 << 20) == large)
  end))

  it("gathers four pieces and scatters them over six buffers (B212)", in_task(function()
    local one, two, _guard <close> = datagrams()
    assert(two:connect(one:local_addr()))
    assert.equal(23, one:send_vectored { "the", "weight", "of", "a datagram.." })
    local list = buffers(3, 1, 5, 7, 4, 20)
    local count, flags = two:recv_vectored(list)
    assert.equal(23, count)
    assert.same({}, flags)
    assert.same({ "the", "w", "eight", "ofa dat", "agra", "m.." }, texts(list))
  end))

  it("peeks at the sender alone, and waits for one (B211)", in_task(function()
    local one, two, _guard <close> = datagrams()
    fails("EAGAIN", two:try_peek_sender())
    local peeking = tcpnet.spawn(two.peek_sender, two)
    tcpnet.yield()
    assert.equal(7, one:send "waiting")
    local _, sender = peeking:join()
    assert.equal(one:local_addr(), sender)
    assert.equal(one:local_addr(), two:try_peek_sender())
    assert.equal("waiting", two:recv())
    local left, right = assert(Socket.pair("unix", "dgram"))
    local _close <close> = tcp.guard(left, right)
    assert.equal(1, left:send "x")
    local address, err = right:peek_sender()
    assert.is_nil(err)
    assert.is_true(address == nil or address:is_unnamed())
  end))

  it("hears that nobody is there, once, and goes on", in_task(function()
    local client <close> = assert(Socket.new("inet", "dgram"))
    local gone = bound()
    local address = gone:local_addr()
    gone:close()
    assert(client:connect(address))
    local waiting = tcpnet.spawn(client.recv, client)
    tcpnet.yield()
    assert.equal(1, client:send "x")
    local _, data, err = waiting:join(10)
    err = fails("ECONNREFUSED", data, err)
    assert.equal("recv", err.op)
    assert.equal(tostring(address), err.address)
    fails("EAGAIN", client:try_recv())
    local back <close> = assert(Socket.new("inet", "dgram"))
    assert(back:bind(address))
    assert.equal(1, client:send "y")
    assert.equal("y", back:recv())
  end))

  it("serves the tasks that wait in recv in the order in which they came", in_task(function()
    local one, two, _guard <close> = datagrams()
    local order, tasks = {}, {}
    for i = 1, 4 do
      tasks[i] = tcpnet.spawn(function()
        local data = assert(two:recv())
        order[#order + 1] = ("%d:%s"):format(i, data)
      end)
    end
    tcpnet.yield()
    tasks[2]:cancel()
    for _, text in ipairs { "a", "b", "c" } do
      assert.equal(1, one:send(text))
    end
    for _, i in ipairs { 1, 3, 4 } do
      assert.is_true((tasks[i]:join(10)))
    end
    assert.same({ "1:a", "3:b", "4:c" }, order)
  end))

  it("loses nothing to a recv that is cancelled, or whose time is up", in_task(function()
    local one, two, _guard <close> = datagrams()
    for i = 1, 5 do
      local waiting = tcpnet.spawn(two.recv, two)
      local other = tcpnet.spawn(two.recv, two)
      tcpnet.yield()
      assert.equal(1, one:send(tostring(i)))
      waiting:cancel() -- it may have been chosen already
      local ok, data = other:join(10)
      assert.is_true(ok)
      assert.equal(tostring(i), data)
    end
    assert.is_true(tcp.waits(two.recv_from, two))
    assert.equal(1, one:send "x")
    assert.equal("x", (two:recv_from()))
    assert(two:set_read_timeout(0.02))
    fails("TIMEOUT", two:recv())
    assert.equal(1, one:send "y")
    assert.equal("y", two:recv())
    fails("EAGAIN", two:try_recv())
  end))

  it("ends the wait of all who receive when it is closed", in_task(function()
    local _, two, _guard <close> = datagrams()
    local tasks = {}
    for i, method in ipairs { "recv", "recv_from", "peek", "peek_sender", "readable", "recvmsg" } do
      tasks[i] = tcpnet.spawn(two[method], two)
    end
    tcpnet.yield()
    two:close()
    for _, task in ipairs(tasks) do
      local _, data, err = task:join(10)
      assert.equal("the Socket is closed", fails("CLOSED", data, err).message)
    end
  end))

  it("waits for room of a unix peer that reads slowly", in_task(function()
    local one, other = assert(Socket.pair("unix", "dgram"))
    local _close <close> = tcp.guard(one, other)
    local sent = 0
    while true do
      local count, err = one:try_send(tostring(sent + 1))
      if not count then
        fails("EAGAIN", count, err)
        break
      end
      sent = sent + 1
    end
    local sending = tcpnet.spawn(one.send, one, "last")
    tcpnet.sleep(0.01)
    assert.equal("waiting", sending:status())
    for i = 1, sent do
      assert.equal(tostring(i), other:recv())
    end
    assert.same({ true, 4 }, { sending:join(10) })
    assert.equal("last", other:recv())
  end))
end)

describe("urgent data", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("comes apart from the rest, both ways (B210)", in_task(function()
    for _, swap in ipairs { false, true } do
      local client, server, _guard <close> = connected()
      if swap then
        client, server = server, client
      end
      assert.equal(6, client:send "normal")
      assert.equal(1, client:send_out_of_band "!")
      assert.equal("!", server:recv_out_of_band())
      assert.equal("normal", server:recv())
      fails("EAGAIN", server:try_recv())
      assert.equal(3, client:send("abc", { "oob" }))
      assert(server:ready "p")
      assert.equal("c", server:recv(10, "oob"))
      assert.equal("ab", server:recv())
      fails("EAGAIN", server:try_recv_out_of_band())
    end
  end))

  it("is waited for, whatever else comes meanwhile", in_task(function()
    local client, server, _guard <close> = connected()
    local waiting = tcpnet.spawn(server.recv_out_of_band, server)
    tcpnet.yield()
    assert.equal(5, client:send "plain")
    tcpnet.sleep(0.02)
    assert.equal("waiting", waiting:status())
    assert.equal(1, client:send_out_of_band "!")
    assert.same({ true, "!" }, { waiting:join(10) })
    assert.equal("plain", server:recv())
    local polls = tcpnet.metrics().polls
    assert.equal(5, client:send "plain")
    assert.is_true(tcp.waits(server.recv_out_of_band, server))
    assert.is_true(tcpnet.metrics().polls - polls < 200, "it spins while there are plain bytes")
  end))

  it("will not come from a peer that has ended the stream: nil", in_task(function()
    for _, finish in ipairs { "shutdown", "close" } do
      local client, server, _guard <close> = connected()
      local waiting = tcpnet.spawn(server.recv_out_of_band, server)
      local ready = tcpnet.spawn(server.ready, server, "p")
      tcpnet.yield()
      client[finish](client)
      local joined, data, err = waiting:join(5)
      assert.is_true(joined, finish .. ": it waits on: " .. tostring(data))
      assert.is_nil(data)
      assert.is_nil(err)
      local _, state = ready:join(5)
      assert.is_true(tostring(state):find("read closed", 1, true) ~= nil, tostring(state))
      data, err = server:recv_out_of_band()
      assert.is_nil(data)
      assert.is_nil(err)
    end
  end))

  it("will not come after a reset, which is no end", in_task(function()
    local client, server, _guard <close> = connected()
    local waiting = tcpnet.spawn(server.recv_out_of_band, server)
    tcpnet.yield()
    assert(client:set_zero_linger())
    client:close()
    local _, data, err = waiting:join(5)
    fails("ECONNRESET", data, err)
    fails("ECONNRESET", server:recv())
  end))

  it("is EINVAL where it is inline, and among the bytes then", in_task(function()
    local client, server, _guard <close> = connected()
    assert(server:set_out_of_band_inline(true))
    assert.equal(2, client:send_out_of_band "a!")
    fails("EINVAL", server:recv_out_of_band())
    fails("EINVAL", server:try_recv_out_of_band())
    local got = ""
    while #got < 2 do
      got = got .. assert(server:recv())
    end
    assert.equal("a!", got)
  end))

  it("is not for datagrams", in_task(function()
    local one, two, _guard <close> = datagrams()
    fails("ENOTSUP EOPNOTSUPP", one:send_out_of_band "x")
    fails("EAGAIN", two:try_recv())
  end))
end)

describe("sendfile", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function with_file(text, fn)
    local folder <close> = program.folder()
    local file <close> = assert(io.open(program.write(folder.path .. "/file", text), "r"))
    fn(file, folder.path)
  end

  -- Takes bytes of the socket as a task, until `count` have come.
  local function taking(socket, count)
    return tcpnet.spawn(function()
      local parts, got = {}, 0
      while got < count do
        local part = assert(socket:recv())
        parts[#parts + 1] = part
        got = got + #part
      end
      return table.concat(parts)
    end)
  end

  it("sends a file whole, or a part of it (B218)", in_task(function()
    local text = tcp.bytes(3000)
    with_file(text, function(file)
      local client, server, _guard <close> = connected()
      assert.equal(3000, client:sendfile(file))
      assert.is_true(text == select(2, taking(server, 3000):join()))
      assert.equal(1500, client:sendfile(file, 0, 1500))
      assert.equal(1500, client:sendfile(file, 1500))
      assert.is_true(text == select(2, taking(server, 3000):join()))
      assert.equal(7, client:sendfile(file, 100, 7))
      assert.equal(text:sub(101, 107), select(2, taking(server, 7):join()))
      assert.equal(0, client:sendfile(file, 0, 0))
      assert.equal(100, client:sendfile(file, 2900, 1000))
      assert.equal(text:sub(2901), select(2, taking(server, 100):join()))
      assert.equal(0, client:sendfile(file, 3000))
      assert.equal(0, client:sendfile(file, 5000, 10))
      fails("EAGAIN", server:try_recv())
      assert.equal(0, file:seek()) -- the file's own position is left alone
      assert.equal(text:sub(1, 10), file:read(10))
    end)
  end))

  it("sends a large file, however slowly the peer reads, and other tasks run", in_task(function()
    local text = tcp.bytes(6 << 20)
    with_file(text, function(file)
      local client, server, _guard <close> = connected()
      local sending = tcpnet.spawn(client.sendfile, client, file)
      tcpnet.yield()
      tcpnet.sleep(0.01)
      assert.equal("waiting", sending:status())
      local behind = tcpnet.spawn(client.send, client, "behind")
      local head = {}
      for i = 1, 40 do -- there is room now, but it is the file's
        head[i] = server:try_recv()
      end
      fails("EAGAIN", client:try_send "among")
      head = table.concat(head)
      local rest = select(2, taking(server, #text + 6 - #head):join())
      assert.is_true(text .. "behind" == head .. rest, "other bytes came")
      assert.same({ true, #text }, { sending:join() })
      assert.same({ true, 6 }, { behind:join() })
    end)
  end))

  it("is in streams and their writing halves, too", in_task(function()
    with_file("a file\n", function(file)
      local client, server, _guard <close> = tcp.pair()
      local _, half = client:split()
      for _, writer in ipairs { client, half, client:as_socket() } do
        assert.equal(7, writer:sendfile(file))
        assert.equal("a file", server:read_line())
      end
      local reader, owned = client:into_split()
      assert.equal(4, owned:sendfile(file, 2, 4))
      assert.equal("file", server:read_exact(4))
      reader:close()
      owned:close()
    end)
  end))

  it("sends what the program itself has written and not flushed", in_task(function()
    with_file("", function(_, folder)
      local file <close> = assert(io.open(folder .. "/own", "w+"))
      file:setvbuf("full", 4096)
      assert(file:write "unflushed")
      local client, server, _guard <close> = connected()
      assert.equal(9, client:sendfile(file))
      assert.equal("unflushed", server:recv())
    end)
  end))

  it("stops where the file is closed while it waits, and says how much went out", in_task(function()
    with_file(tcp.bytes(6 << 20), function(_, folder)
      local file = assert(io.open(folder .. "/file"))
      local client, server, _guard <close> = connected()
      local sending = tcpnet.spawn(client.sendfile, client, file)
      tcpnet.yield()
      file:close()
      local before = tcpnet.spawn(function()
        local total = 0
        while true do
          local part = server:recv()
          if not part then
            return total
          end
          total = total + #part
        end
      end)
      local _, count, err, sent = sending:join(10)
      assert.equal("the file was closed", fails("CLOSED", count, err).message)
      assert.equal("integer", math.type(sent))
      client:close()
      local _, total = before:join(10)
      assert.equal(total, sent)
      assert.is_true(sent > 0 and sent < 6 << 20)
    end)
  end))

  it("to a peer that is gone is EPIPE or ECONNRESET with a count, and never a signal", function()
    local output, status = tcp.child [[
      local file = assert(io.open(arg[0]))
      local listener = TcpListener.bind "127.0.0.1:0"
      local socket = assert(tcpnet.Socket.new("inet", "stream"))
      assert(socket:connect(listener:local_addr()))
      local peer = listener:accept()
      peer:close()
      local count, err, sent
      repeat
        count, err, sent = socket:sendfile(file)
      until not count
      print(err:is("EPIPE", "ECONNRESET"), math.type(sent))
      count, err, sent = socket:sendfile(file)
      print(count, err.code, sent)
      assert(socket:shutdown("write") == socket)
      print(select(2, socket:send "x").code)
      local one, other = tcpnet.Socket.pair("unix", "stream")
      other:close()
      print(select(2, one:sendfile(file)).code, select(2, one:send "x").code)
    ]]
    assert.equal("true\tinteger\nnil\tEPIPE\t0\nEPIPE\nEPIPE\tEPIPE\n", output)
    assert.equal(0, status)
  end)

  it("cancelled has sent a prefix", in_task(function()
    local text = tcp.bytes(6 << 20)
    with_file(text, function(file)
      local client, server, _guard <close> = connected()
      assert.is_true(tcp.waits(client.sendfile, client, file))
      assert(client:shutdown())
      local parts = {}
      for part in function() return (server:recv()) end do
        parts[#parts + 1] = part
      end
      local got = table.concat(parts)
      assert.is_true(#got > 0 and #got < #text)
      assert.is_true(got == text:sub(1, #got))
    end)
  end))

  it("fails for what cannot be sent so, and raises for what is no open file (F30)", in_task(function()
    local client, server, _guard <close> = connected()
    local pipe <close> = assert(io.popen "echo x")
    local _, err, sent = client:sendfile(pipe)
    assert.is_true(tcpnet.is_error(err, "ESPIPE") or tcpnet.is_error(err, "EINVAL"), tostring(err))
    assert.equal(0, sent)
    with_file("x", function(file)
      for _, wrong in ipairs { -1, 0.5, 0 / 0, "0", true } do
        expect_misuse("offset: integer from 0", client.sendfile, client, file, wrong)
        expect_misuse("count: integer from 0", client.sendfile, client, file, 0, wrong)
      end
      file:close()
      expect_misuse("bad argument #1 to 'sendfile' (the file is closed)", function() client:sendfile(file) end)
    end)
    for _, wrong in ipairs { "file", 1, {}, client } do
      expect_misuse("bad argument #1 to 'sendfile'", function() client:sendfile(wrong) end)
    end
    fails("EAGAIN", server:try_recv())
  end))
end)

describe("a filter", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- Classic BPF: the first byte of the payload (after the UDP header) decides.
  local function dropping(byte)
    return {
      { 0x30, 0, 0, 8 }, -- ldb [8]
      { 0x15, 0, 1, byte }, -- jeq #byte, 0, 1
      { 0x06, 0, 0, 0 }, -- ret #0
      { 0x06, 0, 0, 0xffffffff }, -- ret #-1
    }
  end

  local on_linux = tcp.can "test -e /proc/self/exe"

  it("drops what it is told to, until it is detached", in_task(function()
    if not on_linux then
      return pending "filters are Linux's"
    end
    local one, two, _guard <close> = datagrams()
    assert.equal(two, two:attach_filter(dropping(("x"):byte())))
    for _, text in ipairs { "xa", "b", "xc", "d" } do
      assert.equal(#text, one:send(text))
    end
    assert.equal("b", two:recv())
    assert.equal("d", two:recv())
    fails("EAGAIN", two:try_recv())
    assert(two:attach_filter(dropping(("b"):byte()))) -- in place of the other
    assert.equal(2, one:send "xa")
    assert.equal(1, one:send "b")
    assert.equal("xa", two:recv())
    fails("EAGAIN", two:try_recv())
    assert.equal(two, two:detach_filter())
    assert.equal(1, one:send "b")
    assert.equal("b", two:recv())
    local err = fails("ENOENT", two:detach_filter())
    assert.equal("no filter is attached", err.message)
  end))

  it("may cut what it lets through", in_task(function()
    if not on_linux then
      return pending "filters are Linux's"
    end
    local one, two, _guard <close> = datagrams()
    assert(two:attach_filter { { 6, 0, 0, 8 + 3 } })
    assert.equal(6, one:send "abcdef")
    assert.equal("abc", two:recv())
    assert(two:attach_filter { { 6, 0, 0, -1 } })
    assert.equal(6, one:send "abcdef")
    assert.equal("abcdef", two:recv())
  end))

  it("that the system does not take is EINVAL, and the one before stays", in_task(function()
    if not on_linux then
      return pending "filters are Linux's"
    end
    local one, two, _guard <close> = datagrams()
    assert(two:attach_filter(dropping(("x"):byte())))
    for _, wrong in ipairs {
      { { 0x15, 5, 0, 1 }, { 6, 0, 0, 1 } }, -- a jump past the end
      { { 0x30, 0, 0, 8 } }, -- no return
      { { 0xffff, 0, 0, 0 }, { 6, 0, 0, 1 } }, -- no such instruction
    } do
      local err = fails("EINVAL", two:attach_filter(wrong))
      assert.equal("the system refuses the program: a jump, an instruction or its end is wrong", err.message)
    end
    assert.equal(1, one:send "x")
    assert.equal(1, one:send "y")
    assert.equal("y", two:recv())
  end))

  it("that is no list of instructions is raised, naming what is wrong (F30, F31)", function()
    local socket <close> = bound()
    local function refuse(text, program_)
      expect_misuse("bad argument #1 to 'attach_filter' (" .. text, function() socket:attach_filter(program_) end)
    end
    refuse "table expected, got"
    refuse("table expected, got string", "x")
    refuse("1 to 4096 instructions expected)", {})
    local long = {}
    for i = 1, 4097 do
      long[i] = { 6, 0, 0, 1 }
    end
    refuse("1 to 4096 instructions expected)", long)
    refuse("list of instructions {code, jt, jf, k} expected)", { 1 })
    refuse("list of instructions {code, jt, jf, k} expected)", { { 6, 0, 0, 1 }, "x" })
    refuse("instruction 1: code: integer from 0 to 65535 expected)", { {} })
    refuse("instruction 1: code: integer from 0 to 65535 expected)", { { 65536, 0, 0, 0 } })
    refuse("instruction 1: code: integer from 0 to 65535 expected)", { { "6", 0, 0, 0 } })
    refuse("instruction 1: jt: integer from 0 to 255 expected)", { { 6, 256, 0, 0 } })
    refuse("instruction 1: jf: integer from 0 to 255 expected)", { { 6, 0, -1, 0 } })
    refuse("instruction 2: k: integer from -2147483648 to 4294967295 expected)",
      { { 6, 0, 0, 0 }, { 6, 0, 0, 1 << 32 } })
    refuse("instruction 2: k: integer from -2147483648 to 4294967295 expected)", { { 6, 0, 0, 0 }, { 6, 0, 0 } })
    refuse("instruction 1: k: integer from -2147483648 to 4294967295 expected)", { { 6, 0, 0, 0.5 } })
  end)
end)

describe("what a Socket is given", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is checked, and the message names the argument (F30, F31)", in_task(function()
    local one, two, _guard <close> = datagrams()
    for _, method in ipairs { "recv", "recv_from", "peek", "peek_from", "try_recv", "recv_out_of_band" } do
      for _, wrong in ipairs { -1, 2 ^ 31, 0.5, 0 / 0, "1", {} } do
        expect_misuse("max: integer from 0 to 2147483647 expected", two[method], two, wrong)
      end
      expect_misuse("flags: list of oob peek errqueue expected", two[method], two, 1, "dontroute")
      expect_misuse("flags: list of oob peek errqueue expected", two[method], two, 1, { "peek", "x" })
      expect_misuse("flags: list of oob peek errqueue expected", two[method], two, 1, { 1 })
      expect_misuse("flags: list of oob peek errqueue expected", two[method], two, 1, 1)
    end
    local sending = "flags: list of oob dontroute eor more confirm fastopen expected"
    expect_misuse("bad argument #2 to 'send' (" .. sending, function() one:send("x", "peek") end)
    expect_misuse("bad argument #2 to 'send_vectored' (" .. sending, function() one:send_vectored({ "x" }, true) end)
    expect_misuse(sending, one.send_to, one, "x", two:local_addr(), "peek")
    expect_misuse(sending, one.send_to, one, "x", "127.0.0.1", 1, { "peek" })
    expect_misuse(sending, one.send_to_vectored, one, { "x" }, two:local_addr(), { 1 })
    for _, wrong in ipairs { {}, true, print } do
      expect_misuse("bad argument #1 to 'send' (string, number or Buffer expected", function() one:send(wrong) end)
      expect_misuse("string, number or Buffer expected", one.send_out_of_band, one, wrong)
      expect_misuse("string, number or Buffer expected", one.send_to, one, wrong, two:local_addr())
    end
    expect_misuse("a list of at least one string or Buffer expected", one.send_vectored, one, {})
    expect_misuse("a list of strings, numbers or Buffers expected", one.send_vectored, one, { true })
    expect_misuse("table expected, got string", one.send_vectored, one, "x")
    expect_misuse("bad argument #2 to 'send_to' (SocketAddr, \"host:port\" or host, port expected",
      function() one:send_to("x", {}) end)
    expect_misuse("bad argument #3 to 'send_to' (port: integer from 0 to 65535 expected",
      function() one:send_to("x", "127.0.0.1", 65536) end)
    local same = Buffer.new(1)
    for text, list in pairs {
      ["a list of 1 to 64 Buffers expected"] = {}, ["a list of Buffers expected"] = { "x" },
      ["each Buffer once expected"] = { same, same }, ["the Buffers are full"] = { Buffer.new(1):append "x" },
    } do
      expect_misuse(text, two.recv_vectored, two, list)
      expect_misuse(text, two.recv_from_vectored, two, list)
    end
    expect_misuse("bad argument #1 to 'shutdown'", function() one:shutdown "all" end)
    expect_misuse("interest: \"r\", \"w\", \"rw\", \"p\" or an Interest expected", one.ready, one, "x")
    expect_misuse("function", one.try_io, one, "r")
    expect_misuse("bad argument #1 to 'set_timeout'", function() one:set_timeout(-1) end)
    fails("EAGAIN", two:try_recv())
  end))
end)
