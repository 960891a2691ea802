-- Workers: threads, each with a Lua state and a reactor of its own. Here a worker is a task, which waits for the
-- thread to end and then ends as it did; so joining, reports of failures and the end of `run` are what they are for
-- tasks.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local outside = require "tcpnet.outside"
local waiting = require "tcpnet.waiting"

local private = core.private
local JoinSet = core.JoinSet
local Worker, Parent = core.Worker, core.Parent

local MOST = 1024

-- The task that stands for each.
local tasks = setmetatable({}, { __mode = "k" })

-- on the worker's side ------------------------------------------------------------------------------------------------

-- What the function used from outside it: globals, modules.
local function give_back(fn, used)
  for index, name in used:gmatch "(%d+)=([^\n]*)\n" do
    debug.setupvalue(fn, tonumber(index), name == "_ENV" and _G or require(name))
  end
end

-- work(parent, fn, used, ...) → "done" | "cancelled", results
function private.work(parent, fn, used, ...)
  local main
  give_back(fn, used)
  local function ending(...)
    return main:status() == "cancelled" and "cancelled" or "done", ...
  end
  return ending(core.run(function(...)
    main = core.current()
    main:name("worker " .. parent:index())
    core.spawn(function()
      private.wait_cancel(parent)
      main:cancel()
    end)
    core.yield() -- it waits before anything computes so long that whatever runs is stopped
    return fn(parent, ...)
  end, ...))
end

-- on the parent's side ------------------------------------------------------------------------------------------------

local function settle(status, ...)
  if status == "done" then
    return ...
  elseif status == "failed" then
    error((...), 0)
  elseif core.is_error((...)) and not (...):is "CLOSED" then
    error((...), 0)
  end
  core.current():cancel()
  core.yield() -- ends here
end

local function stand_for(outcome)
  local closing <close> = outcome
  return settle(private.wait_outcome(closing))
end

-- The name of a module by what it gave; the shortest where it has several.
local function module_of(value)
  local found
  for name, loaded in pairs(package.loaded) do
    if type(value) == "table" and rawequal(loaded, value) and type(name) == "string" and not name:find "\n"
      and not (found and #found <= #name) then
      found = name
    end
  end
  return found
end

-- The function as bytes, and what of outside it uses: it takes along globals and modules, which the other state has
-- itself.
local function dump(fn)
  check.that(debug.getinfo(fn, "S").what ~= "C", 2, "workers", "a function of C cannot go to another thread")
  local used = {}
  for i = 1, 255 do
    local name, value = debug.getupvalue(fn, i)
    if not name then
      break
    end
    local source = (name == "_ENV" or rawequal(value, _G)) and "_ENV" or module_of(value)
    check.that(source, 2, "workers",
      ("the function uses the local variable '%s' from outside it, which is no module and cannot go along; %s")
      :format(name, "hand it over as an argument"))
    used[i] = ("%d=%s\n"):format(i, source)
  end
  return string.dump(fn), table.concat(used)
end

-- The function of a script, or nil, err.
local function load_script(path)
  check.that(not path:find "\0", 2, "workers", "the path contains a NUL byte")
  local file, _, errno = io.open(path)
  if not file then
    return nil, private.new_error(errno, "workers", path)
  end
  file:close()
  local fn, message = loadfile(path, "t")
  if not fn then
    return nil, private.new_error("EINVAL", "workers", path, message)
  end
  return fn
end

-- What of package.preload another state can have: name, function of C or bytes, and so on.
local function loaders()
  local list = {}
  for name, loader in pairs(package.preload) do
    local plain = type(loader) == "function" and type(name) == "string"
    if plain and debug.getinfo(loader, "S").what ~= "C" then
      local upvalue = debug.getupvalue(loader, 1)
      plain = (upvalue == nil or upvalue == "_ENV") and not debug.getupvalue(loader, 2)
      loader = plain and string.dump(loader)
    elseif plain then
      plain = not debug.getupvalue(loader, 1)
    end
    if plain then
      table.move({ name, loader }, 1, 2, #list + 1, list)
    end
  end
  return list
end

local Workers = {}
Workers.__index = Workers
Workers.__name = "Workers"

-- workers(n, fn_or_file, ...) → Workers | nil, err: n threads that run fn(parent, ...).
function core.workers(n, fn, ...)
  n = check.integer(n, 1, MOST, 1, "workers")
  if type(fn) == "string" then
    local err
    fn, err = load_script(fn)
    if not fn then
      return nil, err
    end
  end
  check.value(fn, "function", 2, "workers")
  local chunk, used = dump(fn)
  local preload = loaders()
  local workers = setmetatable({}, Workers)
  for i = 1, n do
    local worker, outcome = private.start_worker({ i, package.path, package.cpath, preload, used }, chunk, ...)
    if not worker then
      workers:close()
      return nil, outcome
    end
    workers[i] = worker
    tasks[worker] = core.spawn(stand_for, outcome):name("worker " .. i)
  end
  return workers
end

-- one of them ---------------------------------------------------------------------------------------------------------

local function task_of(worker, name)
  check.expected(private.kind(worker) == "Worker", "Worker", worker, 1, name) -- that alone: a fork may ask too
  return tasks[worker]
end

-- join([seconds]) → true, ... | nil, err, as of a task.
function Worker:join(seconds)
  local task = task_of(self, "join")
  check.optional_seconds(seconds, 1, "join", "timeout")
  return task:join(seconds)
end

local ended = { done = true, failed = true, cancelled = true }

-- status() → "running" | "done" | "failed" | "cancelled"
function Worker:status()
  local status = task_of(self, "status"):status()
  return ended[status] and status or "running"
end

-- messages() → iterator of what recv gives, which raises on error.
local function messages(self)
  check.receiver(self, { Worker = true, Parent = true }, "Worker", "messages")
  return function()
    return waiting.or_raise(self:recv())
  end
end

Worker.messages = messages
Parent.messages = messages

-- all of them ---------------------------------------------------------------------------------------------------------

local run_join = outside(function(workers, seconds)
  local set <close> = JoinSet.new()
  local until_when = seconds and core.now() + seconds
  local worker_of = {}
  for _, worker in ipairs(workers) do
    if ended[worker:status()] then -- asked at once: the time may be up before a task has run
      local ok, err = worker:join()
      if not ok then
        return nil, err, worker
      end
    else
      worker_of[set:spawn(worker.join, worker)] = worker
    end
  end
  while #set > 0 do
    local task, called, ok, err = set:join_next(until_when and math.max(0, until_when - core.now()))
    if not task then
      return nil, called:is "TIMEOUT" and private.new_error("TIMEOUT", "join") or called
    elseif not (called and ok) then
      return nil, called and err or ok, worker_of[task]
    end
  end
  return true
end, "join")

-- join([seconds]) → true once all have returned | nil, err, worker as soon as one has not.
function Workers:join(seconds)
  check.optional_seconds(seconds, 1, "join", "timeout")
  return run_join(self, seconds)
end

function Workers:cancel()
  for _, worker in ipairs(self) do
    worker:cancel()
  end
end

function Workers:close()
  for _, worker in ipairs(self) do
    worker:close()
  end
end

check.methods(Workers, function(self)
  local running = 0
  for _, worker in ipairs(self) do
    running = running + (worker:status() == "running" and 1 or 0)
  end
  return ("%d, %d running"):format(#self, running)
end)
Workers.__close = Workers.close
