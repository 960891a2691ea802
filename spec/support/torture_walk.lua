-- Fails the n-th allocation, for n = 1, 1 + STEP, …, until a script of torture_scripts.lua has fewer. Runs under
-- host.c, with arguments HOW STEP [NAME...]. HOW is "once" (Lua's, this one alone), "on" (Lua's, all from it on), or
-- "core" (the library's own, both ways; needs the build with faults). Each time the script ends well or for want of
-- memory, and everything works afterwards, with nothing left. Says how many attempts that were.
local how, step = arg[1], tonumber(arg[2])
local tcpnet = require "tcpnet"
local scripts = require "spec.support.torture_scripts"

local attempt, descriptors, time_limit = _G.attempt, _G.descriptors, _G.time_limit -- the host's
local complaints, attempts = 0, 0

local function complain(name, place, message)
  print(("%s, %s: %s"):format(name, place, message))
  complaints = complaints + 1
  if complaints == 20 then
    os.exit(1)
  end
end

local function settle()
  for _ = 1, 2 do
    collectgarbage()
  end
  for _ = 1, 20 do
    tcpnet.step(0)
    local metrics = tcpnet.metrics()
    if metrics.tasks + metrics.sources + metrics.handles == 0 then
      break
    end
  end
end

local open

-- Nothing is left, and the library goes on.
local function check_after(name, place)
  tcpnet.configure { on_task_error = false } -- which a script may have had no memory to do
  for i, fd in ipairs(scripts.given) do
    if fd ~= 0 then
      assert(tcpnet.Socket.from_fd(fd)):close()
      scripts.given[i] = 0
    end
  end
  settle()
  local metrics = tcpnet.metrics()
  for _, what in ipairs { "tasks", "sources", "handles", "timers" } do
    if metrics[what] ~= 0 then
      complain(name, place, ("%d %s are left"):format(metrics[what], what))
    end
  end
  local now = descriptors()
  for _ = 1, 200 do -- a lookup that was left behind closes its own when it comes back
    if now <= open then
      break
    end
    tcpnet.sleep(0.01)
    now = descriptors()
  end
  if now > open then
    complain(name, place, ("%d descriptors are left"):format(now - open))
    open = now
  end
end

local function for_want_of_memory(err)
  local text = tostring(err)
  return text:find "memory" or text:find "ENOMEM"
end

local function judge(name, place, outcome)
  attempts = attempts + 1
  if outcome ~= true and not for_want_of_memory(outcome) then
    complain(name, place, "it ended with: " .. tostring(outcome))
  end
  check_after(name, place)
end

local function walk_lua(name, script)
  local n = 1
  repeat
    local outcome, hits = attempt(script, n, how == "on")
    judge(name, ("allocation %d"):format(n), outcome)
    n = n + step
  until hits == 0
end

local function walk_core(name, script)
  local fault = tcpnet.private.fault
  for _, call in ipairs { "malloc", "calloc", "realloc" } do
    for _, times in ipairs { 1, 1 << 30 } do
      local n, struck = 1, 1
      while struck > 0 do
        fault(call, n, times, "ENOMEM")
        time_limit(20)
        local ok, err = pcall(script)
        struck = fault()
        judge(name, ("%s %d%s"):format(call, n, times > 1 and " and all later ones" or ""), ok or err)
        n = n + step
      end
    end
  end
end

local function works_after_all()
  local sender, receiver = assert(tcpnet.pipe())
  tcpnet.run(function()
    local reader = tcpnet.spawn(function() return receiver:read() end)
    tcpnet.yield()
    assert(sender:write "well")
    assert(select(2, reader:join()) == "well")
  end)
  sender:close()
  receiver:close()
end

local names = { table.unpack(arg, 3) }
if #names == 0 then
  for name, script in pairs(scripts) do
    names[#names + 1] = type(script) == "function" and name or nil
  end
  table.sort(names)
end
for _, name in ipairs(names) do
  scripts[name]() -- what is made once, is
  settle()
  open = descriptors()
  local before = attempts
  local started = tcpnet.now();
  (how == "core" and walk_core or walk_lua)(name, scripts[name])
  works_after_all()
  if os.getenv "TCPNET_TRACE" then
    print(name, attempts - before, ("%.1f s"):format(tcpnet.now() - started))
  end
end
print(("%s, %d attempts"):format(complaints == 0 and "fine" or "complaints", attempts))
if complaints > 0 then
  error("memory that fails was not borne", 0)
end
