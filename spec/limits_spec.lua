-- Where something is used up, full, or taken at the wrong moment: descriptors, arguments, the list of failures, a
-- Buffer that somebody else fills, a stream that somebody else uses.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local reports = require "spec.support.reports"
local tcp = require "spec.support.tcp"

local in_task, fails = tcp.in_task, tcp.fails

describe("out of descriptors", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("everything that opens one says EMFILE, opens nothing, and works again later (F35)", function()
    local output, status = tcp.child([[
      local Socket, Poll, Waker = tcpnet.Socket, tcpnet.Poll, tcpnet.Waker
      local socket = assert(Socket.new("inet", "stream"))
      local poll = assert(Poll.new())
      local registry = poll:registry()
      local makers = {
        function() return Socket.new("inet", "stream") end,
        function() return Socket.pair("unix", "stream") end,
        function() return socket:try_clone() end,
        function() return TcpSocket.new_v4() end,
        function() return tcpnet.UdpSocket.bind "127.0.0.1:0" end,
        function() return tcpnet.UnixStream.pair() end,
        function() return tcpnet.UnixDatagram.pair() end,
        function() return tcpnet.pipe() end,
        function() return Poll.new() end,
        function() return Waker.new(registry, 1) end,
        function() return TcpStream.connect "127.0.0.1:9" end,
        function() return TcpListener.bind "127.0.0.1:0" end,
      }
      local hoard = {}
      repeat
        local file = io.open "/dev/null"
        hoard[#hoard + 1] = file
      until not file
      for i, make in ipairs(makers) do
        local nothing, err = make()
        assert(nothing == nil and err.code == "EMFILE", i .. ": " .. tostring(err))
      end
      local before = tcpnet.metrics().sources
      for _, file in ipairs(hoard) do file:close() end
      collectgarbage()
      for i, make in ipairs(makers) do
        local one, other = make()
        assert(one or other.code == "ECONNREFUSED", i .. ": " .. tostring(other))
        for _, object in ipairs { one, other } do
          if object.close then object:close() end
        end
      end
      assert(tcpnet.metrics().sources == before)
      print "fine"
    ]], [[ulimit -n 40; "$LUA" "$SCRIPT"]])
    assert.equal("fine\n", output)
    assert.equal(0, status)
  end)
end)

describe("more arguments than a coroutine holds", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are passed on, or refused, and nothing breaks", in_task(function()
    local count <const> = 999900 -- Lua's own limit is a million slots
    local function call(fn, ...)
      local ok, message = pcall(fn, ...)
      assert(ok or tostring(message):find("too many", 1, true) or tostring(message):find("stack overflow", 1, true),
        message)
    end
    for less = 0, 200, 25 do
      local function many()
        return table.unpack({}, 1, count - less)
      end
      call(function() tcpnet.spawn(select, "#", many()):join() end)
      call(function() tcpnet.timeout(5, select, "#", many()) end)
      call(function() tcpnet.timeout(5, many) end)
      call(function() tcpnet.coroutine.wrap(select)("#", many()) end)
      call(function() tcpnet.coroutine.wrap(many)() end)
      collectgarbage()
    end
    assert.equal("still here", tcpnet.timeout(5, function() return "still here" end))
  end))
end)

describe("the failures of a run", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are kept for its end, however many others are joined meanwhile", function()
    local list <close> = reports.catch()
    local ok, message = pcall(tcpnet.run, function()
      for i = 1, 1000 do
        local task = tcpnet.spawn(function()
          error("joined " .. i, 0)
        end)
        tcpnet.yield() -- it fails, with nobody waiting
        assert.equal("joined " .. i, select(2, task:join()))
        if i == 500 then
          tcpnet.spawn(function() error("the one nobody joined", 0) end)
        end
      end
    end)
    assert.is_false(ok)
    assert.matches("the one nobody joined", message)
    assert.equal(1001, #list)
  end)
end)

describe("what a copy uses", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("as reader is nobody else's: that raises, and the other read goes on", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, _, _second <close> = tcp.pair()
    local reader = tcpnet.spawn(from.read, from)
    tcpnet.yield()
    local ok, message = pcall(tcpnet.copy, from, to)
    assert.is_false(ok)
    assert.matches("another task is reading from the reader", message)
    a:write "x"
    assert.same({ true, "x" }, { reader:join(5) })
  end))

  it("as writer is its own in its turn: behind a write that waits, before one that comes later", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local filling = tcp.fill(to)
    local earlier = tcpnet.spawn(to.write, to, ("e"):rep(100000))
    tcpnet.yield()
    a:write(("c"):rep(1000))
    a:shutdown()
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    tcpnet.yield()
    local later = tcpnet.spawn(to.write, to, ("l"):rep(1000))
    tcpnet.yield()
    assert.equal(filling, #b:read_exact(filling))
    assert.equal(("e"):rep(100000) .. ("c"):rep(1000) .. ("l"):rep(1000), b:read_exact(102000))
    assert.same({ true, 100000 }, { earlier:join(5) })
    assert.same({ true, 1000 }, { copier:join(5) })
    assert.same({ true, 1000 }, { later:join(5) })
  end))
end)

describe("a Buffer that somebody fills while a read into it waits", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("raises, and the bytes stay in the stream", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local buffer = tcpnet.Buffer.new(4)
    local message
    local reader = tcpnet.spawn(function()
      message = select(2, pcall(server.read_into, server, buffer))
    end)
    tcpnet.yield()
    buffer:append "full"
    client:write "bytes"
    assert(reader:join(5))
    assert.matches("the Buffer is full", message)
    assert.equal("bytes", server:read())
    assert.equal("full", tostring(buffer))
  end))
end)

describe("a connect while another one waits", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is EALREADY, and the other goes on", in_task(function()
    local listener, waiting = tcp.silent_listener()
    local _guard <close> = tcp.guard(listener, table.unpack(waiting))
    local address = listener:local_addr()
    local socket = assert(tcpnet.Socket.new("inet", "stream"))
    local first = tcpnet.spawn(socket.connect, socket, address)
    tcpnet.yield()
    fails("EALREADY", socket:connect(address))
    assert.equal("waiting", first:status())
    first:cancel()
    socket:close()
  end))
end)

describe("where a connection was going before it was redirected", function()
  local missing = netns.reason() or not tcp.can "nft --version" and "needs nftables"
  if missing then
    return pending(missing)
  end
  teardown(netns.close_all)

  it("is an option of the accepted stream", function()
    local space <close> = netns.new()
    space:shell [[
      nft -f - <<'RULES'
      table inet redirecting {
        chain out {
          type nat hook output priority -100;
          tcp dport 7300 redirect to :7301
        }
      }
RULES]]
    local to, seen, original = space:run(function()
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:7301")
      local client <close> = assert(tcpnet.TcpStream.connect("127.0.0.1:7300", { timeout = 5 }))
      local server <close> = assert(listener:accept())
      local address, err = server:original_dst_v4()
      return tostring(client:peer_addr()), tostring(server:local_addr()), tostring(address or err)
    end)
    assert.same({ "127.0.0.1:7300", "127.0.0.1:7301", "127.0.0.1:7300" }, { to, seen, original })
  end)
end)
