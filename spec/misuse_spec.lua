-- Every method and function with every wrong receiver and argument: an error that names the argument, never a crash
-- and never a silent success (F28 to F32). A generated matrix: the rows say what is right, all else is to be refused.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"

-- what is thrown at it ----------------------------------------------------------------------------------------------

local function closed_stream()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local stream = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  stream:close()
  return stream
end

local a_buffer = tcpnet.Buffer.new(8)
local an_address = tcpnet.SocketAddr.new("127.0.0.1", 1)
local a_closed_stream = closed_stream()

local junk = {
  { "nil", nil }, { "false", false }, { "true", true }, { "0", 0 }, { "1", 1 }, { "-1", -1 }, { "2^53", 2 ^ 53 },
  { "2^31", 2 ^ 31 }, { "2^63", 2 ^ 63 }, { "mininteger", math.mininteger }, { "maxinteger", math.maxinteger },
  { "NaN", 0 / 0 }, { "inf", 1 / 0 }, { "-inf", -1 / 0 }, { "0.5", 0.5 }, { "1e300", 1e300 }, { "''", "" },
  { "'x'", "x" }, { "'12'", "12" }, { "'0x10'", "0x10" }, { "'\\0'", "\0" }, { "{}", {} },
  { "{} with metamethods", setmetatable({}, { __index = error, __len = error, __call = error, __close = error }) },
  { "a function", function() end }, { "a C function", os.clock }, { "a coroutine", coroutine.create(print) },
  { "io.stdout", io.stdout }, { "a Buffer", a_buffer }, { "a SocketAddr", an_address },
  { "a closed stream", a_closed_stream },
}

-- what is right -----------------------------------------------------------------------------------------------------

local function optional(accepts)
  return function(value)
    return value == nil or accepts(value)
  end
end

local function integer(least, most)
  return function(value)
    return type(value) == "number" and math.tointeger(value) ~= nil and value >= least and value <= most
  end
end

local function of_type(...)
  local wanted = {}
  for _, name in ipairs { ... } do
    wanted[name] = true
  end
  return function(value)
    return wanted[type(value)] == true
  end
end

local function one_of(...)
  local wanted = {}
  for _, value in ipairs { ... } do
    wanted[value] = true
  end
  return function(value)
    return value ~= nil and wanted[value] == true
  end
end

local function seconds(value)
  return type(value) == "number" and value >= 0
end

local function bytes(value)
  return type(value) == "string" or type(value) == "number" or rawequal(value, a_buffer)
end

local function anything()
  return true
end

local function never()
  return false
end

local count = integer(1, math.maxinteger)
local position = function(value) -- as string.sub takes it
  return math.tointeger(value) ~= nil or math.tointeger(tonumber(value)) ~= nil
end
local string_, boolean, function_ = of_type "string", of_type "boolean", of_type "function"
local interest = one_of("r", "w", "rw", "p")
local port = integer(0, 65535)
local address = function(value)
  return type(value) == "string" or rawequal(value, an_address)
end
local options = optional(of_type "table")
local second_of_address = function(value)
  return value == nil or type(value) == "table" or port(value)
end

local function sendable(value)
  local kind = type(value)
  return kind == "string" or kind == "number" or kind == "boolean" or kind == "table" and not getmetatable(value)
    or rawequal(value, an_address) or rawequal(value, a_closed_stream)
end

-- What is right is another spec's: refused with the argument's name, or taken and harmless.
local function maybe()
  return true
end

local function again()
  return nil, nil
end

-- Positions after the receiver: {accepts, a value that is right}.
local none = {}
local reading = {
  read = { { optional(count), 1 } },
  read_exact = { { integer(0, 2 ^ 40), 1 } },
  read_to_end = { { optional(integer(0, math.maxinteger)), 1 } },
  read_line = { { optional(count), 1 } },
  read_until = { { function(value) return string_(value) and value ~= "" end, "\n" }, { optional(count), 1 } },
  read_into = { { function(value) return rawequal(value, a_buffer) end, a_buffer }, { optional(count), 1 } },
  peek = { { optional(count), 1 } },
  try_read = { { optional(count), 1 } },
  try_read_into = { { function(value) return rawequal(value, a_buffer) end, a_buffer }, { optional(count), 1 } },
  try_read_vectored = { { never, { a_buffer } } },
  try_peek = { { optional(count), 1 } },
  lines = { { optional(count), 1 } },
  chunks = { { optional(count), 1 } },
  buffered = none,
  readable = none,
  peer_addr = none,
  set_read_timeout = { { optional(seconds), 1 } },
  read_timeout = none,
}
local writing = {
  write = { { bytes, "x" }, { bytes, "x" }, { bytes, "x" } },
  write_some = { { bytes, "x" }, { optional(integer(1, 2)), 1 } },
  write_from = { { function(value) return rawequal(value, a_buffer) end, a_buffer } },
  write_vectored = { { never, { "x" } } },
  try_write = { { bytes, "x" }, { optional(integer(1, 2)), 1 } },
  try_write_vectored = { { never, { "x" } } },
  writable = none,
  peer_addr = none,
  shutdown = { { optional(one_of("write", "read", "both")), "write" } },
  set_write_timeout = { { optional(seconds), 1 } },
  write_timeout = none,
}
local of_all = { close = none, closed = none, fd = none, local_addr = none }
local readiness = {
  ready = { { interest, "rw" } },
  try_io = { { one_of("r", "w", "p"), "w" }, { function_, again } },
  async_io = { { one_of("r", "w", "p"), "w" }, { function_, again } },
}
local read_readiness = {
  ready = { { one_of("r", "rw", "p"), "r" } },
  try_io = { { one_of("r", "p"), "r" }, { function_, again } },
  async_io = { { one_of("r", "p"), "r" }, { function_, again } },
}
local write_readiness = {
  ready = { { one_of("w", "rw"), "w" } },
  try_io = { { one_of "w", "w" }, { function_, again } },
  async_io = { { one_of "w", "w" }, { function_, again } },
}
local size = integer(0, 2 ^ 31 - 1)
local device = function(value)
  return value == nil or type(value) == "string" and #value <= 15 and not value:find "\0"
end
local socket_options = {
  set_keepalive = { { boolean, true } }, set_nodelay = { { boolean, true } }, set_only_v6 = { { boolean, true } },
  set_quickack = { { boolean, true } }, set_reuseaddr = { { boolean, true } }, set_reuseport = { { boolean, true } },
  set_recv_buffer_size = { { size, 4096 } }, set_send_buffer_size = { { size, 4096 } },
  set_tclass_v6 = { { integer(0, 255), 1 } }, set_tos_v4 = { { integer(0, 255), 1 } },
  set_ttl = { { integer(1, 255), 1 } },
  set_linger = { { function(value) return value == nil or seconds(value) and value <= 65535 end, 1 } },
  set_device = { { device, "" } }, bind_device = { { device, "" } }, set_zero_linger = none,
  keepalive = none, nodelay = none, only_v6 = none, quickack = none, reuseaddr = none, reuseport = none,
  recv_buffer_size = none, send_buffer_size = none, tclass_v6 = none, tos_v4 = none, ttl = none, linger = none,
  device = none, zero_linger = none,
}

