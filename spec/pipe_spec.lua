-- Pipes: tcpnet.pipe, FIFOs, descriptors that are or are not pipes, reading and writing through either end.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local pipe, Buffer = tcpnet.pipe, tcpnet.Buffer
local PipeSender, PipeReceiver = tcpnet.PipeSender, tcpnet.PipeReceiver
local fails, raises, in_task, guard = tcp.fails, tcp.raises, tcp.in_task, tcp.guard

-- A pipe → sender, receiver, guard of both
local function ends()
  local sender, receiver = assert(pipe())
  return sender, receiver, guard(sender, receiver)
end

-- Is that descriptor non-blocking, and is it closed by exec? nil where /proc does not tell.
local function flags_of(fd)
  local file = io.open("/proc/self/fdinfo/" .. fd)
  if not file then
    return nil
  end
  local bits = tonumber(file:read("a"):match "flags:%s*(%d+)", 8)
  file:close()
  return bits & tonumber("4000", 8) ~= 0, bits & tonumber("2000000", 8) ~= 0
end

-- Writes until the kernel takes no more → how many bytes
local function fill(sender)
  local total, block = 0, ("x"):rep(4096)
  while true do
    local count, err = sender:try_write(block)
    if not count then
      assert.equal("EAGAIN", err.code)
      return total
    end
    total = total + count
  end
end

describe("tcpnet.pipe", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives a sender and a receiver, both non-blocking and closed by exec", in_task(function()
    local sender, receiver, _guard <close> = ends()
    assert.matches("^PipeSender %(fd %d+%)$", tostring(sender))
    assert.matches("^PipeReceiver %(fd %d+%)$", tostring(receiver))
    assert.equal(("PipeSender (fd %d)"):format(sender:fd()), tostring(sender))
    assert.equal(PipeSender, pipe.Sender)
    assert.equal(PipeReceiver, pipe.Receiver)
    for _, object in ipairs { sender, receiver } do
      local non_blocking, close_on_exec = flags_of(object:fd())
      if non_blocking ~= nil then
        assert.is_true(non_blocking)
        assert.is_true(close_on_exec)
      end
    end
  end))

  it("wakes a reader that waits (B89)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local reader <close> = tcpnet.spawn(receiver.read_exact, receiver, 11)
    tcpnet.yield()
    assert.equal("waiting", reader:status())
    assert.equal(11, sender:write "hello world")
    assert.same({ true, "hello world" }, { reader:join(5) })
  end))

  it("works outside of every task", function()
    local sender, receiver, _guard <close> = ends()
    assert.equal(2, sender:write "x\n")
    assert.equal("x", receiver:read_line())
    tcpnet.spawn(function()
      tcpnet.sleep(0.01)
      sender:write "late\n"
    end)
    assert.equal("late", receiver:read_line())
  end)

  it("knows one direction for each end", in_task(function()
    local sender, receiver, _guard <close> = ends()
    for _, name in ipairs { "read", "try_read", "read_line", "readable", "peek", "shutdown", "local_addr" } do
      assert.is_nil(sender[name])
    end
    for _, name in ipairs { "write", "try_write", "writable", "write_from", "shutdown", "peer_addr" } do
      assert.is_nil(receiver[name])
    end
    raises(function() sender:ready "r" end, "interest:")
    raises(function() receiver:ready "w" end, "interest:")
    raises(function() PipeReceiver.read(sender) end, "bad argument #1 to 'read'", "got PipeSender")
    raises(function() PipeSender.write(receiver, "x") end, "bad argument #1 to 'write'", "got PipeReceiver")
  end))

  it("says that descriptors have run out, and leaves none open", function()
    local output = tcp.child([[
      local err
      repeat
        local sender, receiver = tcpnet.pipe()
        err = receiver
        keep = { keep, sender, sender and receiver }
      until not sender
      print(err.code, err.op)
      keep = nil
      collectgarbage() collectgarbage() tcpnet.sleep(0.01)
      print((assert(tcpnet.pipe())))
    ]], [[ulimit -n 64; exec "$LUA" "$SCRIPT"]])
    assert.matches("^EMFILE\tpipe\nPipeSender %(fd %d+%)\n$", output)
  end)
end)

