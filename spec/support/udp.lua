-- UDP over the loopback for specs.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local udp = {}

-- A bound socket, of 127.0.0.1 unless told.
function udp.bound(address, opts)
  return assert(tcpnet.UdpSocket.bind(address or "127.0.0.1:0", opts))
end

-- Two sockets, each connected to the other → a, b, guard of both
function udp.connected(address, opts)
  local a, b = udp.bound(address, opts), udp.bound(address, opts)
  assert(a:connect(b:local_addr()))
  assert(b:connect(a:local_addr()))
  return a, b, tcp.guard(a, b)
end

return udp
