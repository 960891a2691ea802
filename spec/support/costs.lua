-- What a function costs, for specs that compare few with many.
local costs = {}

-- How many hundreds of instructions of this coroutine fn takes.
function costs.hundreds(fn)
  local hundreds = 0
  debug.sethook(function()
    hundreds = hundreds + 1
  end, "", 100)
  fn()
  debug.sethook()
  return hundreds
end

-- The least time of the CPU, in seconds, that it took of several times.
function costs.seconds(fn)
  local least = math.huge
  for _ = 1, 5 do
    local began = os.clock()
    fn()
    least = math.min(least, os.clock() - began)
  end
  return least
end

return costs
