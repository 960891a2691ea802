-- The model of one direction of a connection: what was written into it, and what may come out of it at a given moment.
-- Every write is a segment of its own, whose first byte no other segment nearby has and which is not among the bytes
-- behind the first: so a segment that was cut short, by a cancel for one, shows where it was cut. Writes that overlap
-- in time may come in any order; one that began after another had ended comes behind it.
local lanes = {}

local random = math.random
local MARKS = 128 -- first bytes, from 128 on; the rest are below

local block = {}
do
  local state = 20240229
  for i = 1, 1 << 18 do
    state = (state * 1103515245 + 12345) & 0x7fffffff
    local byte = state >> 16 & 127
    block[i] = string.char(byte == 13 and 82 or byte) -- a line must not end with a \r of its own
  end
  block = table.concat(block)
end

local Lane = {}
Lane.__index = Lane

-- new(name) → lane; these fields are set by whoever does the thing that they tell of:
--   finishing  the writing side ends, or has ended, in order: there may be an end of stream
--   torn       one of the sides is, or is about to be, closed: a reset is possible, and the rest may be lost
--   deaf       the reader does not want to read any more: an end of stream at any time
--   relayed    somebody carries the bytes in between, who cannot pass a reset on
function lanes.new(name)
  local lane = { name = name, segments = {}, at = 0, offset = 0, first = 1, count = 0, clock = 0, arrived_bytes = 0 }
  return setmetatable(lane, Lane)
end

local Segment = {}
Segment.__index = Segment

-- segment(length) → segment with the bytes of the next write; until it is told better any prefix of them may arrive.
function Lane:segment(length)
  self.count, self.clock = self.count + 1, self.clock + 1
  local from = random(#block)
  local body = block:sub(from, from + length - 2)
  while #body < length - 1 do
    body = body .. block:sub(1, length - 1 - #body)
  end
  local segment = setmetatable({
    lane = self,
    index = self.count,
    bytes = length == 0 and "" or string.char(128 + self.count % MARKS) .. body,
    least = 0,
    most = length,
    arrived = 0,
    began = self.clock,
  }, Segment)
  self.segments[self.count] = segment
  return segment
end

function Segment:settle()
  self.lane.clock = self.lane.clock + 1
  self.settled, self.ended = true, self.lane.clock
end

-- So many bytes of it went out: not one less and not one more.
function Segment:sent(count)
  assert(count <= #self.bytes, "more was sent than there was")
  assert(self.arrived <= count and (not self.passed or self.arrived == count),
    self.lane:describe(("%d bytes of write %d arrived, which says it sent %d"):format(self.arrived, self.index, count)))
  self.least, self.most = count, count
  self:settle()
end

-- Nobody was told how many.
function Segment:unknown()
  self:settle()
end

-- How long a prefix they share.
local function common(a, b)
  local low, high = 0, math.min(#a, #b)
  while low < high do
    local middle = (low + high + 1) // 2
    if a:sub(low + 1, middle) == b:sub(low + 1, middle) then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

-- The segment that begins with that byte, of those that have not arrived and are not in `passed`; or nil, and the one
-- that must come before it.
function Lane:next_segment(byte, passed)
  local earlier
  for i = self.first, self.count do
    local segment = self.segments[i]
    if not segment.passed and not passed[segment] then
      if segment.most > 0 and segment.bytes:byte() == byte then
        if earlier and earlier.ended < segment.began then
          return nil, earlier
        end
        return segment
      elseif segment.ended and segment.least > 0 and not (earlier and earlier.ended < segment.ended) then
        earlier = segment
      end
    end
  end
end

-- match(bytes) → segment and offset behind them, how much arrived of those segments that end before; or nil, and what
-- is wrong.
function Lane:match(bytes)
  local segment, offset, passed = self.segments[self.at], self.offset, {}
  local position = 1
  while position <= #bytes do
    if segment and offset < segment.most then
      local rest = bytes:sub(position, position + segment.most - offset - 1)
      local same = common(rest, segment.bytes:sub(offset + 1, segment.most))
      offset, position = offset + same, position + same
    end
    if position <= #bytes then
      if segment and offset < segment.least then
        return nil, ("of write %d, of %d bytes, %d arrived, then others"):format(segment.index, segment.least, offset)
      end
      if segment then
        passed[segment] = offset
      end
      local following, earlier = self:next_segment(bytes:byte(position), passed)
      if not following then
        return nil, ("byte %d, that nobody wrote here%s"):format(bytes:byte(position),
          earlier and "; write " .. earlier.index .. " must come before it" or "")
      end
      segment, offset = following, 0
    end
  end
  return segment and segment.index or 0, offset, passed
end

function Lane:describe(trouble)
  return ("%s: after %d bytes, in write %d of %d: %s"):format(self.name, self.arrived_bytes, self.at, self.count,
    trouble)
end

-- These bytes were read.
function Lane:arrived(bytes)
  assert(#bytes > 0, "a read of nothing")
  local at, offset, passed = self:match(bytes)
  assert(at, self:describe(offset))
  assert(not self.over, self:describe "bytes behind the end of the stream")
  for segment, count in pairs(passed) do
    segment.arrived, segment.passed = count, true
    if segment.settled then
      segment.bytes = segment.bytes:sub(1, 1) -- it is done with
    end
  end
  while self.first < self.count and self.segments[self.first].passed do
    self.first = self.first + 1
  end
  self.at, self.offset = at, offset
  self.arrived_bytes = self.arrived_bytes + #bytes
  self.segments[at].arrived = offset
end

-- These bytes were seen and not taken. → the segment and the offset behind them, and those that end before, for
-- `ended`.
function Lane:shown(bytes)
  local at, offset, passed = self:match(bytes)
  assert(at, self:describe(offset))
  return at, offset, passed
end

-- A write that has not arrived to the last byte that it must; nil: all have.
function Lane:missing(at, offset, passed)
  at, offset, passed = at or self.at, offset or self.offset, passed or {}
  for i = self.first, self.count do
    local segment = self.segments[i]
    if not segment.passed and not passed[segment] and segment.least > (i == at and offset or 0) then
      return segment
    end
  end
end

-- The end of the stream was read, behind the bytes up to there.
function Lane:ended(at, offset, passed)
  if self.deaf then
    return
  end
  assert(not self.was_reset, self:describe "an end of stream, though it was reset")
  if self.relayed and self.torn then
    return
  end
  assert(self.finishing, self:describe "an end of stream, though nobody ended it")
  local segment = self:missing(at, offset, passed)
  assert(not segment, segment and self:describe(("the end comes before byte %d of write %d"):format(segment.least,
    segment.index)))
  self.over = not at
end

-- A read, or a write, failed with an error that is not of its own making.
function Lane:failed(err, reading)
  assert(self.torn and (err.code == "ECONNRESET" or err.code == "EPIPE" or err.code == "ENOTCONN"),
    self:describe("fails with " .. tostring(err)))
  self.was_reset = self.was_reset or reading and err.code == "ECONNRESET"
end

return lanes
