-- An operation that had given way to others, and whose coroutine was then resumed outside every task, went on there as
-- one that blocks: the reactor ran inside the coroutine, and the task was tried again and again meanwhile.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a task whose operation has given way", function()
  before_each(function() tcpnet.configure { on_task_error = function() end } end)
  after_each(function() tcpnet.configure { on_task_error = false } end)

  it("fails where its coroutine is resumed outside every task", function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local _guard <close> = tcp.guard(stream, peer)
    local thread, over
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      while not over do
        peer:write "x"
        stream:read(1)
      end
    end)
    tcpnet.step(0)
    assert.equal("ready", task:status())
    over = true
    local _, err = coroutine.resume(thread)
    assert.matches("resumed by somebody else than the reactor", tostring(err))
    local joined, failure = task:join(1)
    assert.is_nil(joined)
    assert.matches("resumed or closed by somebody else", failure)
  end)

  it("does as many as it likes while its variables close", tcp.in_task(function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local _guard <close> = tcp.guard(stream, peer)
    local done = 0
    local task = tcpnet.spawn(function()
      local _closing <close> = setmetatable({}, {
        __close = function()
          for _ = 1, 300 do
            peer:write "x"
            stream:read(1)
            done = done + 1
          end
        end,
      })
      tcpnet.park()
    end)
    tcpnet.yield()
    task:cancel()
    assert.equal(300, done)
  end))
end)
