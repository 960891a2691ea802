-- A task that did nothing but join ended tasks, tick, async_io, look up literal addresses or go through empty lists
-- kept all others from running, for ever; async_io and lookup_host of a literal did not raise where nothing can wait.
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

local operations = {
  ["a join"] = function()
    local task = tcpnet.spawn(function() return 7 end)
    tcpnet.yield()
    return function()
      local ok, seven = task:join(0)
      assert(ok and seven == 7)
    end
  end,
  ["an interval's tick"] = function()
    local interval = tcpnet.interval(1e-9)
    return function() assert(interval:tick()) end
  end,
  async_io = function(open)
    open[1], open[2] = tcp.pair()
    return function() assert(open[1]:async_io("w", function() return true end)) end
  end,
  lookup_host = function()
    return function() assert(tcpnet.lookup_host("127.0.0.1", 1)) end
  end,
  each = function()
    return function() assert(#tcpnet.each({}, 1, print) == 0) end
  end,
}

describe("what never has to wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, make in pairs(operations) do
    local function close(open)
      for _, object in ipairs(open) do
        object:close()
      end
    end

    it("gives way after as many operations as any other: " .. name, in_task(function()
      local open = {}
      local operation = make(open)
      local turns = steps.turns_during(function()
        for _ = 1, 1290 do
          operation()
        end
      end)
      assert.is_true(turns >= 10, turns)
      assert.is_true(turns <= 40, turns)
      close(open)
    end))

    it("raises where nothing can wait: " .. name, in_task(function()
      local open = {}
      local operation = make(open)
      local ok, message = pcall(string.gsub, "x", "x", function() operation() end)
      assert.is_false(ok)
      assert.matches("tcpnet.coroutine", message, 1, true)
      close(open)
    end))
  end
end)
