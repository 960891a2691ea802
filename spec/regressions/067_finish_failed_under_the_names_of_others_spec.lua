-- finish closed a stream that another task was reading from, and raised in the name of read; when its time was up, the
-- error was that of a timeout, without the peer.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local pairs_of = {
  TcpStream = function()
    local client, server = tcp.pair()
    return client, server
  end,
  UnixStream = function()
    return tcpnet.UnixStream.pair()
  end,
  DuplexStream = function()
    return tcpnet.duplex(100)
  end,
}

for name, new in pairs(pairs_of) do
  describe("finish of a " .. name, function()
    it("where another task reads raises in its own name, and leaves the stream as it was", tcp.in_task(function()
      local a, b = new()
      local _both <close> = tcp.guard(a, b)
      local reading = tcpnet.spawn(a.read, a)
      tcpnet.yield()
      local ok, err = pcall(function() a:finish(1) end)
      assert.is_false(ok)
      assert.matches("067_.*finish: another task is reading from this " .. name .. "$", err)
      b:write "more"
      assert.same({ true, "more" }, { reading:join(5) })
      a:write "both ways"
      assert.equal("both ways", b:read())
    end))

    it("whose time is up says so, and with whom", tcp.in_task(function()
      local a, b = new()
      local _both <close> = tcp.guard(a, b)
      local peer = a.peer_addr and tostring(a:peer_addr())
      local ok, err = a:finish(0.002)
      assert.is_nil(ok)
      assert.same({ "TIMEOUT", "finish", peer }, { err.code, err.op, err.address })
      assert.is_true(a:closed())
      assert.is_nil(b:read())
    end))
  end)
end
