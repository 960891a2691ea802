-- `metrics` counted the bytes of every call but those of send_many and recv_many.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("the bytes of a batch", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for what, opts in pairs { ["one by one"] = {}, ["joined by the kernel"] = { udp_gro = true } } do
    if not opts.udp_gro or tcpnet.features().udp_gro then
      it("are counted: " .. what, tcp.in_task(function()
        local receiver <close> = assert(tcpnet.UdpSocket.bind("127.0.0.1:0", opts))
        local sender <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
        assert(sender:connect(receiver:local_addr()))
        local before, came = tcpnet.metrics(), 0
        assert.equal(3, sender:send_many { "four", "four", "four" })
        while came < 3 do
          came = came + #assert(receiver:recv_many(3))
        end
        local after = tcpnet.metrics()
        assert.equal(12, after.bytes_written - before.bytes_written)
        assert.equal(12, after.bytes_read - before.bytes_read)
      end))
    end
  end
end)
