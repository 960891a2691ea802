-- One call of the system takes 64 pieces: a message of 65 went out without its last one, and nobody was told.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a message of more than 64 pieces", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is refused, as sendmsg refuses it", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(udp:connect(udp:local_addr()))
    local pieces = {}
    for i = 1, 64 do
      pieces[i] = "x"
    end
    assert.equal(64, udp:send_vectored(pieces))
    assert.equal(64, #udp:recv())
    pieces[65] = "y"
    for _, call in ipairs {
      function() udp:send_vectored(pieces) end,
      function() udp:try_send_vectored(pieces) end,
      function() udp:send_to_vectored(pieces, udp:local_addr()) end,
      function() udp:try_send_to_vectored(pieces, "127.0.0.1", udp:local_addr():port()) end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("#1 to '.*vectored' %(a list of at most 64 strings, numbers or Buffers expected%)", message)
    end
    assert.is_nil(udp:try_recv())
  end)
end)
