-- An HTTP server on every core: a thread for each, all of them listening on one port (SO_REUSEPORT), so that the kernel
-- shares the connections out. SIGINT or SIGTERM ends it; then each says how many requests it has served.
-- Run:  ./dev lua examples/all_cores.lua [PORT] [THREADS]      Try:  curl http://127.0.0.1:PORT/
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local function serve(parent, address)
  local listener <close> = assert(tcpnet.TcpListener.bind(address, { reuseport = true, nodelay = true }))
  local body = ("hello from thread %d\n"):format(parent:index())
  local response = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)
  local served = 0

  local function answer(accepted)
    local stream <close> = accepted
    while stream:read_until("\r\n\r\n", 8192) and stream:write(response) do
      served = served + 1
    end
  end

  parent:send(listener:local_addr())
  tcpnet.spawn(function()
    for stream in listener:incoming() do
      tcpnet.spawn(answer, stream)
    end
  end)
  parent:recv() -- until the parent finishes
  return served
end

tcpnet.run(function()
  local threads = tonumber(arg[2]) or tcpnet.available_parallelism()
  local signals = { tcpnet.signal "SIGINT", tcpnet.signal "SIGTERM" }
  -- Of port 0 the first socket makes a number, which it keeps while the others come.
  local first <close> = tcpnet.TcpSocket.new_v4():set_reuseport(true)
  assert(first:bind("127.0.0.1", tonumber(arg[1] or 0)))
  local workers <close> = assert(tcpnet.workers(threads, serve, first:local_addr()))
  for i = 1, threads do
    assert(workers[i]:recv(), "a thread did not start")
  end
  print("listening on " .. tostring(first:local_addr()))
  tcpnet.select { function() signals[1]:recv() end, function() signals[2]:recv() end }
  for i = 1, threads do
    workers[i]:finish()
    print(("thread %d served %d requests"):format(i, select(2, workers[i]:join())))
  end
end)
