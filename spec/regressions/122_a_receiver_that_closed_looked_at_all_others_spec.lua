-- A receiver of broadcast or watch that closed went through the whole line of those that wait, its own or not: as many
-- as left at once, so many times longer took each.
local costs = require "spec.support.costs"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

-- What it costs to close so many receivers, from the last to the first, each with a task that waits in it.
local function cost_of_leaving(subscribe, wait, count)
  local receivers, tasks = {}, {}
  for i = 1, count do
    receivers[i] = subscribe()
    tasks[i] = tcpnet.spawn(wait, receivers[i])
  end
  tcpnet.sleep(0)
  local hundreds = costs.hundreds(function()
    for i = count, 1, -1 do
      receivers[i]:close()
    end
  end)
  for i = 1, count do
    assert(tasks[i]:join(5))
  end
  return hundreds
end

describe("receivers that close while many others wait", function()
  for name, make in pairs {
    broadcast = function()
      local sender = tcpnet.sync.broadcast(1)
      return function() return sender:subscribe() end, function(receiver) return receiver:recv() end
    end,
    watch = function()
      local sender = tcpnet.sync.watch(1)
      return function() return sender:subscribe() end, function(receiver) return receiver:changed() end
    end,
  } do
    it("take no longer for that: " .. name, tcp.in_task(function()
      local subscribe, wait = make()
      local few = cost_of_leaving(subscribe, wait, 200)
      local many = cost_of_leaving(subscribe, wait, 1600)
      assert.is_true(many < 16 * few, ("%d for 200, %d for 1600"):format(few, many))
    end))

    it("end all that wait in them, and nobody else: " .. name, tcp.in_task(function()
      local subscribe, wait = make()
      local leaving, staying = subscribe(), subscribe()
      local gone, other = tcpnet.spawn(wait, leaving), tcpnet.spawn(wait, staying)
      local first, second = tcpnet.spawn(wait, leaving), tcpnet.spawn(wait, leaving)
      tcpnet.sleep(0)
      second:cancel()
      leaving:close()
      assert.is_true(gone:join(5))
      assert.is_true(first:join(5))
      assert.equal("waiting", other:status())
      staying:close()
      assert.is_true(other:join(5))
    end))
  end
end)
