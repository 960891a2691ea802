-- A sender of a channel that closed went through the whole line of those that wait for room, in whichever sender: tasks
-- that each close their own clone behind a last send took, all together, the square of their number.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("senders that close while many others wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- A channel without room, and so many tasks that wait in senders of their own.
  local function crowd(count)
    local sender, receiver = tcpnet.sync.channel(1)
    sender:send(0)
    local senders, tasks = {}, {}
    for i = 1, count do
      senders[i] = sender:clone()
      tasks[i] = tcpnet.spawn(function() return senders[i]:send(i) end)
    end
    tcpnet.sleep(0)
    return sender, receiver, senders, tasks
  end

  -- The least that it took of several times to close senders, where so many wait in others.
  local function cost(count, waiting)
    local sender, receiver, _, tasks = crowd(count)
    local least = math.huge
    for _ = 1, 5 do
      local leaving, gone = {}, {}
      for i = 1, 500 do
        leaving[i] = sender:clone()
        gone[i] = waiting and tcpnet.spawn(function() return leaving[i]:send(i) end) or nil
      end
      tcpnet.sleep(0)
      local began = os.clock()
      for i = 500, 1, -1 do
        leaving[i]:close()
      end
      least = math.min(least, os.clock() - began)
      for _, task in ipairs(gone) do
        assert.equal("CLOSED", select(3, task:join(5)).code)
      end
    end
    receiver:close()
    for _, task in ipairs(tasks) do
      assert(task:join(5))
    end
    return least
  end

  for name, waiting in pairs { ["with a task that waits in each"] = true, ["with none"] = false } do
    it("take no longer for that: " .. name, tcp.in_task(function()
      local few, many = cost(10, waiting), cost(16000, waiting)
      assert.is_true(many < 10 * few, ("%.6f s beside 10, %.6f s beside 16000"):format(few, many))
    end))
  end

  it("end all that wait in them, in order, and nobody else", tcp.in_task(function()
    local sender, receiver, senders, tasks = crowd(2)
    local leaving, ended = sender:clone(), {}
    local function wait(name)
      local ok, err = leaving:send(name)
      assert.is_nil(ok)
      ended[#ended + 1] = name .. " " .. err.code
    end
    local own = {}
    for i, name in ipairs { "first", "second", "cancelled", "third" } do
      own[i] = tcpnet.spawn(wait, name)
    end
    tcpnet.sleep(0)
    own[1]:cancel() -- whoever was the only one
    own[3]:cancel()
    own[5] = tcpnet.spawn(wait, "last")
    tcpnet.sleep(0)
    leaving:close()
    for i = 2, 5 do
      own[i]:join(5)
    end
    assert.same({ "second CLOSED", "third CLOSED", "last CLOSED" }, ended)
    assert.equal("waiting", tasks[1]:status())
    senders[2]:close()
    assert.same("CLOSED", select(3, tasks[2]:join(5)).code)
    assert.equal(0, receiver:recv())
    assert.is_true(select(2, tasks[1]:join(5)))
    assert.equal(1, receiver:recv())
  end))
end)
