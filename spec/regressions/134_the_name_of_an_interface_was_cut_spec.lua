-- The name of an interface with a NUL in it was taken for what stands before that.
local tcpnet = require "tcpnet"

describe("SocketAddr.packet", function()
  it("cuts no name", function()
    local packet = tcpnet.SocketAddr.packet
    local found, message = pcall(packet, "lo")
    if not found and message:find "no interface" or not tcpnet.features().packet then
      return pending "no packet sockets, or no interface of that name"
    end
    for _, name in ipairs { "lo\0", "lo\0x", "\0lo", "" } do
      found, message = pcall(packet, name)
      assert.is_false(found)
      assert.matches("there is no interface of that name", message)
    end
  end)
end)
