-- What is run while memory fails (torture_walk.lua): by name, functions that use a part of the library each, alone with
-- themselves, and raise where something is wrong. Everything that they make is theirs to close.
local tcpnet = require "tcpnet"

local scripts = {}

-- Descriptors that a script was given and had no memory to make objects of: torture_walk.lua closes them.
local given = { 0, 0 }
scripts.given = given

-- Raises the error that came in place of what was expected.
local function is(expected, value, err)
  if value ~= expected then
    error(value == nil and err or ("%s in place of %s"):format(value, expected), 0)
  end
end

local function tcp_pair()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

function scripts.tcp()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { nodelay = true, backlog = 5 }))
  assert(listener:set_accept_options { nodelay = true, quickack = true })
  tcpnet.run(tcpnet.scope, function(scope)
    local server_task = scope:spawn(function()
      local stream <close> = assert(listener:accept())
      for line in stream:lines() do
        assert(stream:write(line, "\n"))
      end
    end)
    local stream <close> = assert(tcpnet.TcpStream.connect(tostring(listener:local_addr()), { timeout = 5 }))
    assert(stream:write("hello", "\n"))
    is("hello\n", stream:read_exact(6))
    tcpnet.timeout(0.001, stream.read, stream)
    local buffer = tcpnet.Buffer.new(16)
    assert(stream:write_from(buffer:append "x\n"))
    assert(stream:read_into(buffer))
    assert(stream:write_vectored { "a", "b", "\n" })
    is("ab\n", stream:read_until "\n")
    assert(stream:ready "w" and stream:peer_addr())
    assert(stream:try_io("w", function() return true end))
    assert(stream:shutdown())
    is("", stream:read_to_end())
    assert(server_task:join())
    local read_half, write_half = assert(stream:into_split())
    local whole <close> = assert(read_half:reunite(write_half))
    assert(tostring(whole))
  end)
end

function scripts.refused()
  local none, err = tcpnet.TcpStream.connect "127.0.0.1:1"
  assert(none == nil and err:is("ECONNREFUSED", "ENOMEM"), err)
  assert(tostring(err) .. "!")
end

