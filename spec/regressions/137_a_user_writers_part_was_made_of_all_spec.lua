-- A frame for a writer that a program wrote was made once more, all that was left of it, for each part that the writer
-- took: a frame twice as long cost four times as much.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a frame for a user's writer", function()
  it("costs in proportion to its length, however little is taken at once", tcp.in_task(function()
    local given, calls, taken = 0, 0, {}
    local writer = {
      write_some = function(_, bytes)
        local count = math.min(#bytes, 4096)
        given, calls = given + #bytes, calls + 1
        taken[#taken + 1] = bytes:sub(1, count)
        return count
      end,
    }
    local frame = ("0123456789abcde"):rep(140000)
    local framer = tcpnet.codec.length_delimited():framed_write(writer)
    assert.is_true(framer:send(frame))
    assert.is_true(table.concat(taken) == (">s4"):pack(frame))
    assert.is_true(given <= calls * 65536, ("%d bytes in %d calls"):format(given, calls))
  end))

  it("is refused a count of more than it was given", tcp.in_task(function()
    local framer = tcpnet.codec.bytes():framed_write { write_some = function(_, bytes) return #bytes + 1 end }
    local ok, problem = pcall(framer.send, framer, ("x"):rep(100000))
    assert.is_false(ok)
    assert.matches("count from 1 to 65536", problem, 1, true)
    assert.equal(100000, #framer:write_buffer())
  end))
end)
