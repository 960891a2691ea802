-- Every kind of read, in any order, of bytes that arrive in any pieces: each gives the very bytes that come next, and
-- what a read did not give is there for the next one.
local tcpnet = require "tcpnet"
local Choices = require "fuzz.choices"

local PATIENCE = 20 -- seconds, for what is there already: never passed on a machine that lives
local OUTSTANDING = 20000 -- bytes; less than any kernel keeps

local function tcp_pair()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

local function taken()
  local a, b = tcpnet.duplex(1 << 20)
  return a, tcpnet.io.take(b, 1 << 30), b
end

local function chained()
  local a, b = tcpnet.duplex(1 << 20)
  local empty, over = tcpnet.duplex(1)
  empty:close()
  return a, tcpnet.io.chain(over, b), b
end

-- → writer, reader, who has the reader's timeout where that is another
local pairs_of = {
  function() return tcpnet.UnixStream.pair() end,
  function() return tcpnet.pipe() end,
  function() return tcpnet.duplex(1 << 20) end,
  taken,
  chained,
  tcp_pair,
}

local World = {}
World.__index = World

function World:left()
  return self.sent:sub(self.given + 1)
end

-- Of the bytes that are left these were given out now.
function World:give(bytes)
  assert(self.sent:sub(self.given + 1, self.given + #bytes) == bytes, "other bytes than those that come next")
  self.given = self.given + #bytes
end

function World:send(bytes)
  if self.ended or #self.sent - self.given + #bytes > OUTSTANDING or bytes == "" then
    return
  end
  local count, err = self.writer:try_write(bytes)
  assert(count or err.code == "EAGAIN", err)
  self.sent = self.sent .. bytes:sub(1, count or 0)
end

function World:finish()
  if not self.ended then
    self.ended = true
    self.writer:close()
  end
end

-- What a read of some is to give: "some", "end" or "wait".
function World:state()
  return self.given < #self.sent and "some" or self.ended and "end" or "wait"
end

-- A kind of read: expect(world, ...) → what happens now: "give" with the bytes, or a prefix of at most so many, "end",
-- "wait", or the code of a failure; call(reader, ...).
local kinds = {}

local function some(world, max)
  local state = world:state()
  if state == "some" then
    return "prefix", max
  end
  return state
end

function kinds.read(choices)
  local max = choices:pick { 1, 2, 7, 100, 70000 }
  return function(world)
    return some(world, max)
  end, function(reader)
    return reader:read(max)
  end
end

function kinds.read_exact(choices)
  local count = choices:pick { 0, 1, 3, 10, 600, 17000 }
  return function(world)
    local left = world:left()
    if #left >= count then
      return "give", left:sub(1, count), count
    end
    return world.ended and "EOF" or "wait"
  end, function(reader)
    return reader:read_exact(count)
  end
end

function kinds.read_line(choices)
  local max = choices:pick { 1, 2, 5, 64, 65536 }
  return function(world)
    local left = world:left()
    local last = left:find("\n", 1, true)
    if not last then
      if #left >= max + 2 or world.ended and #left > max then
        return "LIMIT"
      elseif not world.ended then
        return "wait"
      end
      return left ~= "" and "give" or "end", left, #left
    end
    local line = left:sub(1, last - 1):gsub("\r$", "")
    if #line > max then
      return "LIMIT"
    end
    return "give", line, last
  end, function(reader)
    return reader:read_line(max)
  end
end

function kinds.read_until(choices)
  local delimiter = choices:pick { "\n", "\r\n", "aab", "aa", "abab", "\0" }
  local max = choices:pick { 1, 3, 10, 500, 65536 }
  return function(world)
    local left = world:left()
    local _, last = left:find(delimiter, 1, true)
    if last and last <= max then
      return "give", left:sub(1, last), last
    elseif last or #left >= max then
      return "LIMIT"
    elseif not world.ended then
      return "wait"
    end
    return left ~= "" and "give" or "end", left, #left
  end, function(reader)
    return reader:read_until(delimiter, max)
  end
end

function kinds.read_to_end(choices)
  local max = choices:pick { 0, 5, 1000, 1 << 40 }
  return function(world)
    local left = world:left()
    if #left > max then
      return "LIMIT"
    end
    return world.ended and "give" or "wait", left, #left
  end, function(reader)
    return reader:read_to_end(max)
  end
end

local function into_buffer(method)
  return function(choices)
    local buffer = tcpnet.Buffer.new(choices:pick { 1, 10, 3000 })
    local max = choices:pick { 1, 5, 1 << 40 }
    return function(world)
      return some(world, math.min(max, buffer:capacity()))
    end, function(reader)
      local count, err = reader[method](reader, buffer, max)
      if not count then
        return nil, err
      end
      assert(count == #buffer)
      return tostring(buffer)
    end
  end
end

kinds.read_into = into_buffer "read_into"

function kinds.peek(choices)
  local max = choices:pick { 1, 10, 70000 }
  return function(world)
    return world:state() == "some" and "peek" or world:state(), max
  end, function(reader)
    return reader:peek(max)
  end
end

function kinds.readable()
  return function(world)
    return world:state() == "wait" and "wait" or "ready"
  end, function(reader)
    return reader:readable()
  end
end

-- At once: where they would wait they say so.
local tries = {}

function tries.try_read(choices)
  local max = choices:pick { 1, 3, 70000 }
  return function(world)
    return some(world, max)
  end, function(reader)
    return reader:try_read(max)
  end
end

function tries.try_peek(choices)
  local max = choices:pick { 1, 3, 70000 }
  return function(world)
    return world:state() == "some" and "peek" or world:state(), max
  end, function(reader)
    return reader:try_peek(max)
  end
end

tries.try_read_into = into_buffer "try_read_into"

function tries.try_read_vectored(choices)
  local first, second = tcpnet.Buffer.new(choices:pick { 1, 4 }), tcpnet.Buffer.new(choices:pick { 1, 50 })
  return function(world)
    return some(world, first:capacity() + second:capacity())
  end, function(reader)
    local count, err = reader:try_read_vectored { first, second }
    if not count then
      return nil, err
    end
    assert(count == #first + #second)
    return tostring(first) .. tostring(second)
  end
end

-- Compares what a read gave with what was expected of it.
local function settle(world, expected, bytes, consumed, result, err, extra)
  if expected == "give" then
    assert(result == bytes, err or "another result")
    world.given = world.given + consumed
  elseif expected == "prefix" or expected == "peek" then
    assert(result, err or "the end, and bytes are left")
    assert(#result >= 1 and #result <= bytes, "more or less than was asked for")
    local before = world.given
    world:give(result)
    world.given = expected == "peek" and before or world.given
  elseif expected == "end" then
    assert(result == nil and err == nil, err or "a result behind the end")
  elseif expected == "ready" then
    assert(result == true, err)
  else
    assert(result == nil and err.code == expected, err or "a result in place of a failure")
    assert(expected ~= "EOF" or extra == world:left(), "the bytes that did come are others")
  end
end

local ALPHABET = "ab\n\r\0"

local function piece(choices)
  local kind = choices.byte()
  if kind >= 252 then
    return ("x"):rep(17000)
  elseif kind >= 240 then
    return choices:bytes(3, ALPHABET):rep(300)
  end
  return choices:bytes(kind % 12, ALPHABET)
end

local names, try_names = {}, {}
for name in pairs(kinds) do
  names[#names + 1] = name
end
for name in pairs(tries) do
  try_names[#try_names + 1] = name
end
table.sort(names)
table.sort(try_names)

local steps = {
  function(world, choices)
    world:send(piece(choices))
  end,
  -- a read of what is there: it gives that, or its time is up and nothing is lost
  function(world, choices)
    local expect, call = kinds[choices:pick(names)](choices)
    local expected, bytes, consumed = expect(world)
    world.timed:set_timeout(expected == "wait" and 0 or PATIENCE)
    settle(world, expected == "wait" and "TIMEOUT" or expected, bytes, consumed, call(world.reader))
    world.timed:set_timeout(nil)
  end,
  function(world, choices)
    local expect, call = tries[choices:pick(try_names)](choices)
    local expected, bytes, consumed = expect(world)
    if expected ~= "wait" and world.slow then -- it may be on its way still
      world.timed:set_timeout(PATIENCE)
      assert(world.reader:readable())
      world.timed:set_timeout(nil)
    end
    settle(world, expected == "wait" and "EAGAIN" or expected, bytes, consumed, call(world.reader))
  end,
  -- a read that begins before its bytes come, and is cancelled where they do not
  function(world, choices)
    local expect, call = kinds[choices:pick(names)](choices)
    local task = tcpnet.spawn(call, world.reader)
    for _ = 1, 1 + choices.byte() % 4 do
      tcpnet.yield()
      world:send(piece(choices))
    end
    if choices.byte() % 8 == 7 then
      world:finish()
    end
    local expected, bytes, consumed = expect(world)
    if expected == "wait" then
      tcpnet.yield()
      assert(task:cancel(), "a read ended before it could")
      return
    end
    local outcome = table.pack(task:join(PATIENCE))
    assert(outcome[1], outcome[2])
    settle(world, expected, bytes, consumed, table.unpack(outcome, 2, outcome.n))
  end,
  function(world)
    local count = world.reader:buffered()
    assert(count <= #world.sent - world.given, "more is read ahead than was sent")
  end,
  -- the view of a socket shares its bytes
  function(world, choices)
    if world.socket and world:state() == "some" then
      local view = world.reader:as_socket():set_timeout(PATIENCE)
      world:give(assert(view:recv(choices:pick { 1, 5, 70000 })))
    end
  end,
}

local function play(choices)
  local make = choices:pick(pairs_of)
  local writer, reader, timed = make()
  assert(writer, reader)
  local world = setmetatable({
    writer = writer, reader = reader, timed = timed or reader, sent = "", given = 0, ended = false,
    socket = reader.as_socket ~= nil, slow = make == tcp_pair,
  }, World)
  while choices.more() do
    if choices:once_in(40) then
      world:finish()
    else
      choices:pick(steps)(world, choices)
    end
  end
  world:finish() -- whatever was left is there, and then the end
  world.timed:set_timeout(PATIENCE)
  settle(world, "give", world:left(), 0, world.reader:read_to_end())
  world.given = #world.sent
  settle(world, "end", nil, nil, world.reader:read())
  world.timed:close()
  writer:close()
end

return function(text)
  tcpnet.run(play, Choices.of(text))
end
