-- A name was looked up outside the time that a call has: connect of a TcpSocket and a Socket took it twice, once for
-- the lookup; that of local_addr, and those of a socket with a timeout that sends or connects, had no limit.
local slow_lookup = require "spec.support.slow_lookup"

local script = [[
  local tcpnet = require "tcpnet"
  local function timed(what, most, fn, ...)
    local start = tcpnet.now()
    local ok, err = fn(...)
    local took = tcpnet.now() - start
    print(what, ok and "fine" or err.op .. " " .. err.code .. " " .. err.address:gsub(":.*", ""),
      took < most and "in time" or took)
  end
  -- nobody answers: its queue is full
  local listener = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { backlog = 0 }))
  local addr = listener:local_addr()
  local kept = assert(tcpnet.TcpStream.connect(addr))
  assert(tcpnet.TcpStream.connect(addr, { timeout = 0.05 }) == nil)
  local name = "slow900:" .. addr:port()
  local limit, most = 1, 1.85 -- the lookup apart from that: 1.9 at least
  timed("TcpSocket", most, function()
    local socket <close> = tcpnet.TcpSocket.new_v4()
    return socket:connect(name, { timeout = limit })
  end)
  timed("connect_timeout", most, function()
    local socket <close> = tcpnet.Socket.new("inet", "stream")
    return socket:connect_timeout(name, limit)
  end)
  timed("Socket", most, function()
    local socket <close> = tcpnet.Socket.new("inet", "stream")
    return socket:set_timeout(limit):connect(name)
  end)
  timed("local_addr", 0.85, tcpnet.TcpStream.connect, "127.0.0.1:9", { timeout = 0.05, local_addr = "slow900:0" })
  local udp = assert(tcpnet.UdpSocket.new_v4()):set_timeout(0.05)
  timed("udp connect", 0.85, udp.connect, udp, "slow900:9")
  timed("send_to", 0.85, udp.send_to, udp, "x", "slow900", 9)
  timed("sendmsg", 0.85, udp.sendmsg, udp, { data = "x", address = "slow900:9" })
  timed("soon enough", 0.85, udp.send_to, udp, "x", "slow1:9")
  tcpnet.run(function() timed("in a task", 0.85, udp.send_to, udp, "x", "slow900:9") end)
]]

local expected = [[
TcpSocket	connect TIMEOUT slow900	in time
connect_timeout	connect_timeout TIMEOUT slow900	in time
Socket	connect TIMEOUT slow900	in time
local_addr	connect TIMEOUT 127.0.0.1	in time
udp connect	connect TIMEOUT slow900	in time
send_to	send_to TIMEOUT slow900	in time
sendmsg	sendmsg TIMEOUT slow900	in time
soon enough	fine	in time
in a task	send_to TIMEOUT slow900	in time
]]

describe("a call that looks a name up", function()
  it("keeps to its time, lookup and all", function()
    local outcome = slow_lookup.outcome(script)
    if not outcome then
      return pending "no C compiler"
    end
    assert.same({ 0, expected }, outcome)
  end)
end)
