-- A name with a NUL in it was taken for what stands before the NUL: "inet\0x" for a domain, "SIGUSR1\0x" for a signal;
-- flags, directions, interests, settings, fields of a message, the path of a worker's script likewise.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a name with a NUL in it is none:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function refused(what, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.matches(what, message, 1, true)
  end

  it("domain, type and protocol", function()
    refused("got inet\\0...", tcpnet.Socket.new, "inet\0x", "dgram")
    refused("got dgram\\0...", tcpnet.Socket.new, "inet", "dgram\0")
    refused("got udp\\0...", tcpnet.Socket.new, "inet", "dgram", "udp\0x")
    refused("got unix\\0...", tcpnet.Socket.pair, "unix\0x", "dgram")
    refused("got table", tcpnet.Socket.new, {}, "dgram")
  end)

  it("signal", function()
    refused("name of a signal", tcpnet.signal, "SIGUSR1\0x")
  end)

  it("flags", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local addr = udp:local_addr()
    refused("flags: list of", udp.send_to, udp, "x", addr, "dontroute\0x")
    refused("flags: list of", udp.send_to, udp, "x", addr, { "dontroute", "dontroute\0x" })
    refused("flags: list of", udp.try_recv, udp, 10, "peek\0x")
    refused("unknown field 'data\\0...'", udp.sendmsg, udp, { address = addr, ["data\0x"] = "x" })
    refused("unknown type 'ttl\\0...'", udp.sendmsg, udp,
      { address = addr, control = { { type = "ttl\0x", value = 3 } } })
    refused("interface: name or index", udp.sendmsg, udp,
      { address = addr, control = { { type = "pktinfo", interface = "lo\0x" } } })
  end)

  it("direction and interest", function()
    local a, _, _guard <close> = tcp.unix_pair()
    refused([[got "write\0..."]], a.shutdown, a, "write\0x")
    refused([[got "table"]], a.shutdown, a, {})
    refused("interest:", a.ready, a, "w\0x")
    refused("interest:", a.try_io, a, "w\0", print)
    refused("interest:", function() return tcpnet.Interest.READABLE + "w\0x" end)
    assert.is_true(a:ready "w":is_writable())
  end)

  it("option and setting", function()
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    refused("unknown option 'TCP_NODELAY\\0...'", socket.get, socket, "TCP_NODELAY\0x")
    refused("unknown option 'nodelay\\0...'", tcpnet.TcpStream.connect, "127.0.0.1:1", { ["nodelay\0x"] = true })
    refused("unknown setting 'spin\\0...'", tcpnet.configure, { ["spin\0x"] = 1 })
  end)

  it("script", function()
    refused("NUL", tcpnet.workers, 1, "/dev/null\0x")
  end)
end)