describe("FIFOs", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("take a reader first, whose read_exact waits for the writer (B80)", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(pipe.open_receiver(path))
    local reader <close> = tcpnet.spawn(receiver.read_exact, receiver, 5)
    tcpnet.yield()
    assert.equal("waiting", reader:status())
    local sender <close> = assert(pipe.open_sender(path))
    assert.equal(5, sender:write "hello")
    assert.same({ true, "hello" }, { reader:join(5) })
  end))

  it("take a sender first only with read_write (B81)", in_task(function()
    local _folder <close>, path = program.fifo()
    local err = fails("ENXIO", pipe.open_sender(path))
    assert.equal("open_sender", err.op)
    assert.equal(path, err.address)
    fails("ENXIO", pipe.open_sender(path, { read_write = false }))
    local sender, problem = pipe.open_sender(path, { read_write = true })
    if not sender and problem.code == "ENOTSUP" then
      return pending(tostring(problem))
    end
    local _sender <close> = assert(sender, problem)
    assert.equal(5, sender:write "hello")
    local receiver <close> = assert(pipe.open_receiver(path))
    assert.equal("hello", receiver:read_exact(5))
  end))

  it("end with a writer and go on with the next (B82)", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(pipe.open_receiver(path))
    local sender = assert(pipe.open_sender(path))
    sender:write "hello"
    sender:close()
    assert.equal("hello", receiver:read_exact(5))
    local data, err, partial = receiver:read_exact(5)
    fails("EOF", data, err)
    assert.equal("", partial)
    assert.same({}, { receiver:read() })
    assert.same({}, { receiver:try_read() })
    local next_one <close> = assert(pipe.open_sender(path))
    assert.is_true(tcp.waits(receiver.read, receiver))
    next_one:write "again"
    assert.equal("again", receiver:read_exact(5))
  end))

  it("opened read_write never end for their reader (B83)", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver, problem = pipe.open_receiver(path, { read_write = true })
    if not receiver and problem.code == "ENOTSUP" then
      return pending(tostring(problem))
    end
    local _receiver <close> = assert(receiver, problem)
    local sender = assert(pipe.open_sender(path))
    sender:write "hello"
    sender:close()
    local ready = receiver:ready "r"
    assert.is_true(ready:is_readable())
    assert.is_false(ready:is_read_closed())
    assert.equal("hello", receiver:read_exact(5))
    local reader <close> = tcpnet.spawn(receiver.read_exact, receiver, 5)
    tcpnet.sleep(0.01)
    assert.equal("waiting", reader:status())
    local second <close> = assert(pipe.open_sender(path))
    second:write "again"
    assert.same({ true, "again" }, { reader:join(5) })
  end))

  it("are told from other files (B84)", in_task(function()
    local folder <close> = program.folder()
    local path = program.write(tostring(folder) .. "/file", "text")
    for name, open in pairs { open_sender = pipe.open_sender, open_receiver = pipe.open_receiver } do
      local err = fails("EINVAL", open(path))
      assert.equal(name, err.op)
      assert.equal(path, err.address)
      assert.matches("it is not a FIFO", err.message)
      fails("EINVAL", open(path, { unchecked = false }))
      fails("ENOENT", open(path .. "-missing"))
    end
    fails("EINVAL EISDIR", pipe.open_receiver(tostring(folder)))
    fails("EISDIR", pipe.open_sender(tostring(folder)))
    local file = assert(io.open(path))
    assert.equal("text", file:read "a") -- nothing has cut it
    file:close()
  end))

  it("may be other files with unchecked", in_task(function()
    local receiver <close> = assert(pipe.open_receiver("/dev/zero", { unchecked = true }))
    assert.equal("\0\0\0\0", receiver:try_read(4))
    local sender <close> = assert(pipe.open_sender("/dev/null", { unchecked = true }))
    assert.equal(4, sender:try_write "gone")
  end))

  it("are opened by a path in a string, with options that are known", in_task(function()
    for name, open in pairs { open_sender = pipe.open_sender, open_receiver = pipe.open_receiver } do
      raises(function() open() end, "pipe_spec.lua:", ("bad argument #1 to '%s'"):format(name), "string expected")
      raises(function() open(5) end, "pipe_spec.lua:", ("bad argument #1 to '%s'"):format(name))
      raises(function() open("x", 5) end, ("bad argument #2 to '%s'"):format(name), "table expected")
      raises(function() open("x", { nope = true }) end, ("bad argument #2 to '%s'"):format(name), "'nope'")
      raises(function() open("x", { unchecked = 1 }) end, "unchecked: boolean expected, got number")
      raises(function() open("x", { read_write = "yes" }) end, "read_write: boolean expected, got string")
    end
    raises(function() pipe.open_sender "a\0b" end, "pipe_spec.lua:", "bad argument #1 to 'open_sender'", "NUL")
    raises(function() pipe.open_receiver "a\0b" end, "pipe_spec.lua:", "bad argument #1 to 'open_receiver'", "NUL")
  end))

  it("fail with the path where there is none to open", in_task(function()
    local folder <close>, path = program.fifo()
    local err = fails("ENOENT", pipe.open_receiver(tostring(folder) .. "/nowhere/fifo"))
    fails("ENOTDIR", pipe.open_receiver(path .. "/x"))
    assert.matches("open_receiver .*nowhere/fifo: no such file or directory %(ENOENT%)$", tostring(err))
  end))
end)

