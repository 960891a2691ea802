-- Fairness: what never has to wait gives way after as many operations as the sockets' own do.
local core = require "tcpnet.core"

local BUDGET = 128
local spent = 0

-- To be called before an operation that may be one of many in a row.
return function()
  spent = spent + 1
  if spent >= BUDGET then
    spent = 0
    if core.current() then
      core.yield()
    end
  end
end
