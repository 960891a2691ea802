-- Where much had been read ahead, each line was looked for past all of it, and a delimiter of several bytes past all
-- that came before each piece: the time grew with the square of the bytes. What is past `max` was looked through too.
local costs = require "spec.support.costs"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local PIECE <const> = ("x"):rep(4095) .. "\n"

-- A stream in memory that has read so many pieces ahead, and the end behind them.
local function ahead(count, piece, last)
  local here, there = tcpnet.duplex(1 << 40)
  for _ = 1, count do
    here:write(piece)
  end
  here:write(last)
  here:shutdown()
  assert.equal("LIMIT", select(2, there:read_to_end(count * #piece + #last - 1)).code)
  return there
end

describe("what was read ahead", function()
  for where, case in pairs {
    ["than the next line"] = { PIECE, function(stream) assert.equal(4095, #stream:read_line()) end },
    ["than a line may be long"] = { ("x"):rep(8192), function(stream)
      assert.equal("LIMIT", select(2, stream:read_line(4096)).code)
    end },
  } do
    it("is searched no further " .. where, tcp.in_task(function()
      local piece, read = table.unpack(case)
      local function cost(count)
        local stream = ahead(count, piece, "")
        return costs.hundreds(function()
          for _ = 1, 50 do
            read(stream)
          end
        end)
      end
      local few, many = cost(100), cost(2000)
      assert.is_true(many < 2 * few, ("%d beside 100 pieces, %d beside 2000"):format(few, many))
    end))
  end

  it("is gone through once for a delimiter of several bytes", tcp.in_task(function()
    local function cost(count)
      local stream = ahead(count, ("x"):rep(8191) .. "\r", "\r\n")
      return costs.hundreds(function()
        assert.equal(8192 * count + 2, #stream:read_until("\r\n", 1 << 30))
      end)
    end
    local few, many = cost(200), cost(1600)
    assert.is_true(many < 16 * few, ("%d for 200 pieces, %d for 1600"):format(few, many))
  end))

  it("of the system's streams is searched no further than a line may be long", tcp.in_task(function()
    local function cost(size)
      local a, b, _guard <close> = tcp.unix_pair()
      tcpnet.spawn(function()
        a:write(("x"):rep(size))
        a:shutdown()
      end)
      assert.equal("LIMIT", select(2, b:read_to_end(size - 1)).code)
      return costs.seconds(function()
        for _ = 1, 100 do
          assert.equal("LIMIT", select(2, b:read_line(4096)).code)
        end
      end)
    end
    local few, many = cost(1 << 17), cost(1 << 25)
    assert.is_true(many < 10 * few, ("%.6f s beside 128 KiB, %.6f s beside 32 MiB"):format(few, many))
  end))

  it("gives what is found where it spans pieces", tcp.in_task(function()
    local here, there = tcpnet.duplex(1 << 40)
    local long = ("a"):rep(5000)
    for _, piece in ipairs { long, long .. "<", "--", ("c"):rep(4990) .. "<-", "-><", "-->end" } do
      here:write(piece)
    end
    here:shutdown()
    assert.equal("LIMIT", select(2, there:read_to_end(15000)).code)
    assert.equal(10000 + 3 + 4990 + 4, #there:read_until("<-->"))
    assert.equal("<-->", there:read_until("<-->"))
    assert.equal("end", there:read_until("<-->"))
  end))
end)
