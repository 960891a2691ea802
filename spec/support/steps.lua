-- Steps of the specs of tcpnet.sync: tests as tasks, tasks that have come to a wait, what became of them.
local tcpnet = require "tcpnet"

local steps = {}

function steps.nothing() end

function steps.closer(fn)
  return setmetatable({}, { __close = fn })
end

-- Lets every task that is ready run.
function steps.settle()
  for _ = 1, 4 do
    tcpnet.spawn(steps.nothing):join()
  end
end

-- Runs the test as a task, and raises what it raised unchanged.
function steps.in_task(fn)
  return function()
    local results = table.pack(tcpnet.spawn(fn):join(30))
    if not results[1] then
      error(results[2], 0)
    end
  end
end

-- both(it) → it, in a task and outside every task.
function steps.both(it)
  return function(name, fn)
    it(name, steps.in_task(fn))
    it(name .. ", outside tasks too", fn)
  end
end

local function expect(expected, value)
  if value ~= expected then
    error(("expected %s, got %s"):format(expected, value), 3)
  end
end

-- How often a task that does nothing else had its turn while fn ran.
function steps.turns_during(fn)
  local turns = 0
  local other <close> = tcpnet.spawn(function()
    while true do
      turns = turns + 1
      tcpnet.yield()
    end
  end)
  tcpnet.yield()
  local before = turns
  fn()
  expect(true, other:cancel())
  return turns - before
end

-- A task that has come to a wait in fn(...).
function steps.waiting(fn, ...)
  local task = tcpnet.spawn(fn, ...)
  steps.settle()
  expect("waiting", task:status())
  return task
end

-- What a task returned; it must have ended, or end soon.
function steps.result(task)
  local results = table.pack(task:join(10))
  assert(results[1], tostring(results[2]))
  return table.unpack(results, 2, results.n)
end

function steps.is_closed(message, value, err)
  expect(nil, value)
  expect("CLOSED", err and err.code)
  expect(message, err.message)
end

function steps.is_again(value, err)
  expect(nil, value)
  expect("EAGAIN", err and err.code)
end

-- all(it) → what the specs of tcpnet.sync take from here by name, in this order.
function steps.all(it)
  return steps.closer, steps.settle, steps.in_task, steps.waiting, steps.result, steps.is_closed, steps.is_again,
    steps.both(it)
end

return steps
