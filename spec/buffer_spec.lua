-- Buffer: bytes that are read into and written from, without a string each.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"

local Buffer = tcpnet.Buffer

local function filled(text, capacity)
  return Buffer.new(capacity or math.max(1, #text)):append(text)
end

-- A connected pair: client, server.
local function pair()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

describe("Buffer.new", function()
  it("makes an empty one of that capacity", function()
    local buffer = Buffer.new(10)
    assert.equal(0, #buffer)
    assert.equal(10, buffer:capacity())
    assert.equal("integer", math.type(buffer:capacity()))
    assert.equal("", tostring(buffer))
  end)

  it("raises for a capacity that is none, naming it (F31)", function()
    for _, wrong in ipairs {
      0, -1, math.mininteger, math.maxinteger, 2 ^ 53, 0 / 0, 1 / 0, 0.5, "10", "", true, {}, print,
    } do
      assert.error_matches(function()
        Buffer.new(wrong)
      end, "capacity")
    end
    assert.error_matches(function()
      Buffer.new()
    end, "capacity")
  end)
end)

describe("a Buffer", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("appends strings, numbers and Buffers, and returns itself", function()
    local buffer = Buffer.new(20)
    assert.is_true(rawequal(buffer, buffer:append "ab"))
    buffer:append(12):append(1.5):append(filled "xy"):append ""
    assert.equal("ab121.5xy", tostring(buffer))
    buffer:append(buffer)
    assert.equal("ab121.5xyab121.5xy", tostring(buffer))
  end)

  it("keeps every byte, NUL included", function()
    local bytes = {}
    for i = 0, 255 do
      bytes[#bytes + 1] = string.char(i)
    end
    local text = table.concat(bytes)
    assert.equal(text, tostring(filled(text)))
    assert.equal(128, filled(text):find("\x7f\x80", 1))
  end)

  it("raises where there is no room, and is unchanged then", function()
    local buffer = filled("abc", 4)
    assert.error_matches(function()
      buffer:append "de"
    end, "room")
    assert.equal("abc", tostring(buffer))
    buffer:append "d"
    assert.error_matches(function()
      buffer:append "e"
    end, "room")
    assert.error_matches(function()
      buffer:append(buffer)
    end, "room")
    assert.equal("abcd", tostring(buffer))
  end)

  it("has its room back after consume, and after itself was appended to it", function()
    local buffer = filled("abcdef", 6)
    assert.is_true(rawequal(buffer, buffer:consume(4)))
    assert.equal("ef", tostring(buffer))
    buffer:append(buffer)
    assert.equal("efef", tostring(buffer))
    buffer:append "gh"
    assert.equal("efefgh", tostring(buffer))
    assert.equal(6, #buffer)
    buffer:consume(0)
    assert.equal(6, #buffer)
    buffer:consume(6)
    assert.equal("", tostring(buffer))
    assert.is_true(rawequal(buffer, buffer:append("123456"):clear()))
    assert.equal(0, #buffer)
    assert.equal(6, buffer:capacity())
  end)

  it("agrees with string.sub, string.byte and plain string.find at every position", function()
    local edges = { math.mininteger, math.mininteger + 1, -2 ^ 53 // 1 | 0, math.maxinteger, 2 ^ 53 // 1 | 0 }
    if string.packsize "T" < 8 then -- Lua's own functions cut these to the size of a size
      edges = {}
    end
    for i = -7, 7 do
      edges[#edges + 1] = i
    end
    for _, text in ipairs { "", "a", "abcab" } do
      local buffer = Buffer.new(8):append("zzz"):append(text):consume(3)
      for _, i in ipairs(edges) do
        local message = ("%q at %d"):format(text, i)
        assert.equal(text:sub(i), buffer:sub(i), message)
        assert.same({ text:byte(i) }, { buffer:byte(i) }, message)
        for _, plain in ipairs { "", "a", "ab", "b", "cab", "abcab", "abcabc", "x" } do
          assert.same({ text:find(plain, i, true) }, { buffer:find(plain, i) }, message .. " " .. plain)
        end
        for _, j in ipairs(edges) do
          assert.equal(text:sub(i, j), buffer:sub(i, j), message)
          assert.same({ text:byte(i, j) }, { buffer:byte(i, j) }, message)
        end
      end
      assert.same({ text:byte() }, { buffer:byte() })
      assert.same({ text:find("ab", nil, true) }, { buffer:find "ab" })
    end
  end)

  it("finds plainly: no pattern, and no bytes that were consumed or lie past the end", function()
    local buffer = filled("a.b%a", 16)
    assert.same({ 2, 2 }, { buffer:find "." })
    assert.same({ 4, 5 }, { buffer:find "%a" })
    buffer:consume(3)
    assert.is_nil((buffer:find "."))
    buffer:clear()
    assert.is_nil((buffer:find "a"))
    assert.is_nil((buffer:find "\0"))
  end)

  it("returns a lot of bytes from byte(), or raises, and never overflows the stack", function()
    local buffer = Buffer.new(2000000):append(("x"):rep(2000000))
    assert.equal(1000, select("#", buffer:byte(1, 1000)))
    local ok, err = pcall(buffer.byte, buffer, 1, -1)
    assert.is_false(ok)
    assert.matches("string slice too long", err)
    assert.is_false((pcall(buffer.byte, buffer, 1, 1000000)))
  end)

  it("raises for wrong arguments, naming them (F30, F31)", function()
    local buffer = filled("abc", 8)
    local junk = { true, {}, print, io.stdout, coroutine.create(print) }
    for _, wrong in ipairs(junk) do
      for _, call in ipairs {
        function() buffer:append(wrong) end,
        function() buffer:consume(wrong) end,
        function() buffer:sub(wrong) end,
        function() buffer:sub(1, wrong) end,
        function() buffer:byte(wrong) end,
        function() buffer:byte(1, wrong) end,
        function() buffer:find(wrong) end,
        function() buffer:find("a", wrong) end,
      } do
        assert.error_matches(call, "bad argument")
      end
    end
    for _, wrong in ipairs { 0.5, 0 / 0, 1 / 0, 2 ^ 63 } do
      for _, call in ipairs {
        function() buffer:consume(wrong) end,
        function() buffer:sub(wrong) end,
        function() buffer:sub(1, wrong) end,
        function() buffer:byte(wrong) end,
        function() buffer:byte(1, wrong) end,
        function() buffer:find("a", wrong) end,
      } do
        assert.error_matches(call, "bad argument")
      end
    end
    for _, wrong in ipairs { -1, 4, 2 ^ 53, math.mininteger, math.maxinteger, "1" } do
      assert.error_matches(function()
        buffer:consume(wrong)
      end, "bad argument")
    end
    for _, name in ipairs { "append", "consume", "sub", "find" } do
      assert.error_matches(function()
        buffer[name](buffer)
      end, "bad argument", nil, name)
    end
    assert.equal("abc", tostring(buffer))
  end)

  it("takes reads up to its room, and raises when it is full", function()
    local client, server = pair()
    local buffer = Buffer.new(4)
    assert(server:write "abcdef")
    assert.equal(4, client:read_into(buffer))
    assert.equal("abcd", tostring(buffer))
    assert.error_matches(function()
      client:read_into(buffer)
    end, "full")
    buffer:consume(3)
    assert.equal(2, client:read_into(buffer))
    assert.equal("def", tostring(buffer))
    client:close()
    server:close()
  end)

  it("is written whole by write, and emptied by write_from", function()
    local client, server = pair()
    local buffer = filled "hello"
    assert.equal(10, client:write(buffer, buffer))
    assert.equal("hello", tostring(buffer))
    assert.equal(5, client:write_from(buffer))
    assert.equal(0, #buffer)
    assert.equal("hellohellohello", server:read_exact(15))
    assert.equal(0, client:write_from(buffer))
    client:close()
    server:close()
  end)

  it("raises when it is changed while a write of it waits, and is free again when the write has ended", function()
    local client, server = pair()
    client:set_send_buffer_size(4096)
    local buffer = Buffer.new(4000000):append(("x"):rep(3999999))
    tcpnet.run(function()
      for _, method in ipairs { "write", "write_from" } do
        local writer = tcpnet.spawn(function()
          client[method](client, buffer)
        end)
        tcpnet.sleep(0.005)
        assert.equal("waiting", writer:status())
        for name, argument in pairs { append = "y", consume = 1, clear = false } do
          assert.error_matches(function()
            buffer[name](buffer, argument)
          end, "waiting", nil, name)
        end
        assert.error_matches(function()
          server:try_read_into(buffer)
        end, "waiting")
        writer:cancel()
        buffer:append "y":clear():append "z"
        assert.equal("z", tostring(buffer))
        buffer:clear():append(("x"):rep(3999999))
      end
    end)
    client:close()
    server:close()
  end)

  -- What was just read may lie in memory that the next read of anybody uses.
  it("keeps its bytes whatever is read next", function()
    local client, server = pair()
    local other = Buffer.new(100)
    local next_reads = {
      read = function() assert.equal("OTHER BYTES", client:read()) end,
      read_into = function() client:read_into(other:clear()) end,
      read_exact = function() assert.equal("OTHER BYTES", client:read_exact(11)) end,
      peek = function() assert.equal(client:peek(), client:read()) end,
    }
    for name, read_next in pairs(next_reads) do
      for _, consumed in ipairs { 0, 2 } do
        local buffer = Buffer.new(16)
        assert(server:write "abcdef")
        assert.equal(6, client:read_into(buffer))
        buffer:consume(consumed)
        assert(server:write "OTHER BYTES")
        read_next()
        local rest = ("abcdef"):sub(consumed + 1)
        assert.equal(rest, tostring(buffer), name)
        assert.equal(#rest + 10 + consumed, #buffer:append(("y"):rep(10 + consumed)))
        assert.equal(rest .. ("y"):rep(10 + consumed), tostring(buffer))
      end
    end
    client:close()
    server:close()
  end)

  it("gives its bytes to every method straight after a read", function()
    local client, server = pair()
    local function fresh()
      assert(server:write "abcdef")
      local buffer = Buffer.new(13)
      assert.equal(6, client:read_into(buffer))
      return buffer
    end
    assert.equal("abcdef", tostring(fresh()))
    assert.equal("cde", fresh():sub(3, -2))
    assert.equal(98, fresh():byte(2))
    assert.equal(4, fresh():find "de")
    local doubled = fresh()
    assert.equal("abcdefabcdef", tostring(doubled:append(doubled)))
    assert.equal("cdef!", tostring(fresh():consume(2):append "!"))
    assert.equal("", tostring(fresh():clear()))
    assert.equal(6, client:write(fresh()))
    assert.equal("abcdef", server:read())
    local added = fresh()
    assert(server:write "ghi")
    assert.equal(3, client:read_into(added))
    assert.equal("abcdefghi", tostring(added))
    client:close()
    server:close()
  end)

  it("keeps what a write that waits has not sent, although others read meanwhile", function()
    local client, server = pair()
    local from, to = pair()
    client:set_send_buffer_size(4096)
    local sent = ("0123456789abcdef"):rep(4096)
    local received = {}
    tcpnet.run(function()
      tcpnet.spawn(function()
        for _ = 1, 100 do
          assert(from:write(sent))
        end
        from:close()
      end)
      local writer = tcpnet.spawn(function()
        local buffer = Buffer.new(#sent)
        while to:read_into(buffer) do
          assert(client:write_from(buffer))
        end
        client:close()
      end)
      local total = 0
      for data in function() return server:read(1000) end do
        received[#received + 1] = data
        total = total + #data
      end
      writer:join()
    end)
    assert.is_true(table.concat(received) == sent:rep(100))
    server:close()
    to:close()
  end)

  it("may be collected straight after a read", function()
    local client, server = pair()
    for _ = 1, 50 do
      assert(server:write "abcdef")
      client:read_into(Buffer.new(1000))
      collectgarbage()
      assert(server:write "ghi")
      assert.equal("ghi", client:read())
    end
    client:close()
    server:close()
  end)

  it("has room where its first bytes are gone", function()
    local client, server = pair()
    local buffer = filled "0123456789"
    buffer:consume(4)
    assert(server:write "abcdef")
    assert.equal(4, client:read_into(buffer))
    assert.equal("456789abcd", tostring(buffer))
    assert.equal("ef", client:read())
    client:close()
    server:close()
  end)

  it("is not read into once a write of it waits, be it that the read waited before", function()
    local client, server = pair()
    local full, peer = tcpnet.UnixStream.pair()
    while full:try_write(("x"):rep(65536)) do end
    tcpnet.run(function()
      local buffer = filled("to be sent", 100)
      local reader = tcpnet.spawn(function()
        local ok, message = pcall(client.read_into, client, buffer)
        return ok, message, client:read() -- the task goes on, and the stream is nobody's
      end)
      tcpnet.yield()
      local writer = tcpnet.spawn(full.write, full, buffer)
      tcpnet.yield()
      assert(server:write "late")
      local _, ok, message, data = assert(reader:join(5))
      assert.is_false(ok)
      assert.matches("a write of this Buffer is waiting", message)
      assert.equal("late", data)
      assert.equal("to be sent", tostring(buffer))
      writer:cancel()
    end)
    for _, stream in ipairs { client, server, full, peer } do
      stream:close()
    end
  end)

  it("is sent and read into as before where a finalizer has brought it back", function()
    local client, server = pair()
    local buffer
    do
      local holder = { buffer = filled("finalized", 100) }
      setmetatable(holder, { __gc = function() buffer = holder.buffer end })
    end
    collectgarbage()
    collectgarbage()
    assert.equal("finalized", tostring(buffer))
    tcpnet.run(function()
      while client:try_write(("x"):rep(65536)) do end
      local writer = tcpnet.spawn(client.write, client, buffer)
      tcpnet.yield()
      assert.equal("waiting", writer:status())
      local came = ""
      while came:sub(-9) ~= "finalized" do
        came = came:sub(-9) .. assert(server:read())
      end
      assert.same({ true, 9 }, { writer:join(5) })
      assert(server:write "more")
      assert.equal(4, client:read_into(buffer:clear()))
      assert.equal("more", tostring(buffer))
    end)
    client:close()
    server:close()
  end)
end)
