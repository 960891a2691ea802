-- Lua may call a finalizer wherever a call makes a value, and the finalizer may do what it likes: close the object that
-- the call is about, use it, or have it become something else (F5, F13). Every method, by finalizer_walk.lua.
local program = require "spec.support.program"

describe("a finalizer in the middle of any method", function()
  it("crashes nothing, and leaves nothing", function()
    local places = os.getenv "TCPNET_TORTURE" and 1000 or program.sanitized and 4 or 1
    local _, output = program.shell(("timeout 200 %s spec/support/finalizer_walk.lua %d"):format(
      program.quote(program.interpreter), places))
    local cases = tonumber(output:match "^(%d+) cases, 0 complaints\n$")
    assert(cases, output)
    assert.is_true(cases > 2000, output)
  end)
end)
