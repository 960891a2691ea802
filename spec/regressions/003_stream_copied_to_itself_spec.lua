-- copy_bidirectional of a stream and itself is misuse of the second argument: it ended with an error about "another
-- task", at a line of the library. So did whatever read a stream under a task.
local tcpnet = require "tcpnet"

describe("copy_bidirectional", function()
  it("refuses one stream as both", function()
    local a = assert(tcpnet.UnixStream.pair())
    local ok, raised = pcall(tcpnet.copy_bidirectional, a, a)
    assert.is_false(ok)
    assert.matches("bad argument #2 to '[^']*' %(another stream than the first expected%)", raised)
    a:close()
  end)

  it("names the user's line, or none, where a task is reading", function()
    local a, b = assert(tcpnet.UnixStream.pair())
    local reading = tcpnet.spawn(a.read, a)
    tcpnet.step(0)
    local ok, raised = pcall(tcpnet.copy_bidirectional, a, b)
    assert.is_false(ok)
    assert.equal("copy: another task is reading from the reader", raised)
    reading:cancel()
    a:close()
    b:close()
  end)
end)
