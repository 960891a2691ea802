-- Reading, for readers that are written in Lua: every kind of read once, over one primitive.
--
-- A reader is a table with `input` (Bytes: read and not yet given out), `claim`, and `source`, these of its class:
--   least                            how many bytes a read asks for at least where it may keep those that are too many
--   fill(self, max, op, deadline) ⏳  → true: up to `max` bytes were appended to `input` | nil at the end | nil, err
--   try_fill(self, max)              the same without waiting: EAGAIN
-- and, where bytes can be seen before they are taken,
--   look(self, max)                  what could be read at once after `input`; "" for nothing
--   await(self, op, deadline) ⏳      waits until fill would not, taking nothing
--   drop(self, count)                takes so many of them, and nothing may fail once it has
--   ended(self, op)                  the error of a reader that is closed, or nil
-- Bytes leave `input` only as the results of a call, so that whatever ends a call early has lost none.
local core = require "tcpnet.core"
local Bytes = require "tcpnet.bytes"
local check = require "tcpnet.check"
local waiting = require "tcpnet.waiting"

local private = core.private
local MAX = 65536

local reader = {}

-- One task reads at a time: the claim is held while a read waits.
local Claim = {}

function Claim.__close(claim)
  claim.holder = nil
end

local function holder()
  return core.current() or Claim
end

-- To be kept in a to-be-closed variable; held already by this task, it stays so.
function reader.hold(self)
  if self.claim.holder then
    return nil
  end
  self.claim.holder = holder()
  return self.claim
end

-- One call at a time looks at `input` and changes it: Lua may run a finalizer in the middle, and what that would read
-- is on its way to another. It may close the reader, which has another `input` then.
local Inside = {}

function Inside.__close(inside)
  inside.busy = false
end

-- Gives a new object what every reader has.
function reader.init(self)
  self.input = Bytes.new()
  self.claim = setmetatable({}, Claim)
  self.inside = setmetatable({ busy = false }, Inside)
  self.owed = 0
  return self
end

local function refuse_second(self, op)
  local other = self.claim.holder
  if other and other ~= holder() then
    check.misuse(op, ("another task is reading from this %s"):format(self.__name))
  end
end

-- Takes the `owed` bytes, which `peek` has shown and another has now, without making them once more. Nothing is taken
-- twice where there is no memory for a call on the way: the next read goes on with it.
local function pay(self)
  local input = self.input
  local ahead = math.min(self.owed, input.length)
  input:consume(ahead)
  self.owed = self.owed - ahead
  if self.owed > 0 then
    self.source.drop(self, self.owed)
    self.owed = 0
  end
end

-- What the call keeps in a to-be-closed variable until its end | nil, err
local function begin_try(self, op)
  refuse_second(self, op)
  local err = self.source.ended and self.source.ended(self, op)
  local inside = self.inside
  if err or inside.busy then
    return nil, err or waiting.again
  end
  if self.owed > 0 then
    pay(self)
  end
  inside.busy = true
  return inside
end

local function begin(self, op)
  waiting.begin(op)
  return begin_try(self, op)
end

local function fill(self, max, op, deadline)
  local ok, err
  if self.source.look then
    ok, err = self.source.try_fill(self, max)
    if ok or not err or err.code ~= "EAGAIN" then
      return ok, err
    end
  end
  local _held <close> = reader.hold(self)
  return self.source.fill(self, max, op, deadline)
end

-- Reads until `want` bytes are there → true | nil at the end | nil, err
local function fill_to(self, input, want, op, deadline)
  while input.length < want do
    local missing = want - input.length
    local ok, err = fill(self, math.min(math.max(missing, self.source.least), MAX), op, deadline)
    if not ok then
      return nil, err
    end
  end
  return true
end

local function check_reader(self, name)
  waiting.check_receiver(self, "input", "reader", name)
end

local function size_or(value, default, position, name)
  return check.optional_integer(value, 1, check.INT_MAX, position, name, "max") or default
end

-- How much a peek shows at most.
local function peek_size(max, name)
  return math.min(size_or(max, nil, 1, name) or private.buffer_size(), MAX)
end

-- The end, which is nil alone, or nil, err.
local function ended(err)
  if err then
    return nil, err
  end
  return nil
end

local methods = {}
reader.methods = methods

-- A read of what is there, in one of its forms: `op` waits until something is, "try_" .. op does not: EAGAIN.
-- request(name, ...) checks the arguments → how much to ask for, and what else give(input, max, into) needs of them,
-- which takes the results out of `input`.
local function form(op, waits, request, give)
  local name = waits and op or "try_" .. op
  local begin_form = waits and begin or begin_try
  return function(self, ...)
    check_reader(self, name)
    local max, into = request(name, ...)
    local inside <close>, err = begin_form(self, op)
    if not inside then
      return nil, err
    end
    local input = self.input
    if input.length == 0 then
      local ok
      if waits then
        ok, err = fill(self, max, op, waiting.deadline(self.read_seconds))
      else
        ok, err = self.source.try_fill(self, max)
      end
      if not ok then
        return ended(err)
      end
      max, into = request(name, ...) -- a Buffer may have been filled meanwhile, or be on its way out
    end
    return give(input, max, into)
  end
