-- A copy failed with EINVAL where the system splices from the reader but not to the writer. Needs the faults build.
local program = require "spec.support.program"

describe("a copy", function()
  it("goes on by reading and writing where the writer takes no splice", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      local tcp = require "spec.support.tcp"
      local text = tcp.bytes(700000)
      tcpnet.run(function()
        local a, a_far = tcp.pair()
        local b, b_far = tcp.pair()
        tcpnet.spawn(function() a_far:write(text) a_far:shutdown() end)
        tcpnet.private.fault("splice", 2, 1, "EINVAL") -- the first one that leaves the pipe
        local copying = tcpnet.spawn(function()
          local count, err = tcpnet.copy(a, b)
          b:shutdown()
          return count or tostring(err)
        end)
        local came = b_far:read_to_end(1 << 20)
        print(select(2, copying:join()), came == text, (tcpnet.private.fault()))
      end) ]]
    assert.equal("700000\ttrue\t1\n", output)
  end)
end)
