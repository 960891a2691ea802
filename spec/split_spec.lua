-- Halves of a TcpStream: split, into_split, reunite, forget.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

local function is_end(...)
  assert.is_true(select("#", ...) <= 2)
  local bytes, err = ...
  assert.is_nil(err)
  assert.is_nil(bytes)
end

describe("split", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives a ReadHalf and a WriteHalf, and the stream stays valid", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    assert.matches("^ReadHalf", tostring(read_half))
    assert.matches("^WriteHalf", tostring(write_half))
    client:write "one two "
    assert.equal("one ", read_half:read_exact(4))
    assert.equal("two ", server:read())
    assert(write_half:write "three ")
    assert(server:write "four")
    assert.equal("three four", client:read_exact(10))
  end))

  it("halves share the stream's buffered bytes", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half = server:split()
    client:write "line\nab"
    assert.equal("line", read_half:read_line())
    assert.equal(2, server:buffered())
    assert.equal(2, read_half:buffered())
    assert.equal("ab", server:read())
    assert.equal(0, read_half:buffered())
  end))

  it("halves read and write at the same time in two tasks", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    local size = 8 << 20
    local writer = tcpnet.spawn(write_half.write, write_half, ("w"):rep(size))
    local reader = tcpnet.spawn(read_half.read_exact, read_half, size)
    tcpnet.spawn(client.write, client, ("r"):rep(size))
    assert.is_true(client:read_exact(size) == ("w"):rep(size))
    assert.same({ true, size }, { writer:join(5) })
    local ok, bytes = reader:join(5)
    assert.is_true(ok and bytes == ("r"):rep(size))
  end))

  it("a half and the stream are one reader: the second raises (F6)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half = server:split()
    local first = tcpnet.spawn(read_half.read, read_half)
    tcpnet.yield()
    assert.has_error(function() server:read() end)
    client:write "x"
    assert.same({ true, "x" }, { first:join(5) })
  end))

  it("collecting a half does not touch the stream", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    server:split()
    collectgarbage()
    collectgarbage()
    assert.is_true(waits(client.read, client))
    assert(server:write "x")
    assert.equal("x", client:read())
  end))

  it("halves are closed with their stream", in_task(function()
    local _, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    local reader = tcpnet.spawn(read_half.read, read_half)
    tcpnet.yield()
    server:close()
    local ok, bytes, err = reader:join(5)
    assert.is_true(ok)
    fails("CLOSED", bytes, err)
    fails("CLOSED", write_half:write "x")
    fails("CLOSED", read_half:read())
    assert.is_true(read_half:closed())
  end))

  it("a half keeps the stream's descriptor open when the stream is collected", in_task(function()
    local client, server = tcp.pair()
    local read_half, write_half = server:split()
    server = nil
    collectgarbage()
    collectgarbage()
    client:write "x"
    assert.equal("x", read_half:read())
    assert(write_half:write "y")
    assert.equal("y", client:read())
    assert.is_nil(server)
    client:close()
  end))

  it("the write half shuts down writing alone", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    assert(write_half:shutdown())
    is_end(client:read())
    client:write "still"
    assert.equal("still", read_half:read())
  end))

  it("each half has its own methods and no others", in_task(function()
    local _, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    for _, name in ipairs {
      "read", "read_exact", "read_line", "read_until", "read_to_end", "read_into", "peek", "lines", "chunks",
      "buffered", "try_read", "try_read_into", "try_read_vectored", "readable",
    } do
      assert.is_function(read_half[name], name)
      assert.is_nil(write_half[name], name)
    end
    for _, name in ipairs {
      "write", "write_from", "write_some", "write_vectored", "try_write", "try_write_vectored", "writable", "shutdown",
    } do
      assert.is_function(write_half[name], name)
      assert.is_nil(read_half[name], name)
    end
    for _, half in ipairs { read_half, write_half } do
      assert.equal(server:local_addr(), half:local_addr())
      assert.equal(server:peer_addr(), half:peer_addr())
    end
    assert.is_true(assert(write_half:ready "w"):is_writable())
  end))

  it("halves have timeouts of their direction", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    assert.equal(read_half, read_half:set_read_timeout(0.01))
    fails("TIMEOUT", read_half:read())
    assert.equal(write_half, write_half:set_write_timeout(0.01))
    tcp.fill(server)
    fails("TIMEOUT", write_half:write(("x"):rep(1 << 20))) -- more than a buffer that grows may still take
    assert.is_false(client:closed())
  end))

  it("iterators and async_io work on halves", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:split()
    client:write "a\nb\nrest"
    client:shutdown()
    local lines = read_half:lines()
    assert.equal("a", lines())
    assert.equal("b", lines())
    local seen = {}
    for chunk in read_half:chunks(2) do
      seen[#seen + 1] = chunk
    end
    assert.same({ "re", "st" }, seen)
    assert.equal(2, write_half:async_io("w", function() return write_half:try_write "ok" end))
    assert.equal("ok", client:read())
  end))
