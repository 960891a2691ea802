-- One call of a script, judged: what it returns has a shape of the contract, what it raises is a text that names the
-- call, and what is closed stays closed.
local tcpnet = require "tcpnet"
local values = require "fuzz.script.values"

local private = require "tcpnet.core".private
local calls = {}

-- class_of(value) → the name of its class, its methods; nil: no object of the library
function calls.class_of(value)
  local name = private.kind(value)
  if name then
    return name, tcpnet[name] or getmetatable(value) -- of channels
  end
  local meta = type(value) == "table" and getmetatable(value)
  if type(meta) == "table" and meta.__name and type(meta.__index) == "table" and meta.__index == meta then
    return meta.__name, meta
  end
end

-- Names that hand back what a callback, a task or a sender had: no shape of their own.
local PASSES_ON = {
  join = true, join_next = true, try_io = true, async_io = true, run_until_cancelled = true, recv = true,
  try_recv = true, borrow = true, borrow_and_update = true, wait_for = true, send_replace = true, timeout = true,
  select = true, scope = true, each = true, resume = true, wrap = true, park = true, next = true,
}
-- Of a closed object these still answer, and so do constructors.
local ANSWERS_CLOSED = {
  close = true, closed = true, is_closed = true, forget = true, pid = true, limit = true, pair = true,
  new = true, new_v4 = true, new_v6 = true, new_stream = true, new_datagram = true, unbound = true,
}

-- The call is made as a script would write it, "self:name(...)" or "self.name(...)", so that messages can name it.
local function writer(form)
  return setmetatable({}, { __index = function(cache, name)
    local text = ("return function(self, ...) return table.pack(self%s%s(...)) end"):format(form, name)
    cache[name] = assert(load(text, "=script"))()
    return cache[name]
  end })
end

local methods_written, functions_written = writer ":", writer "."

local function describe(name, self, outcome)
  local list = {}
  for i = 1, outcome.n do
    list[i] = tostring(outcome[i]):sub(1, 80)
  end
  return ("%s of %s gave (%s)"):format(name, tostring(self):sub(1, 80), table.concat(list, ", "))
end

local function is_whole(err)
  return type(err.code) == "string" and type(err.message) == "string" and #tostring(err) > 0
end

-- nil comes alone, or with an Error beside it.
local function check_shape(world, name, self, outcome)
  if outcome.n < 2 or outcome[1] ~= nil then
    return
  end
  local err = outcome[2]
  if tcpnet.is_error(err) then
    return is_whole(err) or world:finding(describe(name, self, outcome) .. ": an Error without code or message")
  end
  local cut = err == nil or type(err) == "number" -- data, nil, length
  if not PASSES_ON[name] and not (outcome[1] == nil and cut and outcome.n == 2 and err == nil) then
    world:finding(describe(name, self, outcome) .. ": nil with something that is no Error")
  end
end

-- What names no call, and need not.
local ALLOWED = {
  "not enough memory", "^deadlock: ", "attempt to yield across a C%-call boundary", "resumed by somebody else",
  "tcpnet%.coroutine", "C stack overflow", "nobody gets what it yields", "cannot close a %l+ coroutine",
  "attempt to yield from outside a coroutine", "another task is reading from",
  "cannot wait here: in a finalizer", -- where a callback waits, it is the callback's wait that is named
}

-- Misuse raises a text that names the call or the argument.
local function check_raised(world, name, self, raised)
  if type(raised) ~= "string" then
    if tcpnet.is_error(raised) and (PASSES_ON[name] or name == "iterator" or name == "incoming") then
      return
    end
    local meta = getmetatable(raised)
    if type(meta) == "table" and meta.__call == error then -- a strange argument that raises itself
      return
    end
    return world:finding(("%s of %s raised %s: no text"):format(name, tostring(self):sub(1, 80), tostring(raised)))
  end
  local plain = name:gsub("^try_", "")
  if raised:find(values.marker, 1, true) or raised:find(("'%s'"):format(name), 1, true)
    or raised:find(plain .. ": ", 1, true) or raised:find("bad argument", 1, true)
    or plain == "take" then -- of a Semaphore: its last argument says what it is called
    return
  end
  for _, pattern in ipairs(ALLOWED) do
    if raised:find(pattern) then
      return
    end
  end
  world:finding(("%s of %s raised a text that does not name it: %s"):format(name, tostring(self):sub(1, 80), raised))
end

local function owns_descriptor(methods)
  return methods and methods.closed and (methods.fd or methods.into_fd or methods.peek)
end

local function check_closed(world, name, self, outcome)
  local err = outcome[2]
  local refused = outcome[1] == nil and tcpnet.is_error(err) and err:is("CLOSED", "EINVAL", "CANCELED")
  local iterates = type(outcome[1]) == "function" -- the iterator raises
  if not ANSWERS_CLOSED[name] and not refused and not iterates then
    world:finding(describe(name, self, outcome) .. ", although it was closed before")
  end
end

-- raw(world, name, self, arguments) → did it return? its results, or what it raised. `self` is an object, or a table of
-- functions: a class or a module.
function calls.raw(world, name, self, arguments)
  local class, methods = calls.class_of(self)
  local was_closed = owns_descriptor(methods) and methods.closed(self)
  world:note(class, name, self, arguments)
  local call = class and methods_written[name] or functions_written[name]
  local ok, outcome = pcall(call, self, table.unpack(arguments, 1, arguments.n))
  if not ok then
    check_raised(world, name, self, outcome)
    return false, outcome
  end
  check_shape(world, name, self, outcome)
  if was_closed then
    check_closed(world, name, self, outcome)
    if not methods.closed(self) then
      world:finding(("%s opened the closed %s"):format(name, tostring(self)))
    end
  end
  return true, outcome
end

-- made(world, choices, name, self, arguments) → results or nil: the call, tried again with better arguments while its
-- messages ask for such
function calls.made(world, choices, name, self, arguments)
  for _ = 1, 5 do
    local ok, outcome = calls.raw(world, name, self, arguments)
    if ok then
      world:keep(name, outcome)
      return outcome
    end
    local position, value
    if type(outcome) == "string" and choices:integer(1, 8) > 1 then
      position, value = values.asked_for(world, choices, outcome)
    end
    if not position or position > 12 then
      return nil
    elseif position > 0 then
      arguments[position] = value
      arguments.n = math.max(arguments.n, position)
    elseif calls.class_of(value) then
      self = value
    else
      return nil
    end
  end
end

return calls
