-- A lookup that failed for a lack that passes (EAI_SYSTEM with EAGAIN: no free port, say) was told as a permanent
-- failure of the name, EAI_FAIL.
local slow_lookup = require "spec.support.slow_lookup"

local script = [[
  local tcpnet = require "tcpnet"
  for _, name in ipairs { "again", "full", "odd" } do
    print(select(2, tcpnet.lookup_host(name, 80)).code)
  end
]]

describe("a lookup that the system could not do for now", function()
  it("is one to try again", function()
    local outcome = slow_lookup.outcome(script)
    if not outcome then
      return pending "no C compiler"
    end
    assert.same({ 0, "EAI_AGAIN\nEMFILE\nEAI_FAIL\n" }, outcome)
  end)
end)
