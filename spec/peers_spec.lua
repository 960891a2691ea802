-- Peers that are late, slow or huge: what a server and a client live through.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"

describe("a reply that comes after its timeout", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is still there, whole, so that a pool can tell and nobody gets another's answer (F8)", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    client:set_read_timeout(0.01)
    assert.equal("TIMEOUT", select(2, client:read_line()).code)
    server:write "reply to the first\n"
    client:readable()
    local late = client:try_read(6)
    assert.equal("reply ", late)
    assert.equal("to the first", client:read_line())
    local nothing, err = client:try_read()
    assert.is_nil(nothing)
    assert.equal("EAGAIN", err.code)
    server:write "reply to the second\n"
    assert.equal("reply to the second", client:read_line())
  end))
end)

describe("a reset", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, first in ipairs { "write", "read", "peek", "take_error", "try_read" } do
    it("is never an end of stream, though " .. first .. " has heard of it before", tcp.in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local peer = tostring(client:peer_addr())
      server:reset()
      client:ready "r"
      client[first](client, first == "write" and "x" or nil)
      for _, read in ipairs { "read", "read_line", "read_to_end", "try_read", "peek", "read" } do
        local data, err = client[read](client)
        assert.is_nil(data)
        assert.equal("ECONNRESET", err.code)
        assert.equal(peer, err.address)
      end
      assert.equal("ECONNRESET", select(2, client:read_exact(3)).code)
      assert.equal(peer, tostring(client:peer_addr()))
      assert.matches(peer, tostring(client), 1, true)
    end))
  end

  it("comes after the bytes that came before it", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    server:write "last words\n"
    client:readable()
    server:reset()
    local line, err = client:read_line()
    assert.is_true(line == "last words" or err.code == "ECONNRESET")
    assert.equal("ECONNRESET", select(2, client:read()).code)
  end))
end)

describe("a burst of connections", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is accepted without a turn of the reactor for each", function()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local streams = {}
    tcpnet.run(function()
      local waiting <close> = tcpnet.spawn(listener.accept, listener)
      tcpnet.yield()
      for i = 1, 40 do
        streams[i] = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      end
      streams[#streams + 1] = select(2, waiting:join())
      local before = tcpnet.metrics().polls
      for _ = 1, 39 do
        streams[#streams + 1] = assert(listener:accept())
      end
      assert.is_true(tcpnet.metrics().polls - before < 10)
    end)
    for _, stream in ipairs(streams) do
      stream:close()
    end
  end)
end)

describe("one write of more than 4 GiB", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is counted and arrives to the byte (F43)", function()
    local piece = ("x"):rep(64 * 1024 * 1024)
    local pieces = {}
    for i = 1, 66 do
      pieces[i] = piece
    end
    pieces[67] = "y"
    local expected = 66 * #piece + 1
    assert.is_true(expected > 1 << 32)
    local sent, received, last = tcpnet.run(function()
      local client, server, _guard <close> = tcp.pair()
      local writer = tcpnet.spawn(function()
        local count = assert(client:write(table.unpack(pieces)))
        client:shutdown()
        return count
      end)
      local buffer, total, final = tcpnet.Buffer.new(1 << 20), 0, nil
      while true do
        local count = server:read_into(buffer)
        if not count then
          break
        end
        total = total + count
        final = buffer:byte(-1)
        buffer:clear()
      end
      return select(2, writer:join()), total, final
    end)
    assert.equal(expected, sent)
    assert.equal(expected, received)
    assert.equal(("y"):byte(), last)
  end)
end)

describe("two hundred peers that send a byte and no more", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("keep nobody else from being served, and a deadline ends them (F47)", function()
    local served, ended = tcpnet.run(function()
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local timed_out = 0
      tcpnet.spawn(function()
        for stream in listener:incoming() do
          tcpnet.spawn(function()
            local _stream <close> = stream
            stream:set_read_timeout(0.3)
            local line, err = stream:read_line(100)
            if line then
              stream:write("hello ", line, "\n")
            elseif err and err.code == "TIMEOUT" then
              timed_out = timed_out + 1
            end
          end)
        end
      end)
      local slow = {}
      for i = 1, 200 do
        slow[i] = assert(tcpnet.TcpStream.connect(listener:local_addr()))
        slow[i]:write "x"
      end
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      client:write "you\n"
      local answer = client:read_line()
      for i = 1, 200 do
        assert(slow[i]:read() == nil)
        slow[i]:close()
      end
      return answer, timed_out
    end)
    assert.equal("hello you", served)
    assert.equal(200, ended)
  end)
end)

describe("a task that waits in accept", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is woken by a connection, and by nothing else (B2)", function()
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local accepted
    local task <close> = tcpnet.spawn(function()
      accepted = assert(listener:accept())
    end)
    tcpnet.step(0)
    local before = tcpnet.metrics().wakes
    for _ = 1, 5 do
      tcpnet.step(0)
    end
    assert.equal(before, tcpnet.metrics().wakes)
    assert.equal("waiting", task:status())
    local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    assert.is_true(task:join())
    -- one for the connect, one for the accept, one for the join
    assert.is_true(tcpnet.metrics().wakes - before <= 3)
    accepted:close()
    assert.is_false(client:closed())
  end)
end)