-- Every option's getter, setter or action of a class, from the table of options; its values have a spec of their own.
local function rights_of(option)
  local v6 = option.name:find "_v6" ~= nil
  if option.type == "action" then
    local group, any = v6 and "ff02::1" or "239.1.2.3", { maybe, nil }
    if option.name:find "multicast" then
      return { { maybe, group }, any }
    end
    return { { maybe, v6 and "2001:db8::1" or "192.0.2.1" }, { maybe, v6 and "ff3e::1" or "232.1.1.1" }, any }
  elseif option.type == "boolean" then
    return { { option.present and boolean or maybe, true } }
  elseif option.type == "table" then
    return { { maybe, { address = "127.0.0.1", key = "x" } } }
  elseif option.type:find "string" then
    return { { maybe, option.name == "multicast_if_v4" and "127.0.0.1" or "x" } }
  end
  return { { maybe, not option.type:find "or nil" and option.least or nil } }
end

local function options_of(class)
  local found = {}
  local function add(name, row)
    found[name] = tcpnet[class][name] and row
  end
  for _, option in ipairs(tcpnet.private.option_rows()) do
    local rights = rights_of(option)
    for _, name in ipairs { option.name, table.unpack(option.aliases) } do
      add(name, option.type == "action" and rights or none)
      add("set_" .. name, rights)
    end
  end
  for _, version in ipairs { "4", "6" } do
    add("bind_device_by_index_v" .. version, { { maybe, 1 } })
  end
  return found
end

local function merged(...)
  local all = {}
  for _, rows in ipairs { ... } do
    for name, row in pairs(rows) do
      all[name] = row
    end
  end
  return all
end

-- The rows without those of these names.
local function without(all, ...)
  local rest = merged(all)
  for _, name in ipairs { ... } do
    rest[name] = nil
  end
  return rest
end

local function with_try(all)
  local both = merged(all)
  for name, row in pairs(all) do
    both["try_" .. name] = row
  end
  return both
end

-- What every socket has that is no half: its options as well, of which each class has its own.
local function whole(class, ...)
  local common = merged(options_of(class), {
    as_socket = none, options = none, get = { { never, "SO_TYPE" } },
    set = { { never, "SO_REUSEADDR" }, { boolean, true } },
    take_error = none, into_fd = { { anything, true } },
  })
  for name, row in pairs(socket_options) do
    common[name] = tcpnet[class][name] and row
  end
  return merged(common, of_all, ...)
end

local keeping_alive = { set_tcp_keepalive = { { of_type "table", {} } } }
local a_file = { function(value) return rawequal(value, io.stdout) end, io.stdout }
local offset = { optional(integer(0, math.maxinteger)), 0 }
local sending_files = { sendfile = { a_file, offset, offset } }
local flags = { options, nil }
local receiving = { { optional(integer(0, 2 ^ 31 - 1)), 1 }, flags }
local scattering = { { never, { a_buffer } }, flags }
local shutdown = { shutdown = { { optional(one_of("write", "read", "both")), "write" } } }
local timeout = { set_timeout = { { optional(seconds), 1 } }, timeout = none }
local timeouts = merged(timeout, {
  set_read_timeout = { { optional(seconds), 1 } }, read_timeout = none,
  set_write_timeout = { { optional(seconds), 1 } }, write_timeout = none,
})
-- What is used message by message.
local messages = merged(readiness, timeouts, shutdown, {
  readable = none, writable = none, peer_addr = none,
}, with_try {
  recv = receiving, recv_from = receiving, peek = receiving, peek_from = receiving,
  recv_vectored = scattering, recv_from_vectored = scattering, peek_sender = none, recvmsg = { { options, nil } },
  recv_many = { { integer(1, 1024), 1 }, { optional(integer(1, 65536)), 1 } },
  send = { { bytes, "x" }, flags }, send_vectored = { { never, { "x" } }, flags },
  send_to = { { bytes, "x" }, { address, an_address }, flags },
  send_to_vectored = { { never, { "x" } }, { address, an_address }, flags },
  sendmsg = { { of_type "table", {} } }, send_many = { { of_type "table", { "x" } } },
})
local of_streams = merged(reading, writing, readiness, sending_files, timeout, {
  finish = { { optional(seconds), 0 } }, split = none, into_split = none,
})
local function of_listeners(accept_options)
  return merged(timeout, {
    accept = none, try_accept = none, incoming = none, set_accept_options = { { of_type "table", accept_options } },
  })
end
local only_nil = { optional(never), nil }
-- A pipe has no address.
local function pipe_end(...)
  return merged(without(merged(of_all, timeout, ...), "local_addr", "peer_addr", "shutdown"), {
    into_fd = { { anything, true } }, into_blocking_fd = none,
  })
end

-- In memory: no descriptor, no address.
local reading_memory, writing_memory = without(reading, "peer_addr"), without(writing, "peer_addr")

local some_events, a_source_fd = tcpnet.Events.new(4), tcpnet.SourceFd.new(0)
local a_source = one_of(a_closed_stream) -- which is answered with CLOSED
local token = integer(math.mininteger, math.maxinteger)
local signal = optional(integer(1, 64))

