-- Arguments of the functions that are written in Lua: each check raises where the user's call stands, and names the
-- argument as Lua's own library does.
local core = require "tcpnet.core"

local check = {}

local here = debug.getinfo(1, "S").source:match "^(.*)check%.lua$" or ""

-- The level of whoever called into the library.
local function caller()
  local level = 3
  local frame = debug.getinfo(level, "S")
  while frame and (frame.what == "C" or frame.source:sub(1, #here) == here) do
    level = level + 1
    frame = debug.getinfo(level, "S")
  end
  return level - 1
end

local function refuse(position, name, message)
  error(("bad argument #%d to '%s' (%s)"):format(position, name, message), caller())
end

-- Misuse that is no argument's fault.
function check.misuse(name, message)
  error(("%s: %s"):format(name, message), caller())
end

local function kind(value)
  return core.private.kind(value) or math.type(value) or type(value)
end

-- A value as messages show it: "3" is a string, and 3 a number that was wrong.
function check.shown(value)
  return type(value) == "number" and tostring(value) or kind(value)
end

function check.value(value, wanted, position, name)
  if type(value) ~= wanted then
    refuse(position, name, ("%s expected, got %s"):format(wanted, kind(value)))
  end
end

function check.that(condition, position, name, message)
  if not condition then
    refuse(position, name, message)
  end
end

-- The same where another value than that was `expected`: the message is made only then.
function check.expected(condition, expected, value, position, name)
  if not condition then
    refuse(position, name, ("%s expected, got %s"):format(expected, core.private.kind(value) or type(value)))
  end
end

-- A string, a number or a Buffer → its bytes; `expected`: what the message asks for.
function check.bytes(value, position, name, expected)
  check.expected(type(value) == "string" or type(value) == "number" or core.private.kind(value) == "Buffer",
    expected, value, position, name)
  return tostring(value)
end

-- A number without a fraction → the integer; anything else → nil.
function check.whole(value)
  return type(value) == "number" and math.tointeger(value) or nil
end

check.INT_MAX = 0x7fffffff -- of C's int, in which the system takes counts and descriptors

-- An integer of that range → it, as one where it is a float; `what` names it, where it is not all of the argument.
function check.integer(value, least, most, position, name, what)
  local whole = check.whole(value)
  if whole and whole >= least and (not most or whole <= most) then
    return whole
  end
  refuse(position, name, ("%sinteger from %d%s expected, got %s"):format(what and what .. ": " or "", least,
    most and " to " .. most or "", check.shown(value)))
end

-- The same, or nil.
function check.optional_integer(value, ...)
  return value ~= nil and check.integer(value, ...) or nil
end

-- The receiver must be of one of these classes, given as a set of names; the first is what the message asks for. That
-- a fork can do nothing is said here, by the method's own name, and not by the first step in it.
function check.receiver(value, classes, first, name)
  if not classes[core.private.kind(value) or ""] then
    refuse(1, name, ("%s expected, got %s"):format(first, kind(value)))
  end
  core.private.alive(name)
end

-- Makes every method of a class that is a plain table refuse another receiver, or none (a dot for a colon). Its objects
-- print as their class and what describe(self) says of them.
function check.methods(class, describe)
  function class:__tostring()
    return ("%s (%s)"):format(class.__name, describe(self))
  end
  for name, method in pairs(class) do
    if name:find "^%l" and name ~= "new" then
      class[name] = function(self, ...)
        if getmetatable(self) ~= class then
          refuse(1, name, ("%s expected, got %s"):format(class.__name, kind(self)))
        end
        return method(self, ...)
      end
    end
  end
end

-- A table that may be missing → it, or an empty one.
function check.optional_table(value, position, name)
  if value == nil then
    return {}
  end
  check.value(value, "table", position, name)
  return value
end

-- A table of options, which may be missing → the table; an option of another name than these raises.
function check.options(opts, position, name, ...)
  opts = check.optional_table(opts, position, name)
  local known = {}
  for _, key in ipairs { ... } do
    known[key] = true
  end
  for key in pairs(opts) do
    check.that(known[key], position, name, ("unknown option '%s'"):format(tostring(key)))
  end
  return opts
end

function check.optional_seconds(value, position, name, what)
  if value ~= nil and (type(value) ~= "number" or not (value >= 0)) then
    refuse(position, name, ("%s: seconds, 0 or more, expected, got %s"):format(what, check.shown(value)))
  end
end

return check
