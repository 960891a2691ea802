-- A rig for tests: starts a redis-server of its own on a port that was free, waits until it answers, talks to it and
-- ends it, whatever happens meanwhile.
-- Run:  ./dev lua examples/rig_redis.lua
local tcpnet = require "tcpnet"

-- Redis cannot say which port it chose, so it is given one that nobody has just now.
local function free_port()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
  return listener:local_addr():port()
end

-- A stream to a server that may need a moment, for as long as its process lives.
local function connect(child, port)
  while true do
    local stream, err = tcpnet.TcpStream.connect("127.0.0.1", port, { timeout = 1 })
    if stream then return stream:set_timeout(5) end
    local ended = child:wait(0.02)
    if ended then
      error(("redis-server ended with %s:\n%s"):format(ended.code or ended.signal, child.stdout:read_to_end()))
    end
    assert(err:is("ECONNREFUSED", "TIMEOUT"), err)
  end
end

local function ask(stream, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = ("$%d\r\n%s\r\n"):format(#word, word) end
  assert(stream:write("*", #words, "\r\n", table.unpack(words)))
  local kind, rest = assert(stream:read_line()):match "^(.)(.*)$"
  return kind == "$" and stream:read_exact(tonumber(rest) + 2):sub(1, -3) or rest
end

tcpnet.run(function()
  local port = free_port()
  local child <close> = assert(tcpnet.process.spawn {
    "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", "/",
    stdin = "null", stdout = "pipe", stderr = "null",
  })
  tcpnet.timeout(10, function()
    local stream <close> = connect(child, port)
    print(ask(stream, "PING"), ask(stream, "SET", "key", "a value"), ask(stream, "GET", "key"))
    child:kill "SIGTERM"
    print("redis-server ended with " .. child:wait().code)
  end)
end)
