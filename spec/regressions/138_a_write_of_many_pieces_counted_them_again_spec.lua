-- A write of many pieces went through those that were gone for every 64 that it sent: twice as many took four times as
-- long.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"

describe("a write of many pieces", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- So many bytes, each a piece, that 100 calls of the kernel take them, and nothing waits.
  local BYTES <const> = 6400
  local NOTHINGS <const> = 150000

  -- The least that it took of several times, with pieces without a byte before the others, or behind.
  local function cost(before)
    local pieces = {}
    for i = 1, BYTES + NOTHINGS do
      local at = before and i - NOTHINGS or i
      pieces[i] = at >= 1 and at <= BYTES and "x" or ""
    end
    local least = math.huge
    for _ = 1, 5 do
      local a, b, _guard <close> = tcp.unix_pair()
      local began = os.clock()
      assert.equal(BYTES, a:write(table.unpack(pieces)))
      least = math.min(least, os.clock() - began)
      assert.equal(BYTES, #b:read_exact(BYTES))
    end
    return least
  end

  it("passes over those that are gone once", tcp.in_task(function()
    local behind, before = cost(false), cost(true)
    assert.is_true(before < 4 * behind, ("%.6f s with them behind, %.6f s before"):format(behind, before))
  end))
end)
