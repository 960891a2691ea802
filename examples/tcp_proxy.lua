-- A TCP proxy: joins every connection to one of its own to the target, half-closes and all.
-- Run:  ./dev lua examples/tcp_proxy.lua LISTEN_PORT TARGET_HOST TARGET_PORT
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local port, target_host, target_port = tonumber(arg[1]), arg[2], tonumber(arg[3])
if not target_port then
  io.stderr:write "usage: tcp_proxy.lua LISTEN_PORT TARGET_HOST TARGET_PORT\n"
  os.exit(1)
end

local function relay(accepted, from)
  local client <close> = accepted
  local target <close>, err = tcpnet.TcpStream.connect(target_host, target_port, { timeout = 10 })
  local sent, received
  if target then
    sent, received = tcpnet.copy_bidirectional(client, target)
    err = received
  end
  if sent then
    print(("%s sent %d bytes, got %d"):format(from, sent, received))
  else
    client:reset() -- a failure must not look like an orderly end
    if target then
      target:reset()
    end
    print(("%s failed: %s"):format(from, err))
  end
end

tcpnet.run(function()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", port))
  print("listening on " .. tostring(listener:local_addr()))
  for client, from in listener:incoming() do
    tcpnet.spawn(relay, client, from)
  end
end)
