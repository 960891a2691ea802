-- The codecs called a user's `read(self, max)` without the max.
local tcpnet = require "tcpnet"

describe("the reader of a codec is told how many bytes it may give,", function()
  it("as a file wants it", function()
    local file = assert(io.tmpfile())
    file:write("one\ntwo\n")
    file:seek "set"
    local framed = tcpnet.codec.lines():framed_read { read = function(_, max) return file:read(max) end }
    assert.same({ "one", "two" }, { framed:next(), (framed:next()) })
    assert.is_nil((framed:next()))
    file:close()
  end)

  it("which is the buffer_size", function()
    local asked
    local reader = { read = function(_, max) asked = max end }
    tcpnet.codec.bytes():framed_read(reader):next()
    assert.equal(65536, asked)
    tcpnet.configure { buffer_size = 100 }
    tcpnet.codec.bytes():framed_read(reader):next()
    tcpnet.configure { buffer_size = 65536 }
    assert.equal(100, asked)
  end)
end)
