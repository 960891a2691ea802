-- copas_server.lua PORT echo|sink: the same server on Copas and LuaSocket. It waits with select, for fewer than 1,024
-- descriptors. Debian has no Copas for 5.4; that of 5.2 is the same file.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua"
local socket = require "socket"
local copas = require "copas"

local sink = arg[2] == "sink"
local receive = copas.receivePartial or copas.receivepartial

local function serve(client)
  client:setoption("tcp-nodelay", true)
  while true do
    local data, err, part = receive(client, 65536)
    data = data or part
    if not data or data == "" or (not sink and not copas.send(client, data)) or err == "closed" then
      break
    end
  end
  client:close()
end

copas.autoclose = true
local server = assert(socket.tcp())
server:setoption("reuseaddr", true)
assert(server:bind("127.0.0.1", tonumber(arg[1])))
assert(server:listen(1024))
copas.addserver(server, serve)
local _, port = server:getsockname()
print(("listening on 127.0.0.1:%d"):format(port))
io.stdout:flush()
copas.loop()
