-- copy and copy_bidirectional.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

describe("copy", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives the bytes copied at the end of the reader", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(8 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:close()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    assert.is_true(b:read_exact(#all) == all)
    local ok, count = copier:join(5)
    assert.is_true(ok)
    assert.equal(#all, count)
    assert.equal("integer", math.type(count))
    assert.is_true(waits(b.read, b)) -- the writer is not shut down
  end))

  it("of a stream into itself is an echo: 11 bytes 1024 times, 11264 in all (B26)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local copier = tcpnet.spawn(function()
      local read_half, write_half = server:split()
      return tcpnet.copy(read_half, write_half)
    end)
    for _ = 1, 1024 do
      assert(client:write "foo bar baz")
      assert.equal("foo bar baz", client:read_exact(11))
    end
    client:shutdown()
    assert.same({ true, 11264 }, { copier:join(5) })
  end))

  it("of nothing is 0; the server's shutdown succeeds and the client reads the end (B42)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert(client:shutdown())
    local read_half, write_half = server:split()
    assert.equal(0, tcpnet.copy(read_half, write_half))
    assert(write_half:shutdown())
    local bytes, err = client:read()
    assert.is_nil(bytes)
    assert.is_nil(err)
  end))

  it("takes the buffered bytes first", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "head\nrest"
    a:shutdown()
    assert.equal("head", from:read_line())
    assert.equal(4, tcpnet.copy(from, to))
    assert.equal("rest", b:read(10))
  end))

  it("ends at max, and what comes after it stays readable", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "0123456789"
    assert.equal(4, tcpnet.copy(from, to, 4))
    assert.equal("0123", b:read_exact(4))
    assert.equal("456789", from:read_exact(6))
    a:write "more"
    a:shutdown()
    assert.equal(4, tcpnet.copy(from, to, 100))
    assert.equal("more", b:read_exact(4))
    assert.is_true(waits(b.read, b))
  end))

  it("with a max larger than every buffer copies just that", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(5000000)
    tcpnet.spawn(a.write, a, all)
    local copier = tcpnet.spawn(tcpnet.copy, from, to, 3000001)
    assert.is_true(b:read_exact(3000001) == all:sub(1, 3000001))
    assert.same({ true, 3000001 }, { copier:join(5) })
    assert.is_true(from:read_exact(1999999) == all:sub(3000002))
    assert.is_true(waits(b.read, b))
  end))

  it("takes halves of two streams", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local read_half, _unused = from:into_split()
    local _kept, write_half = to:into_split()
    local _halves <close> = tcp.guard(read_half, _unused, _kept, write_half)
    a:write "through"
    a:shutdown()
    assert.equal(7, tcpnet.copy(read_half, write_half))
    write_half:close()
    assert.equal("through", b:read_to_end())
  end))

  it("cancelled leaves at the reader what the writer did not take", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(48 << 20)
    local writer = tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    tcpnet.sleep(0.05)
    assert.equal("waiting", copier:status())
    copier:cancel()
    copier:join()
    to:shutdown()
    local taken = b:read_to_end()
    local rest = from:read_to_end()
    writer:join(5)
    assert.is_true(#taken > 0 and #rest > 0)
    assert.equal(#all, #taken + #rest)
    assert.is_true(taken .. rest == all)
  end))

  it("timed out from outside loses nothing either, time after time", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(16 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local reader = tcpnet.spawn(function()
      local parts = {}
      tcpnet.sleep(0.05) -- nobody reads for longer than the first round lasts
      for chunk in b:chunks(100000) do
        parts[#parts + 1] = chunk
        if #parts % 8 == 0 then
          tcpnet.sleep(0.002)
        end
      end
      return table.concat(parts)
    end)
    local rounds = 0
    while true do
      rounds = rounds + 1
      local count, err = tcpnet.timeout(0.004, tcpnet.copy, from, to)
      if count then
        break
      end
      fails("TIMEOUT", count, err)
    end
    to:shutdown()
    local ok, got = reader:join(10)
    assert.is_true(ok)
    assert.is_true(rounds > 1)
    assert.is_true(got == all)
  end))

  it("obeys the reader's timeout, and says how much it copied", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "some"
    from:set_read_timeout(0.02)
    local count, err, copied = tcpnet.timeout(2, tcpnet.copy, from, to)
    assert.not_equal("timeout", fails("TIMEOUT", count, err).op)
    assert.equal(4, copied)
    assert.equal("some", b:read_exact(4))
  end))

  it("obeys the writer's timeout, says how much it copied and loses nothing", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    to:set_write_timeout(0.05)
    local all = tcp.bytes(48 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local count, err, copied = tcpnet.timeout(2, tcpnet.copy, from, to)
    assert.not_equal("timeout", fails("TIMEOUT", count, err).op)
    to:shutdown()
    local taken = b:read_to_end()
    assert.equal(copied, #taken)
    assert.is_true(taken .. from:read_to_end() == all)
  end))

  it("with a reader that was reset gives the error and what was copied", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    a:write "before"
    assert.equal("before", b:read_exact(6))
    tcp.close_with_reset(a)
    local ok, count, err, copied = copier:join(5)
    assert.is_true(ok)
    fails("ECONNRESET", count, err)
    assert.equal(6, copied)
  end))

  it("with a writer that was reset gives the error, and the rest stays readable", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(16 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    assert(b:read_exact(100000))
    tcp.close_with_reset(b)
    local ok, count, err, copied = copier:join(5)
    assert.is_true(ok)
    fails("ECONNRESET EPIPE", count, err)
    assert.is_true(copied >= 100000)
    local rest = from:read_to_end()
    assert.equal(#all, copied + #rest)
    assert.is_true(rest == all:sub(copied + 1))
  end))

  it("ends with CLOSED when either is closed meanwhile", in_task(function()
    for which = 1, 2 do
      local _, from, _first <close> = tcp.pair()
      local to, b, _second <close> = tcp.pair()
      if which == 2 then
        tcp.fill(to)
      end
      local copier = tcpnet.spawn(tcpnet.copy, from, to)
      if which == 2 then
        _:write "x"
        tcpnet.sleep(0.01)
      end
      tcpnet.yield()
      local closing = which == 1 and from or to
      closing:close()
      local ok, count, err = copier:join(5)
      assert.is_true(ok)
      fails("CLOSED", count, err)
      assert.is_false(b:closed())
      fails("CLOSED", tcpnet.copy(from, to))
    end
  end))

  it("is the reader of its stream: another read raises meanwhile", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    tcpnet.yield()
    assert.has_error(function() from:read() end)
    a:write "x"
    a:shutdown()
    assert.same({ true, 1 }, { copier:join(5) })
    assert.equal("x", b:read())
  end))

  it("raises on what is no reader, no writer, no number", in_task(function()
    local a, b, _guard <close> = tcp.pair()
    local read_half, write_half = a:split()
    for _, wrong in ipairs { "x", 1, {}, true, io.stdout, write_half } do
      assert.has_error(function() tcpnet.copy(wrong, b) end)
    end
    for _, wrong in ipairs { "x", 1, {}, true, read_half } do
      assert.has_error(function() tcpnet.copy(b, wrong) end)
    end
    for _, wrong in ipairs { -1, 0.5, 0 / 0, "1", {} } do
      assert.has_error(function() tcpnet.copy(a, b, wrong) end)
    end
    assert.has_error(function() tcpnet.copy() end)
    assert.has_error(function() tcpnet.copy(a) end)
  end))

  it("outside every task needs none", function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "plain"
    a:shutdown()
    assert.equal(5, tcpnet.copy(from, to))
    assert.equal("plain", b:read())
  end)
end)

