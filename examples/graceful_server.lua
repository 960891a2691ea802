-- Gives every line back in capitals until SIGTERM comes, or a client says "shutdown": one CancellationToken then ends
-- the accepting and the reading of every connection, each client is told, and the program ends once all have gone.
-- Run:  ./dev lua examples/graceful_server.lua [PORT]
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

-- Only reading is given up when the token is cancelled: an answer that has begun is written to its end.
local function serve(accepted, token)
  local stream <close> = accepted
  while true do
    local line, err = token:run_until_cancelled(stream.read_line, stream)
    if line == "shutdown" then
      token:cancel()
    elseif line then
      stream:write(line:upper(), "\n")
    else
      if tcpnet.is_error(err, "CANCELED") then stream:write "goodbye\n" end
      return stream:finish(1)
    end
  end
end

tcpnet.run(function()
  local token = tcpnet.sync.CancellationToken.new()
  local stop <close> = assert(tcpnet.signal "SIGTERM")
  tcpnet.spawn(function()
    if stop:recv() then token:cancel() end
  end)
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
  print("listening on " .. tostring(listener:local_addr()))
  tcpnet.scope(function(scope)
    while true do
      local stream, err = token:run_until_cancelled(listener.accept, listener)
      if stream then
        scope:spawn(serve, stream, token)
      elseif tcpnet.is_error(err, "CANCELED") then
        break
      end
    end
    listener:close()
    print "shutting down"
  end)
  print "everybody has gone"
end)
