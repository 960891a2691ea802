-- Poll: the layer of mio. Polling, events and interests, every kind of source, Waker (also from C: support/waker.c),
-- and what edges are in TCP, UDP, Unix sockets and pipes. The B numbers are those of the behaviours of mio.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Poll, Events, Interest, Waker, SourceFd = tcpnet.Poll, tcpnet.Events, tcpnet.Interest, tcpnet.Waker,
  tcpnet.SourceFd
local TcpSocket, TcpStream, Socket = tcpnet.TcpSocket, tcpnet.TcpStream, tcpnet.Socket
local UdpSocket, UnixStream, UnixDatagram, UnixListener = tcpnet.UdpSocket, tcpnet.UnixStream, tcpnet.UnixDatagram,
  tcpnet.UnixListener
local fails, guard, in_task, waits = tcp.fails, tcp.guard, tcp.in_task, tcp.waits

local probe <close>, missing = Poll.new()
if not probe then
  describe("Poll", function()
    it("is not there yet on this system", function()
      assert.equal("ENOTSUP", missing.code)
      pending "needs epoll"
    end)
  end)
  return
end

local PATIENCE = 10 -- seconds that an event may take

-- open([capacity]) → Poll, Registry, Events
local function open(capacity)
  local poll = assert(Poll.new())
  return poll, assert(poll:registry()), Events.new(capacity or 16)
end

