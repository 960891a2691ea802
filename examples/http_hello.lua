-- An HTTP/1.1 server that says hello: keep-alive, pipelining, HEAD, bodies skipped, 400 for what is no HTTP.
-- Run:  ./dev lua examples/http_hello.lua [PORT]      Try:  curl -i http://127.0.0.1:PORT/
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local RESPONSE = "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
local BODY = "Hello, world!\n"

-- The headers by lower-case name, the version's defaults among them; nil where they are none or too many.
local function read_headers(stream, headers)
  for _ = 1, 100 do
    local line = stream:read_line(8192) or "an end or an error"
    if line == "" then return headers end
    local name, value = line:match "^([^%s:]+):%s*(.-)%s*$"
    if not name then return nil end
    headers[name:lower()] = value
  end
end

-- One request and its response. → may there be another one?
local function exchange(stream)
  local line, err = stream:read_line(8192)
  if not line and not (err and err.code == "LIMIT") then return false end
  local method, minor = (line or ""):match "^(%u+) %S+ HTTP/1%.([01])$"
  local headers = method and read_headers(stream, { connection = minor == "0" and "close" or "keep-alive" })
  local length = headers and math.tointeger(tonumber((headers["content-length"] or "0"):match "^%d+$"))
  if not length or headers["transfer-encoding"] then
    stream:write(RESPONSE:format("400 Bad Request", 0, "close", ""))
    return false
  end
  if headers.expect then stream:write "HTTP/1.1 100 Continue\r\n\r\n" end
  while length > 0 do
    local bytes = stream:read(math.min(length, 65536))
    if not bytes then return false end
    length = length - #bytes
  end
  local connection = headers.connection:lower() == "close" and "close" or "keep-alive"
  return stream:write(RESPONSE:format("200 OK", #BODY, connection, method == "HEAD" and "" or BODY))
    and connection == "keep-alive"
end

local function serve(stream)
  repeat until not exchange(stream:set_timeout(30))
  stream:finish(1)
end
local listener = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
listener:set_accept_options { nodelay = true }
print("listening on " .. tostring(listener:local_addr()))
for stream in listener:incoming() do tcpnet.spawn(serve, stream) end