describe("from_fd", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("adopts the end that it gave away", in_task(function()
    local sender, receiver = assert(pipe())
    local out, into = assert(sender:into_fd()), assert(receiver:into_fd())
    assert.equal("PipeSender (consumed)", tostring(sender))
    assert.matches("consumed by into_fd", fails("CLOSED", sender:write "x").message)
    assert.matches("consumed by into_fd", fails("CLOSED", receiver:read()).message)
    local again <close> = assert(PipeSender.from_fd(out))
    local other <close> = assert(PipeReceiver.from_fd(into))
    assert.equal(out, again:fd())
    again:write "x"
    assert.equal("x", other:read())
  end))

  it("refuses what is no pipe (B84)", function()
    local output = tcp.child([[
      for _, class in ipairs { tcpnet.PipeSender, tcpnet.PipeReceiver } do
        for _, fd in ipairs { 5, 6, 300 } do
          local object, err = class.from_fd(fd)
          print(object, err.code, err.op)
        end
        print(pcall(class.from_fd, "x"))
        print(pcall(class.from_fd, -1))
      end
      os.execute "ls -l /proc/$PPID/fd | grep -c -E ' (5|6) -> '"
    ]], [[exec 5</etc/passwd 6<>/dev/udp/127.0.0.1/9; exec "$LUA" "$SCRIPT"]])
    local once = "nil\tEINVAL\tfrom_fd\nnil\tEINVAL\tfrom_fd\nnil\tEBADF\tfrom_fd\n" ..
      ("false\t[^\n]*fd: integer from 0[^\n]*\n"):rep(2)
    assert.matches("^" .. once:rep(2) .. "2\n$", output)
  end)

  it("refuses the other end (B85)", in_task(function()
    local sender, receiver = assert(pipe())
    local out, into = sender:into_fd(), receiver:into_fd()
    assert.matches("not a pipe open for reading", fails("EINVAL", PipeReceiver.from_fd(out)).message)
    assert.matches("not a pipe open for writing", fails("EINVAL", PipeSender.from_fd(into)).message)
    assert(PipeSender.from_fd(out)):close()
    assert(PipeReceiver.from_fd(into)):close()
  end))

  it("takes a FIFO that is open for both as either (B85)", in_task(function()
    local _folder <close>, path = program.fifo()
    local fd = assert(pipe.open_sender(path, { read_write = true })):into_fd()
    local receiver = assert(PipeReceiver.from_fd(fd))
    assert.equal(fd, receiver:into_fd())
    local sender <close> = assert(PipeSender.from_fd(fd))
    assert.equal(1, sender:write "x")
  end))

  it("refuses a descriptor that another object owns", in_task(function()
    local sender, _, _guard <close> = ends()
    fails("EBUSY", PipeSender.from_fd(sender:fd()))
    assert.equal(1, sender:write "x")
  end))

  it("makes a blocking descriptor non-blocking (B87)", in_task(function()
    local sender, receiver = assert(pipe())
    local out, into = assert(sender:into_blocking_fd()), assert(receiver:into_blocking_fd())
    if flags_of(out) == nil then
      return pending "needs /proc"
    end
    assert.is_false((flags_of(out)))
    assert.is_false((flags_of(into)))
    local again <close> = assert(PipeSender.from_fd(out))
    local other <close> = assert(PipeReceiver.from_fd(into))
    assert.is_true((flags_of(out)))
    assert.is_true((flags_of(into)))
    fails("EAGAIN", other:try_read())
    again:write "x"
    assert.equal("x", other:read())
  end))

  it("takes a pipe of another program as it takes its own", function()
    local output = tcp.child([[
      local receiver, sender = assert(tcpnet.PipeReceiver.from_fd(0)), assert(tcpnet.PipeSender.from_fd(1))
      sender:write(receiver:read_line():upper(), "\n")
      sender:write(receiver:read_to_end():reverse())
      sender:close()
    ]], [[printf "hello\nabc" | "$LUA" "$SCRIPT" | cat]])
    assert.equal("HELLO\ncba", output)
  end)
end)

