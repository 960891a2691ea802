-- Lua may call a finalizer wherever a call makes a value. One that closed the object that the call was about to
-- consume left two owners of one descriptor, and whichever closed last closed somebody else's; one that took it away
-- (into_fd, a message to a worker) freed what the call below still used. An accept whose connection a finalizer
-- accepted gave out a stream without a descriptor, and the process could not end.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails = tcp.fails

describe("a finalizer in the middle of a call", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function halves()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local read_half, write_half = stream:into_split()
    return read_half, peer, write_half
  end

  -- make() → an object, what else is open, an argument for the call
  local consumers = {
    listen = { tcpnet.TcpSocket.new_v4, "listen" },
    into_tcp_socket = { function() return tcpnet.Socket.new("inet", "stream") end, "into_tcp_socket" },
    datagram = { tcpnet.UnixSocket.new_datagram, "datagram" },
    into_split = { tcpnet.UnixStream.pair, "into_split" },
    reunite = { halves, "reunite" },
  }

  for name, row in pairs(consumers) do
    it("may close what is being consumed: " .. name, tcp.in_task(function()
      local object, other, argument = row[1]()
      local result, err = collect.during(function() object:close() end, object[row[2]], object, argument)
      fails("CLOSED", result, err)
      assert.is_true(object:closed())
      local fresh <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0") -- may get the number of the descriptor
      tcpnet.yield()
      collectgarbage()
      assert.is_false(fresh:closed())
      assert(fresh:send_to("x", fresh:local_addr()))
      for _, left in pairs { other, argument } do
        left:close()
      end
    end))

    it("may consume it itself: " .. name, tcp.in_task(function()
      local object, other, argument = row[1]()
      local first, second
      local result, err = collect.during(function() first, second = object[row[2]](object, argument) end,
        object[row[2]], object, argument)
      assert.matches("was consumed by " .. row[2], fails("CLOSED", result, err).message)
      assert.is_false(first:closed())
      for _, left in pairs { first, second, other } do
        left:close()
      end
    end))
  end

  it("cannot take the descriptor away", tcp.in_task(function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local _guard <close> = tcp.guard(stream, peer)
    local fd, err
    collect.during(function() fd, err = stream:into_fd() end, stream.local_addr, stream)
    assert.matches("not in a finalizer", fails("EBUSY", fd, err).message)
    assert.is_false(peer:closed())
  end))

  it("may close the half that is reunited with another", tcp.in_task(function()
    local read_half, peer, write_half = halves()
    fails("CLOSED", collect.during(function() write_half:close() end, read_half.reunite, read_half, write_half))
    assert.is_nil(peer:read())
    read_half:close()
    peer:close()
  end))

  it("may adopt the descriptor that the call adopts", function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local fd = stream:into_fd()
    local inner
    fails("EBUSY", collect.during(function() inner = assert(tcpnet.UnixStream.from_fd(fd)) end,
      tcpnet.UnixStream.from_fd, fd))
    assert(peer:write "x")
    assert.equal("x", inner:read())
    inner:close()
    peer:close()
  end)

  it("may accept the connection that the call accepts", tcp.in_task(function()
    local listener <close> = tcp.listener()
    local first <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local inner
    local accepting = tcpnet.spawn(function()
      return collect.during(function() inner = listener:try_accept() end, listener.accept, listener)
    end)
    tcpnet.sleep(0.01)
    assert.equal(first:local_addr(), inner:peer_addr())
    local second <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local _, outer, addr = assert(accepting:join(5))
    assert.equal(second:local_addr(), addr)
    assert.equal(addr, outer:peer_addr())
    assert(second:write "second")
    assert.equal("second", outer:read())
    outer:close()
    inner:close()
  end))
end)
