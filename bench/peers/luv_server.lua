-- luv_server.lua PORT echo|sink write|try|coroutine: the same server on lua-luv. With callbacks: write, or try_write
-- first; or with a coroutine for each connection, on a layer that reads and writes by waiting.
local uv = require "luv"

local sink, style = arg[2] == "sink", arg[3]

local function close(client)
  if not client:is_closing() then
    client:close()
  end
end

local function serve(client)
  local paused = false
  local on_read

  local function on_written(err)
    if paused and not err and not client:is_closing() and client:write_queue_size() == 0 then
      paused = false
      client:read_start(on_read)
    end
  end

  function on_read(err, data)
    if err or not data then
      close(client)
      return
    end
    if sink then
      return
    end
    if style == "try" then
      local sent = client:try_write(data) or 0
      if sent == #data then
        return
      end
      data = data:sub(sent + 1)
    end
    client:write(data, on_written)
    if not paused and client:write_queue_size() > 0 then
      paused = true
      client:read_stop()
    end
  end

  client:read_start(on_read)
end

local function serve_in_coroutine(client)
  local stream = require("luv_stream").new(client)
  coroutine.wrap(function()
    while true do
      local data = stream:read()
      if not data or (not sink and not stream:write(data)) then
        break
      end
    end
    close(client)
  end)()
end

-- Neither luv nor libuv ignores it.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path
local server = uv.new_tcp()
assert(server:bind("127.0.0.1", tonumber(arg[1])))
assert(server:listen(1024, function(err)
  if not err then
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    if style == "coroutine" then
      serve_in_coroutine(client)
    else
      serve(client)
    end
  end
end))
print("listening on 127.0.0.1:" .. server:getsockname().port)
io.stdout:flush()
uv.run()
