-- An echo server: every connection is a task of its own, which ends with the stream.
-- Run:  ./dev lua examples/echo_server.lua [PORT]      Try:  nc 127.0.0.1 PORT
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local function echo(accepted)
  local stream <close> = accepted
  repeat
    local bytes = stream:read()
  until not bytes or not stream:write(bytes)
end

tcpnet.run(function()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
  listener:set_accept_options { nodelay = true }
  print("listening on " .. tostring(listener:local_addr()))
  for stream in listener:incoming() do
    tcpnet.spawn(echo, stream)
  end
end)
