-- What a broadcast receiver, a framed reader, a connect with a timeout to a name, and a wait with a limit gave had a
-- nil behind it, so that table.insert(list, receiver:recv()) was an error.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("one result is one", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function later(fn, ...)
    tcpnet.spawn(function(...)
      tcpnet.yield()
      fn(...)
    end, ...)
  end

  it("of a broadcast", tcp.in_task(function()
    local sender = tcpnet.sync.broadcast(4)
    local receiver = sender:subscribe()
    sender:send "a"
    sender:send "b"
    assert.same({ "a", n = 1 }, table.pack(receiver:recv()))
    assert.same({ "b", n = 1 }, table.pack(receiver:try_recv()))
    later(sender.send, sender, "c")
    assert.same({ "c", n = 1 }, table.pack(receiver:recv()))
    sender:close()
    assert.same({ n = 1 }, table.pack(receiver:recv()))
    assert.same({ n = 1 }, table.pack(receiver:try_recv()))
  end))

  it("of frames", tcp.in_task(function()
    local a, b = tcpnet.duplex(100)
    local framed = tcpnet.codec.lines():framed_read(b)
    assert(a:write "one\ntwo\n")
    assert.same({ "one", n = 1 }, table.pack(framed:next()))
    later(function()
      assert(a:write "three\n")
      a:close()
    end)
    assert.same({ "two", n = 1 }, table.pack(framed:next()))
    assert.same({ "three", n = 1 }, table.pack(framed:next()))
    assert.same({ n = 1 }, table.pack(framed:next()))
    b:close()
  end))

  it("of a connect to a name, with a timeout", tcp.in_task(function()
    local listener <close> = assert(tcpnet.TcpListener.bind "localhost:0")
    local results = table.pack(tcpnet.TcpStream.connect("localhost", listener:local_addr():port(), { timeout = 10 }))
    assert(results[1], results[2]):close()
    assert.equal(1, results.n)
  end))

  it("of a wait in memory with a timeout", tcp.in_task(function()
    local a, b = tcpnet.duplex(2)
    local _both <close> = tcp.guard(a, b)
    a:set_timeout(10)
    b:set_timeout(10)
    later(a.write, a, "xy")
    assert.same({ "xy", n = 1 }, table.pack(b:read()))
    later(b.read_exact, b, 3)
    assert.same({ 3, n = 1 }, table.pack(a:write "abc"))
    assert.same({ true, n = 1 }, table.pack(a:writable()))
  end))
end)
