-- What the walks over every method share: fault_calls.lua's entries as cases, how a call ended, and the walk itself.
local tcpnet = require "tcpnet"
local calls = require "spec.support.fault_calls"

local private = tcpnet.private
local walk = {}

-- A case is a call of one method: call(case, fn, …) makes it, and sets case.result to what pcall gives of it. What
-- stands around the call is held: see `hold` of fault_walk.lua.
local Case = {}
Case.__index = Case

walk.patience = 10 -- seconds

-- Is replaced where something has to be kept from what stands around the call.
function walk.hold()
end

function Case.hold()
  walk.hold(true)
end

function Case:resume_faults()
  walk.hold(not self.active)
end

-- One after the other, each once everything else waits; nothing of it fails.
local function in_turn(case, functions)
  for _, fn in ipairs(functions) do
    tcpnet.yield()
    walk.hold(true)
    fn()
    case:resume_faults()
  end
end

function walk.case(class, name, fn, entry, later, call)
  local case = setmetatable({ class = class, name = name, fn = fn, entry = entry, later = later, kept = {},
    others = {}, tasks = {} }, Case)
  function case.call(...)
    case.active = true
    call(case, ...)
    case.active = false
    if case.result[1] then
      return table.unpack(case.result, 2, case.result.n)
    end
  end
  function case.meanwhile(...)
    local functions = { ... }
    case.tasks[#case.tasks + 1] = tcpnet.spawn(in_turn, case, functions)
  end
  function case.meanwhile_always(what)
    case.tasks[#case.tasks + 1] = tcpnet.spawn(function()
      while not case.stopped do
        tcpnet.yield()
        walk.hold(true)
        what()
        case:resume_faults()
      end
    end)
  end
  function case.stop()
    case.stopped = true
    for _, task in ipairs(case.tasks) do
      assert(task:join())
    end
    case.tasks = {}
  end
  function case.keep(...)
    for i = 1, select("#", ...) do
      case.kept[#case.kept + 1] = (select(i, ...))
    end
    return ...
  end
  function case.release()
    for _, object in ipairs { case.self, table.unpack(case.others) } do
      if object.close then
        object:close()
      end
    end
  end
  function case.go_on()
    case:resume_faults()
  end
  function case.code()
    return tcpnet.is_error(case.result[3]) and case.result[3].code or nil
  end
  return case
end

local function close_all(case)
  walk.hold(true)
  case.stopped = true
  for _, task in ipairs(case.tasks) do
    task:cancel()
  end
  local results = case.result and { table.unpack(case.result, 2, case.result.n) } or {}
  for _, group in ipairs { case.kept, results } do
    for _, object in ipairs(group) do
      if private.kind(object) and object.close or io.type(object) == "file" then
        object:close()
      end
    end
  end
  for _, object in ipairs { case.self or false, case.peer or false, table.unpack(case.others) } do
    if object and object.close then
      object:close()
    end
  end
end

-- run(case) → true | nil, what went wrong. Whatever it opened is closed in the end.
function walk.run(case)
  local entry = case.entry
  walk.hold(true)
  local make = entry.subject or calls.subjects[case.class]
  if make then
    local made = table.pack(make())
    case.self, case.peer = made[1], made[2]
    case.others = { table.unpack(made, 3, made.n) }
  end
  local function run()
    entry.run(case)
    return "finished"
  end
  local ok, finished, err = xpcall(tcpnet.timeout, debug.traceback, walk.patience, run)
  walk.hold(true)
  close_all(case)
  if not ok then
    return nil, finished
  elseif not finished then
    return nil, "it hangs: " .. tostring(err)
  elseif not case.result then
    return nil, "nothing was called"
  end
  return true
end

local function shape(value)
  local kind = private.kind(value)
  if kind then
    return kind
  elseif type(value) == "table" then
    local parts = {}
    for i, item in ipairs(value) do
      parts[i] = shape(item)
    end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  return type(value) == "function" and "function" or tostring(value):sub(1, 100)
end

-- outcome(result) → how it ended ("value", "fails", "raises"), what with
function walk.outcome(result)
  if not result[1] then
    local err = result[2]
    return "raises", tcpnet.is_error(err) and err.code or tostring(err)
  elseif result[2] == nil and tcpnet.is_error(result[3]) then
    return "fails", result[3].code
  end
  local parts = {}
  for i = 2, result.n do
    parts[#parts + 1] = shape(result[i])
  end
  return "value", table.concat(parts, " ")
end

local accessors = {}
for _, row in ipairs(private.option_rows()) do
  for _, name in ipairs { row.name, table.unpack(row.aliases) } do
    accessors[name], accessors["set_" .. name] = row, row
  end
end

local function entry_of(class, name)
  local entries = calls.entries
  local waiting = name:gsub("^try_", "")
  for _, key in ipairs { class .. "." .. name, class .. "." .. waiting, name, waiting } do
    if entries[key] ~= nil then
      return entries[key]
    end
  end
  if accessors[name] then -- of one class: they are rows of one table
    return class == "Socket" and not name:find "^set_" and entries["an option"]
  end
end

-- methods(class, table, wanted, visit): visit(name, fn, entry) for each method that has calls to be looked at → the
-- names of those without an entry.
function walk.methods(class, methods, wanted, visit)
  local names, missing = {}, {}
  for name, fn in pairs(methods) do
    if type(fn) == "function" and not name:find "^__" and (not wanted or wanted == name) then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local entry = entry_of(class, name)
    if entry == nil then
      missing[#missing + 1] = name
    elseif entry then
      if name:find "^try_" and entry.later then
        entry = setmetatable({ later = false }, { __index = entry })
      end
      visit(name, methods[name], entry)
    end
  end
  return missing
end

-- classes(wanted, visit): visit(name, methods) for each class, in order, and for the tables of functions.
function walk.classes(wanted, visit)
  local tables = { tcpnet = tcpnet, process = tcpnet.process, pipe = tcpnet.pipe }
  local names = {}
  for name in pairs(calls.subjects) do
    tables[name] = tcpnet[name]
  end
  for name in pairs(tables) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if not wanted or wanted == name then
      visit(name, tables[name])
    end
  end
end

return walk
