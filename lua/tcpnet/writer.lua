-- Writing, for writers that are written in Lua: every kind of write once, over two primitives.
--
-- A writer is a table with `turn` (a Semaphore of one permit: writes queue up) and `sink`, these of its class:
--   push(self, bytes, from, op)  → how many bytes from that position on were taken | nil, err (EAGAIN, EPIPE)
--   room(self, op, deadline) ⏳   → how many bytes would be taken, 1 or more | nil, err
--   prepare(self)                before bytes are read that will be nowhere else, and no more than there is room for:
--   put(self, bytes, op)         → their number: all were taken, without a need of memory | nil, err
--   ended(self, op)              the error of a writer that is closed, or nil
--   await_close(self) ⏳          → nil, err, once it is closed
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local Semaphore = require "tcpnet.sync.semaphore"
local waiting = require "tcpnet.waiting"

local private = core.private
local CHUNK = 65536 -- of a Buffer at once
local VECTORED = 64 -- items of a list at once, as of what has a descriptor

local writer = {}

-- Gives a new object what every writer has.
function writer.init(self)
  self.turn = Semaphore.new(1)
  self.my_turn = waiting.turn(self.turn)
  return self
end

-- Before a write waits: the Buffers among what it writes, if there are any, stay as they are until it ends.
local function keep(claim)
  if claim then
    claim:share()
  end
end

-- The turn ⏳, to be kept in a to-be-closed variable | nil, err
function writer.hold(self, op, deadline, claim)
  local err = self.sink.ended(self, op)
  if err then
    return nil, err
  end
  if claim and self.turn:available_permits() == 0 then
    claim:share()
  end
  local ok
  ok, err = waiting.permit(self.turn, op, deadline)
  if not ok then
    return nil, self.sink.ended(self, op) or err
  end
  return self.my_turn
end

local function begin(self, op, deadline, claim)
  waiting.begin(op)
  return writer.hold(self, op, deadline, claim)
end

local function begin_try(self, op)
  local err = self.sink.ended(self, op)
  if err then
    return nil, err
  end
  if not self.turn:try_take(1) then
    return nil, waiting.again
  end
  return self.my_turn
end

-- The claim of a write on these values, to be kept in a to-be-closed variable; false: no Buffer is among them.
local function claim_of(values, count, name)
  for i = 1, count do
    if type(rawget(values, i)) == "userdata" then
      return private.new_claim(values, name)
    end
  end
  return false
end

local function bytes_of(value, position, name)
  return check.bytes(value, position, name, "string, number or Buffer")
end

-- Writes the bytes from a position on ⏳ → position after the last one that was taken | nil, err, that position
local function push_all(self, bytes, from, op, deadline, claim)
  while from <= #bytes do
    local count, err = self.sink.push(self, bytes, from, op)
    if not count and err.code == "EAGAIN" then
      keep(claim)
      count, err = self.sink.room(self, op, deadline)
      if count then
        count, err = self.sink.push(self, bytes, from, op)
      end
    end
    if not count then
      return nil, err, from
    end
    from = from + count
  end
  return from
end

local methods = {}

local function check_self(self, name)
  waiting.check_receiver(self, "my_turn", "writer", name)
end

-- write(...) ⏳ → count of all the bytes of its strings, numbers and Buffers | nil, err, sent
function methods:write(...)
  check_self(self, "write")
  local given, count = { ... }, select("#", ...)
  local claim <close> = claim_of(given, count, "write")
  local pieces = claim and {} or given
  for i = 1, count do
    pieces[i] = bytes_of(given[i], i, "write")
  end
  local deadline = waiting.deadline(self.write_seconds)
  local turn, err = begin(self, "write", deadline, claim)
  if not turn then
    return nil, err, 0
  end
  local _turn <close> = turn
  local sent = 0
  for _, bytes in ipairs(pieces) do
    local next, failure, at = push_all(self, bytes, 1, "write", deadline, claim)
    if not next then
      return nil, failure, sent + at - 1
    end
    sent = sent + #bytes
  end
  return sent
end

