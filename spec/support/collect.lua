-- The collector at a chosen moment.
local collect = {}

-- call(...), in the middle of which a finalizer calls fn: where the call makes a value for Lua for the nth time.
local function during_nth(n, fn, call, ...)
  local mode = collectgarbage("incremental", 1, 1000, 20) -- whatever is made next begins and ends a cycle
  local function restore(...)
    n = 0
    collectgarbage("incremental", 200, 100, 13)
    collectgarbage(mode)
    return ...
  end
  local function arm()
    setmetatable({}, { __gc = function()
      n = n - 1
      if n == 0 then
        fn()
      elseif n > 0 then
        arm()
      end
    end })
  end
  collectgarbage()
  arm()
  return restore(call(...))
end

-- The same at the first value.
function collect.during(fn, call, ...)
  return during_nth(1, fn, call, ...)
end

collect.during_nth = during_nth

return collect
