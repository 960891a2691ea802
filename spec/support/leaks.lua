-- Nothing may be left behind by a test: before_each(leaks.note) and after_each(leaks.check).
local tcpnet = require "tcpnet"

local leaks = {}
local descriptors

-- The open descriptors of this process, by number; nil where /proc does not tell.
local function open_descriptors()
  local list = io.popen("ls -l /proc/$PPID/fd 2>/dev/null | tail -n +2", "r")
  if not list then
    return nil
  end
  local open = {}
  for line in list:lines() do
    local number, target = line:match "(%d+) %-> (.*)$"
    if number and not target:find("^pipe:") then
      open[number] = target
    end
  end
  list:close()
  return open
end

local function settle()
  for _ = 1, 2 do
    collectgarbage()
  end
  for _ = 1, 10 do
    tcpnet.step(0)
    if tcpnet.metrics().handles == 0 and tcpnet.metrics().tasks == 0 then
      break
    end
  end
end

function leaks.note()
  settle()
  descriptors = open_descriptors()
end

function leaks.check()
  settle()
  local metrics = tcpnet.metrics()
  assert(metrics.tasks == 0, ("%d tasks are left"):format(metrics.tasks))
  assert(metrics.sources == 0, ("%d sources are left"):format(metrics.sources))
  assert(metrics.handles == 0, ("%d libuv handles are left"):format(metrics.handles))
  assert(metrics.timers == 0, ("%d timers are left"):format(metrics.timers))
  for number, target in pairs(open_descriptors() or {}) do
    assert((descriptors or {})[number], ("descriptor %s (%s) is left open"):format(number, target))
  end
end

return leaks
