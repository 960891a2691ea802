-- Lua may call a finalizer as soon as the bytes that a call gives out are a string. Where it received from another
-- socket, the library took the bytes given out for those: the stream gave them out once more.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a finalizer in the middle of a read", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function into_buffer(method)
    return function(socket)
      local buffer = tcpnet.Buffer.new(100)
      assert(socket[method](socket, method == "try_read_into" and buffer or { buffer }))
      return tostring(buffer)
    end
  end
  local receives = {
    recv = function(socket) return socket:try_recv() end,
    peek = function(socket) return socket:try_peek(20) end,
    recvmsg = function(socket) return socket:try_recvmsg {}.data end,
    recv_vectored = into_buffer "try_recv_vectored",
    read = function(_, stream) return stream:try_read() end,
    read_into = function(_, stream) return into_buffer "try_read_into"(stream) end,
  }

  for name, receive in pairs(receives) do
    it("may use another socket: " .. name, tcp.in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local other, peer = assert(tcpnet.UnixStream.pair())
      local socket <close> = assert(other:as_socket())
      assert(peer:write "other")
      assert(client:write(("a"):rep(60) .. "\nnext\n"))
      assert.equal("a", server:read_exact(1))
      local received
      local line = collect.during(function() received = receive(socket, other) end, server.read_line, server)
      assert.equal("other", received)
      assert.equal(("a"):rep(59), line)
      client:shutdown()
      assert.equal("next\n", server:read_to_end())
      server:close()
      peer:close()
      other:close()
    end))
  end
end)
