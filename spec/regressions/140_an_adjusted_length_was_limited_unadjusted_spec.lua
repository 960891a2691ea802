-- max_frame_length was held against what the field said, before length_adjustment: a codec whose field counts itself
-- refused frames that it had written, and one with a positive adjustment let longer ones through.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task
local length_delimited = tcpnet.codec.length_delimited

describe("the limit of a frame with an adjusted length", function()
  for _, adjustment in ipairs { -9, -4, -1, 0, 1, 4 } do
    it(("is the same for reading and writing, adjusted by %d"):format(adjustment), in_task(function()
      local most = 5
      local codec = length_delimited { length_adjustment = adjustment, max_frame_length = most }
      local wide = length_delimited { length_adjustment = adjustment }
      local a, b = tcpnet.duplex(1000)
      local writer, reader = wide:framed_write(a), codec:framed_read(b)
      local fits, long = ("x"):rep(most), ("y"):rep(most + 1)
      assert.is_true(codec:framed_write(a):send(fits))
      assert.is_true(writer:send(long))
      assert.is_true(writer:send(fits))
      assert.equal(fits, reader:next())
      fails("LIMIT", reader:next())
      reader:skip()
      assert.equal(fits, reader:next())
    end))
  end

  it("holds for a field that is larger than any integer", in_task(function()
    local a, b = tcpnet.duplex(1000)
    a:write(("\xff"):rep(8) .. "abc")
    fails("LIMIT", length_delimited { length_field_length = 8, length_adjustment = -4,
      max_frame_length = math.maxinteger }:framed_read(b):next())
  end))
end)
