-- Those who are to be served while others mean no good (support/hostile.lua), in a process of their own.
--   other.lua PORT COUNT keep|new
-- COUNT of them, one round trip of spec/load/server.lua after the other, each answer checked; every tenth on a new
-- connection unless they keep theirs. Says "served, worst seconds, error" again and again, until its input ends.
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local port, count, keep = tonumber(arg[1]), tonumber(arg[2]), arg[3] == "keep"
local served, worst, failure = 0, 0, ""

local function connect()
  return assert(tcpnet.TcpStream.connect("127.0.0.1", port)):set_timeout(60)
end

local function round_trip(stream, text)
  local began = tcpnet.now()
  assert(stream:write("echo ", text, "\n"))
  local line, err = stream:read_line()
  assert(line == text, err or line or "an end")
  served, worst = served + 1, math.max(worst, tcpnet.now() - began)
end

local function go_on(i)
  local stream = connect()
  for number = 1, math.huge do
    round_trip(stream, ("round %d of %d"):format(number, i))
    if not keep and number % 10 == 0 then
      stream:close()
      stream = connect()
    end
    tcpnet.sleep(0.002)
  end
end

tcpnet.run(function()
  for i = 1, count do
    tcpnet.spawn(function()
      local _, err = pcall(go_on, i)
      failure = tostring(err):gsub("\n", " ")
    end)
  end
  local input = assert(tcpnet.PipeReceiver.from_fd(0))
  repeat
    print(("%d %.6f %s"):format(served, worst, failure))
    local _, err = input:set_read_timeout(0.02):read()
  until not err
end)
