-- Nothing may be left behind by a test: before_each(leaks.note) and after_each(leaks.check).
local tcpnet = require "tcpnet"

local leaks = {}
local descriptors, counts

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

-- Without the descriptors, which take a program to list.
function leaks.note_counts()
  settle()
  counts = tcpnet.metrics()
end

function leaks.note()
  leaks.note_counts()
  descriptors = open_descriptors()
end

-- One that is open now and was not before.
local function new_descriptor()
  for number, target in pairs(open_descriptors() or {}) do
    if not (descriptors or {})[number] then
      return number, target
    end
  end
end

function leaks.check_counts()
  settle()
  local metrics = tcpnet.metrics()
  for _, name in ipairs { "tasks", "sources", "handles", "timers" } do
    assert(metrics[name] <= counts[name], ("%d %s are left"):format(metrics[name] - counts[name], name))
  end
end

function leaks.check()
  leaks.check_counts()
  local number, target = new_descriptor()
  for _ = 1, 100 do -- a lookup that was left behind closes its own when it comes back
    if not number then
      break
    end
    tcpnet.sleep(0.02)
    number, target = new_descriptor()
  end
  assert(not number, ("descriptor %s (%s) is left open"):format(number, target))
end

return leaks
