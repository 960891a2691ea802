-- TcpStream: everything that reads, and what a timeout or a cancel leaves readable.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local TcpStream = tcpnet.TcpStream
local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

-- An end of stream is nil alone.
local function is_end(...)
  assert.is_true(select("#", ...) <= 2)
  local bytes, err = ...
  assert.is_nil(err)
  assert.is_nil(bytes)
end

describe("TcpStream reading:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("read", function()
    it("gives what there is, up to max", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:write "abcdef")
      assert.equal("abcd", server:read(4))
      assert.equal("ef", server:read(4))
      assert.equal("integer", math.type(server:buffered()))
    end))

    it("waits for the first bytes, and then for no more", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        client:write "late"
      end)
      assert.equal("late", server:read(1000))
    end))

    it("gives at most 65536 bytes when not told", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local all = tcp.bytes(300000)
      tcpnet.spawn(client.write, client, all)
      local parts, total = {}, 0
      while total < #all do
        local part = assert(server:read())
        assert.is_true(#part >= 1 and #part <= 65536)
        parts[#parts + 1], total = part, total + #part
      end
      assert.is_true(table.concat(parts) == all)
    end))

    it("answers the end with nil alone, again and again", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x"
      client:close()
      assert.equal("x", server:read())
      for _ = 1, 3 do
        is_end(server:read())
      end
    end))

    it("answers a reset with ECONNRESET and never with an end (FIELD 20)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(client)
      local err = fails("ECONNRESET", server:read())
      assert.equal("read", err.op)
      assert.is_true(err:is("EPIPE", "ECONNRESET"))
    end))

    it("ended by a reset while it waits is ECONNRESET (F42)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.read, server)
      tcpnet.yield()
      tcp.close_with_reset(client)
      local ok, bytes, err = task:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", bytes, err)
    end))

    it("of 0 bytes raises: it would look like an end (F44)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x"
      assert.has_error(function() server:read(0) end)
      assert.equal("x", server:read())
    end))

    it("raises on a size that is none (F31)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x"
      for _, wrong in ipairs {
        -1, 0.5, 2 ^ 53, math.maxinteger, math.mininteger, 1e300, 0 / 0, math.huge, "x", {}, true,
      } do
        assert.has_error(function() server:read(wrong) end)
      end
      assert.equal("x", server:read())
    end))

    it("keeps NULs and every other byte", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local every = {}
      for i = 0, 255 do
        every[#every + 1] = string.char(i)
      end
      local text = table.concat(every)
      assert(client:write(text))
      assert.equal(text, server:read_exact(256))
    end))

    it("needs no task around it", function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        client:write "from a task"
      end)
      assert.equal("from a task", server:read())
    end)
  end)

  describe("read_exact", function()
    it("waits for all of the bytes", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        for byte in ("hello"):gmatch "." do
          client:write(byte)
          tcpnet.yield()
        end
      end)
      assert.equal("hello", server:read_exact(5))
    end))

    it("of 0 bytes is an empty string at once, at the end too (F44)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.equal("", server:read_exact(0))
      client:close()
      assert.equal("", server:read_exact(0))
      is_end(server:read())
    end))

    it("that meets the end gives EOF and what came, which stays readable", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "partial"
      client:close()
      for _ = 1, 2 do
        local bytes, err, rest = server:read_exact(100)
        fails("EOF", bytes, err)
        assert.equal("partial", rest)
        assert.equal(7, server:buffered())
      end
      assert.equal("par", server:read_exact(3))
      assert.equal("tial", server:read())
      is_end(server:read())
      local bytes, err, rest = server:read_exact(1)
      fails("EOF", bytes, err)
      assert.equal("", rest or "")
    end))

    it("that meets a reset says ECONNRESET, not EOF", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.read_exact, server, 100)
      client:write "some"
      tcpnet.sleep(0.01)
      tcp.close_with_reset(client)
      local ok, bytes, err = task:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", bytes, err)
    end))

    it("of more than the socket's buffers hold", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local all = tcp.bytes(9000001)
      tcpnet.spawn(client.write, client, all)
      assert.is_true(server:read_exact(#all) == all)
      assert.equal(0, server:buffered())
    end))
  end)

  describe("read_line", function()
    it("removes LF and CRLF, keeps empty lines and gives a last line without an ending (B246)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "one\r\ntwo\n\n\r\nfour\rfive\r\r\nlast"
      client:close()
      for _, line in ipairs { "one", "two", "", "", "four\rfive\r", "last" } do
        assert.equal(line, server:read_line())
      end
      is_end(server:read_line())
      is_end(server:read_line())
    end))

    it("keeps a lone CR of a last line", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "end\r"
      client:close()
      assert.equal("end\r", server:read_line())
      is_end(server:read_line())
    end))

    it("finds a CRLF that comes in two pieces", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        for _, piece in ipairs { "spl", "it\r", "\nnext", "\n" } do
          client:write(piece)
          tcpnet.sleep(0.005)
        end
      end)
      assert.equal("split", server:read_line())
      assert.equal("next", server:read_line())
    end))

    it("past max is LIMIT and loses nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "0123456789\nnext\n"
      for _ = 1, 2 do
        fails("LIMIT", server:read_line(5))
      end
      assert.equal("0123456789", server:read_line(100))
      assert.equal("next", server:read_line(5))
    end))

    it("accepts a line of exactly max bytes", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "12345\n12345\r\n"
      assert.equal("12345", server:read_line(7))
      assert.equal("12345", server:read_line(7))
    end))

    it("without an ending reads no further than it must to know of the LIMIT", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(client.write, client, ("x"):rep(50 * 1024 * 1024))
      fails("LIMIT", server:read_line())
      assert.is_true(server:buffered() >= 65536)
      assert.is_true(server:buffered() <= 4 * 65536)
      task:cancel()
      assert.equal(("x"):rep(1000), server:read_exact(1000))
    end))

    it("reads further ahead, up to 64 KiB, where all its room was filled; what runs dry begins anew", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local line = ("x"):rep(38) .. "\n" -- 39 bytes: no block ends with one
      local ahead, most = {}, 0
      local feeder = tcpnet.spawn(function()
        assert(client:write(line:rep(20000)))
      end)
      for i = 1, 20000 do
        assert.equal(38, #assert(server:read_line()))
        ahead[i] = server:buffered()
        most = math.max(most, ahead[i])
      end
      assert(feeder:join())
      assert.is_true(ahead[1] <= 16384)
      assert.is_true(most > 32768 and most <= 65536, ("%d bytes were read ahead"):format(most))
      assert(client:write(line:rep(1000)))
      assert.equal(38, #assert(server:read_line()))
      assert.is_true(server:buffered() <= 16384)
    end))

    it("of 16 MiB, that comes a KiB at a time, is found (F45)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local count = 16 * 1024
      tcpnet.spawn(function()
        local piece = ("y"):rep(1024)
        for i = 1, count do
          client:write(piece)
          if i % 8 == 0 then
            tcpnet.yield()
          end
        end
        client:write "\n"
      end)
      local line = assert(server:read_line(count * 1024 + 1))
      assert.equal(count * 1024, #line)
    end))

    it("of 64 MiB is given whole (F45)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(client.write, client, ("y"):rep(64 * 1024 * 1024), "\nrest\n")
      local line = assert(server:read_line(64 * 1024 * 1024 + 1))
      assert.equal(64 * 1024 * 1024, #line)
      assert.equal("rest", server:read_line())
    end))

    it("raises on a max of 0 or less", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x\n"
      for _, wrong in ipairs { -1, 0.5, 0 / 0, "x" } do
        assert.has_error(function() server:read_line(wrong) end)
      end
      assert.equal("x", server:read_line())
    end))
  end)

  describe("read_until", function()
    it("gives the bytes up to and including the delimiter", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "a=1;b=2;rest"
      assert.equal("a=1;", server:read_until ";")
      assert.equal("b=2;", server:read_until ";")
      assert.equal("rest", server:read(10))
    end))

    it("takes a delimiter of several bytes, cut anywhere and overlapping itself", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        for byte in ("xx--a--ab---ab|aabaabaac"):gmatch "." do
          client:write(byte)
          tcpnet.yield()
        end
      end)
      assert.equal("xx--a--ab", server:read_until "--ab")
      assert.equal("---ab", server:read_until "--ab")
      assert.equal("|aabaabaac", server:read_until "aabaac")
    end))

    it("takes a delimiter with NULs and pattern characters for what they are", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "a.b%a\0\0c"
      assert.equal("a.b%a", server:read_until "%a")
      assert.equal("\0\0", server:read_until "\0\0")
    end))

    it("past max is LIMIT and loses nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "0123456789;"
      fails("LIMIT", server:read_until(";", 10))
      assert.equal("0123456789;", server:read_until(";", 11))
    end))

    it("that meets the end without its delimiter loses nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "no delimiter"
      client:close()
      local bytes, err = server:read_until ";"
      if bytes == nil then
        fails("EOF", bytes, err)
        bytes = server:read()
      end
      assert.equal("no delimiter", bytes)
      is_end(server:read())
      is_end(server:read_until ";")
    end))

    it("raises on an empty delimiter and on one that is no string", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "x"
      assert.has_error(function() server:read_until "" end)
      assert.has_error(function() server:read_until() end)
      assert.has_error(function() server:read_until {} end)
    end))
  end)

  describe("read_to_end", function()
    it("gives everything, the buffered bytes first", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local rest = tcp.bytes(1000000)
      tcpnet.spawn(function()
        client:write("head\n", rest)
        client:close()
      end)
      assert.equal("head", server:read_line())
      assert.is_true(server:read_to_end() == rest)
    end))

    it("of nothing is an empty string", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:close()
      assert.equal("", server:read_to_end())
    end))

    it("past max is LIMIT and loses nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "0123456789"
      client:close()
      fails("LIMIT", server:read_to_end(9))
      assert.equal("0123456789", server:read_to_end(10))
    end))

    it("that meets a reset is ECONNRESET", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.read_to_end, server)
      client:write "lost?"
      tcpnet.sleep(0.01)
      tcp.close_with_reset(client)
      local ok, bytes, err = task:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", bytes, err)
    end))
  end)

  describe("read_into", function()
    it("appends to a Buffer and says how much", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(16)
      buffer:append "> "
      client:write "hello"
      assert.equal(5, server:read_into(buffer))
      assert.equal("> hello", tostring(buffer))
    end))

    it("takes no more than the room left, nor than max", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(8)
      client:write "0123456789"
      assert.equal(3, server:read_into(buffer, 3))
      assert.equal(5, server:read_into(buffer))
      assert.equal("01234567", tostring(buffer))
      assert.has_error(function() server:read_into(buffer) end)
      buffer:clear()
      assert.equal(2, server:read_into(buffer))
      assert.equal("89", tostring(buffer))
    end))

    it("sees the buffered bytes first", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      local buffer = tcpnet.Buffer.new(100)
      assert.equal(4, server:read_into(buffer))
      assert.equal("rest", tostring(buffer))
    end))

    it("answers the end with nil alone and leaves the Buffer", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(8)
      buffer:append "kept"
      client:close()
      is_end(server:read_into(buffer))
      assert.equal("kept", tostring(buffer))
    end))
  end)

  describe("peek", function()
    it("and then read give the same bytes (B27)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "abcd"
      assert.equal("abcd", server:peek())
      assert.equal("abcd", server:peek(4))
      assert.equal("ab", server:peek(2))
      assert.equal("abcd", server:read())
    end))

    it("waits while there is nothing (F44)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.is_true(waits(server.peek, server))
      client:write "x"
      assert.equal("x", server:peek())
    end))

    it("gives the buffered bytes followed by what the kernel has, and takes nothing from it", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nab"
      assert.equal("line", server:read_line())
      assert.equal(2, server:buffered())
      client:write "cd"
      tcpnet.sleep(0.01)
      assert.equal("abcd", server:peek(10))
      assert.equal(2, server:buffered())
      assert.equal("abc", server:peek(3))
      assert.equal("a", server:peek(1))
      assert.equal("abcd", server:read_exact(4))
    end))

    it("with buffered bytes does not wait for more", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nab"
      assert.equal("line", server:read_line())
      assert.equal("ab", server:peek(10))
    end))

    it("answers the end with nil alone, after the buffered bytes", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nab"
      assert.equal("line", server:read_line())
      client:close()
      tcpnet.sleep(0.01)
      assert.equal("ab", server:peek(10))
      assert.equal("ab", server:read(10))
      is_end(server:peek(10))
      is_end(server:read())
    end))
  end)

  describe("lines and chunks:", function()
    it("lines ends at the end of the stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "a\nb\r\n\nd"
      client:close()
      local seen = {}
      for line in server:lines() do
        seen[#seen + 1] = line
      end
      assert.same({ "a", "b", "", "d" }, seen)
    end))

    it("lines raises an error past max, which is an Error", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "short\nmuch too long\n"
      local next_line = server:lines(8)
      assert.equal("short", next_line())
      local ok, err = pcall(next_line)
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "LIMIT"))
      assert.equal("much too long", server:read_line())
    end))

    it("chunks gives every byte and raises a reset", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "0123456789"
      local next_chunk = server:chunks(4)
      assert.equal("0123", next_chunk())
      assert.equal("4567", next_chunk())
      assert.equal("89", next_chunk())
      tcp.close_with_reset(client)
      local ok, err = pcall(next_chunk)
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "ECONNRESET"))
    end))

    it("chunks ends at the end of the stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "0123456789"
      client:close()
      local seen = {}
      for chunk in server:chunks(4) do
        seen[#seen + 1] = chunk
      end
      assert.same({ "0123", "4567", "89" }, seen)
    end))

    it("a generator of tcpnet.coroutine reads the net (F10, FIELD 11)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcpnet.spawn(function()
        for i = 1, 3 do
          tcpnet.sleep(0.002)
          client:write(i, "\n")
        end
        client:close()
      end)
      local seen = {}
      for line in tcpnet.coroutine.wrap(function()
        for line in server:lines() do
          tcpnet.coroutine.yield(line)
        end
      end) do
        seen[#seen + 1] = line
      end
      assert.same({ "1", "2", "3" }, seen)
    end))

    it("refuse a max as read_line and read do", in_task(function()
      local _, server, _guard <close> = tcp.pair()
      for _, name in ipairs { "lines", "chunks" } do
        for _, max in ipairs { 0, -1, 1 << 31, 1.5, "8" } do
          local method = name == "lines" and "read_line" or "read"
          local ok, message = pcall(function() return server[name](server, max) end)
          local _, expected = pcall(function() return server[method](server, max) end)
          assert.is_false(ok)
          assert.equal(expected:match "%(.*$", message:match "%(.*$")
        end
        local ok, message = pcall(function() return server:lines(0) end)
        assert.is_false(ok)
        assert.matches("tcp_stream_read_spec%.lua:%d+: bad argument #1 to 'lines' %(max: integer", message)
      end
    end))

    -- What is ahead, what has to be waited for, and the end.
    it("take no notice of what the iterator is called with", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local next_line, next_chunk = server:lines(10), server:chunks(3)
      client:write "one\ntwo\n"
      assert.equal("one", next_line(client, 1, {}, print))
      assert.equal("two", next_line(nil))
      tcpnet.spawn(function()
        tcpnet.sleep(0.005)
        client:write "three\nfourfi"
        tcpnet.sleep(0.005)
        client:shutdown()
      end)
      assert.equal("three", next_line(client, 1))
      assert.equal("fou", next_chunk(client, 1))
      assert.equal("rfi", next_chunk(0))
      assert.is_nil(next_chunk(server, 9))
      assert.is_nil(next_line(server, 9))
      assert.equal(1, select("#", next_line()))
    end))

    it("are several over one stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local some, all, chunks = server:lines(3), server:lines(), server:chunks(2)
      client:write "a\nmore\ncd\ne\n"
      assert.equal("a", some())
      local ok, err = pcall(some)
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "LIMIT"))
      assert.equal("more", all())
      assert.equal("cd", chunks())
      assert.equal("", some())
      assert.equal("e", all())
    end))

    it("work outside of every task", function()
      local client, server = assert(tcpnet.UnixStream.pair())
      local _guard <close> = tcp.guard(client, server)
      client:write "a\nb\nrest"
      local seen = {}
      for line in server:lines() do
        seen[#seen + 1] = line
        if #seen == 2 then
          break
        end
      end
      server:set_read_timeout(0.01)
      local ok, err = pcall(server:lines())
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
      client:close()
      for chunk in server:chunks(3) do
        seen[#seen + 1] = chunk
      end
      assert.same({ "a", "b", "res", "t" }, seen)
    end)

    it("raise a timeout and go on behind it", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local next_line = server:lines()
      server:set_read_timeout(0.01)
      client:write "half"
      local ok, err = pcall(next_line)
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
      assert.equal("read_line", err.op)
      assert.matches("tcp_stream_read_spec%.lua:%d+$", err.where)
      server:set_read_timeout(nil)
      local line, late = tcpnet.timeout(0.01, next_line)
      assert.equal("timeout", fails("TIMEOUT", line, late).op)
      client:write " a line\n"
      assert.equal("half a line", next_line())
    end))

    it("of a cancelled task leave what had come", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local seen = {}
      local task = tcpnet.spawn(function()
        for line in server:lines() do
          seen[#seen + 1] = line
        end
      end)
      client:write "first\nbegun"
      tcpnet.sleep(0.01)
      task:cancel()
      client:write ", ended\n"
      assert.same({ "first" }, seen)
      assert.equal("begun, ended", server:lines()())
    end))

    it("refuse a second reader by the name of the read", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server:lines())
      tcpnet.yield()
      local ok, message = pcall(function() return server:chunks()() end)
      assert.is_false(ok)
      assert.matches("tcp_stream_read_spec%.lua:%d+: read: another task is reading from this TcpStream$", message)
      client:write "mine\n"
      assert.same({ true, "mine" }, { task:join() })
    end))

    it("refuse to run where nothing can wait, be there a line or not", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "one\ntwo\n"
      local next_line = server:lines()
      assert.equal("one", next_line())
      local ok, message = pcall(string.gsub, "x", "x", next_line)
      assert.is_false(ok)
      assert.matches("read_line: cannot wait here: inside a task, but below a C function", message)
      ok, message = pcall(coroutine.wrap(next_line))
      assert.is_false(ok)
      assert.matches("read_line: cannot wait here: in a coroutine that the task made", message)
      assert.equal("two", tcpnet.coroutine.wrap(next_line)())
    end))

    it("say what became of their stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _, name in ipairs { "lines", "chunks" } do
        client:write "a\nb\n"
        local next_one = server[name](server, 2)
        assert.is_string(next_one())
        local fd = server:into_fd(true)
        local ok, err = pcall(next_one)
        assert.is_false(ok)
        assert.is_true(tcpnet.is_error(err, "CLOSED"))
        assert.equal("the TcpStream was consumed by into_fd", err.message)
        server = assert(TcpStream.from_fd(fd))
      end
      local next_line = server:lines()
      server:close()
      local ok, err = pcall(next_line)
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "CLOSED"))
    end))

    it("end with CLOSED where the stream is closed while they wait", in_task(function()
      local _, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(function() return pcall(server:lines()) end)
      tcpnet.yield()
      server:close()
      local _, ok, err = task:join()
      assert.is_false(ok)
      assert.is_true(tcpnet.is_error(err, "CLOSED"))
    end))

    it("keep their stream", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local next_line = server:lines()
      _guard[2], server = client, nil -- luacheck: ignore 311
      client:write "first\n"
      collectgarbage()
      collectgarbage()
      assert.equal("first", next_line())
      local task = tcpnet.spawn(next_line)
      next_line = nil -- luacheck: ignore 311
      tcpnet.yield()
      collectgarbage()
      collectgarbage()
      client:write "second\n"
      assert.same({ true, "second" }, { task:join() })
      task = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
    end))

    it("give way to others where the lines never end", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write(("x\n"):rep(2000))
      client:shutdown()
      for _, name in ipairs { "lines", "chunks" } do
        local turns, done = 0, false
        tcpnet.spawn(function()
          while not done do
            turns = turns + 1
            tcpnet.yield()
          end
        end)
        local count = 0
        for _ in server[name](server, 1) do
          count = count + 1
          if count == 1000 then
            break
          end
        end
        done = true
        assert.equal(1000, count)
        assert.is_true(turns >= 5, turns)
      end
    end))
  end)

  describe("buffered bytes", function()
    it("are seen by every kind of read", in_task(function()
      for _, case in ipairs {
        { "read", "rest" }, { "read_exact", "rest", 4 }, { "try_read", "rest" }, { "read_line", "rest", 100 },
        { "read_to_end", "rest" }, { "peek", "rest" }, { "read_until", "rest", "t" }, { "read", "re", 2 },
      } do
        local client, server, _guard <close> = tcp.pair()
        client:write "line\nrest"
        client:close()
        assert.equal("line", server:read_line())
        assert.equal(4, server:buffered())
        local name = case[1]
        assert.equal(case[2], server[name](server, case[3]))
      end
    end))

    it("make readable immediate", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      assert(server:readable())
      assert.is_true(assert(server:ready "r"):is_readable())
      assert.equal("rest", server:read())
      assert.is_true(waits(server.readable, server))
    end))

    it("are still there after a reset of the peer", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      tcp.close_with_reset(client)
      tcpnet.sleep(0.01)
      assert.equal("rest", server:read())
      fails("ECONNRESET", server:read())
    end))
  end)

  describe("a timeout", function()
    it("is TIMEOUT, loses nothing and is not sticky (FIELD 16, 21)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      server:set_read_timeout(0.02)
      client:write "half a "
      for _, call in ipairs {
        { "read_exact", 100 }, { "read_line" }, { "read_until", ";" }, { "read_to_end" },
      } do
        local name = call[1]
        local err = fails("TIMEOUT", server[name](server, call[2]))
        assert.equal(name, err.op)
        assert.equal(7, server:buffered())
      end
      client:write "line\n"
      assert.equal("half a line", server:read_line())
      fails("TIMEOUT", server:read())
      client:write "x"
      assert.equal("x", server:read())
    end))

    it("leaves no waiter behind: another task gets the bytes (F7, FIELD 27)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      server:set_read_timeout(0.01)
      fails("TIMEOUT", server:read())
      server:set_read_timeout(nil)
      local task = tcpnet.spawn(server.read, server)
      tcpnet.yield()
      client:write "for the second"
      assert.same({ true, "for the second" }, { task:join(5) })
    end))

    it("is for the whole call, however the bytes drip in", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      server:set_timeout(0.1)
      local dripping = tcpnet.spawn(function()
        while true do
          client:write "."
          tcpnet.sleep(0.01)
        end
      end)
      fails("TIMEOUT", server:read_exact(10000))
      dripping:cancel()
      assert.is_true(#server:read() >= 1)
    end))

    it("of tcpnet.timeout is told apart by its op (FIELD 17)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local bytes, err = tcpnet.timeout(0.01, server.read_exact, server, 5)
      assert.equal("timeout", fails("TIMEOUT", bytes, err).op)
      client:write "hello"
      assert.equal("hello", server:read_exact(5))
    end))

    it("of 0 takes what is there and waits for nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      server:set_read_timeout(0)
      fails("TIMEOUT", server:read())
      client:write "x"
      tcpnet.sleep(0.01)
      assert.equal("x", server:read())
    end))

    it("outside every task is TIMEOUT just the same", function()
      local client, server, _guard <close> = tcp.pair()
      server:set_read_timeout(0.01)
      fails("TIMEOUT", server:read())
      client:write "x"
      assert.equal("x", server:read())
    end)
  end)

  describe("a cancel", function()
    it("of any read loses nothing", in_task(function()
      for _, call in ipairs {
        { "read_exact", 100 }, { "read_line" }, { "read_until", ";" }, { "read_to_end" },
      } do
        local client, server, _guard <close> = tcp.pair()
        local name = call[1]
        local task = tcpnet.spawn(server[name], server, call[2])
        client:write "some bytes"
        tcpnet.sleep(0.01)
        assert.is_true(task:cancel())
        fails("CANCELED", task:join())
        client:write " more"
        client:close()
        assert.equal("some bytes more", server:read_to_end())
      end
    end))

    it("by a lost select loses nothing", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "abc"
      local key = tcpnet.select {
        function() return server:read_exact(10) end,
        function() tcpnet.sleep(0.02) end,
      }
      assert.equal(2, key)
      client:write "defghij"
      assert.equal("abcdefghij", server:read_exact(10))
    end))

    it("frees the stream for the next reader", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _ = 1, 100 do
        local task = tcpnet.spawn(server.read, server)
        tcpnet.yield()
        task:cancel()
      end
      client:write "x"
      assert.equal("x", server:read())
    end))
  end)

  describe("two readers", function()
    it("raise in the second, and the first goes on (F6)", in_task(function()
      for _, name in ipairs { "read", "read_line", "read_to_end", "peek" } do
        local client, server, _guard <close> = tcp.pair()
        local first = tcpnet.spawn(server.read_exact, server, 5)
        tcpnet.yield()
        local ok, message = pcall(server[name], server)
        assert.is_false(ok, name .. " did not raise")
        assert.is_false(tcpnet.is_error(message))
        client:write "hello"
        assert.same({ true, "hello" }, { first:join(5) })
      end
    end))

    it("are not a reader and a writer: both go on at once (F6, FIELD 51)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local sent = tcp.fill(server)
      local reader = tcpnet.spawn(server.read_exact, server, 2)
      local writer = tcpnet.spawn(server.write, server, ("w"):rep(100000))
      tcpnet.yield()
      client:write "hi"
      assert.same({ true, "hi" }, { reader:join(5) })
      assert.equal(sent + 100000, #client:read_exact(sent + 100000))
      assert.same({ true, 100000 }, { writer:join(5) })
    end))
  end)

  describe("at once:", function()
    it("try_read is EAGAIN with nothing there, then bytes, then the end", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      fails("EAGAIN", server:try_read())
      client:write "abc"
      assert(server:readable())
      assert.equal("ab", server:try_read(2))
      assert.equal("c", server:try_read())
      fails("EAGAIN", server:try_read())
      client:close()
      assert(server:readable())
      is_end(server:try_read())
    end))

    it("try_read_into appends", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(4)
      fails("EAGAIN", server:try_read_into(buffer))
      client:write "abcdef"
      assert(server:readable())
      assert.equal(4, server:try_read_into(buffer))
      assert.equal("abcd", tostring(buffer))
    end))

    it("try_read_vectored fills Buffers in order (B136)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local first, second = tcpnet.Buffer.new(3), tcpnet.Buffer.new(10)
      fails("EAGAIN", server:try_read_vectored { first, second })
      client:write "abcdef"
      assert(server:readable())
      assert.equal(6, server:try_read_vectored { first, second })
      assert.equal("abc", tostring(first))
      assert.equal("def", tostring(second))
    end))

    it("every try_ form sees the buffered bytes first", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "l\nabcdefgh"
      assert.equal("l", server:read_line())
      assert.equal("a", server:try_read(1))
      local buffer = tcpnet.Buffer.new(2)
      assert.equal(2, server:try_read_into(buffer))
      assert.equal("bc", tostring(buffer))
      local one, two = tcpnet.Buffer.new(2), tcpnet.Buffer.new(9)
      local total = 0
      while total < 5 do
        total = total + assert(server:try_read_vectored { one, two })
      end
      assert.equal("defgh", tostring(one) .. tostring(two))
    end))

    it("a reset is ECONNRESET for try_read too", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(client)
      assert(server:readable())
      fails("ECONNRESET", server:try_read())
    end))
  end)

  describe("memory", function()
    it("of one who does not read stays flat: the kernel holds the writer back (F46)", in_task(function()
      local status = io.open "/proc/self/status"
      if not status then
        return pending "needs /proc"
      end
      status:close()
      local function resident()
        local file <close> = assert(io.open "/proc/self/status")
        return tonumber(file:read("a"):match "VmRSS:%s*(%d+)")
      end
      local client, server, _guard <close> = tcp.pair()
      local piece = ("z"):rep(1 << 20)
      client:write "start\n"
      assert.equal("start", server:read_line())
      collectgarbage()
      local before = resident()
      client:set_write_timeout(0.2)
      local total = 0
      for _ = 1, 100 do
        local count, err, sent = client:write(piece)
        total = total + (count or sent)
        if not count then
          fails("TIMEOUT", count, err)
          break
        end
      end
      assert.is_true(total < 64 << 20, "nobody held the writer back")
      assert.equal(0, server:buffered())
      local growth = resident() - before
      assert.is_true(growth < 4096, ("%d KiB more"):format(growth))
    end))
  end)

  it("a read is never lost to collection: the stream lives while a task waits (F1)", in_task(function()
    local client, server = tcp.pair()
    local task = tcpnet.spawn(function(stream)
      return stream:read()
    end, server)
    server = nil
    tcpnet.yield()
    collectgarbage()
    collectgarbage()
    client:write "alive"
    assert.same({ true, "alive" }, { task:join(5) })
    assert.is_nil(server)
  end))

  it("a read below a C function raises before it takes anything (F12)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    client:write "x"
    tcpnet.sleep(0.01)
    local ok, message = pcall(string.gsub, "a", "a", function()
      return server:read()
    end)
    assert.is_false(ok)
    assert.matches("read: cannot wait here", tostring(message), 1, true)
    assert.equal("x", server:read())
  end))

  it("methods are fields of the class: TcpStream.read(s) is s:read()", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    client:write "x"
    assert.equal("x", TcpStream.read(server))
  end))

  it("a finalizer in the middle of a read finds nothing where there is nothing", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local other, peer, _other_guard <close> = tcp.pair()
    local socket = assert(other:as_socket())
    local line = ("line"):rep(20) -- a string that is new
    for _, try in ipairs {
      function() return other:try_read() end, function() return socket:try_recv() end,
      function() return socket:try_recvmsg {} end,
    } do
      local results
      assert(client:write(line .. "\n"))
      assert.equal("line", server:peek(4))
      assert.equal(line, collect.during(function() results = table.pack(try()) end, server.read_line, server))
      fails("EAGAIN", table.unpack(results, 1, results.n))
    end
    peer:close()
    assert(other:ready "r")
    assert(client:write(line .. "\n"))
    assert.equal("line", server:peek(4))
    local results
    local function try() results = table.pack(other:try_read()) end
    assert.equal(line, collect.during(try, server.read_line, server))
    is_end(table.unpack(results, 1, results.n))
  end))
end)
