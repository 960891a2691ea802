-- An empty record of a seqpacket socket passed for its end, whoever was there; and recv_many never came to the end of
-- one: it gave as many empty messages as it was asked for, again and again, or waited on a socket that was shut.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Socket = tcpnet.Socket

local function pair(kind)
  local one, other = assert(Socket.pair("unix", kind))
  return one, other, tcp.guard(one, other)
end

local function is_end(...)
  assert.same({ n = 1 }, table.pack(...))
end

local function texts(list)
  local all = {}
  for i, item in ipairs(list) do
    all[i] = item.data
  end
  return all
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
      local one, other, _guard <close> = pair "seqpacket"
      assert.equal(0, one:send "")
      assert.equal("", receive(other))
    end))
  end

  it("has them among others when the sender is gone, too", tcp.in_task(function()
    local one, other, _guard <close> = pair "seqpacket"
    assert(one:send "" and one:send "last")
    one:close()
    assert.equal("", other:recv())
    assert.equal("last", other:recv())
    is_end(other:recv())
    is_end(other:recv())
  end))

  it("ends for recv_many, with what came before it", tcp.in_task(function()
    local one, other, _guard <close> = pair "seqpacket"
    assert(one:send "first" and one:send "" and one:send "last")
    one:close()
    assert.same({ "first", "", "last" }, texts(other:recv_many(200)))
    is_end(other:recv_many(200))
    is_end(other:try_recv_many(1))
  end))
end)

describe("a socket whose reading side was shut here", function()
  for _, kind in ipairs { "seqpacket", "dgram", "stream" } do
    it("ends for recv_many: " .. kind, tcp.in_task(function()
      local _, other, _guard <close> = pair(kind)
      assert(other:shutdown "read")
      is_end(other:recv())
      is_end(other:recv_many(2))
    end))
  end

  for name, joined in pairs { udp = false, ["udp that joins"] = true } do
    it("ends for recv_many: " .. name, tcp.in_task(function()
      local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      assert(udp:connect(udp:local_addr()))
      if joined and not udp:set_udp_gro(true) then
        return
      end
      assert(udp:shutdown "read")
      is_end(udp:recv())
      is_end(udp:recv_many(2))
    end))
  end
end)
