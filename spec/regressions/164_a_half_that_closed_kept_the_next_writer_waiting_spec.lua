-- A half that closed while it wrote gave its turn to nobody: the writes that were in line behind it, the stream's own,
-- waited until some later write had ended.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

describe("a write half that closes while it writes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- Its write waits; behind it in line are one of its own, and those of the stream and of another half.
  local function close_one(stream, peer)
    local _, half = stream:split()
    local _, other = stream:split()
    local _halves <close> = tcp.guard(half, other)
    local writes = {}
    for i, row in ipairs {
      { half, ("x"):rep(20000000) }, { half, "never" }, { stream, "second" }, { other, "third" },
    } do
      writes[i] = tcpnet.spawn(function() return row[1]:write(row[2]) end)
      tcpnet.sleep(0.005)
    end
    half:close()
    local _, nothing, err, sent = writes[1]:join(5)
    assert.is_nil(nothing)
    assert.equal("CLOSED", err.code)
    assert.equal("CLOSED", select(3, writes[2]:join(5)).code)
    local reader <close> = tcpnet.spawn(function()
      assert(#peer:read_exact(sent) == sent)
      return peer:read_exact(11)
    end)
    assert.same({ true, 6 }, { writes[3]:join(5) })
    assert.same({ true, 5 }, { writes[4]:join(5) })
    assert.same({ true, "secondthird" }, { reader:join(5) })
  end

  for name, pair in pairs { TCP = tcp.pair, ["a Unix stream"] = tcp.unix_pair } do
    it("gives its turn to the next, of " .. name, in_task(function()
      local a, b, _guard <close> = pair()
      close_one(a, b)
    end))
  end
end)
