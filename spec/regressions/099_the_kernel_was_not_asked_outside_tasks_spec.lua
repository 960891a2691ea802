-- Outside tasks, what was over without a sleep (a yield, a sleep or a join of 0 seconds, reads of what was there) never
-- asked the kernel: in a program that did nothing else no task that waited went on. And a wait of 0 seconds for a child
-- or a signal did not ask the loop, which alone knows: it timed out each time, whatever had happened.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local PATIENCE = 2 -- seconds: each takes a few hundredths

-- kind(task) → what the program does again and again, and what is to be closed then.
local kinds = {
  ["yield"] = function() return tcpnet.yield end,
  ["sleep(0)"] = function() return function() tcpnet.sleep(0) end end,
  ["join(0)"] = function(task) return function() task:join(0) end end,
  ["join_next(0)"] = function()
    local set = tcpnet.JoinSet.new()
    set:spawn(tcpnet.sleep, math.huge)
    return function() set:join_next(0) end, set
  end,
  ["a timeout of 0 seconds"] = function() return function() tcpnet.timeout(0, tcpnet.sleep, 1) end end,
  ["accept with a timeout of 0 seconds"] = function()
    local listener = tcp.listener():set_timeout(0)
    return function() listener:accept() end, listener
  end,
  ["reads of what is there"] = function()
    local a, b, guard = tcp.unix_pair()
    return function()
      a:write "x"
      b:read()
    end, guard
  end,
  ["a channel"] = function()
    local sender, receiver = tcpnet.sync.channel(1)
    return function()
      sender:send(1)
      receiver:recv()
    end, tcp.guard(sender, receiver)
  end,
}

describe("a program outside tasks", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for title, make in pairs(kinds) do
    it("lets those that wait go on: " .. title, function()
      local reader, writer, guard = tcp.unix_pair()
      local _pair <close> = guard
      local task <close> = tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        return reader:read()
      end)
      writer:write "for the task"
      local again, open = make(task)
      local _open <close> = open
      local late = tcpnet.now() + PATIENCE
      while task:status() ~= "done" and tcpnet.now() < late do
        again()
      end
      assert.same({ true, "for the task" }, { task:join(0) })
    end)
  end
end)

describe("a wait of 0 seconds", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function poll(wait)
    local late = tcpnet.now() + PATIENCE
    local result
    repeat
      result = wait()
    until result or tcpnet.now() > late
    return result
  end

  local function ends_of_a_child()
    local child <close> = assert(tcpnet.process.spawn { "sh", "-c", "exit 3" })
    assert.same({ code = 3 }, poll(function() return child:wait(0) end))
  end

  local function hears_a_signal()
    local signal <close> = assert(tcpnet.signal "SIGUSR1")
    os.execute "kill -USR1 $PPID" -- it has come when this returns
    assert.equal("SIGUSR1", signal:recv(0))
    assert.equal("TIMEOUT", select(2, signal:recv(0)).code)
  end

  it("sees that a child has ended", ends_of_a_child)
  it("sees that a child has ended, in a task", tcp.in_task(ends_of_a_child))
  it("sees a signal that came", hears_a_signal)
  it("sees a signal that came, in a task", tcp.in_task(hears_a_signal))
end)
