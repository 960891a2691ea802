-- Where libuv finds no descriptors for all that a loop needs it left one of them open for good.
local program = require "spec.support.program"

describe("without the descriptors that it needs", function()
  it("the module cannot be loaded, and says why", function()
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", [[
      local hoard = {}
      repeat
        local file = io.open "/dev/null"
        hoard[#hoard + 1] = file
      until not file
      for _ = 1, 3 do table.remove(hoard):close() end -- enough to find it, not to run
      local ok, message = pcall(require, "tcpnet")
      print(ok, message:match "no memory or no descriptors" or message)
    ]])
    local status, output = program.shell("ulimit -n 40; " .. program.command(path))
    assert.equal("false\tno memory or no descriptors\n", output)
    assert.equal(0, status)
  end)
end)

