-- A try_ form of what is made of a user's reader without try_read failed in a file of the library, with Lua's words.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("what is made of a reader without try_read", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("says that it is missing", function()
    local own = { read = function() return "ab" end }
    local chain = tcpnet.io.chain(own, own)
    for _, made in ipairs { tcpnet.io.take(own, 9), chain, tcpnet.io.take(chain, 9) } do
      for _, call in ipairs {
        function() made:try_read() end,
        function() made:try_peek() end,
        function() made:try_read_into(tcpnet.Buffer.new(4)) end,
      } do
        local ok, message = pcall(call)
        assert.is_false(ok)
        assert.matches("^[^:]*spec.lua:%d+: the reader's try_read: function expected, got nil$", message)
      end
      assert.equal("ab", made:read())
    end
  end)
end)
