-- An echo server that stops with grace: told "stop" on its control port it accepts no more, gives the open
-- connections some seconds (5) to end by themselves, cuts off the rest and exits with status 0.
-- Run:  ./dev lua examples/graceful_shutdown.lua [PORT [SECONDS]]     Stop:  echo stop | nc 127.0.0.1 CONTROL
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local port, grace = tonumber(arg[1] or 0), tonumber(arg[2] or 5)
local open = 0

local function echo(accepted)
  local stream <close> = accepted
  open = open + 1
  repeat
    local bytes = stream:read()
  until not bytes or not stream:write(bytes)
  open = open - 1
end

-- Returns when the listener is closed and the last connection has ended: no task outlives its scope.
local function serve(listener)
  tcpnet.scope(function(scope)
    for stream in listener:incoming() do
      scope:spawn(echo, stream)
    end
  end)
end

local function wait_for_stop(control)
  for accepted in control:incoming() do
    local stream <close> = accepted:set_timeout(5)
    if stream:read_line(64) == "stop" then return end
  end
end

tcpnet.run(function()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", port))
  local control <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
  print(("listening on %s\ncontrol on %s"):format(listener:local_addr(), control:local_addr()))
  local serving <close> = tcpnet.spawn(serve, listener)
  wait_for_stop(control)
  listener:close()
  print(("stopping, %d connections open"):format(open))
  local ended, err = serving:join(grace)
  if not ended and not tcpnet.is_error(err, "TIMEOUT") then error(err) end
  print(ended and "all connections ended" or ("%d connections cut off"):format(open))
end) -- leaving the block closes `serving`: what is still open is cancelled
