-- Which TCP ports of a host are open? Many attempts at once, but never more than LIMIT, one second for each.
-- Run:  ./dev lua examples/port_scanner.lua HOST FIRST LAST [LIMIT]
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local host, first, last, limit = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4] or 100)
if not last then
  io.stderr:write "usage: port_scanner.lua HOST FIRST LAST [LIMIT]\n"
  os.exit(1)
end

local function ports()
  local port = first - 1
  return function()
    port = port + 1
    return port <= last and port or nil
  end
end

local addresses, err = tcpnet.lookup_host(host, first)
if not addresses then
  io.stderr:write(tostring(err), "\n")
  os.exit(1)
end

local ip = addresses[1]:ip() -- looked up once, not once for every port
local tally = { open = 0, closed = 0, silent = 0 }
tcpnet.each(ports(), limit, function(port)
  local stream, failure = tcpnet.TcpStream.connect(ip, port, { timeout = 1 })
  if stream then
    stream:close()
    print(("%5d open"):format(port))
  end
  local state = stream and "open" or failure:is("TIMEOUT", "ETIMEDOUT") and "silent" or "closed"
  tally[state] = tally[state] + 1
end)
print(("%d open, %d closed, %d silent"):format(tally.open, tally.closed, tally.silent))
