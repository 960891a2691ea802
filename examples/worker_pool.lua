-- A pool of workers that take jobs from one channel and give results to another. The channels are short, so that who
-- makes the jobs is held up while all workers are busy; closing them is what ends everything, in order.
-- Run:  ./dev lua examples/worker_pool.lua [WORKERS [JOBS]]
local tcpnet = require "tcpnet"
local workers, jobs = tonumber(arg[1] or 4), tonumber(arg[2] or 20)

-- Some work that waits, as a request to a server would: how many steps n takes to come down to 1.
local function steps_of(n)
  tcpnet.sleep(0.001 * (n % 5))
  local steps = 0
  while n > 1 do
    n = n % 2 == 0 and n // 2 or 3 * n + 1
    steps = steps + 1
  end
  return steps
end

local function work(name, todo, done)
  local _done <close> = done -- the results end when the last worker has ended
  for n in todo do
    done:send { n = n, steps = steps_of(n), worker = name }
  end
end

local function make_jobs(todo)
  local _todo <close> = todo
  for n = 1, jobs do
    todo:send(n)
  end
end

tcpnet.run(tcpnet.scope, function(scope)
  local job_sender, job_receiver = tcpnet.sync.channel(workers)
  local result_sender, result_receiver = tcpnet.sync.channel(workers)
  for i = 1, workers do
    scope:spawn(work, "worker " .. i, job_receiver, result_sender:clone())
  end
  result_sender:close()
  scope:spawn(make_jobs, job_sender)
  local count = 0
  for result in result_receiver do
    count = count + 1
    print(("%s: %d takes %d steps"):format(result.worker, result.n, result.steps))
  end
  print(("%d jobs done by %d workers"):format(count, workers))
end)