describe("into_blocking_fd", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives the descriptor away and consumes the end", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local number = sender:fd()
    local fd = assert(sender:into_blocking_fd())
    assert.equal(number, fd)
    assert.equal("PipeSender (consumed)", tostring(sender))
    fails("CLOSED", sender:into_blocking_fd())
    fails("CLOSED", sender:into_fd())
    local again = assert(PipeSender.from_fd(fd))
    again:write "x"
    again:close()
    assert.equal("x", receiver:read_to_end())
  end))

  it("is for the standard output of a child (B90)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local fd = assert(sender:into_blocking_fd())
    -- The child has no descriptor of ours but by its path in /proc.
    local code, output = program.shell(("echo $PPID; /bin/echo hello world >/proc/$PPID/fd/%d"):format(fd))
    if code ~= 0 and not tcp.can "test -e /proc/self/fd" then
      return pending "needs /proc"
    end
    assert.equal(0, code, output)
    assert(PipeSender.from_fd(fd)):close()
    assert.equal("hello world\n", receiver:read_exact(12))
    assert.same({}, { receiver:read() })
    assert.same({}, { receiver:try_read() })
  end))

  it("refused for bytes that would be lost leaves the end as it was", in_task(function()
    local sender, receiver, _guard <close> = ends()
    sender:write "abc"
    assert.equal("a", receiver:read_exact(1))
    assert.equal(2, receiver:buffered())
    assert.equal("into_fd", fails("EBUSY", receiver:into_fd()).op)
    fails("EBUSY", receiver:into_blocking_fd())
    assert.equal("bc", receiver:read())
    if flags_of(receiver:fd()) ~= nil then
      assert.is_true((flags_of(receiver:fd())), "it would block the whole process now")
    end
    assert.is_true(tcpnet.is_error(select(2, receiver:try_read()), "EAGAIN"))
  end))

  it("and into_fd give such bytes where they are asked to", in_task(function()
    for _, name in ipairs { "into_fd", "into_blocking_fd" } do
      local sender, receiver, _guard <close> = ends()
      sender:write "abc"
      receiver:read_exact(1)
      local fd, bytes = receiver[name](receiver, true)
      assert.equal("bc", bytes)
      assert(PipeReceiver.from_fd(fd)):close()
    end
  end))

  it("ends what waits in the end", in_task(function()
    for _, name in ipairs { "into_fd", "into_blocking_fd" } do
      local sender, receiver, _guard <close> = ends()
      local reader <close> = tcpnet.spawn(receiver.read, receiver)
      tcpnet.yield()
      local fd = assert(receiver[name](receiver))
      local _, data, err = reader:join(5)
      fails("CLOSED", data, err)
      local again <close> = assert(PipeReceiver.from_fd(fd))
      sender:write "x"
      assert.equal("x", again:read())
    end
  end))
end)

describe("what stays of a stream:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("all that a stream reads with", in_task(function()
    local sender, receiver, _guard <close> = ends()
    sender:write "line one\r\nline two\nkey=value;exactly12345rest"
    assert.equal("line one", receiver:read_line())
    assert.equal("line two", receiver:read_line())
    assert.equal("key=value;", receiver:read_until ";")
    assert.equal("exactly", receiver:read_exact(7))
    local buffer = Buffer.new(5)
    assert.equal(5, receiver:read_into(buffer))
    assert.equal("12345", tostring(buffer))
    assert.equal(4, receiver:buffered())
    assert.equal("re", receiver:try_read(2))
    local one, two = Buffer.new(1), Buffer.new(8)
    assert.equal(2, receiver:try_read_vectored { one, two })
    assert.same({ "s", "t" }, { tostring(one), tostring(two) })
    fails("EAGAIN", receiver:try_read())
    fails("EAGAIN", receiver:try_read_into(Buffer.new(4)))
    fails("EAGAIN", receiver:try_read_vectored { Buffer.new(4) })
    sender:write "the end"
    sender:close()
    assert.equal("the end", receiver:read_to_end())
    assert.same({ "" }, { receiver:read_to_end() })
    assert.same({}, { receiver:read_line() })
    assert.same({}, { receiver:read() })
    assert.equal("", receiver:read_exact(0))
  end))

  it("limits", in_task(function()
    local sender, receiver, _guard <close> = ends()
    sender:write "0123456789\n"
    fails("LIMIT", receiver:read_line(5))
    fails("LIMIT", receiver:read_until(";", 5))
    assert.equal("0123456789", receiver:read_line())
    raises(function() receiver:read(0) end, "bad argument #1 to 'read'")
    raises(function() receiver:read_exact(-1) end, "bad argument #1 to 'read_exact'")
    raises(function() sender:write {} end, "bad argument #1 to 'write'", "string, number or Buffer expected")
  end))

  it("iterators", in_task(function()
    local sender, receiver, _guard <close> = ends()
    sender:write "a\nb\n\nlast"
    sender:close()
    local lines = {}
    for line in receiver:lines() do
      lines[#lines + 1] = line
    end
    assert.same({ "a", "b", "", "last" }, lines)
    local second, other, _other <close> = ends()
    second:write "abcdef"
    second:close()
    local chunks = {}
    for chunk in other:chunks(4) do
      chunks[#chunks + 1] = chunk
    end
    assert.same({ "abcd", "ef" }, chunks)
  end))

  it("all that a stream writes with", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local buffer = Buffer.new(16):append "buffer"
    assert.equal(13, sender:write("ab", 12, 3.5, buffer))
    assert.equal("ab123.5buffer", receiver:read())
    assert.equal("buffer", tostring(buffer))
    assert.equal(6, sender:write_from(buffer))
    assert.equal(0, #buffer)
    assert.equal("buffer", receiver:read())
    assert.equal(3, sender:write_some("abcdef", 4))
    assert.equal("def", receiver:read())
    assert.equal(5, sender:write_vectored { "ab", "c", 12 })
    assert.equal("abc12", receiver:read())
    assert.equal(2, sender:try_write("abc", 2))
    assert.equal(4, sender:try_write_vectored { "de", "fg" })
    assert.equal("bcdefg", receiver:read())
    assert.equal(0, sender:write())
    assert.equal(0, sender:write "")
    assert.is_true(tcp.waits(receiver.read, receiver))
  end))

  it("writes of several tasks do not mix", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local set <close> = tcpnet.JoinSet.new()
    for i = 1, 4 do
      set:spawn(function()
        for _ = 1, 5 do
          assert(sender:write(tostring(i):rep(100000), "\n"))
        end
      end)
    end
    local seen = {}
    for _ = 1, 20 do
      local line = assert(receiver:read_line(200000))
      local digit = line:sub(1, 1)
      assert.is_true(line == digit:rep(100000))
      seen[digit] = (seen[digit] or 0) + 1
    end
    assert.same({ ["1"] = 5, ["2"] = 5, ["3"] = 5, ["4"] = 5 }, seen)
  end))

  it("two readers at once are a misuse", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local reader <close> = tcpnet.spawn(receiver.read, receiver)
    tcpnet.yield()
    raises(function() receiver:read() end, "another task is reading from this PipeReceiver")
    sender:write "x"
    assert.same({ true, "x" }, { reader:join() })
  end))

  it("a finalizer or a to-be-closed variable closes it", in_task(function()
    local receiver
    do
      local sender <close>, other = assert(pipe())
      receiver = other
      sender:write "last"
    end
    local _receiver <close> = receiver
    assert.equal("last", receiver:read_to_end())
  end))
