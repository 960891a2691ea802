-- echo.lua PORT KIND [STYLE]: the server that everybody would write, a task for each connection.
--   KIND   echo, sink (reads and drops), lines (reads lines and drops them), unix (echo over Unix streams),
--          udp, udp32: datagrams echoed, one and up to 32 of them in a call
--   STYLE  buffer: through one Buffer for each task; copy: `copy(stream, stream)`; iterator: of lines;
--          gro: datagrams with udp_gro; spin: polls instead of sleeping; reuseport: shares its port
local tcpnet = require "tcpnet"

local port, kind, style = arg[1] or "0", arg[2] or "echo", arg[3]

local function announce(socket)
  print("listening on " .. tostring(socket:local_addr()))
  io.stdout:flush()
end

local serve = {}

function serve.echo(stream)
  while true do
    local data = stream:read()
    if not data or not stream:write(data) then
      break
    end
  end
  stream:close()
end

function serve.echo_buffer(stream)
  local buffer = tcpnet.Buffer.new(65536)
  while stream:read_into(buffer) and stream:write_from(buffer) do -- luacheck: ignore 542
  end
  stream:close()
end

function serve.echo_copy(stream)
  tcpnet.copy(stream, stream)
  stream:close()
end

function serve.sink(stream)
  while stream:read() do -- luacheck: ignore 542
  end
  stream:close()
end

function serve.sink_buffer(stream)
  local buffer = tcpnet.Buffer.new(65536)
  while stream:read_into(buffer) do
    buffer:clear()
  end
  stream:close()
end

function serve.lines(stream)
  while stream:read_line() do -- luacheck: ignore 542
  end
  stream:close()
end

function serve.lines_iterator(stream)
  for _ in stream:lines() do -- luacheck: ignore 542
  end
  stream:close()
end

serve.unix, serve.unix_copy = serve.echo, serve.echo_copy

local function accept_from(listener)
  announce(listener)
  local body = style and serve[kind .. "_" .. style] or serve[kind]
  for stream in listener:incoming() do
    tcpnet.spawn(body, stream)
  end
end

local servers = {}

function servers.tcp(address)
  local listener = assert(tcpnet.TcpListener.bind(address, { reuseport = style == "reuseport" }))
  assert(listener:set_accept_options { nodelay = true })
  accept_from(listener)
end

-- A path that is empty has the kernel pick a name.
function servers.unix()
  accept_from(assert(tcpnet.UnixListener.bind("")))
end

function servers.udp(address)
  local socket = assert(tcpnet.UdpSocket.bind(address))
  assert(socket:set_udp_gro(style == "gro"))
  announce(socket)
  while true do
    local data, addr = socket:recv_from()
    if not data or not socket:send_to(data, addr) then
      break
    end
  end
end

function servers.udp32(address)
  local socket = assert(tcpnet.UdpSocket.bind(address))
  announce(socket)
  while true do
    local list = socket:recv_many(32)
    if not list or not socket:send_many(list) then
      break
    end
  end
end

if style == "spin" then
  tcpnet.configure { spin = 3600 }
end
tcpnet.run(servers[kind] or servers.tcp, "127.0.0.1:" .. port)
