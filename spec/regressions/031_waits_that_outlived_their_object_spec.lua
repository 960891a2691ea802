-- The end of an object that shares its descriptor left waits behind. reunite and forget ended none of their half's, so
-- that the stream it became said "another task is reading"; nor did close of a borrowed half or of a view.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task

describe("a wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function waiting(method, object, ...)
    local task = tcpnet.spawn(method, object, ...)
    tcpnet.yield()
    return task
  end

  local function ended(task)
    local ok, value, err = task:join(5)
    assert.is_true(ok)
    fails("CLOSED", value, err)
  end

  it("in a half ends when the halves are reunited", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:into_split()
    local reading = waiting(read_half.read, read_half)
    local stream <close> = assert(read_half:reunite(write_half))
    assert(client:write "x")
    assert.equal("x", stream:read())
    ended(reading)
  end))

  it("in a writing half ends when it is forgotten", in_task(function()
    local _, server, _guard <close> = tcp.pair()
    local read_half <close>, write_half = server:into_split()
    tcp.fill(write_half)
    local writing = waiting(write_half.write, write_half, "x")
    write_half:forget()
    ended(writing)
    assert.is_false(read_half:closed())
  end))

  it("in a borrowed half ends with it, and no other", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    tcp.fill(write_half)
    local reading = waiting(read_half.read, read_half)
    local first = waiting(server.write, server, "first")
    local second = waiting(write_half.write, write_half, "second")
    read_half:close()
    assert(client:write "x")
    assert.equal("x", server:read())
    ended(reading)
    write_half:close()
    ended(second)
    assert.equal("waiting", first:status())
    server:close()
    ended(first)
  end))

  it("in a view ends with it, and no other", in_task(function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local view = assert(socket:as_socket())
    local here, there = waiting(socket.recv, socket), waiting(view.recv, view)
    view:close()
    ended(there)
    assert(socket:send_to("x", socket:local_addr()))
    assert.same({ true, "x" }, { here:join(5) })
  end))
end)
