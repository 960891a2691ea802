-- A wait that a __close run by a cancel is refused failed as "park", or "select", in everything of tcpnet.sync.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync

local waits = {
  acquire = function()
    return sync.Semaphore.new(0), "acquire", 1
  end,
  lock = function()
    local mutex = sync.Mutex.new()
    return mutex, "lock", nil, mutex:lock()
  end,
  notified = function()
    return sync.Notify.new(), "notified"
  end,
  wait = function()
    return sync.Barrier.new(2), "wait"
  end,
  cancelled = function()
    return sync.CancellationToken.new(), "cancelled"
  end,
  run_until_cancelled = function()
    return sync.CancellationToken.new(), "run_until_cancelled", function() tcpnet.sleep(1) end
  end,
  changed = function()
    local sender, receiver = sync.watch(1)
    return receiver, "changed", nil, sender
  end,
  ["recv, of a oneshot"] = function()
    local sender, receiver = sync.oneshot()
    return receiver, "recv", nil, sender
  end,
  ["closed, of a oneshot"] = function()
    local sender, receiver = sync.oneshot()
    return sender, "closed", nil, receiver
  end,
  ["recv, of a broadcast"] = function()
    local sender = sync.broadcast(1)
    return sender:subscribe(), "recv", nil, sender
  end,
}

describe("a wait in a __close that a cancel runs bears its own name:", function()
  for title, make in pairs(waits) do
    it(title, tcp.in_task(function()
      local object, name, argument, _kept = make()
      local failure
      local task = tcpnet.spawn(function()
        local _closing <close> = setmetatable({}, { __close = function()
          failure = table.pack(object[name](object, argument))
        end })
        tcpnet.sleep(1)
      end)
      tcpnet.yield()
      task:cancel()
      assert.is_nil(failure[1])
      assert.equal("CANCELED", failure[2].code)
      assert.equal(name, failure[2].op)
    end))
  end
end)
