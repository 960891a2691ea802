-- A send_many of which nothing went out gave back the operation that it was: a task whose batches failed, or were
-- empty, gave way to nobody, and a try_send_many that found no room let the task go on for longer.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a batch of which nothing goes out", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is an operation where it is empty", tcp.in_task(function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local turns = steps.turns_during(function()
      for _ = 1, 1000 do
        assert.equal(0, socket:send_many {})
      end
    end)
    assert.is_true(turns >= 7, turns .. " turns of another task in 1000 batches")
  end))

  it("is an operation where it fails", tcp.in_task(function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local turns = steps.turns_during(function()
      for _ = 1, 1000 do
        local sent, err = socket:send_many { "x" }
        assert.is_nil(sent)
        assert.equal("EDESTADDRREQ", err.code)
      end
    end)
    assert.is_true(turns >= 7, turns .. " turns of another task in 1000 batches")
  end))

  it("buys no time where it is tried", tcp.in_task(function()
    local sender, receiver = assert(tcpnet.UnixDatagram.pair())
    local _guard <close> = tcp.guard(sender, receiver)
    while sender:try_send_many { "x" } do end
    local semaphore = tcpnet.sync.Semaphore.new(1)
    local turns = steps.turns_during(function()
      for _ = 1, 1000 do
        local sent, err = sender:try_send_many { "x" }
        assert.is_nil(sent)
        assert.equal("EAGAIN", err.code)
      end
      for _ = 1, 300 do
        semaphore:acquire():release()
      end
    end)
    assert.is_true(turns >= 2, turns .. " turns of another task in 300 operations")
  end))
end)