end)

describe("try_io", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of a sender believes EAGAIN until the next event (B93)", in_task(function()
    local sender, _, _guard <close> = ends()
    tcpnet.sleep(0)
    local runs = 0
    local answer = true
    local function io_once()
      runs = runs + 1
      if answer then
        return answer
      end
      return nil, select(2, sender:try_write(("x"):rep(1 << 20)))
    end
    assert.is_true(sender:try_io("w", io_once))
    assert.equal(1, runs)
    fill(sender)
    local other, reader, _other <close> = ends()
    sender, runs, answer = other, 0, true
    assert.is_true(sender:try_io("w", io_once))
    answer = nil
    -- Everything that can be written is gone by the time that the second one ends.
    fails("EAGAIN", sender:try_io("w", function()
      runs = runs + 1
      fill(sender)
      return sender:try_write "x"
    end))
    assert.equal(2, runs)
    fails("EAGAIN", sender:try_io("w", io_once))
    assert.equal(2, runs)
    assert.is_true(#reader:read(1 << 20) > 0)
    tcpnet.sleep(0.01)
    answer = true
    assert.is_true(sender:try_io("w", io_once))
    assert.equal(3, runs)
  end))

  it("of a sender is not run again after EAGAIN, though there is room (B93)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local _, again = receiver:try_read()
    local runs = 0
    local function answer(...)
      local results = table.pack(...)
      return sender:try_io("w", function()
        runs = runs + 1
        return table.unpack(results, 1, results.n)
      end)
    end
    assert.equal(1, answer(1))
    fails("EAGAIN", answer(nil, again))
    fails("EAGAIN", answer(1))
    assert.equal(2, runs)
  end))

  it("of a receiver runs where there is something, and not again after EAGAIN (B94)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local runs = 0
    local function read()
      runs = runs + 1
      return receiver:try_read()
    end
    local _, again = receiver:try_read()
    fails("EAGAIN", receiver:try_io("r", read))
    assert.equal(0, runs)
    sender:write "x"
    assert.is_true(receiver:readable())
    assert.equal("x", receiver:try_io("r", read))
    assert.equal(1, runs)
    fails("EAGAIN", receiver:try_io("r", read))
    fails("EAGAIN", receiver:try_io("r", read))
    assert.is_true(runs <= 2)
    sender:write "y"
    assert.is_true(receiver:readable())
    runs = 0
    local function says_again() -- though there is a byte
      runs = runs + 1
      return nil, again
    end
    fails("EAGAIN", receiver:try_io("r", says_again))
    assert.equal(1, runs)
    fails("EAGAIN", receiver:try_io("r", says_again))
    assert.equal(1, runs)
    raises(function() receiver:try_io("w", read) end, "interest:")
    raises(function() sender:try_io("r", read) end, "interest:")
  end))

  it("and async_io wait for the direction", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local reader <close> = tcpnet.spawn(function()
      return receiver:async_io("r", function() return receiver:try_read() end)
    end)
    tcpnet.yield()
    assert.equal(5, sender:async_io("w", function() return sender:try_write "hello" end))
    assert.same({ true, "hello" }, { reader:join(5) })
  end))
