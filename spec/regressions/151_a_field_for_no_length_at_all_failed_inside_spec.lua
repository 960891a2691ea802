-- Where the adjustment left no length that the field could hold, not even that of an empty frame, send raised what
-- string.pack said, in a file of the library.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("an adjustment that leaves no frame", function()
  local function codec(width, adjustment)
    return tcpnet.codec.length_delimited { length_field_length = width, length_adjustment = adjustment }
  end

  for width, most in pairs { 0xff, 0xffff, 0xffffff, 0xffffffff } do
    it(("is refused: a field of %d"):format(width), tcp.in_task(function()
      local ok, problem = pcall(function()
        local _codec = codec(width, -most - 1)
      end)
      assert.is_false(ok)
      assert.matches("151_.*: bad argument #1 to 'length_delimited'", problem)
      assert.matches(("length_adjustment: integer from %d to "):format(-most), problem, 1, true)
      local a, b = tcpnet.duplex(100)
      local last = codec(width, -most)
      local writer = last:framed_write(a)
      assert.is_true(writer:send "")
      assert.equal("", last:framed_read(b):next())
      assert.has_error(function() writer:send "x" end)
    end))
  end
end)
