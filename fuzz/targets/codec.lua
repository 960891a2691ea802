-- Codecs: frames of bytes that come in pieces are those of the same bytes read at once by a second reading of the
-- manual; what was encoded is decoded again.
local tcpnet = require "tcpnet"
local Choices = require "fuzz.choices"

local late_error = select(2, tcpnet.timeout(0, tcpnet.sleep, 1))

-- Gives the bytes in pieces, and now and then a timeout, which loses nothing.
local function reader_of(bytes, choices)
  local reader = { at = 0 }
  local late
  function reader:read()
    if self.at >= #bytes then
      return nil
    end
    local step = choices.byte()
    if step >= 250 and not late then
      late = true
      return nil, late_error
    end
    late = false
    local piece = bytes:sub(self.at + 1, self.at + 1 + (step > 200 and step * 50 or step % 8))
    self.at = self.at + #piece
    return piece
  end
  return reader
end

local function writer_of(choices)
  local writer = { parts = {} }
  function writer:write_some(bytes, from)
    local count = math.min(#bytes - (from or 1) + 1, 1 + choices.byte() % 16)
    self.parts[#self.parts + 1] = bytes:sub(from or 1, (from or 1) + count - 1)
    return count
  end
  return writer
end

-- The models: model(bytes) → iterator of frame | nil, code; nil alone at the end.

local function delimited(delimiters, max, trim, nothing)
  return function(bytes)
    local at = 1
    return function()
      if at > #bytes then
        return nil
      end
      local last = at
      while last <= #bytes and not delimiters:find(bytes:sub(last, last), 1, true) do
        last = last + 1
      end
      local frame, ended = bytes:sub(at, last - 1), last > #bytes
      if #frame > max then
        at = last + 1
        return nil, "LIMIT"
      end
      if ended and frame == nothing then
        return nil
      end
      at = last + 1
      return trim(frame)
    end
  end
end

local function length_delimited(opts)
  local width, offset = opts.length_field_length, opts.length_field_offset
  local skipped = opts.num_skip or offset + width
  local head = math.max(offset + width, skipped)
  local field = width == 8 and math.maxinteger or (1 << 8 * width) - 1
  local most = field > math.maxinteger - math.max(opts.length_adjustment, 0) and math.maxinteger
    or field + opts.length_adjustment
  local max = math.min(opts.max_frame_length, math.max(most, 0))
  return function(bytes)
    local at = 0
    local function next_frame()
      local left = #bytes - at
      if left == 0 then
        return nil
      elseif left < head then
        return nil, "EOF"
      end
      local length = 0
      for i = 1, width do
        local byte = bytes:byte(at + offset + i)
        length = opts.endian == "big" and length << 8 | byte or length | byte << 8 * (i - 1)
      end
      local size = length < 0 and math.maxinteger or length
      local adjusted = size > math.maxinteger - math.max(opts.length_adjustment, 0) and math.maxinteger
        or size + opts.length_adjustment
      if length < 0 or adjusted > max then
        return nil, "LIMIT", adjusted
      elseif adjusted < 0 then
        return nil, "EINVAL", 0
      elseif left < skipped + adjusted then
        return nil, "EOF"
      end
      local frame = bytes:sub(at + skipped + 1, at + skipped + adjusted)
      at = at + skipped + adjusted
      return frame
    end
    local function skip(refused)
      local whole = refused > #bytes and #bytes + 1 or math.max(skipped + refused, head)
      if whole > #bytes - at then
        at = #bytes
        return true -- the end is inside the frame, for good
      end
      at = at + whole
    end
    return next_frame, skip
  end
end

local MOST = 200 -- a frame may be empty and stay where it is

-- Every frame, and every failure, is the model's.
local function check_decoding(codec, model, bytes, choices)
  local framed = codec:framed_read(reader_of(bytes, choices))
  local expected, skip = model(bytes)
  local lost = false
  for _ = 1, MOST do
    local frame, code, refused = expected()
    if lost then
      frame, code, refused = nil, "EOF", nil
    end
    local got, err
    repeat
      got, err = framed:next()
    until not (err and err.code == "TIMEOUT")
    assert(got == frame, "another frame")
    assert((err and err.code) == code, "another failure")
    if not frame and not code then
      return
    elseif refused then
      got, err = framed:next()
      assert(got == nil and err.code == code, "a refused frame does not stay")
      assert(framed:skip() == framed)
      lost = skip(refused)
    elseif code == "EOF" then
      got, err = framed:next()
      assert(got == nil and err.code == "EOF", "the end inside a frame does not last")
      return
    end
  end
end

local function check_encoding(codec, frames, choices)
  local writer = writer_of(choices)
  local framer = codec:framed_write(writer)
  for _, frame in ipairs(frames) do
    if choices.byte() % 2 == 0 then
      assert(framer:feed(frame))
    else
      assert(framer:send(frame))
      assert(framer:write_buffer() == "", "a frame that was sent is there still")
    end
  end
  assert(framer:flush() and framer:write_buffer() == "")
  local framed = codec:framed_read(reader_of(table.concat(writer.parts), choices))
  for _, frame in ipairs(frames) do
    local got, err
    repeat
      got, err = framed:next()
    until not err or err.code ~= "TIMEOUT"
    assert(got == frame, err or "another frame than was sent")
  end
  local got, err
  repeat
    got, err = framed:next()
  until not err or err.code ~= "TIMEOUT"
  assert(got == nil and err == nil and framed:read_buffer() == "", "more than was sent")
end

local function identity(frame)
  return frame
end

local function without_return(line)
  return (line:gsub("\r$", ""))
end

local function some_frames(choices, letters, least, most)
  local frames = {}
  for i = 1, choices.byte() % 6 do
    frames[i] = choices:bytes(choices:integer(least, most), letters)
  end
  return frames
end

local kinds = {}

function kinds.lines(choices)
  local max = choices:pick { false, 1, 2, 5, 100 } or nil
  local codec = tcpnet.codec.lines(max and { max_length = max })
  check_encoding(tcpnet.codec.lines(), some_frames(choices, "abc,\0", 1, 9), choices)
  return codec, delimited("\n", max or math.maxinteger, without_return, "\r")
end

function kinds.any_delimiter(choices)
  local delimiters = choices:pick { ",;\r\n", "\n", "\0", "%", "]^-", "^", "ab", "\xff\n" }
  local max = choices:pick { false, 1, 3, 100 } or nil
  local last = delimiters:sub(-1)
  local codec = tcpnet.codec.any_delimiter { delimiters = delimiters, max_length = max, sequence_writer = last }
  check_encoding(tcpnet.codec.any_delimiter { delimiters = delimiters, sequence_writer = last },
    some_frames(choices, "xyz ", 1, 9), choices)
  return codec, delimited(delimiters, max or math.maxinteger, identity)
end

function kinds.length_delimited(choices)
  local opts = {
    length_field_length = choices:integer(1, 8),
    length_field_offset = choices:pick { 0, 0, 1, 3 },
    length_adjustment = choices:pick { 0, 0, -1, -4, 2, 1 << 40, -(1 << 40) },
    num_skip = choices:pick { false, false, 0, 1, 4, 12 } or nil,
    endian = choices:pick { "big", "little" },
    max_frame_length = choices:pick { 8 << 20, 0, 4, 100, math.maxinteger },
  }
  if opts.length_field_length < 6 then -- no frame would have a length below that, and the codec is refused
    opts.length_adjustment = math.max(opts.length_adjustment, 1 - (1 << 8 * opts.length_field_length))
  end
  local adjustment = choices:pick { 0, -3, 2 }
  check_encoding(tcpnet.codec.length_delimited { length_field_length = opts.length_field_length, endian = opts.endian,
    length_adjustment = adjustment }, some_frames(choices, nil, math.max(adjustment, 0), 20), choices)
  return tcpnet.codec.length_delimited(opts), length_delimited(opts)
end

local names = { "lines", "any_delimiter", "length_delimited" }

return function(text)
  local choices = Choices.of(text:sub(1, #text // 2)) -- how the bytes are cut, and what for
  local codec, model = kinds[choices:pick(names)](choices)
  check_decoding(codec, model, text:sub(#text // 2 + 1), choices)
end
