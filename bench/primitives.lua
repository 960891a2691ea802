-- primitives.lua [ROUNDS]: what tasks cost beside plain coroutines doing the same, in CPU time.
-- Prints one line of JSON for each primitive and round; the two sides take turns.
-- primitives.lua plain|tasks NAME N: one side of one primitive N times, and nothing else, for callgrind.
local tcpnet = require "tcpnet"
local BATCH <const> = 1000
local ALIVE <const> = arg[2] and 10000 or 100000

local create, resume, close, yield =
  coroutine.create, coroutine.resume, coroutine.close, coroutine.yield

local function nothing() end

local function yield_for_ever()
  while true do
    yield()
  end
end

local plain, tasks = {}, {}

-- A batch is started, then all of it runs and ends.
function plain.spawn_finish(n)
  for _ = 1, n // BATCH do
    local batch = {}
    for i = 1, BATCH do
      batch[i] = create(nothing)
    end
    for i = 1, BATCH do
      resume(batch[i])
    end
  end
end

function tasks.spawn_finish(n)
  for _ = 1, n // BATCH do
    local last
    for _ = 1, BATCH do
      last = tcpnet.spawn(nothing)
    end
    tcpnet.yield()
    assert(last:status() == "done")
  end
end

function plain.spawn_join(n)
  for _ = 1, n do
    assert(resume(create(nothing)))
  end
end

function tasks.spawn_join(n)
  for _ = 1, n do
    assert(tcpnet.spawn(nothing):join())
  end
end

-- Two take turns.
function plain.switch(n)
  local a, b = create(yield_for_ever), create(yield_for_ever)
  for _ = 1, n // 2 do
    resume(a)
    resume(b)
  end
end

function tasks.switch(n)
  local function half()
    for _ = 1, n // 2 do
      tcpnet.yield()
    end
  end
  local a, b = tcpnet.spawn(half), tcpnet.spawn(half)
  assert(a:join())
  assert(b:join())
end

function plain.sleep_0(n)
  plain.switch(n)
end

function tasks.sleep_0(n)
  for _ = 1, n do
    tcpnet.sleep(0)
  end
end

-- A deadline set and never reached.
function plain.timeout(n)
  for _ = 1, n do
    assert(pcall(nothing))
  end
end

function tasks.timeout(n)
  for _ = 1, n do
    tcpnet.timeout(60, nothing)
  end
end

-- A batch goes to sleep and is cancelled.
local function sleep_cancel_plain(count)
  local batch = {}
  for i = 1, count do
    batch[i] = create(yield_for_ever)
    resume(batch[i])
  end
  for i = 1, count do
    close(batch[i])
  end
end

function plain.sleep_cancel(n)
  for _ = 1, n // BATCH do
    sleep_cancel_plain(BATCH)
  end
end

function tasks.sleep_cancel(n)
  for _ = 1, n // BATCH do
    local batch = {}
    for i = 1, BATCH do
      batch[i] = tcpnet.spawn(tcpnet.sleep, 60 + i)
    end
    tcpnet.yield()
    for i = 1, BATCH do
      assert(batch[i]:cancel())
    end
  end
end

-- N tasks start, each sets a deadline, and, when all have, each is cancelled; with plain coroutines there is only what
-- starts and closes as many. Most of it is not the deadline: see `timeout_among`.
plain.timers = sleep_cancel_plain

function tasks.timers(n)
  local all = {}
  for i = 1, n do
    all[i] = tcpnet.spawn(tcpnet.timeout, 60 + i % 977 / 1000, tcpnet.park)
  end
  tcpnet.yield()
  for i = 1, n do
    assert(all[i]:cancel())
  end
end

-- Many tasks are alive, and wait by `wait`, each under a deadline of its own. N of them are woken, and wait again: a
-- deadline is cancelled and the next one set, while all others stand. What starts and ends the tasks is not measured.
local function among(wait)
  return function(n, measured)
    local all = {}
    for i = 1, ALIVE do
      all[i] = tcpnet.spawn(function()
        while true do
          wait(60 + i % 977 / 1000)
        end
      end)
    end
    tcpnet.yield()
    local nanoseconds = measured(function()
      for i = 1, n do
        assert(all[i]:unpark())
      end
      tcpnet.yield()
    end, n)
    for i = 1, ALIVE do
      assert(all[i]:cancel())
    end
    return nanoseconds
  end
end

-- What the deadline costs is the difference to the same without one.
local wait_among = among(function()
  return tcpnet.park()
end)
plain.timeout_among, tasks.timeout_among = wait_among, among(function(seconds)
  return tcpnet.timeout(seconds, tcpnet.park)
end)
plain.deadline_among, tasks.deadline_among = wait_among, among(function(seconds)
  return tcpnet.park(seconds)
end)
local prepared = { timeout_among = true, deadline_among = true }

-- A value goes over: by a resume and the yield that waits for it, and by a channel's send and recv.
function plain.channel(n)
  local receiver = create(function()
    while true do
      yield()
    end
  end)
  resume(receiver)
  for i = 1, n do
    resume(receiver, i)
  end
end

local function through_channel(n, capacity)
  local sender, receiver = tcpnet.sync.channel(capacity)
  local task = tcpnet.spawn(function()
    for i = 1, n do
      sender:send(i)
    end
    sender:close()
  end)
  for _ in receiver do -- luacheck: ignore 542
  end
  assert(task:join())
end

function tasks.channel(n)
  through_channel(n, 64)
end

plain.channel_1 = plain.channel

-- With room for one message only: each has to wait for the other.
function tasks.channel_1(n)
  through_channel(n, 1)
end

local function nanoseconds_each(fn, n)
  collectgarbage()
  local start = os.clock()
  fn(n)
  return (os.clock() - start) * 1e9 / n
end

local function measure(name, n, round)
  local plain_ns, task_ns
  if prepared[name] then
    plain_ns = tcpnet.run(plain[name], n, nanoseconds_each)
    task_ns = tcpnet.run(tasks[name], n, nanoseconds_each)
  else
    plain_ns = nanoseconds_each(plain[name], n)
    task_ns = tcpnet.run(nanoseconds_each, tasks[name], n)
  end
  local line = '{"name":"%s","round":%d,"plain_ns":%.1f,"task_ns":%.1f}'
  print(line:format(name, round, plain_ns, task_ns))
end

if plain[arg[2]] then
  local side = assert(({ plain = plain, tasks = tasks })[arg[1]])
  tcpnet.run(side[arg[2]], tonumber(arg[3]), prepared[arg[2]] and pcall)
  return
end

for round = 1, tonumber(arg[1] or 5) do
  measure("spawn_finish", 200000, round)
  measure("spawn_join", 200000, round)
  measure("switch", 400000, round)
  measure("sleep_0", 200000, round)
  measure("timeout", 200000, round)
  measure("sleep_cancel", 100000, round)
  measure("timers", 100000, round)
  measure("timeout_among", 100000, round)
  measure("deadline_among", 100000, round)
  measure("channel", 400000, round)
  measure("channel_1", 200000, round)
end
