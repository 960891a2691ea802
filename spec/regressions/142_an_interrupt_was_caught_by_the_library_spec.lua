-- SIGINT raises on the main thread with the next function called there, and what drives ran on it: what the library
-- called there (on_task_error, the end of a task, the cancelling at the end of run) was broken off, the interrupt gone.
local program = require "spec.support.program"

local head = [[
  local tcpnet = require "tcpnet"
  local function interrupt()
    io.popen("kill -INT $PPID"):close()
  end
  local closed = false
  local function waits(wait, ...)
    local _close <close> = setmetatable({}, { __close = function() closed = true end })
    wait(...)
  end
  local function run(fn)
    local ok, err = pcall(tcpnet.run, fn)
    assert(not ok and err:find("interrupted!", 1, true), err)
  end
]]

local cases = {
  ["while on_task_error runs"] = [[
    local handled
    tcpnet.configure { on_task_error = function()
      interrupt()
      handled = true
      return true
    end }
    run(function()
      tcpnet.spawn(error, "a failure")
      tcpnet.sleep(5)
    end)
    assert(handled)
  ]],
  ["and the task that computes returns several values"] = [[
    local results
    run(function()
      results = tcpnet.each({ 1 }, 1, function()
        interrupt()
        return 1, 2
      end)
      tcpnet.sleep(5)
    end)
    assert(not results or results[1][1] and results[1][3] == 2)
  ]],
  ["and the task yields to nobody"] = [[
    local err
    run(function()
      local task = tcpnet.spawn(function()
        interrupt()
        coroutine.yield()
      end)
      err = select(2, task:join())
      tcpnet.sleep(5)
    end)
    assert(not err or err:find "coroutine.yield")
  ]],
  ["before the last of all can never wake"] = [[
    run(function()
      tcpnet.spawn(waits, tcpnet.park)
      tcpnet.sleep(0.01)
      interrupt()
      tcpnet.park()
    end)
    assert(closed and tcpnet.metrics().tasks == 0)
  ]],
  ["before the function of run returns"] = [[
    run(function()
      tcpnet.spawn(waits, tcpnet.sleep, 5)
      tcpnet.sleep(0.01)
      interrupt()
    end)
    assert(closed and tcpnet.metrics().tasks == 0)
  ]],
  ["before the function of run fails"] = [[
    run(function()
      tcpnet.spawn(waits, tcpnet.sleep, 5)
      tcpnet.sleep(0.01)
      interrupt()
      error "a failure"
    end)
    assert(closed and tcpnet.metrics().tasks == 0)
  ]],
}

describe("SIGINT that comes", function()
  for name, script in pairs(cases) do
    it(name .. " is raised by run", function()
      local folder <close> = program.folder()
      local path = program.write(folder.path .. "/script.lua", head .. script .. "print 'to the end'")
      local status, output = program.shell(program.command(path))
      assert.equal(0, status, output)
      assert.equal("to the end\n", output)
    end)
  end
end)
