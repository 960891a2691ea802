-- TcpStream: everything that writes, and how a stream ends: half close, finish, reset, a peer that is gone.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

local function is_end(...)
  assert.is_true(select("#", ...) <= 2)
  local bytes, err = ...
  assert.is_nil(err)
  assert.is_nil(bytes)
end

-- Writes until the error that a stream with a dead peer must give → that error. Never a success for ever.
local function write_until_error(stream)
  for _ = 1, 1000 do
    local count, err = stream:write(("x"):rep(1000))
    if not count then
      return err
    end
    tcpnet.sleep(0.001)
  end
  error "writes to a dead peer go on succeeding"
end

describe("TcpStream writing:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("write", function()
    it("takes strings, numbers and Buffers and returns the total", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(10)
      buffer:append "buf"
      local total = client:write("text", 12, 1.5, buffer, -3, "", "end")
      assert.equal(#"text121.5buf-3end", total)
      assert.equal("integer", math.type(total))
      assert.equal("text121.5buf-3end", server:read_exact(total))
      assert.equal("buf", tostring(buffer))
    end))

    it("of nothing is 0 and touches nothing (F44)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.equal(0, client:write "")
      assert.equal(0, client:write("", "", ""))
      assert.equal(0, client:write())
      assert.is_true(waits(server.read, server))
    end))

    it("takes 1000 arguments, and more than the kernel takes at once", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _, count in ipairs { 1000, 3000 } do
        local pieces = {}
        for i = 1, count do
          pieces[i] = i % 3 == 0 and i or ("<%d>"):format(i)
        end
        local all = table.concat(pieces)
        assert.equal(#all, client:write(table.unpack(pieces)))
        assert.equal(all, server:read_exact(#all))
      end
    end))

    it("raises on what is no bytes, and has written nothing then (FIELD 61)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _, wrong in ipairs { {}, true, print, io.stdout, client } do
        assert.has_error(function() client:write("never", wrong) end)
      end
      assert.has_error(function() client:write("never", nil) end)
      assert(client:write "good")
      assert.equal("good", server:read())
    end))

    it("of 64 MiB arrives whole at a slow reader (F39)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local all = tcp.bytes(64 << 20)
      local writer = tcpnet.spawn(client.write, client, all)
      local got, rounds = tcp.digest(), 0
      local total = 0
      while total < #all do
        local part = assert(server:read(1 + (rounds * 7919) % (1 << 20)))
        got.add(part)
        total, rounds = total + #part, rounds + 1
        if rounds % 16 == 0 then
          tcpnet.yield()
        end
      end
      assert.same({ true, #all }, { writer:join(5) })
      local sent = tcp.digest()
      sent.add(all)
      assert.equal(sent.value(), got.value())
    end))

    it("of many large pieces at once keeps their order", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local pieces = {}
      for i = 1, 50 do
        pieces[i] = string.char(i):rep(100000 + i)
      end
      local all = table.concat(pieces)
      local writer = tcpnet.spawn(client.write, client, table.unpack(pieces))
      assert.is_true(server:read_exact(#all) == all)
      assert.same({ true, #all }, { writer:join(5) })
    end))

    it("holds what it writes: neither string nor Buffer is collected (FIELD 37)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local writer = tcpnet.spawn(function()
        local buffer = tcpnet.Buffer.new(1 << 20)
        buffer:append(("b"):rep(1 << 20))
        return client:write(("a"):rep(8 << 20), buffer)
      end)
      tcpnet.yield()
      for _ = 1, 5 do
        collectgarbage()
      end
      assert.is_true(server:read_exact(8 << 20) == ("a"):rep(8 << 20))
      assert.is_true(server:read_exact(1 << 20) == ("b"):rep(1 << 20))
      assert.same({ true, 9 << 20 }, { writer:join(5) })
    end))

    it("raises in one who changes a Buffer that is being written", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.fill(client)
      local buffer = tcpnet.Buffer.new(100)
      buffer:append "held"
      local writer = tcpnet.spawn(client.write, client, buffer)
      tcpnet.yield()
      assert.has_error(function() buffer:append "x" end)
      assert.has_error(function() buffer:clear() end)
      assert.has_error(function() buffer:consume(1) end)
      writer:cancel()
      writer:join()
      assert(buffer:append "x")
      assert.is_false(server:closed())
    end))

    it("of two tasks does not mix: the bytes of each call are contiguous", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 8 << 20
      for _, letter in ipairs { "a", "b", "c" } do
        tcpnet.spawn(client.write, client, letter:rep(size // 2), letter:rep(size // 2))
      end
      for _, letter in ipairs { "a", "b", "c" } do
        assert.is_true(server:read_exact(size) == letter:rep(size), letter .. " is mixed with others")
      end
    end))

    it("that times out says how much went out, and the stream stays usable", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 32 << 20
      client:set_write_timeout(0.05)
      local total, err, sent = client:write(("t"):rep(size))
      fails("TIMEOUT", total, err)
      assert.equal("write", err.op)
      assert.equal("integer", math.type(sent))
      assert.is_true(sent > 0 and sent < size)
      client:set_write_timeout(nil)
      local writer = tcpnet.spawn(client.write, client, "!")
      assert.equal(("t"):rep(sent) .. "!", server:read_exact(sent + 1))
      assert.same({ true, 1 }, { writer:join(5) })
    end))

    it("that is cancelled has sent a prefix", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local all = tcp.bytes(16 << 20)
      local writer = tcpnet.spawn(client.write, client, all)
      tcpnet.sleep(0.02)
      assert.is_true(writer:cancel())
      client:close()
      local got = assert(server:read_to_end())
      assert.is_true(#got < #all)
      assert.is_true(got == all:sub(1, #got))
    end))

    it("queued behind another can be cancelled, and sends nothing then", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 16 << 20
      tcpnet.spawn(client.write, client, ("1"):rep(size))
      local second = tcpnet.spawn(client.write, client, ("2"):rep(size))
      tcpnet.spawn(client.write, client, "3")
      tcpnet.yield()
      second:cancel()
      assert.is_true(server:read_exact(size) == ("1"):rep(size))
      assert.equal("3", server:read())
    end))

    it("that meets a reset says how much went out", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local writer = tcpnet.spawn(client.write, client, ("r"):rep(64 << 20))
      assert(server:read_exact(1000000))
      tcp.close_with_reset(server)
      local ok, total, err, sent = writer:join(5)
      assert.is_true(ok)
      fails("ECONNRESET EPIPE", total, err)
      assert.equal("integer", math.type(sent))
      assert.is_true(sent >= 1000000 and sent < 64 << 20)
    end))

    it("to a peer that is gone is ECONNRESET or EPIPE, never an end, and no SIGPIPE (F38, B131)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      server:close()
      local err = write_until_error(client)
      assert.is_true(err:is("ECONNRESET", "EPIPE"), tostring(err))
      fails("ECONNRESET EPIPE", client:write "again")
      fails("EPIPE ECONNRESET", client:write_some "again")
      fails("EPIPE ECONNRESET", client:try_write "again")
    end))

    it("to a peer that was reset is ECONNRESET or EPIPE", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(server)
      tcpnet.sleep(0.01)
      local total, err, sent = client:write "x"
      fails("ECONNRESET EPIPE", total, err)
      assert.equal(0, sent)
    end))

    it("outside every task waits for a task that reads", function()
      local client, server, _guard <close> = tcp.pair()
      local size = 16 << 20
      local reader = tcpnet.spawn(server.read_exact, server, size)
      assert.equal(size, client:write(("o"):rep(size)))
      local ok, bytes = reader:join(5)
      assert.is_true(ok)
      assert.equal(size, #bytes)
    end)
  end)

  describe("the others:", function()
    it("write_from writes a Buffer and consumes it", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(4 << 20)
      local all = tcp.bytes(4 << 20)
      buffer:append(all)
      local writer = tcpnet.spawn(client.write_from, client, buffer)
      assert.is_true(server:read_exact(#all) == all)
      assert.same({ true, #all }, { writer:join(5) })
      assert.equal(0, #buffer)
    end))

    it("write_from that times out has consumed what went out", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 32 << 20
      local buffer = tcpnet.Buffer.new(size)
      buffer:append(("f"):rep(size))
      client:set_write_timeout(0.05)
      local count, err = client:write_from(buffer)
      fails("TIMEOUT", count, err)
      assert.is_true(#buffer < size and #buffer > 0)
      client:close()
      assert.equal(size - #buffer, #server:read_to_end())
    end))

    it("write_some gives what one write took, from a position", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.equal(5, client:write_some "hello")
      assert.equal(3, client:write_some("hello", 3))
      assert.equal("hellollo", server:read_exact(8))
      local size = 32 << 20
      local count = client:write_some(("s"):rep(size))
      assert.is_true(count > 0 and count < size)
      assert.is_true(waits(function()
        while true do
          client:write_some(("s"):rep(size))
        end
      end))
    end))

    it("write_vectored gives what one call took of a list", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local buffer = tcpnet.Buffer.new(3)
      buffer:append "buf"
      assert.equal(8, client:write_vectored { "ab", "12", "c", buffer })
      assert.equal("ab12cbuf", server:read_exact(8))
      assert.has_error(function() client:write_vectored { "a", {} } end)
      assert.has_error(function() client:write_vectored "ab" end)
    end))

    it("try_write takes 4000 bytes at once and wakes who waits for them (B28)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local waiting = tcpnet.spawn(server.readable, server)
      tcpnet.yield()
      assert.equal("waiting", waiting:status())
      assert(client:writable())
      assert.equal(4000, client:try_write(("x"):rep(4000)))
      assert.is_true((waiting:join(5)))
      assert.equal(4000, #server:read_exact(4000))
    end))

    it("try_write: a success after every writable, and waiting after EAGAIN (B29, B37)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local total = 0
      repeat -- the kernel ends it while there is some room left: poll(2) is about more than a byte
        local count = assert(client:try_write(("x"):rep(4000)))
        assert.is_true(count > 0)
        total = total + count
      until waits(client.writable, client)
      assert.is_true(total >= 40000, total)
      total = total + tcp.fill(client)
      fails("EAGAIN", client:try_write "x")
      assert.is_true(waits(client.writable, client))
      local drained = 0
      while drained < total do
        assert(server:readable())
        local bytes, err = server:try_read()
        if bytes then
          drained = drained + #bytes
        else
          fails("EAGAIN", bytes, err)
        end
      end
      assert(client:writable())
      assert.equal(1, client:try_write "y")
      assert.equal("y", server:read())
    end))

    it("try_write begins at a position", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert.equal(2, client:try_write("abc", 2))
      assert.equal("bc", server:read_exact(2))
    end))

    it("vectored both ways: 400 slices written, 64 KiB slices read, the same bytes (B30, B31)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local slices = {}
      for i = 1, 400 do
        slices[i] = ("%03d."):format(i):rep(25)
      end
      local round = table.concat(slices)
      local total = 0
      while true do
        local count, err = client:try_write_vectored(slices)
        if not count then
          fails("EAGAIN", count, err)
          break
        end
        total = total + count
        if count < #round then
          break -- the rest of this round is never sent
        end
      end
      local buffers = { tcpnet.Buffer.new(65536), tcpnet.Buffer.new(65536) }
      local parts, got = {}, 0
      while got < total do
        assert(server:readable())
        local count, err = server:try_read_vectored(buffers)
        if count then
          got = got + count
          for _, buffer in ipairs(buffers) do
            parts[#parts + 1] = tostring(buffer)
            buffer:clear()
          end
        else
          fails("EAGAIN", count, err)
        end
      end
      local expected = round:rep(total // #round + 1):sub(1, total)
      assert.is_true(table.concat(parts) == expected)
    end))

    it("try_write while a write waits does not cut into it", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 16 << 20
      local writer = tcpnet.spawn(client.write, client, ("w"):rep(size))
      tcpnet.sleep(0.01)
      server:read(100000)
      local count, err = client:try_write "!"
      fails("EAGAIN", count, err)
      assert.is_nil(server:read_exact(size - 100000):find("!", 1, true))
      writer:join(5)
    end))
  end)

  describe("shutdown", function()
    it("of writing: the peer reads the end and still answers (F40)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:write "question")
      assert(client:shutdown())
      assert.equal("question", server:read_to_end())
      assert(server:write "answer")
      server:close()
      assert.equal("answer", client:read_to_end())
    end))

    it("three times succeeds each time (B44)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      for _ = 1, 3 do
        assert(client:shutdown())
      end
      for _ = 1, 3 do
        assert(server:shutdown "both")
      end
      is_end(server:read())
    end))

    it("after a reset of the peer succeeds, or is ECONNRESET (B43)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(client)
      tcpnet.sleep(0.01)
      local ok, err = server:shutdown()
      assert.is_true(ok ~= nil and ok ~= false or err:is "ECONNRESET")
    end))

    it("sends what a waiting write still has first (F40)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local size = 16 << 20
      local writer = tcpnet.spawn(client.write, client, ("q"):rep(size))
      tcpnet.yield()
      local closer = tcpnet.spawn(function()
        writer:join()
        return client:shutdown()
      end)
      assert.equal(size, #server:read_to_end())
      assert.is_true((closer:join(5)))
    end))

    it("then write is EPIPE and no signal (B139)", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      assert(client:shutdown "write")
      local total, err, sent = client:write "late"
      fails("EPIPE ECONNRESET", total, err)
      assert.equal(0, sent)
    end))

    it("of both: EPIPE for write, an end for read (B139)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:shutdown "both")
      fails("EPIPE", client:write "late")
      is_end(client:read())
      is_end(server:read())
    end))

    it("of reading: writing goes on", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(client:shutdown "read")
      is_end(client:read())
      assert(client:write "still")
      assert.equal("still", server:read())
    end))

    it("of reading leaves the buffered bytes readable", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "line\nrest"
      assert.equal("line", server:read_line())
      assert(server:shutdown "read")
      assert.equal("rest", server:read())
    end))

    it("ends a read that waits on the peer with the end", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local reader = tcpnet.spawn(server.read, server)
      tcpnet.yield()
      assert(client:shutdown())
      local ok, bytes, err = reader:join(5)
      assert.is_true(ok)
      is_end(bytes, err)
    end))

    it("raises on a direction that does not exist", in_task(function()
      local client, _, _guard <close> = tcp.pair()
      for _, wrong in ipairs { "rw", "", 1, true, {} } do
        assert.has_error(function() client:shutdown(wrong) end)
      end
    end))
  end)

  describe("the end:", function()
    it("close sends what the kernel took (B134)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "last words"
      client:close()
      assert.equal("last words", server:read_to_end())
    end))

    it("close with unread bytes is a reset; finish is not (F41)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      client:write "unread"
      assert(server:readable())
      server:write "reply"
      server:close()
      tcpnet.sleep(0.01)
      local bytes, err = client:read() -- the reply may be there, or destroyed already
      if bytes then
        bytes, err = client:read()
      end
      fails("ECONNRESET", bytes, err)

      local caller, answerer, _second_guard <close> = tcp.pair()
      caller:write "unread"
      assert(answerer:readable())
      answerer:write "reply"
      local task = tcpnet.spawn(answerer.finish, answerer, 5)
      assert.equal("reply", caller:read_to_end())
      caller:close()
      assert.same({ true, true }, { task:join(5) })
      assert.is_true(answerer:closed())
    end))

    it("finish reads away what still comes, until the end", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local task = tcpnet.spawn(server.finish, server)
      assert.equal(4 << 20, client:write(("x"):rep(4 << 20)))
      is_end(client:read())
      assert.equal("waiting", task:status())
      client:close()
      assert.same({ true, true }, { task:join(5) })
      assert.is_true(server:closed())
    end))

    it("finish closes at its deadline, with TIMEOUT", in_task(function()
      local _, server, _guard <close> = tcp.pair()
      fails("TIMEOUT", server:finish(0.02))
      assert.is_true(server:closed())
    end))

    it("finish of a stream that a peer has reset closes it", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      tcp.close_with_reset(client)
      tcpnet.sleep(0.01)
      local ok, err = server:finish(1)
      if not ok then
        assert.is_true(err:is("ECONNRESET", "EPIPE"), tostring(err))
      end
      assert.is_true(server:closed())
    end))

    it("reset gives the peer ECONNRESET (FIELD 50)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      assert(server:reset())
      assert.is_true(server:closed())
      fails("ECONNRESET", client:read())
    end))

    it("reset throws away what was not sent", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local total = tcp.fill(server)
      server:reset()
      local got = 0
      while true do
        local bytes, err = client:read()
        if not bytes then
          fails("ECONNRESET", bytes, err)
          break
        end
        got = got + #bytes
      end
      assert.is_true(got < total)
    end))

    it("reset gives the peer ECONNRESET even where another process has the descriptor", function()
      local listener <close> = tcp.listener()
      tcp.with_script([[
        local stream = assert(TcpStream.from_fd(5))
        assert(stream:reset())
      ]], function(script)
        -- The shell keeps its own descriptor 5 until its input ends.
        local shell = assert(io.popen(([[exec timeout 20 bash -c '
          exec 5<>/dev/tcp/127.0.0.1/%d; "%s" "%s"; read -r _; printf x >&5' 2>/dev/null]]):format(
          listener:local_addr():port(), program.interpreter, script), "w"))
        local stream <close> = assert(listener:accept())
        stream:set_read_timeout(10)
        local bytes, err = stream:read()
        shell:close()
        fails("ECONNRESET", bytes, err)
      end)
    end)

    it("a process that writes to a dead peer does not die of SIGPIPE (F38)", function()
      local output, status = tcp.child [[
        local listener = assert(TcpListener.bind "127.0.0.1:0")
        local client = assert(TcpStream.connect(listener:local_addr()))
        local server = assert(listener:accept())
        server:reset()
        for _ = 1, 5 do
          local count, err = client:write(("x"):rep(100000))
          assert(count == nil and err:is("EPIPE", "ECONNRESET"), tostring(err))
          assert(select(2, client:try_write "x"):is("EPIPE", "ECONNRESET"))
          assert(select(2, client:write_vectored { "x", "y" }):is("EPIPE", "ECONNRESET"))
        end
        print "alive"
      ]]
      assert.equal("alive\n", output)
      assert.equal(0, status)
    end)

    it("interrupted system calls are tried again (F37)", function()
      if not tcp.can "strace -o /dev/null true" then
        return pending "needs strace"
      end
      local output = tcp.child([[
        local listener = assert(TcpListener.bind "127.0.0.1:0")
        tcpnet.run(function()
          tcpnet.spawn(function()
            while true do
              local stream = assert(listener:accept())
              tcpnet.spawn(function()
                for chunk in stream:chunks() do
                  assert(stream:write(chunk, ""))
                end
                stream:close()
              end)
            end
          end)
          for _ = 1, 5 do
            local stream = assert(TcpStream.connect(listener:local_addr()))
            for i = 1, 20 do
              assert(stream:write(i, "\n"))
              assert(stream:peek())
              assert(stream:read_line() == tostring(i))
            end
            assert(stream:shutdown())
            assert(stream:read_to_end() == "")
            stream:close()
          end
          print "done"
        end)
      ]], [[CALLS=recvfrom,recvmsg,sendto,sendmsg,accept4,epoll_wait,epoll_pwait
        strace -f -o /dev/null -e trace=$CALLS -e inject=$CALLS:error=EINTR:when=1+3 \
        "$LUA" "$SCRIPT"]])
      assert.equal("done\n", output)
    end)
  end)
end)
