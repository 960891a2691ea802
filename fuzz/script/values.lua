-- Arguments at random: anything at all, or what the message of a refused call asks for. The messages name argument and
-- expectation, so methods that nobody has named here get arguments that they take.
--
-- Nothing leaves the machine or the process: every address is the loopback's, no text can be a host's name (each has a
-- colon, a NUL, or digits alone, or is too long for one), no integer can be a descriptor of somebody else's.
local tcpnet = require "tcpnet"

local values = {}

local INTEGERS = { 0, 1, 1, 2, 3, 7, 64, 100, 4096, 65536, -1, math.maxinteger, math.mininteger, 1 << 53 }
local NUMBERS = { 0.0, 0.5, -0.0, 1e300, 0 / 0, 1 / 0, -1 / 0, 2.0 }
local SECONDS = { 0, 0.001, 0.002, 0.0005, 1 / 0 }
local TEXTS = { "", ":", "a:b", "\0", ":\n", "12", "127.0.0.1", "::1", ("x:"):rep(200), (":"):rep(70000), "\xff:\xfe" }
local ADDRESSES = { "127.0.0.1:0", "127.0.0.1:1", "[::1]:0", "localhost:1", "[::1%lo]:1", "@:fuzz", ":1", "127.0.0.1:" }
local NAMES = { "TCP_NODELAY", "SO_REUSEADDR", "SO_LINGER", "nodelay", "SO_RCVBUF", "ttl", "linger" }

local function error_of(code)
  return select(2, tcpnet.SocketAddr.parse ":"), code
end

-- Callbacks: what a script might do inside a call. Each ends after a few calls, whoever calls it.
local function callback(world, choices)
  local kind, left = choices:integer(1, 12), 3
  return function(...)
    left = left - 1
    if left < 0 then
      return nil
    elseif kind == 1 then
      tcpnet.yield()
    elseif kind == 2 then
      tcpnet.sleep(0.001)
    elseif kind == 3 then
      error(values.marker)
    elseif kind == 4 then
      collectgarbage()
    elseif kind == 5 then
      world:close_some(choices)
    elseif kind == 6 and tcpnet.current() then
      tcpnet.current():cancel()
    elseif kind == 7 then
      world:call_some(choices)
    elseif kind == 8 then
      return nil, (error_of())
    elseif kind == 9 then
      tcpnet.coroutine.yield(1)
    elseif kind == 10 then
      return nil, select(2, world.quiet:try_recv())
    end
    return 1, ...
  end
end

-- What callbacks raise.
values.marker = "the callback's own error"

local function buffer(choices)
  local made = tcpnet.Buffer.new(choices:pick { 1, 8, 5000 })
  if choices:once_in(2) then
    made:append(("b"):rep(choices:integer(1, made:capacity())))
  end
  return made
end

local function bytes(choices)
  local kind = choices:integer(1, 5)
  if kind == 1 then
    return buffer(choices)
  elseif kind == 2 then
    return choices:pick { 1, 2.5, -7 }
  end
  return ("w"):rep(choices:pick { 0, 1, 3, 100, 70000 }) .. choices:pick { "", "\n", ":", "\r\n" }
end

local function list_of(choices, make, most)
  local list = {}
  for i = 1, choices:integer(0, most) do
    list[i] = make(choices)
  end
  return list
end