describe("copy_bidirectional", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("passes both directions and counts them", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    assert(client:write "question")
    assert.equal("question", backend:read_exact(8))
    assert(backend:write "the answer")
    assert.equal("the answer", client:read_exact(10))
    client:close()
    assert.equal("", backend:read_to_end())
    backend:close()
    assert.same({ true, 8, 10 }, { proxy:join(5) })
  end))

  it("passes the half-close on and goes on the other way: 0 and 4 bytes (B239)", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    assert(client:shutdown())
    assert.equal("", backend:read_to_end())
    assert.equal("waiting", proxy:status())
    assert(backend:write "late")
    backend:close()
    assert.equal("late", client:read_to_end())
    local results = { proxy:join(5) }
    assert.same({ true, 0, 4 }, results)
    assert.equal("integer", math.type(results[2]))
  end))

  it("moves much both ways at once, byte for byte", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local up, down = tcp.bytes(16 << 20), tcp.bytes((12 << 20) + 3):reverse()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    for _, job in ipairs { { client, up }, { backend, down } } do
      tcpnet.spawn(function()
        job[1]:write(job[2])
        job[1]:shutdown()
      end)
    end
    local at_client = tcpnet.spawn(client.read_to_end, client)
    local at_backend = tcpnet.spawn(backend.read_to_end, backend)
    local ok, bytes = at_client:join(15)
    assert.is_true(ok and bytes == down)
    ok, bytes = at_backend:join(15)
    assert.is_true(ok and bytes == up)
    assert.same({ true, #up, #down }, { proxy:join(5) })
  end))

  it("takes what is buffered on either side", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    client:write "head\nup"
    backend:write "head\ndown"
    assert.equal("head", a:read_line())
    assert.equal("head", b:read_line())
    client:shutdown()
    backend:shutdown()
    local there, back = tcpnet.copy_bidirectional(a, b)
    assert.equal(2, there)
    assert.equal(4, back)
    assert.equal("up", backend:read(10))
    assert.equal("down", client:read(10))
  end))

  it("ends at once with a read error of either side (B241)", in_task(function()
    for which = 1, 2 do
      local client, a, _first <close> = tcp.pair()
      local b, backend, _second <close> = tcp.pair()
      local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
      tcpnet.yield()
      tcp.close_with_reset(which == 1 and client or backend)
      local ok, count, err = proxy:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", count, err)
    end
  end))

  it("ends at once with a write error of either side (B241)", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, _, _second <close> = tcp.pair()
    assert(b:shutdown())
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    client:write "nowhere to go"
    local ok, count, err = proxy:join(5)
    assert.is_true(ok)
    fails("EPIPE", count, err)
  end))

  it("ends with CLOSED when one of them is closed", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, _, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    tcpnet.sleep(0.005)
    b:close()
    local ok, count, err = proxy:join(5)
    assert.is_true(ok)
    fails("CLOSED", count, err)
    assert.is_false(client:closed())
  end))

  it("cancelled leaves no task behind and both streams usable", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local before = tcpnet.metrics().tasks
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    tcpnet.sleep(0.005)
    proxy:cancel()
    fails("CANCELED", proxy:join(5))
    tcpnet.yield()
    assert.equal(before, tcpnet.metrics().tasks)
    client:write "x"
    assert.equal("x", a:read())
    b:write "y"
    assert.equal("y", backend:read())
  end))

  it("works twice in a row, proxy behind proxy", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, c, _second <close> = tcp.pair()
    local d, backend, _third <close> = tcp.pair()
    local one = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    local two = tcpnet.spawn(tcpnet.copy_bidirectional, c, d)
    local all = tcp.bytes(1 << 20)
    tcpnet.spawn(function()
      client:write(all)
      client:shutdown()
    end)
    assert.is_true(backend:read_to_end() == all)
    backend:write "done"
    backend:close()
    assert.equal("done", client:read_to_end())
    assert.same({ true, #all, 4 }, { one:join(5) })
    assert.same({ true, #all, 4 }, { two:join(5) })
  end))

  it("raises on what is no stream", in_task(function()
    local a, _, _guard <close> = tcp.pair()
    for _, wrong in ipairs { "x", 1, {}, true, io.stdout } do
      assert.has_error(function() tcpnet.copy_bidirectional(a, wrong) end)
      assert.has_error(function() tcpnet.copy_bidirectional(wrong, a) end)
    end
    assert.has_error(function() tcpnet.copy_bidirectional() end)
  end))

  it("outside every task needs none", function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    client:write "1"
    client:shutdown()
    backend:write "22"
    backend:shutdown()
    assert.same({ 1, 2 }, { tcpnet.copy_bidirectional(a, b) })
  end)
end)

-- What is moved inside the kernel, from some size on. Both ways of copying must look the same.
describe("copy of much", function()
  local SPLICE_FROM = 262144
  local PIPE = 1 << 20

  -- The descriptors that this process has open: support/leaks does not look at pipes.
  local function descriptors()
    local list = {}
    for fd = 0, 600 do
      local file = io.open("/proc/self/fdinfo/" .. fd)
      if file then
        file:close()
        list[#list + 1] = fd
      end
    end
    return list
  end

  local open

  before_each(function()
    leaks.note()
    open = descriptors()
  end)
  after_each(function()
    tcpnet.private.set_splice(true)
    leaks.check()
    assert.same(open, descriptors())
  end)

  local function pipe_pair()
    local sender, receiver = assert(tcpnet.pipe())
    return sender, receiver, tcp.guard(sender, receiver)
  end

  -- Each gives what is written to, what the copy uses, and a guard.
  local sources = {
    tcp = tcp.pair,
    unix = tcp.unix_pair,
    pipe = pipe_pair,
    half = function()
      local a, from, guard = tcp.pair()
      return a, from:split(), guard
    end,
    owned = function()
      local a, from, guard = tcp.pair()
      local read_half, write_half = from:into_split()
      return a, read_half, tcp.guard(guard[1], read_half, write_half)
    end,
  }
  local sinks = {
    tcp = tcp.pair,
    unix = tcp.unix_pair,
    pipe = pipe_pair,
    half = function()
      local to, b, guard = tcp.pair()
      return select(2, to:split()), b, guard
    end,
  }

  local function names(table)
    local list = {}
    for name in pairs(table) do
      list[#list + 1] = name
    end
    _G.table.sort(list)
    return list
  end

  local seed = tonumber(os.getenv "TCPNET_SEED") or os.time()

  -- Writes all in pieces of random sizes, with pauses here and there, then says that this is the end.
  local function write_chunked(stream, all, random)
    local at = 1
    while at <= #all do
      local size = random(1, random(1, 4) == 1 and 100 or 300000)
      assert(stream:write(all:sub(at, at + size - 1)))
      at = at + size
      if random(1, 10) == 1 then
        tcpnet.sleep(0.001)
      end
    end
    local _ = stream.shutdown and stream:shutdown() or stream:close()
  end

  -- Reads n bytes in pieces of random sizes, with pauses.
  local function read_chunked(stream, count, random)
    local parts = {}
    while count > 0 do
      local bytes = assert(stream:read(math.min(count, random(1, 400000))))
      parts[#parts + 1] = bytes
      count = count - #bytes
      if random(1, 10) == 1 then
        tcpnet.sleep(0.001)
      end
    end
    return table.concat(parts)
  end

  local function one_round(from_kind, to_kind, size, max, random)
    local a, from, _first <close> = sources[from_kind]()
    local to, b, _second <close> = sinks[to_kind]()
    local all = size == 0 and "" or tcp.bytes(size)
    local expected = math.min(size, max or size)
    local writer = tcpnet.spawn(write_chunked, a, all, random)
    local copier = tcpnet.spawn(tcpnet.copy, from, to, max)
    assert.is_true(read_chunked(b, expected, random) == all:sub(1, expected))
    assert.same({ true, expected }, { copier:join(10) })
    assert.is_true((from:read_to_end() or "") == all:sub(expected + 1)) -- nothing behind max is lost
    assert.same({ true }, { writer:join(5) })
  end

  local SIZES = { 0, 1, 2, SPLICE_FROM - 1, SPLICE_FROM, SPLICE_FROM + 1, 2 * SPLICE_FROM, PIPE, PIPE + 1,
    SPLICE_FROM + PIPE - 1, 3000001, 5 << 20 }

  for _, spliced in ipairs { true, false } do
    it(("is the same %s splice, for all sizes, kinds and limits (seed %d)"):format(spliced and "with" or "without",
      seed), in_task(function()
      tcpnet.private.set_splice(spliced)
      math.randomseed(seed)
      local random = math.random
      for _, from_kind in ipairs(names(sources)) do
        for _, to_kind in ipairs(names(sinks)) do
          local size = SIZES[random(#SIZES)]
          local max = random(1, 2) == 1 and random(0, size + 10) or nil
          local ok, err = pcall(one_round, from_kind, to_kind, size, max, random)
          assert(ok, ("%s to %s, %d bytes, max %s, seed %d: %s"):format(from_kind, to_kind, size, max, seed, err))
        end
      end
      for _, size in ipairs(SIZES) do
        one_round("tcp", "tcp", size, nil, random)
      end
    end))
  end

  it("says the same of a reset in the middle, splice or not", in_task(function()
    for _, spliced in ipairs { true, false } do
      tcpnet.private.set_splice(spliced)
      local a, from, _first <close> = tcp.pair()
      local to, b, _second <close> = tcp.pair()
      local copier = tcpnet.spawn(tcpnet.copy, from, to)
      local all = tcp.bytes(2 << 20)
      local writer = tcpnet.spawn(a.write, a, all)
      assert.is_true(b:read_exact(#all) == all)
      assert.same({ true, #all }, { writer:join(5) })
      tcp.close_with_reset(a)
      local ok, count, err, copied = copier:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", count, err)
      assert.equal(#all, copied)
      fails("ECONNRESET", from:read())
    end
  end))

  it("takes no pipe for small pieces, however many: an echo server stays one", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local echo = tcpnet.spawn(tcpnet.copy, server, server)
    local piece = ("x"):rep(1024)
    local open_before = #descriptors()
    for _ = 1, 2 * SPLICE_FROM // #piece do
      assert.equal(#piece, client:write(piece))
      assert.equal(piece, client:read_exact(#piece))
    end
    assert.equal(open_before, #descriptors())
    client:shutdown()
    assert.same({ true, 2 * SPLICE_FROM }, { echo:join() })
  end))

  -- A copy that waits for a writer that takes no more: → a, from, to, b, all, guard; whatever lies in the kernel's
  -- buffers is at `from` or at `b`.
  local function stuck(spliced)
    tcpnet.private.set_splice(spliced)
    local a, from, first = tcp.pair()
    local to, b, second = tcp.pair { send_buffer_size = 100000 }
    local all = tcp.bytes(32 << 20)
    local writer = tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    local sockets_and_pipe = #open + (spliced and 6 or 4)
    local enough = 1 << 20 -- for the pipe to come in
    assert.is_true(b:read_exact(enough) == all:sub(1, enough))
    all = all:sub(enough + 1)
    local before
    local tries = 0
    repeat -- until nothing moves any more, on a slow machine after the first bytes have moved
      before, tries = tcpnet.metrics().bytes_read, tries + 1
      tcpnet.sleep(0.03)
    until before == tcpnet.metrics().bytes_read and (#descriptors() == sockets_and_pipe or tries > 300)
    assert.equal("waiting", copier:status())
    assert.equal(sockets_and_pipe, #descriptors())
    local guard = setmetatable({}, { __close = function()
      writer:cancel()
      tcp.guard(first, second)
      first:__close()
      second:__close()
    end })
    return from, to, b, all, copier, guard
  end

  -- What the writer took, and then the rest, as fn(from) reads it, are all.
  local function cancelled(fn)
    for _, spliced in ipairs { true, false } do
      local from, to, b, all, copier, _guard <close> = stuck(spliced)
      copier:cancel()
      fails("CANCELED", copier:join())
      assert(to:shutdown())
      local taken = assert(b:read_to_end())
      assert.is_true(taken == all:sub(1, #taken))
      fn(from, all:sub(#taken + 1))
    end
  end

  it("cancelled leaves the rest to read", in_task(function()
    cancelled(function(from, rest)
      local first = assert(from:read(1000))
      assert.is_true(first == rest:sub(1, #first))
      assert.is_true(first .. from:read_to_end() == rest)
    end)
  end))

  it("cancelled leaves the rest to peek, to buffered and to readable", in_task(function()
    cancelled(function(from, rest)
      assert.is_true(from:readable())
      assert.is_true(from:peek(5000) == rest:sub(1, 5000))
      assert.is_true(from:buffered() > 0)
      assert.is_true(from:ready("r"):is_readable())
      assert.is_true(from:try_read(10) == rest:sub(1, 10))
      assert.is_true(from:read_exact(5000) == rest:sub(11, 5010))
      assert.is_true(from:read_to_end() == rest:sub(5011))
    end)
  end))

  it("cancelled leaves the rest to read_until and to a Buffer", in_task(function()
    cancelled(function(from, rest)
      local finish = rest:find "\n"
      assert.is_true(from:read_until "\n" == rest:sub(1, finish))
      local buffer = tcpnet.Buffer.new(10000)
      local count = assert(from:read_into(buffer))
      assert.is_true(tostring(buffer) == rest:sub(finish + 1, finish + count))
      assert.is_true(from:read_to_end() == rest:sub(finish + count + 1))
    end)
  end))

  it("cancelled leaves the rest to a Socket of the same descriptor", in_task(function()
    cancelled(function(from, rest)
      local view = from:as_socket()
      local bytes = assert(view:recv(1000))
      assert.is_true(bytes == rest:sub(1, #bytes))
      local message = assert(view:recvmsg { data = 1000 })
      assert.is_true(message.data == rest:sub(#bytes + 1, #bytes + #message.data))
      assert.is_true(from:read_to_end() == rest:sub(#bytes + #message.data + 1))
    end)
  end))

  it("cancelled leaves the rest to into_fd and to the halves", in_task(function()
    cancelled(function(from, rest)
      fails("EBUSY", from:into_fd())
      local fd, bytes = from:into_fd(true)
      assert.is_true(bytes == rest:sub(1, #bytes))
      local again <close> = assert(tcpnet.TcpStream.from_fd(fd))
      assert.is_true(bytes .. again:read_to_end() == rest)
    end)
    cancelled(function(from, rest)
      local read_half, write_half = from:into_split()
      local _halves <close> = tcp.guard(read_half, write_half)
      assert.is_true(read_half:read_to_end() == rest)
    end)
  end))

  it("cancelled leaves the rest to another copy, to a stream or a pipe, with a limit or none", in_task(function()
    for _, kind in ipairs { "tcp", "unix", "pipe" } do
      cancelled(function(from, rest)
        local to, b, _guard <close> = sinks[kind]()
        for _, max in ipairs { 1, 1000, SPLICE_FROM, 300001 } do
          local copier = tcpnet.spawn(tcpnet.copy, from, to, max)
          assert.is_true(b:read_exact(max) == rest:sub(1, max))
          assert.same({ true, max }, { copier:join(5) })
          rest = rest:sub(max + 1)
        end
        local copier = tcpnet.spawn(tcpnet.copy, from, to)
        assert.is_true(b:read_exact(#rest) == rest)
        assert.same({ true, #rest }, { copier:join(5) })
      end)
    end
  end))

  it("whose stream writes meanwhile, and tells its options, goes on unharmed", in_task(function()
    for _, spliced in ipairs { true, false } do
      tcpnet.private.set_splice(spliced)
      local a, from, _first <close> = tcp.pair()
      local to, b, _second <close> = tcp.pair()
      local all = tcp.bytes(8 << 20)
      local writer = tcpnet.spawn(write_chunked, a, all, math.random)
      local copier = tcpnet.spawn(tcpnet.copy, from, to)
      local other <close> = tcpnet.spawn(function()
        while true do
          assert(from:write "back")
          assert(a:read_exact(4) == "back")
          assert(from:nodelay() ~= nil and from:peer_addr() and from:buffered())
          tcpnet.sleep(0.001)
        end
      end)
      assert.is_true(read_chunked(b, #all, math.random) == all)
      assert.same({ true, #all }, { copier:join(5) })
      writer:join(5)
      assert.not_equal("failed", other:status())
    end
  end))

  it("ends with CLOSED, and closes the pipe, when either end is closed while bytes lie in it", in_task(function()
    for _, which in ipairs { "from", "to" } do
      local from, to, b, all, copier, _guard <close> = stuck(true)
      local closing = which == "from" and from or to
      closing:close()
      local ok, count, err = copier:join(5)
      assert.is_true(ok)
      fails("CLOSED", count, err)
      assert.equal(#open + (which == "from" and 3 or 5), #descriptors()) -- the pipe goes with its stream
      to:close()
      local taken = b:read_to_end()
      assert.is_true(taken == all:sub(1, #taken))
      if which == "to" then
        assert.is_true(from:read_to_end() == all:sub(#taken + 1))
      end
    end
  end))

  it("closes its pipes with the copy, not with the stream", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local before = #descriptors()
    local all = tcp.bytes(2 << 20)
    for _ = 1, 3 do
      tcpnet.spawn(a.write, a, all)
      local copier = tcpnet.spawn(tcpnet.copy, from, to, #all)
      assert.is_true(b:read_exact(1 << 20) == all:sub(1, 1 << 20))
      assert.is_true(b:read_exact(1 << 20) == all:sub((1 << 20) + 1))
      assert.same({ true, #all }, { copier:join(5) })
      assert.equal(before, #descriptors())
    end
  end))

  it("without descriptors for a pipe reads and writes", function()
    local text, status = tcp.child([[
      local listener = assert(TcpListener.bind "127.0.0.1:0")
      local function pair()
        local client = assert(TcpStream.connect(listener:local_addr()))
        return client, assert(listener:accept())
      end
      tcpnet.run(function()
        local a, from = pair()
        local to, b = pair()
        local all = ("0123456789abcdef"):rep(1 << 18)
        local kept = {}
        while true do
          local socket = TcpSocket.new_v4()
          if not socket then break end
          kept[#kept + 1] = socket
        end
        tcpnet.spawn(function() a:write(all) a:shutdown() end)
        local copier = tcpnet.spawn(tcpnet.copy, from, to)
        print(b:read_exact(#all) == all, copier:join(5))
      end)
    ]], [[ulimit -n 60; exec "$LUA" "$SCRIPT"]])
    assert.same({ "true\ttrue\t4194304\n", 0 }, { text, status })
  end)

  it("passes in both directions at once, with and without splice, half-closes in any order", in_task(function()
    for _, spliced in ipairs { true, false } do
      tcpnet.private.set_splice(spliced)
      for _, other in ipairs { "tcp", "unix" } do
        local client, a, _first <close> = tcp.pair()
        local b, backend, _second <close> = sinks[other]()
        local up, down = tcp.bytes(3000001), tcp.bytes(1500000):reverse()
        local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
        tcpnet.spawn(write_chunked, client, up, math.random)
        assert.is_true(read_chunked(backend, #up, math.random) == up)
        assert.is_nil(backend:read())
        tcpnet.spawn(write_chunked, backend, down, math.random)
        assert.is_true(read_chunked(client, #down, math.random) == down)
        assert.is_nil(client:read())
        assert.same({ true, #up, #down }, { proxy:join(5) })
      end
    end
  end))
end)
