-- Where max_frame_length let any frame through, one whose length with what stands before it is no integer any more was
-- given out at once as an empty one, and all that had come went with it.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a frame that ends past the last integer", function()
  for _, adjustment in ipairs { -4, 0, 4 } do
    it(("has not come whole, adjusted by %d"):format(adjustment), tcp.in_task(function()
      for back = 0, 12 do
        local a, b = tcpnet.duplex(100)
        assert(a:write((">I8"):pack(math.maxinteger - back), "bytes"))
        a:close()
        local reader = tcpnet.codec.length_delimited({ length_field_length = 8, length_adjustment = adjustment,
          max_frame_length = math.maxinteger }):framed_read(b)
        tcp.fails("EOF", reader:next())
      end
    end))
  end
end)
