-- The server that hostile peers meet (support/hostile.lua): lines in, answers out, and what it costs.
--   server.lua [SECONDS]: how long one call may take; 10 unless told.
-- echo TEXT → TEXT; give N → N million bytes; take N → a read of exactly N bytes, then their count; state → its memory
-- in KiB, CPU seconds, polls, connections, times without a descriptor.
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local seconds = tonumber(arg[1] or 10)
local LINE = 4096
local block = ("0123456789abcdef"):rep(62500) -- a million bytes
local connections, exhausted = 0, 0

local statm = assert(io.open "/proc/self/statm") -- open all the time, for descriptors may run out
statm:setvbuf "no"

local function resident()
  statm:seek "set"
  return tonumber(statm:read("a"):match "^%d+ (%d+)") * 4
end

local commands = {}

function commands.echo(stream, text)
  return stream:write(text, "\n")
end

function commands.give(stream, number)
  for _ = 1, tonumber(number) do
    local ok, err = stream:write(block)
    if not ok then
      return nil, err
    end
  end
  return true
end

function commands.take(stream, number)
  local bytes, err = stream:read_exact(math.tointeger(tonumber(number)))
  if not bytes then
    return nil, err
  end
  return stream:write(#bytes, "\n")
end

function commands.state(stream)
  return stream:write(("%d %.3f %d %d %d\n"):format(resident(), os.clock(), tcpnet.metrics().polls, connections,
    exhausted))
end

local function serve(accepted)
  local stream <close> = accepted:set_timeout(seconds)
  connections = connections + 1
  local _count <close> = setmetatable({}, { __close = function() connections = connections - 1 end })
  for line in function() return (stream:read_line(LINE)) end do
    local name, rest = line:match "^(%l+) ?(.*)$"
    if not commands[name] or not commands[name](stream, rest) then
      break
    end
  end
end

local listener = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { backlog = 4096 }))
listener:set_accept_options { nodelay = true }
print("listening on " .. tostring(listener:local_addr()))
tcpnet.run(function()
  while true do
    local stream, err = listener:accept()
    if stream then
      tcpnet.spawn(serve, stream)
    else
      assert(err:is("EMFILE", "ENFILE"), err)
      exhausted = exhausted + 1
    end
  end
end)
