-- What tcpnet.sync tells to many, or once: broadcast, watch, oneshot, CancellationToken.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync
local closer, settle, in_task, waiting, result, is_closed, is_again, it_both = steps.all(it)

-- nil without an error: the end.
local function is_end(value, err)
  assert.is_nil(value)
  assert.is_nil(err)
end

local function is_lagged(missed, value, err)
  assert.is_nil(value)
  assert.equal("LAGGED", err and err.code)
  assert.equal("integer", math.type(err.missed))
  assert.equal(missed, err.missed)
  assert.matches(missed .. " messages were missed", tostring(err), 1, true)
end

describe("broadcast", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("gives every message to every receiver, in order", function()
    local sender = sync.broadcast(8)
    local receivers = { sender:subscribe(), sender:subscribe() }
    assert.equal(2, sender:receiver_count())
    for i = 1, 5 do
      assert.equal(2, sender:send(i))
    end
    for _, receiver in ipairs(receivers) do
      assert.equal(5, #receiver)
      for i = 1, 5 do
        assert.equal(i, receiver:recv())
      end
      is_again(receiver:try_recv())
      assert.equal(0, #receiver)
    end
  end)

  it_both("wakes all that wait", function()
    local sender = sync.broadcast(1)
    local tasks = {}
    for i = 1, 3 do
      local receiver = sender:subscribe()
      tasks[i] = waiting(receiver.recv, receiver)
    end
    assert.equal(3, sender:send "all")
    for i = 1, 3 do
      assert.equal("all", result(tasks[i]))
    end
  end)

  it("tells who is left behind how much was missed, and goes on with the oldest", in_task(function()
    for capacity, size in pairs { [1] = 1, [2] = 2, [3] = 4, [4] = 4, [5] = 8, [100] = 128 } do
      local sender = sync.broadcast(capacity)
      local receiver = sender:subscribe()
      for i = 1, size do
        sender:send(i)
      end
      assert.equal(1, receiver:recv()) -- full is not too much
      for i = size + 1, 2 * size + 3 do
        sender:send(i)
      end
      assert.equal(size, #receiver)
      is_lagged(size + 2, receiver:recv())
      for i = size + 4, 2 * size + 3 do
        assert.equal(i, receiver:try_recv())
      end
      is_again(receiver:try_recv())
      for i = 1, size + 1 do
        sender:send(i)
      end
      is_lagged(1, receiver:try_recv())
    end
  end))

  it("fails where nobody listens", in_task(function()
    local sender = sync.broadcast(2)
    is_closed("there are no receivers", sender:send(1))
    local receiver = sender:subscribe()
    assert.equal(1, sender:send(2))
    receiver:close()
    receiver:close()
    assert.equal(0, sender:receiver_count())
    is_closed("there are no receivers", sender:send(3))
    local late = sender:subscribe()
    is_again(late:try_recv())
    assert.equal(1, sender:send(4))
    assert.equal(4, late:recv())
  end))

  it("subscribe and resubscribe begin with what is sent next", in_task(function()
    local sender = sync.broadcast(4)
    local first = sender:subscribe()
    sender:send(1)
    local second, third = sender:subscribe(), first:resubscribe()
    assert.equal(3, sender:send(2))
    assert.equal(1, first:recv())
    assert.equal(2, first:recv())
    assert.equal(2, second:recv())
    assert.equal(2, third:recv())
  end))

  it_both("ends when all senders are closed and all is received", function()
    local sender = sync.broadcast(4)
    local receiver, slow = sender:subscribe(), sender:subscribe()
    local clone = sender:clone()
    local task = waiting(function() return "end", receiver:recv() end)
    sender:close()
    sender:close()
    is_closed("the sender is closed", sender:send(1))
    settle()
    assert.equal("waiting", task:status())
    clone:send(2)
    assert.same({ "end", 2 }, { result(task) })
    task = waiting(receiver.recv, receiver)
    clone:close()
    is_end(result(task))
    is_end(receiver:try_recv())
    assert.equal(2, slow:recv())
    is_end(slow:recv())
    is_end(slow:recv())
    is_end(slow:resubscribe():recv())
  end)

  it("a closed sender has no clones: what has ended does not begin again", in_task(function()
    local sender = sync.broadcast(4)
    local receiver = sender:subscribe()
    sender:close()
    is_end(receiver:try_recv())
    is_closed("the sender is closed", sender:clone())
    is_closed("the sender is closed", sender:subscribe())
    is_end(receiver:try_recv())
  end))

  it("ends when its senders are collected; a collected receiver does not count", in_task(function()
    local sender = sync.broadcast(4)
    local receiver, gone = sender:subscribe(), sender:subscribe() -- luacheck: ignore
    gone = nil -- luacheck: ignore
    collectgarbage()
    assert.equal(1, sender:send(1))
    sender = nil -- luacheck: ignore
    collectgarbage()
    assert.equal(1, receiver:recv())
    is_end(receiver:recv())
  end))

  it("closing a receiver ends the waits in it", in_task(function()
    local sender = sync.broadcast(4)
    local receiver, other = sender:subscribe(), sender:subscribe()
    local task = waiting(receiver.recv, receiver)
    local others = waiting(other.recv, other)
    receiver:close()
    is_end(result(task))
    assert.equal("waiting", others:status())
    assert.equal(0, #receiver)
    sender:send(1)
    assert.equal(1, result(others))
    is_end(receiver:recv())
  end))

  it("loses nothing to a cancel, a timeout or a select", in_task(function()
    local sender = sync.broadcast(4)
    local receiver = sender:subscribe()
    local task = waiting(receiver.recv, receiver)
    sender:send(1)
    task:cancel()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, sender:subscribe().recv, sender:subscribe())).code)
    assert.equal(1, receiver:recv())
    local key = tcpnet.select {
      function() return receiver:recv() end,
      function() return sender:send(2) end,
    }
    assert.equal(2, key)
    assert.equal(2, receiver:try_recv())
  end))

  it_both("is iterated by a for loop, which raises where messages were missed", function()
    local sender = sync.broadcast(2)
    local receiver = sender:subscribe()
    sender:send(1)
    sender:send(2)
    sender:close()
    local got = {}
    for value in receiver do
      got[#got + 1] = value
    end
    assert.same({ 1, 2 }, got)
    sender = sync.broadcast(1)
    receiver = sender:subscribe()
    sender:send(1)
    sender:send(2)
    local ok, err = pcall(receiver)
    assert.is_false(ok)
    is_lagged(1, nil, err)
    assert.equal(2, receiver())
  end)

  it("keeps no message that every receiver has had", in_task(function()
    local sender = sync.broadcast(8)
    local receiver, other = sender:subscribe(), sender:subscribe()
    local seen = setmetatable({}, { __mode = "k" })
    for _ = 1, 3 do
      local message = {}
      seen[message] = true
      sender:send(message)
    end
    for _ = 1, 3 do
      receiver:recv()
      other:recv()
    end
    collectgarbage()
    assert.is_nil((next(seen)))
  end))

  it("refuses nil and a capacity that is none, and blames the caller's line", function()
    local call = function(n) sync.broadcast(n) end
    local info = debug.getinfo(call, "S")
    for _, n in ipairs { 0, -1, 1.5, "x", (1 << 30) + 1, false } do
      local ok, message = pcall(call, n)
      assert.is_false(ok)
      assert.equal(("%s:%d: bad argument #1 to 'broadcast' (capacity: integer from 1 to 1073741824 expected, got %s)")
        :format(info.short_src, info.linedefined, type(n) == "number" and tostring(n) or type(n)), message)
    end
    local sender = sync.broadcast(1)
    local ok, message = pcall(function() sender:send(nil) end)
    assert.is_false(ok)
    assert.matches("^[^:]*sync_watch_spec%.lua:%d+: bad argument #1 to 'send' %(a value expected, got nil", message)
  end)
end)

describe("watch", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("shows the latest value, and whether it was seen", function()
    local sender, receiver = sync.watch "first"
    assert.equal("first", receiver:borrow())
    assert.equal("first", sender:borrow())
    assert.is_false(receiver:has_changed())
    assert.is_true(sender:send "second")
    assert.is_true(sender:send "third")
    assert.is_true(receiver:has_changed())
    assert.equal("third", receiver:borrow())
    assert.is_true(receiver:has_changed())
    assert.is_true(receiver:changed())
    assert.is_false(receiver:has_changed())
    sender:send "fourth"
    assert.equal("fourth", receiver:borrow_and_update())
    assert.is_false(receiver:has_changed())
    sender:send(nil)
    assert.is_true(receiver:changed())
    assert.is_nil(receiver:borrow())
  end)

  it_both("changed waits for the next value, in each receiver", function()
    local sender, receiver = sync.watch(0)
    local clone, subscribed = receiver:clone(), sender:subscribe()
    assert.equal(3, sender:receiver_count())
    local tasks = {}
    for i, each in ipairs { receiver, clone, subscribed } do
      tasks[i] = waiting(function() return each:changed() and each:borrow() end)
    end
    sender:send(1)
    for i = 1, 3 do
      assert.equal(1, result(tasks[i]))
    end
    tasks[1] = waiting(receiver.changed, receiver)
    tasks[1]:cancel()
  end)

  it("a value of equal content is a change, too", in_task(function()
    local sender, receiver = sync.watch(0)
    sender:send(0)
    assert.is_true(receiver:changed())
  end))

  it("a clone has seen what its original has, a subscriber what there is", in_task(function()
    local sender, receiver = sync.watch(0)
    sender:send(1)
    assert.is_true(receiver:clone():has_changed())
    assert.is_false(sender:subscribe():has_changed())
  end))

  it("ends with its sender, after the last value was seen", in_task(function()
    local sender, receiver = sync.watch(0)
    local task = waiting(function(each) return each:changed() end, receiver:clone())
    sender:send(1)
    sender:close()
    sender:close()
    assert.is_true(result(task))
    assert.is_true(receiver:changed())
    is_closed("the sender is closed", receiver:changed())
    assert.equal(1, receiver:borrow())
    is_closed("the sender is closed", sender:send(2))
    assert.equal(1, receiver:borrow())
  end))

  it_both("ends the waits when its sender closes, or is collected", function()
    local sender, receiver = sync.watch(0)
    local task = waiting(receiver.changed, receiver)
    sender:close()
    is_closed("the sender is closed", result(task))
    sender, receiver = sync.watch(0) -- luacheck: ignore
    task = waiting(receiver.changed, receiver)
    sender = nil -- luacheck: ignore
    collectgarbage()
    is_closed("the sender is closed", result(task))
  end)

  it("send fails where nobody watches, and changes nothing; send_replace does", in_task(function()
    local sender, receiver = sync.watch(0)
    receiver:close()
    receiver:close()
    is_closed("the receiver is closed", receiver:changed())
    is_closed("there are no receivers", sender:send(1))
    assert.equal(0, sender:borrow())
    assert.equal(0, sender:send_replace(2))
    assert.equal(2, sender:borrow())
    local late = sender:subscribe()
    assert.is_true(sender:send(3))
    assert.equal(3, late:borrow())
    late = nil -- luacheck: ignore
    collectgarbage()
    is_closed("there are no receivers", sender:send(4))
  end))

  it("closing a receiver ends the waits in it, and in no other", in_task(function()
    local sender, receiver = sync.watch(0)
    local other = sender:subscribe()
    local task, others = waiting(receiver.changed, receiver), waiting(other.changed, other)
    receiver:close()
    is_closed("the receiver is closed", result(task))
    assert.equal("waiting", others:status())
    sender:send(1)
    assert.is_true(result(others))
  end))

  it_both("wait_for gives the first value that will do, the present one included", function()
    local sender, receiver = sync.watch(1)
    assert.equal(1, receiver:wait_for(function(value) return value == 1 end))
    local task = waiting(function() return receiver:wait_for(function(value) return value > 2 end) end)
    sender:send(2)
    settle()
    assert.equal("waiting", task:status())
    sender:send(3)
    assert.equal(3, result(task))
    assert.is_false(receiver:has_changed())
    task = waiting(function() return receiver:wait_for(function(value) return value > 9 end) end)
    sender:send(4)
    sender:close()
    is_closed("the sender is closed", result(task))
    assert.equal(4, receiver:wait_for(function(value) return value == 4 end))
  end)

  it("wait_for gives the value that did, though a newer one has come", in_task(function()
    local sender, receiver = sync.watch(1)
    assert.equal(1, receiver:wait_for(function(value)
      sender:send(2)
      return value == 1
    end))
    assert.is_true(receiver:has_changed())
  end))

  it("loses no change to a cancel or a select", in_task(function()
    local sender, receiver = sync.watch(0)
    local task = waiting(receiver.changed, receiver)
    sender:send(1)
    task:cancel()
    assert.is_true(receiver:has_changed())
    assert.is_true(receiver:changed())
    local key = tcpnet.select {
      function() return receiver:changed() end,
      function() return sender:send(2) end,
    }
    assert.equal(2, key)
    assert.is_true(receiver:has_changed())
  end))
end)

describe("oneshot", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("carries one value, any", function()
    for _, value in ipairs { 1, false, "x" } do
      local sender, receiver = sync.oneshot()
      is_again(receiver:try_recv())
      assert.is_true(sender:send(value))
      assert.equal(value, receiver:recv())
      is_closed("the value was received already", receiver:recv())
      is_closed("the value was received already", receiver:try_recv())
    end
    local sender, receiver = sync.oneshot()
    sender:send(nil)
    is_end(receiver:try_recv())
  end)

  it_both("recv waits for it", function()
    local sender, receiver = sync.oneshot()
    tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      sender:send "late"
    end)
    assert.equal("late", receiver:recv())
  end)

  it("takes no second value, and blames the caller's line", in_task(function()
    local sender, receiver = sync.oneshot()
    sender:send(1)
    local ok, message = pcall(function() sender:send(2) end)
    assert.is_false(ok)
    assert.matches("^[^:]*sync_watch_spec%.lua:%d+: .*takes one value", message)
    assert.equal(1, receiver:recv())
  end))

  it_both("ends when the sender closes, or is collected, without a value", function()
    local sender, receiver = sync.oneshot()
    local task = waiting(receiver.recv, receiver)
    sender:close()
    sender:close()
    is_closed("the sender is closed", result(task))
    is_closed("the sender is closed", receiver:try_recv())
    is_closed("the sender is closed", sender:send(1))
    sender, receiver = sync.oneshot() -- luacheck: ignore
    task = waiting(receiver.recv, receiver)
    sender = nil -- luacheck: ignore
    collectgarbage()
    is_closed("the sender is closed", result(task))
  end)

  it("gives a value whose sender closed behind it", in_task(function()
    local sender, receiver = sync.oneshot()
    do
      local _sender <close> = sender
      sender:send(1)
    end
    assert.equal(1, receiver:recv())
  end))

  it_both("tells the sender when the receiver closes, or is collected", function()
    local sender, receiver = sync.oneshot()
    assert.is_false(sender:is_closed())
    local task = waiting(sender.closed, sender)
    receiver:close()
    receiver:close()
    assert.is_true(result(task))
    assert.is_true(sender:is_closed())
    assert.is_true(sender:closed())
    is_closed("the receiver is closed", sender:send(1))
    is_closed("the receiver is closed", receiver:recv())
    sender, receiver = sync.oneshot() -- luacheck: ignore
    task = waiting(sender.closed, sender)
    receiver = nil -- luacheck: ignore
    collectgarbage()
    assert.is_true(result(task))
  end)

  it("closing the sender ends the wait in its closed", in_task(function()
    local sender, _receiver = sync.oneshot()
    local task = waiting(sender.closed, sender)
    sender:close()
    is_closed("the sender is closed", result(task))
  end))

  it("closing the receiver ends the wait in it, and keeps a value that was sent", in_task(function()
    local sender, receiver = sync.oneshot()
    local task = waiting(receiver.recv, receiver)
    receiver:close()
    is_closed("the receiver is closed", result(task))
    assert.is_true(sender:is_closed())
    sender, receiver = sync.oneshot()
    sender:send(1)
    receiver:close()
    assert.equal(1, receiver:recv())
  end))

  it("loses nothing to a cancel, a timeout or a select", in_task(function()
    local sender, receiver = sync.oneshot()
    assert.equal("TIMEOUT", select(2, tcpnet.timeout(0.002, receiver.recv, receiver)).code)
    local task = waiting(receiver.recv, receiver)
    sender:send(1)
    task:cancel()
    assert.equal(1, receiver:recv())
    sender, receiver = sync.oneshot()
    assert.equal(2, (tcpnet.select {
      function() return receiver:recv() end,
      function() return sender:send(2) end,
    }))
    assert.equal(2, receiver:try_recv())
  end))
end)

describe("a CancellationToken", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("tells all that wait, for good", function()
    local token = sync.CancellationToken.new()
    assert.is_false(token:is_cancelled())
    local tasks = { waiting(token.cancelled, token), waiting(token.cancelled, token) }
    token:cancel()
    token:cancel()
    assert.is_true(token:is_cancelled())
    assert.is_true(result(tasks[1]))
    assert.is_true(result(tasks[2]))
    assert.is_true(token:cancelled())
  end)

  it("tells its children, and they do not tell it", in_task(function()
    local token = sync.CancellationToken.new()
    local child, other = token:child_token(), token:child_token()
    local grandchild = child:child_token()
    local task = waiting(grandchild.cancelled, grandchild)
    other:cancel()
    assert.is_true(other:is_cancelled())
    assert.is_false(token:is_cancelled())
    assert.is_false(child:is_cancelled())
    token:cancel()
    assert.is_true(child:is_cancelled())
    assert.is_true(grandchild:is_cancelled())
    assert.is_true(result(task))
    assert.is_true(token:child_token():is_cancelled())
  end))

  it("reaches a grandchild whose parent nobody holds", in_task(function()
    local token = sync.CancellationToken.new()
    local grandchild = token:child_token():child_token()
    local task = waiting(function() return token:child_token():child_token():cancelled() end)
    collectgarbage()
    token:cancel()
    assert.is_true(grandchild:is_cancelled())
    assert.is_true(result(task))
  end))

  it("a token that is collected cancels nothing", in_task(function()
    local token = sync.CancellationToken.new()
    local child = token:child_token()
    token = nil -- luacheck: ignore
    collectgarbage()
    assert.is_false(child:is_cancelled())
  end))

  it("forgets children that nobody holds", in_task(function()
    local token = sync.CancellationToken.new()
    local seen = setmetatable({}, { __mode = "k" })
    for _ = 1, 100 do
      seen[token:child_token()] = true
    end
    collectgarbage()
    assert.is_nil((next(seen)))
    token:cancel()
  end))

  it("reaches children at any depth, and any number", in_task(function()
    local token = sync.CancellationToken.new()
    local deepest, wide = token, {}
    collectgarbage "stop" -- a Lua that collects every so many allocations would walk all of them again and again
    local _collector <close> = closer(function() collectgarbage "restart" end)
    for i = 1, 300000 do
      deepest = deepest:child_token()
      wide[i % 1000] = token:child_token()
    end
    token:cancel()
    assert.is_true(deepest:is_cancelled())
    for _, child in pairs(wide) do
      assert.is_true(child:is_cancelled())
    end
  end))

  it_both("run_until_cancelled gives the results of its function, nils included", function()
    local token = sync.CancellationToken.new()
    assert.same({ n = 3, nil, 2, nil },
      table.pack(token:run_until_cancelled(function(...) return ... end, nil, 2, nil)))
    assert.equal("slept", token:run_until_cancelled(function()
      tcpnet.sleep(0.001)
      return "slept"
    end))
    local ok, err = pcall(token.run_until_cancelled, token, error, "raised", 0)
    assert.is_false(ok)
    assert.equal("raised", err)
  end)

  it_both("run_until_cancelled cancels its function, which closes its variables first", function()
    local token = sync.CancellationToken.new()
    local log = {}
    tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      token:cancel()
    end)
    local value, err = token:run_until_cancelled(function()
      local _guard <close> = closer(function() log[#log + 1] = "closed" end)
      tcpnet.sleep(60)
    end)
    assert.is_nil(value)
    assert.equal("CANCELED", err.code)
    assert.equal("run_until_cancelled", err.op)
    assert.same({ "closed" }, log)
  end)

  it_both("run_until_cancelled of a cancelled token does not run its function", function()
    local token = sync.CancellationToken.new()
    token:cancel()
    local ran = false
    local value, err = token:run_until_cancelled(function() ran = true end)
    assert.is_nil(value)
    assert.equal("CANCELED", err and err.code)
    assert.is_false(ran)
  end)

  it("run_until_cancelled prefers its function where both are done", in_task(function()
    local token = sync.CancellationToken.new()
    assert.equal("done", token:run_until_cancelled(function()
      token:cancel()
      return "done"
    end))
    token = sync.CancellationToken.new()
    local sender, receiver = sync.channel(1)
    local task = waiting(function() return token:run_until_cancelled(receiver.recv, receiver) end)
    sender:send "both"
    token:cancel()
    assert.equal("both", result(task))
  end))

  it("run_until_cancelled ends with the task that calls it", in_task(function()
    local token = sync.CancellationToken.new()
    local log = {}
    local task = waiting(function()
      token:run_until_cancelled(function()
        local _guard <close> = closer(function() log[#log + 1] = "closed" end)
        tcpnet.sleep(60)
      end)
    end)
    task:cancel()
    assert.same({ "closed" }, log)
    token:cancel()
  end))

  it("run_until_cancelled wants a function, and blames the caller's line", function()
    local token = sync.CancellationToken.new()
    local ok, message = pcall(function() token:run_until_cancelled(1) end)
    assert.is_false(ok)
    assert.matches("^[^:]*sync_watch_spec%.lua:%d+: bad argument #1 to 'run_until_cancelled' %(function expected, got ",
      message)
  end)

  it("drop_guard cancels when it is closed, or collected, unless disarmed", in_task(function()
    local token = sync.CancellationToken.new()
    do
      local _guard <close> = token:drop_guard()
      assert.is_false(token:is_cancelled())
    end
    assert.is_true(token:is_cancelled())
    token = sync.CancellationToken.new()
    local task = waiting(token.cancelled, token)
    local guard = token:drop_guard() -- luacheck: ignore
    guard = nil -- luacheck: ignore
    collectgarbage()
    assert.is_true(result(task))
    token = sync.CancellationToken.new()
    guard = token:drop_guard()
    assert.equal(token, guard:disarm())
    guard:close()
    assert.is_nil(guard:disarm())
    guard = nil -- luacheck: ignore
    collectgarbage()
    assert.is_false(token:is_cancelled())
  end))

  it("a drop_guard cancels when its task is cancelled, or fails", in_task(function()
    local token = sync.CancellationToken.new()
    local task = waiting(function()
      local _guard <close> = token:drop_guard()
      tcpnet.sleep(60)
    end)
    task:cancel()
    assert.is_true(token:is_cancelled())
    token = sync.CancellationToken.new()
    pcall(function()
      local _guard <close> = token:drop_guard()
      error "failed"
    end)
    assert.is_true(token:is_cancelled())
  end))
end)
