-- Peers that mean no good: the others are served meanwhile, memory stays bounded, nothing of them is left.
-- ./dev load has more of each, for longer.
local hostile = require "spec.support.hostile"
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local PEERS, SECONDS = 60, 0.3
local linux = not tcp.can "test -e /proc/self/statm" and "needs /proc" or nil

describe("a peer that", function()
  local server

  setup(function()
    server = not linux and hostile.serve(20)
  end)
  teardown(function()
    if server then
      server:stop()
    end
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  -- KiB of the server for each peer: what a connection, its task and what it has read ahead weigh at most. A sanitizer
  -- keeps what was freed.
  local most = program.sanitized and math.huge or 160

  for kind in pairs(hostile.kinds) do
    it(kind .. " keeps nobody else from being served, and costs a bounded amount", function()
      if linux then
        return pending(linux)
      end
      local report = hostile.attack(server, kind, PEERS, SECONDS)
      assert.same({}, report.errors)
      assert.is_true(report.did >= PEERS / 2, report.did)
      assert.is_true(report.served >= 40, report.served)
      local growth = (report.during.memory - report.before.memory) / PEERS
      assert.is_true(growth < most, ("%.0f KiB for each"):format(growth))
    end)
  end

  it("is gone leaves nothing behind", function()
    if linux then
      return pending(linux)
    end
    tcpnet.run(function()
      repeat
        tcpnet.sleep(0.02)
      until hostile.state(server.port).connections == 0
    end)
  end)
end)

describe("more connections than descriptors", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("keep those that are there from nothing, and cost no turn of the loop while they wait", function()
    if linux then
      return pending(linux)
    end
    local report = hostile.exhaust(40, 80, 0.5)
    assert.same({}, report.errors)
    assert.is_true(report.served_meanwhile >= 40, report.served_meanwhile)
    assert.equal(80, report.late)
    -- the others' round trips are turns, too; a loop that spins has tens of thousands
    assert.is_true(report.polls <= 4 * report.served_meanwhile + 1000, report.polls)
    assert.is_true(report.exhausted <= 11 * report.seconds + 2, report.exhausted)
  end)
end)

describe("a line without an end", function()
  it("costs work in proportion to its length (F45)", function()
    if not tcp.can "command -v valgrind" or program.sanitized then
      return pending "needs valgrind, and a build without sanitizers"
    end
    local factor = hostile.growth("read_until", 32768) -- 7 is linear; 30 where what was searched is searched again
    assert.is_true(factor < 12, ("%.1f"):format(factor))
  end)
end)

describe("slowhttptest", function()
  it("with slow headers, slow bodies and slow reading keeps examples/http_hello.lua from nobody", function()
    if not tcp.can "command -v slowhttptest" then
      return pending "needs slowhttptest"
    end
    local server <close> = process.serve "examples/http_hello.lua"
    local report = hostile.http(server.port, { "slow headers", "slow bodies", "slow reading" }, 60, 1)
    assert.same({}, report.errors)
    assert.is_true(report.served >= 40, report.served)
    assert.is_true(report.connected > 0) -- all 180, where the machine is not busy
  end)
end)
