-- A Buffer went through all the writes of it that waited for each that began to wait, and for each change through all
-- that ever had waited at once: to send one to thousands of slow peers took the square of their number.
local costs = require "spec.support.costs"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a Buffer that is written to many", function()
  before_each(function()
    leaks.note()
    collectgarbage "stop" -- a Lua that collects at every chance would walk all tasks again and again
  end)
  after_each(function()
    collectgarbage "restart"
    leaks.check()
  end)

  local function full_pair()
    local a, b, guard = tcp.unix_pair()
    while a:try_write(("x"):rep(65536)) do end
    return a, b, guard
  end

  local function new_buffer()
    return tcpnet.Buffer.new(1 << 20):append("hello")
  end

  local function writers(stream, buffer, count)
    local tasks = {}
    for i = 1, count do
      tasks[i] = tcpnet.spawn(function() return stream:write(buffer) end)
    end
    tcpnet.sleep(0)
    return tasks
  end

  local function cancel(tasks)
    for _, task in ipairs(tasks) do
      task:cancel()
    end
  end

  it("by many who wait costs each the same", tcp.in_task(function()
    local function cost(count)
      local a, _, _guard <close> = full_pair()
      local buffer, all = new_buffer(), {}
      all[1] = writers(a, buffer, count)
      local least = costs.seconds(function()
        all[#all + 1] = writers(a, buffer, 200)
      end)
      for _, tasks in ipairs(all) do
        cancel(tasks)
      end
      return least
    end
    local few, many = cost(100), cost(16000)
    assert.is_true(many < 15 * few, ("%.6f s beside 100, %.6f s beside 16000"):format(few, many))
  end))

  it("is changed as fast once they are gone", tcp.in_task(function()
    local function cost(count)
      local a, _, _guard <close> = full_pair()
      local buffer = new_buffer()
      cancel(writers(a, buffer, count))
      return costs.seconds(function()
        for _ = 1, 1000 do
          buffer:append("x")
        end
      end)
    end
    local few, many = cost(10), cost(16000)
    assert.is_true(many < 15 * few, ("%.6f s after 10, %.6f s after 16000"):format(few, many))
  end))

  it("is claimed as long as one of them waits, whichever", tcp.in_task(function()
    local a, b, _guard <close> = full_pair()
    local here, there = tcpnet.duplex(1)
    here:write("x")
    local buffer = new_buffer()
    for last = 1, 12 do -- of which every fourth waits in memory
      local tasks = {}
      for i = 1, 12 do
        tasks[i] = tcpnet.spawn(function() return (i % 4 == 0 and here or a):write(buffer, "and", buffer) end)
      end
      tcpnet.sleep(0)
      for i = 1, 12 do
        if i ~= last then
          tasks[i]:cancel()
        end
        assert.error_matches(function() buffer:append("more") end, "a write of this Buffer is waiting", 1, true)
      end
      tasks[last]:cancel()
      buffer:append("more")
    end
    there:close()
    b:close()
  end))
end)
