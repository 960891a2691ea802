-- An empty record of a seqpacket socket passed for its end, whoever was there.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function pair()
  local one, other = assert(tcpnet.Socket.pair("unix", "seqpacket"))
  return one, other, tcp.guard(one, other)
end

local function is_end(...)
  assert.same({ n = 1 }, table.pack(...))
end

describe("a seqpacket socket", function()
  local receives = {
    recv = function(socket) return socket:recv() end,
    recv_from = function(socket) return (socket:recv_from()) end,
    peek = function(socket) return socket:peek() end,
    recvmsg = function(socket) return socket:recvmsg().data end,
    recv_many = function(socket) return socket:recv_many(1)[1].data end,
    recv_vectored = function(socket)
      local buffer = tcpnet.Buffer.new(4)
      assert(socket:recv_vectored { buffer })
      return tostring(buffer)
    end,
  }
  for name, receive in pairs(receives) do
    it("has empty records for " .. name, tcp.in_task(function()
      local one, other, _guard <close> = pair()
      assert.equal(0, one:send "")
      assert.equal("", receive(other))
    end))
  end

  it("has them among others when the sender is gone, too", tcp.in_task(function()
    local one, other, _guard <close> = pair()
    assert(one:send "" and one:send "last")
    one:close()
    assert.equal("", other:recv())
    assert.equal("last", other:recv())
    is_end(other:recv())
    is_end(other:recv())
  end))
end)