end)

describe("a full pipe", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("takes what fits and gives it back, byte for byte (B88)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local sent, data = tcp.digest(), tcp.bytes(5000)
    local total = 0
    while true do
      local count, err = sender:try_write(data)
      if not count then
        assert.equal("EAGAIN", err.code)
        break
      end
      sent.add(data:sub(1, count))
      total = total + count
    end
    assert.is_true(total >= 4096)
    local got = tcp.digest()
    while true do
      local piece, err = receiver:try_read(777)
      if not piece then
        assert.equal("EAGAIN", err.code)
        break
      end
      got.add(piece)
    end
    assert.equal(sent.value(), got.value())
  end))

  it("does so with lists and Buffers (B88)", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local pieces, joined = {}, {}
    for i = 1, 50 do
      pieces[i] = ("%d,"):format(i):rep(i)
    end
    local whole = table.concat(pieces)
    while true do
      local count, err = sender:try_write_vectored(pieces)
      if not count then
        assert.equal("EAGAIN", err.code)
        break
      end
      joined[#joined + 1] = whole:sub(1, count)
    end
    local got = {}
    for i = 1, math.huge do
      local one, two = Buffer.new(100), Buffer.new(1000)
      local count, err
      if i % 2 == 0 then
        count, err = receiver:try_read_vectored { one, two }
      else
        count, err = receiver:try_read_into(two)
      end
      if not count then
        assert.equal("EAGAIN", err.code)
        break
      end
      assert.equal(count, #one + #two)
      got[#got + 1] = tostring(one) .. tostring(two)
    end
    assert.is_true(table.concat(joined) == table.concat(got))
  end))

  it("takes up to PIPE_BUF bytes whole or not at all", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local total = fill(sender) -- in blocks of PIPE_BUF
    assert.equal(0, total % 4096)
    local freed = #assert(receiver:try_read(4095))
    local count, err = sender:try_write(("y"):rep(4096))
    fails("EAGAIN", count, err)
    freed = freed + #assert(receiver:try_read(1))
    assert.equal(4096, freed)
    assert.equal(4096, sender:try_write(("y"):rep(4096)))
    fails("EAGAIN", sender:try_write "z")
    local left = total - freed
    assert.is_true(receiver:read_exact(left) == ("x"):rep(left))
    assert.is_true(receiver:read_exact(4096) == ("y"):rep(4096))
  end))

  it("holds its writer until somebody reads", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local data = tcp.bytes(1 << 20)
    local writer <close> = tcpnet.spawn(sender.write, sender, data)
    tcpnet.sleep(0.01)
    assert.equal("waiting", writer:status())
    local got = assert(receiver:read_exact(#data))
    assert.is_true(got == data)
    assert.same({ true, 1 << 20 }, { writer:join(5) })
    assert.is_true(sender:writable())
    fill(sender)
    assert.is_true(tcp.waits(sender.writable, sender))
  end))

  it("carries 64 MiB", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local block = tcp.bytes(1 << 20)
    local writer <close> = tcpnet.spawn(function()
      for _ = 1, 64 do
        assert(sender:write(block))
      end
      sender:close()
    end)
    local sent, got = tcp.digest(), tcp.digest()
    for _ = 1, 64 do
      sent.add(block)
    end
    for chunk in receiver:chunks() do
      got.add(chunk)
    end
    assert(writer:join())
    assert.equal(sent.value(), got.value())
  end))

  it("lets a write run out of time, which says how much has gone", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local room = fill(sender)
    receiver:read_exact(room)
    assert.equal(sender, sender:set_write_timeout(0.02))
    assert.equal(0.02, sender:write_timeout())
    local count, err, sent = sender:write(("y"):rep(room + 1))
    fails("TIMEOUT", count, err)
    assert.equal("write", err.op)
    assert.equal(room, sent)
    local buffer = Buffer.new(10):append "0123456789"
    count, err, sent = sender:write_from(buffer)
    fails("TIMEOUT", count, err)
    assert.equal(0, sent)
    assert.equal(10, #buffer)
    fails("TIMEOUT", sender:write_some "x")
    fails("TIMEOUT", sender:write_vectored { "x" })
    sender:set_timeout(nil)
    assert.is_true(receiver:read_exact(room) == ("y"):rep(room))
    assert.equal(10, sender:write_from(buffer))
    assert.equal("0123456789", receiver:read())
  end))

  it("keeps what a cancelled write has sent, a prefix", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local data = tcp.bytes(1 << 20)
    local writer = tcpnet.spawn(sender.write, sender, data)
    tcpnet.sleep(0.01)
    assert.is_true(writer:cancel())
    sender:close()
    local got = receiver:read_to_end()
    assert.is_true(#got > 0 and #got < #data)
    assert.is_true(got == data:sub(1, #got))
  end))
end)

describe("a wait in a pipe", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("for bytes ends at the timeout, which is not sticky", in_task(function()
    local sender, receiver, _guard <close> = ends()
    receiver:set_timeout(0.01)
    assert.same({ 0.01, 0.01 }, { receiver:timeout(), receiver:read_timeout() })
    for _, name in ipairs { "read", "read_line", "read_to_end" } do
      assert.equal(name, fails("TIMEOUT", receiver[name](receiver)).op)
    end
    sender:write "abc"
    fails("TIMEOUT", receiver:read_line())
    fails("TIMEOUT", receiver:read_exact(5))
    assert.equal("abc", receiver:read())
    raises(function() receiver:set_timeout(-1) end, "bad argument #1 to 'set_timeout'")
  end))

  it("for bytes that is cancelled has taken nothing", in_task(function()
    local sender, receiver, _guard <close> = ends()
    for _, name in ipairs { "read", "read_line", "read_exact", "read_to_end", "readable" } do
      local reader = tcpnet.spawn(receiver[name], receiver, name == "read_exact" and 100 or nil)
      sender:write "ab"
      tcpnet.sleep(0.001)
      if name == "read" then
        assert.same({ true, "ab" }, { reader:join() })
        reader = tcpnet.spawn(receiver.read, receiver)
        tcpnet.yield()
        sender:write "ab"
      end
      reader:cancel()
      assert.equal("ab", receiver:read())
    end
  end))

  it("ends when the end is closed", in_task(function()
    for _, name in ipairs { "read", "read_line", "readable", "read_to_end" } do
      local _, receiver, _guard <close> = ends()
      local task <close> = tcpnet.spawn(receiver[name], receiver)
      tcpnet.yield()
      receiver:close()
      local _, value, err = task:join(5)
      assert.equal(name, fails("CLOSED", value, err).op)
      assert.matches("the PipeReceiver is closed", err.message)
    end
    for _, name in ipairs { "write", "writable", "write_some" } do
      local other, _, _other <close> = ends()
      fill(other)
      local task <close> = tcpnet.spawn(other[name], other, name ~= "writable" and "x" or nil)
      tcpnet.yield()
      other:close()
      local _, value, err = task:join(5)
      assert.equal(name, fails("CLOSED", value, err).op)
      assert.matches("the PipeSender is closed", err.message)
    end
  end))

  it("for bytes ends when the writer closes, and that is the end of the stream", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local reader <close> = tcpnet.spawn(receiver.read, receiver)
    tcpnet.yield()
    sender:close()
    assert.same({ true }, { reader:join(5) })
    assert.is_true(receiver:ready("r"):is_read_closed())
    assert.is_true(receiver:readable())
  end))
end)

describe("a pipe whose reader has gone", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives EPIPE for each way to write, and no signal", in_task(function()
    local sender, receiver, _guard <close> = ends()
    assert.is_false(sender:ready("w"):is_write_closed())
    receiver:close()
    local count, err, sent = sender:write "x"
    fails("EPIPE", count, err)
    assert.equal("write", err.op)
    assert.equal(0, sent)
    fails("EPIPE", sender:write("a", "b"))
    fails("EPIPE", sender:write_some "x")
    fails("EPIPE", sender:try_write "x")
    fails("EPIPE", sender:write_vectored { "x", "y" })
    fails("EPIPE", sender:try_write_vectored { "x", "y" })
    local buffer = Buffer.new(4):append "abcd"
    fails("EPIPE", sender:write_from(buffer))
    assert.equal("abcd", tostring(buffer))
    assert.is_true(sender:ready("w"):is_write_closed())
    assert.is_true(sender:writable())
    assert.equal(0, sender:write "")
  end))

  it("ends a write that waits, which says how much has gone", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local room = fill(sender)
    receiver:read_exact(room)
    local writer <close> = tcpnet.spawn(sender.write, sender, ("x"):rep(room + 10))
    tcpnet.sleep(0.01)
    assert.equal("waiting", writer:status())
    receiver:close()
    local _, count, err, sent = writer:join(5)
    fails("EPIPE", count, err)
    assert.equal(room, sent)
  end))

  it("does not kill the process, whatever its handler of SIGPIPE", function()
    local output, status = tcp.child [[
      local sender, receiver = assert(tcpnet.pipe())
      receiver:close()
      for _, text in ipairs { "x", ("x"):rep(1 << 20) } do
        print(select(2, sender:write(text)).code)
        print(select(2, tcpnet.copy(assert(tcpnet.pipe.open_receiver("/dev/zero", { unchecked = true })), sender)).code)
      end
      print "alive"
    ]]
    assert.equal("EPIPE\nEPIPE\nEPIPE\nEPIPE\nalive\n", output)
    assert.equal(0, status)
  end)

  it("leaves SIGPIPE to others as it was", function()
    if not tcp.can "test -e /proc/self/status" then
      return pending "needs /proc"
    end
    local output = tcp.child [[
      local function signals()
        return io.popen("grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status"):read "a"
      end
      local before = signals()
      local sender, receiver = assert(tcpnet.pipe())
      receiver:close()
      sender:write "x"
      print(#before > 0, signals() == before)
    ]]
    assert.equal("true\ttrue\n", output)
  end)
end)

