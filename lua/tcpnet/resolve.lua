-- Addresses and options as a call is given them: names looked up, keys told apart and checked.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local waiting = require "tcpnet.waiting"

local private = core.private
local resolve = {}

-- (address, opts) or (host, port, opts) → address, port | nil, opts, position of opts
function resolve.split_arguments(name, address, second, third)
  local port, opts
  if type(second) == "table" or second == nil and third == nil then
    opts = second
  else
    port, opts = second, third
  end
  local position = port ~= nil and 3 or 2
  return address, port, check.optional_table(opts, position, name), position
end

-- A SocketAddr, or false, host, port where it is a name; nil, err where it is neither.
-- `before`: how many arguments stand before the address. `field`: its key in that argument.
function resolve.target(name, address, port, before, field)
  local found, host, number, message = private.target(address, port)
  if message then
    check.that(false, number + (before or 0), name, field and field .. ": " .. message or message)
  end
  return found, host, number
end

-- Every SocketAddr of an address: itself, or those of its name. nil, err where there is none.
function resolve.all(name, address, port, family, before, field)
  local found, host, number = resolve.target(name, address, port, before, field)
  if found then
    return { found }
  elseif found == nil then
    return nil, host
  end
  private.enter(name)
  return private.lookup_host(host, number, family)
end

-- A name is looked up for the family that the socket has; nil, err where it is closed.
local function family_of(socket)
  local addr, err = socket:local_addr()
  return addr and addr:family(), err and err:is "CLOSED" and err or nil
end

-- Raises where that argument is the SocketAddr of another family.
function resolve.check_unix(address, position, name, field)
  check.that(address:is_unix(), position, name,
    ("%saddress of a Unix socket expected, got %s"):format(field and field .. ": " or "", address))
end

-- What errors of the call of that name bear: a try_ form is an operation in the name of the other.
local function operation(name)
  return name:match "^try_(.*)" or name
end

-- The one SocketAddr that a socket is to use: of a path for a Unix socket, else the first of the name.
function resolve.first(name, socket, address, port, before, field)
  if private.kind(address) == "SocketAddr" and port == nil then
    if private.kind(socket) == "UnixDatagram" then
      resolve.check_unix(address, 1 + (before or 0), name, field)
    end
    return address
  end
  local family, closed = family_of(socket)
  if closed then -- nobody knows any more whether a path is meant
    resolve.target(name, address, port, before, field) -- raises where it is nothing of the kind
    return nil, waiting.renamed(operation(name), closed)
  elseif family == "unix" then
    check.value(address, "string", 1 + (before or 0), name)
    check.that(port == nil, 2 + (before or 0), name, "no port beside a path expected")
    return core.SocketAddr.unix(address)
  end
  check.that(family == nil or family == "inet" or family == "inet6", 1 + (before or 0), name,
    ("a SocketAddr expected: this socket's family, %s, has no addresses in words"):format(tostring(family)))
  local addresses, err = resolve.all(name, address, port, family, before, field)
  return addresses and addresses[1], err
end

-- Is it to be looked up, for a socket that is open and whose addresses are no paths?
local function is_name(socket, address, port)
  if private.kind(address) == "SocketAddr" or private.target(address, port) ~= false then
    return false
  end
  local family, closed = family_of(socket)
  return family ~= "unix" and not closed
end

local function use_first(fn, name, socket, address, port, before, field)
  local addr, err = resolve.first(name, socket, address, port, before, field)
  if not addr then
    return nil, err
  end
  return fn(addr)
end

-- fn(addr[, seconds]) with that one: result | nil, err. Where a name is looked up before, `seconds`, or else the
-- socket's own limit for writing, is for both, and Buffers in `data` must not change meanwhile.
function resolve.with_first(fn, seconds, name, socket, address, port, before, field, data)
  if not is_name(socket, address, port) then
    return use_first(function(addr) return fn(addr, seconds) end, name, socket, address, port, before, field)
  end
  if operation(name) ~= name then
    return nil, private.new_error("EINVAL", operation(name), address, "a name would have to be looked up, which waits")
  end
  private.enter(name)
  local claim <close> = data and private.new_claim(data, name)
  if claim then
    claim:share()
  end
  local limit = seconds or socket.write_timeout and socket:write_timeout()
  return waiting.within(limit, name, tostring(address), use_first, fn, name, socket, address, port, before, field)
end

-- The method bind of a class whose sockets are bound to the first address of a name.
function resolve.binder(class)
  local classes = { [class] = true }
  return function(self, address, port)
    check.receiver(self, classes, class, "bind")
    local addr, err = resolve.first("bind", self, address, port)
    if not addr then
      return nil, err
    end
    return private.bind(self, addr)
  end
end

-- Takes the keys that are not options of that class out of a copy of the table, and checks those that are.
function resolve.take(class, name, opts, position, ...)
  local rest = {}
  for key, value in pairs(opts) do
    rest[key] = value
  end
  local taken = {}
  for i = 1, select("#", ...) do
    local key = select(i, ...)
    taken[i], rest[key] = rest[key], nil
  end
  local problem = private.option_problem(rest, class)
  check.that(not problem, position, name, problem)
  private.alive(name)
  return rest, table.unpack(taken, 1, select("#", ...))
end

-- Sets options on the socket that a call of that name uses → true.
function resolve.set_options(name, addr, socket, options)
  local ok, err = private.set_options(socket, options)
  if not ok then
    return nil, waiting.renamed(name, err, tostring(addr))
  end
  return true
end

-- Sets options on a fresh socket, of a call with that name and address, and binds it, if there is where; it closes
-- where that fails. Nothing here waits.
function resolve.prepared(name, addr, socket, err, options, local_addr)
  if not socket then
    return nil, waiting.renamed(name, err, tostring(addr))
  end
  local ok
  ok, err = resolve.set_options(name, addr, socket, options)
  if ok and local_addr then
    ok, err = private.bind(socket, local_addr)
  end
  if not ok then
    socket:close()
    return nil, err
  end
  return socket
end

-- What `try` makes of the first address that it can make something of; the error is the last one.
function resolve.first_of(addresses, try, ...)
  local result, err
  for _, addr in ipairs(addresses) do
    result, err = try(addr, ...)
    if result then
      return result
    end
  end
  return nil, err
end

return resolve
