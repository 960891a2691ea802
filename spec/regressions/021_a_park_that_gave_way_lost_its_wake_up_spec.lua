-- A task that has done many operations in a row gives way at the next. Where that was a park, whoever woke it meanwhile
-- found it not parked, and it slept for ever: in every wait of tcpnet.sync, and in streams in memory.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a park after many operations in a row", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is not too late for who wakes it at once", tcp.in_task(function()
    local one, other = assert(tcpnet.UnixStream.pair())
    for operations = 100, 140 do
      local notify, waits = tcpnet.sync.Notify.new(), false
      local sleeper = tcpnet.spawn(function()
        tcpnet.yield()
        for _ = 1, operations do
          one:write "x"
        end
        waits = true
        return notify:notified()
      end)
      tcpnet.spawn(function()
        repeat
          tcpnet.yield()
        until waits
        notify:notify_one()
      end)
      assert(sleeper:join(5), operations .. " operations before")
      assert(#other:read_exact(operations) == operations) -- or there is no room in the end
    end
    one:close()
    other:close()
  end))
end)
