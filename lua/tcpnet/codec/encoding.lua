-- What the codecs share: the bytes of a frame to write.
local check = require "tcpnet.check"

local encoding = {}

function encoding.bytes(frame, name)
  return check.bytes(frame, 1, name, "frame: string, number or Buffer")
end

return encoding