function scripts.udp()
  local a <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
  local b <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
  assert(a:send_to("one", b:local_addr()))
  local data, from = assert(b:recv_from())
  assert(data == "one" and from == a:local_addr())
  assert(a:connect(b:local_addr()))
  assert(a:send_many { "two", { "three", b:local_addr() } } == 2)
  local list = assert(b:recv_many(8))
  assert(#list >= 1)
  assert(a:send "four" and b:peek())
  assert(b:set_recv_pktinfo_v4(true))
  assert(a:sendmsg { data = { "f", "ive" } })
  tcpnet.run(function()
    local message <close> = assert(b:recvmsg { control = 200 })
    assert(tostring(message))
  end)
end

function scripts.unix()
  local listener <close> = assert(tcpnet.UnixListener.bind(("@torture-%d"):format(tcpnet.private.pid())))
  local client <close> = assert(tcpnet.UnixStream.connect(listener:local_addr()))
  local server <close> = assert(listener:accept())
  assert(client:send_fd(server) and client:write "after\n")
  given[1] = assert(server:recv_fd())
  local same <close> = assert(tcpnet.UnixStream.from_fd(given[1]))
  given[1] = 0
  assert(same:peer_cred())
  is("after", server:read_line())
  local a, b = assert(tcpnet.UnixDatagram.pair())
  local one <close> = a
  local two <close> = b
  assert(one:send "x")
  is("x", two:recv())
  assert(client:finish(0.01) ~= false)
end

function scripts.pipe()
  local sender, receiver = assert(tcpnet.pipe())
  local out <close> = sender
  local into <close> = receiver
  tcpnet.run(tcpnet.scope, function(scope)
    local reader = scope:spawn(function()
      local all = {}
      for line in into:lines() do
        all[#all + 1] = line
      end
      return #all
    end)
    assert(out:write("a\n", "b\n", ("c"):rep(100)))
    out:close()
    local ok, count = reader:join()
    assert(ok, count)
    assert(count == 3)
  end)
end

function scripts.control()
  local a, b = assert(tcpnet.Socket.pair("unix", "seqpacket"))
  local one <close> = a
  local two <close> = b
  assert(two:set_passcred(true))
  assert(one:sendmsg { data = { "a", "b" }, control = { { type = "fds", fds = { one, two } } } })
  local message <close> = assert(two:recvmsg { data = 10, control = 200 })
  assert(message.data == "ab" and #message:find "fds".fds == 2 and message:find "credentials")
  local fds = assert(message:take_fds())
  given[1], given[2] = fds[1], fds[2]
  for i = 1, 2 do
    local same <close> = assert(tcpnet.Socket.from_fd(given[i]))
    given[i] = 0
    assert(same:fd())
  end
  local buffers = { tcpnet.Buffer.new(2), tcpnet.Buffer.new(10) }
  assert(one:send_vectored { "ab", "c" } and two:recv_vectored(buffers) == 3)
end

function scripts.sync()
  local sync = tcpnet.sync
  tcpnet.run(tcpnet.scope, function(scope)
    local sender, receiver = sync.channel(1)
    local producer = scope:spawn(function()
      for i = 1, 3 do
        assert(sender:send(i))
      end
      sender:close()
    end)
    local sum = 0
    for value in receiver do
      sum = sum + value
    end
    assert(producer:join())
    assert(sum == 6)
    local give, take = sync.oneshot()
    give:send "x"
    is("x", take:recv())
    local caster = sync.broadcast(2)
    local listener = caster:subscribe()
    caster:send(1)
    assert(listener:recv() == 1)
    local writer, watcher = sync.watch(1)
    writer:send(2)
    assert(watcher:changed())
    local notify = sync.Notify.new()
    local waiter = scope:spawn(function() notify:notified() end)
    tcpnet.yield()
    notify:notify_one()
    assert(waiter:join())
    local semaphore = sync.Semaphore.new(1)
    do
      local permit <close> = assert(semaphore:acquire())
      local late = scope:spawn(function() semaphore:acquire():release() end)
      tcpnet.yield()
      permit:release()
      assert(late:join())
    end
    assert(semaphore:available_permits() == 1)
    local mutex = sync.Mutex.new()
    do
      local _guard <close> = assert(mutex:lock())
    end
    local barrier = sync.Barrier.new(2)
    local other = scope:spawn(function() barrier:wait() end)
    barrier:wait()
    assert(other:join())
    local token = sync.CancellationToken.new()
    local child = token:child_token()
    token:cancel()
    assert(child:is_cancelled())
  end)
end

function scripts.codec()
  tcpnet.run(function()
    for _, codec in ipairs { tcpnet.codec.lines { max_length = 100 }, tcpnet.codec.length_delimited {},
      tcpnet.codec.any_delimiter { delimiters = ",;" } } do
      local near, far = tcpnet.duplex(64)
      local writer, reader = codec:framed_write(near), codec:framed_read(far)
      assert(writer:send "one" and writer:feed "two" and writer:flush())
      near:close()
      is("one", reader:next())
      is("two", reader:next())
      far:close()
    end
  end)
end

function scripts.memory_streams()
  tcpnet.run(tcpnet.scope, function(scope)
    local near, far = tcpnet.duplex(8)
    local writer = scope:spawn(function()
      assert(near:write "more than there is room for")
      near:shutdown()
    end)
    local part = tcpnet.io.take(far, 4)
    local whole = tcpnet.io.chain(part, far)
    is("more than there is room for", whole:read_to_end())
    assert(writer:join())
    near:close()
    far:close()
  end)
end

function scripts.copy()
  local a, a_far = tcp_pair()
  local one <close> = a
  local one_far <close> = a_far
  local b, b_far = tcp_pair()
  local two <close> = b
  local two_far <close> = b_far
  tcpnet.run(tcpnet.scope, function(scope)
    local copying = scope:spawn(function()
      return assert(tcpnet.copy_bidirectional(one, two))
    end)
    assert(one_far:write "to the other side" and one_far:shutdown())
    is("to the other side", two_far:read_to_end())
    assert(two_far:write(("back"):rep(100)) and two_far:shutdown())
    assert(#assert(one_far:read_to_end()) == 400)
    local ok, there, back = copying:join()
    assert(ok and there, there or back)
    assert(there == 17 and back == 400)
  end)
end

function scripts.poll()
  local poll <close> = assert(tcpnet.Poll.new())
  local registry = assert(poll:registry())
  local a, b = assert(tcpnet.UnixStream.pair())
  local one <close> = a
  local two <close> = b
  local events = tcpnet.Events.new(4)
  local waker <close> = assert(tcpnet.Waker.new(registry, 9))
  assert(registry:register(one, 5, tcpnet.Interest.READABLE))
  assert(registry:register(tcpnet.SourceFd.new(two:fd()), 6, tcpnet.Interest.READABLE + tcpnet.Interest.WRITABLE))
  assert(two:write "x" and waker:wake())
  tcpnet.run(function()
    assert(poll:poll(events, 5) >= 1)
  end)
  for event in events:iter() do
    assert(event:token() and tostring(event))
  end
  assert(registry:reregister(one, 7, tcpnet.Interest.READABLE) and registry:deregister(one))
end

function scripts.signal()
  local signal <close> = assert(tcpnet.signal "SIGUSR1")
  _G.raise_signal(10) -- the host's
  tcpnet.run(function()
    assert(signal:recv(5))
  end)
end

function scripts.process()
  local child <close> = assert(tcpnet.process.spawn { "cat", stdin = "pipe", stdout = "pipe", stderr = "null",
    env = { ADDED = "x" }, cwd = "/" })
  local stdin <close> = child.stdin
  local stdout <close> = child.stdout
  assert(stdin:write "meow")
  stdin:close()
  is("meow", stdout:read_to_end())
  assert(child:wait().code == 0)
end

function scripts.output()
  local result = assert(tcpnet.process.output { "cat", input = "meow" })
  is("meow", result.stdout)
  is("", result.stderr)
  assert(result.code == 0)
end

function scripts.time()
  tcpnet.run(function()
    tcpnet.sleep(0)
    assert(tcpnet.timeout(5, function() return 1, 2 end) == 1)
    local none, err = tcpnet.timeout(0.0005, tcpnet.park)
    assert(none == nil and err:is "TIMEOUT", err)
    local key = tcpnet.select {
      slow = function() tcpnet.sleep(10) end,
      quick = function() return "x" end,
    }
    assert(key == "quick")
    local interval = tcpnet.interval(0.0001)
    assert(interval:tick())
    local sleeper <close> = tcpnet.spawn(tcpnet.park)
    tcpnet.yield()
    assert(sleeper:unpark())
  end)
end

function scripts.structure()
  tcpnet.run(function()
    local sum = tcpnet.scope(function(scope)
      local one = scope:spawn(function() tcpnet.yield() return 1 end)
      local two = scope:spawn(function() return 2 end)
      return select(2, assert(one:join())) + select(2, assert(two:join()))
    end)
    assert(sum == 3)
    local results = tcpnet.each({ 1, 2, 3 }, 2, function(item)
      tcpnet.yield()
      return item * 2
    end)
    assert(#results == 3)
    local set <close> = tcpnet.JoinSet.new()
    set:spawn(function() return "done" end)
    local task, ok, word = set:join_next()
    assert(ok, word)
    assert(task and word == "done")
  end)
end

function scripts.failures()
  tcpnet.configure { on_task_error = function() return true end }
  local ok, err = pcall(tcpnet.run, function()
    local failing = tcpnet.spawn(function()
      local _guard <close> = setmetatable({}, { __close = function() tcpnet.yield() end })
      error("on purpose", 0)
    end)
    local joined, why = failing:join()
    assert(not joined)
    error(why, 0)
  end)
  tcpnet.configure { on_task_error = false }
  assert(not ok)
  err = tostring(err)
  assert(err:find "on purpose" or err:find "memory" or err:find "ENOMEM", err)
end

function scripts.coroutines()
  local a, b = assert(tcpnet.UnixStream.pair())
  local one <close> = a
  local two <close> = b
  tcpnet.run(tcpnet.scope, function(scope)
    local words = tcpnet.coroutine.wrap(function()
      for line in two:lines() do
        tcpnet.coroutine.yield(line)
      end
    end)
    local writer = scope:spawn(function()
      assert(one:write "first\nsecond\n")
      one:close()
    end)
    assert(words() == "first" and words() == "second")
    assert(writer:join())
  end)
end

function scripts.lookup()
  tcpnet.run(function()
    assert(#assert(tcpnet.lookup_host("localhost", 80, { family = "inet" })) > 0)
    local stream, err = tcpnet.TcpStream.connect("localhost:1", { timeout = 5 })
    assert(stream == nil and err:is("ECONNREFUSED", "ENOMEM"), err)
  end)
end

function scripts.options()
  local socket <close> = assert(tcpnet.TcpSocket.new_v4())
  assert(socket:set_keepalive(true):set_nodelay(true))
  assert(socket:set_tcp_keepalive { time = 10, interval = 5, retries = 2 })
  assert(socket:set("SO_SNDBUF", 10000) and socket:get "SO_SNDBUF")
  assert(socket:options().nodelay)
  assert(socket:as_socket():domain())
  local address = assert(tcpnet.SocketAddr.parse "[::1]:80")
  assert(tostring(address) == "[::1]:80" and address:bytes())
end

return scripts
