-- A name was looked up outside the time that a call has: connect of a TcpSocket and a Socket took it twice, once for
-- the lookup; that of local_addr, and those of a socket with a timeout that sends or connects, had no limit.
local program = require "spec.support.program"

-- A getaddrinfo that needs as many milliseconds as the name says.
local source = [[
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <netdb.h>
  #include <stdlib.h>
  #include <string.h>
  #include <unistd.h>
  int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **result) {
    __typeof__(getaddrinfo) *real = (__typeof__(getaddrinfo) *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (strncmp(host, "slow", 4) == 0) {
      usleep((unsigned)atoi(host + 4) * 1000);
      host = "127.0.0.1";
    }
    return real(host, service, hints, result);
  }
]]

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
    local folder <close> = program.folder()
    local library = folder.path .. "/slow.so"
    program.write(folder.path .. "/slow.c", source)
    local compile = ("LD_PRELOAD= cc -shared -fPIC -o '%s' '%s/slow.c' -ldl 2>/dev/null"):format(library, folder.path)
    if not os.execute(compile) then
      return pending "no C compiler"
    end
    local path = program.write(folder.path .. "/script.lua", script)
    local _, output = program.shell(("timeout -k 1 20 env LD_PRELOAD=\"${LD_PRELOAD:+$LD_PRELOAD:}%s\" %s %s"):format(
      library, program.quote(program.interpreter), program.quote(path)))
    assert.equal(expected, output)
  end)
end)
