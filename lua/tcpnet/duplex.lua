-- duplex: two streams in memory, each of which reads what the other writes. Two pipes of bytes under the methods of
-- reader.lua and writer.lua; a write waits while `capacity` bytes are unread.
local core = require "tcpnet.core"
local Bytes = require "tcpnet.bytes"
local check = require "tcpnet.check"
local reader = require "tcpnet.reader"
local Waiters = require "tcpnet.sync.waiters"
local waiting = require "tcpnet.waiting"
local writer = require "tcpnet.writer"

-- One direction: `ended`, nothing more is written; `broken`, nobody reads any more.
local function new_pipe(capacity)
  return {
    bytes = Bytes.new(),
    capacity = capacity,
    ended = false,
    broken = false,
    readers = Waiters.new(),
    writers = Waiters.new(),
  }
end

local function wake(line)
  if line.first then
    line:grant_all(true)
  end
end

-- There will be room. Whoever gave back the turn to write may have had no memory to pass it on.
local function wake_writers(pipe)
  local turn = pipe.turn
  wake(pipe.writers)
  if turn.line.first and turn:available_permits() > 0 then
    turn:give_back(0)
  end
end

local function wake_both(pipe)
  wake(pipe.readers)
  wake(pipe.writers)
end

local DuplexStream = { __name = "DuplexStream" }
DuplexStream.__index = DuplexStream

local function check_stream(self, name)
  waiting.check_receiver(self, "from", "DuplexStream", name)
end

-- the primitives of reading and writing -----------------------------------------------------------

local function closed(self, op)
  return self.done and waiting.failure("CLOSED", op, "the DuplexStream is closed") or nil
end

local source, sink = { least = 16384, ended = closed }, { ended = closed }

function source.look(self, max)
  local bytes = self.from.bytes
  return bytes:sub(1, math.min(max, bytes.length))
end

