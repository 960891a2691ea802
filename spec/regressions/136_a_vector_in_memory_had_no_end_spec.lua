-- write_vectored and try_write_vectored of a stream in memory took every item of a list at once, where a stream of the
-- system takes the first 64: what counts on that was only so far with the one of them.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a list to write", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, new in pairs {
    stream = tcp.unix_pair,
    duplex = function()
      local a, b = tcpnet.duplex(1000)
      return a, b, tcp.guard(a, b)
    end,
  } do
    it("goes out 64 items at a time: " .. name, tcp.in_task(function()
      local a, b, _guard <close> = new()
      local list = {}
      for i = 1, 100 do
        list[i] = i % 2 == 0 and tcpnet.Buffer.new(1):append "b" or "a"
      end
      assert.equal(64, a:write_vectored(list))
      assert.equal(64, a:try_write_vectored(list))
      assert.equal(("ab"):rep(64), b:read_exact(128))
      for i = 1, 64 do
        list[i] = ""
      end
      assert.equal(0, a:write_vectored(list))
      list[100] = {}
      assert.has_error(function() a:write_vectored(list) end)
    end))
  end
end)
