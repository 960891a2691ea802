-- step(math.huge) ignored SIGINT, and slept for ever where nothing could wake anybody.
local program = require "spec.support.program"

describe("a step that sleeps", function()
  for _, seconds in ipairs { "math.huge", "30" } do
    it("is ended by SIGINT: " .. seconds, function()
      local code, output = program.interrupted(([[
        local tcpnet = require "tcpnet"
        local task = tcpnet.spawn(tcpnet.sleep, 1000)
        tcpnet.step()
        print "begun"
        print(pcall(tcpnet.step, %s))
        print(task:status())]]):format(seconds))
      assert.matches("false\t[^\n]*interrupted!\nwaiting\n", output)
      assert.equal(0, code)
    end)
  end

  it("is ended by a SIGINT that came in the middle of short ones", function()
    local code, output = program.interrupted [[
      local tcpnet = require "tcpnet"
      print "begun"
      local task = tcpnet.spawn(tcpnet.sleep, 1000)
      print(pcall(function() while true do tcpnet.step(0.01) end end))]]
    assert.matches("false\t[^\n]*interrupted!\n", output)
    assert.equal(0, code)
  end)

  it("comes back where nothing can wake anybody", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      print(tcpnet.step(math.huge))
      local task = tcpnet.spawn(tcpnet.park)
      print(tcpnet.step(math.huge))
      print(tcpnet.step(math.huge))]]
    assert.equal("false\ntrue\nfalse\n", output)
    assert.equal(0, code)
  end)

  it("hears what the collector closes", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local sender, receiver = tcpnet.sync.channel(1)
      local task = tcpnet.spawn(receiver.recv, receiver)
      tcpnet.step()
      sender = nil
      print(tcpnet.step(math.huge), task:status())]]
    assert.equal("true\tdone\n", output)
    assert.equal(0, code)
  end)
end)
