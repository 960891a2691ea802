-- cqueues_server.lua PORT echo|sink|lines: the same server on cqueues, a coroutine for each connection.
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local kind = arg[2]

local function serve(client)
  client:setmode("bn", "bn")
  client:onerror(function(_, _, err)
    return err
  end)
  while true do
    local data = client:read(-65536)
    if not data or kind == "echo" and not client:write(data) then
      break
    end
  end
  client:close()
end

local function count_lines(client)
  client:setmode("tf", "bn")
  client:onerror(function(_, _, err)
    return err
  end)
  while client:read "*l" do -- luacheck: ignore 542
  end
  client:close()
end

local server = assert(socket.listen { host = "127.0.0.1", port = tonumber(arg[1]) })
assert(server:listen())
local _, _, port = server:localname()
print("listening on 127.0.0.1:" .. port)
io.stdout:flush()

local queue = cqueues.new()
queue:wrap(function()
  while true do
    local client = server:accept { nodelay = true }
    if client then
      queue:wrap(kind == "lines" and count_lines or serve, client)
    end
  end
end)
assert(queue:loop())