-- write_from(buffer) ⏳ → count; consumes the Buffer's bytes as they go | nil, err, sent
function methods:write_from(buffer)
  check_self(self, "write_from")
  check.expected(private.kind(buffer) == "Buffer", "Buffer", buffer, 1, "write_from")
  local claim <close> = private.new_claim(buffer, "write_from")
  claim:empty(buffer)
  local deadline = waiting.deadline(self.write_seconds)
  local turn, err = begin(self, "write_from", deadline)
  if not turn then
    return nil, err, 0
  end
  local _turn <close> = turn
  local sent = 0
  while #buffer > 0 do
    local count
    count, err = self.sink.push(self, buffer:sub(1, CHUNK), 1, "write_from")
    if count then
      claim:consume(count)
      sent = sent + count
    elseif err.code == "EAGAIN" then
      count, err = self.sink.room(self, "write_from", deadline)
    end
    if not count then
      return nil, err, sent
    end
  end
  return sent
end

local function check_some(bytes, from, name)
  bytes = bytes_of(bytes, 1, name)
  return bytes, check.optional_integer(from, 1, #bytes + 1, 2, name, "i") or 1
end

local function push_some(self, bytes, from, op, deadline, claim)
  if from > #bytes then
    return 0
  end
  local count, err = self.sink.push(self, bytes, from, op)
  if count then
    return count
  elseif not deadline or err.code ~= "EAGAIN" then
    return nil, err
  end
  keep(claim)
  count, err = self.sink.room(self, op, deadline ~= true and deadline or nil)
  if not count then
    return nil, err
  end
  return self.sink.push(self, bytes, from, op)
end

-- write_some(s[, i]) ⏳ → count of the bytes that were taken, from position i on
function methods:write_some(bytes, from)
  check_self(self, "write_some")
  local claim <close> = type(bytes) == "userdata" and claim_of({ bytes }, 1, "write_some")
  bytes, from = check_some(bytes, from, "write_some")
  local deadline = waiting.deadline(self.write_seconds)
  local turn, err = begin(self, "write_some", deadline, claim)
  if not turn then
    return nil, err
  end
  local _turn <close> = turn
  return push_some(self, bytes, from, "write_some", deadline or true, claim)
end

-- try_write(s[, i]): the same at once, or EAGAIN.
function methods:try_write(bytes, from)
  check_self(self, "try_write")
  bytes, from = check_some(bytes, from, "try_write")
  local turn, err = begin_try(self, "write")
  if not turn then
    return nil, err
  end
  local _turn <close> = turn
  return push_some(self, bytes, from, "write")
end

local function joined(list, name)
  check.value(list, "table", 1, name)
  check.that(rawlen(list) > 0, 1, name, "a list of at least one string or Buffer expected")
  local pieces = {}
  for i = 1, rawlen(list) do
    local value = rawget(list, i)
    check.that(type(value) == "string" or type(value) == "number" or private.kind(value) == "Buffer", 1, name,
      "a list of strings, numbers or Buffers expected")
    pieces[i] = i <= VECTORED and tostring(value) or nil
  end
  return table.concat(pieces)
end

-- write_vectored(list) ⏳ → count of the bytes that were taken
function methods:write_vectored(list)
  check_self(self, "write_vectored")
  local bytes = joined(list, "write_vectored")
  local claim <close> = claim_of(list, rawlen(list), "write_vectored")
  local deadline = waiting.deadline(self.write_seconds)
  local turn, err = begin(self, "write_vectored", deadline, claim)
  if not turn then
    return nil, err
  end
  local _turn <close> = turn
  return push_some(self, bytes, 1, "write_vectored", deadline or true, claim)
end

-- try_write_vectored(list): the same at once, or EAGAIN.
function methods:try_write_vectored(list)
  check_self(self, "try_write_vectored")
  local bytes = joined(list, "try_write_vectored")
  local turn, err = begin_try(self, "write_vectored")
  if not turn then
    return nil, err
  end
  local _turn <close> = turn
  return push_some(self, bytes, 1, "write_vectored")
end

-- Adds the methods of writing to a class.
function writer.extend(class, sink)
  for name, method in pairs(methods) do
    class[name] = method
  end
  class.sink = sink
end

writer.methods = methods

return writer
