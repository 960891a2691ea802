-- What the codecs share: the bytes of a frame to write.
local core = require "tcpnet.core"
local check = require "tcpnet.check"

local encoding = {}

function encoding.bytes(frame, name)
  local kind = core.private.kind(frame)
  check.that(type(frame) == "string" or type(frame) == "number" or kind == "Buffer", 1, name,
    ("frame: string, number or Buffer expected, got %s"):format(kind or type(frame)))
  return tostring(frame)
end

return encoding
