-- SIGINT that came while a coroutine of the program's own computed was raised by its next wait outside tasks, and then
-- once more where the main thread went on: the hook that was due there had been the driver's too.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  local interrupts = 0
  local function guarded(fn, ...)
    local ok, err = pcall(fn, ...)
    if not ok then
      assert(err:find("interrupted!", 1, true), err)
      interrupts = interrupts + 1
    end
  end
  local wait = coroutine.wrap(function()
    io.popen("kill -INT $PPID"):close()
    guarded(function() %s end)
  end)
  guarded(function()
    wait()
    for i = 1, 100 do math.abs(i) end
  end)
  guarded(math.abs, 1)
  print(interrupts, debug.gethook())
  tcpnet.run(tcpnet.sleep, 0.01)
]]

describe("SIGINT that is due when a coroutine begins to wait", function()
  for name, wait in pairs {
    ["a blocking wait"] = "tcpnet.sleep(5)",
    run = "tcpnet.run(tcpnet.sleep, 5)",
    step = "tcpnet.spawn(tcpnet.sleep, 9) tcpnet.step(5)",
  } do
    it("is raised once, by " .. name, function()
      local status, output = program.lua(script:format(wait))
      assert.same({ 0, "1\tnil\n" }, { status, output })
    end)
  end
end)
