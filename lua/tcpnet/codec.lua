-- tcpnet.codec: frames over streams, with the semantics of Tokio's codecs of those names.
local core = require "tcpnet.core"
local codec = require "tcpnet.codec.framed"
local delimited = require "tcpnet.codec.delimited"
local encoding = require "tcpnet.codec.encoding"

local Pieces = {}
Pieces.__index = Pieces

function Pieces.decode(_, bytes)
  return bytes.length > 0 and bytes:take(bytes.length) or nil
end

function Pieces.finish()
  return nil
end

-- bytes() → codec that cuts and marks nothing: a frame is what there is.
local function bytes_codec()
  return codec {
    decoder = function()
      return setmetatable({}, Pieces)
    end,
    encode = encoding.bytes,
  }
end

core.codec = {
  any_delimiter = delimited.any_delimiter,
  bytes = bytes_codec,
  length_delimited = require "tcpnet.codec.length_delimited",
  lines = delimited.lines,
}

return core.codec
