-- Where Lua had no memory in the middle of a change, half of that was done. A task that had none for its results, or
-- for its failure, stayed alive in no queue, and who joined it was told of a deadlock; one of `run` outlived that. One
-- that had none for a coroutine inside could never wait again. A JoinSet had given out a task that nobody got, and one
-- that it could not enter ran all the same. What a channel had granted was lost.
local program = require "spec.support.program"

local preamble = [[
  local tcpnet = require "tcpnet"
  tcpnet.configure { on_task_error = function() return true end }
  local attempts = 0
  local function every(name, attempt_nth)
    for _, sticky in ipairs { false, true } do
      local nth, hits = 0
      repeat
        nth = nth + 1
        time_limit(20)
        hits = attempt_nth(nth, sticky, function(holds, message)
          assert(holds, ("%s, allocation %d, %s: %s"):format(name, nth, sticky, message))
        end)
        local left = tcpnet.metrics().tasks
        assert(left == 0, ("%s, allocation %d: %d tasks are left"):format(name, nth, left))
      until hits == 0
      attempts = attempts + nth
    end
  end
]]

local ends = preamble .. [[
  local many = {}
  for i = 1, 200 do
    many[i] = i
  end
  local stolen
  local bodies = {
    ["nothing"] = function() end,
    ["one result"] = function() return 1 end,
    ["two results"] = function() return 1, 2 end,
    ["two results in the end"] = function()
      tcpnet.yield()
      return 1, 2
    end,
    ["many results"] = function() return table.unpack(many) end,
    ["an error"] = function() error "boom" end,
    ["an error that is no text"] = function() error {} end,
    ["a yield of its own"] = function() coroutine.yield() end,
    ["a stranger"] = function()
      stolen = coroutine.running()
      tcpnet.park()
    end,
  }
  for name, body in pairs(bodies) do
    for _, waits in ipairs { "nobody", "a joiner", "a set", "run" } do
      every(name .. ", " .. waits, function(nth, sticky, check)
        local task, joiner, seen, hits
        local function begin()
          if waits == "a set" then
            local set = tcpnet.JoinSet.new()
            task = set:spawn(body)
            joiner = tcpnet.spawn(function() seen = set:join_next() end)
          else
            task = tcpnet.spawn(body)
          end
          if waits == "a joiner" then
            joiner = tcpnet.spawn(function()
              task:join()
              seen = task
            end)
          end
        end
        if waits == "run" then
          _, hits = attempt(function()
            tcpnet.run(function()
              begin()
              tcpnet.sleep(0.001)
            end)
          end, nth, sticky)
          check(not task or task:status() ~= "ready" and task:status() ~= "waiting", "the task goes on")
          return hits
        end
        begin()
        if name == "a stranger" then
          tcpnet.step(0)
          assert(coroutine.close(stolen) and task:unpark())
        end
        _, hits = attempt(function()
          for _ = 1, 4 do
            tcpnet.step(0)
          end
        end, nth, sticky)
        if not pcall(tcpnet.sleep, 0.001) then
          check(false, "there is no turn")
        end
        local ok, joined, err = pcall(task.join, task, 5)
        check(ok, joined)
        err = tostring(err)
        check(joined or err:find "^table" or err:find "not enough memory" or err:find "boom"
          or err:find "coroutine", err)
        check(not joined or name:find "result" or name:find "nothing", "it is done")
        if joiner then
          local woken, why = joiner:join(5)
          why = tostring(why)
          check(woken or why:find "not enough memory" or why:find "stack overflow", why)
          check(not woken or seen == task, "somebody else came")
        end
        return hits
      end)
    end
  end
  print(attempts > 100 and "all ended") ]]

