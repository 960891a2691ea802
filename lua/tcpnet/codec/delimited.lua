-- Frames that end with a byte: lines, and what is cut at any of several.
local check = require "tcpnet.check"
local codec = require "tcpnet.codec.framed"
local encoding = require "tcpnet.codec.encoding"
local waiting = require "tcpnet.waiting"

local delimited = {}

local Decoder = {}
Decoder.__index = Decoder

-- A frame that is too long is refused once; the next call discards the rest of it and goes on behind. Nothing changes
-- before what is given out is made: Lua may have no memory for it.
function Decoder:decode(bytes)
  while true do
    local found = bytes:find(self.pattern, 1, self.known)
    local length = (found or bytes.length + 1) - 1
    if self.discarding then
      bytes:consume(found or bytes.length)
      self.known = 0
      if not found then
        return nil
      end
      self.discarding = false
    elseif length > self.max then
      local err = waiting.failure("LIMIT", "next")
      self.known, self.discarding = 0, true
      return nil, err
    elseif found then
      local frame = self.trim(bytes:sub(1, length))
      self.known = 0
      bytes:consume(found)
      return frame
    else
      self.known = bytes.length
      return nil
    end
  end
end

-- What has no delimiter is the last frame.
function Decoder:finish(bytes)
  self.known = 0
  if self.discarding then -- the end is behind the frame that was refused
    self.discarding = false
    return nil
  end
  local rest = bytes:sub(1, bytes.length)
  if rest == "" or rest == self.nothing then
    return nil
  end
  local frame = self.trim(rest)
  bytes:clear()
  return frame
end

local function decoder(pattern, max, trim, nothing)
  return function()
    return setmetatable({
      pattern = pattern, max = max or math.maxinteger, trim = trim, nothing = nothing, known = 0, discarding = false,
    }, Decoder)
  end
end

local function max_length(opts, name)
  return check.optional_integer(opts.max_length, 1, nil, 1, name, "max_length")
end

local function without_return(line)
  return line:byte(-1) == 13 and line:sub(1, -2) or line
end

local function identity(frame)
  return frame
end

-- lines{max_length =} → codec of lines that end with "\n" or "\r\n"; writes "\n". As in Tokio, `max_length` counts the
-- "\r" of an ending; what follows the last ending is a line too, where it is more than a "\r".
function delimited.lines(opts)
  opts = check.options(opts, 1, "lines", "max_length")
  return codec {
    decoder = decoder("\n", max_length(opts, "lines"), without_return, "\r"),
    encode = function(frame, name)
      return encoding.bytes(frame, name) .. "\n"
    end,
  }
end

local function check_bytes(value, key, default)
  if value == nil then
    return default
  end
  check.that(type(value) == "string" and #value > 0, 1, "any_delimiter",
    ("%s: string of at least one byte expected, got %s"):format(key,
      value == "" and "an empty one" or check.shown(value)))
  return value
end

-- any_delimiter{delimiters = ",;\r\n", sequence_writer = ",", max_length =} → codec of what lies between such bytes;
-- writes `sequence_writer` behind each frame.
function delimited.any_delimiter(opts)
  opts = check.options(opts, 1, "any_delimiter", "delimiters", "sequence_writer", "max_length")
  local delimiters = check_bytes(opts.delimiters, "delimiters", ",;\r\n")
  local ending = check_bytes(opts.sequence_writer, "sequence_writer", ",")
  local class = "[" .. delimiters:gsub("%W", "%%%0") .. "]"
  return codec {
    decoder = decoder(class, max_length(opts, "any_delimiter"), identity),
    encode = function(frame, name)
      return encoding.bytes(frame, name) .. ending
    end,
  }
end

return delimited