local function flags_of(event)
  local flags = {}
  for _, name in ipairs { "readable", "writable", "read_closed", "write_closed", "error", "priority" } do
    flags[#flags + 1] = event["is_" .. name](event) and name or nil
  end
  return table.concat(flags, " ")
end

-- told(poll, events[, seconds]) → table token → what its one event says.
local function told(poll, events, seconds)
  local count = assert(poll:poll(events, seconds or PATIENCE))
  assert.equal(#events, count)
  local result = {}
  for event in events:iter() do
    assert.is_nil(result[event:token()], "two events of one token")
    result[event:token()] = flags_of(event)
  end
  return result
end

-- Nothing comes, not even after a moment.
local function quiet(poll, events)
  assert.same({}, told(poll, events, 0.03))
end

-- wait_for(poll, events, token, flag) polls until an event of the token has the flag → what it says.
local function wait_for(poll, events, token, flag)
  local seen = {}
  while true do
    local says = told(poll, events)
    assert(next(says), ("no event %d with %s, but: %s"):format(token, flag, table.concat(seen, "; ")))
    seen[#seen + 1] = says[token]
    if says[token] and (" " .. says[token] .. " "):find(" " .. flag .. " ", 1, true) then
      return says[token]
    end
  end
end

-- Reads until EAGAIN → the bytes; the error or "end" where that is what stopped it.
local function drain(stream)
  local parts = {}
  while true do
    local bytes, err = stream:try_read()
    if not bytes then
      return table.concat(parts), err == nil and "end" or err.code ~= "EAGAIN" and err or nil
    end
    parts[#parts + 1] = bytes
  end
end

local function raises(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok, "it raises nothing")
  assert.matches(text, tostring(message), 1, true)
end

-- connecting(address[, domain]) → a Socket on its way, as mio's connect gives one: nobody waits in it.
local function connecting(address, domain)
  local socket = assert(Socket.new(domain or "inet", "stream"))
  local _, err = tcpnet.timeout(0, socket.connect, socket, address)
  assert(err == nil or err.code == "TIMEOUT", tostring(err))
  return socket
end

local function has_ipv6()
  local socket = UdpSocket.bind "[::1]:0"
  return socket and (socket:close() or true)
end

describe("Poll", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is one selector, closed by exec, with a name", in_task(function()
    local poll = assert(Poll.new())
    assert.equal(("Poll (fd %d)"):format(poll:fd()), tostring(poll))
    assert.equal("integer", math.type(poll:fd()))
    assert.is_false(poll:closed())
    local info = io.open("/proc/self/fdinfo/" .. poll:fd())
    if info then
      local flags = tonumber(info:read("a"):match "flags:%s*(%d+)", 8)
      info:close()
      assert.is_true(flags & tonumber("2000000", 8) ~= 0)
    end
    assert.is_nil(poll:close())
    poll:close()
    assert.is_true(poll:closed())
    assert.equal("Poll (closed)", tostring(poll))
  end))

  it("says CLOSED once it is closed", in_task(function()
    local poll, registry, events = open()
    local waker = assert(Waker.new(registry, 1))
    local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(waker:wake())
    assert.equal(1, poll:poll(events, PATIENCE))
    poll:close()
    local function closed(...)
      assert.matches("the Poll is closed", tostring(fails("CLOSED", ...)), 1, true)
    end
    closed(poll:poll(events, 0))
    assert.is_true(events:is_empty()) -- cleared before anything else
    closed(poll:poll(events))
    closed(poll:registry())
    closed(poll:fd())
    closed(registry:try_clone())
    closed(registry:register(socket, 1, "r"))
    closed(registry:reregister(socket, 1, "r"))
    closed(registry:deregister(socket))
    closed(registry:register(SourceFd.new(socket:fd()), 1, "r"))
    closed(Waker.new(registry, 1))
    assert.is_true(waker:wake()) -- nobody hears it
    waker:close()
  end))

  it("ends the waits of a poll when it is closed", in_task(function()
    local poll, _, events = open()
    local task <close> = tcpnet.spawn(poll.poll, poll, events)
    local limited <close> = tcpnet.spawn(poll.poll, poll, Events.new(1), 100)
    tcpnet.yield()
    assert.equal("waiting", task:status())
    poll:close()
    assert.equal("poll: the Poll is closed (CLOSED)", tostring(select(3, task:join(PATIENCE))))
    assert.equal("CLOSED", select(3, limited:join(PATIENCE)).code)
  end))

  it("is closed by the end of a block", in_task(function()
    local fd
    do
      local poll <close> = assert(Poll.new())
      fd = poll:fd()
    end
    local poll <close> = assert(Poll.new())
    assert.equal(fd, poll:fd())
  end))
end)

describe("poll", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives what is ready at once, in a task and outside (B102)", function()
    local function check()
      local poll <close>, registry, events = open()
      local listener <close> = tcp.listener()
      local streams <close> = guard()
      for token = 1, 3 do
        streams[token] = connecting(listener:local_addr())
        assert.equal(registry, registry:register(streams[token], token, "w"))
      end
      tcpnet.sleep(0.01)
      assert.same({ "writable", "writable", "writable" }, told(poll, events, 0))
      assert.same({}, told(poll, events, 0))
    end
    check()
    in_task(check)()
  end)

  it("just looks where the time is 0", function()
    local function check()
      local poll <close>, registry, events = open()
      local waker <close> = assert(Waker.new(registry, 7))
      for _, zero in ipairs { 0, 0.0, -0.0 } do
        assert.equal(0, poll:poll(events, zero))
        waker:wake()
        assert.equal(1, poll:poll(events, zero))
      end
    end
    check()
    in_task(check)()
  end)

  it("comes back empty when the time is over, never before, and without turning round and round", function()
    local function check()
      local poll <close>, _, events = open()
      for _, seconds in ipairs { 0.05, 0.01, 0.0015, 0.001, 0.0004, 1e-6, 1e-12 } do
        local turns, before = tcpnet.metrics().polls, tcpnet.now()
        assert.equal(0, poll:poll(events, seconds))
        assert.is_true(tcpnet.now() - before >= seconds, seconds .. " was cut")
        assert.is_true(tcpnet.metrics().polls - turns < 50, seconds .. " was spent busily")
        assert.is_true(events:is_empty())
      end
    end
    check()
    in_task(check)()
  end)

  it("waits as long as it takes where no time is given", function()
    local function check(seconds)
      local poll <close>, registry, events = open()
      local waker <close> = assert(Waker.new(registry, 7))
      local task <close> = tcpnet.spawn(function()
        tcpnet.sleep(0.03)
        waker:wake()
      end)
      assert.equal(1, poll:poll(events, seconds))
      assert.is_true((task:join(PATIENCE)))
    end
    check()
    check(math.huge)
    in_task(check)()
    tcp.in_task(function() check(math.huge) end)()
  end)

  it("suspends only the task that polls", in_task(function()
    local poll <close>, _, events = open()
    local count = 0
    local other <close> = tcpnet.spawn(function()
      while true do
        count = count + 1
        tcpnet.sleep(0.001)
      end
    end)
    assert.equal(0, poll:poll(events, 0.05))
    assert.is_true(count >= 5, "the other ran " .. count .. " times")
    other:cancel()
  end))

  it("lets tasks go on while the main chunk blocks in it", function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    assert(registry:register(a, 3, "r"))
    local task = tcpnet.spawn(function()
      tcpnet.sleep(0.01)
      return assert(b:write "news")
    end)
    assert.same({ [3] = "readable" }, told(poll, events))
    assert.same({ true, 4 }, { task:join(PATIENCE) })
  end)

  it("is no deadlock with nothing registered: a Waker may come from elsewhere", in_task(function()
    local poll <close>, _, events = open()
    assert.is_true(waits(poll.poll, poll, events))
  end))

  it("clears the events before, whatever comes", in_task(function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 1))
    assert(waker:wake())
    assert.equal(1, poll:poll(events, PATIENCE))
    assert.equal(0, poll:poll(events, 0))
    assert.is_true(events:is_empty())
    assert(waker:wake())
    assert.equal(1, poll:poll(events, PATIENCE))
    assert.is_true(waits(poll.poll, poll, events)) -- cancelled in the middle
    assert.is_true(events:is_empty())
  end))

  it("gives at most as many as there is room for, the rest the next time", in_task(function()
    local poll <close>, registry, events = open(2)
    local all <close> = guard()
    for token = 1, 5 do
      all[token] = assert(UdpSocket.bind "127.0.0.1:0")
      assert(registry:register(all[token], token, "w"))
    end
    local seen = {}
    for _, expected in ipairs { 2, 2, 1 } do
      assert.equal(expected, poll:poll(events, PATIENCE))
      for event in events:iter() do
        seen[event:token()] = (seen[event:token()] or 0) + 1
      end
    end
    assert.same({ 1, 1, 1, 1, 1 }, seen)
    assert.equal(0, poll:poll(events, 0))
  end))

  it("gives very many at once", in_task(function()
    local poll <close>, registry, events = open(150)
    local all <close> = guard()
    for token = 1, 200, 2 do
      all[token], all[token + 1] = assert(UnixDatagram.pair())
      assert(registry:register(all[token], token, "rw"))
      assert(registry:register(all[token + 1], token + 1, "rw"))
    end
    local seen = told(poll, events)
    assert.equal(150, #events)
    local rest = told(poll, events)
    assert.equal(50, #events)
    for token = 1, 200 do
      assert.equal("writable", seen[token] or rest[token])
      assert.is_nil(seen[token] and rest[token])
    end
  end))

  it("is one of several in a select and loses nothing there", in_task(function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 5))
    local function polls() return poll:poll(events) end
    assert.same({ "time", 1 }, { tcpnet.select {
      poll = polls,
      time = function()
        tcpnet.sleep(0.01)
        return 1
      end,
    } })
    assert(waker:wake())
    assert.same({ "poll", 1 }, { tcpnet.select { poll = polls, time = function() tcpnet.sleep(PATIENCE) end } })
    assert.same({}, told(poll, events, 0))
  end))

  it("obeys a timeout around it and loses nothing by that", in_task(function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 5))
    for _, seconds in ipairs { 0, 0.01 } do
      local _, err = tcpnet.timeout(seconds, poll.poll, poll, events)
      assert.same({ "TIMEOUT", "timeout" }, { err.code, err.op })
      _, err = tcpnet.timeout(seconds, poll.poll, poll, events, PATIENCE)
      assert.same({ "TIMEOUT", "timeout" }, { err.code, err.op })
    end
    assert.equal(0, tcpnet.timeout(PATIENCE, poll.poll, poll, events, 0.01))
    assert(waker:wake())
    assert.equal(1, tcpnet.timeout(0, poll.poll, poll, events))
  end))

  it("of two tasks on one Poll: each event is one task's, the other waits on", in_task(function()
    local poll <close>, registry = open()
    local first, second = assert(UnixStream.pair())
    local _guard <close> = guard(first, second)
    assert(registry:register(first, 1, "r"))
    local got, tasks = {}, {}
    for i = 1, 2 do
      tasks[i] = tcpnet.spawn(function()
        local events = Events.new(4)
        while true do
          for token, flags in pairs(told(poll, events, math.huge)) do
            got[#got + 1] = { task = i, token = token, flags = flags }
          end
        end
      end)
    end
    for round = 1, 6 do
      assert(second:write "x")
      local give_up = tcpnet.now() + PATIENCE
      while #got < round and tcpnet.now() < give_up do
        tcpnet.sleep(0.001)
      end
      tcpnet.sleep(0.002)
      assert.equal(round, #got)
      assert.same({ 1, "readable" }, { got[round].token, got[round].flags })
      assert.same({ "waiting", "waiting" }, { tasks[1]:status(), tasks[2]:status() })
    end
    for _, task in ipairs(tasks) do
      task:cancel()
    end
  end))

  it("names the argument that is wrong", in_task(function()
    local poll <close>, registry, events = open()
    raises("bad argument #1 to 'poll' (Events expected, got nil)", function() poll:poll() end)
    raises("bad argument #1 to 'poll' (Events expected, got table)", function() poll:poll {} end)
    raises("bad argument #2 to 'poll' (seconds, 0 or more, expected, got -1)", function() poll:poll(events, -1) end)
    raises("seconds, 0 or more, expected, got ", function() poll:poll(events, 0 / 0) end)
    raises("seconds, 0 or more, expected, got string", function() poll:poll(events, "1") end)
    raises("bad argument #1 to 'poll' (Poll expected, got Registry)", function() poll.poll(registry, events) end)
    raises("bad argument #1 to 'new' (capacity: integer", function() Events.new() end)
    raises("bad argument #1 to 'new' (capacity: integer", function() Events.new(0) end)
    raises("bad argument #1 to 'new' (capacity: integer", function() Events.new(1.5) end)
    raises("bad argument #1 to 'new' (capacity: integer", function() Events.new(1 << 40) end)
  end))

  it("raises below a C function that cannot yield", in_task(function()
    local poll <close>, _, events = open()
    raises("tcpnet.coroutine", function()
      ("x"):gsub("x", function() poll:poll(events, 0) end)
    end)
  end))
end)

describe("Events", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("tells how many there are and how many there may be", in_task(function()
    local poll <close>, registry = open()
    local waker <close> = assert(Waker.new(registry, -3))
    local events = Events.new(5)
    assert.same({ 5, 0, true }, { events:capacity(), #events, events:is_empty() })
    assert(waker:wake())
    assert.equal(1, poll:poll(events, PATIENCE))
    assert.same({ 5, 1, false }, { events:capacity(), #events, events:is_empty() })
    assert.equal(events, events:clear())
    assert.same({ 5, 0, true }, { events:capacity(), #events, events:is_empty() })
    for _ in events:iter() do
      error "an event of none"
    end
    assert.same({}, told(poll, events, 0)) -- clearing brings nothing back
  end))

  it("gives its events as often as wanted, and they outlive it", in_task(function()
    local poll <close>, registry, events = open()
    local sockets <close> = guard()
    for token = 1, 3 do
      sockets[token] = assert(UdpSocket.bind "127.0.0.1:0")
      assert(registry:register(sockets[token], token, "w"))
    end
    assert.equal(3, poll:poll(events, PATIENCE))
    local kept, pairs_seen = {}, 0
    for event in events:iter() do
      kept[#kept + 1] = event
      for _ in events:iter() do
        pairs_seen = pairs_seen + 1
      end
    end
    assert.equal(9, pairs_seen)
    assert.equal(0, poll:poll(events, 0))
    events = nil -- luacheck: ignore
    collectgarbage()
    table.sort(kept, function(a, b) return a:token() < b:token() end)
    assert.equal("Event (token 1, writable)", tostring(kept[1]))
    assert.same({ 1, 2, 3 }, { kept[1]:token(), kept[2]:token(), kept[3]:token() })
  end))

  it("ends an iteration where it is cleared or polled into meanwhile", in_task(function()
    local poll <close>, registry, events = open()
    local sockets <close> = guard()
    for token = 1, 3 do
      sockets[token] = assert(UdpSocket.bind "127.0.0.1:0")
      assert(registry:register(sockets[token], token, "w"))
    end
    assert.equal(3, poll:poll(events, PATIENCE))
    local count = 0
    for _ in events:iter() do
      count = count + 1
      assert.equal(0, poll:poll(events, 0))
    end
    assert.equal(1, count)
  end))

  it("has events with a token, what is ready, and a text", in_task(function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    local function the_event()
      assert.equal(1, poll:poll(events, PATIENCE))
      return events:iter()()
    end
    for _, token in ipairs { 0, 1, -1, math.maxinteger, math.mininteger, 3.0 } do
      assert(registry:register(a, token, "rw"))
      local event = the_event()
      assert.equal(token, event:token())
      assert.equal("integer", math.type(event:token()))
      assert.equal(("Event (token %d, writable)"):format(token), tostring(event))
      assert.same({ false, true, false, false, false, false }, { event:is_readable(), event:is_writable(),
        event:is_read_closed(), event:is_write_closed(), event:is_error(), event:is_priority() })
      assert(registry:deregister(a))
    end
    assert(registry:register(a, 4, "rw"))
    b:close()
    assert.equal("Event (token 4, readable, writable, read closed, write closed)", tostring(the_event()))
    raises("bad argument #1 to 'token' (Event expected, got UnixStream)", function() tcpnet.Event.token(a) end)
  end))

  it("has two events where several sources share a token", in_task(function()
    local poll <close>, registry, events = open()
    local one <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local two <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(one, 9, "w"))
    assert(registry:register(two, 9, "w"))
    assert.equal(2, poll:poll(events, PATIENCE))
    for event in events:iter() do
      assert.equal(9, event:token())
    end
  end))
end)

describe("Interest", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local R, W, P = Interest.READABLE, Interest.WRITABLE, Interest.PRIORITY

  it("adds up, and is taken apart to nil at last", function()
    local both = R + W
    assert.same({ true, false, false }, { R:is_readable(), R:is_writable(), R:is_priority() })
    assert.same({ false, true, false }, { W:is_readable(), W:is_writable(), W:is_priority() })
    assert.same({ false, false, true }, { P:is_readable(), P:is_writable(), P:is_priority() })
    assert.same({ true, true, false }, { both:is_readable(), both:is_writable(), both:is_priority() })
    assert.is_true(both == (W | R) and both == R + "w" and both == "r" | W and R + R == R)
    assert.is_true(both ~= R and R ~= W and R ~= P and R ~= "r")
    assert.is_true(both - W == R and both - "r" == W and both + P - both == P and both - P == both)
    assert.is_nil(R - R)
    assert.is_nil(R - (both + P))
    assert.is_nil(both - "rw")
  end)

  it("has a text", function()
    assert.equal("Interest (READABLE)", tostring(R))
    assert.equal("Interest (READABLE + WRITABLE + PRIORITY)", tostring(P + W + R))
  end)

  it("refuses what is none", function()
    local expected = [[interest: "r", "w", "rw", "p" or an Interest expected]]
    raises(expected, function() return R + 1 end)
    raises(expected, function() return R + "x" end)
    raises(expected, function() return {} | R end)
    raises(expected, function() return R - "" end)
    raises("attempt to", function() return R & W end)
    raises("bad argument #1 to 'is_readable' (Interest expected, got number)", function() Interest.is_readable(1) end)
  end)

  it("is taken by ready, try_io and async_io, too", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert.is_true(client:ready(R + W):is_writable())
    assert.is_true(client:ready(W):is_writable())
    assert.equal("EAGAIN", select(2, client:try_io(R, function() return "ran" end)).code)
    assert.equal("ran", client:try_io(W, function() return "ran" end))
    raises("one direction", function() client:try_io(R + W, print) end)
    local reader <close> = tcpnet.spawn(client.async_io, client, R, function() return client:try_read() end)
    tcpnet.yield()
    assert(server:write "x")
    assert.same({ true, "x" }, { reader:join(PATIENCE) })
    local ready <close> = tcpnet.spawn(client.ready, client, P)
    tcpnet.yield()
    assert.equal("waiting", ready:status())
    assert(server:as_socket():send_out_of_band "!")
    local ok, result = ready:join(PATIENCE)
    assert.same({ true, true }, { ok, result:is_priority() })
  end))
end)

-- Every kind of source: make(keep) → the source, what makes it readable (or writable: `interest`).
local KINDS = {
  TcpListener = function(keep)
    local listener = tcp.listener()
    return listener, function() keep[#keep + 1] = connecting(listener:local_addr()) end
  end,
  TcpStream = function(keep)
    local client, server = tcp.pair()
    keep[#keep + 1] = server
    return client, function() assert(server:write "x") end
  end,
  UnixStream = function(keep)
    local a, b = assert(UnixStream.pair())
    keep[#keep + 1] = b
    return a, function() assert(b:write "x") end
  end,
  UdpSocket = function(keep)
    local socket, other = assert(UdpSocket.bind "127.0.0.1:0"), assert(UdpSocket.bind "127.0.0.1:0")
    keep[#keep + 1] = other
    return socket, function() assert(other:send_to("x", socket:local_addr())) end
  end,
  UnixDatagram = function(keep)
    local a, b = assert(UnixDatagram.pair())
    keep[#keep + 1] = b
    return a, function() assert(b:send "x") end
  end,
  UnixListener = function(keep)
    local listener = assert(UnixListener.bind("@tcpnet poll " .. tostring {}))
    return listener, function() keep[#keep + 1] = assert(UnixStream.connect(listener:local_addr())) end
  end,
  Socket = function(keep)
    local a, b = assert(Socket.pair("unix", "seqpacket"))
    keep[#keep + 1] = b
    return a, function() assert(b:send "x") end
  end,
  ["a view of a socket"] = function(keep)
    local a, b = assert(UnixStream.pair())
    keep[#keep + 1] = a
    keep[#keep + 1] = b
    return a:as_socket(), function() assert(b:write "x") end
  end,
  PipeReceiver = function(keep)
    local sender, receiver = assert(tcpnet.pipe())
    keep[#keep + 1] = sender
    return receiver, function() assert(sender:write "x") end
  end,
  PipeSender = function(keep)
    local sender, receiver = assert(tcpnet.pipe())
    keep[#keep + 1] = receiver
    repeat until not sender:try_write(("x"):rep(4096))
    return sender, function() drain(receiver) end, "w"
  end,
  SourceFd = function(keep)
    local a, b = assert(UnixStream.pair())
    keep[#keep + 1] = a
    keep[#keep + 1] = b
    return SourceFd.new(a:fd()), function() assert(b:write "x") end
  end,
  ["SourceFd of another Poll"] = function(keep)
    local poll, registry = open()
    keep[#keep + 1] = poll
    keep[#keep + 1] = assert(Waker.new(registry, 1))
    return SourceFd.new(poll:fd()), function() assert(keep[#keep]:wake()) end
  end,
}

local function make(name)
  local keep = guard()
  local source, stir, interest = KINDS[name](keep)
  if source.close then
    table.insert(keep, 1, source)
  end
  local flag = interest and "writable" or "readable"
  return source, stir, interest or "r", flag, keep
end

for name in pairs(KINDS) do
  describe("a Registry with " .. name, function()
    before_each(leaks.note)
    after_each(leaks.check)

    it("tells when it is ready, once for each time", in_task(function()
      local poll <close>, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      assert.equal(registry, registry:register(source, 11, interest))
      quiet(poll, events)
      stir()
      assert.same({ [11] = flag }, told(poll, events))
      quiet(poll, events)
    end))

    it("tells at once where it is ready already (SURFACE 3.2)", in_task(function()
      local poll <close>, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      stir()
      assert(registry:register(source, 12, interest))
      assert.same({ [12] = flag }, told(poll, events))
    end))

    it("reports it under the last token and interest only (B109)", in_task(function()
      local poll <close>, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      stir()
      assert(registry:register(source, 1, interest))
      assert.equal(registry, registry:reregister(source, 1, interest))
      assert(registry:reregister(source, 2, interest))
      assert.same({ [2] = flag }, told(poll, events))
      assert(registry:reregister(source, 3, interest)) -- which tells anew
      assert.same({ [3] = flag }, told(poll, events))
      assert(registry:reregister(source, 4, "p"))
      quiet(poll, events)
    end))

    it("tells nothing more once it is deregistered, not even what was due (B114)", in_task(function()
      local poll <close>, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      assert(registry:register(source, 1, interest))
      stir()
      assert.equal(registry, registry:deregister(source))
      quiet(poll, events)
      assert(registry:register(source, 2, interest))
      assert.same({ [2] = flag }, told(poll, events))
    end))

    it("refuses it twice, and what it does not have (B111)", in_task(function()
      local poll <close>, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      local function absent(...)
        local err = fails("ENOENT", ...)
        assert.matches("the source is not registered with this Poll (ENOENT)", tostring(err), 1, true)
        return err.op
      end
      assert.equal("reregister", absent(registry:reregister(source, 1, interest)))
      assert.equal("deregister", absent(registry:deregister(source)))
      assert(registry:register(source, 1, interest))
      local twice = fails("EEXIST", registry:register(source, 2, interest))
      assert.equal("register: the source is registered already, with this Poll or another (EEXIST)", tostring(twice))
      local other <close>, others = open()
      absent(others:reregister(source, 2, interest))
      absent(others:deregister(source))
      if not name:find "SourceFd" then -- which knows nothing but a number
        fails("EEXIST", others:register(source, 2, interest))
      end
      stir()
      assert.same({ [1] = flag }, told(poll, events))
      assert.same({}, told(other, events, 0))
      assert(registry:deregister(source))
      absent(registry:deregister(source))
      assert(others:register(source, 3, interest))
      assert.same({ [3] = flag }, told(other, events))
    end))

    it("is left by it when it is closed, and it may be collected in any order", in_task(function()
      for order = 1, 4 do
        local poll, registry, events = open()
        local source, stir, interest, _, keep = make(name)
        assert(registry:register(source, 1, interest))
        stir()
        if order == 1 then
          keep:__close()
          assert.same({}, told(poll, events, 0))
          if source.close then
            assert.matches("is closed", tostring(fails("CLOSED", registry:register(source, 1, interest))), 1, true)
            fails("CLOSED", registry:reregister(source, 1, interest))
            fails("CLOSED", registry:deregister(source))
          end
        elseif order == 2 then
          source, keep, stir = nil -- luacheck: ignore
          collectgarbage()
        elseif order == 3 then
          poll = nil -- luacheck: ignore
          collectgarbage()
          keep:__close()
        end
        -- what is left goes by leaks.check
      end
    end))

    it("may go to another Poll when its own is closed", in_task(function()
      local poll, registry, events = open()
      local source, stir, interest, flag, _guard <close> = make(name)
      assert(registry:register(source, 1, interest))
      poll:close()
      local other <close>, others = open()
      fails("ENOENT", others:reregister(source, 2, interest))
      fails("ENOENT", others:deregister(source))
      assert.equal(others, others:register(source, 2, interest))
      stir()
      assert.same({ [2] = flag }, told(other, events))
      assert(others:deregister(source))
    end))
  end)
end

describe("a Registry", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("can be copied, and is the same one", in_task(function()
    local poll <close>, registry, events = open()
    local copy = assert(registry:try_clone())
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    assert.equal(copy, copy:register(a, 1, "r"))
    fails("EEXIST", registry:register(a, 2, "r"))
    registry = nil -- luacheck: ignore
    collectgarbage()
    assert(b:write "x")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert(assert(poll:registry()):deregister(a))
  end))

  it("outlives its Poll, closed", function()
    local registry = select(2, open())
    local copy = assert(registry:try_clone())
    collectgarbage()
    tcpnet.step(0) -- what was collected is closed in a turn
    fails("CLOSED", copy:try_clone())
    fails("CLOSED", Waker.new(registry, 1))
  end)

  it("takes a source while a task polls (B108)", in_task(function()
    local poll <close>, registry, events = open()
    local poller <close> = tcpnet.spawn(told, poll, events)
    tcpnet.yield()
    assert.equal("waiting", poller:status())
    local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(socket, 8, "rw"))
    assert.same({ true, { [8] = "writable" } }, { poller:join(PATIENCE) })
  end))

  it("gives one that was reregistered for writing only that (B109)", in_task(function()
    local poll <close>, registry, events = open()
    local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(socket, 0, "r"))
    assert(registry:reregister(socket, 0, Interest.READABLE))
    assert(registry:reregister(socket, 1, Interest.WRITABLE))
    assert.same({ [1] = "writable" }, told(poll, events))
  end))

  it("tells only of the Waker after the listener has gone (B114)", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = tcp.listener()
    local waker <close> = assert(Waker.new(registry, 10))
    assert(registry:register(listener, 1, "r"))
    local client <close> = connecting(listener:local_addr())
    assert(registry:deregister(listener))
    local task <close> = tcpnet.spawn(function()
      tcpnet.sleep(0.05)
      waker:wake()
    end)
    assert.same({ [10] = "readable" }, told(poll, events))
    assert.is_true((task:join(PATIENCE)))
    assert.is_false(client:closed())
  end))

  it("refuses a source for which a task waits", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local listener <close> = tcp.listener()
    for object, wait in pairs {
      [client] = function() return client:read() end,
      [socket] = function() return socket:readable() end,
      [listener] = function() return listener:accept() end,
    } do
      local task <close> = tcpnet.spawn(wait)
      tcpnet.yield()
      local err = fails("EBUSY", registry:register(object, 1, "r"))
      assert.equal("a task is waiting for the source", tostring(err):match "^register: (.*) %(EBUSY%)$")
      fails("ENOENT", registry:deregister(object))
      task:cancel()
      assert(registry:register(object, 1, "r"))
    end
    assert(server:write "x")
    assert.same({ [1] = "readable" }, told(poll, events))
  end))

  it("leaves the other ways of waiting alone", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    local reader <close> = tcpnet.spawn(client.read, client)
    tcpnet.yield()
    assert(server:write "hello")
    assert.same({ true, "hello" }, { reader:join(PATIENCE) })
    assert(registry:reregister(client, 2, "r"))
    assert(server:write "again")
    assert.same({ [2] = "readable" }, told(poll, events))
    assert.equal("again", client:read())
  end))

  it("names the argument that is wrong", in_task(function()
    local poll <close>, registry = open()
    local client, _, _guard <close> = tcp.pair()
    local methods = {
      register = function(...) registry:register(...) end,
      reregister = function(...) registry:reregister(...) end,
      deregister = function(...) registry:deregister(...) end,
    }
    for name, method in pairs(methods) do
      local expected = "bad argument #1 to '" .. name .. "' (socket, pipe or SourceFd expected, got "
      raises(expected .. "Poll)", method, poll, 1, "r")
      raises(expected .. "nil)", method, nil, 1, "r")
      raises(expected .. "number)", method, 1, 1, "r")
      raises(expected .. "Buffer)", method, tcpnet.Buffer.new(1), 1, "r")
      raises("(Registry expected, got Poll)", registry[name], poll, client, 1, "r")
    end
    methods.deregister = nil
    for name, method in pairs(methods) do
      raises("bad argument #2 to '" .. name .. "' (token: integer", method, client, nil, "r")
      raises("token: integer", method, client, 1.5, "r")
      raises("token: integer", method, client, "one", "r")
      raises("bad argument #3 to '" .. name .. "' (interest:", method, client, 1)
      raises("interest:", method, client, 1, "x")
      raises("interest:", method, client, 1, 1)
    end
    raises("bad argument #1 to 'new' (fd: integer", function() SourceFd.new(-1) end)
    raises("fd: integer", function() SourceFd.new() end)
  end))

  it("takes whole streams, not halves", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    local expected = "socket, pipe or SourceFd expected, got "
    local read_half, write_half = client:split()
    raises(expected .. "ReadHalf", registry.register, registry, read_half, 1, "r")
    raises(expected .. "WriteHalf", registry.register, registry, write_half, 1, "w")
    assert(registry:register(client, 1, "r"))
    local reading, writing = assert(client:into_split())
    raises(expected .. "OwnedReadHalf", registry.deregister, registry, reading)
    raises(expected .. "OwnedWriteHalf", registry.deregister, registry, writing)
    assert(server:write "x")
    assert.same({ [1] = "readable" }, told(poll, events)) -- the stream was registered before, and still is
    local whole <close> = assert(reading:reunite(writing))
    assert(registry:deregister(whole))
  end))

  it("keeps one that becomes something else", in_task(function()
    local poll <close>, registry, events = open()
    local socket = assert(Socket.new("inet", "stream"))
    assert(socket:bind "127.0.0.1:0")
    assert(registry:register(socket, 1, "r"))
    told(poll, events, 0) -- Linux calls an unconnected socket hung up
    assert(socket:listen())
    local listener <close> = assert(socket:into_tcp_listener())
    local client <close> = connecting(listener:local_addr())
    wait_for(poll, events, 1, "readable")
    assert(listener:try_accept()):close()
    assert(registry:reregister(listener, 2, "r"))
    assert.matches("the Socket was consumed by into_tcp_listener",
      tostring(fails("CLOSED", registry:reregister(socket, 1, "r"))), 1, true)
    assert(registry:deregister(listener))
    assert.is_false(client:closed())
  end))

  it("has an unconnected TcpSocket and its stream, one after the other", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = tcp.listener()
    local socket = assert(TcpSocket.new_v4())
    assert(registry:register(socket, 3, "rw"))
    assert.same({ [3] = "writable read_closed write_closed" }, told(poll, events)) -- as Linux sees it
    local stream <close> = assert(socket:connect(listener:local_addr()))
    assert.same({ [3] = "writable" }, told(poll, events))
    local server <close> = assert(listener:accept())
    assert(server:write "x")
    assert.same({ [3] = "readable writable" }, told(poll, events))
    assert(registry:deregister(stream))
  end))

  it("loses one whose descriptor was taken out, and may have that again", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    assert(server:write "x")
    local fd = assert(client:into_fd())
    assert.same({}, told(poll, events, 0))
    assert.matches("consumed by into_fd", tostring(fails("CLOSED", registry:deregister(client))), 1, true)
    local again <close> = assert(TcpStream.from_fd(fd))
    fails("ENOENT", registry:deregister(again))
    assert(registry:register(again, 2, "r"))
    assert.same({ [2] = "readable" }, told(poll, events))
    assert.equal("x", again:try_read())
  end))

  it("forgets a closed source whose descriptor has a copy", in_task(function()
    local poll <close>, registry, events = open()
    local one, other = assert(Socket.pair("unix", "stream"))
    local copy <close> = assert(one:try_clone())
    local _guard <close> = guard(other)
    assert(registry:register(one, 1, "r"))
    assert(other:send "x")
    one:close()
    assert.same({}, told(poll, events, 0))
    assert(registry:register(copy, 2, "r"))
    assert.same({ [2] = "readable" }, told(poll, events))
  end))

  it("keeps one whose view is closed", in_task(function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    local view = a:as_socket()
    assert(registry:register(view, 1, "r"))
    fails("EEXIST", registry:register(a, 2, "r"))
    view:close()
    assert(b:write "x")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert(registry:deregister(a))
  end))
end)

describe("SourceFd", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("owns nothing", in_task(function()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    local raw = SourceFd.new(a:fd())
    assert.equal(a:fd(), raw:fd())
    assert.is_nil(raw.close)
    raw = nil -- luacheck: ignore
    collectgarbage()
    assert.equal(1, a:write "x")
  end))

  it("stands for the descriptor: another one of it serves as well", in_task(function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    assert(registry:register(SourceFd.new(a:fd()), 1, "r"))
    collectgarbage()
    fails("EEXIST", registry:register(SourceFd.new(a:fd()), 2, "r"))
    assert(registry:reregister(SourceFd.new(a:fd()), 3, "r"))
    assert(b:write "x")
    assert.same({ [3] = "readable" }, told(poll, events))
    assert(registry:deregister(SourceFd.new(a:fd())))
    assert(b:write "x")
    assert.same({}, told(poll, events, 0))
    assert(registry:register(a, 4, "r"))
    assert.same({ [4] = "readable" }, told(poll, events))
    fails("EEXIST", registry:register(SourceFd.new(a:fd()), 2, "r"))
  end))

  it("fails with the system's word where the descriptor is closed or cannot be polled", in_task(function()
    local _poll <close>, registry = open()
    local a, b = assert(UnixStream.pair())
    local raw = SourceFd.new(a:fd())
    assert(registry:register(raw, 1, "r"))
    a:close()
    fails("EBADF", registry:reregister(raw, 1, "r"))
    fails("EBADF ENOENT", registry:deregister(raw))
    fails("EBADF", registry:register(raw, 1, "r"))
    local next_one <close> = assert(Socket.new("unix", "dgram")) -- gets the number
    assert.equal(raw:fd(), next_one:fd())
    assert(registry:register(raw, 1, "r"))
    assert(registry:deregister(raw))
    b:close()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local poll = assert(tcpnet.Poll.new())
      print(select(2, poll:registry():register(tcpnet.SourceFd.new(0), 1, "r")))]]
    assert.same({ 0, "register: the system cannot poll a descriptor of that kind (EPERM)\n" }, { code, output })
  end))

  it("of the Poll itself, or of the loop that the Poll waits in, is refused", in_task(function()
    local poll <close>, registry, events = open()
    fails("EINVAL ELOOP", registry:register(SourceFd.new(poll:fd()), 1, "r"))
    -- however the Poll has been used before
    fails("ELOOP", registry:register(SourceFd.new(tcpnet.backend_fd()), 1, "r"))
    assert.equal(0, poll:poll(events, 0.001))
    fails("ELOOP", registry:register(SourceFd.new(tcpnet.backend_fd()), 1, "r"))
    local waker <close> = assert(Waker.new(registry, 1))
    assert(waker:wake())
    tcpnet.sleep(0.005)
    assert.equal(1, poll:poll(events, 0))
    fails("ELOOP", registry:register(SourceFd.new(tcpnet.backend_fd()), 1, "r"))
    assert.equal(0, poll:poll(events, 0.001))
    local other <close>, others = open()
    assert(others:register(SourceFd.new(poll:fd()), 1, "r"))
    fails("ELOOP", registry:register(SourceFd.new(other:fd()), 1, "r"))
  end))

  it("nests Polls as deep as the system allows, and fails clearly beyond that", function()
    local code, output = program.lua [[
      local tcpnet = require "tcpnet"
      local polls, events = {}, tcpnet.Events.new(4)
      for i = 1, 5 do
        polls[i] = assert(tcpnet.Poll.new())
      end
      -- one that has been waited for and has been left alone since
      local waker = assert(tcpnet.Waker.new(polls[1]:registry(), 1))
      polls[1]:poll(events, 0.001)
      waker:wake()
      tcpnet.sleep(0.005)
      print(polls[1]:poll(events, 0))
      local failure
      for i = 4, 1, -1 do
        local _, err = polls[i]:registry():register(tcpnet.SourceFd.new(polls[i + 1]:fd()), i, "r")
        failure = failure or err
      end
      failure = failure or select(2, polls[1]:poll(events, 0.001)) -- where the loop has forgotten it since
      print(failure.code)
      local inner = assert(tcpnet.Waker.new(polls[5]:registry(), 9))
      print(polls[3]:poll(events, 0.001))
      inner:wake()
      print(polls[3]:poll(events, 5), events:iter()())]]
    assert.same({ 0, "1\nELOOP\n0\n1\tEvent (token 3, readable)\n" }, { code, output })
  end)
end)

describe("Waker", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("makes the next poll return, once however often it is woken (B118)", in_task(function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 10))
    quiet(poll, events)
    assert.is_true(waker:wake())
    assert.same({ [10] = "readable" }, told(poll, events))
    quiet(poll, events)
    for _ = 1, 3 do
      assert.is_true(waker:wake())
    end
    assert.same({ [10] = "readable" }, told(poll, events))
    quiet(poll, events)
  end))

  it("makes a poll return that waits", function()
    local function check()
      local poll <close>, registry, events = open()
      local waker <close> = assert(Waker.new(registry, math.mininteger))
      for _ = 1, 3 do
        local task <close> = tcpnet.spawn(function()
          tcpnet.sleep(0.002)
          return waker:wake()
        end)
        assert.same({ [math.mininteger] = "readable" }, told(poll, events))
        assert.same({ true, true }, { task:join(PATIENCE) })
      end
    end
    check()
    in_task(check)()
  end)

  it("is the only one of its Poll, until it is closed or collected", in_task(function()
    local poll <close>, registry, events = open()
    local copy = assert(registry:try_clone())
    local waker = assert(Waker.new(registry, 1))
    for _, one in ipairs { registry, copy, assert(poll:registry()) } do
      assert.equal("new: the Poll has a Waker already (EEXIST)", tostring(fails("EEXIST", Waker.new(one, 2))))
    end
    assert(waker:wake())
    waker:close()
    assert.same({}, told(poll, events, 0))
    waker = assert(Waker.new(copy, 3))
    assert(waker:wake())
    assert.same({ [3] = "readable" }, told(poll, events))
    waker = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local last <close> = assert(Waker.new(registry, 4))
    assert(last:wake())
    assert.same({ [4] = "readable" }, told(poll, events))
  end))

  it("says CLOSED once it is closed, and has a text", in_task(function()
    local poll <close>, registry = open()
    local waker = assert(Waker.new(registry, 1))
    assert.equal("integer", math.type(waker:fd()))
    assert.is_false(waker:closed())
    assert.equal(("Waker (fd %d)"):format(waker:fd()), tostring(waker))
    waker:close()
    waker:close()
    assert.is_true(waker:closed())
    assert.equal("Waker (closed)", tostring(waker))
    assert.equal("wake: the Waker is closed (CLOSED)", tostring(fails("CLOSED", waker:wake())))
    fails("CLOSED", waker:fd())
    assert.is_false(poll:closed())
  end))

  it("outlives its Poll", in_task(function()
    local waker <close> = assert(Waker.new(select(2, open()), 1))
    collectgarbage()
    assert.is_true(waker:wake())
  end))

  it("names the argument that is wrong", in_task(function()
    local poll <close>, registry = open()
    raises("bad argument #1 to 'new' (Registry expected, got Poll)", function() Waker.new(poll, 1) end)
    raises("bad argument #2 to 'new' (token: integer", function() Waker.new(registry) end)
    raises("bad argument #1 to 'wake' (Waker expected, got Registry)", function() Waker.wake(registry) end)
  end))
end)

describe("tcpnet_waker_wake", function()
  local folder, library, reason, native

  setup(function()
    folder = program.folder()
    local file = assert(io.open "spec/support/waker.c")
    local text = file:read "a"
    file:close()
    local _, root = program.shell "pwd"
    library, reason = program.c(folder, "waker.so", text,
      "-shared -fPIC -Wall -Werror -I" .. program.quote(root:match "[^\n]*" .. "/csrc") .. " -lpthread -ldl")
    if library then
      native = assert(package.loadlib(library, "luaopen_waker"))()
      native.find(package.searchpath("tcpnet.core", package.cpath))
    elseif program.shell "command -v cc" == 0 and not reason:find("lauxlib.h", 1, true) then
      error(reason)
    end
  end)
  teardown(function() getmetatable(folder).__close() end)
  before_each(leaks.note)
  after_each(leaks.check)

  local function with_native(name, fn)
    it(name, function()
      if not native then
        return pending "no C compiler, or no headers of Lua"
      end
      fn()
    end)
  end

  with_native("wakes from other threads (B119)", function()
    local function check()
      local poll <close>, registry, events = open()
      local waker <close> = assert(Waker.new(registry, 10))
      for _ = 1, 2 do
        local thread = native.start(waker:fd(), 0.02, 1)
        assert.same({ [10] = "readable" }, told(poll, events))
        assert.equal(0, native.join(thread))
        quiet(poll, events)
      end
      local threads = { native.start(waker:fd(), 0, 1000), native.start(waker:fd(), 0, 1000) }
      assert.same({ [10] = "readable" }, told(poll, events))
      assert.same({ 0, 0 }, { native.join(threads[1]), native.join(threads[2]) })
      told(poll, events, 0)
      quiet(poll, events)
    end
    check()
    in_task(check)()
  end)

  with_native("wakes where the counter is full, and leaves errno alone", in_task(function()
    local poll <close>, registry, events = open()
    local waker = assert(Waker.new(registry, 10))
    local fd = waker:fd()
    assert.is_true(native.fill(fd))
    told(poll, events, 0)
    assert.same({ 0, 0 }, { native.wake(fd) })
    assert.same({ [10] = "readable" }, told(poll, events))
    assert.is_true(native.fill(fd))
    told(poll, events, 0)
    assert.is_true(waker:wake())
    assert.same({ [10] = "readable" }, told(poll, events))
    waker:close()
    local status, errno = native.wake(fd)
    assert.is_true(status < 0)
    assert.equal(0, errno)
  end))

  -- A script that has the module as `native`.
  local function script(text)
    return program.lua(([[
      local tcpnet = require "tcpnet"
      local native = assert(package.loadlib(%q, "luaopen_waker"))()
      native.find(package.searchpath("tcpnet.core", package.cpath))
      local poll, events = assert(tcpnet.Poll.new()), tcpnet.Events.new(8)
      local registry = poll:registry()
      local waker = assert(tcpnet.Waker.new(registry, 10))
      io.stdout:setvbuf "no"
    ]]):format(library) .. text)
  end

  with_native("wakes from a signal handler", function()
    local code, output = script [[
      native.handle(10, waker:fd())
      print(native.raise(10), native.raise(10))
      print(poll:poll(events, 5), events:iter()(), poll:poll(events, 0))
      for _, where in ipairs { function(fn) fn() end, tcpnet.run } do
        where(function()
          local kill = io.popen "sleep 0.1; kill -USR1 $PPID"
          print(poll:poll(events, 5), events:iter()(), poll:poll(events, 0.01))
          kill:close()
        end)
      end]]
    local event = "1\tEvent (token 10, readable)\t0\n"
    assert.same({ 0, "1\t2\n" .. event:rep(3) }, { code, output })
  end)

  with_native("a child that forked leaves the Poll to its parent", function()
    local code, output = script [[
      local a, b = assert(tcpnet.UnixStream.pair())
      assert(registry:register(a, 1, "r"))
      local raw = tcpnet.SourceFd.new(b:fd())
      print(poll:poll(events, 0.001))
      local pid = native.fork()
      if pid == 0 then
        for name, fn in pairs {
          new = tcpnet.Poll.new,
          poll = function() return poll:poll(events, 0) end,
          registry = function() return poll:registry() end,
          register = function() return registry:register(raw, 1, "r") end,
          reregister = function() return registry:reregister(a, 1, "r") end,
          deregister = function() return registry:deregister(a) end,
          try_clone = function() return registry:try_clone() end,
          waker = function() return tcpnet.Waker.new(registry, 1) end,
          wake = function() return waker:wake() end,
        } do
          local ok, first, second = pcall(fn)
          local message = tostring(not ok and first or second)
          if not message:find "fork" then
            print("the child's " .. name .. ": " .. message)
          end
        end
        a:close()
        waker:close()
        poll:close()
        os.exit(42, true)
      end
      print(native.wait(pid))
      print(poll:poll(events, 0))
      b:write "x"
      waker:wake()
      print(poll:poll(events, 5))]]
    assert.same({ 0, "0\n42\n0\n2\n" }, { code, output })
  end)
end)

describe("edges of TCP", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("are one for each connection that came (B122)", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = tcp.listener()
    assert(registry:register(listener, 1, "r"))
    quiet(poll, events)
    local client <close> = connecting(listener:local_addr())
    assert.same({ [1] = "readable" }, told(poll, events))
    local stream, address = assert(listener:try_accept())
    local _guard <close> = guard(stream)
    assert.equal(client:local_addr(), address)
    fails("EAGAIN", listener:try_accept())
    quiet(poll, events)
    local second <close> = connecting(listener:local_addr())
    assert.same({ [1] = "readable" }, told(poll, events))
    assert.is_false(second:closed())
  end))

  it("are writable first, readable when the server has gone (B123)", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = tcp.listener()
    local client <close> = connecting(listener:local_addr())
    assert(registry:register(client, 1, "rw"))
    assert.same({ [1] = "writable" }, told(poll, events))
    local server = assert(listener:accept())
    quiet(poll, events)
    server:close()
    assert.same({ [1] = "readable writable read_closed" }, told(poll, events))
  end))

  it("come again only for more data after EAGAIN (B104)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    assert(server:write "one")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert.same({ "one" }, { drain(client) })
    quiet(poll, events)
    assert(server:write "two")
    assert.same({ [1] = "readable" }, told(poll, events))
    quiet(poll, events) -- unread as it is
    assert.same({ "two" }, { drain(client) })
    quiet(poll, events)
  end))

  it("go with the stream, whose peer reads its end (B105)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "rw"))
    assert.same({ [1] = "writable" }, told(poll, events))
    fails("EAGAIN", client:try_read())
    client:close()
    quiet(poll, events)
    assert.same({}, { server:read() })
  end))

  for _, way in ipairs { "read", "peek and read" } do
    it("are enough for 16 MiB, with " .. way .. " to the first error (B124)", in_task(function()
      local poll <close>, registry, events = open()
      local client, server, _guard <close> = tcp.pair()
      local bytes = tcp.bytes(16 << 20)
      local writer <close> = tcpnet.spawn(server.write, server, bytes)
      assert(registry:register(client, 1, "r"))
      local got, expected = tcp.digest(), tcp.digest()
      expected.add(bytes)
      local count = 0
      while count < #bytes do
        assert.matches("readable", told(poll, events)[1])
        local peeked = way ~= "read" and assert(client:try_peek(1000)) or ""
        local piece = drain(client)
        assert.equal(peeked, piece:sub(1, #peeked))
        count = count + #piece
        got.add(piece)
      end
      assert.equal(expected.value(), got.value())
      assert.same({ true, #bytes }, { writer:join(PATIENCE) })
      quiet(poll, events)
    end))
  end

  it("let one write 16 MiB to a slow reader, from EAGAIN to the next one", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    local bytes = tcp.bytes(16 << 20)
    local reader <close> = tcpnet.spawn(function()
      local got = assert(server:read_exact(#bytes))
      return got == bytes
    end)
    assert(registry:register(client, 1, "w"))
    local sent, rounds = 0, 0
    while sent < #bytes do
      assert.matches("writable", told(poll, events)[1])
      rounds = rounds + 1
      repeat
        local count, err = client:try_write(bytes, sent + 1)
        assert(count or err.code == "EAGAIN", tostring(err))
        sent = sent + (count or 0)
      until not count or sent == #bytes
    end
    assert.is_true(rounds > 1)
    assert.same({ true, true }, { reader:join(PATIENCE) })
  end))

  it("are readable where the other side was reset before (B129)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    tcp.close_with_reset(client)
    assert(registry:register(server, 3, "r"))
    wait_for(poll, events, 3, "readable")
    local bytes, err = server:try_read()
    assert.is_nil(bytes)
    assert(err == nil or err.code == "ECONNRESET", tostring(err))
  end))

  it("tell of a connect that was refused (B130)", in_task(function()
    local poll <close>, registry, events = open()
    local socket <close> = connecting(tcp.refusing_address())
    assert(registry:register(socket, 1, "w"))
    assert.same({ [1] = "writable read_closed write_closed error" }, told(poll, events))
    local err = socket:take_error()
    assert.equal("ECONNREFUSED", err.code)
    assert.is_nil(socket:take_error())
    fails("ENOTCONN", socket:peer_addr())
  end))

  it("drive the handshake: writable, no error, an address (SURFACE 3.4)", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = tcp.listener()
    local socket = connecting(listener:local_addr())
    assert(registry:register(socket, 1, "w"))
    while true do
      assert.matches("writable", told(poll, events)[1])
      assert.is_nil(socket:take_error())
      local address, err = socket:peer_addr()
      if address then
        assert.equal(listener:local_addr(), address)
        break
      end
      assert.is_true(err:is("ENOTCONN", "EINPROGRESS"), tostring(err))
    end
    local stream <close> = assert(socket:into_tcp_stream())
    local server <close> = assert(listener:accept())
    assert.equal(2, stream:try_write "hi")
    assert.equal("hi", server:read())
    assert(registry:reregister(stream, 2, "r"))
    assert(server:write "ho")
    assert.same({ [2] = "readable" }, told(poll, events))
    assert.equal("ho", stream:try_read())
  end))

  it("tell of a connect that a task waits in", in_task(function()
    local poll <close>, registry, events = open()
    local listener, waiting = tcp.silent_listener()
    local _guard <close> = guard(listener, table.unpack(waiting))
    local socket <close> = assert(Socket.new("inet", "stream"))
    assert(registry:register(socket, 1, "w"))
    told(poll, events, 0) -- unconnected
    local task <close> = tcpnet.spawn(socket.connect, socket, listener:local_addr())
    quiet(poll, events)
    fails("EEXIST", registry:register(socket, 1, "w"))
    for _ = 1, #waiting do -- makes room; the SYN is sent again after a second
      local stream = listener:try_accept()
      if stream then
        stream:close()
      end
    end
    assert.same({ [1] = "writable" }, told(poll, events))
    assert.is_true((task:join(PATIENCE)))
    assert.equal(listener:local_addr(), socket:peer_addr())
  end))

  it("end in an error for who writes to one that has gone (B131)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "w"))
    server:close()
    local piece = ("x"):rep(65536)
    local problem
    while not problem do
      local count, err = client:try_write(piece)
      assert(count == nil or count > 0, "0 bytes written")
      if not count and err.code == "EAGAIN" then
        wait_for(poll, events, 1, "writable")
      elseif not count then
        problem = err
      end
    end
    assert.is_true(problem:is("EPIPE", "ECONNRESET"), tostring(problem))
  end))

  it("have no closed side before the peer shuts down writing, then its read side (B132, B147)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "rw"))
    assert.same({ [1] = "writable" }, told(poll, events))
    quiet(poll, events)
    assert(server:shutdown "write")
    assert.same({ [1] = "readable writable read_closed" }, told(poll, events))
    assert.same({}, { client:try_read() })
    assert.equal(5, client:try_write "still")
    assert.equal("still", server:read())
  end))

  for _, way in ipairs { "closed", "deregistered" } do
    it(("bytes that were written arrive though the stream is %s then (B134)"):format(way), in_task(function()
      local poll <close>, registry, events = open()
      local client, server, _guard <close> = tcp.pair()
      assert(registry:register(client, 1, "w"))
      assert(registry:register(server, 2, "r"))
      assert.same({ [1] = "writable" }, told(poll, events))
      assert.equal(4, client:try_write "\1\2\3\4")
      if way == "closed" then
        client:close()
      else
        assert(registry:deregister(client))
      end
      assert.matches("readable", told(poll, events)[2])
      assert.same({ "\1\2\3\4", way == "closed" and "end" or nil }, { drain(server) })
    end))
  end

  for name, domain in pairs { IPv4 = "inet", IPv6 = "inet6", ["a descriptor"] = "inet" } do
    it("drive a stream over " .. name .. " (B136)", in_task(function()
      if domain == "inet6" and not has_ipv6() then
        return pending "needs IPv6"
      end
      local poll <close>, registry, events = open()
      local listener <close> = tcp.listener(domain == "inet6" and "[::1]:0" or "127.0.0.1:0")
      local stream = connecting(listener:local_addr(), domain)
      if name == "a descriptor" then
        stream = assert(Socket.from_fd(assert(stream:into_fd())))
      end
      assert(registry:register(stream, 1, "rw"))
      assert.same({ [1] = "writable" }, told(poll, events))
      assert.equal(listener:local_addr(), stream:peer_addr())
      stream = assert(stream:into_tcp_stream())
      local server = assert(listener:accept())
      local _guard <close> = guard(stream, server)
      local info = io.open("/proc/self/fdinfo/" .. stream:fd())
      if info then
        local flags = tonumber(info:read("a"):match "flags:%s*(%d+)", 8)
        info:close()
        assert.equal(tonumber("2004000", 8), flags & tonumber("2004000", 8))
      end
      fails("EAGAIN", stream:try_peek(10))
      fails("EAGAIN", stream:try_read(10))
      assert.equal(5, stream:try_write "hello")
      assert.equal("hello", server:read())
      assert(server:write "hello")
      assert.matches("readable", told(poll, events)[1])
      assert.equal("hello", stream:try_peek(10))
      assert.equal("hello", stream:try_read(10))
      assert.equal(10, stream:try_write_vectored { "ab", "", "cde", "fghij" })
      assert.equal(10, server:write((assert(server:read_exact(10)))))
      assert.matches("readable", told(poll, events)[1])
      local one, two, three = tcpnet.Buffer.new(4), tcpnet.Buffer.new(8), tcpnet.Buffer.new(4)
      three:append "#"
      assert.equal(10, stream:try_read_vectored { one, two, three })
      assert.same({ "abcd", "efghij", "#" }, { tostring(one), tostring(two), tostring(three) })
      assert.is_nil(stream:take_error())
    end))
  end

  it("leave what waits readable after shutting down the read side, on Linux (B138)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    assert(server:write "echo")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert(client:shutdown "read")
    assert.matches("read_closed", wait_for(poll, events, 1, "read_closed"))
    assert.same({ "echo", "end" }, { drain(client) })
  end))

  it("are followed by EPIPE for who writes after shutting down both sides (B139, B149)", in_task(function()
    local poll <close>, registry, events = open()
    local client, _, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "rw"))
    assert.same({ [1] = "writable" }, told(poll, events))
    assert(client:shutdown "both")
    assert.equal("readable writable read_closed write_closed", wait_for(poll, events, 1, "write_closed"))
    fails("EPIPE", client:try_write "x")
  end))

  it("say that the peer has gone that did not read, then nothing more (B148)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "rw"))
    assert.same({ [1] = "writable" }, told(poll, events))
    assert(client:write "unread")
    server:close()
    wait_for(poll, events, 1, "read_closed")
    while next(told(poll, events, 0.03)) do end -- one per segment that came
    quiet(poll, events)
  end))

  it("are readable where the accepted end was reset (B150)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    quiet(poll, events)
    tcp.close_with_reset(server)
    local says = wait_for(poll, events, 1, "readable")
    assert.equal("readable read_closed write_closed error", says)
    fails("ECONNRESET", client:try_read())
  end))

  it("have priority where urgent data came (B151)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, Interest.READABLE + Interest.PRIORITY))
    assert(server:as_socket():send_out_of_band "!")
    assert.same({ [1] = "readable priority" }, told(poll, events))
    assert.equal("!", client:as_socket():try_recv_out_of_band(1))
  end))

  it("come for more data after a peek said EAGAIN (B153)", in_task(function()
    local poll <close>, registry, events = open()
    local client, server, _guard <close> = tcp.pair()
    assert(registry:register(client, 1, "r"))
    assert(server:write "one")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert.equal("one", client:try_peek())
    assert.equal("one", client:try_read())
    fails("EAGAIN", client:try_peek())
    quiet(poll, events)
    assert(server:write "two")
    assert.same({ [1] = "readable" }, told(poll, events))
    assert.equal("two", client:try_peek())
    assert.equal("two", client:try_read())
  end))
end)

describe("edges of UDP", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, address in pairs { IPv4 = "127.0.0.1:0", IPv6 = "[::1]:0", ["a descriptor"] = "127.0.0.1:0" } do
    it("are writable, then readable after crossed sends over " .. name .. " (B159)", in_task(function()
      if name == "IPv6" and not has_ipv6() then
        return pending "needs IPv6"
      end
      local poll <close>, registry, events = open()
      local sockets <close> = guard()
      for token = 1, 2 do
        local socket = assert(UdpSocket.bind(address))
        if name == "a descriptor" then
          socket = assert(UdpSocket.from_fd(assert(socket:into_fd())))
        end
        sockets[token] = socket
        assert(registry:register(socket, token, "rw"))
      end
      local one, two = sockets[1], sockets[2]
      assert.same({ "writable", "writable" }, told(poll, events))
      for _, socket in ipairs(sockets) do
        fails("EAGAIN", socket:try_recv_from())
        fails("EAGAIN", socket:try_peek_from())
      end
      assert.equal(5, one:try_send_to("first", two:local_addr()))
      assert.equal(6, two:try_send_to("second", one:local_addr()))
      assert.same({ "readable writable", "readable writable" }, told(poll, events))
      assert.same({ "second", two:local_addr() }, { one:try_peek_from() })
      assert.same({ "second", two:local_addr() }, { one:try_recv_from() })
      assert.same({ "first", one:local_addr() }, { two:try_peek_from() })
      assert.same({ "first", one:local_addr() }, { two:try_recv_from() })
      assert.is_nil(one:take_error())
      assert.is_nil(two:take_error())
    end))
  end

  -- two sockets, both registered, their first events gone
  local function two(registry, poll, events)
    local one, other = assert(UdpSocket.bind "127.0.0.1:0"), assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(one, 1, "rw"))
    assert(registry:register(other, 2, "rw"))
    assert.same({ "writable", "writable" }, told(poll, events))
    return one, other, guard(one, other)
  end

  it("come for an empty datagram, too (B161)", in_task(function()
    local poll <close>, registry, events = open()
    local one, other, _guard <close> = two(registry, poll, events)
    assert.equal(0, one:try_send_to("", other:local_addr()))
    assert.matches("readable", wait_for(poll, events, 2, "readable"))
    assert.same({ "", one:local_addr() }, { other:try_recv_from() })
    fails("EAGAIN", other:try_recv_from())
  end))

  it("come only to the new peer of a socket that was connected anew (B163)", in_task(function()
    local poll <close>, registry, events = open()
    local one, other, _guard <close> = two(registry, poll, events)
    local third <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(third, 3, "r"))
    assert(one:connect(other:local_addr()))
    assert(one:connect(third:local_addr()))
    assert.equal(3, one:try_send "new")
    wait_for(poll, events, 3, "readable")
    assert.same({ "new", one:local_addr() }, { third:try_recv_from() })
    fails("EAGAIN", other:try_recv())
  end))

  it("come for what an unconnected socket sends to an address, not without one (B165)", in_task(function()
    local poll <close>, registry, events = open()
    local one, other, _guard <close> = two(registry, poll, events)
    fails("EDESTADDRREQ", one:try_send "x")
    quiet(poll, events)
    assert(one:try_send_to("x", other:local_addr()))
    wait_for(poll, events, 2, "readable")
    assert.equal("x", other:try_peek())
    assert.equal("x", other:try_recv())
  end))

  it("come for what a connected socket sends to another address, on Linux (B166)", in_task(function()
    local poll <close>, registry, events = open()
    local one, other, _guard <close> = two(registry, poll, events)
    local third <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(registry:register(third, 3, "r"))
    assert(one:connect(other:local_addr()))
    assert.equal(1, one:try_send_to("x", third:local_addr()))
    wait_for(poll, events, 3, "readable")
    assert.same({ "x", one:local_addr() }, { third:try_peek_from() })
    assert.same({ "x", one:local_addr() }, { third:try_recv_from() })
  end))

  it("do not come for a stranger's datagram to a connected socket (B167)", in_task(function()
    local poll <close>, registry, events = open()
    local receiver <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local friend <close> = assert(UdpSocket.bind "127.0.0.1:0")
    local stranger <close> = assert(UdpSocket.bind "127.0.0.1:0")
    assert(receiver:connect(friend:local_addr()))
    assert(registry:register(receiver, 1, "r"))
    assert(stranger:send_to("x", receiver:local_addr()))
    quiet(poll, events)
    assert(friend:send_to("y", receiver:local_addr()))
    assert.same({ [1] = "readable" }, told(poll, events))
    assert.equal("y", receiver:try_recv())
  end))

  for _, method in ipairs { "try_recv", "try_recv_from" } do
    it("come for the next datagram after EAGAIN of " .. method .. " (B171)", in_task(function()
      local poll <close>, registry, events = open()
      local one, other, _guard <close> = two(registry, poll, events)
      for round = 1, 3 do
        assert(one:send_to("datagram " .. round, other:local_addr()))
        wait_for(poll, events, 2, "readable")
        assert.equal("datagram " .. round, (other[method](other)))
        fails("EAGAIN", other[method](other))
        while next(told(poll, events, 0.01)) do end -- the sender has room again
      end
    end))
  end
end)

