-- echo.lua PORT [echo|unix|udp|udp32]: the echo server that everybody would write, a task for each connection;
-- udp and udp32 echo datagrams, one and up to 32 of them in a call.
local tcpnet = require "tcpnet"

local function announce(socket)
  print("listening on " .. tostring(socket:local_addr()))
  io.stdout:flush()
end

local function serve(stream)
  while true do
    local data = stream:read()
    if not data or not stream:write(data) then
      break
    end
  end
  stream:close()
end

local function accept_from(listener)
  announce(listener)
  for stream in listener:incoming() do
    tcpnet.spawn(serve, stream)
  end
end

local servers = {}

function servers.echo(address)
  local listener = assert(tcpnet.TcpListener.bind(address))
  assert(listener:set_accept_options { nodelay = true })
  accept_from(listener)
end

-- A path that is empty has the kernel pick a name.
function servers.unix()
  accept_from(assert(tcpnet.UnixListener.bind("")))
end

function servers.udp(address)
  local socket = assert(tcpnet.UdpSocket.bind(address))
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

tcpnet.run(servers[arg[2] or "echo"], "127.0.0.1:" .. (arg[1] or 0))
