-- Calls every method of every class that has a descriptor with a finalizer in the middle of it, where the call makes
-- its first value for Lua, its second, …: it closes the object or its peer, uses the object, or has it become
-- something else. The call has a result or fails; nothing crashes, hangs or is left. Arguments: at how many places at
-- most, [class, [method]]. Prints what went wrong, and last how much was tried.
local collect = require "spec.support.collect"
local tcpnet = require "tcpnet"
local walk = require "spec.support.walk"
local lfs = require "lfs"

local acts = {}

function acts.close(case)
  case.self:close()
end

acts["close of the peer"] = function(case)
  case.peer:close()
end

-- What never waits, and takes what it can get.
function acts.use(case)
  local buffer = tcpnet.Buffer.new(100)
  for name, arguments in pairs {
    try_read = { 10 }, try_read_into = { buffer }, try_recv = { 10 }, try_recv_many = { 2 }, try_recvmsg = {},
    try_write = { "finalizer" }, try_send = { "finalizer" }, try_accept = {}, try_peek = { 10 }, local_addr = {},
  } do
    local method = case.self[name]
    local got = method and case.active and method(case.self, table.unpack(arguments))
    case.keep(type(got) == "userdata" and got or nil)
  end
end

-- The descriptor goes on in other objects.
function acts.consumption(case)
  for _, name in ipairs { "into_split", "listen", "datagram", "into_tcp_stream", "into_unix_stream", "as_socket" } do
    local method = case.self[name]
    local first, second
    if method then
      first, second = method(case.self)
    end
    if first then
      case.keep(first, second)
      return
    end
  end
end

local places, wanted_class, wanted_name = tonumber(arg[1]), arg[2], arg[3]
local tried, complaints = 0, 0

local function complain(class, name, ...)
  print(("%s.%s: %s"):format(class, name, table.concat({ ... }, ", ")))
  complaints = complaints + 1
end

local function call(case, ...)
  case.result = table.pack(pcall(collect.during_nth, case.place, function()
    case.ran = true
    pcall(case.act, case)
  end, ...))
end

local function left()
  tcpnet.sleep(0)
  collectgarbage()
  collectgarbage()
  tcpnet.sleep(0)
  local open = 0
  for _ in lfs.dir "/proc/self/fd" do
    open = open + 1
  end
  local metrics = tcpnet.metrics()
  return open, metrics.sources, metrics.tasks
end

local function settled(open, sources, tasks)
  local open_now, sources_now, tasks_now = left()
  for _ = 1, 50 do
    if open_now <= open and sources_now <= sources and tasks_now <= tasks then
      return true
    end
    tcpnet.sleep(0.01)
    open_now, sources_now, tasks_now = left()
  end
  return false, ("%d descriptors, %d sources, %d tasks are left"):format(open_now - open, sources_now - sources,
    tasks_now - tasks)
end

local function try(class, name, fn, entry, act, place)
  local case = walk.case(class, name, fn, entry, false, call)
  case.act, case.place = acts[act], place
  -- what the finalizer has taken the call may wait for
  walk.patience = (act == "use" and 0.05 or 2) * tonumber(os.getenv "TCPNET_SLOW" or 1)
  tried = tried + 1
  local where = ("%s at place %d"):format(act, place)
  local ok, err = walk.run(case)
  local how, what
  if case.result then
    how, what = walk.outcome(case.result)
  end
  local waits = act == "use" and tostring(err):find "it hangs"
  if not ok and not how and not waits then
    complain(class, name, where, tostring(err))
  elseif how == "raises" and not what:find "^[A-Z_]+$" and not what:find "bad argument" then
    complain(class, name, where, how, what)
  end
  return case.ran
end

local function walk_method(class, name, fn, entry)
  local open, sources, tasks = left()
  for act in pairs(acts) do
    local place = 1
    while place <= places and try(class, name, fn, entry, act, place) do
      place = place + 1
    end
  end
  local ok, message = settled(open, sources, tasks)
  if not ok then
    complain(class, name, message)
  end
end

tcpnet.run(function()
  walk.classes(wanted_class, function(class, methods)
    walk.methods(class, methods, wanted_name, function(name, fn, entry)
      local started = tcpnet.now()
      walk_method(class, name, fn, entry)
      if os.getenv "TCPNET_TRACE" then
        io.stderr:write(("%s.%s: %.2f s\n"):format(class, name, tcpnet.now() - started))
      end
    end)
  end)
end)
print(("%d cases, %d complaints"):format(tried, complaints))
