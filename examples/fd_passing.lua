-- A parent accepts TCP connections and hands each to a worker as a descriptor, over a Unix socket.
-- Run:  ./dev lua examples/fd_passing.lua [PORT [PATH]]      Try:  echo hello | nc -N 127.0.0.1 PORT
-- With a PATH the worker is a process of its own that connects there; without one it is a second task of this one.
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local function echo(stream)
  local client <close> = stream
  for line in client:lines() do
    client:write("worker: ", line, "\n")
  end
end

-- Takes one connection after the other until the parent is gone.
local function work(parent)
  local channel <close> = parent
  while true do
    local fd, err = channel:recv_fd()
    if not fd then
      return err and print("worker: " .. err) or print "worker: the parent is gone"
    end
    tcpnet.spawn(echo, assert(tcpnet.TcpStream.from_fd(fd)))
  end
end

local function accept(worker, port)
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", port))
  print("listening on " .. tostring(listener:local_addr()))
  for stream, from in listener:incoming() do
    assert(worker:send_fd(stream))
    stream:close() -- the worker has its own copy now
    print("handed over " .. tostring(from))
  end
end

local first, path = arg[1], arg[2]
if first == "worker" then
  work(assert(tcpnet.UnixStream.connect(path)))
elseif path then
  local workers <close> = assert(tcpnet.UnixListener.bind(path, { unlink = true }))
  print("waiting for: ./dev lua examples/fd_passing.lua worker " .. path)
  accept(assert(workers:accept()), tonumber(first))
else
  local ours, theirs = tcpnet.UnixStream.pair()
  tcpnet.spawn(work, theirs)
  accept(ours, tonumber(first or 0))
end