function source.try_fill(self, max)
  local pipe, input = self.from, self.input
  local bytes = pipe.bytes
  if bytes.length > 0 then
    wake_writers(pipe) -- first, as in push: behind the bytes nobody would do it again
    local piece = bytes:sub(1, math.min(max, bytes.length))
    input:append(piece)
    bytes:consume(#piece)
    return true
  elseif pipe.ended or pipe.broken then
    return nil, closed(self, "read")
  end
  return nil, waiting.again
end

function source.drop(self, count)
  local bytes = self.from.bytes
  wake_writers(self.from)
  bytes:consume(math.min(count, bytes.length))
end

local function can_fill(self)
  local pipe = self.from
  return self.done or pipe.bytes.length > 0 or pipe.ended or pipe.broken
end

function source.await(self, op, deadline)
  local ok, err = waiting.until_true(self.from.readers, self, can_fill, op, deadline)
  if not ok then
    return nil, err
  end
  err = closed(self, op)
  return not err or nil, err
end

function source.fill(self, max, op, deadline)
  local ok, err = source.await(self, op, deadline)
  if not ok then
    return nil, err
  end
  return source.try_fill(self, max)
end

local function refusal(self, op)
  return closed(self, op) or (self.to.broken or self.to.ended) and waiting.failure("EPIPE", op) or nil
end

function sink.push(self, bytes, from, op)
  local pipe = self.to
  local into = pipe.bytes
  local room = pipe.capacity - into.length
  local piece = bytes:sub(from, from + room - 1)
  local last, joined = into:seam(piece)
  if room > 0 then
    wake(pipe.readers) -- who run later; once the bytes are there nothing may fail any more, for want of memory
  end
  local err = refusal(self, op) -- not before: a finalizer may just have closed either stream
  if err then
    return nil, err
  elseif room == 0 then
    return nil, waiting.again
  end
  into:put(piece, last, joined)
  return #piece
end

function sink.prepare(self)
  local pipe = self.to
  pipe.bytes:join()
  pipe.bytes:reserve()
  wake(pipe.readers)
end

function sink.put(self, bytes, op)
  local pipe = self.to
  if self.done or pipe.broken or pipe.ended then
    return nil, refusal(self, op)
  end
  pipe.bytes:keep(bytes)
  return #bytes
end

local function can_push(self)
  local pipe = self.to
  return self.done or pipe.broken or pipe.ended or pipe.bytes.length < pipe.capacity
end

function sink.room(self, op, deadline)
  local ok, err = waiting.until_true(self.to.writers, self, can_push, op, deadline)
  if not ok then
    return nil, err
  end
  err = refusal(self, op)
  if err then
    return nil, err
  end
  return self.to.capacity - self.to.bytes.length
end

local function is_done(self)
  return self.done
end

function sink.await_close(self)
  local _, err = waiting.until_true(self.closing, self, is_done, "copy")
  return nil, err or closed(self, "copy")
end

reader.extend(DuplexStream, source)
writer.extend(DuplexStream, sink)

-- writable() ⏳ → true: a write would not wait | nil, err
function DuplexStream:writable()
  check_stream(self, "writable")
  waiting.begin("writable")
  local deadline = waiting.deadline(self.write_seconds)
  local ok, err = waiting.until_true(self.to.writers, self, can_push, "writable", deadline)
  if not ok then
    return nil, err
  end
  err = closed(self, "writable")
  if err then
    return nil, err
  end
  return true
end

-- the end -----------------------------------------------------------------------------------------

local directions = { read = true, write = true, both = true }

-- shutdown([how = "write"]) → stream: "write" is the end of what the peer reads, after "read" the peer's writes fail.
function DuplexStream:shutdown(how)
  check_stream(self, "shutdown")
  if how == nil then
    how = "write"
  end
  check.that(directions[how], 1, "shutdown",
    ('"read", "write" or "both" expected, got %s'):format(tostring(how)))
  local err = closed(self, "shutdown")
  if err then
    return nil, err
  end
  if how ~= "read" then
    self.to.ended = true
    wake_both(self.to)
  end
  if how ~= "write" then
    self.from.broken = true
    wake_both(self.from)
  end
  return self
end

-- close(): the peer reads what was written and then the end; its writes fail. Collected, a stream closes too.
function DuplexStream:close()
  check_stream(self, "close")
  if self.done then
    return
  end
  local nothing, no_input = Bytes.new(), Bytes.new() -- a read that this is in the middle of keeps what it had
  self.done = true
  self.to.ended, self.from.broken = true, true
  self.from.bytes, self.input = nothing, no_input
  wake_both(self.to)
  wake_both(self.from)
  wake(self.closing)
  self.turn:close()
end

DuplexStream.__close = DuplexStream.close
DuplexStream.__gc = DuplexStream.close

function DuplexStream:closed()
  check_stream(self, "closed")
  return self.done
end

function DuplexStream:__tostring()
  if self.done then
    return "DuplexStream (closed)"
  end
  return ("DuplexStream (%d to read, %d of %d unread by the peer)"):format(self.input.length + self.from.bytes.length,
    self.to.bytes.length, self.to.capacity)
end

-- timeouts ----------------------------------------------------------------------------------------

local function setter(name, reading, writing)
  return function(self, seconds)
    check_stream(self, name)
    seconds = waiting.kept_seconds(seconds, name)
    local err = closed(self, name)
    if err then
      return nil, err
    end
    if reading then
      self.read_seconds = seconds
    end
    if writing then
      self.write_seconds = seconds
    end
    return self
  end
end

local function getter(name, field)
  return function(self)
    check_stream(self, name)
    local err = closed(self, name)
    if err then
      return nil, err
    end
    return self[field]
  end
end

DuplexStream.set_timeout = setter("set_timeout", true, true)
DuplexStream.set_read_timeout = setter("set_read_timeout", true, false)
DuplexStream.set_write_timeout = setter("set_write_timeout", false, true)
DuplexStream.timeout = getter("timeout", "read_seconds")
DuplexStream.read_timeout = getter("read_timeout", "read_seconds")
DuplexStream.write_timeout = getter("write_timeout", "write_seconds")

-- halves ------------------------------------------------------------------------------------------

-- A half has some of the stream's methods and nothing of its own; `field` tells it from the other half.
local function half_class(name, field, ...)
  local class = { __name = name }
  class.__index = class
  for _, methods in ipairs { ... } do
    for method in pairs(methods) do
      class[method] = function(self, ...)
        waiting.check_receiver(self, field, name, method)
        return self.whole[method](self.whole, ...)
      end
    end
  end
  return class
end

-- A method that answers with its object: here the half.
local function answer_itself(class, method)
  local of_stream = class[method]
  class[method] = function(self, argument)
    local ok, err = of_stream(self, argument)
    if not ok then
      return nil, err
    end
    return self
  end
end

local ReadHalf = half_class("DuplexReadHalf", "reading", reader.methods,
  { closed = true, set_read_timeout = true, read_timeout = true })
local WriteHalf = half_class("DuplexWriteHalf", "writing", writer.methods,
  { closed = true, set_write_timeout = true, write_timeout = true, writable = true })

answer_itself(ReadHalf, "set_read_timeout")
answer_itself(WriteHalf, "set_write_timeout")

function WriteHalf:shutdown(how)
  waiting.check_receiver(self, "writing", "DuplexWriteHalf", "shutdown")
  check.that(how == nil or how == "write", 1, "shutdown",
    '"write" expected: the writing half cannot shut down reading')
  local ok, err = self.whole:shutdown "write"
  if not ok then
    return nil, err
  end
  return self
end

-- split() → reading half, writing half; the stream stays valid.
function DuplexStream:split()
  check_stream(self, "split")
  local err = closed(self, "split")
  if err then
    return nil, err
  end
  return setmetatable({ whole = self, reading = true }, ReadHalf),
    setmetatable({ whole = self, writing = true }, WriteHalf)
end

local function new_stream(from, to)
  local self = writer.init(reader.init { from = from, to = to, done = false, closing = Waiters.new() })
  to.turn = self.turn
  return setmetatable(self, DuplexStream)
end

-- duplex(capacity) → two streams
function core.duplex(capacity)
  capacity = check.integer(capacity, 1, nil, 1, "duplex", "capacity")
  local there, back = new_pipe(capacity), new_pipe(capacity)
  return new_stream(there, back), new_stream(back, there)
end

core.DuplexStream = DuplexStream

return core.duplex
