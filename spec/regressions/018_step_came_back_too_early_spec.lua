-- step came back before its time with nothing done, where an earlier one had been ended by an event: its own time was
-- still set.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"

describe("step", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("waits its time, whatever another one left behind", function()
    local one, other = assert(tcpnet.UnixStream.pair())
    for _ = 1, 3 do
      local task = tcpnet.spawn(one.read, one)
      tcpnet.step()
      other:write "x"
      repeat
        tcpnet.step(0.02) -- ended by the byte
      until task:status() == "done"
      local started = tcpnet.now()
      assert.is_false(tcpnet.step(0.05))
      assert.is_true(tcpnet.now() - started >= 0.05)
    end
    one:close()
    other:close()
  end)
end)