local given = preamble .. [[
  for name, body in pairs {
    done = function() return 1, 2, 3 end,
    failed = function() error "boom" end,
    cancelled = tcpnet.park,
  } do
    every(name, function(nth, sticky, check)
      local set = tcpnet.JoinSet.new()
      local task = set:spawn(body)
      tcpnet.sleep(0)
      task:cancel()
      local came
      local _, hits = attempt(function() came = set:join_next() end, nth, sticky)
      check(came or #set == 1, "the set is empty")
      check((came or set:join_next()) == task, "another task")
      check(#set == 0 and set:join_next() == nil, "one too many")
      return hits
    end)
  end
  every("spawn", function(nth, sticky, check)
    local set, ran = tcpnet.JoinSet.new(), false
    for _ = 1, 3 do
      set:spawn(function() end)
    end
    local ok, hits = attempt(function() set:spawn(function() ran = true end) end, nth, sticky)
    while set:join_next() do end
    tcpnet.sleep(0)
    check(ran == (ok == true), "it is not a member")
    return hits
  end)
  print "each once" ]]

-- Each task stays, so that the list of what is kept alive grows: at times that is the last that there is no memory for.
local inside = preamble .. [[
  local bodies = {
    waits = function() tcpnet.sleep(0.001) end,
    fails = function() error "boom" end,
  }
  local calls = {
    wrap = function(body) tcpnet.coroutine.wrap(body)() end,
    resume = function(body) tcpnet.coroutine.resume(tcpnet.coroutine.create(body)) end,
    timeout = function(body) tcpnet.timeout(1, body) end,
    nest = function(body) tcpnet.coroutine.wrap(function() tcpnet.coroutine.wrap(body)() end)() end,
  }
  local function hits_of(nth, call, body)
    local on = false
    local task = tcpnet.spawn(function()
      tcpnet.park()
      pcall(call, body)
      disarm()
      tcpnet.sleep(0)
      tcpnet.timeout(1, tcpnet.yield)
      on = true
      tcpnet.park()
    end)
    tcpnet.step(0)
    task:unpark()
    local _, hits = attempt(function() tcpnet.step(0) end, nth, true)
    for _ = 1, 1000 do
      if on or task:status() == "failed" then
        break
      end
      tcpnet.sleep(0.001)
    end
    assert(on, select(2, task:join(0)))
    return hits
  end
  for _, call in pairs(calls) do
    for _, body in pairs(bodies) do
      local nth = 1
      while hits_of(nth, call, body) > 0 do
        nth = nth + 1
      end
      for _ = 1, 70 do
        hits_of(nth, call, body)
      end
    end
  end
  print "all wait" ]]

local granted = preamble .. [[
  every("reserve", function(nth, sticky, check)
    local sender, receiver = tcpnet.sync.channel(1)
    sender:send "first"
    local failed
    local fails = tcpnet.spawn(function()
      failed = not pcall(sender.reserve, sender)
      tcpnet.park()
    end)
    local sends = tcpnet.spawn(function() return sender:clone():send "second" end)
    tcpnet.sleep(0)
    assert(receiver:recv() == "first")
    local _, hits = attempt(function()
      for _ = 1, 3 do
        tcpnet.step(0)
      end
    end, nth, sticky)
    check(not failed or tcpnet.timeout(1, receiver.recv, receiver) == "second", "nobody gets the place")
    fails:cancel()
    sends:cancel()
    return hits
  end)
  print "all granted" ]]

describe("a task for which Lua has no memory", function()
  for title, it_does in pairs {
    ["ends, and whoever waits for it hears of that"] = { ends, "all ended" },
    ["is in its JoinSet until it is given out, or never runs"] = { given, "each once" },
    ["leaves the coroutines inside of which that is so"] = { inside, "all wait" },
    ["leaves to others what a channel granted it"] = { granted, "all granted" },
  } do
    it(title, function()
      local output = program.in_host(it_does[1])
      if not output then
        return pending "no C compiler or no lua5.4 for it"
      end
      assert.matches(it_does[2] .. "\n$", output) -- behind what a task had no memory to report
    end)
  end
end)
