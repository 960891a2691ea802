-- A select of a list with holes, as `{ condition and fn or nil, other }` makes, called nil as a branch where the border
-- of that list lay behind them.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("select", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function later()
    tcpnet.sleep(5)
  end

  it("of a list with holes runs the functions that are there", tcp.in_task(function()
    local function now() return "now" end
    assert.same({ 2, "now" }, { tcpnet.select { nil, now } })
    assert.same({ 4, "now" }, { tcpnet.select { nil, later, nil, now } })
    assert.same({ 1, "now" }, { tcpnet.select { now, nil, nil, later } })
    assert.same({ "key", "now" }, { tcpnet.select { nil, later, nil, later, key = now } })
  end))
end)
