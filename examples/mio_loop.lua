-- An echo server as mio would have it: one loop over a Poll, no tasks. Nothing waits but `poll`, and an event only
-- says that it is worth trying: whoever gets one goes on until EAGAIN, for the same news does not come twice.
-- Run:  ./dev lua examples/mio_loop.lua [PORT]      Try:  nc 127.0.0.1 PORT
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local LISTENER <const>, connections, last, retry = 0, {}, 0, nil -- connections by token
local poll, events = assert(tcpnet.Poll.new()), tcpnet.Events.new(256)
local registry = assert(poll:registry())
local listener = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
assert(registry:register(listener, LISTENER, "r"))
print("listening on " .. tostring(listener:local_addr()))

-- → nil, or how many seconds later to try again: that there are descriptors again is no event.
local function accept_all()
  local stream, err = listener:try_accept()
  while stream do
    last = last + 1
    connections[last] = { stream = stream, pending = "" }
    assert(registry:register(stream, last, "rw"))
    stream, err = listener:try_accept()
  end
  return err.code ~= "EAGAIN" and 0.1 or nil
end

-- Reads once all that was read before is written → may there be more to do after another event?
local function echo(connection)
  while true do
    if connection.pending == "" then
      local bytes, err = connection.stream:try_read()
      if not bytes then return tcpnet.is_error(err, "EAGAIN") end
      connection.pending = bytes
    end
    local count, err = connection.stream:try_write(connection.pending)
    if not count then return err.code == "EAGAIN" end
    connection.pending = connection.pending:sub(count + 1)
  end
end

while assert(poll:poll(events, retry)) do
  for event in events:iter() do
    local connection = connections[event:token()]
    if connection and not echo(connection) then
      connection.stream:close() -- it leaves the Poll by that
      connections[event:token()] = nil
    end
  end
  retry = accept_all() -- after any event: it costs one system call
end
