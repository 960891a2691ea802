-- What a program has open: tasks, sources, handles, timers, signals and children by the library's own count,
-- descriptors by the system's. The runner of the specs compares it at the end of each spec file with what there was at
-- the beginning, and has every standalone Lua that a spec starts do the same when its state is closed.
local ledger = {}

local COUNTS <const> = { "tasks", "sources", "handles", "timers", "watches" }

-- The open descriptors of this process, number → what it is; nil where the system does not tell.
function ledger.descriptors()
  local found, lfs = pcall(require, "lfs")
  if not found or lfs.attributes("/proc/self/fd", "mode") ~= "directory" then
    return nil
  end
  local open = {}
  for number in lfs.dir "/proc/self/fd" do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. number, "target")
    if target and target ~= ("/proc/%s/fd"):format(lfs.symlinkattributes("/proc/self", "target")) then -- this very look
      open[number] = target
    end
  end
  return open
end

-- entry() → what there is now.
function ledger.entry(core)
  return { metrics = core and core.metrics(), descriptors = ledger.descriptors() }
end

-- What the library puts in the place of a missing standard stream stays.
local function is_stand_in(number, target)
  return tonumber(number) <= 2 and target == "/dev/null"
end

local function only_in(one, other, text, lines)
  for number, target in pairs(one or {}) do
    if (other or {})[number] ~= target and not is_stand_in(number, target) then
      lines[#lines + 1] = text:format(number, target)
    end
  end
end

-- Which classes have how many more open.
local function more_of_classes(before, now, lines)
  for class, opened in pairs(now.opened) do
    local more = opened - (before.opened[class] or 0) - ((now.closed[class] or 0) - (before.closed[class] or 0))
    if more ~= 0 then
      lines[#lines + 1] = ("%+d %s"):format(more, class)
    end
  end
end

-- difference(before, now, core, [lost]) → text, or nil where there is none. `lost`: a descriptor that is gone counts,
-- too.
function ledger.difference(before, now, core, lost)
  local lines = {}
  if before.metrics and now.metrics then
    for _, name in ipairs(COUNTS) do
      if now.metrics[name] ~= before.metrics[name] then
        lines[#lines + 1] = ("%+d %s"):format(now.metrics[name] - before.metrics[name], name)
      end
    end
    more_of_classes(before.metrics, now.metrics, lines)
  end
  only_in(now.descriptors, before.descriptors, "descriptor %s is left open: %s", lines)
  if lost then
    only_in(before.descriptors, now.descriptors, "descriptor %s is closed: %s", lines)
  end
  if #lines == 0 then
    return nil
  end
  if core then
    for _, line in ipairs(core.private.waits()) do
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n")
end

-- Lets go of what nobody refers to, and gives libuv the turns that it takes to let go as well, and a child that was
-- killed the time that it takes to be gone.
function ledger.settle(core)
  for _ = 1, 2 do
    collectgarbage()
  end
  for turn = 1, 60 do
    core.step(turn > 10 and 0.02 or 0)
    local metrics = core.metrics()
    if metrics.watches == 0 and (turn >= 10 or metrics.handles == 0 and metrics.tasks == 0) then
      break
    end
  end
end

-- settled_difference(before, core, [lost]): the same, once it had time to go: a lookup that was left behind closes its
-- own descriptor when it comes back.
function ledger.settled_difference(before, core, lost)
  ledger.settle(core)
  local difference = ledger.difference(before, ledger.entry(core), core, lost)
  for _ = 1, 100 do
    if not difference then
      break
    end
    core.step(0.02)
    difference = ledger.difference(before, ledger.entry(core), core, lost)
  end
  return difference
end

-- The pipe that libuv keeps for the whole process, from its first loop on, has both its ends in here.
local function forget_signal_pipe(before, now)
  local ends = {}
  for number, target in pairs(now.descriptors) do
    if target:find "^pipe:" and before.descriptors[number] ~= target then
      ends[target] = ends[target] or {}
      table.insert(ends[target], number)
    end
  end
  for _, numbers in pairs(ends) do
    if #numbers == 2 then
      now.descriptors[numbers[1]], now.descriptors[numbers[2]] = nil, nil
      return
    end
  end
end

local function own_pid()
  local found, lfs = pcall(require, "lfs")
  return found and lfs.symlinkattributes("/proc/self", "target")
end

-- For a child: what is left is looked at when everything else in its state is gone, and written to the file. A fork of
-- it shares the loop with it, and leaves that alone.
function ledger.watch(path)
  local script = arg and arg[0] or "a script"
  if script:find "busted$" then -- the runner has its own
    return
  end
  local before, pid = ledger.entry(), own_pid()
  setmetatable(before, {
    __gc = function()
      if own_pid() ~= pid then
        return
      end
      local now
      local until_when = os.clock() + 1
      repeat -- a thread of a lookup may still have to close its own
        now = before.descriptors and ledger.entry()
        if now then
          forget_signal_pipe(before, now)
        end
      until not now or not ledger.difference(before, now) or os.clock() > until_when
      local difference = now and ledger.difference(before, now)
      local file = difference and io.open(path, "a")
      if file then
        file:write(("%s, when its state was closed:\n%s\n"):format(script, difference))
        file:close()
      end
    end,
  })
  debug.getregistry()[ledger] = before -- made before all else, it goes after all else
end

return ledger
