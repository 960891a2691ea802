-- Frames behind a field that says how long they are.
local check = require "tcpnet.check"
local codec = require "tcpnet.codec.framed"
local encoding = require "tcpnet.codec.encoding"
local waiting = require "tcpnet.waiting"

local Decoder = {}
Decoder.__index = Decoder

-- As far as one can count; `a` is not negative.
local function sum(a, b)
  return a + math.min(b, math.maxinteger - a)
end

-- The length of the frame behind what is skipped | nil, err, how much of it would have to be skipped
local function frame_length(self, head)
  local length = self.format:unpack(head, self.offset + 1)
  local adjusted = sum(length < 0 and math.maxinteger or length, self.adjustment) -- whose frame has no end anyway
  if length < 0 or adjusted > self.max then
    return nil, waiting.failure("LIMIT", "next"), adjusted
  elseif adjusted < 0 then
    return nil, waiting.failure("EINVAL", "next", "the length of the frame, adjusted, is negative"), 0
  end
  return adjusted
end

-- A frame that is refused stays where it is until skip(), which lets the next calls discard it.
function Decoder:decode(bytes)
  if self.discard > 0 then
    local count = math.min(self.discard, bytes.length)
    bytes:consume(count)
    self.discard = self.discard - count
  end
  if self.discard > 0 or bytes.length < self.head then
    return nil
  end
  local length, err, refused = frame_length(self, bytes:sub(1, self.head))
  if not length then
    self.refused = refused
    return nil, err
  end
  if bytes.length - self.skipped < length then -- their sum may be past all integers
    return nil
  end
  local frame = bytes:sub(self.skipped + 1, self.skipped + length)
  bytes:consume(self.skipped + length) -- not before, for want of memory
  return frame
end

function Decoder:skip()
  if self.refused then
    self.discard = math.max(sum(self.skipped, self.refused), self.head)
    self.refused = nil
  end
end

-- Bytes that are no whole frame are an error.
function Decoder:finish(bytes)
  if bytes.length == 0 and self.discard == 0 then
    return nil
  end
  return nil, waiting.failure("EOF", "next", "the reader ended inside a frame")
end

local function integer(opts, key, default, least, most)
  return check.optional_integer(opts[key], least, most, 1, "length_delimited", key) or default
end

local ENDIAN = { big = ">", little = "<", native = "=" }
local FAR = 1 << 40 -- more than any offset or adjustment is

-- length_delimited{length_field_offset = 0, length_field_length = 4, length_adjustment = 0, num_skip =, endian = "big",
-- max_frame_length = 8 MiB} → codec. A frame begins `num_skip` bytes from where its head does, by default behind the
-- length field, and is as long as the field says plus `length_adjustment`. Writes the field and the frame.
return function(opts)
  opts = check.options(opts, 1, "length_delimited", "length_field_offset", "length_field_length", "length_adjustment",
    "num_skip", "endian", "max_frame_length")
  local width = integer(opts, "length_field_length", 4, 1, 8)
  local offset = integer(opts, "length_field_offset", 0, 0, FAR)
  local field_max = width == 8 and math.maxinteger or (1 << 8 * width) - 1
  local adjustment = integer(opts, "length_adjustment", 0, -math.min(field_max, FAR), FAR) -- or no frame fits
  local skipped = integer(opts, "num_skip", offset + width, 0, FAR)
  local endian = opts.endian == nil and "big" or opts.endian
  check.that(ENDIAN[endian], 1, "length_delimited",
    ("endian: 'big', 'little' or 'native' expected, got %s"):format(tostring(endian)))
  local max = math.min(integer(opts, "max_frame_length", 8 << 20, 0, math.maxinteger), sum(field_max, adjustment))
  local format = ENDIAN[endian] .. "I" .. width
  return codec {
    decoder = function()
      return setmetatable({
        format = format, offset = offset, adjustment = adjustment, skipped = skipped, max = max,
        head = math.max(offset + width, skipped), discard = 0,
      }, Decoder)
    end,
    encode = function(frame, name)
      local bytes = encoding.bytes(frame, name)
      check.that(#bytes <= max, 1, name, ("frame: at most %d bytes expected, got %d"):format(max, #bytes))
      local length = #bytes - adjustment
      check.that(length >= 0, 1, name, ("frame: at least %d bytes expected, got %d"):format(adjustment, #bytes))
      return format:pack(length) .. bytes
    end,
  }
end
