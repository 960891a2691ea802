-- The errors that everything in tcpnet.sync shares.
local core = require "tcpnet.core"

local errors = {}

function errors.closed(op, message)
  return core.private.new_error("CLOSED", op, nil, message)
end

-- Of a wait inside a __close that a cancel runs.
function errors.canceled(op)
  return core.private.new_error("CANCELED", op)
end

function errors.again(op)
  return core.private.new_error("EAGAIN", op)
end

return errors