local rows = {
  Socket = merged(whole("Socket", keeping_alive, sending_files, messages), with_try {
    recv_out_of_band = receiving, send_out_of_band = { { bytes, "x" } }, accept = none,
  }, {
    into_tcp_socket = none, into_tcp_stream = none, into_tcp_listener = none, into_udp_socket = none,
    into_unix_socket = none, into_unix_stream = none, into_unix_listener = none, into_unix_datagram = none,
    try_clone = none,
    bind = { { address, "127.0.0.1:0" }, { optional(port), nil } },
    connect = { { address, an_address }, { optional(port), nil } },
    connect_timeout = { { address, an_address }, { seconds, 0 } },
    listen = { { optional(size), 1 } },
    attach_filter = { { never, { { 6, 0, 0, 1 } } } }, detach_filter = none,
  }),
  Message = { take_fds = none, find = { { string_, "fds" } }, close = none },
  TcpSocket = whole("TcpSocket", keeping_alive, {
    bind = { { address, "127.0.0.1:0" }, { optional(port), nil } },
    connect = { { address, an_address }, { second_of_address, nil }, { options, nil } },
    listen = { { optional(size), 1 } },
  }),
  TcpListener = whole("TcpListener", keeping_alive, of_listeners { nodelay = true }),
  TcpStream = whole("TcpStream", keeping_alive, of_streams, { reset = none }),
  UdpSocket = whole("UdpSocket", messages, {
    connect = { { address, an_address }, { optional(port), nil } },
  }),
  UnixSocket = whole("UnixSocket", {
    bind = { { string_, "/nowhere/socket" }, { options, nil } },
    connect = { { string_, "/nowhere/socket" }, { options, nil } },
    listen = { { optional(size), 1 } }, datagram = none,
  }),
  UnixStream = whole("UnixStream", of_streams, {
    send_fd = { { function(value) return size(value) or rawequal(value, a_closed_stream) end, 0 } }, recv_fd = none,
  }),
  UnixListener = whole("UnixListener", of_listeners { send_buffer_size = 4096 }),
  UnixDatagram = whole("UnixDatagram", messages, {
    connect = { { string_, "/nowhere/socket" }, only_nil },
  }, with_try {
    send_to = { { bytes, "x" }, { string_, "/nowhere/socket" }, flags },
    send_to_vectored = { { never, { "x" } }, { string_, "/nowhere/socket" }, flags },
  }),
  PipeSender = pipe_end(writing, write_readiness),
  PipeReceiver = pipe_end(reading, read_readiness),
  DuplexStream = merged(reading_memory, writing_memory, timeout, {
    close = none, closed = none, finish = { { optional(seconds), 0 } }, split = none,
  }),
  DuplexReadHalf = merged(reading_memory, { closed = none }),
  DuplexWriteHalf = merged(writing_memory, {
    closed = none, shutdown = { { optional(one_of "write"), "write" } },
  }),
  ReadHalf = merged(of_all, reading, read_readiness),
  WriteHalf = merged(of_all, writing, write_readiness, sending_files, {
    shutdown = { { optional(one_of "write"), "write" } },
  }),
  OwnedReadHalf = merged(of_all, reading, read_readiness, { reunite = { { never, nil } } }),
  OwnedWriteHalf = merged(of_all, writing, write_readiness, sending_files, {
    shutdown = { { optional(one_of "write"), "write" } }, forget = none,
  }),
  Buffer = {
    append = { { bytes, "x" } }, capacity = none, clear = none, consume = { { integer(0, 1), 0 } },
    sub = { { position, 1 }, { optional(position), 1 } },
    byte = { { optional(position), 1 }, { optional(position), 1 } },
    find = { { string_, "x" }, { optional(position), 1 } },
  },
  SocketAddr = {
    ip = none, port = none, family = none, scope_id = none, flowinfo = none, path = none, is_unnamed = none,
    is_ipv4 = none, is_ipv6 = none, is_loopback = none, is_unspecified = none, is_multicast = none, is_unix = none,
    bytes = none, cid = none, interface = none, protocol = none, hardware = none,
  },
  Error = { is = { { string_, "EPIPE" }, { string_, "EPIPE" } } },
  Ready = {
    is_empty = none, is_readable = none, is_writable = none, is_read_closed = none, is_write_closed = none,
    is_error = none, is_priority = none,
  },
  Task = {
    join = { { optional(seconds), 0 } }, cancel = none, status = none, name = { { optional(string_), "x" } },
    unpark = { { anything, 1 } },
  },
  JoinSet = { spawn = { { function_, again } }, join_next = { { optional(seconds), 0 } }, abort_all = none,
    iter = none },
  Poll = {
    poll = { { function(value) return rawequal(value, some_events) end, some_events }, { optional(seconds), 0 } },
    registry = none, close = none, closed = none, fd = none,
  },
  Registry = {
    register = { { a_source, a_source_fd }, { token, 1 }, { interest, "r" } },
    reregister = { { a_source, a_source_fd }, { token, 1 }, { interest, "r" } },
    deregister = { { a_source, a_source_fd } }, try_clone = none,
  },
  Events = { capacity = none, clear = none, is_empty = none, iter = none },
  Event = {
    token = none, is_readable = none, is_writable = none, is_read_closed = none, is_write_closed = none,
    is_error = none, is_priority = none,
  },
  Interest = { is_readable = none, is_writable = none, is_priority = none },
  Waker = { wake = none, fd = none, close = none, closed = none },
  SourceFd = { fd = none },
  Signal = { recv = none, close = none, closed = none },
  Child = { pid = none, wait = none, kill = { { signal, "SIGCONT" } }, close = none, closed = none },
  Worker = {
    send = { { sendable, 1 } }, try_send = { { sendable, 1 } }, recv = { { optional(seconds), 0 } }, try_recv = none,
    join = { { optional(seconds), 0 } }, index = none, status = none, messages = none, finish = none, cancel = none,
    close = none, closed = none,
  },
  -- There is none in this state: the rows are the Worker's, and spec/workers_spec.lua has the rest.
  Parent = {
    send = none, try_send = none, recv = none, try_recv = none, index = none, messages = none, finish = none,
  },
}

if not tcpnet.Socket.async_io then
  rows.Socket.async_io = nil
end

local limit = integer(1, math.maxinteger)
local no_nul = function(value)
  return type(value) == "string" and not value:find("\0", 1, true)
