-- TCP by names, over several addresses, with options by name: what stands before the sockets of the core.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local closing = require "tcpnet.closing"
local outside = require "tcpnet.outside"
local resolve = require "tcpnet.resolve"
local waiting = require "tcpnet.waiting"

local private = core.private
local TcpSocket, TcpStream, TcpListener = core.TcpSocket, core.TcpStream, core.TcpListener

-- RFC 8305, section 5: the delay before the next address is tried beside those that have not answered yet.
local ATTEMPT_DELAY = 0.25

-- A socket of the address's family with these options, bound to local_addr if there is one.
local function new_socket(name, addr, options, local_addr)
  local socket, err = TcpSocket[addr:is_ipv6() and "new_v6" or "new_v4"]()
  return resolve.prepared(name, addr, socket, err, options, local_addr)
end

local families = { any = true, inet = true, inet6 = true }

-- lookup_host(host[, port][, opts]) → array of SocketAddr. opts: family = "inet" | "inet6", timeout in seconds.
function core.lookup_host(host, port, opts)
  local position = 3
  if type(port) == "table" then
    port, opts, position = nil, port, 2
  end
  opts = check.options(opts, position, "lookup_host", "family", "timeout")
  check.that(opts.family == nil or families[opts.family], position, "lookup_host",
    ("family: 'any', 'inet' or 'inet6' expected, got '%s'"):format(tostring(opts.family)))
  check.optional_seconds(opts.timeout, position, "lookup_host", "timeout")
  if type(host) == "string" and port == nil and not host:find(":", 1, true) then
    port = 0
  end
  local found, name, number = resolve.target("lookup_host", host, port)
  if found then
    waiting.begin "lookup_host" -- counts as any other, though there is nothing to look up
    local wanted = opts.family
    if wanted and wanted ~= "any" and found:family() ~= wanted then
      return nil, private.new_error("EAI_NONAME", "lookup_host", tostring(found), "the address is of another family")
    end
    return { found }
  elseif found == nil then
    return nil, name
  end
  return private.lookup_host(name, number, opts.family, opts.timeout)
end

-- connecting --------------------------------------------------------------------------------------

-- The address to connect from: of those that its name has, the first of the other end's family.
local function local_for(addr, locals)
  for _, here in ipairs(locals) do
    if here:family() == addr:family() then
      return here
    end
  end
  return locals[1]
end

-- One attempt. The socket closes with it, however it ends.
local function connect_one(addr, settings, seconds)
  local fresh, err = new_socket("connect", addr, settings.options, local_for(addr, settings.locals))
  if not fresh then
    return nil, err
  end
  local socket <close> = fresh
  return private.connect(socket, addr, seconds)
end

