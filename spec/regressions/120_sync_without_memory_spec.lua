-- Where Lua had no memory in the middle of a call of sync, a permit, a lock or a place in a count was lost for ever, a
-- message or an end had come and woke nobody, a receiver raised at what a failed send had begun, and a cancel that had
-- failed could not be repeated.
local program = require "spec.support.program"

-- Each row: make() → what the call needs; call(it), for which memory fails at each allocation; right(it) → is all as if
-- it had been made, or as if it had not? It may make the call again. `first` and `second` are tasks that wait.
local script = [[
  local tcpnet = require "tcpnet"
  local sync = tcpnet.sync
  tcpnet.configure { on_task_error = function() return true end }

  local function waits(task)
    return task:status() == "waiting"
  end

  local function are_awake(it)
    tcpnet.sleep(0)
    tcpnet.sleep(0)
    return not waits(it.first) and not waits(it.second)
  end

  local function both(it, fn, ...)
    it.first, it.second = tcpnet.spawn(fn, ...), tcpnet.spawn(fn, ...)
    return it
  end

  local function again_and_awake(call)
    return function(it)
      call(it)
      return are_awake(it)
    end
  end

  local function close_of(name)
    return function(it) it[name]:close() end
  end

  local function semaphore() return { semaphore = sync.Semaphore.new(1) } end
  local function has_permit(it) return it.semaphore:available_permits() == 1 end
  local function mutex() return { mutex = sync.Mutex.new() } end
  local function is_free(it) return (it.mutex:try_lock()) end

  local function held_semaphore()
    local semaphore = sync.Semaphore.new(1)
    return both({ permit = semaphore:acquire() }, function()
      local _permit <close> = semaphore:acquire()
    end)
  end

  local function held_mutex()
    local mutex = sync.Mutex.new()
    return both({ guard = mutex:lock() }, function()
      local _guard <close> = mutex:lock()
    end)
  end

  local function empty_semaphore()
    local semaphore = sync.Semaphore.new(0)
    return both({ semaphore = semaphore }, semaphore.acquire, semaphore)
  end

  local function oneshot()
    local promise, answer = sync.oneshot()
    return { promise = promise, answer = answer }
  end

  local function awaited_oneshot()
    local it = oneshot()
    it.first, it.second = tcpnet.spawn(it.answer.recv, it.answer), tcpnet.spawn(function() end)
    return it
  end

  local function unwanted_oneshot()
    local it = oneshot()
    return both(it, it.promise.closed, it.promise)
  end

  local function broadcast()
    local sender = sync.broadcast(4)
    return { sender = sender, receiver = sender:subscribe(), sent = false }
  end

  local function awaited_broadcast()
    local it = broadcast()
    local other = it.sender:subscribe()
    it.first, it.second = tcpnet.spawn(it.receiver.recv, it.receiver), tcpnet.spawn(other.recv, other)
    return it
  end

  local function watch()
    local publisher, watcher = sync.watch(0)
    return { publisher = publisher, watcher = watcher }
  end

  local function awaited_watch()
    local it = watch()
    local other = it.publisher:subscribe()
    it.first, it.second = tcpnet.spawn(it.watcher.changed, it.watcher), tcpnet.spawn(other.changed, other)
    return it
  end

  local function is_alone(it) return it.publisher:receiver_count() == 1 end

  local function token()
    local token = sync.CancellationToken.new()
    local it = { token = token, guard = token:drop_guard(), children = {} }
    for i = 1, 5 do
      it.children[i] = token:child_token()
    end
    return both(it, it.children[5].cancelled, it.children[5])
  end

  local function cancel(it) it.token:cancel() end
  local function close_guard(it) it.guard:close() end

  local function all_cancelled(call)
    return function(it)
      call(it)
      for _, child in ipairs(it.children) do
        if not child:is_cancelled() then
          return false
        end
      end
      return it.token:is_cancelled() and are_awake(it)
    end
  end

  local function publish(it) it.publisher:send(1) end
  local function promise(it) it.sent = it.sent or it.promise:send(1) end
  local function release(it) it.permit:release() end
  local function unlock(it) it.guard:unlock() end
  local function no_more(it) it.semaphore:close() end
  local function wait_for_others(it) tcpnet.timeout(0.001, it.barrier.wait, it.barrier) end
  local function come_last(it) it.sent = it.sent or it.barrier:wait() end

  local rows = {
    { "acquire", semaphore, function(it) it.semaphore:acquire() end, has_permit },
    { "try_acquire", semaphore, function(it) it.semaphore:try_acquire() end, has_permit },
    { "release", held_semaphore, release, again_and_awake(release) },
    { "add_permits", empty_semaphore, function(it) it.semaphore:add_permits(2) end, function(it)
      return it.semaphore:available_permits() == 0
    end },
    { "close of a semaphore", empty_semaphore, no_more, again_and_awake(no_more) },
    { "lock", mutex, function(it) it.mutex:lock() end, is_free },
    { "try_lock", mutex, function(it) it.mutex:try_lock() end, is_free },
    { "unlock", held_mutex, unlock, again_and_awake(unlock) },
    { "wait", function() return { barrier = sync.Barrier.new(2) } end, wait_for_others, function(it)
      return not tcpnet.timeout(0.001, it.barrier.wait, it.barrier) -- still the first of two
    end },
    { "wait of the last", function()
      local barrier = sync.Barrier.new(3)
      return both({ barrier = barrier, sent = false }, barrier.wait, barrier)
    end, come_last, again_and_awake(come_last) },
    { "send of a oneshot", function()
      local it = awaited_oneshot()
      it.sent = false
      return it
    end, promise, again_and_awake(promise) },
    { "close of a promise", awaited_oneshot, close_of "promise", again_and_awake(close_of "promise") },
    { "close of an answer", unwanted_oneshot, close_of "answer", again_and_awake(close_of "answer") },
    { "send of a broadcast", broadcast, function(it) it.sent = it.sender:send(1) end, function(it)
      return it.receiver:try_recv() == (it.sent and 1 or nil) and it.sender:send(2) and it.receiver:try_recv() == 2
    end },
    { "send of a broadcast to who waits", awaited_broadcast, function(it) it.sender:send(1) end, function(it)
      return #it.receiver == 0 or are_awake(it)
    end },
    { "close of a broadcast", awaited_broadcast, close_of "sender", again_and_awake(close_of "sender") },
    { "close of a subscriber", function()
      local it = broadcast()
      return both(it, it.receiver.recv, it.receiver)
    end, close_of "receiver", again_and_awake(close_of "receiver") },
    { "subscribe", broadcast, function(it) it.sender:subscribe() end, function(it)
      return it.sender:receiver_count() == 1
    end },
    { "clone of a broadcast", broadcast, function(it) it.sender:clone() end, function(it)
      it.sender:close()
      local value, err = it.receiver:try_recv()
      return value == nil and err == nil
    end },
    { "send of a watch", awaited_watch, publish, function(it)
      return it.watcher:borrow() == 0 or are_awake(it)
    end },
    { "close of a publisher", awaited_watch, close_of "publisher", again_and_awake(close_of "publisher") },
    { "close of a watcher", function()
      local it = watch()
      return both(it, it.watcher.changed, it.watcher)
    end, close_of "watcher", again_and_awake(close_of "watcher") },
    { "subscribe of a watch", watch, function(it) it.publisher:subscribe() end, is_alone },
    { "clone of a watcher", watch, function(it) it.watcher:clone() end, is_alone },
    { "cancel", token, cancel, all_cancelled(cancel) },
    { "close of a drop guard", token, close_guard, all_cancelled(close_guard) },
  }

  local function deep(levels, fn, it)
    if levels > 0 then
      deep(levels - 1, fn, it)
    else
      fn(it)
    end
  end

  local attempts = 0
  for _, row in ipairs(rows) do
    local what, make, call, right = table.unpack(row)
    for run = 0, 9 do
      local levels, sticky = run // 2, run % 2 == 0 -- the stack has to grow in other places below so many calls
      local nth, hits = 0
      repeat
        nth = nth + 1
        time_limit(20)
        local it = make()
        tcpnet.sleep(0)
        _, hits = attempt(function() deep(levels, call, it) end, nth, sticky)
        collectgarbage()
        collectgarbage()
        local fine, answer = pcall(right, it)
        assert(fine and answer, ("%s, %d levels, allocation %d: %s"):format(what, levels, nth, answer))
        for _, name in ipairs { "first", "second" } do
          if it[name] then
            it[name]:cancel()
          end
        end
      until hits == 0
      attempts = attempts + nth
    end
  end
  print(attempts > 500 and "nothing lost") ]]

describe("a call of sync for which Lua has no memory", function()
  it("loses nothing, and leaves nobody waiting", function()
    local output = program.in_host(script)
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("nothing lost\n", output)
  end)
end)
