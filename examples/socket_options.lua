-- What the kernel knows about a connection: dials, with options by name, and prints those that the socket has now,
-- then the state and statistics of the connection.
-- Run:  ./dev lua examples/socket_options.lua HOST PORT [OPTION=VALUE...]      as in  nodelay=true ttl=9
local tcpnet = require "tcpnet"

local host, port, options = arg[1], math.tointeger(tonumber(arg[2])), { timeout = 10 }
for i = 3, #arg do
  local name, value = arg[i]:match "^([%w_]+)=(.*)$"
  if value == "true" or value == "false" then value = value == "true" end
  if name then options[name] = tonumber(value) or value else port = nil end
end
if not port then
  io.stderr:write "usage: socket_options.lua HOST PORT [OPTION=VALUE...]\n"
  os.exit(1)
end

local function print_sorted(title, values)
  local names = {}
  for name, value in pairs(values) do
    if type(value) ~= "table" then names[#names + 1] = name end
  end
  table.sort(names)
  print(title)
  for _, name in ipairs(names) do
    print(("  %-26s %s"):format(name, values[name]))
  end
end

-- An option that there is not, or a wrong value, is a misuse of connect: it raises.
local called, stream, err = pcall(tcpnet.TcpStream.connect, host, port, options)
if not (called and stream) then
  io.stderr:write(tostring(called and err or stream), "\n")
  os.exit(1)
end

local connection <close> = stream
print(connection)
print_sorted("options", assert(connection:options()))
local info, missing = connection:tcp_info()
if info then
  print_sorted("tcp_info", info)
else
  print("no tcp_info: " .. missing) -- ENOTSUP: not on this system
end
