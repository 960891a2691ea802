-- Every script of docs/guide.md prints what stands below it.
local file = require "pl.file"
local program = require "spec.support.program"

local guide = file.read "docs/guide.md"

describe("the guide", function()
  local count = 0
  for title, script, expected in guide:gmatch "\n## ([^\n]+)\n.-\n```lua\n(.-)\n```\n\n```\n(.-\n)```" do
    count = count + 1
    it(("prints what it says: %s"):format(title), function()
      local folder <close> = program.folder()
      local path = program.write(folder.path .. "/guide.lua", script)
      local code, output = program.shell(program.command(path))
      output = output:gsub(folder.path:gsub("%p", "%%%0") .. "/", ""):gsub("127%.0%.0%.1:%d%d+", "127.0.0.1:PORT")
      assert.equal(expected, output)
      assert.equal(0, code)
    end)
  end

  it("has a script and its output in every section", function()
    local sections = select(2, guide:gsub("\n## ", ""))
    assert.is_true(count > 5)
    assert.equal(sections, count)
  end)
end)
