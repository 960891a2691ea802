-- What the fuzzers found stays mended: every file of fuzz/corpus/ once, and scripts at random that call every method of
-- every class, from the same seeds each time. `./dev fuzz` goes on from there.
local process = require "spec.support.process"
local program = require "spec.support.program"

describe("fuzzing", function()
  it("finds nothing in the files that it keeps: addresses, control data, filters, codecs, reads", function()
    local code, output = program.shell "env -u LD_PRELOAD -u TCPNET_BUILD -u PKG_CONFIG_PATH ./dev fuzz replay"
    assert.equal(0, code, output)
  end)

  it("finds nothing in scripts that call every method", function()
    local code, output = process.run(process.interpreter, "fuzz/script.lua", "--count", "240")
    assert.equal(0, code, output)
    assert.matches("Done 240 scripts", output)
  end)
end)