end)

describe("into_split", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("consumes the stream", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:into_split()
    local _halves <close> = tcp.guard(read_half, write_half)
    assert.matches("^OwnedReadHalf", tostring(read_half))
    assert.matches("^OwnedWriteHalf", tostring(write_half))
    assert.is_true(server:closed())
    fails("CLOSED", server:read())
    fails("CLOSED", server:write "x")
    server:close()
    client:write "x"
    assert.equal("x", read_half:read())
    assert(write_half:write "y")
    assert.equal("y", client:read())
  end))

  it("halves used at the same time as the peer's traffic: peek twice, read, write (B46)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:into_split()
    local _halves <close> = tcp.guard(read_half, write_half)
    local message = "split"
    tcpnet.spawn(function()
      assert.equal("reply!", client:read_exact(6))
      client:write(message)
    end)
    assert.equal(6, write_half:write "reply!")
    assert.equal(message, read_half:peek(32))
    assert.equal(message, read_half:peek(32))
    assert.equal(message, read_half:read(32))
  end))

  it("takes the buffered bytes along", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    client:write "line\nrest"
    assert.equal("line", server:read_line())
    local read_half, write_half = server:into_split()
    local _halves <close> = tcp.guard(read_half, write_half)
    assert.equal(4, read_half:buffered())
    assert.equal("rest", read_half:read())
  end))

  it("takes the stream's timeouts along", in_task(function()
    local _, server, _guard <close> = tcp.pair()
    server:set_read_timeout(0.01)
    local read_half, write_half = server:into_split()
    local _halves <close> = tcp.guard(read_half, write_half)
    assert.equal(0.01, read_half:read_timeout())
    fails("TIMEOUT", read_half:read())
  end))

  it("dropping the write half shuts down, and the pending read still ends with the end (B48)", in_task(function()
    for _, drop in ipairs { "close", "collect" } do
      local client, server, _guard <close> = tcp.pair()
      local read_half, write_half = server:into_split()
      local reader = tcpnet.spawn(read_half.read, read_half)
      tcpnet.yield()
      assert(write_half:write "bye")
      if drop == "close" then
        write_half:close()
      end
      write_half = nil
      collectgarbage()
      collectgarbage()
      assert.equal("bye", client:read_to_end())
      assert.equal("waiting", reader:status())
      client:close()
      local ok, bytes, err = reader:join(5)
      assert.is_true(ok)
      is_end(bytes, err)
      assert.is_nil(write_half)
      read_half:close()
    end
  end))

  it("forget gives the write half up without a shutdown", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:into_split()
    write_half:forget()
    assert.is_true(write_half:closed())
    fails("CLOSED", write_half:write "x")
    assert.is_true(waits(client.read, client))
    client:write "still"
    assert.equal("still", read_half:read())
    read_half:close()
    is_end(client:read())
  end))

  it("closing the read half leaves writing and the connection alone", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local read_half, write_half = server:into_split()
    read_half:close()
    fails("CLOSED", read_half:read())
    assert(write_half:write "goes on")
    assert.equal("goes on", client:read())
    assert.is_true(waits(client.read, client))
    write_half:close()
    is_end(client:read())
  end))

  it("the descriptor closes with the last half", in_task(function()
    for _, order in ipairs { { 1, 2 }, { 2, 1 } } do
      local _, server, _guard <close> = tcp.pair()
      local fd = server:fd()
      local halves = { server:into_split() }
      local function open()
        local info = io.open(("/proc/self/fdinfo/%d"):format(fd))
        return info ~= nil and info:close()
      end
      assert.is_true(open())
      halves[order[1]]:close()
      assert.is_true(open())
      assert.is_false(halves[order[2]]:closed())
      halves[order[2]]:close()
      assert.is_false(open())
    end
  end))

  it("closing a half ends the wait in that half with CLOSED (F5)", in_task(function()
    local _, server, _guard <close> = tcp.pair()
    tcp.fill(server)
    local read_half, write_half = server:into_split()
    local reader = tcpnet.spawn(read_half.read, read_half)
    local writer = tcpnet.spawn(write_half.write, write_half, ("x"):rep(16 << 20)) -- whatever room there still is
    tcpnet.yield()
    read_half:close()
    local ok, value, err = reader:join(5)
    assert.is_true(ok)
    fails("CLOSED", value, err)
    assert.equal("waiting", writer:status())
    write_half:close()
    ok, value, err = writer:join(5)
    assert.is_true(ok)
    fails("CLOSED", value, err)
  end))

  it("a waiting task keeps its half alive (F1)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local reader
    do
      local read_half, write_half = server:into_split()
      reader = tcpnet.spawn(function(half)
        return half:read_line()
      end, read_half)
      write_half:forget()
    end
    tcpnet.yield()
    collectgarbage()
    collectgarbage()
    client:write "alive\n"
    assert.same({ true, "alive" }, { reader:join(5) })
  end))

  describe("reunite", function()
    it("gives the stream back, with what was buffered", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local address = server:local_addr()
      local read_half, write_half = server:into_split()
      client:write "line\nrest"
      assert.equal("line", read_half:read_line())
      local stream <close> = assert(read_half:reunite(write_half))
      assert.matches("^TcpStream", tostring(stream))
      assert.equal(address, stream:local_addr())
      assert.equal(4, stream:buffered())
      assert.equal("rest", stream:read())
      assert.is_true(read_half:closed())
      assert.is_true(write_half:closed())
      fails("CLOSED", read_half:read())
      fails("CLOSED", write_half:write "x")
      write_half:close()
      read_half:close()
      collectgarbage()
      assert.is_true(waits(client.read, client)) -- the write half was not shut down
      assert(stream:write "y")
      assert.equal("y", client:read())
    end))

    it("of halves of two streams is EINVAL, and both live; the right partner then succeeds (B47)", in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local client_read, client_write = client:into_split()
      local server_read, server_write = server:into_split()
      fails("EINVAL", client_read:reunite(server_write))
      fails("EINVAL", server_read:reunite(client_write))
      assert(client_write:write "unharmed")
      assert.equal("unharmed", server_read:read())
      local one <close> = assert(client_read:reunite(client_write))
      local other <close> = assert(server_read:reunite(server_write))
      assert(one:write "whole again")
      assert.equal("whole again", other:read())
    end))

    it("with a half that is closed fails, and raises on what is no half", in_task(function()
      local _, server, _guard <close> = tcp.pair()
      local read_half, write_half = server:into_split()
      local _halves <close> = tcp.guard(read_half, write_half)
      for _, wrong in ipairs { read_half, server, {}, "x", 1 } do
        assert.has_error(function() read_half:reunite(wrong) end)
      end
      assert.has_error(function() read_half:reunite() end)
      write_half:forget()
      fails("CLOSED EINVAL", read_half:reunite(write_half))
      assert.is_false(read_half:closed())
    end))
  end)
end)
