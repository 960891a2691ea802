-- One script at random: tasks, or the main chunk, that make objects and call every method they have, in every place a
-- call can stand, with cancels, closes, collections and timeouts between; and what must hold all the while.
local tcpnet = require "tcpnet"
local Choices = require "fuzz.choices"
local calls = require "fuzz.script.calls"
local leaks = require "spec.support.leaks"
local makers = require "fuzz.script.makers"
local streams = require "fuzz.script.streams"
local values = require "fuzz.script.values"

local play = {}

-- Left out: what the fuzzer itself stands on, what is slow, and what takes a descriptor or a signal by its number,
-- which may be somebody else's (the makers give them their own).
local OMITTED = {
  run = true, configure = true, listen_fds = true, features = true, from_fd = true, signal = true, workers = true,
}
-- Classes whose objects are in other threads only.
local ELSEWHERE = { Parent = true }
local MODULES = { tcpnet, tcpnet.io, tcpnet.codec, tcpnet.sync, tcpnet.coroutine }
local DESCRIPTORS = { into_fd = true, into_blocking_fd = true, recv_fd = true }

local function sorted_keys(list)
  local keys = {}
  for key in pairs(list) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local class_names = sorted_keys(makers)

local World = {}
World.__index = World

local function new_world(seed, log)
  local _, quiet = tcpnet.sync.channel(1)
  return setmetatable({
    choices = Choices.random(seed), depth = 0, log = log, quiet = quiet, file = io.tmpfile(),
    pool = {}, streams = {}, tasks = {}, readers = {}, functions = {}, addresses = {}, findings = {}, history = {},
  }, World)
end

