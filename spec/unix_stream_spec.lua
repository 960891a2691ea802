-- UnixStream: what it shares with TcpStream, its addresses, the peer's credentials, and descriptors that are passed.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits
local SocketAddr, TcpStream, UnixStream = tcpnet.SocketAddr, tcpnet.TcpStream, tcpnet.UnixStream
local UnixListener = tcpnet.UnixListener

local pairs_of = { TcpStream = tcp.pair, UnixStream = tcp.unix_pair }

local function is_end(...)
  assert.same({ n = 1 }, table.pack(...))
end

-- The same small scenarios over a pair of each class: fn(a, b), connected to each other. ------------------------------

local scenarios = {}

local function scenario(name, fn)
  scenarios[#scenarios + 1] = { name = name, fn = fn }
end

scenario("read gives what is there, at most max, then nothing at the end (B65)", function(a, b)
  assert.equal(5, a:write "hello")
  assert.equal("he", b:read(2))
  assert.equal("llo", b:read())
  a:close()
  is_end(b:read())
  is_end(b:read(1))
  assert.has_error(function() b:read(0) end)
end)

scenario("a waiting read is woken, by one write", function(a, b)
  local reader = tcpnet.spawn(b.read, b)
  tcpnet.sleep(0.01)
  assert.equal("waiting", reader:status())
  a:write "x"
  assert.same({ true, "x" }, { reader:join(5) })
end)

scenario("read_exact waits for all of it; at the end what came stays readable", function(a, b)
  local reader = tcpnet.spawn(b.read_exact, b, 6)
  a:write "abc"
  tcpnet.sleep(0.01)
  a:write "defgh"
  assert.same({ true, "abcdef" }, { reader:join(5) })
  assert.equal("", b:read_exact(0))
  a:shutdown()
  local bytes, err, partial = b:read_exact(10)
  fails("EOF", bytes, err)
  assert.equal("gh", partial)
  assert.equal("gh", b:read())
  is_end(b:read())
end)

scenario("read_line takes either ending and a last line without one", function(a, b)
  a:write "one\r\n\ntwo\nlast"
  a:shutdown()
  assert.equal("one", b:read_line())
  assert.equal("", b:read_line())
  assert.equal("two", b:read_line())
  assert.equal("last", b:read_line())
  is_end(b:read_line())
end)

scenario("read_line and read_until past max are LIMIT and lose nothing", function(a, b)
  a:write "0123456789\n"
  fails("LIMIT", b:read_line(9))
  fails("LIMIT", b:read_until("9", 9))
  assert.equal(11, b:buffered())
  assert.equal("0123456789", b:read_line(10))
end)

scenario("read_until gives the delimiter too", function(a, b)
  a:write "a--b-"
  assert.equal("a--", b:read_until "--")
  a:write "-c"
  assert.equal("b--", b:read_until "--")
  a:close()
  assert.equal("c", b:read_until "--")
  is_end(b:read_until "--")
end)

scenario("read_to_end gives it all, or LIMIT", function(a, b)
  local text = tcp.bytes(300000)
  local writer = tcpnet.spawn(function()
    assert(a:write(text))
    a:shutdown()
  end)
  fails("LIMIT", b:read_to_end(1000))
  assert.is_true(b:read_to_end() == text)
  assert.is_true(writer:join(5))
  assert.equal("", b:read_to_end())
end)

scenario("read_into appends up to the room that is left", function(a, b)
  local buffer = tcpnet.Buffer.new(8)
  a:write "0123456789"
  assert.equal(3, b:read_into(buffer, 3))
  assert.equal(5, b:read_into(buffer))
  assert.equal("01234567", tostring(buffer))
  assert.has_error(function() b:read_into(buffer) end)
  buffer:clear()
  assert.equal(2, b:read_into(buffer))
  a:close()
  is_end(b:read_into(buffer))
end)

scenario("peek takes nothing, and gives what is buffered before what the kernel has", function(a, b)
  a:write "line\nab"
  assert.equal("line\nab", b:peek())
  assert.equal("li", b:peek(2))
  assert.equal("line", b:read_line())
  assert.equal(2, b:buffered())
  a:write "cd"
  b:ready "r"
  assert.equal("abcd", b:peek())
  assert.equal("a", b:try_peek(1))
  assert.equal("abcd", b:read_exact(4))
  fails("EAGAIN", b:try_peek())
  a:close()
  is_end(b:peek())
end)

scenario("lines and chunks iterate to the end", function(a, b)
  a:write "1\n2\n3"
  a:shutdown()
  local seen = {}
  for line in b:lines() do
    seen[#seen + 1] = line
  end
  assert.same({ "1", "2", "3" }, seen)
  b:write "abcde"
  b:shutdown()
  seen = {}
  for chunk in a:chunks(2) do
    seen[#seen + 1] = chunk
  end
  assert.same({ "ab", "cd", "e" }, seen)
end)

scenario("write takes strings, numbers and Buffers, in one go", function(a, b)
  local buffer = tcpnet.Buffer.new(3)
  buffer:append "buf"
  assert.equal(9, a:write("one", 2, buffer, "", 3.5 // 1 | 0, "!"))
  assert.equal("one2buf3!", b:read())
  assert.equal(0, a:write())
end)

scenario("a write that waits goes on when the peer reads, and its bytes are contiguous", function(a, b)
  local first, second = ("1"):rep(2000000), ("2"):rep(2000000)
  local one = tcpnet.spawn(a.write, a, first)
  local two = tcpnet.spawn(a.write, a, second)
  assert.is_true(b:read_exact(4000000) == first .. second)
  assert.same({ true, 2000000 }, { one:join(5) })
  assert.same({ true, 2000000 }, { two:join(5) })
end)

scenario("a write that times out says how much went out, which arrives", function(a, b)
  a:set_write_timeout(0.03)
  assert.is_true(math.abs(a:write_timeout() - 0.03) < 1e-6)
  local text = tcp.bytes(8000000)
  local count, err, sent = a:write(text)
  fails("TIMEOUT", count, err)
  assert.is_true(sent > 0 and sent < #text)
  assert.is_true(b:read_exact(sent) == text:sub(1, sent))
  fails("EAGAIN", b:try_read())
end)

scenario("write_from consumes its Buffer; write_some and write_vectored count", function(a, b)
  local buffer = tcpnet.Buffer.new(10)
  buffer:append "0123456789"
  assert.equal(10, a:write_from(buffer))
  assert.equal(0, #buffer)
  assert.equal(4, a:write_some("skipped", 4))
  assert.equal(5, a:write_vectored { "ab", "", "cde" })
  assert.equal("0123456789ppedabcde", b:read_exact(19))
end)

scenario("the try_ forms never wait", function(a, b)
  fails("EAGAIN", b:try_read())
  local first, second = tcpnet.Buffer.new(2), tcpnet.Buffer.new(10)
  fails("EAGAIN", b:try_read_into(first))
  fails("EAGAIN", b:try_read_vectored { first, second })
  assert.equal(6, a:try_write "012345")
  assert.equal(4, a:try_write_vectored { "67", "89" })
  b:readable()
  assert.equal("01", b:try_read(2))
  assert.equal(8, b:try_read_vectored { first, second })
  assert.same({ "23", "456789" }, { tostring(first), tostring(second) })
  for _, method in ipairs { "try_write", "try_write_vectored" } do
    local count, err
    repeat -- the peer's kernel may have taken more meanwhile
      tcp.fill(a)
      count, err = a[method](a, method == "try_write" and "x" or { "x", "y" })
    until not count
    fails("EAGAIN", count, err)
  end
end)

scenario("writable and readable tell when to go on; all that was sent arrives", function(a, b)
  assert.is_true(a:writable())
  local total = tcp.fill(a)
  assert.is_true(waits(a.writable, a))
  local got = 0
  while got < total do
    assert(b:readable())
    got = got + #(b:try_read() or "")
  end
  assert.equal(total, got)
  assert.is_true(a:writable())
  assert.is_true(waits(b.readable, b))
end)

scenario("ready sees bytes, a closed side, and no closed side where there is none", function(a, b)
  a:write "x"
  local ready = b:ready "r"
  assert.is_true(ready:is_readable())
  assert.is_false(ready:is_read_closed())
  b:read()
  a:shutdown()
  assert.is_true(b:ready("r"):is_read_closed())
  assert.is_false(b:ready("w"):is_write_closed())
end)

scenario("try_io and async_io run the function when there is something", function(a, b)
  local runs = 0
  fails("EAGAIN", b:try_io("r", function() runs = runs + 1 end))
  assert.equal(0, runs)
  tcpnet.spawn(function()
    tcpnet.sleep(0.01)
    a:write "async"
  end)
  assert.equal("async", b:async_io("r", function() return b:try_read() end))
end)

scenario("split gives halves of a stream that stays valid", function(a, b)
  local read_half, write_half = b:split()
  assert.matches("^ReadHalf", tostring(read_half))
  assert.matches("^WriteHalf", tostring(write_half))
  a:write "ping\nmore"
  assert.equal("ping", read_half:read_line())
  assert.equal(4, b:buffered())
  assert.equal("more", b:read())
  assert.equal(2, write_half:write "ok")
  assert.equal("ok", a:read())
end)

scenario("each side of a split pair writes, shuts down and reads to the end (B49)", function(a, b)
  local outcomes = tcpnet.each({ a, b }, 2, function(stream, i)
    local read_half, write_half = stream:split()
    assert(write_half:write(i))
    assert(write_half:shutdown())
    return read_half:read_to_end()
  end)
  assert.same({ { true, "2" }, { true, "1" } }, outcomes)
end)

scenario("into_split consumes; closing the writing half ends the stream; reunite gives it back", function(a, b, class)
  local read_half, write_half = b:into_split()
  assert.is_true(b:closed())
  fails("CLOSED", b:read())
  write_half:write "x"
  local back = assert(read_half:reunite(write_half))
  assert.matches("^" .. class .. " ", tostring(back))
  assert.is_true(read_half:closed() and write_half:closed())
  assert.equal("x", a:read())
  assert.is_true(waits(a.read, a)) -- reuniting has ended nothing
  read_half, write_half = back:into_split()
  write_half:close()
  is_end(a:read())
  a:write "still"
  assert.equal("still", read_half:read())
  read_half:close()
end)

scenario("forget gives the writing half up without an end", function(a, b)
  local read_half, write_half = b:into_split()
  write_half:forget()
  assert.is_true(write_half:closed())
  assert.is_true(waits(a.read, a))
  read_half:close()
  is_end(a:read())
end)

scenario("halves of two streams do not reunite", function(a, b)
  local a_reads, a_writes = a:into_split()
  local b_reads, b_writes = b:into_split()
  fails("EINVAL", a_reads:reunite(b_writes))
  local one <close> = assert(a_reads:reunite(a_writes))
  local two <close> = assert(b_reads:reunite(b_writes))
  one:write "whole"
  assert.equal("whole", two:read())
end)

scenario("shutdown ends one direction, three times over, and writing is EPIPE", function(a, b)
  for _ = 1, 3 do
    assert.equal(a, a:shutdown())
  end
  is_end(b:read())
  fails("EPIPE", a:write "x")
  b:write "back"
  assert.equal("back", a:read())
  assert(a:shutdown "both")
  assert.has_error(function() a:shutdown "sideways" end)
end)

scenario("finish passes the end on, reads the rest away and closes", function(a, b)
  b:write(("x"):rep(100000))
  local other = tcpnet.spawn(function()
    local text = b:read_to_end()
    b:close()
    return text
  end)
  a:write "bye"
  assert.is_true(a:finish(5))
  assert.is_true(a:closed())
  assert.same({ true, "bye" }, { other:join(5) })
end)

scenario("finish gives up at its deadline", function(a, b)
  fails("TIMEOUT", a:finish(0.02))
  assert.is_true(a:closed())
  is_end(b:read())
end)

scenario("a timeout ends one call, and nothing else", function(a, b)
  assert.equal(b, b:set_timeout(0.02))
  assert.is_true(math.abs(b:timeout() - 0.02) < 1e-6)
  fails("TIMEOUT", b:read())
  fails("TIMEOUT", b:read_line())
  a:write "late\n"
  assert.equal("late", b:read_line())
  b:set_timeout()
  assert.is_nil(b:read_timeout())
  assert.is_true(waits(b.read, b))
end)

scenario("copy moves to the end, or so many bytes", function(a, b)
  local c, d, _guard <close> = tcp.unix_pair()
  a:write "0123456789"
  a:shutdown()
  assert.equal(4, tcpnet.copy(b, c, 4))
  assert.equal("0123", d:read())
  assert.equal(6, tcpnet.copy(b, c))
  assert.equal("456789", d:read())
end)

scenario("copy_bidirectional passes ends on and counts", function(a, b)
  local c, d, _guard <close> = tcp.unix_pair()
  local relay = tcpnet.spawn(tcpnet.copy_bidirectional, b, c)
  a:write "request"
  a:shutdown()
  assert.equal("request", d:read_to_end())
  d:write "an answer"
  d:shutdown()
  assert.equal("an answer", a:read_to_end())
  assert.same({ true, 7, 9 }, { relay:join(5) })
end)

scenario("writing to a peer that is gone is EPIPE or ECONNRESET, and no signal", function(a, b)
  b:close()
  local codes, err = {}, nil
  for i = 1, 100 do
    local count
    count, err = a:write "x"
    codes[i] = count and "sent" or err.code
    if not count then
      break
    end
    tcpnet.sleep(0.001)
  end
  assert.is_truthy(err and err:is("EPIPE", "ECONNRESET"), table.concat(codes, " "))
end)

scenario("a peer that closes with unread bytes is ECONNRESET, again and again, and never an end", function(a, b)
  a:write "nobody reads this"
  b:ready "r"
  b:close()
  for _, method in ipairs { "read", "read_line", "read_to_end", "peek", "try_read", "read" } do
    fails("ECONNRESET", a[method](a))
  end
end)

scenario("closing ends the waits of other tasks", function(_, b)
  local reader = tcpnet.spawn(b.read, b)
  tcpnet.yield()
  b:close()
  b:close()
  local ok, bytes, err = reader:join(5)
  assert.is_true(ok)
  fails("CLOSED", bytes, err)
  assert.is_true(b:closed())
  assert.matches("%(closed%)$", tostring(b))
end)

scenario("a second reader is a misuse", function(a, b)
  local reader = tcpnet.spawn(b.read, b)
  tcpnet.yield()
  local ok, message = pcall(b.read, b)
  assert.is_false(ok)
  assert.matches("another task is reading", message, 1, true)
  a:write "x"
  assert.same({ true, "x" }, { reader:join(5) })
end)

scenario("into_fd is refused while bytes would be lost; from_fd takes the descriptor over", function(a, b, class)
  a:write "line\nrest"
  assert.equal("line", b:read_line())
  fails("EBUSY", b:into_fd())
  local fd, rest = b:into_fd(true)
  assert.equal("rest", rest)
  local again <close> = assert(tcpnet[class].from_fd(fd))
  assert.equal(fd, again:fd())
  fails("EBUSY", tcpnet[class].from_fd(fd))
  again:write "back"
  assert.equal("back", a:read())
end)

scenario("take_error has nothing to tell", function(a)
  assert.same({ n = 1 }, table.pack(a:take_error()))
end)

for _, class in ipairs { "TcpStream", "UnixStream" } do
  describe("a pair of " .. class .. "s:", function()
    before_each(leaks.note)
    after_each(leaks.check)

    for _, case in ipairs(scenarios) do
      it(case.name, in_task(function()
        local a, b, _guard <close> = pairs_of[class]()
        case.fn(a, b, class)
      end))
    end
  end)
end

-- What only UnixStream has. ------------------------------------------------------------------------------------------

describe("UnixStream", function()
  local folder
  setup(function() folder = program.folder() end)
  teardown(function() getmetatable(folder).__close(folder) end)
  before_each(leaks.note)
  after_each(leaks.check)

  local count = 0
  local function new_path()
    count = count + 1
    return ("%s/%d"):format(folder, count)
  end

  it("has every method of TcpStream that is not about TCP, IP or a reset", function()
    local missing = {}
    for name in pairs(TcpStream) do
      local set = name:gsub("^set_", "")
      if not UnixStream[name] and type(TcpStream[name]) == "function"
        and not set:find "^tcp_" and not set:find "_v[46]$" and not set:find "_v4_n$" then
        missing[set] = true
      end
    end
    local names = {}
    for name in pairs(missing) do
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same({ "bind_address_no_port", "nodelay", "quickack", "reset", "ttl" }, names)
  end)

  describe("connect", function()
    for name, make in pairs {
      ["a path"] = function(path) return path end,
      ["a SocketAddr"] = function(path) return assert(SocketAddr.unix(path)) end,
    } do
      it("takes " .. name .. " (B65)", in_task(function()
        local path = new_path()
        local listener <close> = assert(UnixListener.bind(make(path)))
        local client = assert(UnixStream.connect(make(path)))
        local server <close> = assert(listener:accept())
        client:write "hello"
        client:close()
        assert.equal("hello", server:read_to_end())
        is_end(server:read())
      end))
    end

    it("takes @name of the abstract namespace, which leaves no file (B69, B179)", in_task(function()
      local name = ("@tcpnet spec %d %p"):format(os.time(), {})
      local listener <close> = assert(UnixListener.bind(name))
      assert.equal(name, listener:local_addr():path())
      assert.equal(name, tostring(listener:local_addr()))
      local client <close> = assert(UnixStream.connect(name))
      assert.equal(name, client:peer_addr():path())
      local server <close>, from = assert(listener:accept())
      assert.is_true(from:is_unnamed())
      assert.is_nil(from:path())
      assert.is_true(client:local_addr():is_unnamed())
      assert.equal(name, server:local_addr():path())
      listener:close()
      fails("ECONNREFUSED", UnixStream.connect(name))
    end))

    it("tells who is where: a path here, nothing there", in_task(function()
      local path = new_path()
      local listener <close> = assert(UnixListener.bind(path))
      local client <close> = assert(UnixStream.connect(path))
      local server <close>, from = assert(listener:accept())
      assert.equal(path, client:peer_addr():path())
      assert.equal(path, tostring(server:local_addr()))
      assert.equal("unix", client:peer_addr():family())
      assert.is_true(client:peer_addr():is_unix())
      assert.is_false(client:peer_addr():is_unnamed())
      assert.is_true(from:is_unnamed())
      assert.equal("(unnamed)", tostring(server:peer_addr()))
      assert.equal(client:peer_addr(), server:local_addr())
      assert.equal(from, client:local_addr())
      assert.matches(("^UnixStream %%(%%(unnamed%%) %%-> %s, fd %%d+%%)$"):format(path:gsub("%p", "%%%0")),
        tostring(client))
      server:close()
      assert.equal(path, client:peer_addr():path()) -- still, when the peer is gone
    end))

    it("takes options, set before the connection is made", in_task(function()
      local path = new_path()
      local listener <close> = assert(UnixListener.bind(path))
      local client <close> = assert(UnixStream.connect(path, { send_buffer_size = 8192, timeout = 5 }))
      assert.equal(16384, client:send_buffer_size())
      local ok, message = pcall(function() return UnixStream.connect(path, { nodelay = true }) end)
      assert.is_false(ok)
      assert.matches("bad argument #2 to 'connect' .*nodelay", message)
      assert.is_truthy(listener:try_accept())
      fails("EAGAIN", listener:try_accept()) -- the refused call has connected nothing
    end))

    it("fails with the code and the path: no file, no listener, no socket", in_task(function()
      local path = new_path()
      local err = fails("ENOENT", UnixStream.connect(path))
      assert.same({ "connect", path }, { err.op, err.address })
      assert.matches("no such file", tostring(err))
      assert(UnixListener.bind(path)):close()
      fails("ECONNREFUSED", UnixStream.connect(path))
      fails("ECONNREFUSED", UnixStream.connect(program.write(new_path(), "a file")))
      fails("ECONNREFUSED EACCES", UnixStream.connect(tostring(folder)))
      fails("ENOTDIR", UnixStream.connect(path .. "/below"))
      fails("EINVAL", UnixStream.connect "")
    end))

    it("to a datagram socket is EPROTOTYPE", in_task(function()
      local path = new_path()
      local datagram <close> = assert(tcpnet.UnixDatagram.bind(path))
      fails("EPROTOTYPE", UnixStream.connect(path))
      fails("EAGAIN", datagram:try_recv())
    end))

    it("refuses a path that is too long or has a NUL, rather than cut it", in_task(function()
      fails("EINVAL", UnixStream.connect("/" .. ("x"):rep(107)))
      fails("ENOENT", UnixStream.connect("/" .. ("x"):rep(106)))
      fails("EINVAL", UnixStream.connect("@" .. ("x"):rep(108)))
      fails("ECONNREFUSED", UnixStream.connect("@" .. ("x"):rep(107)))
      local err = fails("EINVAL", UnixStream.connect "/tmp\0x")
      assert.matches("NUL", tostring(err))
    end))

    it("raises what is no address, no option, no time", function()
      local function message(...)
        local ok, text = pcall(UnixStream.connect, ...)
        assert.is_false(ok)
        return text
      end
      assert.matches("#1 to 'connect' %(string expected, got nil%)", message())
      assert.matches("#1 to 'connect' %(string expected, got integer%)", message(80))
      assert.matches("#1 to 'connect' .*Unix socket expected, got 127", message(SocketAddr.new("127.0.0.1", 1)))
      assert.matches("#2 to 'connect' %(table expected, got string%)", message("/x", "y"))
      assert.matches("#2 to 'connect' %(timeout: seconds", message("/x", { timeout = -1 }))
      assert.matches("#2 to 'connect' .*unlink", message("/x", { unlink = true }))
    end)

    it("waits for room in a full queue, then goes on", in_task(function()
      local path = new_path()
      local listener <close> = assert(UnixListener.bind(path, { backlog = 0 }))
      local first <close> = assert(UnixStream.connect(path))
      fails("TIMEOUT", UnixStream.connect(path, { timeout = 0.05 }))
      local cpu = os.clock()
      local waiting = tcpnet.spawn(UnixStream.connect, path)
      tcpnet.sleep(0.3)
      assert.matches("^[wr]", waiting:status()) -- waiting, or ready to try again
      assert.is_true(os.clock() - cpu < 0.2, "it spins")
      local one <close> = assert(listener:accept())
      local ok, second = waiting:join(5)
      assert.is_true(ok)
      local two <close> = assert(listener:accept())
      second:write "second"
      second:close()
      assert.equal("second", two:read_to_end())
      first:close()
      is_end(one:read())
      fails("EAGAIN", listener:try_accept()) -- the one that timed out has left nothing
    end))

    it("ends with a refusal when the listener closes meanwhile (B68)", in_task(function()
      local path = new_path()
      local listener = assert(UnixListener.bind(path, { backlog = 0 }))
      local first <close> = assert(UnixStream.connect(path))
      local waiting = tcpnet.spawn(UnixStream.connect, path)
      tcpnet.sleep(0.02)
      listener:close()
      local ok, stream, err = waiting:join(5)
      assert.is_true(ok)
      fails("ECONNREFUSED ECONNRESET", stream, err)
      fails("ECONNRESET", first:read())
    end))

    it("can be cancelled while it waits", in_task(function()
      local path = new_path()
      local _listener <close> = assert(UnixListener.bind(path, { backlog = 0 }))
      local _first <close> = assert(UnixStream.connect(path))
      assert.is_true(waits(UnixStream.connect, path))
    end))
  end)

  it("shuts down as the system says: what it means for each side (B176)", in_task(function()
    local a, b, _guard <close> = tcp.unix_pair()
    assert(a:shutdown "read")
    assert.is_true(a:ready("r"):is_read_closed())
    is_end(a:read())
    fails("EPIPE", b:write "x")
    assert.equal(1, a:write "y")
    assert.equal("y", b:read())
    local c, d, _other <close> = tcp.unix_pair()
    assert(c:shutdown "both")
    assert.is_true(c:ready("w"):is_write_closed())
    fails("EPIPE", c:write "x")
    is_end(d:read())
  end))

  it("reads what had come before the peer closed, then the end", in_task(function()
    local a, b, _guard <close> = tcp.unix_pair()
    a:write "last words"
    a:close()
    assert.equal("last words", b:read())
    is_end(b:read())
    fails("EPIPE", b:write "x")
  end))

  it("pair gives two unnamed streams", function()
    local a, b, _guard <close> = tcp.unix_pair()
    for _, stream in ipairs { a, b } do
      assert.is_true(stream:local_addr():is_unnamed())
      assert.is_true(stream:peer_addr():is_unnamed())
      assert.equal("unix", stream:domain())
    end
    assert.are_not.equal(a:fd(), b:fd())
  end)

  it("from_fd takes nothing but a connected Unix stream, and leaves the rest alone", in_task(function()
    local path = new_path()
    local listener = assert(UnixListener.bind(path))
    local datagram = assert(tcpnet.UnixDatagram.unbound())
    local client, _, _guard <close> = tcp.pair()
    for _, object in ipairs { listener, datagram, client, assert(tcpnet.UnixSocket.new_stream()) } do
      local class = tostring(object):match "^%w+"
      fails("EBUSY", UnixStream.from_fd(object:fd()))
      local fd = object:into_fd()
      local err = fails("EINVAL ENOTCONN", UnixStream.from_fd(fd))
      assert.equal("from_fd", err.op)
      assert(tcpnet[class].from_fd(fd)):close()
    end
    fails("ENOTSOCK", UnixStream.from_fd(0))
    fails("EBADF", UnixStream.from_fd(9999))
    assert.has_error(function() UnixStream.from_fd(-1) end)
    assert.has_error(function() UnixStream.from_fd(client) end)
  end))

  describe("peer_cred", function()
    local function ids()
      local pipe = assert(io.popen "id -u; id -g; echo $PPID")
      local text = pipe:read "a"
      pipe:close()
      local uid, gid, pid = text:match "^(%d+)\n(%d+)\n(%d+)\n"
      return math.tointeger(uid), math.tointeger(gid), math.tointeger(pid)
    end

    it("is that of this process on both ends of a pair (B70)", function()
      local a, b, _guard <close> = tcp.unix_pair()
      local uid, gid, pid = ids()
      assert.same({ uid = uid, gid = gid, pid = pid }, a:peer_cred())
      assert.same(a:peer_cred(), b:peer_cred())
      assert.equal("integer", math.type(a:peer_cred().uid))
    end)

    it("is that of a child that connects, and stays after its end", in_task(function()
      if not tcp.can "command -v socat" then
        pending "socat is not there"
        return
      end
      local path = new_path()
      local listener <close> = assert(UnixListener.bind(path))
      local child = assert(io.popen(("echo $$; exec socat -u EXEC:true UNIX-CONNECT:'%s'"):format(path)))
      local pid = math.tointeger(child:read "l")
      local server <close> = assert(listener:accept())
      is_end(server:read())
      child:close()
      local cred = server:peer_cred()
      assert.equal(pid, cred.pid)
      assert.equal((ids()), cred.uid)
    end))

    it("is an error on a closed stream", function()
      local a, _, _guard <close> = tcp.unix_pair()
      a:close()
      fails("CLOSED", a:peer_cred())
    end)
  end)

  describe("send_fd and recv_fd:", function()
    -- A stream of the received descriptor.
    local function adopted(stream, class)
      local fd, err = stream:recv_fd()
      assert(fd, tostring(err))
      assert.equal("integer", math.type(fd))
      return assert((class or UnixStream).from_fd(fd))
    end

    -- Asserts that the descriptor that came is one of `peer`'s other end.
    local function is_other_end(stream, peer, text)
      local got <close> = adopted(stream)
      assert(got:write(text))
      assert.equal(text, peer:read_exact(#text))
    end

    it("the other process's copy outlives ours", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local client, server, _tcp <close> = tcp.pair()
      assert.equal(a, a:send_fd(server))
      local old = server:fd()
      local got <close> = adopted(b, TcpStream)
      assert.are_not.equal(old, got:fd())
      server:close()
      assert.is_true(waits(client.read, client))
      client:write "to the copy"
      assert.equal("to the copy", got:read())
      assert.equal(0, b:buffered())
      got:close()
      is_end(client:read())
    end))

    it("an integer, a listener, a datagram socket, a half can be sent", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      local listener <close> = tcp.listener()
      local datagram <close> = assert(tcpnet.UnixDatagram.unbound())
      local half = x:split()
      assert(a:send_fd(x:fd()))
      assert(a:send_fd(listener))
      assert(a:send_fd(datagram))
      assert(a:send_fd(half))
      is_other_end(b, y, "by number")
      local again <close> = adopted(b, tcpnet.TcpListener)
      assert.equal(listener:local_addr(), again:local_addr())
      adopted(b, tcpnet.UnixDatagram):close()
      is_other_end(b, y, "a half")
    end))

    it("many in a row keep their order", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local ends <close> = tcp.guard()
      local sender = tcpnet.spawn(function()
        for i = 1, 100 do
          local x, y = assert(UnixStream.pair())
          ends[#ends + 1] = y
          y:write(i)
          assert(a:send_fd(x))
          x:close()
        end
        a:shutdown()
      end)
      for i = 1, 100 do
        local got <close> = adopted(b)
        assert.equal(tostring(i), got:read())
      end
      is_end(b:recv_fd())
      assert.is_true(sender:join(5))
    end))

    it("between bytes: each keeps its place", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:send_fd(x)
      a:write "abc"
      a:send_fd(x)
      a:send_fd(x)
      a:write "d"
      is_other_end(b, y, "first")
      fails("EBUSY", b:recv_fd())
      assert.equal("ab", b:read_exact(2))
      fails("EBUSY", b:recv_fd())
      assert.equal("c", b:read(1))
      is_other_end(b, y, "second")
      is_other_end(b, y, "third")
      fails("EBUSY", b:recv_fd())
      assert.equal("d", b:read())
      a:close()
      is_end(b:recv_fd())
      is_end(b:read())
    end))

    it("between lines: reading ahead loses none", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      for i = 1, 20 do
        a:write("line ", i, "\n")
        a:send_fd(x)
      end
      a:write "the end\n"
      for i = 1, 20 do
        assert.equal("line " .. i, b:read_line())
        is_other_end(b, y, "with line " .. i)
      end
      assert.equal("the end", b:read_line())
    end))

    it("the byte that carries one is there for who reads bytes, the descriptor afterwards", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:write "a"
      a:send_fd(x)
      a:write "b"
      a:shutdown()
      assert.equal("a\0b", b:read_exact(3))
      is_other_end(b, y, "kept")
      is_end(b:recv_fd())
    end))

    for _, way in ipairs { "read_exact", "read_into", "try_read_vectored", "read_to_end", "chunks", "copy" } do
      it(way .. " keeps those that come with its bytes", in_task(function()
        local a, b, _guard <close> = tcp.unix_pair()
        local x, y, _other <close> = tcp.unix_pair()
        a:write "1"
        a:send_fd(x)
        a:write "2"
        a:send_fd(x)
        a:shutdown()
        b:readable()
        if way == "read_exact" then
          assert.equal("1\0002\0", b:read_exact(4))
        elseif way == "read_into" then
          local buffer = tcpnet.Buffer.new(100)
          repeat until not b:read_into(buffer)
          assert.equal("1\0002\0", tostring(buffer))
        elseif way == "try_read_vectored" then
          local one, two = tcpnet.Buffer.new(1), tcpnet.Buffer.new(100)
          repeat until not b:try_read_vectored { one, two }
          assert.equal("1\0002\0", tostring(one) .. tostring(two))
        elseif way == "read_to_end" then
          assert.equal("1\0002\0", b:read_to_end())
        elseif way == "chunks" then
          local text = ""
          for chunk in b:chunks() do
            text = text .. chunk
          end
          assert.equal("1\0002\0", text)
        else
          local c, d, _third <close> = tcp.unix_pair()
          assert.equal(4, tcpnet.copy(b, c))
          assert.equal("1\0002\0", d:read_exact(4))
          c:shutdown()
          is_end(d:recv_fd()) -- bytes are copied, descriptors are not
        end
        is_other_end(b, y, "first")
        is_other_end(b, y, "second")
        is_end(b:recv_fd())
      end))
    end

    it("peeking takes neither the byte nor the descriptor", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:send_fd(x)
      assert.equal("\0", b:peek())
      assert.equal("\0", b:peek())
      is_other_end(b, y, "there")
      fails("EAGAIN", b:try_peek())
    end))

    it("several in one message of another program come one by one", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local one, two, _other <close> = tcp.unix_pair()
      local x, y, _third <close> = tcp.unix_pair()
      local fds = {}
      for i = 1, 40 do
        fds[i] = i % 2 == 0 and one or x
      end
      assert.equal(1, a:as_socket():sendmsg { data = "#", control = { { type = "fds", fds = fds } } })
      a:write "after"
      for i = 1, 40 do
        is_other_end(b, i % 2 == 0 and two or y, "number " .. i)
      end
      fails("EBUSY", b:recv_fd())
      assert.equal("after", b:read_exact(5))
    end))

    it("those of a longer message come when its bytes have been read, and no byte is lost", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      local function send()
        a:as_socket():sendmsg { data = "hello\n", control = { { type = "fds", fds = { x, x } } } }
      end
      send()
      a:write "more\n"
      assert.equal("hello", b:read_line())
      is_other_end(b, y, "one")
      is_other_end(b, y, "two")
      assert.equal("more", b:read_line())
      send()
      fails("EBUSY", b:recv_fd())
      assert.equal("hello", b:read_line())
      is_other_end(b, y, "three")
      is_other_end(b, y, "four")
    end))

    it("recv_fd waits, is woken, is cancelled and times out without harm", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      assert.is_true(waits(b.recv_fd, b))
      b:set_read_timeout(0.02)
      local err = fails("TIMEOUT", b:recv_fd())
      assert.equal("recv_fd", err.op)
      b:set_read_timeout()
      local waiting = tcpnet.spawn(is_other_end, b, y, "woken")
      tcpnet.sleep(0.01)
      assert.equal("waiting", waiting:status())
      a:send_fd(x)
      assert.is_true(waiting:join(5))
      local key = tcpnet.select {
        fd = function() return b:recv_fd() end,
        other = function() tcpnet.sleep(0.01) end,
      }
      assert.equal("other", key)
      a:send_fd(x)
      is_other_end(b, y, "after the select")
    end))

    it("send_fd waits for room; what was cancelled has sent nothing", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:set_send_buffer_size(4096)
      local sent = 0
      a:set_write_timeout(0.03)
      repeat
        local ok, err = a:send_fd(x)
        sent = sent + (ok and 1 or 0)
      until not ok and fails("TIMEOUT", ok, err)
      assert.is_true(sent > 0)
      a:set_write_timeout()
      assert.is_true(waits(a.send_fd, a, x))
      local waiting = tcpnet.spawn(a.send_fd, a, x)
      tcpnet.yield()
      for i = 1, sent do
        is_other_end(b, y, tostring(i))
      end
      assert.is_true(waiting:join(5))
      is_other_end(b, y, "the one that waited")
      a:shutdown()
      is_end(b:recv_fd())
    end))

    it("an object that closes while its send waits is CLOSED, and nothing of its number is sent", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, _, _other <close> = tcp.unix_pair()
      tcp.fill(a)
      local waiting = tcpnet.spawn(a.send_fd, a, x)
      tcpnet.yield()
      x:close()
      local reader = tcpnet.spawn(b.read_to_end, b)
      local ok, sent, err = waiting:join(5)
      assert.is_true(ok)
      assert.matches("UnixStream is closed", tostring(fails("CLOSED", sent, err)))
      a:shutdown()
      assert.is_true(reader:join(5))
      is_end(b:recv_fd())
    end))

    it("an object with buffered bytes is refused with EBUSY", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local client, server, _tcp <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      local err = fails("EBUSY", a:send_fd(server))
      assert.equal("send_fd", err.op)
      assert.equal("rest", server:read())
      assert(a:send_fd(server))
      adopted(b, TcpStream):close()
    end))

    it("a closed object is CLOSED, a closed stream is too, a wrong number EBADF", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, _, _other <close> = tcp.unix_pair()
      x:close()
      assert.matches("the UnixStream is closed", tostring(fails("CLOSED", a:send_fd(x))))
      fails("EBADF", a:send_fd(9999))
      fails("EAGAIN", b:try_read())
      b:close()
      fails("EPIPE", a:send_fd(1))
      fails("CLOSED", b:recv_fd())
      fails("CLOSED", b:send_fd(1))
    end))

    it("what is no descriptor raises and names the argument", function()
      local a, _, _guard <close> = tcp.unix_pair()
      for _, wrong in ipairs { "x", -1, 1.5, {}, 1 << 40, io.stdout, tcpnet.Buffer.new(1), true } do
        local ok, message = pcall(function() a:send_fd(wrong) end)
        assert.is_false(ok)
        assert.matches("bad argument #1 to 'send_fd' (fd: ", message, 1, true)
      end
      assert.has_error(function() a:send_fd() end)
      local client, _, _tcp <close> = tcp.pair()
      assert.is_nil(client.send_fd)
      assert.has_error(function() UnixStream.send_fd(client, 1) end)
    end)

    it("a second reader is a misuse here too", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local reader = tcpnet.spawn(b.read, b)
      tcpnet.yield()
      assert.has_error(function() b:recv_fd() end)
      a:write "x"
      assert.same({ true, "x" }, { reader:join(5) })
    end))

    it("received ones are not inherited by programs", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:send_fd(x)
      local got = adopted(b)
      local pipe = assert(io.popen(("[ -e /proc/self/fd/%d ] && echo inherited || echo none"):format(got:fd())))
      local said = pipe:read "l"
      pipe:close()
      assert.equal("none", said)
      got:close()
      assert.is_false(y:closed())
    end))

    it("into_fd is refused with EBUSY while unclaimed ones would be lost", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:send_fd(x)
      assert.equal("\0", b:read())
      assert.matches("descriptors", tostring(fails("EBUSY", b:into_fd())))
      is_other_end(b, y, "still there")
      local again <close> = assert(UnixStream.from_fd((b:into_fd())))
      a:send_fd(x)
      assert.equal("\0", again:read())
      local fd, bytes = again:into_fd(true)
      assert.equal("", bytes)
      x:close()
      is_end(y:read()) -- the unclaimed copy is closed
      assert(UnixStream.from_fd(fd)):close()
    end))

    it("those that came before into_split are there after reunite", in_task(function()
      local a, b, _guard <close> = tcp.unix_pair()
      local x, y, _other <close> = tcp.unix_pair()
      a:send_fd(x)
      local read_half, write_half = b:into_split()
      assert.equal("\0", read_half:read())
      local whole <close> = assert(read_half:reunite(write_half))
      is_other_end(whole, y, "kept by the half")
    end))

    for _, how in ipairs { "closed", "collected", "closed unread" } do
      it("nothing leaks when the stream is " .. how .. " with unclaimed ones", in_task(function()
        for _ = 1, 200 do
          local a, b = assert(UnixStream.pair())
          local x, y = assert(UnixStream.pair())
          for _ = 1, 3 do
            assert(a:send_fd(x))
          end
          x:close()
          if how ~= "closed unread" then
            b:read_exact(2)
          end
          if how == "collected" then
            b = nil -- luacheck: ignore 311
            collectgarbage()
            collectgarbage()
          else
            b:close()
          end
          a:close()
          assert.is_true(tcpnet.timeout(5, function()
            is_end(y:read())
            return true
          end), "a copy is still open")
          y:close()
        end
      end))
    end

    it("more than 1024 unclaimed ones are closed and told as lost, and the bytes still read", function()
      if not tcp.can "bash -c 'ulimit -S -n 2000'" then
        pending "no more than 1024 descriptors are allowed here"
        return
      end
      local output, status = tcp.child([[
        local UnixStream = tcpnet.UnixStream
        local a, b = UnixStream.pair()
        local x, y = UnixStream.pair()
        for i = 1, 1100 do
          assert(a:send_fd(x))
          assert(b:read() == "\0")
        end
        a:write "rest"
        for i = 1, 1024 do
          UnixStream.from_fd((assert(b:recv_fd()))):close()
        end
        print("1024 came", select(2, b:recv_fd()).code)
        print(b:read_exact(4))
        a:close()
        print(b:recv_fd())
        x:close()
        print("end", y:read())
      ]], [[ulimit -S -n 2000; exec "$LUA" "$SCRIPT"]])
      assert.equal(0, status, output)
      assert.equal("1024 came\tEMFILE\nrest\nnil\nend\tnil\n", output)
    end)

    it("one that comes while there are no descriptors left is EMFILE, once, and the stream goes on", function()
      local output, status = tcp.child([[
        local UnixStream = tcpnet.UnixStream
        local a, b = UnixStream.pair()
        local x, y = UnixStream.pair()
        a:send_fd(x)
        a:send_fd(x)
        a:write "after\n"
        local held = {}
        while true do
          local socket = tcpnet.UnixSocket.new_stream()
          if not socket then
            break
          end
          held[#held + 1] = socket
        end
        print(select(2, b:recv_fd()).code)
        for _, socket in ipairs(held) do
          socket:close()
        end
        local got = UnixStream.from_fd((assert(b:recv_fd())))
        got:write "second"
        print(y:read())
        print(b:read_line())
      ]], [[ulimit -S -n 60; exec "$LUA" "$SCRIPT"]])
      assert.equal("EMFILE\nsecond\nafter\n", output)
      assert.equal(0, status)
    end)
  end)
end)
