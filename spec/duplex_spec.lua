-- duplex, take and chain, and copying where no descriptor is. What a duplex stream has in common with a TcpStream is
-- shown by the same scenario on both.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

local function duplex_pair()
  local a, b = tcpnet.duplex(65536)
  return a, b, tcp.guard(a, b)
end

local PAIRS = { { "TcpStream", tcp.pair }, { "UnixStream", tcp.unix_pair }, { "DuplexStream", duplex_pair } }

-- The same on every kind of stream; what two tasks need to have happened, on the wire too, is waited for.
local function alike(name, scenario)
  for _, kind in ipairs(PAIRS) do
    it(name .. ", a " .. kind[1], in_task(function()
      local a, b, _guard <close> = kind[2]()
      scenario(a, b)
    end))
  end
end

-- What is written is there for the peer.
local function send(from, to, bytes)
  assert(from:write(bytes))
  assert(to:readable())
end

local function ends(...)
  assert.equal(1, select("#", ...) == 0 and 1 or select("#", (...)))
  local value, err = ...
  assert.is_nil(value)
  assert.is_nil(err)
end

describe("a stream of a pair", function()
  before_each(leaks.note)
  after_each(leaks.check)

  alike("gives what there is, up to max", function(a, b)
    send(a, b, "hello world")
    assert.equal("hel", b:read(3))
    assert.equal("lo world", b:read())
    a:shutdown()
    ends(b:read())
    ends(b:read())
  end)

  alike("reads an exact amount, or EOF with what did come, which stays", function(a, b)
    a:write "0123456789"
    assert.equal("", b:read_exact(0))
    assert.equal("0123", b:read_exact(4))
    assert.equal(6, b:buffered())
    a:shutdown()
    for _ = 1, 2 do
      local value, err, partial = b:read_exact(7)
      assert.equal("read_exact", fails("EOF", value, err).op)
      assert.equal("456789", partial)
    end
    assert.equal("456789", b:read_exact(6))
    assert.equal("", select(3, b:read_exact(1)))
    assert.equal("", b:read_exact(0))
  end)

  alike("reads lines with either ending and a last one without", function(a, b)
    a:write "one\r\ntwo\n\n\r\nlast\r"
    a:shutdown()
    local got = {}
    for line in b:lines() do
      got[#got + 1] = line
    end
    assert.same({ "one", "two", "", "", "last\r" }, got)
    ends(b:read_line())
  end)

  alike("refuses a line past max and loses nothing", function(a, b)
    a:write "12345\r\n123456\n"
    assert.equal("12345", b:read_line(5))
    assert.equal("read_line", fails("LIMIT", b:read_line(5)).op)
    fails("LIMIT", b:read_line(1))
    assert.equal("123456", b:read_line(6))
    a:write(("x"):rep(20))
    fails("LIMIT", b:read_line(10))
    assert.equal(("x"):rep(20), b:read_exact(20))
  end)

  alike("reads up to a delimiter of any length, however it comes in", function(a, b)
    local writer = tcpnet.spawn(function()
      for _, piece in ipairs { "a", "-", "-", "-=", "b--", "=tail" } do
        a:write(piece)
        tcpnet.sleep(0.002)
      end
      a:shutdown()
    end)
    assert.equal("a---=", b:read_until "-=")
    assert.equal("b--=", b:read_until "--=")
    assert.equal("tail", b:read_until "\n")
    ends(b:read_until "\n")
    writer:join()
  end)

  alike("refuses what has no delimiter within max", function(a, b)
    send(a, b, "12345|")
    fails("LIMIT", b:read_until("|", 5))
    assert.equal("12345|", b:read_until("|", 6))
    send(a, b, "123456")
    fails("LIMIT", b:read_until("|", 5))
    assert.equal("123456", b:read())
  end)

  alike("reads to the end, within max", function(a, b)
    a:write "abcdef"
    a:shutdown()
    fails("LIMIT", b:read_to_end(5))
    assert.equal("abcdef", b:read_to_end(6))
    assert.equal("", b:read_to_end())
  end)

  alike("peeks and takes nothing", function(a, b)
    send(a, b, "abcdef")
    assert.equal("abc", b:peek(3))
    assert.equal("abcdef", b:try_peek())
    assert.equal("ab", b:read_exact(2))
    assert.equal("cdef", b:peek())
    assert.equal("cdef", b:read())
    a:shutdown()
    ends(b:peek())
    ends(b:try_peek())
  end)

  alike("reads into a Buffer", function(a, b)
    local buffer = tcpnet.Buffer.new(5)
    send(a, b, "abcdefgh")
    assert.equal(2, b:read_into(buffer, 2))
    assert.equal(3, b:try_read_into(buffer))
    assert.equal("abcde", tostring(buffer))
    assert.has_error(function() b:read_into(buffer) end, "bad argument #1 to 'read_into' (the Buffer is full)")
    local other = tcpnet.Buffer.new(2)
    buffer:clear():append "xxxx"
    assert.equal(3, b:try_read_vectored { buffer, other })
    assert.same({ "xxxxf", "gh" }, { tostring(buffer), tostring(other) })
    a:shutdown()
    ends(b:read_into(tcpnet.Buffer.new(1)))
  end)

  alike("answers EAGAIN at once", function(_, b)
    fails("EAGAIN", b:try_read())
    fails("EAGAIN", b:try_peek())
    fails("EAGAIN", b:try_read_into(tcpnet.Buffer.new(1)))
    fails("EAGAIN", b:try_read_vectored { tcpnet.Buffer.new(1) })
  end)

  alike("writes strings, numbers and Buffers as one", function(a, b)
    assert.equal(8, a:write("ab", 12, tcpnet.Buffer.new(9):append "buf", "", 1))
    assert.equal("ab12buf1", b:read_exact(8))
    assert.equal(0, a:write())
    assert.equal(0, a:write "")
  end)

  alike("writes from a position, from a list, from a Buffer", function(a, b)
    assert.equal(3, a:write_some("hello", 3))
    assert.equal(0, a:write_some("hello", 6))
    assert.equal(2, a:try_write("hi"))
    assert.equal(3, a:write_vectored { "x", 1, tcpnet.Buffer.new(1):append "y" })
    assert.equal(1, a:try_write_vectored { "z" })
    local buffer = tcpnet.Buffer.new(4):append "rest"
    assert.equal(4, a:write_from(buffer))
    assert.equal(0, #buffer)
    assert.equal("llohix1yzrest", b:read_exact(13))
    for _, wrong in ipairs { 0, 7, 1.5, "1" } do
      assert.has_error(function() a:write_some("hello", wrong) end)
    end
  end)

  alike("that is closed answers CLOSED, its peer reads the rest and the end", function(a, b)
    send(a, b, "rest")
    a:close()
    a:close()
    assert.is_true(a:closed())
    for _, call in ipairs { "read", "read_line", "read_to_end", "peek", "readable", "writable", "try_read", "buffered",
      "shutdown", "timeout", "set_timeout", "split" } do
      assert.equal("CLOSED", fails("CLOSED", a[call](a)).code, call)
    end
    local value, err, sent = a:write "x"
    assert.equal("write", fails("CLOSED", value, err).op)
    assert.equal(0, sent)
    fails("CLOSED", a:write_some "x")
    fails("CLOSED", a:try_write "x")
    fails("CLOSED", a:read_exact(0))
    assert.equal("rest", b:read_to_end())
    ends(b:read())
  end)

  alike("fails with EPIPE after its own shutdown, and still reads", function(a, b)
    assert.equal(a, a:shutdown())
    assert.equal(a, a:shutdown "write")
    local value, err, sent = a:write "x"
    assert.equal("write", fails("EPIPE", value, err).op)
    assert.equal(0, sent)
    fails("EPIPE", a:try_write "x")
    fails("EPIPE", a:write_some "x")
    assert.is_true(a:writable())
    ends(b:read())
    b:write "back"
    assert.equal("back", a:read_exact(4))
  end)

  alike("ends the waits of its own when it is closed", function(a)
    local reading = tcpnet.spawn(a.read, a)
    tcpnet.sleep(0.005)
    a:close()
    local ok, value, err = reading:join(5)
    assert.is_true(ok)
    assert.equal("read", fails("CLOSED", value, err).op)
  end)

  alike("is read by one task at a time", function(a, b)
    local first = tcpnet.spawn(b.read_exact, b, 3)
    tcpnet.yield()
    for _, call in ipairs { "read", "try_read", "read_line", "peek" } do
      local ok, message = pcall(b[call], b)
      assert.is_false(ok)
      assert.matches("another task is reading from this " .. "%a+Stream", message)
    end
    a:write "abc"
    assert.same({ true, "abc" }, { first:join(5) })
    a:write "d"
    assert.equal("d", b:read_exact(1))
  end)

  alike("lets nothing of a cancelled or late read be lost", function(a, b)
    for _, call in ipairs { { "read_exact", 10 }, { "read_line" }, { "read_until", "|" }, { "read_to_end" } } do
      a:write "abc"
      assert.is_true(waits(b[call[1]], b, call[2]))
      b:set_read_timeout(0.01)
      assert.equal(call[1], fails("TIMEOUT", b[call[1]](b, call[2])).op)
      b:set_read_timeout(nil)
      local task = tcpnet.spawn(b[call[1]], b, call[2])
      tcpnet.yield()
      task:cancel()
      assert.equal("abc", b:read_exact(3))
    end
  end)

  alike("keeps its timeouts", function(a, b)
    ends(a:timeout())
    assert.equal(a, a:set_timeout(2))
    assert.equal(2.0, a:read_timeout())
    assert.equal(2.0, a:write_timeout())
    a:set_write_timeout(math.huge)
    ends(a:write_timeout())
    assert.equal(2.0, a:timeout())
    a:set_read_timeout(0)
    fails("TIMEOUT", a:read())
    send(b, a, "x")
    assert.equal("x", a:read())
    for _, wrong in ipairs { -1, 0 / 0, "1", {} } do
      assert.has_error(function() a:set_timeout(wrong) end)
    end
  end)

  alike("writes of several tasks queue up: each is contiguous", function(a, b)
    local size = 3 << 20
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(a.write, a, (tostring(i)):rep(size))
    end
    for i = 1, 3 do
      assert.is_true(b:read_exact(size) == (tostring(i)):rep(size))
      assert.same({ true, size }, { tasks[i]:join(5) })
    end
  end)

  alike("finishes: the peer has everything, then it is closed", function(a, b)
    local peer = tcpnet.spawn(function()
      local all = b:read_to_end()
      b:write "late"
      b:close()
      return all
    end)
    a:write "all"
    assert.is_true(a:finish(5))
    assert.is_true(a:closed())
    assert.same({ true, "all" }, { peer:join(5) })
  end)

  alike("splits into halves of it", function(a, b)
    local read_half, write_half = a:split()
    assert.equal(2, write_half:write "up")
    assert.equal("up", b:read_exact(2))
    b:write "down\n"
    assert.equal("down", read_half:read_line())
    assert.is_nil(read_half.write)
    assert.is_nil(write_half.read)
    assert(write_half:shutdown())
    ends(b:read())
    assert.has_error(function() write_half:shutdown "both" end)
    b:shutdown()
    ends(read_half:read())
  end)

  alike("ends its iterators, and raises from them", function(a, b)
    a:write "a\nb\n"
    local got = {}
    for line in b:lines() do
      got[#got + 1] = line
      if #got == 2 then
        a:close()
      end
    end
    assert.same({ "a", "b" }, got)
    b:close()
    local ok, err = pcall(b:chunks())
    assert.is_false(ok)
    assert.equal("CLOSED", err.code)
  end)
end)

describe("duplex", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("lets a write wait while capacity bytes are unread", in_task(function()
    local a, b = tcpnet.duplex(4)
    assert.equal(4, a:write_some "123456")
    fails("EAGAIN", a:try_write "5")
    assert.is_true(waits(a.writable, a))
    assert.is_true(waits(a.write_some, a, "5"))
    assert.equal("1234", b:peek())
    assert.is_true(waits(a.writable, a)) -- what was looked at is unread
    assert.equal("1", b:read(1))
    assert.is_true(a:writable())
    assert.equal(1, a:write_some "56")
    assert.equal("2345", b:read())
  end))

  it("says how much of a write went out before it failed or was late", in_task(function()
    local a, b = tcpnet.duplex(4)
    a:set_write_timeout(0.01)
    local value, err, sent = a:write("12", "3456")
    assert.equal("write", fails("TIMEOUT", value, err).op)
    assert.equal(4, sent)
    assert.equal("1234", b:read())
    a:set_write_timeout(nil)
    local task = tcpnet.spawn(a.write, a, "abcdef")
    tcpnet.yield()
    b:close()
    local ok
    ok, value, err, sent = task:join(5)
    assert.is_true(ok)
    fails("EPIPE", value, err)
    assert.equal(4, sent)
    local buffer = tcpnet.Buffer.new(8):append "12345678"
    a, b = tcpnet.duplex(5)
    a:set_timeout(0.01)
    value, err, sent = a:write_from(buffer)
    fails("TIMEOUT", value, err)
    assert.equal(5, sent)
    assert.equal("678", tostring(buffer))
    assert.equal("12345", b:read())
  end))

  it("gives CLOSED to every write that waits when it is closed, the queue included", in_task(function()
    local a, b = tcpnet.duplex(1)
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(a.write, a, "xyz")
    end
    tcpnet.yield()
    a:close()
    for i = 1, 3 do
      local ok, value, err, sent = tasks[i]:join(5)
      assert.is_true(ok)
      assert.matches("the DuplexStream is closed", fails("CLOSED", value, err).message)
      assert.equal(i == 1 and 1 or 0, sent)
    end
    assert.equal("x", b:read_to_end())
  end))

  it("passes the turn on when a queued write is cancelled", in_task(function()
    local a, b = tcpnet.duplex(2)
    local one = tcpnet.spawn(a.write, a, "11111")
    local two = tcpnet.spawn(a.write, a, "22222")
    local three = tcpnet.spawn(a.write, a, "33333")
    tcpnet.yield()
    two:cancel()
    assert.equal("1111133333", b:read_exact(10))
    assert.same({ true, 5 }, { one:join(5) })
    assert.same({ true, 5 }, { three:join(5) })
  end))

  it("after shutdown of reading ends its own reads and the peer's writes", in_task(function()
    local a, b = tcpnet.duplex(8)
    b:write "kept"
    a:shutdown "read"
    assert.equal("kept", a:read())
    ends(a:read())
    fails("EPIPE", b:write "x")
    assert.equal(1, a:write "x")
    assert.has_error(function() a:shutdown "sideways" end)
  end))

  it("closes when it is collected", in_task(function()
    local a, b = tcpnet.duplex(8)
    b:write "unread"
    local task = tcpnet.spawn(b.read, b)
    tcpnet.yield()
    assert.is_true(b:writable())
    a = a and nil
    collectgarbage()
    collectgarbage()
    local ok, value, err = task:join(5)
    assert.is_true(ok)
    ends(value, err)
    fails("EPIPE", b:write "x")
    assert.is_nil(a)
  end))

  it("closes at the end of its scope", in_task(function()
    local peer
    do
      local a <close>, b = tcpnet.duplex(8)
      peer = b
      a:write "x"
    end
    assert.equal("x", peer:read_to_end())
  end))

  it("prints its state", function()
    local a, b = tcpnet.duplex(16)
    a:write "abc"
    assert.equal("DuplexStream (0 to read, 3 of 16 unread by the peer)", tostring(a))
    assert.equal("DuplexStream (3 to read, 0 of 16 unread by the peer)", tostring(b))
    a:close()
    assert.equal("DuplexStream (closed)", tostring(a))
  end)

  it("works outside every task, with a task at the other end", function()
    local a, b = tcpnet.duplex(3)
    local echo = tcpnet.spawn(function()
      for chunk in b:chunks() do
        b:write(chunk:upper())
      end
      b:close()
    end)
    assert.equal(2, a:write "ab")
    assert.equal("AB", a:read_exact(2))
    a:set_timeout(5)
    assert.equal(5, a:write "cdefg" or 5)
    assert.equal("CDEFG", a:read_exact(5))
    a:set_read_timeout(0.01)
    fails("TIMEOUT", a:read())
    a:shutdown()
    assert.equal("", a:read_to_end())
    assert.is_true(echo:join(5))
  end)

  it("where nobody can ever wake the reader it is a deadlock", function()
    local ok, message = pcall(tcpnet.run, function()
      local a, _b = tcpnet.duplex(3)
      a:read()
      return _b
    end)
    assert.is_false(ok)
    assert.matches("deadlock", tostring(message))
  end)

  it("tries once in a __close that a cancel runs", in_task(function()
    local a, b = tcpnet.duplex(8)
    local seen = {}
    local task = tcpnet.spawn(function()
      local _at_end <close> = setmetatable({}, { __close = function()
        seen.written = a:write "bye"
        seen.read, seen.err = a:read()
      end })
      tcpnet.sleep(100)
    end)
    tcpnet.yield()
    task:cancel()
    assert.equal(3, seen.written)
    assert.equal("read", fails("CANCELED", seen.read, seen.err).op)
    assert.equal("bye", b:read())
  end))

  it("gives way: a pair that never waits does not starve the rest", in_task(function()
    local a, b = tcpnet.duplex(64)
    local turns = steps.turns_during(function()
      for _ = 1, 1024 do
        a:write "x"
        b:read()
      end
    end)
    assert.is_true(turns >= 8)
  end))

  it("raises where nothing can wait, at the first call", in_task(function()
    local a, b = tcpnet.duplex(8)
    a:write "x"
    for _, call in ipairs { function() b:read() end, function() a:write "y" end } do
      local ok, message = pcall(string.gsub, "z", "z", call)
      assert.is_false(ok)
      assert.matches("tcpnet.coroutine", message)
    end
    assert.equal("x", b:read())
  end))

  it("refuses what is no capacity, and wrong arguments", function()
    for _, wrong in ipairs { 0, -1, 1.5, "8", {}, 0 / 0 } do
      assert.has_error(function() tcpnet.duplex(wrong) end)
    end
    assert.has_error(function() tcpnet.duplex() end)
    local a = tcpnet.duplex(1)
    for _, call in ipairs { { "read", 0 }, { "read", "x" }, { "read_exact", -1 }, { "read_exact" }, { "read_line", 0 },
      { "read_until", "" }, { "read_until", 1 }, { "read_to_end", -1 }, { "read_into", "x" }, { "peek", 0 },
      { "write", {} }, { "write", "a", true }, { "write_some" }, { "write_vectored", {} }, { "write_vectored", { {} } },
      { "write_from", "x" }, { "lines", 0 } } do
      local ok, message = pcall(a[call[1]], a, table.unpack(call, 2))
      assert.is_false(ok, call[1])
      assert.matches("^spec/duplex_spec.lua:%d+: bad argument #%d to '" .. call[1] .. "'", message)
    end
    assert.has_error(function() a.read("x") end)
    assert.has_error(function() a.write({}, "x") end)
  end)

  it("passes random writes and reads on, byte for byte", in_task(function()
    local seed = os.time()
    for round = 1, 12 do
      local state = seed + round
      local function random(n)
        state = state * 6364136223846793005 + 1442695040888963407
        return (state >> 33) % n + 1
      end
      local sent = tcp.bytes(20000 + random(30000))
      local a, b = tcpnet.duplex(random(3000))
      tcpnet.spawn(function()
        local at = 1
        while at <= #sent do
          local size = random(2000)
          local piece = sent:sub(at, at + size - 1)
          local way = random(5)
          local count = #piece
          if way == 1 then
            count = a:write_some(piece)
          elseif way == 2 then
            count = a:try_write(piece) or (tcpnet.yield() and 0 or 0)
          elseif way == 3 then
            count = a:write_vectored { piece:sub(1, 3), piece:sub(4) }
          elseif way == 4 then
            a:write_from(tcpnet.Buffer.new(#piece):append(piece))
          else
            a:write(piece:sub(1, 7), piece:sub(8))
          end
          at = at + count
        end
        a:shutdown()
      end)
      local got, length = {}, 0
      local function take(bytes)
        got[#got + 1] = bytes
        length = length + #bytes
      end
      while length < #sent do
        local way = random(7)
        if way == 1 then
          take(b:read(random(500)))
        elseif way == 2 then
          take(b:read_exact(math.min(random(5000), #sent - length)))
        elseif way == 3 then
          local bytes, err = b:read_until(string.char(random(256) - 1), 4000)
          take(bytes or assert(err.code == "LIMIT") and "")
        elseif way == 4 then
          local ahead = b:peek(random(300))
          assert(b:read_exact(#ahead) == ahead, "seed " .. seed)
          take(ahead)
        elseif way == 5 then
          local buffer = tcpnet.Buffer.new(random(900))
          b:read_into(buffer)
          take(tostring(buffer))
        elseif way == 6 then
          tcpnet.timeout(0, b.read_exact, b, 100000)
        else
          take(b:try_read() or "")
        end
      end
      assert.is_true(table.concat(got) == sent, "seed " .. seed)
      ends(b:read())
    end
  end))
end)

describe("take", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local take = tcpnet.io.take

  for _, kind in ipairs(PAIRS) do
    it("ends after n bytes and leaves the rest, of a " .. kind[1], in_task(function()
      local a, b, _guard <close> = kind[2]()
      a:write "0123456789rest"
      local body = take(b, 10)
      assert.equal(10, body:limit())
      assert.equal("012", body:read(3))
      assert.equal("3", body:peek(1))
      assert.equal("34", body:read_exact(2))
      assert.equal(5, body:limit())
      local value, err, partial = body:read_exact(6)
      fails("EOF", value, err)
      assert.equal("56789", partial)
      assert.equal("56789", body:read_to_end())
      ends(body:read())
      ends(body:try_read())
      assert.is_true(body:readable())
      assert.equal("rest", b:read_exact(4))
    end))
  end

  it("ends with its reader, and passes its errors on", in_task(function()
    local a, b = tcpnet.duplex(8)
    a:write "abc"
    local body = take(b, 100)
    fails("EAGAIN", (function() body:read() return body:try_read() end)())
    b:set_read_timeout(0.01)
    fails("TIMEOUT", body:read())
    a:write "x\ny"
    assert.equal("x", body:read_line())
    a:close()
    assert.equal("y", body:read_line())
    ends(body:read_line())
    assert.equal(94, body:limit())
    b:close()
    fails("CLOSED", body:read())
  end))

  it("of nothing is at its end at once", in_task(function()
    local a = tcpnet.duplex(1)
    ends(take(a, 0):read())
    ends(take(a, 0):peek())
    assert.equal("", take(a, 0):read_to_end())
  end))

  it("a cancelled read loses nothing; two readers are refused", in_task(function()
    local a, b = tcpnet.duplex(8)
    local body = take(b, 6)
    a:write "abc"
    assert.is_true(waits(body.read_exact, body, 5))
    local task = tcpnet.spawn(body.read_exact, body, 5)
    tcpnet.yield()
    local ok, message = pcall(body.read, body)
    assert.is_false(ok, tostring(message) .. " " .. task:status())
    assert.matches("read: another task is reading from this Take", message)
    a:write "def"
    assert.same({ true, "abcde" }, { task:join(5) })
    assert.equal("f", body:read_to_end())
  end))

  it("refuses wrong arguments", function()
    local a = tcpnet.duplex(1)
    for _, wrong in ipairs { "x", 1, {}, true, io.stdout } do
      assert.has_error(function() take(wrong, 1) end)
    end
    for _, wrong in ipairs { -1, 0.5, "1" } do
      assert.has_error(function() take(a, wrong) end)
    end
  end)
end)

describe("chain", function()
  local chain, take = tcpnet.io.chain, tcpnet.io.take

  it("reads all of the first, then of the second", in_task(function()
    local a, b = tcpnet.duplex(64)
    local c, d, _guard <close> = tcp.pair()
    a:write "one\ntw"
    a:shutdown()
    c:write "o\nthree"
    c:shutdown()
    local both = chain(b, d)
    local lines = {}
    for line in both:lines() do
      lines[#lines + 1] = line
    end
    assert.same({ "one", "two", "three" }, lines)
    ends(both:read())
  end))

  it("waits for the first, and keeps its errors apart from its end", in_task(function()
    local a, b = tcpnet.duplex(64)
    local c, d = tcpnet.duplex(64)
    c:write "second"
    local both = chain(b, d)
    assert.is_true(waits(both.read, both))
    fails("EAGAIN", both:try_read())
    b:set_read_timeout(0.01)
    fails("TIMEOUT", both:read())
    a:write "first"
    assert.equal("first", both:try_read())
    a:close()
    assert.equal("sec", both:try_read(3))
    assert.equal("ond", both:read())
  end))

  it("nests", in_task(function()
    local a, b = tcpnet.duplex(64)
    a:write "abcdefghij"
    a:shutdown()
    local mixed = take(chain(take(b, 3), chain(take(b, 0), b)), 8)
    assert.equal("abcdefgh", mixed:read_exact(8))
    ends(mixed:read())
  end))

  it("refuses what is no reader", function()
    local a = tcpnet.duplex(1)
    assert.has_error(function() chain(a) end)
    assert.has_error(function() chain("x", a) end)
  end)
end)

describe("copy without descriptors", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- from: what is written to `a` is read from it; to: what is written to it can be read from `b`
  local KINDS = {
    { "duplex to duplex", tcpnet.duplex, tcpnet.duplex },
    { "duplex to TCP", tcpnet.duplex, tcp.pair },
    { "TCP to duplex", tcp.pair, tcpnet.duplex },
    { "pipe to duplex", function()
      local sender, receiver = assert(tcpnet.pipe())
      return sender, receiver, tcp.guard(sender, receiver)
    end, tcpnet.duplex },
    { "duplex to pipe", tcpnet.duplex, function()
      local sender, receiver = assert(tcpnet.pipe())
      return sender, receiver, tcp.guard(sender, receiver)
    end },
  }

  local function finish(writer)
    if tcpnet.private.kind(writer) == "PipeSender" then
      writer:close()
    else
      writer:shutdown()
    end
  end

  for _, kind in ipairs(KINDS) do
    local function both(first, second)
      local a, from, guard_a = kind[2](first)
      local to, b, guard_b = kind[3](second)
      return a, from, to, b, setmetatable({}, { __close = function()
        local _one <close> = guard_a
        local _two <close> = guard_b
      end })
    end

    it("gives the bytes copied, " .. kind[1], in_task(function()
      local a, from, to, b, _guard <close> = both(kind[2] == tcpnet.duplex and 1000 or nil,
        kind[3] == tcpnet.duplex and 777 or nil)
      local all = tcp.bytes(1 << 20)
      tcpnet.spawn(function()
        a:write(all)
        finish(a)
      end)
      local copier = tcpnet.spawn(tcpnet.copy, from, to)
      assert.is_true(b:read_exact(#all) == all)
      assert.same({ true, #all }, { copier:join(5) })
      assert.is_true(waits(b.read, b))
    end))

    it("ends at max, " .. kind[1], in_task(function()
      local a, from, to, b, _guard <close> = both(kind[2] == tcpnet.duplex and 1000 or nil,
        kind[3] == tcpnet.duplex and 777 or nil)
      a:write "0123456789"
      assert.equal(4, tcpnet.copy(from, to, 4))
      assert.equal(0, tcpnet.copy(from, to, 0))
      assert.equal("0123", b:read_exact(4))
      assert.equal("456789", from:read_exact(6))
    end))

    it("cancelled time after time loses nothing, " .. kind[1], in_task(function()
      local a, from, to, b, _guard <close> = both(kind[2] == tcpnet.duplex and 3000 or nil,
        kind[3] == tcpnet.duplex and 2000 or nil)
      local all = tcp.bytes(1 << 20)
      tcpnet.spawn(function()
        a:write(all)
        finish(a)
      end)
      local reader = tcpnet.spawn(function()
        local parts = {}
        for chunk in b:chunks(20000) do
          parts[#parts + 1] = chunk
        end
        return table.concat(parts)
      end)
      local rounds = 0
      local key, count, err
      repeat -- by turns, not by time: a slow machine gets as far in one as a fast one
        rounds = rounds + 1
        key, count, err = tcpnet.select {
          copy = function() return tcpnet.copy(from, to) end,
          turns = function()
            for _ = 1, 10 do
              tcpnet.yield()
            end
          end,
        }
      until key == "copy"
      assert(count, err)
      finish(to)
      local ok, got = reader:join(60)
      assert.is_true(ok)
      assert.is_true(rounds > 1)
      assert.is_true(got == all)
    end))

    it("with a writer nobody reads gives the error, and the rest stays readable, " .. kind[1], in_task(function()
      local a, from, to, b, _guard <close> = both(kind[2] == tcpnet.duplex and 100 or nil,
        kind[3] == tcpnet.duplex and 100 or nil)
      b:close()
      a:write(("x"):rep(50))
      finish(a)
      local count, err, copied = tcpnet.copy(from, to)
      if count == nil then
        assert.equal("copy", fails("EPIPE ECONNRESET", count, err).op)
        assert.equal(50 - copied, #from:read_to_end())
      else -- TCP takes what is written before it learns of the reset
        assert.equal("duplex to TCP", kind[1])
      end
    end))
  end

  it("obeys the timeouts of both, and says how much it copied", in_task(function()
    local a, from = tcpnet.duplex(100)
    local to, b = tcpnet.duplex(5)
    to:set_write_timeout(0.01)
    a:write "0123456789"
    local count, err, copied = tcpnet.copy(from, to)
    assert.equal("copy", fails("TIMEOUT", count, err).op)
    assert.equal(5, copied)
    assert.equal("01234", b:read())
    from:set_read_timeout(0.01)
    count, err, copied = tcpnet.copy(from, to)
    fails("TIMEOUT", count, err)
    assert.equal(5, copied)
    assert.equal("56789", b:read())
  end))

  it("is the reader of its stream, and the writer", in_task(function()
    local a, from = tcpnet.duplex(100)
    local to, b = tcpnet.duplex(2)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    a:write "abcdef"
    tcpnet.sleep(0.005)
    assert.has_error(function() from:read() end)
    assert.has_error(function() tcpnet.copy(from, to) end)
    fails("EAGAIN", to:try_write "x")
    local queued = tcpnet.spawn(to.write, to, "after")
    a:shutdown()
    assert.equal("abcdefafter", b:read_exact(11))
    assert.same({ true, 6 }, { copier:join(5) })
    assert.same({ true, 5 }, { queued:join(5) })
  end))

  it("echoes a stream into itself, and copies from take and chain", in_task(function()
    local a, b = tcpnet.duplex(16)
    local echo = tcpnet.spawn(tcpnet.io.copy, b, b)
    a:write "foo bar baz"
    assert.equal("foo bar baz", a:read_exact(11))
    a:shutdown()
    assert.same({ true, 11 }, { echo:join(5) })
    local c, d, _guard <close> = tcp.pair()
    local e, f = tcpnet.duplex(1000)
    e:write "0123456789"
    assert.equal(4, tcpnet.copy(tcpnet.io.take(f, 4), c))
    assert.equal("0123", d:read_exact(4))
    e:shutdown()
    assert.equal(6, tcpnet.copy(tcpnet.io.chain(tcpnet.io.take(f, 3), f), c))
    assert.equal("456789", d:read_exact(6))
  end))

  it("writes to anything that has write_some, however little it takes, and loses nothing", in_task(function()
    local a, from = tcpnet.duplex(100)
    local taken = {}
    local writer = {
      write_some = function(_, bytes)
        if #taken == 4 then
          return nil, tcpnet.private.new_error("ECONNRESET", "write_some")
        end
        taken[#taken + 1] = bytes:sub(1, 3)
        return #taken[#taken]
      end,
    }
    a:write "0123456789abcdef"
    assert.equal(5, tcpnet.copy(from, writer, 5))
    assert.same({ "012", "34" }, taken)
    local count, err, copied = tcpnet.copy(from, writer)
    assert.equal("copy", fails("ECONNRESET", count, err).op)
    assert.equal(6, copied)
    assert.same({ "012", "34", "567", "89a" }, taken)
    assert.equal("bcdef", from:read())
  end))

  it("takes halves, and the streams that they are of are busy meanwhile", in_task(function()
    local a, from = tcpnet.duplex(100)
    local to, b = tcpnet.duplex(2)
    local copier = tcpnet.spawn(tcpnet.copy, (from:split()), select(2, to:split()))
    a:write "abcdef"
    tcpnet.sleep(0.005)
    assert.has_error(function() from:read() end)
    fails("EAGAIN", to:try_write "x")
    a:shutdown()
    assert.equal("abcdef", b:read_exact(6))
    assert.same({ true, 6 }, { copier:join(5) })
    assert.has_error(function() tcpnet.copy(from, (to:split())) end)
  end))

  it("answers CLOSED for a closed one", in_task(function()
    local a, b = tcpnet.duplex(4)
    b:close()
    local count, err, copied = tcpnet.copy(a, b)
    fails("CLOSED", count, err)
    assert.equal(0, copied)
    fails("CLOSED", tcpnet.copy(b, a))
  end))

  it("goes both ways and passes half-closes on (B239)", in_task(function()
    local client, a = tcpnet.duplex(100)
    local b, backend, _guard <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    client:write "question"
    assert.equal("question", backend:read_exact(8))
    client:shutdown()
    assert.equal("", backend:read_to_end())
    backend:write "late"
    backend:close()
    assert.equal("late", client:read_to_end())
    assert.same({ true, 8, 4 }, { proxy:join(5) })
  end))

  it("works outside every task", function()
    local a, from = tcpnet.duplex(100)
    local to, b = tcpnet.duplex(100)
    a:write "plain"
    a:shutdown()
    assert.equal(5, tcpnet.copy(from, to))
    assert.equal("plain", b:read())
    b:shutdown()
    assert.same({ 0, 0 }, { tcpnet.copy_bidirectional(from, to) })
  end)
end)
