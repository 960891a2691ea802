-- Fairness: what never has to wait gives way after as many operations as the sockets' own do.
local core = require "tcpnet.core"

local spend, yield = core.private.spend, core.private.yield

-- To be called before an operation that may be one of many in a row; `op` is its name.
return function(op)
  if spend(op) then -- raises where nothing can wait, whether or not this call would have to
    yield()
  end
end
