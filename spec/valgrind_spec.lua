-- One script that uses everything once, under valgrind where that is installed: no invalid access, no descriptor left.
local program = require "spec.support.program"

local folder

local script = [[
  local tcpnet = require "tcpnet"
  local listener = assert(tcpnet.TcpListener.bind("localhost:0", { nodelay = true, backlog = 8 }))
  listener:set_accept_options { nodelay = true, quickack = true }
  local address = listener:local_addr()
  tcpnet.configure { on_task_error = function() return true end }

  local function echo(stream)
    local guard <close> = stream
    tcpnet.copy(stream, stream)
  end

  local function serve()
    for stream in listener:incoming() do tcpnet.spawn(echo, stream) end
  end

  local function talk(stream)
    local buffer = tcpnet.Buffer.new(64):append "from a buffer\n"
    assert(stream:write("a line\n", 1, 2.5, buffer, "\r\n"))
    assert(stream:write_from(buffer))
    assert(stream:write_vectored { "x", "y", "\n" })
    assert(stream:write_some("zab\n", 2))
    assert(stream:read_line() == "a line")
    assert(stream:peek(1) == "1")
    assert(stream:read_until "\n" == "12.5from a buffer\n")
    assert(stream:read_exact(2) == "\r\n")
    assert(stream:read_into(buffer))
    tcpnet.sleep(0.005)
    stream:try_read_into(buffer)
    stream:try_read()
    stream:try_write "more"
    stream:ready "rw"
    stream:try_io("w", function() return true end)
    assert(stream:set_timeout(0.001))
    stream:read_exact(100)
    stream:set_timeout(nil)
    tcpnet.timeout(0.001, stream.read_line, stream)
    tcpnet.select { function() return stream:read_exact(1000) end, function() tcpnet.sleep(0.001) end }
  end

  -- Descriptors, credentials, addresses and errors among the control data; what is cut; what is too late.
  local function exchange()
    local one, two = assert(tcpnet.Socket.pair("unix", "seqpacket"))
    assert(two:set_passcred(true))
    for _, room in ipairs { 0, 15, 16, 20, 52, 1000 } do
      assert(one:sendmsg { data = { "a", "b" }, control = { { type = "fds", fds = { one, two, one } } } })
      local message <close> = assert(two:recvmsg { data = 1, control = room })
      tostring(message)
      message:find "fds"
    end
    assert(one:sendmsg { data = "c", control = { { type = "fds", fds = { one } } } })
    assert(two:recvmsg { flags = { "peek" } })
    assert(tcpnet.Socket.from_fd(assert(two:recvmsg()):take_fds()[1])):close()
    pcall(one.sendmsg, one, { data = "d", control = { { type = "fds", fds = { one, "x" } } } })
    tcpnet.timeout(0.001, two.recvmsg, two, { data = 100000 })
    one:close()
    assert(not two:recvmsg() and two:close() == nil)
    local udp = assert(assert(tcpnet.Socket.new("inet", "dgram")):bind "127.0.0.1:0")
    for _, option in ipairs { "recv_err_v4", "recv_tos_v4", "recv_pktinfo_v4", "timestamp_ns" } do
      udp["set_" .. option](udp, true)
    end
    assert(udp:sendmsg { data = "e", address = udp:local_addr(),
      control = { { type = "tos", value = 8 }, { type = "pktinfo", interface = "lo" } } })
    assert(#assert(udp:recvmsg()).control == 3)
    udp:send_to("f", "127.0.0.1:1")
    udp:recvmsg()
    tcpnet.timeout(0.3, udp.recvmsg, udp, { data = 100000 }) -- tried again and again beside a full error queue
    assert(udp:recvmsg { flags = { "errqueue" } }:find "error".code == "ECONNREFUSED")
    udp:close()
  end

  local function talk_in_messages()
    local a, b = assert(tcpnet.Socket.pair("unix", "dgram"))
    assert(a:set_passcred(true) and b:set_passcred(true))
    assert(a:sendmsg { data = { "x", "y" }, control = { { type = "fds", fds = { a, b } } } })
    local message = assert(b:recvmsg())
    tostring(message)
    assert(message:find "fds" and message:find "credentials")
    for _, fd in ipairs(message:take_fds()) do assert(tcpnet.Socket.from_fd(fd)):close() end
    assert(a:sendmsg { data = "dropped", control = { { type = "fds", fds = { a, b } } } })
    assert(b:recvmsg()) -- collected with its descriptors
    assert(a:sendmsg { data = "cut", control = { { type = "fds", fds = { a, b } } } })
    assert(b:recvmsg { data = 1, control = 20 })
    assert(a:send_vectored { "v", "w" })
    local buffer = tcpnet.Buffer.new(8)
    assert(b:recv_vectored { buffer })
    a:send "peeked"
    assert(b:peek_from() and b:recv(2147483647))
    pcall(a.sendmsg, a, { data = {} })
    pcall(a.send, a, "x", { "nonsense" })
    assert(a:try_clone()):close()
    a:close()
    b:close()
    local raw = assert(tcpnet.Socket.new("inet", "dgram"))
    raw:attach_filter { { 0x06, 0, 0, 0xffff } }
    raw:detach_filter()
    assert(raw:options() and raw:set_tos_v4(1) and raw:get "SO_TYPE" and raw:get(1, 3))
    tostring(assert(raw:into_udp_socket()))
    collectgarbage()
  end

  local function talk_in_batches()
    local a, b = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"), assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local list = {}
    for i = 1, 100 do list[i] = i % 2 == 0 and ("d" .. i) or { "d" .. i, b:local_addr() } end
    assert(a:connect(b:local_addr()))
    local sent = assert(a:send_many(list))
    local came = 0
    while came < sent do came = came + #assert(b:recv_many(70, 2)) end
    assert(b:set_recv_pktinfo_v4(true))
    assert(a:send_to("to", b:local_addr()))
    assert(b:peek_sender() and assert(b:recvmsg()):find "pktinfo")
    local waiting = tcpnet.spawn(b.recv_many, b, 1024)
    tcpnet.yield()
    assert(b:as_socket():options())
    b:close()
    waiting:join()
    a:close()
    for _ in pairs(tcpnet.features()) do break end
  end

  local function talk_locally()
    local path = os.tmpname()
    local unix = assert(tcpnet.UnixListener.bind(path .. ".socket"))
    local one = assert(tcpnet.UnixStream.connect(path .. ".socket"))
    local other = assert(unix:accept())
    assert(tcpnet.UnixListener.bind(path .. ".socket", { unlink = true }) == nil)
    unix:close()
    assert(tcpnet.UnixListener.bind(path .. ".socket", { unlink = true })):close()
    os.remove(path)
    os.remove(path .. ".socket")
    assert(one:send_fd(other))
    assert(one:write "text" and one:send_fd(0))
    assert(tcpnet.UnixStream.from_fd((assert(other:recv_fd())))):close()
    assert(other:read_exact(4) == "text" and other:read(1)) -- a descriptor is left in the queue
    assert(one:peer_cred())
    tcpnet.timeout(0.001, other.recv_fd, other)
    local file = assert(io.tmpfile())
    file:write(("f"):rep(100000))
    local sending = tcpnet.spawn(one.sendfile, one, file)
    assert(#other:read_exact(100000) == 100000 and sending:join())
    file:close()
    local view = assert(one:as_socket())
    one:close()
    tostring(view)
    other:close()
    local sender, receiver = assert(tcpnet.pipe())
    local writing = tcpnet.spawn(sender.write, sender, ("p"):rep(200000), "q")
    assert(#receiver:read_exact(200001) == 200001 and writing:join())
    local reading = tcpnet.spawn(receiver.read_line, receiver)
    tcpnet.yield()
    receiver:close()
    reading:join()
    sender:write "to nobody"
    assert(tcpnet.PipeSender.from_fd(sender:into_fd())):close()
    assert(tcpnet.UnixSocket.new_datagram()):datagram():close()
  end

  tcpnet.run(function()
    exchange()
    talk_in_messages()
    talk_in_batches()
    talk_locally()
    tcpnet.spawn(serve)
    local one = assert(tcpnet.TcpStream.connect(address, { timeout = 5, recv_buffer_size = 8192 }))
    talk(one)
    assert(one:tcp_info().state == "established" and one:options().nodelay ~= nil)
    assert(one:finish(5))
    local socket = assert(tcpnet.TcpSocket.new_v4())
    if address:is_ipv6() then socket:close() socket = assert(tcpnet.TcpSocket.new_v6()) end
    local two = assert(socket:set_reuseaddr(true):connect(address))
    talk(two)
    local read_half, write_half = two:into_split()
    two = assert(read_half:reunite(write_half))
    local adopted = assert(tcpnet.TcpStream.from_fd((two:into_fd(true))))
    talk(adopted)
    local borrowed_read, borrowed_write = adopted:split()
    adopted:reset()
    tostring(borrowed_read)
    borrowed_write:write "late"
    for _, fn in ipairs { error, tcpnet.park, function() tcpnet.sleep(10) end } do
      local task = tcpnet.spawn(fn)
      tcpnet.yield()
      task:cancel()
      task:join()
    end
    tcpnet.scope(function(scope)
      scope:spawn(tcpnet.sleep, 0.001)
    end)
    tcpnet.each({ 1, 2, 3 }, 2, function(i) tcpnet.sleep(0) return i end)
    local set <close> = tcpnet.JoinSet.new()
    set:spawn(tcpnet.sleep, 10)
    set:join_next(0.001)
    local generator = tcpnet.coroutine.wrap(function()
      tcpnet.coroutine.yield(1)
      tcpnet.sleep(0.001)
      tcpnet.coroutine.yield(2)
    end)
    assert(generator() == 1 and generator() == 2)
    local _, err = tcpnet.TcpStream.connect "127.0.0.1:1"
    tostring(err)
    tcpnet.lookup_host("localhost", 1)
    tcpnet.spawn(tcpnet.lookup_host, "localhost:1"):cancel()
    local left, right = assert(tcpnet.TcpStream.connect(address)), assert(tcpnet.TcpStream.connect(address))
    left:write "x"
    tcpnet.timeout(0.01, tcpnet.copy_bidirectional, left, right)
  end)
  pcall(tcpnet.run, error, err)
  kept_open = assert(tcpnet.TcpStream.connect(address))
  tcpnet.spawn(kept_open.read, kept_open)
  kept_message = assert(tcpnet.Socket.pair("unix", "dgram"))
  kept_pipe = { assert(tcpnet.pipe()) }
  tcpnet.spawn(kept_pipe[2].read, kept_pipe[2])
  tcpnet.spawn(kept_message.recv_many, kept_message, 8)
  tcpnet.step(0)
  print "done"
]]

describe("everything once, under valgrind", function()
  setup(function()
    local pipe = assert(io.popen "mktemp -d")
    folder = pipe:read "l"
    pipe:close()
  end)
  teardown(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("has no invalid access, no memory lost and no descriptor left (F2, F16, F19)", function()
    if not os.execute "command -v valgrind >/dev/null" or program.sanitized or program.foreign then
      return pending "no valgrind for this interpreter, or a sanitizer instead"
    end
    local path = folder .. "/script.lua"
    local file = assert(io.open(path, "w"))
    file:write(script)
    file:close()
    -- valgrind has descriptors of its own, and looks after those of the script itself
    local pipe = assert(io.popen(
      ("timeout 60 env -u LUA_INIT_5_4 valgrind -q --error-exitcode=9 --track-fds=yes --leak-check=full "
        .. "--errors-for-leak-kinds=definite '%s' '%s' 2>&1; echo status $?"):format(arg[-1] or "lua5.4", path)))
    local output = pipe:read "a"
    pipe:close()
    assert.matches("done\n", output)
    assert.matches("status 0\n", output)
    -- what it inherited is none of its business
    for open, inherited in output:gmatch "Open (AF_[^\n]*)\n([^\n]*)" do
      assert.matches("inherited", inherited, nil, nil, open)
    end
  end)
end)
