-- A read outside every task that ended in a Lua error after it had waited kept its claim on the stream while `step` ran
-- tasks: theirs were refused.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("step, after a read that ended in a Lua error", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("lets tasks read", function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local buffer = tcpnet.Buffer.new(4)
    tcpnet.spawn(function()
      tcpnet.sleep(0.01)
      buffer:append "full"
      peer:write "bytes"
    end)
    assert.error_matches(function() stream:read_into(buffer) end, "the Buffer is full")
    local task = tcpnet.spawn(stream.read, stream)
    repeat
      tcpnet.step(0.01)
    until task:status() ~= "ready" and task:status() ~= "waiting"
    assert.same({ true, "bytes" }, { task:join() })
    stream:close()
    peer:close()
  end)
end)
