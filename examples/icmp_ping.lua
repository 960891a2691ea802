-- Ping: ICMP echo requests on a raw socket and the round trip time of each. Needs root (CAP_NET_RAW).
-- Run:  sudo ./dev lua examples/icmp_ping.lua HOST [COUNT [SECONDS_BETWEEN]]
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local function need(value, reason)
  if value then return value end
  io.stderr:write(tostring(reason), "\n")
  os.exit(1)
end

local host, count, pause = arg[1], math.tointeger(tonumber(arg[2] or 4)), tonumber(arg[3] or 1)
need(host and count and pause, "usage: icmp_ping.lua HOST [COUNT [SECONDS_BETWEEN]]")
local id, payload, back = math.random(0, 0xffff), ("tcpnet"):rep(8), 0

-- RFC 1071: the complement of the sum of all 16-bit words in ones' complement, that is modulo 65535.
local function checksum(bytes)
  local sum = 0
  for at = 1, #bytes, 2 do sum = sum + string.unpack(">I2", bytes, at) end
  return ~(sum % 0xffff) & 0xffff
end

local function request(sequence)
  local rest = string.pack(">I2I2", id, sequence) .. payload
  return string.pack(">BBI2", 8, 0, checksum("\8\0\0\0" .. rest)) .. rest
end

-- A raw socket gets every ICMP packet of this host, its own requests too, each behind the IP header.
local function answer(socket, target, sequence)
  while true do
    local packet, from = assert(socket:recv_from())
    local icmp = packet:sub((packet:byte() & 15) * 4 + 1)
    local is_ours = icmp:byte() == 0 and icmp:sub(5) == request(sequence):sub(5)
    if is_ours and from == target then return packet:byte(9) end
  end
end

local target = need(tcpnet.lookup_host(host, 0, { family = "inet" }))[1]
local socket = need(tcpnet.Socket.new("inet", "raw", "icmp"))
for sequence = 1, count do
  local sent = tcpnet.now()
  need(socket:send_to(request(sequence), target))
  local ttl = tcpnet.timeout(1, answer, socket, target, sequence) -- nil: the next one may do better
  local outcome = ttl and ("ttl=%d time=%.3f ms"):format(ttl, (tcpnet.now() - sent) * 1000) or "no answer"
  print(("%s: seq=%d %s"):format(target:ip(), sequence, outcome))
  back = back + (ttl and 1 or 0)
  tcpnet.sleep(sequence < count and pause or 0)
end
print(("%d sent, %d back"):format(count, back))
