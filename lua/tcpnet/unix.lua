-- Unix domain sockets by path, and pipes.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local resolve = require "tcpnet.resolve"
local waiting = require "tcpnet.waiting"

local private = core.private
local SocketAddr = core.SocketAddr
local UnixSocket, UnixStream = core.UnixSocket, core.UnixStream
local UnixListener, UnixDatagram = core.UnixListener, core.UnixDatagram

-- A SocketAddr of a path, of "@name" in the abstract namespace, or given as one.
local function address_of(name, path)
  if private.kind(path) == "SocketAddr" then
    resolve.check_unix(path, 1, name)
    return path
  end
  check.value(path, "string", 1, name)
  return SocketAddr.unix(path)
end

-- The options and the other keys of a table that may be missing.
local function options_of(class, name, opts, ...)
  return resolve.take(class, name, check.optional_table(opts, 2, name), 2, ...)
end

-- replacing a file that nobody serves -------------------------------------------------------------

-- Is the socket behind that file gone? Only a refusal says so. A datagram socket asks, for its question leaves no
-- trace: one that is alive and of another type answers EPROTOTYPE.
local function is_stale(addr)
  local fresh, err = UnixDatagram.unbound()
  if not fresh then
    return nil, err
  end
  local probe <close> = fresh
  local connected
  connected, err = private.connect(probe, addr, 0)
  return not connected and err.code == "ECONNREFUSED"
end

local function in_use(addr, message)
  return nil, private.new_error("EADDRINUSE", "bind", tostring(addr), message)
end

-- Binds; with `unlink` the file of a socket with nobody behind it makes room, a live one never, any other file never.
local function bind(socket, addr, unlink)
  local ok, err = private.bind(socket, addr)
  if ok or not unlink or err.code ~= "EADDRINUSE" then
    return ok, err
  end
  local path = addr:path()
  if path:sub(1, 1) == "@" then
    return nil, err
  elseif not private.is_socket_file(path) then
    return in_use(addr, "there is a file that is no socket")
  elseif not is_stale(addr) then
    return in_use(addr, "a live socket has this path")
  end
  os.remove(path)
  return private.bind(socket, addr)
end

local function check_unlink(unlink)
  check.that(unlink == nil or type(unlink) == "boolean", 2, "bind",
    ("unlink: boolean expected, got %s"):format(type(unlink)))
end

-- A bound socket, or what kept it from being bound; it is closed then.
local function bound(socket, err, options, addr, unlink)
  socket, err = resolve.prepared("bind", addr, socket, err, options)
  if not socket then
    return nil, err
  end
  local ok
  ok, err = bind(socket, addr, unlink)
  if not ok then
    socket:close()
    return nil, err
  end
  return socket
end

-- UnixSocket --------------------------------------------------------------------------------------

local UNIX_SOCKET = { UnixSocket = true }

local function check_stream(socket, name)
  check.receiver(socket, UNIX_SOCKET, "UnixSocket", name)
  if socket:type() == "dgram" then
    return nil, private.new_error("EINVAL", name, nil, "cannot be called on a datagram socket")
  end
  return true
end

-- socket:bind(path[, {unlink =}]) → socket
function UnixSocket:bind(path, opts)
  check.receiver(self, UNIX_SOCKET, "UnixSocket", "bind")
  local options, unlink = options_of("UnixSocket", "bind", opts, "unlink")
  check_unlink(unlink)
  local addr, err = address_of("bind", path)
  if not addr then
    return nil, err
  end
  local ok
  ok, err = resolve.set_options("bind", addr, self, options)
  if not ok then
    return nil, err
  end
  return bind(self, addr, unlink)
end

-- socket:connect(path[, {timeout =}]) → UnixStream. Consumes the socket; a failure closes it.
function UnixSocket:connect(path, opts)
  local ok, err = check_stream(self, "connect")
  if not ok then
    return nil, err
  end
  local options, seconds = options_of("UnixSocket", "connect", opts, "timeout")
  check.optional_seconds(seconds, 2, "connect", "timeout")
  local socket <close> = self
  local addr
  addr, err = address_of("connect", path)
  if not addr then
    return nil, err
  end
  ok, err = resolve.set_options("connect", addr, socket, options)
  if not ok then
    return nil, err
  end
  return private.connect(socket, addr, seconds)
