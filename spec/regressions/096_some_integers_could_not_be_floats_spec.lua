-- What an integer is was asked in two ways: a float that is one passed in C, and was refused in Lua and for the port of
-- a host.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local sync = tcpnet.sync

describe("a float that is an integer is taken for", function()
  local function it_is(what, fn)
    it(what, tcp.in_task(fn))
  end

  it_is("a port", function()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0.0))
    local udp <close> = assert(tcpnet.UdpSocket.bind("127.0.0.1", 0.0))
    local stream <close> = assert(tcpnet.TcpStream.connect("127.0.0.1", listener:local_addr():port() + 0.0))
    assert.equal(listener:local_addr(), stream:peer_addr())
    assert.equal(1, udp:send_to("x", "127.0.0.1", udp:local_addr():port() + 0.0))
  end)

  it_is("a backlog", function()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { backlog = 5.0 }))
    local unix <close> = assert(tcpnet.UnixListener.bind("", { backlog = 5.0 }))
    assert.is_false(listener:closed() or unix:closed())
  end)

  it_is("a capacity", function()
    local sender, receiver = sync.channel(2.0)
    assert(sender:try_send "a" and sender:try_send "b")
    assert.is_nil((sender:try_send "c"))
    assert.equal("a", receiver:recv())
    local broadcast = sync.broadcast(2.0)
    local subscriber = broadcast:subscribe()
    assert(broadcast:send "x")
    assert.equal("x", subscriber:recv())
  end)

  it_is("a number of permits, and leaves integers", function()
    local semaphore = sync.Semaphore.new(3.0)
    local permit = assert(semaphore:acquire(2.0))
    assert.equal("1", tostring(semaphore:available_permits()))
    permit:release()
    semaphore:add_permits(1.0)
    assert.equal("4", tostring(semaphore:available_permits()))
    assert.is_true(sync.Barrier.new(1.0):wait())
  end)

  it_is("a limit", function()
    assert.same({ { true, 1 } }, tcpnet.each({ 1 }, 2.0, function(item) return item end))
    local reader, writer = tcpnet.duplex(16)
    assert(reader:write "hello")
    local into, _there = tcpnet.duplex(16)
    assert.equal("3", tostring(tcpnet.copy(writer, into, 3.0)))
    assert.equal("l", tcpnet.io.take(writer, 1.0):read())
  end)

  it_is("what a codec is told", function()
    assert(tcpnet.codec.lines { max_length = 5.0 })
    local codec = tcpnet.codec.length_delimited { length_field_length = 2.0, max_frame_length = 100.0 }
    local reader, writer = tcpnet.duplex(64)
    assert(codec:framed_write(writer):send "hello")
    assert.equal("\0\5hello", reader:read())
  end)

  it_is("a descriptor", function()
    local child <close> = assert(tcpnet.process.spawn { "true", stdin = "null", stdout = 2.0 })
    assert(child:wait(10))
  end)

  it_is("a number of threads", function()
    local workers <close> = assert(tcpnet.workers(1.0, function() end))
    assert(workers:join(10))
  end)
end)