end
local number_of_32_bits = integer(0, 2 ^ 32 - 1)
-- Called with `.`; more of them wait than is worth it where the argument is right, hence `timeout(0, …)` below.
local functions = {
  ["Socket.new"] = { { size, "inet" }, { size, "stream" }, { optional(size), nil } },
  ["Socket.pair"] = { { size, "unix" }, { size, "stream" }, { optional(size), nil } },
  ["Socket.from_fd"] = { { never, nil } },
  ["SocketAddr.unix"] = { { string_, "/nowhere" } },
  ["SocketAddr.vsock"] = { { number_of_32_bits, 1 }, { number_of_32_bits, 1 } },
  ["SocketAddr.packet"] = { { size, 1 }, { optional(port), 1 } },
  ["SocketAddr.from_bytes"] = {
    { function(value) return (string_(value) or type(value) == "number") and #tostring(value) >= 2 end, "\2\0" },
  },
  ["TcpSocket.from_fd"] = { { never, nil } },
  ["TcpStream.from_fd"] = { { never, nil } },
  ["TcpListener.from_fd"] = { { never, nil } },
  ["TcpStream.connect"] = { { address, an_address }, { second_of_address, nil }, { options, nil } },
  ["TcpListener.bind"] = { { address, "127.0.0.1:0" }, { second_of_address, nil }, { options, nil } },
  ["UdpSocket.from_fd"] = { { never, nil } },
  ["UdpSocket.bind"] = { { address, "127.0.0.1:0" }, { second_of_address, nil }, { options, nil } },
  ["UnixSocket.from_fd"] = { { never, nil } },
  ["UnixStream.from_fd"] = { { never, nil } },
  ["UnixStream.connect"] = { { string_, "/nowhere/socket" }, { options, nil } },
  ["UnixListener.from_fd"] = { { never, nil } },
  ["UnixListener.bind"] = { { string_, "/nowhere/socket" }, { options, nil } },
  ["UnixDatagram.from_fd"] = { { never, nil } },
  ["UnixDatagram.bind"] = { { string_, "/nowhere/socket" }, { options, nil } },
  ["PipeSender.from_fd"] = { { never, nil } },
  ["PipeReceiver.from_fd"] = { { never, nil } },
  ["pipe.open_sender"] = { { no_nul, "/nowhere/fifo" }, { options, nil } },
  ["pipe.open_receiver"] = { { no_nul, "/nowhere/fifo" }, { options, nil } },
  ["SocketAddr.new"] = { { string_, "::1" }, { port, 1 } },
  ["SocketAddr.parse"] = { { string_, "[::1]:1" } },
  duplex = { { integer(1, math.maxinteger), 1 } },
  ["Buffer.new"] = { { integer(1, 2 ^ 20), 1 } },
  ["Poll.new"] = none,
  ["Events.new"] = { { integer(1, 2 ^ 24), 1 } },
  ["SourceFd.new"] = { { size, 0 } },
  ["Waker.new"] = { { never, nil }, { token, 1 } },
  signal = { { integer(1, 64), 12 } },
  ["process.spawn"] = { { of_type "table", { "true" } } },
  spawn = { { function_, again } },
  sleep = { { seconds, 0 } },
  timeout = { { seconds, 1 }, { function_, again } },
  park = { { optional(seconds), 0 } },
  select = { { never, { again } } },
  scope = { { function_, again } },
  each = { { of_type("table", "function"), {} }, { limit, 1 }, { function_, again } },
  interval = { { function(value) return seconds(value) and value > 0 end, 1 } },
  lookup_host = { { address, an_address }, { second_of_address, nil }, { options, nil } },
  copy = { { never, nil }, { never, nil }, { optional(integer(0, math.maxinteger)), 1 } },
  copy_bidirectional = { { never, nil }, { never, nil } },
  configure = { { optional(of_type "table"), nil } },
  ["coroutine.create"] = { { function_, again } },
  ["coroutine.wrap"] = { { function_, again } },
  ["coroutine.resume"] = { { of_type "thread", nil } },
  ["coroutine.status"] = { { of_type "thread", nil } },
  ["coroutine.close"] = { { of_type "thread", nil } },
}

-- the objects -------------------------------------------------------------------------------------------------------

-- One live object of the class, and a function that lets go of it.
local function connected()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

local function half(index, method)
  return function()
    local stream, peer = connected()
    local halves = { stream[method](stream) }
    return halves[index], function()
      halves[1]:close()
      halves[2]:close()
      stream:close()
      peer:close()
    end
  end
end

local function duplex_half(index)
  return function()
    local stream = tcpnet.duplex(4096)
    local halves = { stream:split() }
    return halves[index], function() stream:close() end
  end
end

-- For what is closed alone.
local function alone(class, constructor, ...)
  local arguments = table.pack(...)
  return function()
    local object = assert(tcpnet[class][constructor](table.unpack(arguments, 1, arguments.n)))
    return object, function() object:close() end
  end
end

-- For what comes with another: the one at `index` of the two.
local function one_of_pair(index, fn)
  return function()
    local both = { fn() }
    return both[index], function()
      both[1]:close()
      both[2]:close()
    end
  end
end

-- Files of Unix sockets that wrong arguments, taken as paths, have left in the working directory.
local function remove_socket_files()
  for _, value in ipairs(junk) do
    local path = value[2]
    if type(path) == "string" and no_nul(path) and path ~= "" and tcpnet.private.is_socket_file(path) then
      os.remove(path)
    end
  end
end

local socket_path

local make = {
  Socket = alone("Socket", "new", "inet", "dgram"),
  Message = function()
    local one, other = assert(tcpnet.Socket.pair("unix", "dgram"))
    assert(one:send "x") -- and no descriptors: take_fds would leave them to nobody
    local message = assert(other:recvmsg())
    one:close()
    other:close()
    return message, function() message:close() end
  end,
  TcpSocket = alone("TcpSocket", "new_v4"),
  TcpListener = alone("TcpListener", "bind", "127.0.0.1:0"),
  TcpStream = one_of_pair(1, connected),
  UdpSocket = alone("UdpSocket", "bind", "127.0.0.1:0"),
  UnixSocket = alone("UnixSocket", "new_stream"),
  UnixStream = one_of_pair(1, tcpnet.UnixStream.pair),
  UnixListener = function()
    local listening = assert(tcpnet.UnixListener.bind(socket_path, { unlink = true }))
    return listening, function() listening:close() end
  end,
  UnixDatagram = one_of_pair(1, tcpnet.UnixDatagram.pair),
  PipeSender = one_of_pair(1, tcpnet.pipe),
  PipeReceiver = one_of_pair(2, tcpnet.pipe),
  DuplexStream = one_of_pair(1, function() return tcpnet.duplex(4096) end),
  DuplexReadHalf = duplex_half(1),
  DuplexWriteHalf = duplex_half(2),
  ReadHalf = half(1, "split"),
  WriteHalf = half(2, "split"),
  OwnedReadHalf = half(1, "into_split"),
  OwnedWriteHalf = half(2, "into_split"),
  Buffer = function()
    local buffer = tcpnet.Buffer.new(4096):append "x"
    return buffer, function() end
  end,
  SocketAddr = function() return an_address, function() end end,
  Error = function()
    local _, err = a_closed_stream:read()
    return err, function() end
  end,
  Ready = function()
    local stream, peer = connected()
    local ready = assert(stream:ready "w")
    stream:close()
    peer:close()
    return ready, function() end
  end,
  Task = function()
    local task = tcpnet.spawn(again)
    return task, function() task:cancel() end
  end,
  JoinSet = function()
    return tcpnet.JoinSet.new(), function() end
  end,
  Poll = alone("Poll", "new"),
  Registry = function()
    local poll = assert(tcpnet.Poll.new())
    return poll:registry(), function() poll:close() end
  end,
  Events = function()
    return tcpnet.Events.new(4), function() end
  end,
  Event = function()
    local poll <close>, events = assert(tcpnet.Poll.new()), tcpnet.Events.new(4)
    local waker <close> = assert(tcpnet.Waker.new(poll:registry(), 7))
    waker:wake()
    assert(poll:poll(events, 5))
    return events:iter()(), function() end
  end,
  Interest = function()
    return tcpnet.Interest.READABLE, function() end
  end,
  Waker = function()
    local poll = assert(tcpnet.Poll.new())
    local waker = assert(tcpnet.Waker.new(poll:registry(), 1))
    return waker, function()
      waker:close()
      poll:close()
    end
  end,
  SourceFd = function()
    return tcpnet.SourceFd.new(0), function() end
  end,
  Signal = function()
    local taken = assert(tcpnet.signal "SIGUSR2")
    return taken, function() taken:close() end
  end,
  Child = function()
    local child = assert(tcpnet.process.spawn { "sleep", "60" })
    return child, function() child:close() end
  end,
  Worker = function()
    local workers = assert(tcpnet.workers(1, function(parent) parent:recv() end))
    return workers[1], function() workers:close() end
  end,
}

-- the matrix --------------------------------------------------------------------------------------------------------

-- The classes by name; those that the module does not give are known by an object.
local classes = setmetatable({}, { __index = tcpnet })
for _, name in ipairs { "DuplexReadHalf", "DuplexWriteHalf" } do
  local object, release = make[name]()
  classes[name] = getmetatable(object)
  release()
end

local constructors = {
  TcpSocket = { new_v4 = true, new_v6 = true, from_fd = true }, TcpListener = { bind = true, from_fd = true },
  TcpStream = { connect = true, from_fd = true }, Buffer = { new = true },
  UdpSocket = { new_v4 = true, new_v6 = true, bind = true, from_fd = true },
  UnixSocket = { new_stream = true, new_datagram = true, from_fd = true },
  UnixStream = { connect = true, pair = true, from_fd = true }, UnixListener = { bind = true, from_fd = true },
  UnixDatagram = { unbound = true, pair = true, bind = true, from_fd = true },
  PipeSender = { from_fd = true }, PipeReceiver = { from_fd = true },
  SocketAddr = { new = true, parse = true, unix = true, vsock = true, packet = true, from_bytes = true },
  Socket = { new = true, pair = true, from_fd = true },
  JoinSet = { new = true }, Poll = { new = true }, Events = { new = true }, SourceFd = { new = true },
  Waker = { new = true }, DuplexStream = { source = true, sink = true }, -- tables of what it is made of
  Interest = { READABLE = true, WRITABLE = true, PRIORITY = true },
}

-- They leave a descriptor to the caller.
local gives_away = { into_fd = true, into_blocking_fd = true }

-- Iterators check when they are made, or else at the first turn.
local function turn_once(name, ...)
  if name == "lines" or name == "chunks" or name == "incoming" then
    return (...)()
  end
  return ...
end

-- Calls it without ever waiting; the outcome as pcall gives it.
local function call(name, fn, ...)
  local arguments = table.pack(...)
  return pcall(tcpnet.timeout, 0, function()
    return turn_once(name, fn(table.unpack(arguments, 1, arguments.n)))
  end)
end

local function names_an_argument(message)
  return type(message) == "string" and (message:find("bad argument", 1, true) or message:find("bad self", 1, true))
end

-- What several classes share takes an object of any of them: every method that is written in C, and what is one
-- function for all.
local function takes(class, name, value)
  local meta = debug.getmetatable(value)
  local other = type(meta) == "table" and meta.__name and classes[meta.__name]
  if not other or not other[name] then
    return false
  end
  local in_lua = class.__index or other.__index
  return not in_lua or other[name] == class[name]
end

-- One line for each place and kind of complaint, however many values led to it.
local complaints, counts
local function start_complaints()
  complaints, counts = {}, {}
end

local function complain(what, text)
  local place = what:gsub(": [^:]*$", ""):gsub(" on .*$", "")
  local kind = place .. text:gsub("%(.*$", "")
  counts[kind] = (counts[kind] or 0) + 1
  if counts[kind] == 1 then
    complaints[#complaints + 1] = ("%s %s"):format(what, text)
  end
end

local function expect_refusal(what, ok, message)
  if ok then
    complain(what, ("was taken (and gave %s)"):format(tostring(message)))
  elseif not names_an_argument(message) then
    complain(what, ("raised (%s)"):format(tostring(message)))
  elseif message:find "^[^:]*lua/tcpnet/" then
    complain(what, ("is blamed on the library's line (%s)"):format(message))
  end
end

local function no_complaints()
  local text = table.concat(complaints, "\n  ", 1, math.min(#complaints, 60))
  assert(#complaints == 0, ("%d complaints:\n  %s"):format(#complaints, text))
end

-- Right values up to the last position that has one.
local function right_arguments(row)
  local arguments = { n = #row }
  for i, argument in ipairs(row) do
    arguments[i] = argument[2]
  end
  return arguments
end

local function expect_harmless(what, ok, first, second)
  if ok and first == nil and second ~= nil and not tcpnet.is_error(second) then
    complain(what, ("gave (nil, %s)"):format(tostring(second)))
  elseif not ok and type(first) == "string" and first:find("attempt to", 1, true) then
    complain(what, ("raised (%s)"):format(first))
  end
end

local function sorted_keys(set)
  local keys = {}
  for key in pairs(set) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local class_names = sorted_keys(make)

setup(function()
  socket_path = os.tmpname()
  os.remove(socket_path)
end)

teardown(function()
  os.remove(socket_path)
end)

describe("the matrix", function()
  it("has a row for every public class and method", function()
    for name, class in pairs(tcpnet) do
      if type(class) == "table" and name:find "^%u" then
        assert(rows[name], name .. " has no rows")
      end
    end
    for _, name in ipairs(sorted_keys(rows)) do
      local class = classes[name]
      for method in pairs(class) do
        local known = rows[name][method] or (constructors[name] or {})[method] or method:find "^__"
        assert(known, ("%s.%s has no row"):format(name, method))
      end
      for method in pairs(rows[name]) do
        assert(class[method] or name == "Task" and method == "join", ("%s.%s is missing"):format(name, method))
      end
    end
  end)
end)

for _, class_name in ipairs(class_names) do
  local class, methods = classes[class_name], rows[class_name]

  describe(class_name, function()
    local object, release
    before_each(leaks.note)
    before_each(function()
      a_buffer:clear()
      start_complaints()
      object, release = make[class_name]()
    end)
    after_each(function()
      release()
      object, release = nil, nil
      tcpnet.step(0)
      remove_socket_files()
    end)
    after_each(leaks.check)

    it("refuses every wrong receiver, in every method (F28)", function()
      local wrong = { table.unpack(junk, 1, #junk) }
      local others = {}
      for _, other in ipairs(class_names) do
        if other ~= class_name then
          local value, let_go = make[other]()
          others[#others + 1] = let_go
          wrong[#wrong + 1] = { "another class's " .. other, value }
        end
      end
      for _, name in ipairs(sorted_keys(methods)) do
        for _, value in ipairs(wrong) do
          local arguments = right_arguments(methods[name])
          if not takes(class, name, value[2]) then
            expect_refusal(("%s.%s on %s"):format(class_name, name, value[1]),
              call(name, class[name], value[2], table.unpack(arguments, 1, arguments.n)))
          end
        end
      end
      for _, let_go in ipairs(others) do
        let_go()
      end
      no_complaints()
    end)

    it("refuses every wrong argument, in every position (F28, F30, F31, F32)", function()
      for _, name in ipairs(sorted_keys(methods)) do
        for index, argument in ipairs(methods[name]) do
          for _, value in ipairs(junk) do
            local arguments = right_arguments(methods[name])
            arguments[index] = value[2]
            local what = ("%s.%s, argument %d: %s"):format(class_name, name, index, value[1])
            a_buffer:clear()
            if argument[1] == maybe then
              local outcome = table.pack(call(name, class[name], object, table.unpack(arguments, 1, arguments.n)))
              if outcome[1] then
                expect_harmless(what, table.unpack(outcome, 1, outcome.n))
                release()
                object, release = make[class_name]()
              else
                expect_refusal(what, table.unpack(outcome, 1, outcome.n))
              end
            elseif not argument[1](value[2]) then
              expect_refusal(what, call(name, class[name], object, table.unpack(arguments, 1, arguments.n)))
            elseif not gives_away[name] then
              expect_harmless(what, call(name, class[name], object, table.unpack(arguments, 1, arguments.n)))
              -- it may have been consumed, or be set to something strange
              release()
              object, release = make[class_name]()
            end
          end
        end
      end
      no_complaints()
    end)

    it("ignores more arguments than there are, and takes no state from them", function()
      for _, name in ipairs(sorted_keys(methods)) do
        if name ~= "write" and name ~= "is" and not gives_away[name] then
          local arguments = right_arguments(methods[name])
          for extra = 1, 4 do
            arguments[#methods[name] + extra] = 1 << 40
          end
          expect_harmless(("%s.%s with more arguments"):format(class_name, name),
            call(name, class[name], object, table.unpack(arguments, 1, #methods[name] + 4)))
          release()
          object, release = make[class_name]()
        end
      end
      no_complaints()
    end)

    it("cannot be broken by calling its metamethods by hand, twice, on anything (F28)", function()
      if type(object) == "userdata" then
        assert.is_not.equal("table", type(getmetatable(object)))
      end
      local meta = debug.getmetatable(object)
      for event, method in pairs(meta) do
        if type(method) == "function" then
          for _, value in ipairs(junk) do
            pcall(method, value[2])
            pcall(method, value[2], object)
            pcall(method, value[2], value[2], value[2])
          end
        end
        assert.is_string(event)
      end
      for _ = 1, 2 do
        for _, event in ipairs { "__tostring", "__len", "__close", "__gc", "__gc", "__tostring", "__len" } do
          if meta[event] then
            pcall(meta[event], object, nil)
          end
        end
      end
      for _, name in ipairs(sorted_keys(methods)) do
        local arguments = right_arguments(methods[name])
        if not gives_away[name] then
          call(name, class[name], object, table.unpack(arguments, 1, arguments.n))
        end
      end
      collectgarbage()
    end)

    it("is not mistaken for what wears its metatable (F28)", function()
      local meta = debug.getmetatable(object)
      local file = io.tmpfile()
      local file_meta = debug.getmetatable(file)
      local impostors = { debug.setmetatable(file, meta), setmetatable({}, { __index = class }) }
      for _, impostor in ipairs(impostors) do
        for _, name in ipairs(sorted_keys(methods)) do
          local arguments = right_arguments(methods[name])
          expect_refusal(("%s.%s on an impostor"):format(class_name, name),
            call(name, class[name], impostor, table.unpack(arguments, 1, arguments.n)))
        end
        pcall(tostring, impostor)
      end
      debug.setmetatable(file, file_meta)
      file:close()
      -- and without its own it is still what it was
      debug.setmetatable(object, nil)
      for name in pairs(methods) do
        if name ~= "is" and not gives_away[name] then
          call(name, class[name], object)
        end
      end
      debug.setmetatable(object, meta)
      no_complaints()
    end)
  end)
end

describe("module functions", function()
  before_each(leaks.note)
  after_each(remove_socket_files)
  before_each(function()
    start_complaints()
  end)
  after_each(leaks.check)

  for _, name in ipairs(sorted_keys(functions)) do
    it(name .. " refuses every wrong argument (F28, F30, F31, F32)", function()
      local owner, field = name:match "^(%w+)%.([%w_]+)$"
      local fn = owner and tcpnet[owner][field] or tcpnet[name]
      local row = functions[name]
      local reader, writer = connected()
      for index, argument in ipairs(row) do
        for _, value in ipairs(junk) do
          local arguments = right_arguments(row)
          if name:find "^copy" then
            arguments[1], arguments[2] = reader, writer
          end
          if name == "coroutine.resume" or name == "coroutine.close" or name == "coroutine.status" then
            arguments[1] = coroutine.create(again)
          end
          arguments[index] = value[2]
          local what = ("%s, argument %d: %s"):format(name, index, value[1])
          local closed = value[1] == "a closed stream"
          if closed and name:find "^copy" then
            expect_harmless(what, call(name, fn, table.unpack(arguments, 1, arguments.n)))
          elseif name:find "^Pipe" and size(value[2]) then
            assert(true) -- the standard streams may well be pipes, and are not for us to close
          elseif name:find "from_fd$" and integer(0, 2 ^ 31 - 1)(value[2]) then
            local ok, object, err = call(name, fn, value[2])
            if not (ok and object == nil and tcpnet.is_error(err)) then
              complain(what, ("gave (%s)"):format(tostring(object)))
            end
          elseif name == "Buffer.new" and integer(2 ^ 20, 2 ^ 40)(value[2]) then
            assert(true) -- legal, but a lot of memory
          elseif name == "coroutine.resume" and type(value[2]) == "thread" then
            assert(true) -- it is not for us to run
          elseif not argument[1](value[2]) then
            expect_refusal(what, call(name, fn, table.unpack(arguments, 1, arguments.n)))
          else
            local ok, first, second = call(name, fn, table.unpack(arguments, 1, arguments.n))
            expect_harmless(what, ok, first, second)
            if ok and type(first) == "userdata" and type(debug.getmetatable(first).__close) == "function" then
              debug.getmetatable(first).__close(first)
            end
          end
        end
      end
      reader:close()
      writer:close()
      no_complaints()
    end)
  end

  it("refuse unknown options and wrong values in tables of options, naming them (F30)", function()
    local values = {
      nodelay = { 0, 1, "true", {} }, reuseaddr = { 0, "yes" }, ttl = { 0, 256, "1", true, 0.5, 0 / 0 },
      linger = { -1, 65536, "1", true, 0 / 0, 1 / 0 }, recv_buffer_size = { -1, 2 ^ 31, "1", 0.5 },
      device = { 1, ("x"):rep(16), "a\0b", true }, nothing = { 1 }, [1] = { 1 }, timeout = { -1, "1", 0 / 0, true },
      backlog = { -1, "1", 0.5, 2 ^ 40, true },
    }
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local target = listener:local_addr()
    for option, list in pairs(values) do
      for _, value in ipairs(list) do
        local what = ("{%s = %s}"):format(tostring(option), tostring(value))
        expect_refusal("connect " .. what, call("", tcpnet.TcpStream.connect, target, { [option] = value }))
        expect_refusal("bind " .. what, call("", tcpnet.TcpListener.bind, "127.0.0.1:0", { [option] = value }))
        expect_refusal("accept options " .. what, call("", listener.set_accept_options, listener, { [option] = value }))
      end
    end
    for _, settings in ipairs {
      { spin = -1 }, { spin = "1" }, { spin = 0 / 0 }, { buffer_size = 0 }, { buffer_size = "1" },
      { buffer_size = 0.5 }, { buffer_size = 2 ^ 53 },
      { on_task_error = 1 }, { on_task_error = "print" }, { nothing = 1 }, { 1 },
    } do
      expect_refusal("configure " .. next(settings), call("", tcpnet.configure, settings))
    end
    for _, branches in ipairs { { 1 }, { again, "x" }, { key = false }, {} } do
      expect_refusal("select", call("", tcpnet.select, branches))
    end
    listener:close()
    no_complaints()
  end)

  it("step and run refuse wrong arguments (F31, F32)", function()
    for _, value in ipairs(junk) do
      if not optional(seconds)(value[2]) then
        expect_refusal("step: " .. value[1], pcall(tcpnet.step, value[2]))
      end
      if type(value[2]) ~= "function" then
        expect_refusal("run: " .. value[1], pcall(tcpnet.run, value[2]))
      end
    end
    no_complaints()
  end)
end)

-- after the end -----------------------------------------------------------------------------------------------------

describe("after close", function()
  before_each(leaks.note)
  before_each(function()
    a_buffer:clear()
    start_complaints()
  end)
  after_each(leaks.check)

  local answers_anyway = {
    forget = true, close = true, closed = true, pid = true,
    index = true, status = true, join = true, cancel = true, messages = true, -- of a Worker
  }

  local function expect_closed(what, name, ok, first, second)
    local fine = ok and first == nil and tcpnet.is_error(second, "CLOSED")
    if name == "lines" or name == "chunks" then
      fine = not ok and tcpnet.is_error(first, "CLOSED")
    elseif name == "incoming" then
      fine = ok and first == nil and second == nil
    elseif answers_anyway[name] then
      fine = ok
    end
    if not fine then
      complain(what, ("gave (%s, %s, %s)"):format(tostring(ok), tostring(first), tostring(second)))
    end
  end

  local function try_all(class_name, object, state)
    local class = classes[class_name]
    for _, name in ipairs(sorted_keys(rows[class_name])) do
      local arguments = right_arguments(rows[class_name][name])
      if name == "reunite" then
        local stream, peer = connected()
        local read_half, write_half = stream:into_split()
        expect_closed(class_name .. ".reunite", name, call(name, class[name], object, write_half))
        read_half:close()
        write_half:close()
        peer:close()
      else
        expect_closed(("%s.%s, %s"):format(class_name, name, state), name,
          call(name, class[name], object, table.unpack(arguments, 1, arguments.n)))
      end
    end
    assert.is_true(object:closed())
    assert.matches("^" .. class_name .. " %(", tostring(object))
    object:close()
    object:close()
  end

  for _, class_name in ipairs(class_names) do
    if rows[class_name].close and rows[class_name].closed then
      it("every method of " .. class_name .. " answers nil, CLOSED (F29)", function()
        local object, release = make[class_name]()
        object:close()
        try_all(class_name, object, "closed")
        release()
        no_complaints()
      end)
    end
  end

  it("every method of a consumed object answers nil, CLOSED, and says how it was consumed (F29)", function()
    local socket = assert(tcpnet.TcpSocket.new_v4())
    assert(socket:bind "127.0.0.1:0")
    local listener = assert(socket:listen())
    try_all("TcpSocket", socket, "consumed by listen")
    local client_socket = assert(tcpnet.TcpSocket.new_v4())
    local stream = assert(client_socket:connect(listener:local_addr()))
    local peer = assert(listener:accept())
    try_all("TcpSocket", client_socket, "consumed by connect")
    local read_half, write_half = stream:into_split()
    try_all("TcpStream", stream, "consumed by into_split")
    local _, err = stream:read()
    assert.matches("into_split", tostring(err))
    local again_stream = assert(read_half:reunite(write_half))
    try_all("OwnedReadHalf", read_half, "consumed by reunite")
    try_all("OwnedWriteHalf", write_half, "consumed by reunite")
    _, err = read_half:read()
    assert.matches("reunite", tostring(err))
    local back = assert(tcpnet.TcpStream.from_fd(again_stream:into_fd()))
    try_all("TcpStream", again_stream, "consumed by into_fd")
    _, err = again_stream:read()
    assert.matches("into_fd", tostring(err))
    back:close()
    peer:close()
    listener:close()
    no_complaints()
  end)

  it("so does what a Unix socket, a generic one and a pipe were before they became something else (F29)", function()
    local socket = assert(tcpnet.UnixSocket.new_stream())
    assert(socket:bind(socket_path, { unlink = true }))
    local listener = assert(socket:listen())
    try_all("UnixSocket", socket, "consumed by listen")
    local client_socket = assert(tcpnet.UnixSocket.new_stream())
    local stream = assert(client_socket:connect(socket_path))
    try_all("UnixSocket", client_socket, "consumed by connect")
    local read_half, write_half = stream:into_split()
    try_all("UnixStream", stream, "consumed by into_split")
    local unbound = assert(tcpnet.UnixSocket.new_datagram())
    local datagram = assert(unbound:datagram())
    try_all("UnixSocket", unbound, "consumed by datagram")
    local generic = assert(tcpnet.Socket.new("inet", "dgram"))
    local udp = assert(generic:into_udp_socket())
    try_all("Socket", generic, "consumed by into_udp_socket")
    local _, err = generic:recv()
    assert.matches("into_udp_socket", tostring(err))
    local sender, receiver = assert(tcpnet.pipe())
    local kept = { read_half, write_half, listener, datagram, udp }
    kept[6] = assert(tcpnet.PipeSender.from_fd(sender:into_fd()))
    kept[7] = assert(tcpnet.PipeReceiver.from_fd(receiver:into_blocking_fd()))
    try_all("PipeSender", sender, "consumed by into_fd")
    try_all("PipeReceiver", receiver, "consumed by into_blocking_fd")
    for _, object in ipairs(kept) do
      object:close()
    end
    no_complaints()
  end)

  it("a view of what is closed, and what is closed under a view (F29)", function()
    for _, class_name in ipairs(class_names) do
      if rows[class_name].as_socket then
        local object, release = make[class_name]()
        local view = assert(object:as_socket())
        local of_view = assert(view:as_socket())
        object:close()
        for _, name in ipairs(sorted_keys(rows.Socket)) do
          local arguments = right_arguments(rows.Socket[name])
          expect_closed(("%s of a view of %s"):format(name, class_name), name,
            call(name, tcpnet.Socket[name], view, table.unpack(arguments, 1, arguments.n)))
        end
        assert.is_true(of_view:closed())
        of_view:close()
        view:close()
        release()
      end
    end
    no_complaints()
  end)

  it("by another of its halves or views, the same", function()
    local stream, peer = connected()
    local read_half, write_half = stream:split()
    stream:close()
    try_all("ReadHalf", read_half, "its stream closed")
    try_all("WriteHalf", write_half, "its stream closed")
    peer:close()
    no_complaints()
  end)

  it("the halves of a stream in memory, the same", function()
    for _, class_name in ipairs { "DuplexReadHalf", "DuplexWriteHalf" } do
      local object, close = make[class_name]()
      close()
      for name, row in pairs(rows[class_name]) do
        local arguments = right_arguments(row)
        expect_closed(("%s.%s, its stream closed"):format(class_name, name), name,
          call(name, classes[class_name][name], object, table.unpack(arguments, 1, arguments.n)))
      end
      assert.is_true(object:closed())
    end
    no_complaints()
  end)
end)

-- as in C -----------------------------------------------------------------------------------------------------------

describe("a stream in memory", function()
  local stream, peer
  before_each(function()
    stream, peer = tcpnet.duplex(16.0)
    a_buffer:clear()
    assert(peer:write "abcdefgh\n")
  end)
  after_each(function()
    stream:close()
    peer:close()
  end)

  it("takes a float that is an integer for one, as a TcpStream does", function()
    assert.equal("ab", stream:peek(2.0))
    assert.equal("ab", stream:try_peek(2.0))
    assert.equal("a", stream:read(1.0))
    assert.equal("b", stream:try_read(1.0))
    assert.equal("c", stream:read_exact(1.0))
    assert.equal(1, stream:read_into(a_buffer, 1.0))
    assert.equal(1, stream:try_read_into(a_buffer, 1.0))
    assert.equal("de", tostring(a_buffer))
    assert.equal("fgh\n", stream:read_until("\n", 4.0))
    assert(peer:write "ij\nk")
    assert.equal("ij", stream:read_line(2.0))
    assert(peer:shutdown())
    assert.equal("k", stream:read_to_end(1.0))
    assert.equal(2, stream:write_some("xyz", 2.0))
    assert.equal(1, stream:try_write("xyz", 3.0))
    assert.equal("yzz", peer:read())
  end)

  it("complains of the receiver before the arguments, where a dot stands for a colon", function()
    for name, row in pairs(reading_memory) do
      local ok, message = pcall(stream[name], row[1] and row[1][2])
      assert.is_false(ok, name)
      local wanted = name:find "timeout" and "DuplexStream" or "reader"
      assert.matches(("bad argument #1 to '%s' (%s expected, got "):format(name, wanted), message, 1, true)
    end
  end)

  it("gives its halves for their own when they are told something", function()
    local read_half, write_half = stream:split()
    assert.equal(read_half, read_half:set_read_timeout(1))
    assert.equal(write_half, write_half:set_write_timeout(1))
    assert.equal(write_half, write_half:shutdown())
  end)
end)

-- worse -------------------------------------------------------------------------------------------------------------

describe("a try_io function", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function shared_again(stream)
    local _, err = stream:try_read()
    assert(err.code == "EAGAIN")
    return err
  end

  for _, way in ipairs { "close", "reset", "into_split", "into_fd" } do
    it("may " .. way .. " the stream, and nothing of it is touched after (F26, F29)", function()
      local stream, peer = connected()
      local eagain = shared_again(stream)
      local kept, other, other_peer
      local ok, err = stream:try_io("w", function()
        kept = { stream[way](stream) }
        collectgarbage()
        tcpnet.metrics()
        other, other_peer = connected() -- takes the descriptor, and the memory, if they are free
        return nil, eagain
      end)
      assert.is_nil(ok)
      assert.is_true(tcpnet.is_error(err))
      assert(other:write "x")
      assert.is_truthy(other:try_io("w", function() return true end))
      assert.equal("x", other_peer:read())
      if way == "into_split" then
        kept[1]:close()
        kept[2]:close()
      elseif way == "into_fd" then
        assert(tcpnet.TcpStream.from_fd(kept[1])):close()
      end
      for _, object in ipairs { stream, peer, other, other_peer } do
        object:close()
      end
    end)
  end

  it("may raise, and may call try_io again", function()
    local stream, peer = connected()
    assert.has_error(function()
      stream:try_io("w", function() error "no" end)
    end)
    assert.equal(5, stream:try_io("w", function()
      return stream:try_io("w", function() return 5 end)
    end))
    stream:close()
    peer:close()
  end)
end)

describe("an option read by its number", function()
  it("gets no more bytes from the system than there is room for, whatever the system counts in", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local socket = assert(tcpnet.Socket.new("inet", "dgram"))
      local filter = {}
      for i = 1, 400 do filter[i] = { 6, 0, 0, 0x41414141 } end
      assert(socket:attach_filter(filter))
      for number = -1, 100 do
        for _, level in ipairs { 0, 1, 6, 17, 41, 255 } do
          for _, size in ipairs { 0, 1, 3, 4, 8, 16, 511, 512 } do
            local bytes, err = socket:get(level, number, size)
            assert(bytes and #bytes <= 4096 or tcpnet.is_error(err))
          end
        end
      end
      print "alive"
    ]]
    assert.equal("alive\n", output)
    assert.equal(0, code)
  end)
end)

describe("an adopted descriptor", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("has to be an open TCP socket of the right state (F27)", function()
    local file = assert(io.open("/dev/null"))
    for _, class in ipairs { tcpnet.TcpSocket, tcpnet.TcpStream, tcpnet.TcpListener } do
      for fd = 0, 2 do
        local object, err = class.from_fd(fd)
        assert.is_nil(object)
        assert.is_true(tcpnet.is_error(err))
      end
      local object, err = class.from_fd(1000000)
      assert.is_nil(object)
      assert.is_true(tcpnet.is_error(err, "EBADF"), tostring(err))
    end
    file:close()
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local object, err = tcpnet.TcpStream.from_fd(listener:fd())
    assert.is_nil(object)
    assert.is_true(tcpnet.is_error(err))
    local stream = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    object, err = tcpnet.TcpListener.from_fd(stream:fd())
    assert.is_nil(object)
    assert.is_true(tcpnet.is_error(err))
    assert.is_false(stream:closed())
    stream:close()
    listener:close()
  end)

  it("that this library holds already does no harm: the second to wait is told so, or served (F27)", function()
    local stream, peer = connected()
    local twin, err = tcpnet.TcpStream.from_fd(stream:fd())
    if not twin then
      assert.is_true(tcpnet.is_error(err))
    else
      tcpnet.run(function()
        local first = tcpnet.spawn(stream.read, stream)
        tcpnet.yield()
        local second = tcpnet.spawn(twin.read, twin)
        tcpnet.sleep(0.005)
        peer:write "x"
        tcpnet.sleep(0.005)
        first:cancel()
        second:cancel()
        twin:into_fd(true) -- let it go without closing what is not its own
      end)
      assert(peer:write "y")
      assert.is_string(stream:read())
    end
    stream:close()
    peer:close()
  end)
end)
