-- luv.lua PORT: the same server on lua-luv, callbacks, try_write first.
local uv = require "luv"

local function serve(client)
  local on_read

  local function resume_reading(err)
    if not err and not client:is_closing() then
      client:read_start(on_read)
    end
  end

  function on_read(err, data)
    if err or not data then
      if not client:is_closing() then
        client:close()
      end
      return
    end
    local sent = client:try_write(data) or 0
    if sent < #data then
      client:read_stop()
      client:write(data:sub(sent + 1), resume_reading)
    end
  end

  client:read_start(on_read)
end

-- Neither luv nor libuv ignores it.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", tonumber(arg[1] or 0)))
assert(server:listen(1024, function(err)
  if not err then
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    serve(client)
  end
end))
print("listening on 127.0.0.1:" .. server:getsockname().port)
io.stdout:flush()
uv.run()
