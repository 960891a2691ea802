-- tcpnet.codec: frames over streams. The input comes in random pieces, so that the ends of frames fall everywhere.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local codec = tcpnet.codec
local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

-- random(n) → 1..n, the same ones for a seed.
local function randomness(seed)
  local state = seed
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

-- A reader that gives the bytes in pieces: of one byte each, all at once, or as random as its seed.
local function reader_of(bytes, seed)
  local a, b = tcpnet.duplex(math.max(#bytes, 1))
  if seed == 0 then
    a:write(bytes)
    a:shutdown()
    return b
  end
  local random = randomness(seed)
  tcpnet.spawn(function()
    local at = 1
    while at <= #bytes do
      local piece = bytes:sub(at, at + (seed == 1 and 1 or random(random(40))) - 1)
      a:write(piece)
      at = at + #piece
      tcpnet.yield()
    end
    a:close()
  end)
  return b
end

-- All that next() gives until the end, an error as its code.
local function outcomes(framed, most)
  local got = {}
  for _ = 1, most or 1000 do
    local frame, err = framed:next()
    if not frame and not err then
      return got
    end
    got[#got + 1] = frame or err.code
  end
  return got
end

-- The same, however the input is cut.
local function decodes(new, input, expected)
  local seed = os.time() % 100000 + 2
  for _, cut in ipairs { 0, 1, seed, seed + 1, seed + 2, seed + 3 } do
    assert.same(expected, outcomes(new:framed_read(reader_of(input, cut))), "pieces of seed " .. cut)
  end
end

describe("lines", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("cuts at either ending, which is no part of a line", in_task(function()
    decodes(codec.lines(), "line 1\nline 2\r\nline 3\n\r\n\n\r", { "line 1", "line 2", "line 3", "", "" })
    decodes(codec.lines(), "", {})
    decodes(codec.lines(), "\n", { "" })
    decodes(codec.lines(), "a\rb\r\r\n", { "a\rb\r" })
    decodes(codec.lines(), "nul\0\n\0", { "nul\0", "\0" })
  end))

  it("gives what follows the last ending as a line", in_task(function()
    decodes(codec.lines(), "one\ntwo", { "one", "two" })
    decodes(codec.lines(), "one\ntwo\r", { "one", "two" })
    decodes(codec.lines(), "k", { "k" })
    decodes(codec.lines(), "\rk", { "\rk" })
  end))

  it("refuses a line that is too long once, discards it and goes on behind it", in_task(function()
    decodes(codec.lines { max_length = 6 }, "line 1 is too long\nline 2\nline 3\r\nline 4\n\r\n\r",
      { "LIMIT", "line 2", "LIMIT", "line 4", "" })
    decodes(codec.lines { max_length = 6 }, "aaabbbc", { "LIMIT" })
    decodes(codec.lines { max_length = 6 }, "aaabbb", { "aaabbb" })
    decodes(codec.lines { max_length = 1 }, "aa\n\nb\ncc", { "LIMIT", "", "b", "LIMIT" })
  end))

  it("says LIMIT before the ending has come, and keeps no more than it must", in_task(function()
    local a, b = tcpnet.duplex(100000)
    local framed = codec.lines { max_length = 10 }:framed_read(b)
    a:write(("x"):rep(11))
    assert.equal("next", fails("LIMIT", framed:next()).op)
    for _ = 1, 5 do
      a:write(("x"):rep(50000))
      assert.is_true(waits(framed.next, framed))
      assert.equal("", framed:read_buffer())
    end
    a:write "end\nnext\n"
    assert.equal("next", framed:next())
  end))

  it("is cancel safe, and a timeout or an error of the reader is no end", in_task(function()
    local a, b = tcpnet.duplex(100)
    local framed = codec.lines():framed_read(b)
    a:write "par"
    assert.is_true(waits(framed.next, framed))
    b:set_read_timeout(0.01)
    a:write "ti"
    fails("TIMEOUT", framed:next())
    assert.equal("parti", framed:read_buffer())
    b:set_read_timeout(nil)
    local task = tcpnet.spawn(framed.next, framed)
    tcpnet.yield()
    task:cancel()
    a:write "al\nmore"
    assert.equal("partial", framed:next())
    assert.equal("more", framed:read_buffer())
    b:close()
    fails("CLOSED", framed:next())
    fails("CLOSED", framed:next())
  end))

  it("iterates, and raises what next() refuses", in_task(function()
    local got = {}
    for line in codec.lines():framed_read(reader_of("a\n\nb", 1)):iter() do
      got[#got + 1] = line
    end
    assert.same({ "a", "", "b" }, got)
    local step = codec.lines { max_length = 1 }:framed_read(reader_of("a\nbb\nc", 0)):iter()
    assert.equal("a", step())
    local ok, err = pcall(step)
    assert.is_false(ok)
    assert.equal("LIMIT", err.code)
    assert.equal("c", step())
    assert.is_nil(step())
  end))

  it("writes lines", in_task(function()
    local a, b = tcpnet.duplex(100)
    local framed = codec.lines():framed_write(a)
    assert.is_true(framed:send "one")
    assert.is_true(framed:send "")
    assert.is_true(framed:send(3))
    assert.is_true(framed:send(tcpnet.Buffer.new(4):append "buf"))
    assert.is_true(framed:close())
    assert.equal("one\n\n3\nbuf\n", b:read_to_end())
  end))

  it("works over TCP, halves and pipes", in_task(function()
    local a, b, _guard <close> = tcp.pair()
    local read_half, write_half = a:split()
    local there, back = codec.lines():framed_write(write_half), codec.lines():framed_read(read_half)
    assert.is_true(there:send "question")
    assert.equal("question", b:read_line())
    b:write "answer\r\n"
    assert.equal("answer", back:next())
    local sender, receiver = assert(tcpnet.pipe())
    local _pipe <close> = tcp.guard(sender, receiver)
    local out, into = codec.lines():framed_write(sender), codec.lines():framed_read(receiver)
    assert.is_true(out:send "piped")
    assert.is_true(out:close())
    assert.is_true(sender:closed())
    assert.same({ "piped" }, outcomes(into))
  end))

  it("works outside every task", function()
    local a, b = tcpnet.duplex(4)
    local framed = codec.lines():framed_read(b)
    local writer = tcpnet.spawn(function()
      return codec.lines():framed_write(a):send "long enough"
    end)
    assert.equal("long enough", framed:next())
    assert.is_true(writer:join())
  end)
end)

describe("any_delimiter", function()
  it("cuts at each of its bytes", in_task(function()
    decodes(codec.any_delimiter(), "chunk 1;chunk 2\r\nchunk 3,,a\rlast",
      { "chunk 1", "chunk 2", "", "chunk 3", "", "a", "last" })
    decodes(codec.any_delimiter { delimiters = "^]-%\0a" }, "1^2]3-4%5\0006a7.8",
      { "1", "2", "3", "4", "5", "6", "7.8" })
    decodes(codec.any_delimiter(), "one;", { "one" })
    decodes(codec.any_delimiter { delimiters = "|" }, "x\r|\r", { "x\r", "\r" })
  end))

  it("refuses a chunk that is too long and goes on behind it", in_task(function()
    decodes(codec.any_delimiter { max_length = 2 }, "ab,abc;d\rlonger,ef,long", { "ab", "LIMIT", "d", "LIMIT", "ef",
      "LIMIT" })
  end))

  it("writes its sequence behind each frame", in_task(function()
    local a, b = tcpnet.duplex(100)
    local framed = codec.any_delimiter():framed_write(a)
    assert.is_true(framed:send "a")
    assert.is_true(framed:send "b")
    assert.is_true(codec.any_delimiter { sequence_writer = "--" }:framed_write(a):send "c")
    a:close()
    assert.equal("a,b,c--", b:read_to_end())
  end))
end)

describe("length_delimited", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function length_delimited(opts)
    return codec.length_delimited(opts)
  end

  it("reads four bytes, big endian, and that many", in_task(function()
    decodes(length_delimited(), "\0\0\0\9abcdefghi\0\0\0\0\0\0\0\003123", { "abcdefghi", "", "123" })
    decodes(length_delimited {}, "", {})
  end))

  it("takes every width and order of the field", in_task(function()
    for width = 1, 8 do
      for name, sign in pairs { big = ">", little = "<", native = "=" } do
        local format = sign .. "s" .. width
        local input = format:pack "hello" .. format:pack "" .. format:pack(("x"):rep(200))
        decodes(length_delimited { length_field_length = width, endian = name }, input, { "hello", "",
          ("x"):rep(200) })
      end
    end
  end))

  it("knows where the field lies, what it counts and what to skip", in_task(function()
    -- the examples in the documentation of Tokio's LengthDelimitedCodec
    decodes(length_delimited { length_field_length = 2, num_skip = 0, length_adjustment = 2 }, "\0\11hello world",
      { "\0\11hello world" })
    decodes(length_delimited { length_field_length = 2 }, "\0\11hello world", { "hello world" })
    decodes(length_delimited { length_field_length = 2, num_skip = 0 }, "\0\13hello world", { "\0\13hello world" })
    decodes(length_delimited { length_field_length = 2, length_adjustment = -2 }, "\0\13hello world",
      { "hello world" })
    decodes(length_delimited { length_field_offset = 1, length_field_length = 2, length_adjustment = -3, num_skip = 3 },
      "\xca\0\14hello world", { "hello world" })
    decodes(length_delimited { length_field_offset = 1, length_field_length = 2, length_adjustment = 1, num_skip = 3 },
      "\xca\0\11\xfehello world", { "\xfehello world" })
    decodes(length_delimited { length_field_offset = 1, length_field_length = 2, length_adjustment = -3, num_skip = 4 },
      "\xca\0\14\xfehello world", { "hello world" })
    decodes(length_delimited { num_skip = 6 }, "\0\0\0\2XXab\0\0\0\1YYc", { "ab", "c" })
  end))

  it("refuses a frame that is too long until it is skipped", in_task(function()
    for seed = 0, 5 do
      local input = (">s4"):pack "fits" .. (">s4"):pack(("x"):rep(3000)) .. (">s4"):pack "behind" .. (">s4"):pack "end"
      local framed = length_delimited { max_frame_length = 6 }:framed_read(reader_of(input, seed))
      assert.equal("fits", framed:next())
      assert.equal("next", fails("LIMIT", framed:next()).op)
      fails("LIMIT", framed:next())
      assert.equal(framed, framed:skip())
      framed:skip() -- there is nothing more to skip
      assert.equal("behind", framed:next())
      framed:skip()
      assert.equal("end", framed:next())
      local frame, err = framed:next()
      assert.is_nil(frame)
      assert.is_nil(err)
    end
  end))

  it("has 8 MiB as the limit by default, and the limit of the field below it", in_task(function()
    fails("LIMIT", length_delimited():framed_read(reader_of((">I4"):pack((8 << 20) + 1), 0)):next())
    local a, b = tcpnet.duplex(1 << 20)
    local framed = length_delimited():framed_write(a)
    local all = tcp.bytes(8 << 20)
    local sending = tcpnet.spawn(framed.send, framed, all)
    assert.is_true(length_delimited():framed_read(b):next() == all)
    assert.same({ true, true }, { sending:join(5) })
    assert.has_error(function() framed:send(all .. "x") end,
      "bad argument #1 to 'send' (frame: at most 8388608 bytes expected, got 8388609)")
    local short = length_delimited { length_field_length = 1 }:framed_write(a)
    assert.is_true(short:send(("x"):rep(255)))
    assert.has_error(function() short:send(("x"):rep(256)) end)
  end))

  it("refuses hostile lengths without taking memory", in_task(function()
    local input = ("\xff"):rep(8) .. "abc"
    local framed = length_delimited { length_field_length = 8 }:framed_read(reader_of(input, 0))
    fails("LIMIT", framed:next())
    framed:skip()
    fails("EOF", framed:next())
    framed = length_delimited { length_adjustment = -5 }:framed_read(reader_of("\0\0\0\1ab" .. "\0\0\0\6c", 0))
    fails("EINVAL", framed:next())
    fails("EINVAL", framed:next())
  end))

  it("calls bytes that are no whole frame an error, each time", in_task(function()
    for seed = 0, 3 do
      for _, rest in ipairs { "\0", "\0\0\0", "\0\0\0\2", "\0\0\0\2x" } do
        local framed = length_delimited():framed_read(reader_of("\0\0\0\1a" .. rest, seed))
        assert.equal("a", framed:next())
        assert.equal("next", fails("EOF", framed:next()).op)
        fails("EOF", framed:next())
        assert.equal(rest, framed:read_buffer())
      end
    end
  end))

  it("is cancel safe: whatever was read stays", in_task(function()
    local a, b = tcpnet.duplex(100)
    local framed = length_delimited():framed_read(b)
    for byte in ("\0\0\0\5hello"):gmatch "." do
      assert.is_true(waits(framed.next, framed))
      a:write(byte)
    end
    assert.equal("hello", framed:next())
  end))

  it("brings random frames through, over a stream of random width", in_task(function()
    local seed = os.time()
    local random = randomness(seed)
    for _ = 1, 20 do
      local width = random(8)
      local opts = { length_field_length = width, endian = ({ "big", "little", "native" })[random(3)] }
      local a, b = tcpnet.duplex(random(300))
      local sent, got = {}, {}
      for i = 1, 40 do
        sent[i] = tcp.bytes(random(width == 1 and 255 or 1000)):sub(2):reverse()
      end
      tcpnet.spawn(function()
        local framed = length_delimited(opts):framed_write(a)
        for i, frame in ipairs(sent) do
          assert(framed[i % 3 == 0 and "send" or "feed"](framed, frame))
        end
        assert(framed:close())
      end)
      local framed = length_delimited(opts):framed_read(b)
      while #got < #sent do
        local frame, err = tcpnet.timeout(random(3) == 1 and 0 or 10, framed.next, framed)
        if frame then
          got[#got + 1] = frame
        else
          assert.equal("TIMEOUT", err and err.code, "seed " .. seed)
        end
      end
      assert.same(sent, got, "seed " .. seed)
      assert.same({}, outcomes(framed))
    end
  end))

  it("writes the field, adjusted, and the frame", in_task(function()
    local a, b = tcpnet.duplex(100)
    assert.is_true(length_delimited { length_adjustment = -4 }:framed_write(a):send "abc")
    assert.is_true(length_delimited { length_field_length = 3, endian = "little" }:framed_write(a):send "d")
    assert.equal("\0\0\0\7abc\1\0\0d", b:read_exact(11))
    local framed = length_delimited { length_adjustment = 2 }:framed_write(a)
    assert.is_true(framed:send "ab")
    assert.has_error(function() framed:send "a" end,
      "bad argument #1 to 'send' (frame: at least 2 bytes expected, got 1)")
    assert.equal("\0\0\0\0ab", b:read_exact(6))
  end))
end)

describe("bytes", function()
  it("gives and writes what there is", in_task(function()
    local a, b = tcpnet.duplex(100)
    local out, into = codec.bytes():framed_write(a), codec.bytes():framed_read(b)
    assert.is_true(out:send "abc")
    assert.equal("abc", into:next())
    assert.is_true(out:send "")
    assert.is_true(out:close())
    assert.same({}, outcomes(into))
  end))
end)

describe("framed_write", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("feeds without writing until much is kept, then flushes before it takes more", in_task(function()
    local a, b = tcpnet.duplex(100000)
    local framed = codec.lines():framed_write(a)
    assert.is_true(framed:feed(("a"):rep(8190)))
    assert.is_true(framed:feed "")
    fails("EAGAIN", b:try_read())
    assert.equal(8192, #framed:write_buffer())
    assert.is_true(framed:feed "b")
    assert.equal(8192, #b:read())
    assert.equal("b\n", framed:write_buffer())
    assert.is_true(framed:flush())
    assert.is_true(framed:flush())
    assert.equal("b\n", b:read())
  end))

  it("cancelled keeps what was not written, and writes nothing twice", in_task(function()
    local a, b = tcpnet.duplex(3)
    local framed = codec.lines():framed_write(a)
    assert.is_true(waits(framed.send, framed, "abcdef"))
    assert.equal("def\n", framed:write_buffer())
    assert.is_true(waits(framed.flush, framed))
    assert.equal("abc", b:read())
    local rest = tcpnet.spawn(framed.send, framed, "x")
    assert.equal("def\nx\n", b:read_exact(6))
    assert.same({ true, true }, { rest:join(5) })
  end))

  it("lets several tasks send: frames stay whole", in_task(function()
    local a, b = tcpnet.duplex(5)
    local framed = codec.lines():framed_write(a)
    for i = 1, 10 do
      tcpnet.spawn(framed.send, framed, (tostring(i % 10)):rep(20))
    end
    local lines = {}
    for _ = 1, 10 do
      lines[#lines + 1] = b:read_line()
    end
    table.sort(lines)
    for i = 0, 9 do
      assert.equal((tostring(i)):rep(20), lines[i + 1])
    end
  end))

  it("gives the writer's errors, and goes on when they are over", in_task(function()
    local a, b = tcpnet.duplex(3)
    a:set_write_timeout(0.01)
    local framed = codec.lines():framed_write(a)
    fails("TIMEOUT", framed:send "abcd")
    assert.equal("abc", b:read())
    assert.is_true(framed:flush())
    assert.equal("d\n", b:read())
    b:close()
    fails("EPIPE", framed:send "x")
    fails("EPIPE", framed:close())
  end))
end)

describe("tcpnet.codec", function()
  it("refuses wrong options, readers, writers and frames where the call stands", function()
    local a = tcpnet.duplex(1)
    local lines = codec.lines()
    local calls = {
      { codec.lines, { max_length = 0 } }, { codec.lines, { max = 1 } }, { codec.lines, 5 },
      { codec.lines, { max_length = "5" } }, { codec.any_delimiter, { delimiters = "" } },
      { codec.any_delimiter, { sequence_writer = 5 } }, { codec.length_delimited, { length_field_length = 0 } },
      { codec.length_delimited, { length_field_length = 9 } }, { codec.length_delimited, { endian = "middle" } },
      { codec.length_delimited, { num_skip = -1 } }, { codec.length_delimited, { length_field_offset = 0.5 } },
      { codec.length_delimited, { max_frame_length = -1 } }, { codec.length_delimited, { lenght = 1 } },
      { lines.framed_read, lines, "x" }, { lines.framed_read, lines, io.stdout }, { lines.framed_read, {}, a },
      { lines.framed_write, lines, {} }, { lines.framed_write, lines },
      { lines:framed_write(a).send, lines:framed_write(a), {} }, { lines:framed_write(a).send, lines:framed_write(a) },
      { lines:framed_write(a).feed, a, "x" }, { lines:framed_read(a).next, a }, { lines:framed_read(a).iter },
    }
    for i, call in ipairs(calls) do
      local ok, message = pcall(table.unpack(call))
      assert.is_false(ok, i)
      assert.matches("^spec/codec_spec.lua:%d+: bad argument #1 to '[%a_]+' %(", message)
    end
  end)

  it("gives each reader a decoder of its own", in_task(function()
    local lines = codec.lines()
    local one, two = lines:framed_read(reader_of("a\nb", 0)), lines:framed_read(reader_of("c\nd", 0))
    assert.equal("a", one:next())
    assert.equal("c", two:next())
    assert.equal("b", one:next())
    assert.equal("d", two:next())
  end))

  it("is refused to a second task that reads", in_task(function()
    local _a, b = tcpnet.duplex(1)
    local framed = codec.lines():framed_read(b)
    local task = tcpnet.spawn(framed.next, framed)
    tcpnet.yield()
    assert.has_error(function() framed:next() end)
    task:cancel()
  end))
end)
