-- Child processes: tcpnet.process.spawn{ program, args…, stdin =, stdout =, stderr =, env =, cwd =, detached = }.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local waiting = require "tcpnet.waiting"

local private = core.private

local NULL = -1 -- /dev/null
local STREAMS = { "stdin", "stdout", "stderr" }
local KNOWN = { stdin = true, stdout = true, stderr = true, env = true, cwd = true, detached = true }

local function refuse_unless(condition, message, ...)
  check.that(condition, 1, "spawn", message:format(...))
end

local function check_text(value, what)
  refuse_unless(type(value) == "string" and not value:find "\0", "%s: string without NUL expected, got %s", what,
    type(value) == "string" and "one with a NUL" or type(value))
end

local function arguments_of(options)
  refuse_unless(#options > 0, "a program expected as the first item")
  local list = {}
  for i, argument in ipairs(options) do
    if math.type(argument) then
      argument = tostring(argument)
    end
    check_text(argument, i == 1 and "program" or "argument " .. i - 1)
    list[i] = argument
  end
  for key in pairs(options) do
    refuse_unless(KNOWN[key] or math.type(key) == "integer" and key >= 1 and key <= #list, "unknown option '%s'",
      tostring(key))
  end
  return list
end

-- This process's environment with those changes; false takes a variable away.
local function environment_of(changes)
  if changes == nil then
    return nil
  end
  refuse_unless(type(changes) == "table", "env: table expected, got %s", type(changes))
  for name, value in pairs(changes) do
    refuse_unless(type(name) == "string" and not name:find "[=\0]" and #name > 0, "env: names without '=' expected")
    if value ~= false then
      check_text(value, "env." .. name)
    end
  end
  local list = {}
  for _, entry in ipairs(private.environment()) do
    if changes[entry:match "^[^=]*"] == nil then
      list[#list + 1] = entry
    end
  end
  for name, value in pairs(changes) do
    if value then
      list[#list + 1] = name .. "=" .. value
    end
  end
  return list
end

-- The child's end of one of its streams: a descriptor, and of a pipe the object that is closed here once the child has
-- it, whose other end goes into `fields`.
local function stream_for(name, number, wanted, fields)
  if wanted == nil or wanted == "inherit" then
    return number
  elseif wanted == "null" then
    return NULL
  elseif wanted == "pipe" then
    local sender, receiver = core.pipe()
    if not sender then
      return nil, waiting.renamed("spawn", receiver)
    end
    local ours, theirs = receiver, sender
    if name == "stdin" then
      ours, theirs = sender, receiver
    end
    fields[name] = ours
    return theirs:fd(), theirs
  end
  return check.whole(wanted) or wanted:fd()
end

local PLAIN = { inherit = true, null = true, pipe = true }

-- What a child cannot have as its stream, as an error; raises on misuse. The child's streams block, and with them all
-- that shares their description: an object here, or the other half, would hold up the whole program.
local function refusal(name, number, wanted)
  local fd = check.whole(wanted) or (wanted == nil or wanted == "inherit") and number
  if fd and fd >= 0 and fd <= check.INT_MAX then
    return private.owns_fd(fd) and private.new_error("EBUSY", "spawn", nil,
      ("%s: an object has descriptor %d; give the object"):format(name, fd)) or nil
  elseif PLAIN[wanted] then
    return nil
  end
  local fits, err = private.leaving(wanted, name)
  refuse_unless(fits ~= false,
    '%s: "pipe", "inherit", "null", a descriptor, a socket or the end of a pipe expected, got %s', name,
    type(wanted) == "string" and '"' .. wanted .. '"' or check.shown(wanted))
  return err
end

-- Objects that are closed together, whatever happens.
local function closing()
  return setmetatable({}, { __close = function(list)
    for _, object in ipairs(list) do
      object:close()
    end
  end })
end

-- The error of a folder that is not there, or is none: it looks as if the program were missing.
local function lost_folder(cwd, err)
  if not cwd then
    return nil
  end
  local file, _, errno = io.open(cwd == "" and cwd or cwd .. "/.")
  if file then
    file:close()
  elseif errno == err.errno and err:is("ENOENT", "ENOTDIR") then
    return private.new_error(errno, "spawn", cwd, "cannot enter that folder: " .. err.message)
  end
end

-- spawn{…} → Child | nil, err. Objects given as streams are the child's from then on, and closed here.
local function spawn(options)
  check.value(options, "table", 1, "spawn")
  local arguments = arguments_of(options)
  local environment = environment_of(options.env)
  if options.cwd ~= nil then
    check_text(options.cwd, "cwd")
  end
  refuse_unless(options.detached == nil or type(options.detached) == "boolean", "detached: boolean expected, got %s",
    type(options.detached))
  local refused
  for i, name in ipairs(STREAMS) do -- before anything is opened or taken
    local err = refusal(name, i - 1, options[name])
    refused = refused or err
  end
  if refused then
    return nil, refused
  end
  local fields, fds = {}, {}
  local theirs <close> = closing()
  for _, name in ipairs(STREAMS) do
    theirs[#theirs + 1] = private.kind(options[name]) and options[name]
  end
  local ours <close> = closing()
  for i, name in ipairs(STREAMS) do
    local fd, object = stream_for(name, i - 1, options[name], fields)
    if not fd then
      return nil, object
    end
    fds[i] = fd
    if object then
      theirs[#theirs + 1] = object
    end
    ours[#ours + 1] = fields[name]
  end
  local child, err = private.spawn_child(arguments, fds[1], fds[2], fds[3], fields, environment, options.cwd,
    options.detached)
  if not child then
    return nil, lost_folder(options.cwd, err) or err
  end
  for i = #ours, 1, -1 do
    ours[i] = nil
  end
  return child
end

core.process = { spawn = spawn }