end

local function size_of_read(name, max)
  return size_or(max, nil, 1, name) or private.buffer_size()
end

-- read([max]) ⏳ → 1..max bytes | nil at the end | nil, err
methods.read = form("read", true, size_of_read, Bytes.take)
-- try_read([max]): the same at once, or EAGAIN.
methods.try_read = form("read", false, size_of_read, Bytes.take)

-- read_exact(n) ⏳ → n bytes | nil, err (EOF), the bytes that did come, which stay readable
function methods:read_exact(n)
  check_reader(self, "read_exact")
  n = check.integer(n, 0, 1 << 40, 1, "read_exact", "n")
  local inside <close>, err = begin(self, "read_exact")
  if not inside then
    return nil, err
  end
  local ok
  local input = self.input
  ok, err = fill_to(self, input, n, "read_exact", waiting.deadline(self.read_seconds))
  if ok then
    return input:take(n)
  elseif err then
    return nil, err
  end
  return nil, waiting.failure("EOF", "read_exact"), input:sub(1, input.length)
end

-- The length of the prefix that ends with the delimiter; 0: the reader ended without one | nil, err
local function fill_to_delimiter(self, input, delimiter, max, op)
  local known = 0
  local deadline = waiting.deadline(self.read_seconds)
  while true do
    local found = input:find(delimiter, #delimiter, known, true, max)
    if found then
      found = found + #delimiter - 1
    end
    if (found or input.length + 1) > max then
      return nil, waiting.failure("LIMIT", op)
    elseif found then
      return found
    end
    known = math.max(input.length - #delimiter + 1, 0)
    local ok, err = fill(self, 16384, op, deadline)
    if not ok then
      return not err and 0 or nil, err
    end
  end
end

-- read_line([max]) ⏳ → line without its ending, "\n" or "\r\n" | nil at the end | nil, err (LIMIT: nothing is lost)
function methods:read_line(max)
  check_reader(self, "read_line")
  max = size_or(max, MAX, 1, "read_line")
  local inside <close>, err = begin(self, "read_line")
  if not inside then
    return nil, err
  end
  local found
  local input = self.input
  found, err = fill_to_delimiter(self, input, "\n", max + 2, "read_line")
  if not found then
    return nil, err
  end
  local total = found > 0 and found or input.length
  if total == 0 then
    return nil
  end
  local length = found > 0 and total - 1 or total
  if found > 0 and length > 0 and input:sub(length, length) == "\r" then
    length = length - 1
  end
  if length > max then
    return nil, waiting.failure("LIMIT", "read_line")
  end
  local line = input:sub(1, length)
  input:consume(total)
  return line
end

-- read_until(delimiter[, max]) ⏳ → bytes up to and including it | nil at the end | nil, err (LIMIT)
function methods:read_until(delimiter, max)
  check_reader(self, "read_until")
  check.value(delimiter, "string", 1, "read_until")
  check.that(#delimiter > 0, 1, "read_until", "delimiter: at least one byte expected")
  max = size_or(max, MAX, 2, "read_until")
  local inside <close>, err = begin(self, "read_until")
  if not inside then
    return nil, err
  end
  local found
  local input = self.input
  found, err = fill_to_delimiter(self, input, delimiter, max + 1, "read_until") -- or so many are all that is left
  if not found then
    return nil, err
  end
  if found == 0 then
    found = input.length
  elseif found > max then
    return nil, waiting.failure("LIMIT", "read_until")
  end
  return found > 0 and input:take(found) or nil
end

-- read_to_end([max]) ⏳ → all that is left | nil, err (LIMIT)
function methods:read_to_end(max)
  check_reader(self, "read_to_end")
  if max ~= nil then
    max = check.integer(max, 0, math.maxinteger, 1, "read_to_end", "max")
  end
  local inside <close>, err = begin(self, "read_to_end")
  if not inside then
    return nil, err
  end
  local input, deadline = self.input, waiting.deadline(self.read_seconds)
  while true do
    if input.length > (max or math.maxinteger) then
      return nil, waiting.failure("LIMIT", "read_to_end")
    end
    local ok
    ok, err = fill(self, MAX, "read_to_end", deadline)
    if err then
      return nil, err
    elseif not ok then
      return input:take(input.length)
    end
  end
end

-- into Buffers ------------------------------------------------------------------------------------

local function room_of(buffer)
  return buffer:capacity() - #buffer
end

local function check_buffer(buffer, name)
  check.expected(private.kind(buffer) == "Buffer", "Buffer", buffer, 1, name)
  check.that(not private.is_claimed(buffer), 1, name, "a write of this Buffer is waiting")
  check.that(room_of(buffer) > 0, 1, name, "the Buffer is full")
end

local function room_for(name, buffer, max)
  check_buffer(buffer, name)
  max = check.optional_integer(max, 1, math.maxinteger, 2, name, "max")
  return math.min(max or math.maxinteger, room_of(buffer)), buffer
end

local function give_into(input, max, buffer)
  local bytes = input:sub(1, math.min(max, room_of(buffer), input.length))
  buffer:append(bytes) -- which raises where a finalizer has filled it: nothing is lost then
  input:consume(#bytes)
  return #bytes
end

-- read_into(buffer[, max]) ⏳ → count appended | nil at the end | nil, err
methods.read_into = form("read_into", true, room_for, give_into)
-- try_read_into(buffer[, max]): the same at once, or EAGAIN.
methods.try_read_into = form("read_into", false, room_for, give_into)

local function room_in_all(name, buffers)
  check.value(buffers, "table", 1, name)
  local count = rawlen(buffers)
  check.that(count >= 1 and count <= 64, 1, name, "a list of 1 to 64 Buffers expected")
  local room, seen = 0, {}
  for i = 1, count do
    local buffer = rawget(buffers, i)
    check.that(private.kind(buffer) == "Buffer" and not private.is_claimed(buffer), 1, name,
      "a list of Buffers expected, none with a write waiting")
    check.that(not seen[buffer], 1, name, "each Buffer once expected")
    seen[buffer] = true
    room = room + room_of(buffer)
  end
  check.that(room > 0, 1, name, "the Buffers are full")
  return room, buffers
end

local function give_into_all(input, _, buffers)
  local total = 0
  for i = 1, rawlen(buffers) do
    total = total + give_into(input, math.maxinteger, rawget(buffers, i))
  end
  return total
end

-- try_read_vectored{buffer, …} → count: fills them in order.
methods.try_read_vectored = form("read_vectored", false, room_in_all, give_into_all)

-- looking -----------------------------------------------------------------------------------------

local function peeked(self, max)
  local bytes = self.input:sub(1, math.min(max, self.input.length))
  if #bytes < max and self.source.look then
    bytes = bytes .. self.source.look(self, max - #bytes)
  end
  return #bytes > 0 and bytes or nil
end

-- peek([max]) ⏳ → bytes that stay readable | nil at the end | nil, err
function methods:peek(max)
  check_reader(self, "peek")
  max = peek_size(max, "peek")
  local inside <close>, err = begin(self, "peek")
  if not inside then
    return nil, err
  end
  local bytes = peeked(self, max)
  if bytes then
    return bytes
  end
  local ok
  local _held <close> = reader.hold(self)
  if self.source.await then
    ok, err = self.source.await(self, "peek", waiting.deadline(self.read_seconds))
  else
    ok, err = self.source.fill(self, max, "peek")
  end
  if not ok then
    return ended(err)
  end
  return peeked(self, max)
end

-- try_peek([max]): the same at once, or EAGAIN.
function methods:try_peek(max)
  check_reader(self, "try_peek")
  max = peek_size(max, "try_peek")
  local inside <close>, err = begin_try(self, "peek")
  if not inside then
    return nil, err
  end
  local bytes = peeked(self, max)
  if bytes then
    return bytes
  end
  local ok
  ok, err = self.source.try_fill(self, max)
  if not ok then
    return ended(err)
  end
  return peeked(self, max)
end

-- readable() ⏳ → true: a read would not wait | nil, err
function methods:readable()
  check_reader(self, "readable")
  waiting.begin("readable")
  local err = self.source.ended and self.source.ended(self, "readable")
  if err then
    return nil, err
  end
  if self.input.length > 0 then
    return true
  end
  if self.source.await then
    local _, failure = self.source.await(self, "readable", waiting.deadline(self.read_seconds))
    if failure then
      return nil, failure
    end
    return true
  end
  local inside <close>, refusal = begin_try(self, "readable") -- what a finalizer read would be counted twice
  if not inside then
    return nil, refusal
  end
  local _held <close> = reader.hold(self)
  local _
  _, err = self.source.fill(self, MAX, "readable")
  if err then
    return nil, err
  end
  return true
end

-- buffered() → bytes taken from where they come and not yet given out
function methods:buffered()
  check_reader(self, "buffered")
  local err = self.source.ended and self.source.ended(self, "buffered")
  if err then
    return nil, err
  end
  return self.input.length
end

-- Takes what is owed → true | nil, err
function reader.pay(self, op)
  local err = self.source.ended and self.source.ended(self, op)
  if not err then
    pay(self)
  end
  return not err or nil, err
end

-- iterators ---------------------------------------------------------------------------------------

-- An iterator over one kind of read; it ends at the end of the reader and raises on an error.
local function iterator(name, read)
  return function(self, max)
    check_reader(self, name)
    max = size_or(max, nil, 1, name)
    return function()
      return waiting.or_raise(read(self, max))
    end
  end
end

methods.lines = iterator("lines", methods.read_line)
methods.chunks = iterator("chunks", methods.read)

-- Adds the methods of reading to a class.
function reader.extend(class, source)
  for name, method in pairs(methods) do
    class[name] = method
  end
  class.source = source
end

return reader
