-- idle.lua tasks|coroutines [N]: what N suspended ones weigh; tasks sleep, coroutines have yielded.
-- Prints one line of JSON: bytes of resident memory, and of Lua's own count, for each.
local kind, count = arg[1] or "tasks", tonumber(arg[2] or 100000)

local function resident_bytes()
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match "^VmRSS:%s*(%d+)"
    if kilobytes then
      return kilobytes * 1024
    end
  end
end

local function weigh(fill)
  collectgarbage()
  collectgarbage()
  local resident, lua = resident_bytes(), collectgarbage "count"
  local anchor <const> = fill()
  collectgarbage()
  resident = (resident_bytes() - resident) / count
  lua = (collectgarbage "count" - lua) * 1024 / count
  local line = '{"kind":"%s","count":%d,"resident_bytes":%.1f,"lua_bytes":%.1f}'
  print(line:format(kind, count, resident, lua))
  return anchor
end

local function fill_coroutines()
  local all = {}
  for i = 1, count do
    all[i] = coroutine.create(coroutine.yield)
    coroutine.resume(all[i])
  end
  return all
end

local function fill_tasks()
  local tcpnet = require "tcpnet"
  local asleep = 0
  local function sleeper()
    asleep = asleep + 1
    tcpnet.sleep(3600)
  end
  for _ = 1, count do
    tcpnet.spawn(sleeper)
  end
  while asleep < count do
    tcpnet.yield()
  end
end

if kind == "coroutines" then
  weigh(fill_coroutines)
else
  require("tcpnet").run(weigh, fill_tasks)
end
