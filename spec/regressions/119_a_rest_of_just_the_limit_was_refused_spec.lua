-- read_until(delimiter, max) refused max bytes without a delimiter before the end of the stream, which are not past
-- max: read_line gives a last line that is so long.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("read_until of what is as long as it may be", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function limit(bytes, err)
    assert.is_nil(bytes)
    assert.equal("LIMIT", err.code)
  end

  local function each(fn)
    for name, pair in pairs {
      TCP = tcp.pair,
      ["a Unix stream"] = tcp.unix_pair,
      memory = function()
        local a, b = tcpnet.duplex(100)
        return a, b, tcp.guard(a, b)
      end,
    } do
      it(name, tcp.in_task(function()
        local a, b, _guard <close> = pair()
        fn(a, b)
      end))
    end
  end

  describe("gives the rest before the end:", function()
    each(function(a, b)
      a:write "12345"
      a:shutdown()
      limit(b:read_until("|", 4))
      assert.equal("12345", b:read_until("|", 5))
      assert.same({ n = 1 }, table.pack(b:read_until("|", 5)))
    end)
  end)

  describe("waits for the end, and has taken nothing where something else comes:", function()
    each(function(a, b)
      a:write "12345"
      local reader = tcpnet.spawn(function() return b:read_until("|", 5) end)
      tcpnet.sleep(0.01)
      assert.equal("waiting", reader:status())
      a:write "|"
      local _, bytes, err = reader:join()
      limit(bytes, err)
      assert.equal("12345|", b:read_until("|", 6))
      a:write "67890"
      reader = tcpnet.spawn(function() return b:read_until("||", 5) end)
      tcpnet.sleep(0.01)
      a:shutdown()
      assert.same({ true, "67890" }, { reader:join() })
    end)
  end)

  describe("counts the delimiter:", function()
    each(function(a, b)
      a:write "1234||5678||"
      limit(b:read_until("||", 5))
      assert.equal("1234||", b:read_until("||", 6))
      limit(b:read_until("||", 5))
      limit(b:read_until("||", 1))
      assert.equal("5678||", b:read_until("||"))
    end)
  end)
end)
