-- peek and try_peek without a max showed up to 65536 bytes of a stream in memory, of take and of chain, whatever
-- `buffer_size` said; a socket's and a pipe's show no more than that.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a peek that names no max", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function pipe()
    local sender, receiver = tcpnet.pipe()
    return sender, receiver
  end

  local function duplex()
    return tcpnet.duplex(100)
  end

  for name, new in pairs {
    stream = tcp.pair,
    pipe = pipe,
    duplex = duplex,
    take = function()
      local a, b = duplex()
      return a, tcpnet.io.take(b, 50), tcp.guard(a, b)
    end,
    chain = function()
      local a, b = duplex()
      return a, tcpnet.io.chain(b, b), tcp.guard(a, b)
    end,
  } do
    it("shows no more than buffer_size: " .. name, tcp.in_task(function()
      local size = tcpnet.configure().buffer_size
      local _restored <close> = setmetatable({}, {
        __close = function()
          tcpnet.configure { buffer_size = size }
        end,
      })
      local writer, reader, guard = new()
      local _guard <close> = guard or tcp.guard(writer, reader)
      tcpnet.configure { buffer_size = 5 }
      writer:write(("x"):rep(20))
      assert.equal(("x"):rep(20), reader:peek(100))
      assert.equal("xxxxx", reader:peek())
      assert.equal("xxxxx", reader:try_peek())
    end))
  end
end)