function World:finding(text)
  self.findings[#self.findings + 1] = text .. "\n  after:\n  "
    .. table.concat(self.history, "\n  ", math.max(#self.history - 15, 1))
end

-- Calls are written down as they are made: of a crash the last line is what is left.
function World:note(class, name, self_, arguments)
  local parts = {}
  for i = 1, arguments.n do
    local value = arguments[i]
    parts[i] = type(value) == "string" and ("%q"):format(value:sub(1, 20)) or calls.class_of(value) or math.type(value)
      and tostring(value) or type(value)
  end
  local line = ("%s %s%s(%s)"):format(tostring(tcpnet.current() or "main"):match "%d+" or "main",
    class and class .. ":" or ".", name, table.concat(parts, ", "))
  self.history[#self.history + 1] = line
  if self.log then
    self.log(line, self_)
  end
end

-- objects -----------------------------------------------------------------------------------------

-- Closes a descriptor that is the script's own now.
local function close_descriptor(fd)
  for _, class in ipairs { "Socket", "PipeReceiver", "PipeSender" } do
    local object = tcpnet[class].from_fd(fd)
    if object then
      object:close()
      return
    end
  end
end

function World:keep_one(value)
  local class = calls.class_of(value)
  if class then
    self.pool[#self.pool + 1] = value
    if class == "Task" then -- they live on, whoever drops them
      self.tasks[#self.tasks + 1] = value
    elseif class == "SocketAddr" and (value:is_loopback() or value:is_unix()) then
      self.addresses[#self.addresses + 1] = value
    end
  elseif type(value) == "function" or type(value) == "thread" then
    self.functions[#self.functions + 1] = value
  end
end

function World:keep(name, outcome)
  if DESCRIPTORS[name] and math.type(outcome[1]) == "integer" then
    close_descriptor(outcome[1])
  elseif name == "take_fds" then
    for _, fd in ipairs(outcome[1] or {}) do
      close_descriptor(fd)
    end
  end
  for i = 1, math.min(outcome.n, 4) do
    self:keep_one(outcome[i])
  end
end

-- make(choices, class) → an object of that class; what else was made is kept too
function World:make(choices, class)
  local outcome = table.pack(makers[class](choices))
  for i = 1, outcome.n do
    self:keep_one(outcome[i])
    local addressed = calls.class_of(outcome[i]) and tcpnet[calls.class_of(outcome[i])]
    if addressed and addressed.local_addr and addressed.closed then
      self:keep_one((outcome[i]:local_addr()))
    end
  end
  for i = 1, outcome.n do
    if calls.class_of(outcome[i]) == class then
      return outcome[i]
    end
  end
  if not tcpnet.is_error(outcome[2], "EMFILE", "CANCELED") and class ~= "Scope" then
    self:finding(("no %s was made: %s"):format(class, tostring(outcome[2])))
  end
end

function World:any(choices)
  if #self.pool == 0 or choices:once_in(6) then
    return self:make(choices, choices:pick(class_names))
  end
  return choices:pick(self.pool)
end

local function search(list, choices, fits)
  local first = choices:integer(0, #list)
  for i = 1, #list do
    local value = list[(first + i) % #list + 1]
    if fits(value) then
      return value
    end
  end
end

function World:of_class(choices, class)
  local found = choices:integer(1, 3) > 1 and search(self.pool, choices, function(value)
    return calls.class_of(value) == class
  end)
  return found or makers[class] and self:make(choices, class) or nil
end

function World:of_method(choices, method)
  return search(self.pool, choices, function(value)
    local _, methods = calls.class_of(value)
    return methods and methods[method] ~= nil
  end) or self:make(choices, "DuplexStream")
end

-- calls -------------------------------------------------------------------------------------------

local function arguments_of(world, choices)
  local arguments = { n = choices:pick { 0, 0, 0, 1, 1, 2, 3 } }
  for i = 1, arguments.n do
    arguments[i] = values.anything(world, choices)
  end
  return arguments
end

-- Methods that are no constructors of the class, by name; a constructor is called on the class instead.
local is_method = setmetatable({}, { __index = function(cache, methods)
  local list = {}
  for name, value in pairs(methods) do
    if type(name) == "string" and name:find "^%l" and type(value) == "function" and not OMITTED[name] then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  cache[methods] = list
  return list
end })

-- Calls that method on an object of that class, or the class itself, which has its constructors.
local function call_method(world, choices, class, name, object)
  object = object or world:of_class(choices, class)
  local _, methods = calls.class_of(object)
  if not methods then
    return
  end
  if choices:once_in(12) and tcpnet[class] then
    return calls.made(world, choices, name, tcpnet[class], arguments_of(world, choices))
  end
  return calls.made(world, choices, name, object, arguments_of(world, choices))
end

local function call_function(world, choices)
  local module = choices:pick(MODULES)
  local name = choices:pick(is_method[module])
  local outcome = calls.made(world, choices, name, module, arguments_of(world, choices))
  return outcome
end

-- What functions and coroutines a call gave: iterators, and the like.
local function call_result(world, choices)
  local value = #world.functions > 0 and choices:pick(world.functions) or nil
  if type(value) == "function" then
    pcall(value, values.anything(world, choices))
  elseif value then
    local name = choices:pick { "resume", "close", "status", "isyieldable", "wrap" }
    calls.raw(world, name, choices:once_in(2) and tcpnet.coroutine or coroutine, table.pack(value))
  end
end

-- A call of anything, wherever that is; not too deep, since a callback may make another.
function World:call_some(choices)
  if self.depth > 3 then
    return
  end
  self.depth = self.depth + 1
  local _back <close> = setmetatable({}, { __close = function() self.depth = self.depth - 1 end })
  local kind = choices:integer(1, 12)
  if kind == 1 then
    call_function(self, choices)
  elseif kind == 2 then
    call_result(self, choices)
  else
    local object = self:any(choices)
    local class, methods = calls.class_of(object)
    if class then
      call_method(self, choices, class, choices:pick(is_method[methods]), object)
    end
  end
end

function World:close_some(choices)
  local object = search(self.pool, choices, function(value)
    local _, methods = calls.class_of(value)
    return methods and methods.close
  end)
  if object then
    calls.raw(self, "close", object, { n = 0 })
  end
end

-- where a call can stand --------------------------------------------------------------------------

local places = {
  function(_, _, call) call() end,
  function(_, _, call) call() end,
  function(_, choices, call) tcpnet.timeout(choices:pick { 0, 0.0005, 0.002 }, call) end,
  function(world, _, call) world:keep_one(tcpnet.spawn(call)) end,
  function(_, _, call) tcpnet.coroutine.wrap(call)() end,
  function(_, _, call) tcpnet.select { call, function() tcpnet.yield() end } end,
  function(_, _, call) ("x"):gsub("x", function() call() end) end,
  function(_, _, call) coroutine.wrap(call)() end,
  function(_, _, call)
    setmetatable({}, { __gc = function() pcall(call) end })
    collectgarbage()
  end,
  function(_, _, call)
    local _closing <close> = setmetatable({}, { __close = call })
    tcpnet.yield()
  end,
  function(_, _, call) tcpnet.scope(function(scope) scope:spawn(call) end) end,
}

-- Outside tasks a call may wait for ever; whoever waits with it ends that by closing what it waits for.
local function rescued(world, call)
  local rescuer = tcpnet.spawn(function()
    tcpnet.sleep(0.003)
    for _, object in ipairs(world.pool) do
      local class, methods = calls.class_of(object)
      if class == "Task" then
        object:cancel()
      elseif methods.close then
        methods.close(object)
      end
    end
  end)
  pcall(call)
  rescuer:cancel()
end

local function place(world, choices, call)
  local body = choices:pick(places)
  if not tcpnet.current() then
    return rescued(world, function() body(world, choices, call) end)
  end
  pcall(body, world, choices, call)
end

local modes = { "incremental", "generational" }

local steps = {
  function(world, choices) world:make(choices, choices:pick(class_names)) end,
  function(world, choices) world:close_some(choices) end,
  function(world, choices)
    for _ = 1, choices:integer(1, 4) do
      if #world.pool > 0 then
        table.remove(world.pool, choices:integer(1, #world.pool))
      end
    end
  end,
  function(_, choices)
    local kind = choices:integer(1, 4)
    if kind == 1 then
      collectgarbage(choices:pick(modes))
    elseif kind == 2 then
      collectgarbage()
    else
      collectgarbage("step", choices:integer(0, 100))
    end
  end,
  function(_, choices)
    if tcpnet.current() then
      tcpnet.sleep(choices:pick { 0, 0, 0.0005 })
    else
      tcpnet.step(0)
    end
  end,
  function(world, choices)
    local task = search(world.pool, choices, function(value) return calls.class_of(value) == "Task" end)
    if task then
      task:cancel()
    end
  end,
}

local function stream_step(world, choices)
  if #world.streams < 2 then
    world.streams[#world.streams + 1] = streams.new(choices)
  end
  local stream = choices:pick(world.streams)
  local what = choices:pick { stream.write, stream.write, stream.read, stream.read, stream.disturb }
  local function call()
    local ok, err = pcall(what, stream, choices)
    local text = tostring(err) -- where a stranger runs the task nothing can wait
    local refused = text:find "another task is reading" or text:find "cannot wait here" or text:find "somebody else"
    if not ok and not refused then
      world:finding("a stream with a model: " .. text)
    end
  end
  local kind = choices:integer(1, 4)
  if kind == 1 then
    call()
  elseif kind == 2 then
    tcpnet.timeout(choices:pick { 0, 0.0005, 0.001 }, call)
  elseif kind == 3 then
    tcpnet.select { call, function() tcpnet.sleep(choices:pick { 0, 0.0005 }) end }
  else
    world.readers[#world.readers + 1] = tcpnet.spawn(call)
  end
end

-- One of several scripts that run at once.
local function act(world, choices, count, due)
  for _ = 1, count do
    local kind = choices:integer(1, 10)
    if due[1] and choices:once_in(2) then
      local row = table.remove(due)
      place(world, choices, function() call_method(world, choices, row.class, row.method) end)
    elseif kind <= 5 then
      place(world, choices, function() world:call_some(choices) end)
    elseif kind <= 7 and tcpnet.current() then
      stream_step(world, choices)
    else
      pcall(choices:pick(steps), world, choices)
    end
  end
  while due[1] do
    local row = table.remove(due)
    place(world, choices, function() call_method(world, choices, row.class, row.method) end)
  end
end

-- catalogue() → list of { class, method } of all there are
function play.catalogue()
  local list, seen = {}, {}
  local choices = Choices.random(1)
  local world = new_world(1)
  tcpnet.run(function()
    for _, class in ipairs(class_names) do
      local object = world:make(choices, class)
      local _, methods = calls.class_of(object)
      seen[class] = true
      for _, method in ipairs(methods and is_method[methods] or {}) do
        list[#list + 1] = { class = class, method = method }
      end
    end
  end)
  for name, value in pairs(tcpnet) do
    if type(value) == "table" and name:find "^%u" and not (seen[name] or ELSEWHERE[name]) then
      error(("no object of class %s is made: makers.lua has no row for it"):format(name), 0)
    end
  end
  return list
end

local function tidy(world)
  for _, task in ipairs(world.tasks) do
    task:cancel()
  end
  for _, object in ipairs(world.pool) do
    local class, methods = calls.class_of(object)
    if methods.close then
      local ok, err = pcall(methods.close, object)
      if not ok and class ~= "FramedWrite" then
        world:finding(("close of %s raised %s"):format(class, tostring(err)))
      end
    end
  end
  world.file:close()
end

-- Settings that a script changed are back as they were.
local function watch_errors(world)
  tcpnet.configure {
    buffer_size = 65536,
    on_task_error = function(_, err)
      local known = tcpnet.is_error(err) or type(err) == "string" and (err:find(values.marker, 1, true)
        or err:find "yield" or err:find "bad argument" or err:find "cannot wait here" or err:find "somebody else")
      if not known and type(err) == "string" then
        world:finding("a task failed: " .. err)
      end
      return true
    end,
  }
end

-- sequence(seed, due[, log]) → list of findings: texts. `due` are rows of the catalogue that it is to call in any case.
function play.sequence(seed, due, log)
  leaks.note()
  local world = new_world(seed, log)
  local choices = world.choices
  watch_errors(world)
  local function script()
    local tasks = {}
    for i = 1, choices:integer(1, 4) do
      tasks[i] = tcpnet.spawn(act, world, Choices.random(seed * 1000 + i), choices:integer(3, 20), i == 1 and due or {})
    end
    local over = tcpnet.now() + 0.03
    for _, task in ipairs(tasks) do
      task:join(math.max(over - tcpnet.now(), 0))
    end
    for _, list in ipairs { tasks, world.readers } do
      for _, task in ipairs(list) do
        task:cancel()
      end
    end
    for _, stream in ipairs(world.streams) do
      local wrong = stream:finish()
      if wrong then
        world:finding("a stream with a model: " .. wrong)
      end
    end
  end
  if choices:integer(1, 5) > 1 then
    local ok, err = pcall(tcpnet.run, script)
    if not ok and not tostring(err):find(values.marker, 1, true) then
      world:finding("run raised " .. tostring(err))
    end
  else
    act(world, choices, choices:integer(3, 20), due)
  end
  tidy(world)
  local findings = world.findings
  collectgarbage "incremental"
  world, due = nil, nil
  tcpnet.configure { on_task_error = false }
  local ok, err = pcall(leaks.check)
  if not ok then
    local _, waiting = pcall(tcpnet.run, tcpnet.park) -- a deadlock: it says who waits where
    findings[#findings + 1] = ("%s\n%s"):format(err, tostring(waiting))
  end
  return findings
end

return play
