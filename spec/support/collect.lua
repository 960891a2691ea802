-- The collector at a chosen moment.
local collect = {}

-- call(...), in the middle of which a finalizer calls fn: where the call first makes a value for Lua.
function collect.during(fn, call, ...)
  local mode = collectgarbage("incremental", 1, 1000, 20) -- whatever is made next begins and ends a cycle
  local function restore(...)
    collectgarbage("incremental", 200, 100, 13)
    collectgarbage(mode)
    return ...
  end
  collectgarbage()
  setmetatable({}, { __gc = fn })
  return restore(call(...))
end

return collect
