-- Objects of every class, for the script fuzzer: by the class's name, a function that makes some. What is made along
-- the way is kept as well.
local tcpnet = require "tcpnet"

local sync = tcpnet.sync
local makers = {}

local function tcp_pair()
  local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept())), listener
end

makers.TcpStream = tcp_pair
function makers.TcpListener() return tcpnet.TcpListener.bind "127.0.0.1:0" end
function makers.TcpSocket() return tcpnet.TcpSocket.new_v4() end
function makers.ReadHalf()
  local client, server = tcp_pair()
  client:write "for a half\n"
  return server:split()
end
makers.WriteHalf = makers.ReadHalf
function makers.OwnedReadHalf()
  local a, b = tcpnet.UnixStream.pair()
  a:write "for an owned half\n"
  local read_half, write_half = b:into_split()
  return read_half, write_half, a
end
makers.OwnedWriteHalf = makers.OwnedReadHalf
function makers.UnixStream() return tcpnet.UnixStream.pair() end
function makers.UnixListener() return tcpnet.UnixListener.bind "" end
function makers.UnixDatagram() return tcpnet.UnixDatagram.pair() end
function makers.UnixSocket(choices)
  return choices:once_in(2) and tcpnet.UnixSocket.new_stream() or tcpnet.UnixSocket.new_datagram()
end
function makers.UdpSocket()
  local a, b = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"), assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
  a:connect(b:local_addr())
  a:send "a datagram"
  return a, b
end
function makers.Socket(choices)
  if choices:once_in(2) then
    return tcpnet.Socket.pair("unix", choices:pick { "stream", "dgram", "seqpacket" })
  end
  return tcpnet.Socket.new(choices:pick { "inet", "inet6" }, choices:pick { "stream", "dgram" })
end
function makers.Message()
  local a, b = assert(tcpnet.Socket.pair("unix", "dgram"))
  a:sendmsg { data = "m", control = { { type = "fds", fds = { a } } } }
  return b:recvmsg(), a, b
end
function makers.PipeSender() return tcpnet.pipe() end
makers.PipeReceiver = makers.PipeSender
function makers.Poll() return tcpnet.Poll.new() end
function makers.Registry() return tcpnet.Poll.new():registry() end
function makers.Events() return tcpnet.Events.new(4) end
function makers.Waker() return tcpnet.Waker.new(tcpnet.Poll.new():registry(), 7) end
function makers.Event()
  local poll, events = tcpnet.Poll.new(), tcpnet.Events.new(4)
  local waker = assert(tcpnet.Waker.new(poll:registry(), 7))
  waker:wake()
  poll:poll(events, 1)
  return events:iter()(), poll, events, waker
end
function makers.SourceFd(choices) return tcpnet.SourceFd.new(choices:pick { -1 & 0xffff, 9999 }) end
function makers.Interest() return tcpnet.Interest.READABLE end
function makers.Ready()
  local a, b = tcpnet.UnixStream.pair()
  return a:ready "w", a, b
end
function makers.Signal(choices) return tcpnet.signal(choices:pick { "SIGUSR1", "SIGUSR2", "SIGWINCH" }) end
function makers.Child(choices)
  return tcpnet.process.spawn {
    choices:pick { "true", "cat" }, stdin = choices:pick { "pipe", "null" }, stdout = "pipe", stderr = "null",
  }
end
function makers.Worker()
  return assert(tcpnet.workers(1, function(parent)
    for value in parent:messages() do
      parent:send(value)
    end
  end))[1]
end
function makers.Buffer() return tcpnet.Buffer.new(100):append "in a Buffer" end
function makers.SocketAddr() return tcpnet.SocketAddr.new("127.0.0.1", 1) end
function makers.Error() return select(2, tcpnet.SocketAddr.parse "nonsense") end
function makers.Task() return tcpnet.spawn(tcpnet.sleep, 0.001) end
function makers.JoinSet()
  local set = tcpnet.JoinSet.new()
  return set, (set:spawn(tcpnet.sleep, 0.001))
end
function makers.Interval() return tcpnet.interval(0.001) end
function makers.Scope()
  local made
  local task = tcpnet.spawn(tcpnet.scope, function(scope)
    made = scope
    tcpnet.sleep(0.002)
  end)
  pcall(tcpnet.sleep, 0)
  if not made then -- where nothing can wait
    task:cancel()
    return task
  end
  return made, task
end
function makers.DuplexStream(choices) return tcpnet.duplex(choices:pick { 1, 10, 5000 }) end
function makers.DuplexReadHalf() return (tcpnet.duplex(10)):split() end
makers.DuplexWriteHalf = makers.DuplexReadHalf
function makers.Take(choices)
  local a, b = tcpnet.duplex(100)
  a:write "to be taken\n"
  return tcpnet.io.take(b, choices:integer(0, 20)), a
end
function makers.Chain()
  local a, b = tcpnet.duplex(100)
  return tcpnet.io.chain(b, a), a
end
function makers.Codec(choices)
  return choices:pick {
    tcpnet.codec.lines { max_length = 5 }, tcpnet.codec.any_delimiter(), tcpnet.codec.length_delimited(),
    tcpnet.codec.bytes(),
  }
end
function makers.FramedRead(choices)
  local a, b = tcpnet.duplex(100)
  a:write "a\nframe, or two,"
  return makers.Codec(choices):framed_read(b), a
end
function makers.FramedWrite(choices)
  local a, b = tcpnet.duplex(10)
  return makers.Codec(choices):framed_write(a), b
end
function makers.Sender(choices) return sync.channel(choices:pick { 1, 3 }) end
makers.Receiver = makers.Sender
function makers.ChannelPermit()
  local sender, receiver = sync.channel(1)
  return sender:reserve(), sender, receiver
end
function makers.OneshotSender() return sync.oneshot() end
makers.OneshotReceiver = makers.OneshotSender
function makers.BroadcastSender()
  local sender = sync.broadcast(2)
  return sender, sender:subscribe()
end
makers.BroadcastReceiver = makers.BroadcastSender
function makers.WatchSender() return sync.watch(1) end
makers.WatchReceiver = makers.WatchSender
function makers.Notify() return sync.Notify.new() end
function makers.Semaphore() return sync.Semaphore.new(2) end
function makers.Permit()
  local semaphore = sync.Semaphore.new(2)
  return semaphore:acquire(), semaphore
end
function makers.Mutex() return sync.Mutex.new() end
function makers.MutexGuard()
  local mutex = sync.Mutex.new()
  return mutex:lock(), mutex
end
function makers.Barrier() return sync.Barrier.new(2) end
function makers.CancellationToken() return sync.CancellationToken.new() end
function makers.DropGuard() return sync.CancellationToken.new():drop_guard() end

return makers
