-- A task gives way after 128 operations in a row, and send_many of a thousand datagrams was one of them, as recv_many
-- was: others had a turn after 128,000 datagrams.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local UdpSocket = tcpnet.UdpSocket

describe("each datagram of a batch is an operation", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function list(count)
    local items = {}
    for i = 1, count do
      items[i] = "x"
    end
    return items
  end

  it("that is sent", tcp.in_task(function()
    local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local nobody <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(socket:connect(nobody:local_addr()))
    local items = list(200)
    local turns = steps.turns_during(function()
      for _ = 1, 50 do
        assert(socket:send_many(items))
      end
    end)
    assert.is_true(turns >= 49, turns .. " turns of another task in 50 batches of 200")
  end))

  it("that is received", tcp.in_task(function()
    local a <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local b <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(a:connect(b:local_addr()))
    local items = list(150)
    local turns = steps.turns_during(function()
      for _ = 1, 50 do
        local wanted = assert(a:send_many(items))
        while wanted > 0 do
          wanted = wanted - #assert(b:recv_many(150))
        end
      end
    end)
    assert.is_true(turns >= 90, turns .. " turns of another task in 50 batches of 150 each way")
  end))
end)
