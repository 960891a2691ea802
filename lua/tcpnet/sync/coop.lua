-- Fairness: what never has to wait gives way after as many operations as the sockets' own do.
local core = require "tcpnet.core"

local enter = core.private.enter
local BUDGET = 128
local spent = 0

-- To be called before an operation that may be one of many in a row; `op` is its name.
return function(op)
  enter(op) -- raises where nothing can wait, whether or not this call would have to
  spent = spent + 1
  if spent >= BUDGET then
    spent = 0
    core.yield()
  end
end
