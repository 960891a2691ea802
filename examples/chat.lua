-- A chat: the first line of a connection is a name, every further one goes to all the others. Nobody waits
-- for a slow reader: who does not keep up is dropped.
-- Run:  ./dev lua examples/chat.lua [PORT]      Try:  nc 127.0.0.1 PORT, in several terminals
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local members = {} -- those who have a name, by stream

local function tell(stream, line)
  if stream:try_write(line) ~= #line then
    stream:close() -- which ends the wait for its next line
  end
end

local function announce(from, line)
  for stream in pairs(members) do
    if stream ~= from then
      tell(stream, line)
    end
  end
end

local function talk(accepted)
  local stream <close> = accepted
  tell(stream, "your name?\n")
  local name = stream:read_line(64)
  if not name or name == "" then
    return
  end
  members[stream] = name
  announce(stream, ("* %s joined\n"):format(name))
  local line = stream:read_line()
  while line do
    announce(stream, ("%s: %s\n"):format(name, line))
    line = stream:read_line()
  end
  members[stream] = nil
  announce(stream, ("* %s left\n"):format(name))
end

tcpnet.run(function()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
  print("listening on " .. tostring(listener:local_addr()))
  for stream in listener:incoming() do
    tcpnet.spawn(talk, stream)
  end
end)
