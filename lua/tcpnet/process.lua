-- Child processes: tcpnet.process.spawn{ program, args…, stdin =, stdout =, stderr =, env =, cwd =, detached = }, and
-- `output`, which does all that there is to do with one that is given its input and asked for its output.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local closing = require "tcpnet.closing"
local outside = require "tcpnet.outside"
local waiting = require "tcpnet.waiting"

local private = core.private

local NULL = -1 -- /dev/null
local STREAMS = { "stdin", "stdout", "stderr" }
local KNOWN = { stdin = true, stdout = true, stderr = true, env = true, cwd = true, detached = true }

-- In all of these what is looked at comes first, and `op`, the name of the call, second.

local function refuse_unless(condition, op, message, ...)
  check.that(condition, 1, op, message:format(...))
end

local function check_text(value, op, what)
  refuse_unless(type(value) == "string" and not value:find "\0", op, "%s: string without NUL expected, got %s", what,
    type(value) == "string" and "one with a NUL" or type(value))
end

local function arguments_of(options, op)
  refuse_unless(#options > 0, op, "a program expected as the first item")
  local list = {}
  for i, argument in ipairs(options) do
    if math.type(argument) then
      argument = tostring(argument)
    end
    check_text(argument, op, i == 1 and "program" or "argument " .. i - 1)
    list[i] = argument
  end
  for key in pairs(options) do
    local is_item = math.type(key) == "integer" and key >= 1
    refuse_unless(not is_item or key <= #list, op, "a list without holes expected, but item %d is nil",
      #list + 1)
    refuse_unless(is_item or KNOWN[key], op, "unknown option '%s'", tostring(key))
  end
  return list
end

-- This process's environment with those changes; false takes a variable away.
local function environment_of(changes, op)
  if changes == nil then
    return nil
  end
  refuse_unless(type(changes) == "table", op, "env: table expected, got %s", type(changes))
  for name, value in pairs(changes) do
    refuse_unless(type(name) == "string" and not name:find "[=\0]" and #name > 0, op,
      "env: names without '=' expected")
    if value ~= false then
      check_text(value, op, "env." .. name)
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
local function stream_for(wanted, op, name, number, fields)
  if wanted == nil or wanted == "inherit" then
    return number
  elseif wanted == "null" then
    return NULL
  elseif wanted == "pipe" then
    local sender, receiver = core.pipe()
    if not sender then
      return nil, waiting.renamed(op, receiver)
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
local function refusal(wanted, op, name, number)
  local fd = check.whole(wanted) or (wanted == nil or wanted == "inherit") and number
  if fd and fd >= 0 and fd <= check.INT_MAX then
    return private.owns_fd(fd) and private.new_error("EBUSY", op, nil,
      ("%s: an object has descriptor %d; give the object"):format(name, fd)) or nil
  elseif PLAIN[wanted] then
    return nil
  end
  local fits, err = private.leaving(wanted, name)
  refuse_unless(fits ~= false, op,
    '%s: "pipe", "inherit", "null", a descriptor, a socket or the end of a pipe expected, got %s', name,
    type(wanted) == "string" and '"' .. wanted .. '"' or check.shown(wanted))
  return err
end

-- The error of a folder that is not there, or is none: it looks as if the program were missing.
local function lost_folder(cwd, op, err)
  if not cwd then
    return nil
  end
  local file, _, errno = io.open(cwd == "" and cwd or cwd .. "/.")
  if file then
    file:close()
  elseif errno == err.errno and err:is("ENOENT", "ENOTDIR") then
    return private.new_error(errno, op, cwd, "cannot enter that folder: " .. err.message)
  end
end

-- Objects given as streams are the child's from then on, and closed here.
local function spawn(options, op)
  local arguments = arguments_of(options, op)
  local environment = environment_of(options.env, op)
  if options.cwd ~= nil then
    check_text(options.cwd, op, "cwd")
  end
  refuse_unless(options.detached == nil or type(options.detached) == "boolean", op,
    "detached: boolean expected, got %s", type(options.detached))
  local refused
  for i, name in ipairs(STREAMS) do -- before anything is opened or taken
    local err = refusal(options[name], op, name, i - 1)
    refused = refused or err
  end
  if refused then
    return nil, refused
  end
  local fields, fds = {}, {}
  local theirs <close> = closing()
  for _, name in ipairs(STREAMS) do
    if private.kind(options[name]) then
      theirs[options[name]] = true
    end
  end
  local ours <close> = closing()
  for i, name in ipairs(STREAMS) do
    local fd, object = stream_for(options[name], op, name, i - 1, fields)
    if not fd then
      return nil, object
    end
    fds[i] = fd
    if object then
      theirs[object] = true
      ours[fields[name]] = true
    end
  end
  local child, err = private.spawn_child(arguments, fds[1], fds[2], fds[3], fields, environment, options.cwd,
    options.detached)
  if not child then
    return nil, lost_folder(options.cwd, op, err) or waiting.renamed(op, err)
  end
  for object in pairs(ours) do
    ours[object] = nil
  end
  return child
end

-- spawn{…} → Child | nil, err.
local function spawn_child(options)
  check.value(options, "table", 1, "spawn")
  return spawn(options, "spawn")
end

local function feed(sender, input)
  local sent, err = sender:write(input)
  sender:close()
  return sent or err.code == "EPIPE", err -- it need not read what it is given
end

-- Both streams at once, and its input meanwhile: a full pipe would hold it up.
local collect = outside(function(child, input)
  local jobs = {}
  for _, name in ipairs { "stdout", "stderr" } do
    jobs[#jobs + 1] = child[name] and function()
      local bytes, err = child[name]:read_to_end()
      return bytes, err, name
    end
  end
  jobs[#jobs + 1] = input and function()
    return feed(child.stdin, input)
  end
  local result = {}
  for _, outcome in ipairs(core.each(jobs, #STREAMS, function(job) return job() end)) do
    local ran, done, err, name = table.unpack(outcome, 1, 4)
    if not ran then
      error(done, 0)
    elseif not done then
      return nil, waiting.renamed("output", err)
    elseif name then
      result[name] = done
    end
  end
  local ended, err = child:wait()
  if not ended then
    return nil, waiting.renamed("output", err)
  end
  result.code, result.signal = ended.code, ended.signal
  return result
end, "output")

-- output{…, input =} ⏳ → { code =, signal =, stdout =, stderr = } once it has ended | nil, err. Cancelled, it kills it.
local function output(options)
  check.value(options, "table", 1, "output")
  local settings = { stdin = "null", stdout = "pipe", stderr = "pipe" }
  for key, value in pairs(options) do
    settings[key] = value
  end
  local input = settings.input
  settings.input = nil
  if input ~= nil then
    input = check.bytes(input, 1, "output", "input: string, number or Buffer")
    refuse_unless(options.stdin == nil, "output", "stdin or input expected, not both")
    settings.stdin = "pipe"
  end
  refuse_unless(input or settings.stdin ~= "pipe", "output",
    "stdin: no pipe expected, to which nobody would write; give input")
  private.enter "output"
  local child <close>, err = spawn(settings, "output")
  if not child then
    return nil, err
  end
  local streams <close> = closing()
  for _, name in ipairs(STREAMS) do
    if child[name] then
      streams[child[name]] = true
    end
  end
  return collect(child, input)
end

core.process = { spawn = spawn_child, output = output }