end

local listen = UnixSocket.listen

-- socket:listen([backlog=1024]) → UnixListener. Consumes the socket.
function UnixSocket:listen(backlog)
  local ok, err = check_stream(self, "listen")
  if not ok then
    return nil, err
  end
  return listen(self, backlog)
end

-- UnixStream, UnixListener, UnixDatagram ------------------------------------------------------------

-- UnixStream.connect(path[, opts]) → UnixStream. opts: timeout, socket options by name.
function UnixStream.connect(path, opts)
  local options, seconds = options_of("UnixStream", "connect", opts, "timeout")
  check.optional_seconds(seconds, 2, "connect", "timeout")
  local addr, err = address_of("connect", path)
  if not addr then
    return nil, err
  end
  local fresh
  fresh, err = UnixSocket.new_stream()
  fresh, err = resolve.prepared("connect", addr, fresh, err, options)
  if not fresh then
    return nil, err
  end
  local socket <close> = fresh
  return private.connect(socket, addr, seconds)
end

-- UnixListener.bind(path[, opts]) → UnixListener. opts: unlink, backlog, socket options by name.
function UnixListener.bind(path, opts)
  local options, unlink, backlog = options_of("UnixListener", "bind", opts, "unlink", "backlog")
  check_unlink(unlink)
  backlog = check.optional_integer(backlog, 0, check.INT_MAX, 2, "bind", "backlog")
  local addr, err = address_of("bind", path)
  if not addr then
    return nil, err
  end
  local socket
  socket, err = UnixSocket.new_stream()
  socket, err = bound(socket, err, options, addr, unlink)
  if not socket then
    return nil, err
  end
  return listen(socket, backlog)
end

-- UnixDatagram.bind(path[, opts]) → UnixDatagram. opts: unlink, socket options by name.
function UnixDatagram.bind(path, opts)
  local options, unlink = options_of("UnixDatagram", "bind", opts, "unlink")
  check_unlink(unlink)
  local addr, err = address_of("bind", path)
  if not addr then
    return nil, err
  end
  local socket
  socket, err = UnixDatagram.unbound()
  return bound(socket, err, options, addr, unlink)
end

-- pipes -------------------------------------------------------------------------------------------

local function fifo(name, sends)
  return function(path, opts)
    check.value(path, "string", 1, name)
    opts = check.options(opts, 2, name, "read_write", "unchecked")
    for key, value in pairs(opts) do
      check.that(type(value) == "boolean", 2, name, ("%s: boolean expected, got %s"):format(key, type(value)))
    end
    return private.open_fifo(path, sends, opts.read_write, opts.unchecked)
  end
end

local PIPES = { PipeSender = true, PipeReceiver = true }

-- end:into_blocking_fd() → integer: for a program that expects an ordinary descriptor, as a child's standard output.
local function into_blocking_fd(self, take)
  check.receiver(self, PIPES, "PipeSender", "into_blocking_fd")
  if not take and self.buffered and (self:buffered() or 0) > 0 then
    return self:into_fd() -- refused, and left as it is
  end
  local ok, err = private.set_blocking(self)
  if not ok then
    return nil, waiting.renamed("into_blocking_fd", err)
  end
  return self:into_fd(take)
end

core.PipeSender.into_blocking_fd = into_blocking_fd
core.PipeReceiver.into_blocking_fd = into_blocking_fd

-- pipe() → PipeSender, PipeReceiver. pipe.open_sender(path[, opts]), pipe.open_receiver(path[, opts]): a FIFO;
-- opts: unchecked, read_write (Linux: both directions, so that neither end has to wait for the other).
core.pipe = setmetatable({
  Sender = core.PipeSender,
  Receiver = core.PipeReceiver,
  open_sender = fifo("open_sender", true),
  open_receiver = fifo("open_receiver", false),
}, { __call = function()
  return private.new_pipe()
end })
