-- Drives an echo server: so many connections for so many seconds, each sending 64 bytes and waiting for them;
-- then round trips per second and percentiles of the latency. Exit status 1 if anything goes wrong.
-- Run:  ./dev lua examples/echo_client.lua HOST PORT CONNECTIONS SECONDS
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local host, port, connections, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
if not seconds then
  io.stderr:write "usage: echo_client.lua HOST PORT CONNECTIONS SECONDS\n"
  os.exit(1)
end
local message = ("0123456789abcdef"):rep(4)
local trips, histogram = 0, {} -- the histogram: how many round trips took so many microseconds
local started = tcpnet.now()

local function drive()
  local options = { nodelay = true, timeout = 5 }
  local stream <close> = assert(tcpnet.TcpStream.connect(host, port, options)):set_timeout(5)
  while tcpnet.now() < started + seconds do
    local sent = tcpnet.now()
    assert(stream:write(message))
    assert(assert(stream:read_exact(#message)) == message, "what came back is not what was sent")
    local took = math.floor((tcpnet.now() - sent) * 1e6)
    trips, histogram[took] = trips + 1, (histogram[took] or 0) + 1
  end
end

tcpnet.run(tcpnet.scope, function(scope) -- the first error cancels the rest and ends the run
  for _ = 1, connections do
    scope:spawn(drive)
  end
  for second = 1, seconds do
    local before = trips
    tcpnet.sleep(math.max(0, started + second - tcpnet.now()))
    print(("%3d s %8d round trips"):format(second, trips - before))
  end
end)

print(("%.0f round trips per second"):format(trips / (tcpnet.now() - started)))
local times, wanted, seen = {}, { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "max", 1 } }, 0
for took in pairs(histogram) do times[#times + 1] = took end
table.sort(times)
for _, took in ipairs(times) do
  seen = seen + histogram[took]
  while wanted[1] and seen >= wanted[1][2] * trips do
    print(("%s %9.3f ms"):format(table.remove(wanted, 1)[1], took / 1000))
  end
end
