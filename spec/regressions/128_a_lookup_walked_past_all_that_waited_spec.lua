-- A lookup that had to wait for a thread went past all that waited before it to find the end of the line: sixteen
-- thousand names at once took seconds of computing, in which nothing else ran.
local slow_lookup = require "spec.support.slow_lookup"

-- The least that so many lookups took to begin, of several times, where few wait before them and where many do.
local script = [[
  local tcpnet = require "tcpnet"
  local CALLS, MANY = 250, 16000

  local function begin(count)
    for _ = 1, count do
      tcpnet.spawn(tcpnet.lookup_host, "slow60000", 80)
    end
    tcpnet.step()
  end

  local function cost()
    local least = math.huge
    for _ = 1, 4 do
      local before = os.clock()
      begin(CALLS)
      least = math.min(least, os.clock() - before)
    end
    return least
  end

  begin(100) -- no thread is left
  collectgarbage "stop"
  local few = cost()
  begin(MANY)
  local many = cost()
  print(many < 5 * few and "no longer" or ("%.6f s, then %.6f s"):format(few, many))
  os.exit(0)
]]

describe("lookups that wait for a thread", function()
  it("take no longer to begin where thousands wait before them", function()
    local outcome = slow_lookup.outcome(script)
    if not outcome then
      return pending "no C compiler"
    end
    assert.same({ 0, "no longer\n" }, outcome)
  end)
end)