describe("edges of Unix sockets and pipes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- listen() → listener of a new abstract name
  local function listen()
    return assert(UnixListener.bind(("@tcpnet poll %p"):format {}))
  end

  -- a registered client and the accepted end
  local function connected(registry, poll, events)
    local listener <close> = listen()
    local client = assert(UnixStream.connect(listener:local_addr()))
    local server = assert(listener:accept())
    assert(registry:register(client, 1, "rw"))
    assert.same({ "writable" }, told(poll, events))
    return client, server, guard(client, server)
  end

  it("tell what a shutdown of either side closed (B176)", in_task(function()
    local poll <close>, registry, events = open()
    do
      local client, server, _guard <close> = connected(registry, poll, events)
      assert(server:write "x")
      assert.same({ "readable writable" }, told(poll, events))
      assert(client:shutdown "read")
      assert.matches("read_closed", wait_for(poll, events, 1, "read_closed"))
      assert.same({ "x", "end" }, { drain(client) })
    end
    do
      local client, server, _guard <close> = connected(registry, poll, events)
      assert(client:shutdown "write")
      fails("EPIPE", client:try_write "x")
      assert(server:write "x")
      wait_for(poll, events, 1, "readable")
      assert.equal("x", client:try_read())
    end
    do
      local client, _, _guard <close> = connected(registry, poll, events)
      assert(client:shutdown "both")
      assert.equal("readable writable read_closed write_closed", wait_for(poll, events, 1, "write_closed"))
      fails("EPIPE", client:try_write "x")
    end
    do
      local client, server, _guard <close> = connected(registry, poll, events)
      assert(server:shutdown "write")
      assert.equal("readable writable read_closed", wait_for(poll, events, 1, "read_closed"))
      assert.same({}, { client:try_read() })
    end
  end))

  it("come to a listener of an abstract name, with an unnamed client (B179)", in_task(function()
    local poll <close>, registry, events = open()
    local listener <close> = listen()
    assert.matches("^@tcpnet poll ", listener:local_addr():path())
    assert(registry:register(listener, 1, "r"))
    local client <close> = assert(UnixStream.connect(listener:local_addr()))
    assert.same({ [1] = "readable" }, told(poll, events))
    local server, address = assert(listener:try_accept())
    local _guard <close> = guard(server)
    assert.is_true(address:is_unnamed())
    assert.equal(listener:local_addr(), server:local_addr())
    assert.equal(listener:local_addr(), client:peer_addr())
    fails("EAGAIN", listener:try_accept())
  end))

  it("tell which sides of a datagram socket are shut down (B181)", in_task(function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixDatagram.pair())
    local _guard <close> = guard(a, b)
    assert(registry:register(a, 1, "rw"))
    assert.same({ "writable" }, told(poll, events))
    assert(a:shutdown "read")
    assert.equal("readable writable read_closed", wait_for(poll, events, 1, "read_closed"))
    assert(a:shutdown "write")
    assert.matches("write_closed", wait_for(poll, events, 1, "write_closed"))
    fails("EPIPE", a:try_send "x")
    assert.is_nil(a:take_error())
  end))

  it("come for the datagram of an unnamed sender, whose address has no path (B182)", in_task(function()
    local poll <close>, registry, events = open()
    local folder <close> = program.folder()
    local receiver <close> = assert(UnixDatagram.bind(tostring(folder) .. "/socket"))
    local sender <close> = assert(UnixDatagram.unbound())
    assert(registry:register(receiver, 1, "r"))
    assert(sender:send_to("data", receiver:local_addr()))
    assert.same({ "readable" }, told(poll, events))
    local data, address = receiver:try_recv_from()
    assert.equal("data", data)
    assert.is_true(address:is_unnamed())
    assert.is_nil(address:path())
  end))

  it("tell of a pipe that the other end has gone (B184)", in_task(function()
    local poll <close>, registry, events = open()
    local sender, receiver = assert(tcpnet.pipe())
    local _guard <close> = guard(sender, receiver)
    assert(registry:register(receiver, 1, "r"))
    assert(sender:write "last")
    sender:close()
    local says = wait_for(poll, events, 1, "read_closed")
    assert.matches("readable", says)
    assert.same({ "last", "end" }, { drain(receiver) })

    local second, other = assert(tcpnet.pipe())
    local _second <close> = guard(second, other)
    assert(registry:register(second, 2, "w"))
    assert.same({ [2] = "writable" }, told(poll, events))
    other:close()
    assert.same({ [2] = "writable write_closed error" }, told(poll, events))
    fails("EPIPE", second:try_write "x")
  end))
