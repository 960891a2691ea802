-- A task that was cancelled while it waited still counted as one that waits while its to-be-closed variables closed:
-- the first value that a generator of tcpnet.coroutine yielded in there was taken for a wait, which cannot pass, and
-- raised an error about yields across C calls.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a to-be-closed variable of a task that waits", function()
  local function generate(got)
    return setmetatable({}, {
      __close = function()
        for value in tcpnet.coroutine.wrap(function()
          coroutine.yield(1)
          coroutine.yield(2)
        end) do
          got[#got + 1] = value
        end
      end,
    })
  end

  it("may use a generator when the task is cancelled", tcp.in_task(function()
    local got = {}
    local task = tcpnet.spawn(function()
      local _generating <close> = generate(got)
      tcpnet.park()
    end)
    tcpnet.yield()
    task:cancel()
    assert.same({ 1, 2 }, got)
  end))

  it("may do so in a coroutine inside the task", tcp.in_task(function()
    local got = {}
    local task = tcpnet.spawn(function()
      tcpnet.timeout(5, function()
        local _generating <close> = generate(got)
        tcpnet.park()
      end)
    end)
    tcpnet.yield()
    task:cancel()
    assert.same({ 1, 2 }, got)
  end))

  it("may do so when a stranger closed the task's coroutine under what waits inside", tcp.in_task(function()
    local got, thread = {}, nil
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      tcpnet.coroutine.wrap(function()
        local _generating <close> = generate(got)
        tcpnet.sleep(0.001)
      end)()
    end)
    tcpnet.yield()
    coroutine.close(thread)
    assert.is_nil(task:join(1))
    assert.same({ 1, 2 }, got)
  end))
end)
