-- Nothing may be left behind by a test: before_each(leaks.note) and after_each(leaks.check).
local tcpnet = require "tcpnet"
local ledger = require "spec.support.ledger"

local leaks = {}
local before

function leaks.note()
  ledger.settle(tcpnet)
  before = ledger.entry(tcpnet)
end

function leaks.check()
  local difference = ledger.settled_difference(before, tcpnet)
  assert(not difference, difference)
end

return leaks
