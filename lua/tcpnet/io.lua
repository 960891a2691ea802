-- Readers and writers: iterators, the orderly end of a stream, copying both ways.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local outside = require "tcpnet.outside"

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
local listeners = classes_of("TcpListener", "UnixListener")

-- An iterator over one kind of read; it ends at the end of the stream and raises on an error.
local function iterator(name, read)
  return function(self, max)
    check.receiver(self, readers, "TcpStream", name)
    check.optional_size(max, 2, name, "max")
    return function()
      local bytes, err = read(self, max)
      if err then
        error(err, 0)
      end
      return bytes
    end
  end
end

local directions = { r = readers, p = readers, w = writers }

-- async_io(interest, fn) → results of fn, which is called again whenever it answered EAGAIN and the stream is ready.
local function async_io(self, interest, fn)
  local kind = core.private.kind(self)
  check.that(kind and (readers[kind] or writers[kind] or messagers[kind]), 1, "async_io",
    ("TcpStream expected, got %s"):format(kind or type(self)))
  check.that(directions[interest or false], 2, "async_io", 'interest: "r", "w" or "p" expected')
  check.that(directions[interest][kind] or messagers[kind], 2, "async_io",
    "interest: the other half has that direction")
  check.value(fn, "function", 3, "async_io")
  while true do
    local outcome = table.pack(self:try_io(interest, fn))
    if not (outcome[1] == nil and core.is_error(outcome[2], "EAGAIN")) then
      return table.unpack(outcome, 1, outcome.n)
    end
    local ready, err = self:ready(interest)
    if not ready then
      return nil, err
    end
  end
end

for name in pairs(readers) do
  local class = core[name]
  class.lines = iterator("lines", class.read_line)
  class.chunks = iterator("chunks", class.read)
end
for _, classes in ipairs { readers, writers, messagers } do
  for name in pairs(classes) do
    core[name].async_io = async_io
  end
end

-- incoming() → iterator of stream, addr; ends when the listener is closed, waits out a lack of descriptors.
local function incoming(self)
  check.receiver(self, listeners, "TcpListener", "incoming")
  return function()
    while true do
      local stream, addr = self:accept()
      if stream then
        return stream, addr
      elseif addr.code == "CLOSED" then
        return nil
      elseif not addr:is("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") then
        error(addr, 0)
      end
    end
  end
end

core.TcpListener.incoming = incoming
core.UnixListener.incoming = incoming

local function read_away(stream)
  while true do
    local bytes, err = stream:read()
    if not bytes then
      return err
    end
  end
end

local function finish(self, seconds)
  check.receiver(self, streams, "TcpStream", "finish")
  check.optional_seconds(seconds, 2, "finish", "timeout")
  local stream <close> = self
  local ok, err = stream:shutdown("write")
  if not ok then
    return nil, err
  end
  if seconds then
    local late
    err, late = core.timeout(seconds, read_away, stream)
    err = late or err
  else
    err = read_away(stream)
  end
  if err then
    return nil, err
  end
  return true
end

-- finish([seconds]) → true: says that no more will be written, reads until the peer says so too, then closes.
core.TcpStream.finish = finish
core.UnixStream.finish = finish

-- What one direction of copy_bidirectional does: bytes, then the end of the stream.
local function forward(from, to)
  local copied, err = core.copy(from, to)
  if not copied then
    return nil, err
  end
  local ok
  ok, err = to:shutdown("write")
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
    if not ok then
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

local run_both_ways = outside(both_ways)

-- copy_bidirectional(a, b) → a_to_b, b_to_a bytes. The end of one direction is passed on, the other goes on; an
-- error of either ends both.
function core.copy_bidirectional(a, b)
  for position, stream in ipairs { a or false, b or false } do
    local kind = core.private.kind(stream)
    check.that(streams[kind or ""], position, "copy_bidirectional",
      ("TcpStream expected, got %s"):format(kind or type(stream)))
  end
  return run_both_ways(a, b)
end