-- RFC 8305, section 4: families take turns, beginning with that of the first address.
local function interleave(addresses)
  local by_family, order = {}, {}
  for _, addr in ipairs(addresses) do
    local family = addr:family()
    if not by_family[family] then
      by_family[family] = {}
      order[#order + 1] = family
    end
    table.insert(by_family[family], addr)
  end
  local mixed = {}
  for i = 1, #addresses do
    for _, family in ipairs(order) do
      mixed[#mixed + 1] = by_family[family][i]
    end
  end
  return mixed, #order > 1
end

-- What an attempt has got it enters itself: its result would be nobody's until the race goes on.
local function attempt(addr, settings, won)
  local stream, err = connect_one(addr, settings)
  if stream then
    won[stream] = true
  end
  return stream, err
end

local function race(addresses, settings)
  local won <close> = closing() -- and not given out: more than one may win, and a cancelled race gives out none
  local set <close> = core.JoinSet.new()
  local last, started = nil, 0
  while started < #addresses or #set > 0 do
    if started < #addresses then
      started = started + 1
      set:spawn(attempt, addresses[started], settings, won)
    end
    local task, ok, stream, err = set:join_next(started < #addresses and ATTEMPT_DELAY or nil)
    if task and ok and stream then
      won[stream] = nil
      return stream
    elseif task then
      last = ok and err or stream
    end
  end
  return nil, private.locate(last)
end

local raced = outside(race, "connect")

local function dial(address, port, settings)
  local addresses, err = resolve.all("connect", address, port)
  if not addresses then
    return nil, err
  end
  if settings.local_host then
    local locals
    locals, err = private.lookup_host(settings.local_host, settings.local_port)
    if not locals then
      return nil, err
    end
    settings.locals = locals
  end
  local mixed, both_families = interleave(addresses)
  if both_families and settings.happy_eyeballs ~= false then
    return raced(mixed, settings)
  end
  return resolve.first_of(mixed, connect_one, settings)
end

-- The one address that needs neither lookup nor race keeps to a single operation, with its own deadline.
local function dial_within(seconds, address, port, settings)
  if seconds and not settings.local_host then
    local found, err = resolve.target("connect", address, port)
    if found then
      return connect_one(found, settings, seconds)
    elseif found == nil then
      return nil, err
    end
  end
  return waiting.within(seconds, "connect", tostring(address), dial, address, port, settings)
end

-- TcpStream.connect(addr[, opts]) → TcpStream: every address of the name until one answers; the error is the last one.
function TcpStream.connect(...)
  local address, port, opts, position = resolve.split_arguments("connect", ...)
  local options, seconds, local_addr, happy_eyeballs =
    resolve.take("TcpSocket", "connect", opts, position, "timeout", "local_addr", "happy_eyeballs")
  check.optional_seconds(seconds, position, "connect", "timeout")
  check.that(happy_eyeballs == nil or type(happy_eyeballs) == "boolean", position, "connect",
    ("happy_eyeballs: boolean expected, got %s"):format(type(happy_eyeballs)))
  private.enter "connect"
  local settings = { options = options, happy_eyeballs = happy_eyeballs, locals = {} }
  if local_addr ~= nil then
    local found, host, number = resolve.target("connect", local_addr, nil, position - 1, "local_addr")
    if found == nil then
      return nil, host
    elseif found then
      settings.locals[1] = found
    else
      settings.local_host, settings.local_port = host, number
    end
  end
  return dial_within(seconds, address, port, settings)
end

-- socket:connect(addr[, opts]) → TcpStream. Consumes the socket; a failure closes it.
function TcpSocket:connect(...)
  check.receiver(self, { TcpSocket = true }, "TcpSocket", "connect")
  local address, port, opts, position = resolve.split_arguments("connect", ...)
  local options, seconds = resolve.take("TcpSocket", "connect", opts, position, "timeout")
  check.optional_seconds(seconds, position, "connect", "timeout")
  local socket <close> = self
  return resolve.with_first(function(addr, limit)
    local ok, err = resolve.set_options("connect", addr, socket, options)
    if not ok then
      return nil, err
    end
    return private.connect(socket, addr, limit)
  end, seconds, "connect", socket, address, port)
end

-- socket:bind(addr) → socket
TcpSocket.bind = resolve.binder "TcpSocket"

-- listening ---------------------------------------------------------------------------------------

local function listen_on(addr, options, backlog)
  local fresh, err = new_socket("bind", addr, options, addr)
  if not fresh then
    return nil, err
  end
  local socket <close> = fresh
  return socket:listen(backlog)
end

-- TcpListener.bind(addr[, opts]) → TcpListener on the first address of the name that can be bound.
function TcpListener.bind(...)
  local address, port, opts, position = resolve.split_arguments("bind", ...)
  local options, backlog = resolve.take("TcpSocket", "bind", opts, position, "backlog")
  backlog = check.optional_integer(backlog, 0, check.INT_MAX, position, "bind", "backlog")
  if options.reuseaddr == nil then
    options.reuseaddr = true
  end
  local addresses, err = resolve.all("bind", address, port)
  if not addresses then
    return nil, err
  end
  return resolve.first_of(addresses, listen_on, options, backlog)
end

-- listen_fds() → list of the listeners that systemd passed (sd_listen_fds(3)); empty when there are none. Where one of
-- them is none, the others are left as they are: the program may have them one by one.
function core.listen_fds()
  local listeners = {}
  if tonumber(os.getenv "LISTEN_PID") ~= private.pid() then
    return listeners
  end
  for i = 1, math.tointeger(tonumber(os.getenv "LISTEN_FDS")) or 0 do
    local listener, err = TcpListener.from_fd(2 + i)
    if not listener then
      listener = core.UnixListener.from_fd(2 + i)
    end
    if not listener then
      for _, taken in ipairs(listeners) do
        taken:into_fd()
      end
      return nil, waiting.renamed("listen_fds", err)
    end
    listeners[i] = listener
  end
  return listeners
end
