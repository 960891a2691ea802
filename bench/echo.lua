-- echo.lua PORT: the echo server that everybody would write, a task for each connection.
local tcpnet = require "tcpnet"

local function serve(stream)
  while true do
    local data = stream:read()
    if not data or not stream:write(data) then
      break
    end
  end
  stream:close()
end

tcpnet.run(function()
  local listener = assert(tcpnet.TcpListener.bind("127.0.0.1:" .. (arg[1] or 0)))
  assert(listener:set_accept_options { nodelay = true })
  print("listening on " .. tostring(listener:local_addr()))
  io.stdout:flush()
  for stream in listener:incoming() do
    tcpnet.spawn(serve, stream)
  end
end)
