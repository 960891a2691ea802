-- Frames from a reader and to a writer, by a codec.
--
-- A codec is a table with
--   decoder() → object with decode(bytes) → frame | nil: more bytes needed | nil, err; finish(bytes): the same when no
--               more will come, nil: the end; and, where a refused frame stays, skip(). `bytes` is what is not decoded
--               yet (Bytes); a decoder takes from it what it gives out.
--   encode(frame, name) → string; raises on a frame that it cannot encode, naming the method.
local core = require "tcpnet.core"
local adapters = require "tcpnet.adapters"
local Bytes = require "tcpnet.bytes"
local check = require "tcpnet.check"
local Semaphore = require "tcpnet.sync.semaphore"
local waiting = require "tcpnet.waiting"

-- As in Tokio: a feed that finds so much unwritten flushes first.
local BACKPRESSURE = 8192
local CHUNK = 65536 -- for a writer of the user's, which is given a string of what is left each time

local Codec = {}
Codec.__index = Codec
Codec.__name = "Codec"

-- reading -----------------------------------------------------------------------------------------

local FramedRead = {}
FramedRead.__index = FramedRead
FramedRead.__name = "FramedRead"

-- framed_read(reader) → FramedRead
function Codec:framed_read(reader)
  waiting.check_receiver(self, "decoder", "Codec", "framed_read")
  adapters.check_reader(reader, 1, "framed_read")
  return setmetatable({
    reader = reader, decoder = self.decoder(), bytes = Bytes.new(), max = core.configure().buffer_size,
  }, FramedRead)
end

-- next() ⏳ → frame | nil at the end | nil, err. Cancelled or timed out it has lost nothing, and the next call goes on.
function FramedRead:next()
  waiting.check_receiver(self, "decoder", "FramedRead", "next")
  waiting.begin("next")
  local decoder, bytes = self.decoder, self.bytes
  while true do
    local frame, err = decoder:decode(bytes)
    if err then
      return nil, err
    elseif frame then
      return frame
    end
    local count
    count, err = adapters.fetch(bytes, self.reader, "read", self.max)
    if count then
      bytes:join()
    elseif err then
      return nil, err
    else
      return decoder:finish(bytes)
    end
  end
end

-- for frame in framed:iter() do; raises on an error.
function FramedRead:iter()
  waiting.check_receiver(self, "decoder", "FramedRead", "iter")
  return function()
    return waiting.or_raise(self:next())
  end
end

-- skip() → framed: gives up the frame that next() refused, so that it goes on behind it.
function FramedRead:skip()
  waiting.check_receiver(self, "decoder", "FramedRead", "skip")
  if self.decoder.skip then
    self.decoder:skip()
  end
  return self
end

-- read_buffer() → the bytes that were read and belong to no frame given out yet
function FramedRead:read_buffer()
  waiting.check_receiver(self, "decoder", "FramedRead", "read_buffer")
  return self.bytes:sub(1, self.bytes.length)
end

-- writing -----------------------------------------------------------------------------------------

local FramedWrite = {}
FramedWrite.__index = FramedWrite
FramedWrite.__name = "FramedWrite"

-- framed_write(writer) → FramedWrite
function Codec:framed_write(writer)
  waiting.check_receiver(self, "decoder", "Codec", "framed_write")
  check.expected(adapters.can(writer, "write_some"), "writer", writer, 1, "framed_write")
  local turn = Semaphore.new(1)
  return setmetatable({
    writer = writer, foreign = adapters.is_foreign(writer), encode = self.encode, bytes = Bytes.new(),
    turn = turn, its_turn = waiting.turn(turn),
  }, FramedWrite)
end

-- Writes all that is encoded; one task at a time does, and what was written is gone from `bytes` at once.
local function flush(self)
  local bytes = self.bytes
  local ok, err = waiting.permit(self.turn, "flush")
  if not ok then
    return nil, err
  end
  local _turn <close> = self.its_turn
  while bytes.length > 0 do
    local count
    if self.foreign then
      waiting.begin "flush" -- it need not ever wait
      local size = math.min(bytes.length, CHUNK)
      count, err = adapters.taken(size, self.writer:write_some(bytes:sub(1, size)))
    else
      count, err = self.writer:write_some(bytes:joined())
    end
    if not count then
      return nil, err
    end
    bytes:consume(count)
  end
  return true
end

local function feed(self, frame, name)
  local encoded = self.encode(frame, name)
  if self.bytes.length >= BACKPRESSURE then
    local ok, err = flush(self)
    if not ok then
      return nil, err
    end
  end
  self.bytes:append(encoded)
  return true
end

-- feed(frame) ⏳ → true | nil, err: the frame is encoded and kept; where much is kept already, that is flushed before. A
-- frame that was not taken can be fed again.
function FramedWrite:feed(frame)
  waiting.check_receiver(self, "encode", "FramedWrite", "feed")
  waiting.begin("feed")
  return feed(self, frame, "feed")
end

-- flush() ⏳ → true | nil, err: what was not written stays for the next flush.
function FramedWrite:flush()
  waiting.check_receiver(self, "encode", "FramedWrite", "flush")
  waiting.begin("flush")
  return flush(self)
end

-- send(frame) ⏳ → true | nil, err: feed and flush. Where the flush fails or is cancelled, what was not written of the
-- frame stays for the next flush.
function FramedWrite:send(frame)
  waiting.check_receiver(self, "encode", "FramedWrite", "send")
  waiting.begin("send")
  local ok, err = feed(self, frame, "send")
  if not ok then
    return nil, err
  end
  return flush(self)
end

-- write_buffer() → the bytes that are encoded and not written yet
function FramedWrite:write_buffer()
  waiting.check_receiver(self, "encode", "FramedWrite", "write_buffer")
  return self.bytes:sub(1, self.bytes.length)
end

-- close() ⏳ → true | nil, err: flushes and ends the writing; what cannot shut down, a pipe, is closed.
function FramedWrite:close()
  waiting.check_receiver(self, "encode", "FramedWrite", "close")
  waiting.begin("close")
  local ok, err = flush(self)
  if not ok then
    return nil, err
  end
  local writer = self.writer
  if not adapters.can(writer, "shutdown") then
    writer:close()
    return true
  end
  return adapters.ended(writer:shutdown "write")
end

-- codec(fields) → codec
return function(fields)
  return setmetatable(fields, Codec)
end
