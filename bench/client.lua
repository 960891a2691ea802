-- client.lua PORT CONNS SIZE SECS: ping-pong, a task for each connection, which waits for its answer with read_exact.
-- Prints JSON: what was done, in how long, with how much CPU time.
local tcpnet = require "tcpnet"

local port, count, size, secs = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local message = ("x"):rep(size)
local now = tcpnet.now
local done = 0

local function play(stream, finish)
  repeat
    assert(stream:write(message))
    assert(stream:read_exact(size))
    done = done + 1
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
