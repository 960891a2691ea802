-- Messages and the generic Socket by names and paths, keepalive as one setting, and what this system has of it all.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local resolve = require "tcpnet.resolve"
local waiting = require "tcpnet.waiting"

local private = core.private
local Socket = core.Socket

-- socket:connect(addr) → socket, which stays open where it fails.
local function connect(name, socket, address, port, seconds)
  return resolve.with_first(function(addr, limit)
    return private.connect(socket, addr, limit)
  end, seconds, name, socket, address, port)
end

-- socket:connect_timeout(addr, seconds) → socket
function Socket:connect_timeout(address, port, seconds)
  check.receiver(self, { Socket = true }, "Socket", "connect_timeout")
  if seconds == nil then
    port, seconds = nil, port
  end
  check.that(seconds ~= nil, 2, "connect_timeout", "seconds, 0 or more, expected, got no value")
  check.optional_seconds(seconds, port and 3 or 2, "connect_timeout", "timeout")
  waiting.begin "connect_timeout"
  return connect("connect_timeout", self, address, port, seconds)
end

-- (data, host, port, flags) or (data, "host:port", flags) → the same call with a SocketAddr.
local function by_name(name)
  return function(self, data, address, port, flags)
    if flags == nil and type(port) ~= "number" then
      port, flags = nil, port
    end
    local problem = private.flags_problem(flags)
    check.that(not problem, port and 4 or 3, name, problem)
    local count, err = resolve.with_first(function(addr)
      return self[name](self, data, addr, flags)
    end, nil, name, self, address, port, 1, nil, data)
    if not count then -- no tail call: what is raised in there bears the name of this one
      return nil, err
    end
    return count
  end
end

for _, name in ipairs { "send_to", "try_send_to", "send_to_vectored", "try_send_to_vectored" } do
  private.detour(name, by_name(name))
end

-- sendmsg{data =, address =, control =, flags =} → count
local function message_sender(name, class)
  local send = private[name]
  return function(self, message)
    check.receiver(self, { [class] = true }, class, name)
    check.value(message, "table", 1, name)
    local address = rawget(message, "address") -- a metamethod could close the socket in the middle
    if address == nil then
      return send(self, message)
    end
    local count, err = resolve.with_first(function(addr)
      return send(self, message, addr)
    end, nil, name, self, address, nil, nil, "address", message)
    if not count then -- as above
      return nil, err
    end
    return count
  end
end

-- What every class has that is used message by message: addresses by name or path.
for _, class in ipairs { "Socket", "UdpSocket", "UnixDatagram" } do
  local methods = core[class]
  for _, name in ipairs { "sendmsg", "try_sendmsg" } do
    methods[name] = message_sender(name, class)
  end
  methods.connect = function(self, address, port)
    check.receiver(self, { [class] = true }, class, "connect")
    return connect("connect", self, address, port)
  end
end

-- socket:bind(addr) → socket
Socket.bind = resolve.binder "Socket"

-- keepalive ---------------------------------------------------------------------------------------

local KEEPERS = { TcpSocket = true, TcpStream = true, TcpListener = true, Socket = true }
local KEEPALIVE = { time = true, interval = true, retries = true }

-- set_tcp_keepalive{time =, interval =, retries =} → socket: switches keepalive on and sets what is given.
local function set_tcp_keepalive(self, settings)
  check.receiver(self, KEEPERS, "TcpSocket", "set_tcp_keepalive")
  check.value(settings, "table", 1, "set_tcp_keepalive")
  local options = { keepalive = true }
  for key in pairs(KEEPALIVE) do
    options["tcp_keepalive_" .. key] = settings[key]
  end
  for key in pairs(settings) do
    check.that(KEEPALIVE[key], 1, "set_tcp_keepalive", ("unknown field '%s'"):format(tostring(key)))
  end
  local problem = private.option_problem(options, "TcpSocket")
  check.that(not problem, 1, "set_tcp_keepalive", problem and problem:gsub("^tcp_keepalive_", ""))
  local ok, err = private.set_options(self, options)
  if not ok then
    return nil, waiting.renamed("set_tcp_keepalive", err)
  end
  return self
end

for _, class in ipairs { core.TcpSocket, core.TcpStream, core.TcpListener, Socket } do
  class.set_tcp_keepalive = set_tcp_keepalive
end

-- what there is -----------------------------------------------------------------------------------

-- Domains, types and protocols whose presence only the kernel knows.
local PROBES = {
  mptcp = { "inet", "stream", "mptcp" },
  sctp = { "inet", "stream", "sctp" },
  dccp = { "inet", "dccp", "dccp" },
  udplite = { "inet", "dgram", "udplite" },
  vsock = { "vsock", "stream" },
  packet = { "packet", "raw" },
  netlink = { "netlink", "raw" },
  seqpacket = { "unix", "seqpacket" },
}

-- The sockets on which an option is looked for: no option belongs to all of them.
local HOSTS = {
  { "inet", "dgram" }, { "inet", "stream" }, { "inet6", "dgram" }, { "inet6", "stream" }, { "unix", "stream" },
  { "inet", "raw", "icmp" }, { "inet6", "raw", "icmpv6" }, { "vsock", "stream" }, { "inet", "dccp", "dccp" },
}

local function kernel_has_socket(probe)
  local socket, err = Socket.new(table.unpack(probe))
  if socket then
    socket:close()
  end
  return socket ~= nil or err:is("EPERM", "EACCES", "EMFILE", "ENFILE")
end

-- `forbidden`: there are hosts that this user may not make, so that a "no" of the others is none.
local function kernel_has_option(row, hosts, forbidden)
  if not (row.present and row.get) then
    return row.present
  end
  for _, host in ipairs(hosts) do
    local _, err = host:get(row.name)
    if not (err and err:is("ENOPROTOOPT", "ENOTSUP", "EOPNOTSUPP")) then
      return true
    end
  end
  return forbidden and #row.classes == 1
end

-- features() → table: name of an option or of a kind of socket → whether this system has it.
function core.features()
  private.alive "features"
  local found, hosts, forbidden = {}, {}, false
  for name, probe in pairs(PROBES) do
    found[name] = kernel_has_socket(probe)
  end
  for _, host in ipairs(HOSTS) do
    local socket, err = Socket.new(table.unpack(host))
    hosts[#hosts + 1] = socket
    forbidden = forbidden or not socket and err:is("EPERM", "EACCES")
  end
  for _, row in ipairs(private.option_rows()) do
    found[row.name] = kernel_has_option(row, hosts, forbidden) and (found.dccp or not row.name:find "^dccp_")
  end
  for _, host in ipairs(hosts) do
    host:close()
  end
  return found
end
