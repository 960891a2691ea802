-- A receive of more than 64 KiB from a stream, and one in a finalizer in the middle of another read, went into memory
-- of Lua's. Where Lua then had none for the bytes themselves, they were lost.
local collect = require "spec.support.collect"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local head = [[
  local tcpnet = require "tcpnet"
  local receive = {
    recv = function(socket, max) return socket:try_recv(max) end,
    recvmsg = function(socket, max)
      local message <close> = assert(socket:try_recvmsg { data = max })
      return message.data
    end,
  }
  local function numbers(count)
    local list = {}
    for i = 1, count do
      list[i] = ("%09d,"):format(i)
    end
    return table.concat(list)
  end
  local failures = 0
  local function check(name, once, nth, sent, got, stream)
    local all = got .. stream:read_to_end()
    assert(all == sent, ("%s, allocation %d: %d bytes of %d"):format(name, nth, #all, #sent))
    stream:close()
  end ]]

local large = head .. [[
  local sent = numbers(9000)
  for name, once in pairs(receive) do
    local nth, hits = 0
    repeat
      nth = nth + 1
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local socket = assert(stream:as_socket())
      assert(peer:write(sent))
      peer:close()
      local got = ""
      _, hits = attempt(function() got = once(socket, 90000) end, nth, true)
      failures = failures + hits
      socket:close()
      check(name, once, nth, sent, got, stream)
    until hits == 0
  end
  assert(failures > 2)
  print "whole" ]]

local nested = head .. [[
  local sent = numbers(100)
  for name, once in pairs(receive) do
    for ahead = 0, 10, 10 do
      local nth, hits, ran = 0
      repeat
        nth = nth + 1
        local stream, peer = assert(tcpnet.UnixStream.pair())
        local socket = assert(stream:as_socket())
        assert(peer:write(sent))
        peer:close()
        local got, other = stream:read_exact(ahead), "" -- all of it is in the library then
        ran = false
        local from, to = assert(tcpnet.UnixStream.pair())
        assert(to:write(("a"):rep(200) .. "\n"))
        assert(from:read_exact(1) == "a")
        local function in_finalizer()
          ran = true
          other = once(socket, 300)
        end
        local function outer()
          collectgarbage "restart"
          assert(#from:read_line() == 199)
        end
        collectgarbage("incremental", 1, 1000, 20)
        collectgarbage()
        collectgarbage "stop"
        setmetatable({}, { __gc = in_finalizer })
        _, hits = attempt(outer, nth, true)
        collectgarbage "restart"
        failures = failures + hits
        socket:close()
        check(name, once, nth, sent, got .. other, stream)
        from:close()
        to:close()
      until hits == 0
      assert(ran)
    end
  end
  assert(failures > 6)
  print "whole" ]]

describe("bytes received from a stream for which Lua has no memory", function()
  for name, script in pairs { ["of more than 64 KiB"] = large, ["in a finalizer"] = nested } do
    it("stay readable: " .. name, function()
      local output = program.in_host(script)
      if not output then
        return pending "no C compiler or no lua5.4 for it"
      end
      assert.equal("whole\n", output)
    end)
  end
end)

describe("a finalizer in the middle of a read", function()
  local receives = {
    recv = function(socket, max) return socket:try_recv(max) end,
    recvmsg = function(socket, max) return socket:try_recvmsg { data = max }.data end,
  }
  for name, receive in pairs(receives) do
    it("receives in order, what was read ahead first: " .. name, tcp.in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local other, peer = assert(tcpnet.UnixStream.pair())
      local _both <close> = tcp.guard(other, peer)
      local socket <close> = assert(other:as_socket())
      assert(client:write(("a"):rep(60) .. "\n"))
      assert(peer:write "0123456789")
      assert.equal("0", other:read_exact(1))
      assert.equal("a", server:read_exact(1))
      local parts = {}
      collect.during(function()
        parts = { receive(socket, 4), receive(socket, 100000) }
        peer:try_write "abc"
        parts[3], parts[4] = receive(socket, 2), receive(socket, 9)
      end, server.read_line, server)
      assert.same({ "1234", "56789", "ab", "c" }, parts)
      assert.equal("EAGAIN", select(2, socket:try_recv()).code)
      peer:close()
      assert.equal("", other:read_to_end())
    end))
  end

  it("gets at most 64 KiB of a stream at once, and all of a message", tcp.in_task(function()
    for _, kind in ipairs { "stream", "dgram" } do
      local here, there = assert(tcpnet.Socket.pair("unix", kind))
      local _both <close> = tcp.guard(here, there)
      local bytes = tcp.bytes(100000)
      assert.equal(100000, here:send(bytes))
      local got = assert(there:recv(100000))
      if kind == "stream" then
        assert.equal(65536, #got)
        got = got .. there:recv(100000)
      end
      assert.is_true(got == bytes)
    end
  end))
end)
