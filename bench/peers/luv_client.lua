-- luv_client.lua PORT CONNS SIZE SECS: ping-pong on lua-luv, a coroutine for each connection.
-- Prints JSON: what was done, in how long, with how much CPU time.
package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path
local uv = require "luv"
local Stream = require "luv_stream"

local port, count, size, secs = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local message = ("x"):rep(size)
local handles, connected, live, done = {}, 0, count, 0
local start, cpu, finish

local function report()
  local line = '{"ops":%d,"secs":%.6f,"cpu_us":%.1f}'
  print(line:format(done, (uv.hrtime() - start) / 1e9, (os.clock() - cpu) * 1e6))
  os.exit(0)
end

local function play(stream)
  repeat
    for _ = 1, 16 do
      if not stream:write(message) then
        error "the server is gone"
      end
      local got = 0
      while got < size do
        got = got + #assert(stream:read())
      end
    end
    done = done + 16
  until uv.hrtime() >= finish
  live = live - 1
  if live == 0 then
    report()
  end
end

local function begin()
  start, cpu = uv.hrtime(), os.clock()
  finish = start + secs * 1e9
  for _, handle in ipairs(handles) do
    coroutine.wrap(play)(Stream.new(handle))
  end
end

for i = 1, count do
  handles[i] = uv.new_tcp()
  handles[i]:connect("127.0.0.1", port, function(err)
    assert(not err, err)
    handles[i]:nodelay(true)
    connected = connected + 1
    if connected == count then
      begin()
    end
  end)
end
uv.run()
