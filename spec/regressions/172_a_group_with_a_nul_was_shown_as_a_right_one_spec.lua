-- A group or an interface with a NUL in it was refused, and the message showed what stands before the NUL: "group:
-- multicast address of IPv4 expected, got '224.0.0.1'".
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("an address or a name with a NUL in it", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is shown with it where an action refuses it", function()
    local udp <close> = assert(tcpnet.UdpSocket.new_v4())
    local function refused(what, ...)
      local ok, message = pcall(udp.join_multicast_v4, udp, ...)
      assert.is_false(ok)
      assert.matches(what, message, 1, true)
    end
    refused([[got '224.0.0.1\0...']], "224.0.0.1\0x")
    refused([[got 'lo\0...']], "224.0.0.1", "lo\0")
    refused("got '127.0.0.1'", "127.0.0.1")
  end)
end)