local function address(world, choices)
  local known = world.addresses[choices:integer(1, math.max(#world.addresses, 1))]
  return choices:integer(1, 3) > 1 and known or choices:pick(ADDRESSES)
end

local function strange(choices)
  return choices:pick {
    setmetatable({}, { __index = error, __len = error, __call = error, __close = error, __name = "TcpStream" }),
    setmetatable({}, { __index = function() return nil end }),
    { [3] = 1 }, { n = 1 }, {},
  }
end

-- anything(world, choices) → a value of any type
function values.anything(world, choices)
  local kind = choices:integer(1, 14)
  if kind == 1 then
    return nil
  elseif kind == 2 then
    return choices:once_in(2)
  elseif kind <= 4 then
    return choices:pick(INTEGERS)
  elseif kind == 5 then
    return choices:pick(NUMBERS)
  elseif kind == 6 then
    return choices:pick(TEXTS)
  elseif kind == 7 then
    return callback(world, choices)
  elseif kind == 8 then
    return strange(choices)
  elseif kind == 9 then
    return list_of(choices, bytes, 3)
  elseif kind == 10 then
    return bytes(choices)
  elseif kind == 11 then
    return address(world, choices)
  elseif kind == 12 then
    return coroutine.create(callback(world, choices))
  end
  return world:any(choices)
end

local function message(world, choices)
  local fds = { type = "fds", fds = { world:any(choices), world:any(choices) } }
  local control = choices:pick { fds, { type = "tos", value = 4 }, { type = "ttl", value = 300 } }
  return {
    data = choices:pick { "m", { "a", "b" }, buffer(choices), 3 },
    address = choices:once_in(4) and address(world, choices) or nil,
    control = choices:once_in(2) and { control } or nil,
    flags = choices:once_in(3) and choices:pick { "more", "oob", "dontroute" } or nil,
  }
end

local function options(choices)
  return choices:pick {
    {}, { timeout = 0.001 }, { nodelay = true }, { backlog = 1 }, { max_length = 3 }, { happy_eyeballs = false },
    { unlink = true }, { keepalive = true, linger = 0 }, { time = 1, interval = 1, retries = 1 }, { family = "inet" },
    { data = 10, control = 100 }, { flags = "peek" }, { data = 70000, flags = { "errqueue" } }, { nonsense = 1 },
    { recv_buffer_size = 1 }, { length_field_length = 2, num_skip = 0 }, { delimiters = "b", sequence_writer = "b" },
    { code = 6 }, { 6, 0, 0, 10 }, { { 6, 0, 0, 10 } }, { { 6, 0, 0 } },
  }
end

-- Words in quotes are those to choose from.
local function quoted(expected, choices)
  local words = {}
  for word in expected:gmatch "[\"']([^\"']+)[\"']" do
    words[#words + 1] = word
  end
  return #words > 0 and choices:pick(words) or nil
end

-- What the expectation in a message asks for, by the first pattern that it has.
local rules = {
  { "host:port", address }, { "address", address },
  { "integer from (%-?%d+) to (%-?%d+)", function(_, choices, _, least, most)
    least, most = math.tointeger(tonumber(least)), math.tointeger(tonumber(most)) or math.maxinteger
    return least and (choices:once_in(3) and least or least + choices:integer(0, math.min(most - least, 5000)))
  end },
  { "integer from (%d+)", function(_, choices, _, least)
    return math.tointeger(tonumber(least)) + choices:integer(0, 40)
  end },
  { "seconds", function(_, choices) return choices:pick(SECONDS) end },
  { "Buffer is full", function() return tcpnet.Buffer.new(100) end },
  { "no room", function() return "" end },
  { "flags: list of ([%l_ ]+) expected", function(_, choices, _, names)
    local list = {}
    for name in names:gmatch "%S+" do
      list[#list + 1] = name
    end
    return choices:pick(list)
  end },
  { "Buffers", function(_, choices) return list_of(choices, buffer, 3) end },
  { "branch", function(world, choices) return { callback(world, choices), key = callback(world, choices) } end },
  { "{data, address}", function(_, choices) return list_of(choices, bytes, 4) end },
  { "list of strings", function(_, choices) return list_of(choices, bytes, 70) end },
  { "at least one string", function(_, choices) return list_of(choices, bytes, 70) end },
  { "instruction", function() return { { 6, 0, 0, 4 } } end },
  { "field", message }, { "control: ", message }, { "data: ", message },
  { "reader", function(world, choices) return world:of_method(choices, "read") end },
  { "writer", function(world, choices) return world:of_method(choices, "write_some") end },
  { "interest", function(_, choices) return choices:pick { "r", "w", "rw", "p", tcpnet.Interest.READABLE } end },
  { "name of an option", function(_, choices) return choices:pick(NAMES) end },
  { "option '", function(_, choices) return choices:pick(NAMES) end },
  { "[\"'][%l_]+[\"']", function(_, choices, expected) return quoted(expected, choices) end },
  { "string, number or Buffer", function(_, choices) return bytes(choices) end },
  { "sockaddr", function(_, choices)
    local loopback = tcpnet.SocketAddr.new(choices:pick { "127.0.0.1", "::1" }, 1):bytes()
    return choices:pick { loopback, loopback, "\1\0:", "\1\0", "\0\0" }
  end },
  { "file", function(world) return world.file end },
  { "function", callback },
  { "table", function(_, choices) return options(choices) end },
  { "boolean", function(_, choices) return choices:once_in(2) end },
  { "[Bb]uffer", function(_, choices) return buffer(choices) end },
  { "string", function(_, choices) return choices:pick(TEXTS) end },
  { "number", function(_, choices) return choices:pick { 0, 1, 2, 0.5 } end },
  { "byte", function(_, choices) return choices:pick(TEXTS) end },
  { "^(%u%w+) expected", function(world, choices, _, class) return world:of_class(choices, class) end },
}

-- asked_for(world, choices, message) → position of the argument, a value for it; nil: it is about another thing
function values.asked_for(world, choices, text)
  local position, expected = text:match "bad argument #(%d+) to '[^']*' %((.*)%)"
  if not position then
    expected = text:match "calling '[^']*' on bad self %((.*)%)"
    position = expected and 0
  end
  for _, rule in ipairs(expected and rules or {}) do
    local found = table.pack(expected:find(rule[1]))
    if found[1] then
      return math.tointeger(position), rule[2](world, choices, expected, table.unpack(found, 3, found.n))
    end
  end
end

values.bytes = bytes
values.callback = callback

return values
