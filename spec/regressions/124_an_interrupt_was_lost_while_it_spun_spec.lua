-- SIGINT that came while the reactor polled without sleeping (configure{spin = …}) was not looked at until something
-- else happened: where nothing did, never.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  for name, wait in pairs {
    ["a blocking wait"] = function() listener:accept() end,
    run = function() tcpnet.run(function() listener:accept() end) end,
    step = function() tcpnet.step(math.huge) end,
  } do
    tcpnet.configure { spin = 0 }
    tcpnet.sleep(0.1)
    tcpnet.configure { spin = 30 }
    local accepting = name == "step" and tcpnet.spawn(listener.accept, listener)
    local child <close> = assert(tcpnet.process.spawn { "sh", "-c", "sleep 0.3; kill -INT $PPID" })
    repeat
      local ok = pcall(wait) -- of a step, the first turns are others'
    until not ok
    print(name)
    if accepting then
      accepting:cancel()
    end
  end
]]

describe("SIGINT while the reactor spins", function()
  it("ends what waits at once", function()
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", script)
    local status, output = program.shell(program.command(path))
    assert.equal(0, status, output)
    for _, name in ipairs { "a blocking wait", "run", "step" } do
      assert.matches(name .. "\n", output, 1, true)
    end
  end)
end)
