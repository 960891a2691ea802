-- The collector at a chosen moment.
local collect = {}

local function begin()
  local mode = collectgarbage("incremental", 1, 1000, 20) -- whatever is made next begins and ends a cycle
  collectgarbage()
  return mode
end

local function restore(mode, ...)
  collectgarbage("incremental", 200, 100, 13)
  collectgarbage(mode)
  return ...
end

-- call(...), in the middle of which a finalizer calls fn: where the call first makes a value for Lua.
function collect.during(fn, call, ...)
  local mode = begin()
  setmetatable({}, { __gc = fn })
  return restore(mode, call(...))
end

local ran

-- The same where it does so for the nth time, or not at all.
function collect.during_nth(n, fn, call, ...)
  local function arm()
    setmetatable({}, {
      __gc = function()
        n = n - 1
        if n == 0 then
          ran = true
          fn()
        elseif n > 0 then
          arm()
        end
      end,
    })
  end
  local function disarm(...)
    n = 0
    return ...
  end
  local mode = begin()
  arm()
  return restore(mode, disarm(call(...)))
end

-- for n in collect.each_time() do: as long as there is an nth time in what is called between.
function collect.each_time()
  ran = true
  return function(_, n)
    if ran then
      ran = false
      return n + 1
    end
  end, nil, 0
end

return collect
