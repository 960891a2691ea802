-- Who reads a stream in memory beside a task is told so at the line of the call; finish named a line of the library.
local tcpnet = require "tcpnet"

describe("finish beside a task that reads", function()
  it("raises at the user's line", function()
    local here, there = tcpnet.duplex(10)
    local message
    tcpnet.run(function()
      local reading = tcpnet.spawn(here.read, here)
      tcpnet.yield()
      local ok, raised = pcall(function()
        local _ = here:finish(nil) -- line 12
      end)
      assert.is_false(ok)
      message = raised
      reading:cancel()
    end)
    assert.matches("^[^:]*%d+_second_reader[^:]*:12: finish: another task is reading from this DuplexStream$", message)
    assert.is_table(there) -- held until here: a reader whose peer was collected is at the end
  end)
end)
