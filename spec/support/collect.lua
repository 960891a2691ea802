-- The collector at a chosen moment.
local collect = {}
local garbage = {}

-- call(...), in the middle of which a finalizer calls fn: where the call first makes a value for Lua.
function collect.during(fn, call, ...)
  local mode = collectgarbage("incremental", 1, 1000, 20) -- whatever is made next begins and ends a cycle
  local function restore(...)
    collectgarbage("incremental", 200, 100, 13)
    collectgarbage(mode)
    return ...
  end
  collectgarbage()
  garbage[1] = setmetatable({}, { __gc = fn })
  garbage[1] = nil
  return restore(call(...))
end

return collect
