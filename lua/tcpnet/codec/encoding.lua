-- What the codecs share: the check of their options and of the frames to encode.
local core = require "tcpnet.core"
local check = require "tcpnet.check"

local encoding = {}

-- The options, which may be missing; an unknown one raises.
function encoding.options(opts, name, ...)
  if opts == nil then
    opts = {}
  end
  check.value(opts, "table", 1, name)
  local known = {}
  for _, key in ipairs { ... } do
    known[key] = true
  end
  for key in pairs(opts) do
    check.that(known[key], 1, name, ("unknown option '%s'"):format(tostring(key)))
  end
  return opts
end

-- The bytes of a frame to write.
function encoding.bytes(frame, name)
  local kind = core.private.kind(frame)
  check.that(type(frame) == "string" or type(frame) == "number" or kind == "Buffer", 1, name,
    ("frame: string, number or Buffer expected, got %s"):format(kind or type(frame)))
  return tostring(frame)
end

return encoding
