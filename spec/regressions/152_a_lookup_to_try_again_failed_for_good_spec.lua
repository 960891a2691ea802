-- A lookup that failed for a lack that passes (EAI_SYSTEM with EAGAIN: no free port, say) was told as a permanent
-- failure of the name, EAI_FAIL.
local program = require "spec.support.program"
local slow_lookup = require "spec.support.slow_lookup"

local script = [[
  local tcpnet = require "tcpnet"
  for _, name in ipairs { "again", "full", "odd" } do
    print(select(2, tcpnet.lookup_host(name, 80)).code)
  end
]]

describe("a lookup that the system could not do for now", function()
  it("is one to try again", function()
    local folder <close> = program.folder()
    local library = slow_lookup.library(folder)
    if not library then
      return pending "no C compiler"
    end
    local status, output = slow_lookup.run(folder, library, script)
    assert.equal("EAI_AGAIN\nEMFILE\nEAI_FAIL\n", output)
    assert.equal(0, status)
  end)
end)
