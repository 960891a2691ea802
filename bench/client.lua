-- client.lua PORT CONNS SIZE SECS: ping-pong, a task for each connection, which waits for its answer with read_exact.
-- Prints JSON: what was done, in how long, with how much CPU time.
local tcpnet = require "tcpnet"

local port, count, size, secs = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local BETWEEN = 16 -- requests of a connection from one look at the clock to the next, in all clients
local message = ("x"):rep(size)
local now = tcpnet.now
local done = 0

local function play(stream, finish)
  repeat
    for _ = 1, BETWEEN do
      if not stream:write(message) or not stream:read_exact(size) then
        error "the server is gone"
      end
    end
    done = done + BETWEEN
  until now() >= finish
end

tcpnet.run(function()
  local streams = {}
  for i = 1, count do
    streams[i] = assert(tcpnet.TcpStream.connect("127.0.0.1", port, { nodelay = true }))
  end
  local start, cpu = now(), os.clock()
  tcpnet.scope(function(scope)
    for _, stream in ipairs(streams) do
      scope:spawn(play, stream, start + secs)
    end
  end)
  local line = '{"ops":%d,"secs":%.6f,"cpu_us":%.1f}'
  print(line:format(done, now() - start, (os.clock() - cpu) * 1e6))
end)
