-- musl's sendmsg has room for 1 KiB of control data: 253 descriptors, as many as the kernel passes, were ENOMEM there.
local tcpnet = require "tcpnet"

describe("control data of more than 1 KiB", function()
  it("is sent, and its descriptors arrive", function()
    local a, b = assert(tcpnet.Socket.pair("unix", "dgram"))
    local fds = {}
    for i = 1, 253 do
      fds[i] = a
    end
    assert(a:sendmsg { data = "x", control = { { type = "fds", fds = fds } } })
    local message <close> = assert(b:recvmsg())
    assert.equal(253, #message:find("fds").fds)
    a:close()
    b:close()
  end)
end)
