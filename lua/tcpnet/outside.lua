-- Lets what is built on tasks be called from outside every task: its body then runs as one, and the caller waits.
local core = require "tcpnet.core"

local function outcome(ok, ...)
  if not ok then
    return error((...), 0)
  end
  core.private.locate((select(2, ...)))
  return ...
end

-- outside(fn, op) → function that runs fn in the current task, or else as a task of its own; `op` is its name.
return function(fn, op)
  return function(...)
    core.private.enter(op)
    if core.current() then
      return fn(...)
    end
    local task <close> = core.spawn(fn, ...) -- not left behind where join raises: a deadlock, an interrupt
    return outcome(task:join())
  end
end
