-- cqueues_client.lua PORT CONNS SIZE SECS: ping-pong, a coroutine for each connection.
-- Prints JSON: what was done, in how long, with how much CPU time.
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local monotime = cqueues.monotime

local port, count, size, secs = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local message = ("x"):rep(size)
local done = 0

local function play(stream, finish)
  repeat
    for _ = 1, 16 do
      if not stream:write(message) or not stream:read(size) then
        error "the server is gone"
      end
    end
    done = done + 16
  until monotime() >= finish
end

local queue = cqueues.new()
local start, cpu
queue:wrap(function()
  local streams = {}
  for i = 1, count do
    streams[i] = socket.connect { host = "127.0.0.1", port = port, nodelay = true }
    assert(streams[i]:connect())
    streams[i]:setmode("bn", "bn")
  end
  start, cpu = monotime(), os.clock()
  for _, stream in ipairs(streams) do
    queue:wrap(play, stream, start + secs)
  end
end)
assert(queue:loop())
local line = '{"ops":%d,"secs":%.6f,"cpu_us":%.1f}'
print(line:format(done, monotime() - start, (os.clock() - cpu) * 1e6))
