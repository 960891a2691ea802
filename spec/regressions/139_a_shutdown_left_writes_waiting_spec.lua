-- Where the queue of a Unix socket was full, its shutdown ended no write that was waiting there: Linux has no event for
-- it, so that who waited went on until the peer read, or for ever. It is EPIPE, as over TCP and in memory.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("the shutdown of a Unix socket whose queue is full", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function filled(a, b)
    assert(a:set_send_buffer_size(4608))
    while (a.try_write or a.try_send)(a, ("x"):rep(1000)) do end
    return a, b, tcp.guard(a, b)
  end

  local function stream()
    return filled(tcpnet.UnixStream.pair())
  end

  local function socket()
    return filled(tcpnet.Socket.pair("unix", "stream"))
  end

  local function broken(...)
    tcp.fails("EPIPE", ...)
  end

  local function datagram()
    return filled(tcpnet.UnixDatagram.pair())
  end

  local function buffer()
    return tcpnet.Buffer.new(1):append "x"
  end

  local waits = {
    { "write", stream, function(a) broken(a:write "x") end },
    { "write_some", stream, function(a) broken(a:write_some "x") end },
    { "write_vectored", stream, function(a) broken(a:write_vectored { "x" }) end },
    { "write_from", stream, function(a) broken(a:write_from(buffer())) end },
    { "send_fd", stream, function(a) broken(a:send_fd(0)) end },
    { "a half's write", stream, function(a) broken(select(2, a:split()):write "x") end },
    { "async_io", stream, function(a) broken(a:async_io("w", function() return a:try_write "x" end)) end },
    { "writable", stream, function(a) assert.is_true(a:writable()) end },
    { "ready", stream, function(a) assert.is_true(a:ready("w"):is_write_closed()) end },
    { "copy", stream, function(a)
      local from, to, _guard <close> = tcp.unix_pair()
      from:write "left"
      broken(tcpnet.copy(to, a))
      assert.equal("left", to:read())
    end },
    { "send", socket, function(a) broken(a:send "x") end },
    { "sendmsg", socket, function(a) broken(a:sendmsg { data = "x" }) end },
    { "send of a datagram", datagram, function(a) broken(a:send "x") end },
  }

  for _, wait in ipairs(waits) do
    local name, new, call = table.unpack(wait)
    for _, how in ipairs { "write", "both" } do
      it(("ends what waits there: %s, %s"):format(name, how), tcp.in_task(function()
        local a, _, _guard <close> = new()
        local first, second = tcpnet.spawn(call, a), tcpnet.spawn(call, a)
        tcpnet.sleep(0.005)
        assert.equal("waiting", first:status())
        assert(a:shutdown(how))
        assert(first:join(5))
        assert(second:join(5))
      end))
    end
  end

  it("of reading ends no write", tcp.in_task(function()
    local a, b, _guard <close> = stream()
    local writing <close> = tcpnet.spawn(a.write, a, "end")
    tcpnet.sleep(0.005)
    assert(a:shutdown "read")
    tcpnet.sleep(0.005)
    assert.equal("waiting", writing:status())
    assert(b:read_until "end")
    assert.same({ true, 3 }, { writing:join(5) })
  end))
end)
