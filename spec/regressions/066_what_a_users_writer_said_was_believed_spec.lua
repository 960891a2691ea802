-- Readers and writers that a user wrote were believed: a write of 0 bytes was tried for ever, a forgotten return was an
-- end, an error in words broke the library, more bytes than were asked for got through a limit. What one took in part
-- was given to it from the start again.
local tcpnet = require "tcpnet"

local io, codec = tcpnet.io, tcpnet.codec

local function results(...)
  local given = table.pack(...)
  return function()
    return table.unpack(given, 1, given.n)
  end
end

-- Something to read, behind which nothing comes.
local function source()
  local a, b = tcpnet.duplex(100)
  a:write "data"
  a:close()
  return b
end

local writes = {
  copy = function(fn)
    return tcpnet.copy(source(), { write_some = fn })
  end,
  send = function(fn)
    return codec.bytes():framed_write { write_some = fn }:send "data"
  end,
}

local reads = {
  take = function(fn)
    return io.take({ read = fn }, 4):read(100)
  end,
  chain = function(fn)
    return io.chain({ read = fn }, source()):read(4)
  end,
  next = function(fn)
    tcpnet.configure { buffer_size = 4 }
    local framed <const> = codec.bytes():framed_read { read = fn }
    tcpnet.configure { buffer_size = 65536 }
    return framed:next()
  end,
}

local function raises(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.matches(message, err, 1, true)
end

describe("a writer of one's own that answers wrongly raises in", function()
  for name, write in pairs(writes) do
    it(name, function()
      local expected = "the writer's write_some: count from 1 to 4, or nil and an error, expected, got "
      raises(expected .. "0", write, results(0))
      raises(expected .. "5", write, results(5))
      raises(expected .. "-1", write, results(-1))
      raises(expected .. "1.5", write, results(1.5))
      raises(expected .. "boolean", write, results(true))
      raises(expected .. "1 bytes", write, results "4")
      raises(expected .. "nil and nil", write, results())
      raises(expected .. "nil and table", write, results(nil, {}))
    end)
  end
end)

describe("a reader of one's own that answers wrongly raises in", function()
  for name, read in pairs(reads) do
    it(name, function()
      local expected = "the reader's read: 1 to 4 bytes, nil at the end, or nil and an error, expected, got "
      raises(expected .. "5 bytes", read, results "12345")
      raises(expected .. "0 bytes", read, results "")
      raises(expected .. "7", read, results(7))
      raises(expected .. "boolean", read, results(false, "x"))
      raises(expected .. "nil and table", read, results(nil, {}))
      assert.same({ nil, nil }, { name ~= "chain" and read(results()) or nil })
    end)
  end

  it("copy", function()
    local _, to = tcpnet.duplex(100)
    local sink = { write_some = function(_, bytes) return #bytes end }
    for _, writer in ipairs { to, sink } do
      raises("the reader's peek: 1 to ", tcpnet.copy, { peek = results(1), try_read = results() }, writer)
      raises("the reader's peek: 1 to ", tcpnet.copy, { peek = results "", try_read = results() }, writer)
      raises("the reader's try_read: ", tcpnet.copy, { peek = results "1", try_read = results(1) }, writer)
    end
    raises("the reader's try_read: what its peek has shown expected, got the end", tcpnet.copy,
      { peek = results "1", try_read = results() }, sink)
  end)
end)

describe("an error in words becomes an Error", function()
  local function is_error(code, message, op, _, err)
    assert.is_true(tcpnet.is_error(err, code))
    assert.same({ message, op }, { err.message, err.op })
    assert.matches("066_", err.where, 1, true)
  end

  it("of a writer", function()
    is_error("EIO", "disk full", "write_some", writes.send(results(nil, "disk full")))
    is_error("ENOSPC", "disk full", "write_some", writes.send(results(nil, "disk full", 28)))
    is_error("EIO", "disk full", "copy", writes.copy(results(nil, "disk full")))
    is_error("ENOSPC", "disk full", "copy", writes.copy(results(nil, "disk full", 28)))
  end)

  it("of a reader", function()
    for _, read in pairs(reads) do
      is_error("EIO", "unreadable", "read", read(results(nil, "unreadable")))
      is_error("EACCES", "unreadable", "read", read(results(nil, "unreadable", 13)))
    end
  end)

  it("of what ends the writing", function()
    local writer = { write_some = function(_, bytes) return #bytes end, shutdown = results(nil, "no way") }
    is_error("EIO", "no way", "shutdown", codec.bytes():framed_write(writer):close())
    writer.shutdown = results()
    raises("the writer's shutdown: true, or nil and an error, expected, got nil and nil", function()
      codec.bytes():framed_write(writer):close()
    end)
  end)
end)

it("what is wrong is said where the call is", function()
  local framer = codec.bytes():framed_write { write_some = results(true) }
  raises("066_what_a_users_writer_said_was_believed_spec.lua:", function() framer:send "data" end)
end)

it("a writer that takes a part is given the rest, and nothing twice", function()
  local got = {}
  local framer = codec.bytes():framed_write {
    write_some = function(_, bytes)
      got[#got + 1] = bytes:sub(1, 3)
      return #got[#got]
    end,
  }
  framer:send "12345678"
  assert.same({ "123", "456", "78" }, got)
end)
