-- A thread has the hook of the one that makes it. Tasks had the one that the main thread had when tcpnet was required,
-- whatever came after: a limit that a host sets after that held for no task, and a hook that was gone slowed all down.
local program = require "spec.support.program"

local script = [[
  local function set()
    debug.sethook(function() end, "", 1000000)
  end
  local unset = debug.sethook
  %s()
  local tcpnet = require "tcpnet"

  local function count()
    return (select(3, debug.gethook()))
  end

  local function show()
    local tasks = {}
    for i = 1, 10 do -- which wait, so that each has a thread of its own
      tasks[i] = tcpnet.spawn(function()
        tcpnet.sleep(0)
        return count()
      end)
    end
    print(tcpnet.run(count), select(2, tasks[10]:join()))
  end

  show()
  tcpnet.spawn(function() -- in the threads that were kept
    for _ = 1, 20 do
      tcpnet.spawn(tcpnet.sleep, 60)
    end
  end)
  tcpnet.sleep(0.01)
  %s()
  show()
  os.exit(0)
]]

describe("the hook of a task", function()
  local function output_of(before, after)
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", script:format(before, after))
    local status, output = program.shell(program.command(path))
    assert.equal(0, status, output)
    return output
  end

  it("is the one that the main thread has by then", function()
    assert.equal("nil\tnil\n1000000\t1000000\n", output_of("unset", "set"))
  end)

  it("is none where that has none any more", function()
    assert.equal("1000000\t1000000\nnil\tnil\n", output_of("set", "unset"))
  end)
end)