end)

describe("Poll in a foreign loop", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("goes on with every step", function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 5))
    local count = 0
    local task = tcpnet.spawn(function()
      while count < 3 do
        assert.same({ [5] = "readable" }, told(poll, events, math.huge))
        count = count + 1
      end
    end)
    while tcpnet.step(0) do end
    assert.equal("waiting", task:status())
    for round = 1, 3 do
      assert(waker:wake())
      local give_up = tcpnet.now() + PATIENCE
      while count < round and tcpnet.now() < give_up do
        tcpnet.step(0.1)
      end
      assert.equal(round, count)
    end
    assert.same({ true }, { task:join(PATIENCE) })
  end)

  it("needs no timer of the loop, and a step where something came", function()
    local poll <close>, registry, events = open()
    local waker <close> = assert(Waker.new(registry, 5))
    local task = tcpnet.spawn(poll.poll, poll, events)
    while tcpnet.step(0) do end
    assert.is_nil(tcpnet.backend_timeout())
    assert(waker:wake())
    assert.is_true(tcpnet.step(PATIENCE))
    assert.same({ true, 1 }, { task:join(PATIENCE) })
  end)

  it("may itself be the loop, with steps between its polls", function()
    local poll <close>, registry, events = open()
    local a, b = assert(UnixStream.pair())
    local _guard <close> = guard(a, b)
    assert(registry:register(a, 1, "r"))
    local task = tcpnet.spawn(function()
      for _ = 1, 3 do
        tcpnet.sleep(0.002)
        assert(b:write "tick")
      end
    end)
    local got, give_up = "", tcpnet.now() + PATIENCE
    while #got < 12 and tcpnet.now() < give_up do
      tcpnet.step(0.01)
      if told(poll, events, 0)[1] then
        got = got .. drain(a)
      end
    end
    assert.equal("ticktickticktick", got .. "tick")
    assert.is_true((task:join(PATIENCE)))
  end)
end)

it("Poll and all that is registered with it goes with its state, in any order", function()
  for _, ending in ipairs { "", "os.exit(0, true)", "os.exit(0)", "collectgarbage()", "poll = nil collectgarbage()",
    "registry, waker = nil collectgarbage()", "poll:close()", "waker:close() a:close()" } do
    local code, output = program.lua([[
      local tcpnet = require "tcpnet"
      poll = assert(tcpnet.Poll.new())
      registry, events = poll:registry(), tcpnet.Events.new(4)
      waker = assert(tcpnet.Waker.new(registry, 1))
      a, b = tcpnet.UnixStream.pair()
      raw = tcpnet.SourceFd.new(b:fd())
      assert(registry:register(a, 2, "rw"))
      assert(registry:register(raw, 3, "rw"))
      listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      assert(registry:register(listener, 4, "r"))
      tcpnet.spawn(poll.poll, poll, tcpnet.Events.new(1))
      print(poll:poll(events, 5) > 0)
    ]] .. ending)
    assert.same({ ending, 0, "true\n" }, { ending, code, output })
  end
end)
