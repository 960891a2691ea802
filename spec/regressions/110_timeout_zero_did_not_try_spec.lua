-- A timeout whose time was up at once did not try its function where the task had to give way just then: with 0
-- seconds one of 129 reads of what was there timed out, and as many receives of a channel.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

local COUNT = 600

local sources = {
  ["a stream"] = function()
    local client, server = tcp.pair()
    assert(client:write(("x"):rep(COUNT)))
    server:peek()
    return { client, server }, function() return server:read(1) end
  end,
  ["a stream in memory"] = function()
    local here, there = tcpnet.duplex(COUNT)
    assert(here:write(("x"):rep(COUNT)))
    return { here, there }, function() return there:read(1) end
  end,
  ["a channel"] = function()
    local sender, receiver = tcpnet.sync.channel(COUNT)
    for _ = 1, COUNT do
      assert(sender:try_send "x")
    end
    return { sender, receiver }, function() return receiver:recv() end
  end,
  ["a semaphore"] = function()
    local semaphore = tcpnet.sync.Semaphore.new(COUNT)
    return { semaphore }, function() return semaphore:acquire() and "x" end
  end,
}

describe("a timeout of 0 seconds", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for title, make in pairs(sources) do
    it("takes all that is there: " .. title, in_task(function()
      local open, take = make()
      for _ = 1, COUNT do
        assert.equal("x", assert(tcpnet.timeout(0, take)))
      end
      for _ = 1, COUNT do
        tcpnet.yield()
      end
      for _, object in ipairs(open) do
        object:close()
      end
    end))

    it("takes it below another timeout: " .. title, in_task(function()
      local open, take = make()
      for _ = 1, COUNT do
        assert.equal("x", assert(tcpnet.timeout(0, tcpnet.timeout, 0, take)))
      end
      for _, object in ipairs(open) do
        object:close()
      end
    end))
  end

  it("lets the others run all the same", in_task(function()
    local open, server = tcp.pair()
    assert(open:write(("x"):rep(COUNT)))
    server:peek()
    local turns = steps.turns_during(function()
      for _ = 1, COUNT do
        assert.equal("x", tcpnet.timeout(0, server.read, server, 1))
      end
    end)
    assert.is_true(turns >= COUNT // 130, turns)
    open:close()
    server:close()
  end))

  it("has no time to give way: a yield is no try", in_task(function()
    for _, seconds in ipairs { 0, 0.001 } do
      local _, err = tcpnet.timeout(seconds, function()
        local late = tcpnet.now() + 2 * seconds
        while tcpnet.now() <= late do -- luacheck: ignore 542
        end
        tcpnet.yield()
      end)
      assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
    end
  end))

  it("ends what never waits, in a generator too", in_task(function()
    local semaphore = tcpnet.sync.Semaphore.new(1)
    local function busy(between)
      for _ = 1, 1e6 do
        semaphore:acquire():release()
        between()
      end
    end
    local _, err = tcpnet.timeout(0, busy, function() end)
    assert.is_true(tcpnet.is_error(err, "TIMEOUT"))
    local generator = tcpnet.coroutine.create(function()
      return tcpnet.timeout(0, busy, tcpnet.coroutine.yield)
    end)
    local results
    repeat
      results = table.pack(tcpnet.coroutine.resume(generator))
    until tcpnet.coroutine.status(generator) == "dead"
    assert.is_true(results[1])
    assert.is_true(tcpnet.is_error(results[3], "TIMEOUT"))
  end))
end)
