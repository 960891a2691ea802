-- peer_addr of a stream was the address that connect had been given, where the system had put another in its place: of
-- 0.0.0.0 and ::, which stand for this machine, and of an address with a zone that means nothing for it.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local cases = {
  { listen = "127.0.0.1:0", connect = "0.0.0.0" },
  { listen = "[::1]:0", connect = "::" },
  { listen = "[::1]:0", connect = "::1%lo" },
  { listen = "[::]:0", connect = "::ffff:0.0.0.0" },
}

local ways = {
  ["TcpStream.connect"] = tcpnet.TcpStream.connect,
  ["TcpSocket:connect"] = function(addr)
    return tcpnet.TcpSocket[addr:is_ipv6() and "new_v6" or "new_v4"]():connect(addr)
  end,
}

describe("the peer of a stream that connected", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, case in ipairs(cases) do
    for title, connect in pairs(ways) do
      it(("is who is there: %s to %s"):format(title, case.connect), tcp.in_task(function()
        local listener <close>, err = tcpnet.TcpListener.bind(case.listen)
        if not listener then
          return pending(tostring(err)) -- no IPv6
        end
        local target = assert(tcpnet.SocketAddr.new(case.connect, listener:local_addr():port()))
        local client <close> = assert(connect(target))
        local server <close> = assert(listener:accept())
        assert.equal(tostring(server:local_addr()), tostring(client:peer_addr()))
        assert.is_true(server:local_addr() == client:peer_addr())
        assert.is_true(client:as_socket():peer_addr() == client:peer_addr())
      end))
    end
  end

  it("is still told where the connection is gone", tcp.in_task(function()
    local client, server, guard = tcp.pair()
    local _pair <close> = guard
    local addr = client:peer_addr()
    server:reset()
    client:read()
    assert.is_true(addr == client:peer_addr())
  end))
end)
