-- Lets what is built on tasks be called from outside every task: its body then runs as one, and the caller waits.
local core = require "tcpnet.core"

local function outcome(ok, ...)
  if not ok then
    return error((...), 0)
  end
  core.private.locate((select(2, ...)))
  return ...
end

-- outside(fn) → function that runs fn in the current task, or else as a task of its own.
return function(fn)
  return function(...)
    if core.current() then
      return fn(...)
    end
    core.private.enter()
    local task <close> = core.spawn(fn, ...) -- not left behind where join raises: a deadlock, an interrupt
    return outcome(task:join())
  end
end
