-- What a channel of tcpnet.sync grants to whom, where its messages lie, and what strangers and finalizers do to that.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync
local closer, settle, in_task, waiting, result, is_closed, is_again = steps.all(it)

describe("the messages of a channel", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, capacity in ipairs { 1, 3, 4, 5, 1000, "unbounded" } do
    it("come in order however many there were before, with room for " .. capacity, in_task(function()
      local sender, receiver = sync.unbounded()
      if capacity ~= "unbounded" then
        sender, receiver = sync.channel(capacity)
      end
      local sent, got, promised = 0, 0, {}
      for round = 1, 20000 do
        local most = (round // 500 % 5) * 25 -- so that the ring grows, and stands at any place, when it does
        local choice = math.random(10)
        if choice <= 4 and #receiver < most + 1 then
          sent = sent + 1
          if not sender:try_send(sent) then
            sent = sent - 1
          end
        elseif choice <= 8 then
          local value = receiver:try_recv()
          got = got + (value and 1 or 0)
          assert.equal(value and got, value)
        elseif choice == 9 and (sender:capacity() or 1) > 0 then
          promised[#promised + 1] = sender:reserve()
        elseif #promised > 0 then
          local permit = table.remove(promised)
          if math.random(2) == 1 then
            sent = sent + 1
            permit:send(sent)
          else
            permit:release()
          end
        end
        assert.equal(sent - got, #receiver)
        if capacity ~= "unbounded" then
          assert.equal(capacity, sender:capacity() + #receiver + #promised)
        end
      end
    end))
  end

  it("are not kept once they are received", in_task(function()
    local sender, receiver = sync.unbounded()
    local alive = setmetatable({}, { __mode = "k" })
    for _ = 1, 100 do
      local message = {}
      alive[message] = true
      sender:send(message)
    end
    for _ = 1, 100 do
      receiver:recv()
    end
    collectgarbage()
    assert.is_nil(next(alive))
    assert.equal(0, #receiver)
  end))

  it("keep what they refer to as long as one end, or a permit, is there", in_task(function()
    local sender, receiver = sync.channel(2)
    local permit = sender:reserve()
    sender:send { "first" }
    sender = nil -- luacheck: ignore
    collectgarbage()
    permit:send { "second" }
    permit = nil -- luacheck: ignore
    collectgarbage()
    assert.equal("first", receiver:recv()[1])
    assert.equal("second", receiver:recv()[1])
    assert.is_nil(receiver:recv())
  end))
end)

describe("what a channel grants", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for kind, new in pairs { bounded = function() return sync.channel(4) end, unbounded = sync.unbounded } do
    it("to a receiver nobody takes who comes later: " .. kind, in_task(function()
      local sender, receiver = new()
      local first = waiting(receiver.recv, receiver)
      sender:send "first"
      is_again(receiver:try_recv())
      assert.equal(1, #receiver)
      sender:send "second"
      assert.equal("first", receiver:recv()) -- messages stay in order; one is left for who was first
      is_again(receiver:try_recv())
      assert.equal("second", result(first))
    end))
  end

  it("to a task whose coroutine a stranger closes goes to the next", function()
    for _, collects in ipairs { false, true } do
      tcpnet.run(function()
        tcpnet.configure { on_task_error = function() return true end }
        local sender, receiver = sync.channel(1)
        local clone = sender:clone()
        sender:send(1)
        local thread
        local task = waiting(function()
          thread = coroutine.running()
          clone:send "never"
        end)
        local second = waiting(sender.send, sender, 2)
        assert.equal(1, receiver:recv()) -- the place is the first task's
        coroutine.close(thread)
        if collects then
          clone = nil -- luacheck: ignore
          collectgarbage()
          collectgarbage()
        end
        settle()
        assert.equal("failed", task:status())
        assert.is_true(result(second))
        assert.equal(2, receiver:try_recv())
        assert.equal(1, sender:capacity())

        local receiving = waiting(function()
          thread = coroutine.running()
          receiver:recv()
        end)
        sender:send(3)
        coroutine.close(thread)
        settle()
        assert.equal("failed", receiving:status())
        assert.equal(3, receiver:try_recv())
        tcpnet.configure { on_task_error = false }
      end)
    end
  end)

  it("to a coroutine that a stranger resumes is given back at the next call", in_task(function()
    local sender, receiver = sync.channel(1)
    sender:send(1)
    local inner
    local task = tcpnet.spawn(function()
      inner = tcpnet.coroutine.create(function() return sender:send "lost" end)
      local ok = tcpnet.coroutine.resume(inner)
      assert(not ok)
      return receiver:try_recv(), sender:send "sent"
    end)
    settle()
    assert.equal(1, receiver:recv())
    coroutine.resume(inner) -- Lua's own
    local first, ok = result(task)
    assert.is_nil(first)
    assert.is_true(ok)
    assert.equal("sent", receiver:recv())
    assert.equal(1, sender:capacity())
  end))

  it("in a loop raises what ends it early", in_task(function()
    local _sender, receiver = sync.channel(1)
    local ok, err
    local task = waiting(function()
      local _guard <close> = closer(function()
        ok, err = pcall(function()
          for _ in receiver do
            error "a message that nobody sent"
          end
        end)
      end)
      tcpnet.sleep(60)
    end)
    task:cancel()
    assert.is_false(ok)
    assert.equal("CANCELED", err.code)
  end))

  it("finalizers may take, give back and close, in the middle of a call", in_task(function()
    for round = 1, 300 do
      local sender, receiver = sync.channel(2)
      local clone = sender:clone()
      local permit = sender:reserve()
      local action = round % 5
      setmetatable({}, { __gc = function()
        if action == 0 then
          sender:try_send "finalizer"
        elseif action == 1 then
          receiver:close()
        elseif action == 2 then
          permit:release()
        elseif action == 3 then
          clone:close()
        else
          receiver:try_recv()
        end
      end })
      for _ = 1, 2 do
        local place, err = tcpnet.timeout(0, clone.reserve, clone)
        assert.is_true(place ~= nil or err.code == "CLOSED" or err.code == "TIMEOUT")
        collectgarbage "step"
        if place then
          place:send(1)
        end
      end
      collectgarbage()
      permit:release()
      local left = #receiver
      while receiver:try_recv() do
        left = left - 1
      end
      assert.equal(0, left)
      assert.equal(2, sender:capacity())
    end
  end))
end)

describe("an unbounded channel", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is sent to from anywhere, for that never waits", in_task(function()
    local sender, receiver = sync.unbounded()
    string.gsub("abc", "%a", function(letter)
      sender:send(letter)
    end)
    coroutine.wrap(function() sender:send "coroutine" end)()
    setmetatable({}, { __gc = function() sender:send "finalizer" end })
    collectgarbage()
    for _, message in ipairs { "a", "b", "c", "coroutine", "finalizer" } do
      assert.equal(message, receiver:recv())
    end
  end))
end)

describe("an end of a channel", function()
  it("shows its class as its metatable, and no finalizer", function()
    local sender, receiver = sync.channel(1)
    local unbounded = sync.unbounded()
    for _, object in ipairs { sender, unbounded, receiver, (unbounded:reserve()) } do
      local class = getmetatable(object)
      assert.equal(class, class.__index)
      assert.is_function(class.send or class.recv)
      assert.is_nil(class.__gc)
      assert.matches("^" .. class.__name .. "[: ]", tostring(object))
    end
    for _, name in ipairs { "Sender", "Receiver", "ChannelPermit" } do
      assert.is_nil(tcpnet[name])
    end
  end)

  it("refuses another kind's methods, and survives being closed by hand, twice", function()
    local sender, receiver = sync.channel(1)
    local unbounded = sync.unbounded()
    for _, call in ipairs {
      function() getmetatable(sender).send(unbounded, 1) end,
      function() getmetatable(sender).send(receiver, 1) end,
      function() getmetatable(receiver).try_recv(sender) end,
      function() getmetatable(sender).try_send(io.stdout, 1) end,
    } do
      assert.is_false((pcall(call)))
    end
    local gc = debug.getmetatable(sender).__gc
    gc(sender)
    gc(sender)
    is_closed("the sender is closed", sender:try_send(1))
    debug.getmetatable(receiver).__gc(receiver)
    assert.is_true(receiver:is_closed())
    assert.is_nil(receiver:try_recv())
  end)
end)
