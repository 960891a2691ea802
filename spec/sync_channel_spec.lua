-- tcpnet.sync: channel and unbounded (Tokio's mpsc), and what every waiting operation of tcpnet.sync has in common.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local steps = require "spec.support.steps"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync
local nothing = steps.nothing
local closer, settle, in_task, waiting, result, is_closed, is_again, it_both = steps.all(it)

-- All that is in the channel now.
local function drain(receiver)
  local list = {}
  for value in receiver.try_recv, receiver do
    list[#list + 1] = value
  end
  return list
end

local kinds = {
  ["a channel"] = function() return sync.channel(4) end,
  ["an unbounded channel"] = sync.unbounded,
}

for kind, new in pairs(kinds) do
  describe(kind, function()
    before_each(leaks.note)
    after_each(leaks.check)

    it_both("gives what was sent, in order", function()
      local sender, receiver = new()
      for i = 1, 4 do
        assert.is_true(sender:send(i))
      end
      assert.equal(4, #receiver)
      for i = 1, 4 do
        assert.equal(i, receiver:recv())
      end
      assert.equal(0, #receiver)
    end)

    it_both("carries every value but nil as it is", function()
      local sender, receiver = new()
      local table_ = {}
      for _, value in ipairs { false, 0, "", 1.5, table_, print } do
        assert.is_true(sender:send(value))
        assert.equal(value, receiver:recv())
        assert.is_true(sender:try_send(value))
        assert.equal(value, receiver:try_recv())
      end
    end)

    it_both("recv waits for a message", function()
      local sender, receiver = new()
      tcpnet.spawn(function()
        tcpnet.sleep(0.002)
        sender:send "late"
      end)
      assert.equal("late", receiver:recv())
    end)

    it_both("wakes each of several receivers for one message, in order", function()
      local sender, receiver = new()
      local log = {}
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = waiting(function()
          local value = receiver:recv()
          log[#log + 1] = i .. tostring(value)
        end)
      end
      sender:send "a"
      sender:send "b"
      settle()
      assert.same({ "1a", "2b" }, log)
      assert.equal("waiting", tasks[3]:status())
      sender:send "c"
      result(tasks[3])
      assert.same({ "1a", "2b", "3c" }, log)
    end)

    it_both("ends when every sender is closed and all is received", function()
      local sender, receiver = new()
      local other = assert(sender:clone())
      sender:send(1)
      sender:close()
      sender:close()
      other:send(2)
      assert.equal(1, receiver:recv())
      assert.equal(2, receiver:recv())
      is_again(receiver:try_recv())
      other:send(3)
      other:close()
      assert.equal(3, receiver:try_recv())
      assert.equal(1, select("#", receiver:recv()))
      for _ = 1, 2 do
        local value, err = receiver:recv()
        assert.is_nil(value)
        assert.is_nil(err)
        value, err = receiver:try_recv()
        assert.is_nil(value)
        assert.is_nil(err)
      end
    end)

    it_both("tells every receiver that waits of the end", function()
      local sender, receiver = new()
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = waiting(function() return "end", receiver:recv() end)
      end
      sender:close()
      for i = 1, 3 do
        assert.same({ n = 2, "end" }, table.pack(result(tasks[i])))
      end
    end)

    it("refuses what a closed sender is asked", in_task(function()
      local sender, receiver = new()
      local other = sender:clone()
      sender:close()
      assert.is_true(sender:is_closed())
      assert.is_false(other:is_closed())
      is_closed("the sender is closed", sender:send(1))
      is_closed("the sender is closed", sender:try_send(1))
      is_closed("the sender is closed", sender:reserve())
      is_closed("the sender is closed", sender:clone())
      assert.is_true(other:send(2))
      assert.same({ 2 }, drain(receiver))
    end))

    it("closed by its receiver refuses senders, and gives what was sent before", in_task(function()
      local sender, receiver = new()
      sender:send(1)
      sender:send(2)
      assert.is_false(receiver:is_closed())
      receiver:close()
      receiver:close()
      assert.is_true(receiver:is_closed())
      assert.is_true(sender:is_closed())
      is_closed("the receiver is closed", sender:send(3))
      is_closed("the receiver is closed", sender:try_send(3))
      is_closed("the receiver is closed", sender:reserve())
      assert.equal(1, receiver:recv())
      assert.equal(2, receiver:try_recv())
      assert.same({ n = 1 }, table.pack(receiver:recv()))
      assert.same({ n = 1 }, table.pack(receiver:try_recv()))
    end))

    it("closed by its receiver ends the waits in it", in_task(function()
      local _sender, receiver = new()
      local task = waiting(function() return "end", receiver:recv() end)
      receiver:close()
      assert.same({ n = 2, "end" }, table.pack(result(task)))
    end))

    it_both("ends when its senders are collected, with a task that waits and before", function()
      local sender, receiver = new()
      local other = sender:clone() -- luacheck: ignore
      local task = waiting(function() return "end", receiver:recv() end)
      sender, other = nil, nil -- luacheck: ignore
      collectgarbage()
      assert.same({ n = 2, "end" }, table.pack(result(task)))
      sender, receiver = new()
      sender:send "left"
      sender = nil -- luacheck: ignore
      collectgarbage()
      assert.equal("left", receiver:recv())
      assert.same({ n = 1 }, table.pack(receiver:try_recv()))
    end)

    it("does not end while a task waits in a clone", in_task(function()
      local sender, receiver = sync.channel(1)
      sender:send(1)
      local task = waiting(function(clone) return clone:send(2) end, sender:clone())
      sender:close()
      collectgarbage()
      assert.equal(1, receiver:recv())
      assert.equal(2, receiver:recv())
      assert.is_true(result(task))
    end))

    it("closes when its receiver is collected", in_task(function()
      local sender, receiver = new() -- luacheck: ignore
      receiver = nil -- luacheck: ignore
      collectgarbage()
      assert.is_true(sender:is_closed())
      is_closed("the receiver is closed", sender:send(1))
    end))

    it("sends and receives with to-be-closed variables", in_task(function()
      local sender, receiver = new()
      do
        local _sender <close> = sender
        sender:send(1)
      end
      assert.equal(1, receiver:recv())
      assert.same({ n = 1 }, table.pack(receiver:recv()))
      sender, receiver = new()
      do
        local _receiver <close> = receiver
      end
      is_closed("the receiver is closed", sender:send(1))
    end))

    it_both("is iterated by a for loop to its end", function()
      local sender, receiver = new()
      local task = tcpnet.spawn(function()
        local _sender <close> = sender
        for i = 1, 10 do
          sender:send(i)
          tcpnet.yield()
        end
      end)
      local got = {}
      for value in receiver do
        got[#got + 1] = value
      end
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, got)
      result(task)
    end)

    it("keeps a message that a cancelled receiver was woken for", in_task(function()
      local sender, receiver = new()
      local first = waiting(receiver.recv, receiver)
      local second = waiting(receiver.recv, receiver)
      sender:send "kept"
      assert.equal("ready", first:status())
      first:cancel()
      assert.equal("kept", result(second))
      first = waiting(receiver.recv, receiver)
      sender:send "kept too"
      first:cancel()
      assert.equal(1, #receiver)
      assert.equal("kept too", receiver:try_recv())
    end))

    it("keeps the order when woken receivers are cancelled", in_task(function()
      local sender, receiver = new()
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = waiting(receiver.recv, receiver)
      end
      sender:send(1)
      sender:send(2)
      sender:send(3)
      tasks[1]:cancel()
      tasks[2]:cancel()
      tasks[3]:cancel()
      assert.same({ 1, 2, 3 }, drain(receiver))
    end))

    it("tells the next receiver of the end when one that was told is cancelled", in_task(function()
      local sender, receiver = new()
      local first = waiting(receiver.recv, receiver)
      local second = waiting(function() return "end", receiver:recv() end)
      sender:send(1)
      sender:close()
      first:cancel()
      assert.same({ n = 2, "end", 1 }, table.pack(result(second)))
    end))

    it_both("recv loses nothing to timeout and select", function()
      local sender, receiver = new()
      local value, err = tcpnet.timeout(0.002, receiver.recv, receiver)
      assert.is_nil(value)
      assert.equal("TIMEOUT", err.code)
      assert.equal("other", tcpnet.select { slow = function() return receiver:recv() end, other = nothing })
      sender:send(1)
      assert.equal(1, tcpnet.timeout(10, receiver.recv, receiver))
      sender:send(2)
      local key, got = tcpnet.select {
        recv = function() return receiver:recv() end,
        slow = function() tcpnet.sleep(60) end,
      }
      assert.same({ "recv", 2 }, { key, got })
      sender:send(3)
      local won = tcpnet.select { nothing, function() return receiver:recv() end }
      assert.equal(1, won)
      assert.equal(3, receiver:try_recv())
    end)

    it_both("keeps a message that comes in the moment in which recv loses a select", function()
      local sender, receiver = new()
      local key = tcpnet.select {
        function() return receiver:recv() end,
        function()
          sender:send "both ready"
          return "second"
        end,
      }
      assert.equal(2, key)
      assert.equal("both ready", receiver:try_recv())
    end)

    it_both("loses nothing where several branches of a select are ready at once", function()
      local sender, receiver = new()
      local other_sender, other = new()
      sender:send(1)
      other_sender:send(2)
      local key, value = tcpnet.select {
        function() return receiver:recv() end,
        function() return other:recv() end,
      }
      assert.same({ 1, 1 }, { key, value })
      assert.equal(2, other:try_recv())
      local task = tcpnet.spawn(function()
        tcpnet.sleep(0.002)
        other_sender:send(3)
        sender:send(4)
      end)
      key, value = tcpnet.select {
        function() return receiver:recv() end,
        function() return other:recv() end,
      }
      assert.same({ 2, 3 }, { key, value })
      assert.equal(4, receiver:try_recv())
      result(task)
    end)

    it("refuses nil, and blames the caller's line", in_task(function()
      local sender, receiver = new()
      local permit = sender:reserve()
      for name, call in pairs {
        send = function() sender:send() end,
        try_send = function() sender:try_send(nil) end,
        ["send "] = function() permit:send(nil) end,
      } do
        local ok, message = pcall(call)
        assert.is_false(ok)
        local where = ("%s:%d: "):format(debug.getinfo(call, "S").short_src, debug.getinfo(call, "S").linedefined)
        assert.equal(where .. ("bad argument #1 to '%s' (a value expected, got nil: that is the end of a channel)")
          :format((name:gsub(" ", ""))), message)
      end
      assert.is_true(permit:send "the permit lives")
      assert.same({ "the permit lives" }, drain(receiver))
    end))

    it("reserves a place that is used later", in_task(function()
      local sender, receiver = new()
      local permit = assert(sender:reserve())
      sender:send "first"
      assert.is_true(permit:send "second")
      assert.same({ "first", "second" }, drain(receiver))
      local ok, message = pcall(function() permit:send "again" end)
      assert.is_false(ok)
      assert.matches("^[^:]*sync_channel_spec%.lua:%d+: .*the permit was used or released", message)
      permit:release()
      permit = assert(sender:reserve())
      permit:release()
      permit:release()
      assert.is_false(pcall(permit.send, permit, 1))
      assert.same({}, drain(receiver))
    end))

    it("gives what permits send after its receiver closed, and ends with the last of them", in_task(function()
      local sender, receiver = new()
      local used, released, collected = sender:reserve(), sender:reserve(), sender:reserve() -- luacheck: ignore
      receiver:close()
      is_again(receiver:try_recv())
      local task = waiting(receiver.recv, receiver)
      assert.is_true(used:send "promised")
      assert.equal("promised", result(task))
      task = waiting(function() return "end", receiver:recv() end)
      released:release()
      settle()
      assert.equal("waiting", task:status())
      collected = nil -- luacheck: ignore
      collectgarbage()
      assert.same({ n = 2, "end" }, table.pack(result(task)))
    end))

    it("tells every receiver of the end that comes with the last permit", in_task(function()
      local sender, receiver = new()
      local permit = sender:reserve()
      sender:close()
      local first, second = waiting(receiver.recv, receiver), waiting(receiver.recv, receiver)
      permit:send "last"
      assert.equal("last", result(first))
      assert.is_nil(result(second))
    end))

    it("keeps what a permit promises when its sender closes", in_task(function()
      local sender, receiver = new()
      local permit = sender:reserve()
      sender:close()
      is_again(receiver:try_recv())
      assert.is_true(permit:send "promised")
      assert.equal("promised", receiver:recv())
      assert.same({ n = 1 }, table.pack(receiver:recv()))
    end))
  end)
end

describe("a channel's back-pressure", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it_both("makes send wait for room, in order", function()
    local sender, receiver = sync.channel(2)
    assert.equal(2, sender:capacity())
    local log = {}
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = tcpnet.spawn(function()
        local sent = sender:send(i)
        log[#log + 1] = { i, sent }
      end)
    end
    settle()
    assert.same({ { 1, true }, { 2, true } }, log)
    assert.equal(0, sender:capacity())
    assert.equal(2, #receiver)
    is_again(sender:try_send(9))
    assert.equal(1, receiver:recv())
    settle()
    assert.same({ 3, true }, log[3])
    assert.is_nil(log[4])
    for i = 2, 5 do
      assert.equal(i, receiver:recv())
    end
    for i = 1, 5 do
      result(tasks[i])
    end
    assert.equal(2, sender:capacity())
  end)

  it_both("send waits outside and inside tasks until a receiver takes one", function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local task = tcpnet.spawn(function()
      tcpnet.sleep(0.002)
      return receiver:recv()
    end)
    assert.is_true(sender:send(2))
    assert.equal(1, result(task))
    assert.equal(2, receiver:try_recv())
  end)

  it("gives room to who waits, not to who comes later", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local task = waiting(sender.send, sender, 2)
    assert.equal(1, receiver:recv())
    is_again(sender:try_send "snatched")
    assert.is_true(result(task))
    assert.same({ 2 }, drain(receiver))
  end))

  it("an unbounded channel has none", in_task(function()
    local sender, receiver = sync.unbounded()
    assert.is_nil(sender:capacity())
    for i = 1, 10000 do
      sender:send(i)
    end
    assert.equal(10000, #receiver)
    local permit = sender:reserve()
    permit:release()
    for i = 1, 10000 do
      assert.equal(i, (receiver:recv()))
    end
  end))

  it("a send that is cancelled, times out or loses a select has sent nothing", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send "there"
    local task = waiting(sender.send, sender, "cancelled")
    task:cancel()
    local value, err = tcpnet.timeout(0.002, sender.send, sender, "late")
    assert.is_nil(value)
    assert.equal("TIMEOUT", err.code)
    tcpnet.select { function() return sender:send "lost" end, nothing }
    assert.equal("there", receiver:recv())
    settle()
    is_again(receiver:try_recv())
    assert.equal(1, sender:capacity())
  end))

  it("a send that was given room and is cancelled gives it to the next", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local first = waiting(sender.send, sender, 2)
    local second = waiting(sender.send, sender, 3)
    assert.equal(1, receiver:recv())
    assert.equal("ready", first:status())
    first:cancel()
    assert.is_true(result(second))
    assert.same({ 3 }, drain(receiver))
    assert.equal(1, sender:capacity())
  end))

  it("closing the receiver ends every send and reserve that waits", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local send, reserve = waiting(sender.send, sender, 2), waiting(sender.reserve, sender)
    receiver:close()
    is_closed("the receiver is closed", result(send))
    is_closed("the receiver is closed", result(reserve))
    assert.same({ 1 }, drain(receiver))
  end))

  it("collecting the receiver ends every send that waits", in_task(function()
    local sender, receiver = sync.channel(1) -- luacheck: ignore
    sender:send(1)
    local task = waiting(sender.send, sender, 2)
    receiver = nil -- luacheck: ignore
    collectgarbage()
    is_closed("the receiver is closed", result(task))
  end))

  it("a send that was given room just before the receiver closed sends nothing behind the end", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local send = waiting(sender.send, sender, 2)
    assert.equal(1, receiver:recv())
    assert.equal("ready", send:status())
    receiver:close()
    assert.same({ n = 1 }, table.pack(receiver:recv()))
    is_closed("the receiver is closed", result(send))
    assert.same({ n = 1 }, table.pack(receiver:try_recv()))
  end))

  it("closing a sender ends the waits in it, and no other", in_task(function()
    local sender, receiver = sync.channel(1)
    local other = sender:clone()
    sender:send(1)
    local send, reserve = waiting(sender.send, sender, 2), waiting(sender.reserve, sender)
    local others = waiting(other.send, other, 3)
    sender:close()
    is_closed("the sender is closed", result(send))
    is_closed("the sender is closed", result(reserve))
    assert.equal(1, receiver:recv())
    assert.equal(3, receiver:recv())
    assert.is_true(result(others))
  end))

  it("a send that was given room just before its sender closed sends nothing behind the end", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local send = waiting(sender.send, sender, 2)
    assert.equal(1, receiver:recv())
    sender:close()
    assert.same({ n = 1 }, table.pack(receiver:recv()))
    is_closed("the sender is closed", result(send))
    assert.same({ n = 1 }, table.pack(receiver:try_recv()))
  end))

  it("counts permits until they are used, released, closed or collected", in_task(function()
    local sender, receiver = sync.channel(2)
    local used, released = sender:reserve(), sender:reserve()
    assert.equal(0, sender:capacity())
    is_again(sender:try_send(1))
    local task = waiting(sender.send, sender, "waited")
    released:release()
    assert.is_true(result(task))
    used:send "used"
    assert.equal(0, sender:capacity())
    assert.same({ "waited", "used" }, drain(receiver))
    do
      local _permit <close> = sender:reserve()
      assert.equal(1, sender:capacity())
    end
    assert.equal(2, sender:capacity())
    local collected = sender:reserve() -- luacheck: ignore
    collected = nil -- luacheck: ignore
    collectgarbage()
    assert.equal(2, sender:capacity())
  end))

  it("gives back the room of a permit whose sender is closed", in_task(function()
    local sender, receiver = sync.channel(1)
    local clone = sender:clone()
    local permit = clone:reserve()
    clone:close()
    permit:send(1)
    drain(receiver)
    assert.equal(1, sender:capacity())
    assert.is_true(sender:try_send(2))
  end))

  it("a reserve that is cancelled with its place granted gives it back", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local task = waiting(sender.reserve, sender)
    receiver:recv()
    assert.equal("ready", task:status())
    task:cancel()
    assert.equal(1, sender:capacity())
  end))

  it("refuses a capacity that is none, and blames the caller's line", function()
    for shown, capacity in pairs { ["0"] = 0, ["-1"] = -1, ["1.5"] = 1.5, string = "x", boolean = true } do
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, message = pcall(function() sync.channel(capacity) end)
      assert.is_false(ok)
      local where = ("%s:%d: "):format(debug.getinfo(1, "S").short_src, line)
      assert.equal(where .. "bad argument #1 to 'channel' (capacity: integer from 1 expected, got " .. shown .. ")",
        message)
    end
    assert.is_false((pcall(sync.channel)))
  end)
end)

-- Every operation of tcpnet.sync that may wait: a function that makes it ready to be called again and again without a
-- wait, and one that makes it wait for ever. Each gives the function that calls it.
local operations = {
  ["channel send"] = {
    function()
      local sender, receiver = sync.channel(1)
      return function() return sender:send(1), receiver:try_recv() end
    end,
    function()
      local sender, receiver = sync.channel(1)
      sender:send(1)
      return function() return sender:send(1) end, receiver
    end,
  },
  ["channel recv"] = {
    function()
      local sender, receiver = sync.channel(1)
      return function() return sender:try_send(1), receiver:recv() end
    end,
    function()
      local sender, receiver = sync.channel(1)
      return function() return receiver:recv() end, sender
    end,
  },
  ["channel reserve"] = {
    function()
      local sender = sync.unbounded()
      return function() return sender:reserve() end
    end,
    function()
      local sender, receiver = sync.channel(1)
      sender:send(1)
      return function() return sender:reserve() end, receiver
    end,
  },
  ["oneshot recv"] = {
    function()
      return function()
        local sender, receiver = sync.oneshot()
        sender:send(1)
        return receiver:recv()
      end
    end,
    function()
      local sender, receiver = sync.oneshot()
      return function() return receiver:recv() end, sender
    end,
  },
  ["oneshot closed"] = {
    function()
      local sender, receiver = sync.oneshot()
      receiver:close()
      return function() return sender:closed() end
    end,
    function()
      local sender, receiver = sync.oneshot()
      return function() return sender:closed() end, receiver
    end,
  },
  ["broadcast recv"] = {
    function()
      local sender = sync.broadcast(1)
      local receiver = sender:subscribe()
      return function() return sender:send(1), receiver:recv() end
    end,
    function()
      local sender = sync.broadcast(1)
      local receiver = sender:subscribe()
      return function() return receiver:recv() end, sender
    end,
  },
  ["watch changed"] = {
    function()
      local sender, receiver = sync.watch(0)
      return function() return sender:send(1), receiver:changed() end
    end,
    function()
      local sender, receiver = sync.watch(0)
      return function() return receiver:changed() end, sender
    end,
  },
  ["watch wait_for"] = {
    function()
      local _, receiver = sync.watch(0)
      return function() return receiver:wait_for(function(value) return value == 0 end) end
    end,
    function()
      local sender, receiver = sync.watch(0)
      return function() return receiver:wait_for(function(value) return value == 1 end) end, sender
    end,
  },
  ["Notify notified"] = {
    function()
      local notify = sync.Notify.new()
      return function() return notify:notify_one(), notify:notified() end
    end,
    function()
      local notify = sync.Notify.new()
      return function() return notify:notified() end
    end,
  },
  ["Semaphore acquire"] = {
    function()
      local semaphore = sync.Semaphore.new(1)
      return function() return semaphore:acquire():release() end
    end,
    function()
      local semaphore = sync.Semaphore.new(1)
      return function() return semaphore:acquire(2) end
    end,
  },
  ["Mutex lock"] = {
    function()
      local mutex = sync.Mutex.new()
      return function() return mutex:lock():unlock() end
    end,
    function()
      local mutex = sync.Mutex.new()
      local guard = mutex:lock()
      return function() return mutex:lock() end, guard
    end,
  },
  ["Barrier wait"] = {
    function()
      local barrier = sync.Barrier.new(1)
      return function() return barrier:wait() end
    end,
    function()
      local barrier = sync.Barrier.new(2)
      return function() return barrier:wait() end
    end,
  },
  ["CancellationToken cancelled"] = {
    function()
      local token = sync.CancellationToken.new()
      token:cancel()
      return function() return token:cancelled() end
    end,
    function()
      local token = sync.CancellationToken.new()
      return function() return token:cancelled() end
    end,
  },
  ["CancellationToken run_until_cancelled"] = {
    function()
      local token = sync.CancellationToken.new()
      return function() return token:run_until_cancelled(nothing) end
    end,
    function()
      local token = sync.CancellationToken.new()
      return function() return token:run_until_cancelled(tcpnet.sleep, 60) end
    end,
  },
}

for name, operation in pairs(operations) do
  local make_ready, make_waiting = table.unpack(operation)
  describe(name, function()
    before_each(leaks.note)
    after_each(leaks.check)

    it("gives way to other tasks after 128 in a row", in_task(function()
      local call = make_ready()
      local turns = steps.turns_during(function()
        for _ = 1, 1280 do
          call()
        end
      end)
      assert.is_true(turns >= 9, turns .. " turns")
    end))

    it("in a __close run by a cancel is tried once, and gives CANCELED where it would wait", in_task(function()
      local call, _keep = make_waiting()
      local results
      local task = waiting(function()
        local _guard <close> = closer(function()
          results = table.pack(call())
        end)
        tcpnet.sleep(60)
      end)
      task:cancel()
      assert.equal("cancelled", task:status())
      assert.is_nil(results[1])
      assert.equal("CANCELED", results[2] and results[2].code)
      local works = make_ready()
      task = waiting(function()
        local _guard <close> = closer(function()
          results = "called"
          for _ = 1, 300 do
            works()
          end
          results = "worked"
        end)
        tcpnet.sleep(60)
      end)
      task:cancel()
      assert.equal("cancelled", task:status())
      if name ~= "CancellationToken run_until_cancelled" then -- its function is a task that gets no turn there
        assert.equal("worked", results)
      end
    end))

    it("raises at its first call where nothing can wait", in_task(function()
      local call, calls = make_ready(), 0
      local ok, message = pcall(string.gsub, "xx", "x", function()
        call()
        calls = calls + 1
      end)
      assert.equal(0, calls)
      assert.is_false(ok)
      assert.matches("cannot wait here", tostring(message))
      assert.matches("tcpnet.coroutine", tostring(message), 1, true)
    end))

    it("ends by a cancel, and leaves nothing behind", in_task(function()
      local call, _keep = make_waiting()
      local task = waiting(call)
      assert.is_true(task:cancel())
      assert.equal("cancelled", task:status())
      local value, err = tcpnet.timeout(0.001, call)
      assert.is_nil(value)
      assert.equal("TIMEOUT", err.code)
    end))

    it("works in a coroutine of tcpnet.coroutine", in_task(function()
      local call = make_ready()
      local ended = tcpnet.coroutine.wrap(function()
        for _ = 1, 300 do
          call()
        end
        return "ended"
      end)
      assert.equal("ended", ended())
    end))

    it("is not ended by a stranger's unpark", in_task(function()
      local call, _keep = make_waiting()
      local task = waiting(call)
      task:unpark(nil, "a stranger's")
      task:unpark()
      settle()
      assert.equal("waiting", task:status())
      task:cancel()
    end))

    it("outside tasks raises a deadlock where nothing can end it, and leaves no task behind", function()
      local call, _keep = make_waiting()
      if name == "CancellationToken run_until_cancelled" then
        return -- it sleeps
      end
      local before = tcpnet.metrics().tasks
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("^deadlock: ", tostring(message))
      assert.equal(before, tcpnet.metrics().tasks)
    end)
  end)
end

describe("an object of tcpnet.sync", function()
  it("prints with its state", in_task(function()
    local sender, receiver = sync.channel(3)
    local free, free_receiver = sync.unbounded()
    local watcher, watched = sync.watch(0)
    local broadcaster = sync.broadcast(2)
    local listener = broadcaster:subscribe()
    local once, one = sync.oneshot()
    local semaphore, mutex, barrier, notify = sync.Semaphore.new(3), sync.Mutex.new(), sync.Barrier.new(2),
      sync.Notify.new()
    local token = sync.CancellationToken.new()
    local drop_guard = token:drop_guard()
    local function all_are(...)
      local texts = {}
      for i, object in ipairs {
        sender, receiver, free, free_receiver, watcher, watched, broadcaster, listener, once, one, semaphore, mutex,
        barrier, notify, token, drop_guard,
      } do
        texts[i] = tostring(object)
      end
      assert.same({ ... }, texts)
    end
    all_are("Sender (0 messages)", "Receiver (0 messages)", "Sender (0 messages)", "Receiver (0 messages)",
      "WatchSender (1 receivers)", "WatchReceiver (seen)", "BroadcastSender (1 receivers)",
      "BroadcastReceiver (0 messages)", "OneshotSender (open)", "OneshotReceiver (open)",
      "Semaphore (3 permits, 0 in line)", "Mutex (free, 0 in line)", "Barrier (0 of 2)", "Notify (0 in line)",
      "CancellationToken (not cancelled)", "DropGuard (armed)")
    for _, object in ipairs { sender, free, watcher, broadcaster, once } do
      object:send(1)
    end
    free:send(2)
    free:close()
    local permit, guard = semaphore:acquire(2), mutex:lock()
    local in_line = {
      tcpnet.spawn(semaphore.acquire, semaphore, 2), tcpnet.spawn(mutex.lock, mutex),
      tcpnet.spawn(barrier.wait, barrier),
    }
    tcpnet.sleep(0)
    notify:notify_one()
    token:cancel()
    drop_guard:disarm()
    all_are("Sender (1 messages)", "Receiver (1 messages)", "Sender (closed)", "Receiver (2 messages)",
      "WatchSender (1 receivers)", "WatchReceiver (changed)", "BroadcastSender (1 receivers)",
      "BroadcastReceiver (1 messages)", "OneshotSender (sent)", "OneshotReceiver (sent)",
      "Semaphore (1 permits, 1 in line)", "Mutex (locked, 1 in line)", "Barrier (1 of 2)", "Notify (one kept)",
      "CancellationToken (cancelled)", "DropGuard (disarmed)")
    assert.equal("Permit (2)", tostring(permit))
    assert.equal("MutexGuard (locked)", tostring(guard))
    guard:unlock()
    assert.equal("MutexGuard (unlocked)", tostring(guard))
    for _, task in ipairs(in_line) do
      task:cancel()
    end
    one:recv()
    for _, object in ipairs { receiver, watched, watcher, broadcaster, listener, semaphore } do
      object:close()
    end
    all_are("Sender (closed)", "Receiver (closed)", "Sender (closed)", "Receiver (2 messages)", "WatchSender (closed)",
      "WatchReceiver (closed)", "BroadcastSender (closed)", "BroadcastReceiver (closed)", "OneshotSender (received)",
      "OneshotReceiver (received)", "Semaphore (closed)", "Mutex (free, 0 in line)", "Barrier (0 of 2)",
      "Notify (one kept)", "CancellationToken (cancelled)", "DropGuard (disarmed)")
  end))

  it("blames the caller's line when a method is called without it, or with another", in_task(function()
    local sender, receiver = sync.channel(1)
    local broadcaster = sync.broadcast(1)
    local semaphore, mutex = sync.Semaphore.new(1), sync.Mutex.new()
    local watcher, watched = sync.watch(0)
    local once, one = sync.oneshot()
    for _, object in ipairs {
      sender, receiver, broadcaster, broadcaster:subscribe(), semaphore, semaphore:acquire(), mutex, mutex:lock(),
      sync.Barrier.new(1), sync.Notify.new(), sync.CancellationToken.new(), sync.CancellationToken.new():drop_guard(),
      watcher, watched, once, one, (sender:reserve()),
    } do
      local class = getmetatable(object).__index
      for name, method in pairs(class) do
        if name:find "^%l" and name ~= "new" then
          local title = class.__name .. "." .. name
          for shown, wrong in pairs { ["nil"] = false, number = 7, table = {}, string = "x" } do
            local given = wrong or nil
            local line = debug.getinfo(1, "l").currentline + 1
            local ok, message = pcall(function() method(given, 1) end)
            assert.is_false(ok, title)
            local where = ("%s:%d: "):format(debug.getinfo(1, "S").short_src, line)
            assert.equal(where, tostring(message):sub(1, #where), title .. " of " .. shown)
          end
        end
      end
    end
  end))

  it("tells in its errors where the call was made", function()
    local function check_all()
      local sender, receiver = sync.channel(1)
      sender:close()
      local semaphore = sync.Semaphore.new(1)
      semaphore:close()
      local _, watched = sync.watch(0)
      watched:close()
      for op, call in pairs {
        send = function() return select(2, sender:send(1)) end,
        acquire = function() return select(2, semaphore:acquire()) end,
        changed = function() return select(2, watched:changed()) end,
      } do
        local err = call()
        assert.equal("CLOSED", err.code)
        assert.equal(op, err.op)
        local info = debug.getinfo(call, "S")
        assert.equal(("%s:%d"):format(info.short_src, info.linedefined), err.where)
      end
      assert.is_true(receiver:try_recv() == nil)
    end
    check_all()
    in_task(check_all)()
  end)

  it("leaves a script clean that ends with everything open", function()
    for _, ending in ipairs { "", "os.exit(0, true)", "os.exit(0)", "tcpnet.run(tcpnet.sleep, 0.001)" } do
      local code, output = program.lua([[
        local tcpnet = require "tcpnet"
        local sync = tcpnet.sync
        local sender, receiver = sync.channel(1)
        local semaphore, mutex, token = sync.Semaphore.new(1), sync.Mutex.new(), sync.CancellationToken.new()
        guard, lock, permit = token:drop_guard(), mutex:lock(), semaphore:acquire()
        place = sender:reserve()
        for _, wait in ipairs {
          function() receiver:recv() end, function() sender:send(1) end, function() mutex:lock() end,
          function() semaphore:acquire() end, function() token:cancelled() end,
          function() token:child_token():run_until_cancelled(tcpnet.park) end,
        } do
          tcpnet.spawn(wait)
        end
        tcpnet.spawn(tcpnet.yield):join()
      ]] .. ending)
      assert.equal("", output)
      assert.equal(0, code)
    end
  end)
end)