describe("copy", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("goes from a pipe to a TCP stream", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local client, server, _pair <close> = tcp.pair()
    local data = tcp.bytes(3 << 20)
    local writer <close> = tcpnet.spawn(function()
      assert(sender:write(data))
      sender:close()
    end)
    local copier <close> = tcpnet.spawn(function()
      local count = assert(tcpnet.copy(receiver, client))
      client:shutdown()
      return count
    end)
    local got = assert(server:read_to_end())
    assert.is_true(got == data)
    assert.same({ true, #data }, { copier:join() })
    assert(writer:join())
  end))

  it("goes from a TCP stream to a pipe", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local client, server, _pair <close> = tcp.pair()
    local data = tcp.bytes(3 << 20)
    local writer <close> = tcpnet.spawn(function()
      assert(client:write(data))
      client:shutdown()
    end)
    local copier <close> = tcpnet.spawn(function()
      local count = assert(tcpnet.copy(server, sender))
      sender:close()
      return count
    end)
    assert.is_true(receiver:read_to_end() == data)
    assert.same({ true, #data }, { copier:join() })
    assert(writer:join())
  end))

  it("goes from a pipe to a pipe, what was read ahead first, and stops at max", in_task(function()
    local first, middle, _guard <close> = ends()
    local out, last, _other <close> = ends()
    first:write "line\nrest of it"
    assert.equal("line", middle:read_line())
    assert.is_true(middle:buffered() > 0)
    assert.equal(4, tcpnet.copy(middle, out, 4))
    assert.equal("rest", last:read())
    first:close()
    assert.equal(6, tcpnet.copy(middle, out))
    assert.equal(" of it", last:read())
    assert.equal(0, tcpnet.copy(middle, out))
  end))

  it("leaves what the writer did not take at the reader", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local out, last, _other <close> = ends()
    last:close()
    sender:write "precious"
    sender:close()
    local count, err, copied = tcpnet.copy(receiver, out)
    fails("EPIPE", count, err)
    assert.equal(0, copied)
    assert.equal("precious", receiver:read_to_end())
  end))

  it("that is cancelled loses nothing", in_task(function()
    local sender, receiver, _guard <close> = ends()
    local out, last, _other <close> = ends()
    local data = tcp.bytes(1 << 20)
    local writer <close> = tcpnet.spawn(function()
      assert(sender:write(data))
      sender:close()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, receiver, out)
    tcpnet.sleep(0.02)
    assert.is_true(copier:cancel())
    out:close()
    local rest <close> = tcpnet.spawn(receiver.read_to_end, receiver)
    local front = last:read_to_end()
    local _, back = rest:join()
    assert.is_true(front .. back == data)
    assert(writer:join())
  end))
end)

describe("closing and collecting", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("closes once, and everything says so afterwards", in_task(function()
    local sender, receiver = assert(pipe())
    for object, names in pairs {
      [sender] = { "writable", "fd", "into_fd", "into_blocking_fd" },
      [receiver] = { "read", "read_line", "read_to_end", "readable", "try_read", "fd", "into_fd", "into_blocking_fd",
        "buffered" },
    } do
      assert.is_false(object:closed())
      object:close()
      object:close()
      assert.is_true(object:closed())
      assert.matches("^Pipe%a+ %(closed%)$", tostring(object))
      for _, name in ipairs(names) do
        assert.matches("is closed", fails("CLOSED", object[name](object)).message)
      end
    end
    fails("CLOSED", sender:write "x")
    fails("CLOSED", sender:try_write "x")
  end))

  it("collects ends that nobody has", in_task(function()
    local receivers = setmetatable({}, { __mode = "k" })
    local _, kept = assert(pipe())
    _ = nil -- luacheck: ignore 311
    for _ = 1, 20 do
      local sender, receiver = assert(pipe())
      sender:write "x"
      receivers[receiver] = true
    end
    for _ = 1, 2 do
      collectgarbage()
    end
    tcpnet.sleep(0.01) -- the reactor closes them at its next turn
    assert.is_nil(next(receivers))
    assert.same({}, { kept:read() }) -- its writer has gone
    kept:close()
  end))

  it("keeps an end in which a task waits", in_task(function()
    local sender
    local reader <close> = tcpnet.spawn(function()
      local out, into = assert(pipe())
      sender = out
      local _into <close> = into
      return into:read()
    end)
    tcpnet.yield()
    collectgarbage()
    collectgarbage()
    sender:write "x"
    assert.same({ true, "x" }, { reader:join(5) })
    sender:close()
  end))
end)
