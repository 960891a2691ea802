-- Readers and writers: iterators, the orderly end of a stream, copying from any to any.
local core = require "tcpnet.core"
local adapters = require "tcpnet.adapters"
local check = require "tcpnet.check"
local generic = require "tcpnet.copy"
local outside = require "tcpnet.outside"
local waiting = require "tcpnet.waiting"

require "tcpnet.duplex"

-- The classes by what they are good for.
local function classes_of(...)
  local names = {}
  for _, name in ipairs { ... } do
    names[name] = true
  end
  return names
end

local readers = classes_of("TcpStream", "UnixStream", "ReadHalf", "OwnedReadHalf", "PipeReceiver")
local writers = classes_of("TcpStream", "UnixStream", "WriteHalf", "OwnedWriteHalf", "PipeSender")
local messagers = classes_of("Socket", "UdpSocket", "UnixDatagram")
local streams = classes_of("TcpStream", "UnixStream")

local function timed_out(op, object)
  local peer = object.peer_addr and object:peer_addr()
  return core.private.new_error("TIMEOUT", op, peer and tostring(peer))
end

local directions = { r = readers, p = readers, w = writers }
-- An Interest of one direction serves as its letter.
local letters = { r = core.Interest.READABLE, w = core.Interest.WRITABLE, p = core.Interest.PRIORITY }

local function letter_of(interest)
  for letter, object in pairs(letters) do
    if interest == object then
      return letter
    end
  end
  return interest
end

-- async_io(interest, fn) → results of fn, which is called again whenever it answered EAGAIN and the stream is ready.
local function async_io(self, interest, fn)
  local kind = core.private.kind(self)
  check.expected(kind and (readers[kind] or writers[kind] or messagers[kind]), "TcpStream", self, 1, "async_io")
  interest = letter_of(interest)
  check.that(directions[interest or false], 1, "async_io", 'interest: "r", "w" or "p" expected')
  check.that(directions[interest][kind] or messagers[kind], 1, "async_io",
    "interest: the other half has that direction")
  check.value(fn, "function", 2, "async_io")
  waiting.begin "async_io"
  local timeout = self[interest == "w" and "write_timeout" or "read_timeout"](self)
  local deadline = waiting.deadline(timeout)
  local called
  local function note(...)
    called = true
    return fn(...)
  end
  while true do
    called = false
    local outcome = table.pack(self:try_io(interest, note))
    local failed = outcome[1] == nil and core.is_error(outcome[2])
    if failed and not called and outcome[2].code ~= "EAGAIN" then
      return nil, waiting.renamed("async_io", outcome[2])
    elseif not (failed and outcome[2].code == "EAGAIN") then
      return table.unpack(outcome, 1, outcome.n)
    end
    local ready, err = waiting.limited("async_io", deadline, self.ready, self, interest)
    if not ready then
      return nil, core.is_error(err, "TIMEOUT") and timed_out("async_io", self) or waiting.renamed("async_io", err)
    end
  end
end

for _, classes in ipairs { readers, writers, messagers } do
  for name in pairs(classes) do
    core[name].async_io = async_io
  end
end

local function read_away(stream)
  while true do
    local bytes, err = stream:read()
    if not bytes then
      return err
    end
  end
end

local function is_stream(value)
  local kind = core.private.kind(value)
  return kind and streams[kind] or getmetatable(value) == core.DuplexStream
end

-- Raises, and has done nothing, where another task reads: that would get what is to be read away, or the end.
local function check_alone(stream)
  local ok, problem = pcall(stream.read_exact, stream, 0)
  if not ok then
    check.misuse("finish", (tostring(problem):gsub("^.*read_exact: ", "")))
  end
end

-- finish([seconds]) → true: says that no more will be written, reads until the peer says so too, then closes.
local function finish(self, seconds)
  check.expected(is_stream(self), "TcpStream", self, 1, "finish")
  check.optional_seconds(seconds, 1, "finish", "timeout")
  core.private.enter "finish"
  check_alone(self)
  local stream <close> = self
  local ok, err = stream:shutdown("write")
  if not ok then
    return nil, waiting.renamed("finish", err)
  end
  seconds = seconds or stream:read_timeout() -- for the whole of it, however often something comes
  if seconds then
    local late
    err, late = core.timeout(seconds, read_away, stream)
    err = late and late.op == "timeout" and timed_out("finish", stream) or late or err
  else
    err = read_away(stream)
  end
  if err then
    return nil, waiting.renamed("finish", err)
  end
  return true
end

for _, class in ipairs { core.TcpStream, core.UnixStream, core.DuplexStream } do
  class.finish = finish
end

-- copy --------------------------------------------------------------------------------------------

local copy_descriptors = core.copy
local copy_any = outside(generic.copy, "copy")

-- copy(reader, writer[, max]) → bytes copied, at the end or at `max` | nil, err, copied. In C where both have a
-- descriptor.
function core.copy(from, to, max)
  max = generic.check(from, to, max)
  if readers[core.private.kind(from) or ""] and writers[core.private.kind(to) or ""] then
    return copy_descriptors(from, to, max)
  end
  return copy_any(from, to, max)
end

-- What one direction of copy_bidirectional does: bytes, then the end of the stream.
local function forward(from, to)
  local copied, err = core.copy(from, to)
  if not copied then
    return nil, err
  end
  local ok
  ok, err = adapters.ended(to:shutdown "write")
  if not ok then
    return nil, err
  end
  return copied
end

local function both_ways(a, b)
  local set <close> = core.JoinSet.new()
  local there = set:spawn(forward, a, b)
  set:spawn(forward, b, a)
  local a_to_b, b_to_a
  for _ = 1, 2 do
    local task, ok, copied, err = set:join_next()
    if not task then
      return waiting.named("copy_bidirectional", nil, ok)
    elseif not ok then
      error(copied, 0)
    elseif not copied then
      return nil, core.private.locate(err)
    elseif task == there then
      a_to_b = copied
    else
      b_to_a = copied
    end
  end
  return a_to_b, b_to_a
end

local run_both_ways = outside(both_ways, "copy_bidirectional")

local function check_stream(value, position)
  check.expected(is_stream(value) or adapters.can(value, "read") and adapters.can(value, "shutdown"),
    "TcpStream, UnixStream or DuplexStream", value, position, "copy_bidirectional")
end

-- copy_bidirectional(a, b) → a_to_b, b_to_a bytes. The end of one direction is passed on, the other goes on; an
-- error of either ends both.
function core.copy_bidirectional(a, b)
  check_stream(a, 1)
  check_stream(b, 2)
  check.that(not rawequal(a, b), 2, "copy_bidirectional", "another stream than the first expected")
  return run_both_ways(a, b)
end

core.io = {
  chain = adapters.chain,
  copy = core.copy,
  copy_bidirectional = core.copy_bidirectional,
  duplex = core.duplex,
  take = adapters.take,
}
