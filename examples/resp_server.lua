-- A small Redis that speaks RESP2. The replies to commands that came together go out together.
-- Run:  ./dev lua examples/resp_server.lua [PORT]     Try:  redis-benchmark -p PORT -t set,get,incr -P 16
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"

local store, commands = {}, {} -- a command takes as many arguments as its function
local function bulk(text) return text and ("$%d\r\n%s\r\n"):format(#text, text) or "$-1\r\n" end
function commands.PING() return "+PONG\r\n" end
function commands.ECHO(text) return bulk(text) end
function commands.SET(key, value) store[key] = value return "+OK\r\n" end
function commands.GET(key) return bulk(store[key]) end
function commands.DEL(key) key, store[key] = store[key], nil return key and ":1\r\n" or ":0\r\n" end
function commands.COMMAND(_) return "*0\r\n" end -- redis-cli sends COMMAND DOCS, redis-benchmark CONFIG GET
function commands.CONFIG(_, name) return "*2\r\n" .. bulk(name) .. bulk "" end
function commands.INCR(key)
  local n = math.tointeger(tonumber((store[key] or "0"):match "^-?%d+$"))
  if not n or n == math.maxinteger then return "-ERR value is not an integer or out of range\r\n" end
  store[key] = tostring(n + 1)
  return (":%d\r\n"):format(n + 1)
end
local function execute(words)
  local command = commands[words[1]:upper()]
  local fits = command and debug.getinfo(command, "u").nparams == #words - 1
  return fits and command(table.unpack(words, 2)) or "-ERR unknown command or wrong number of arguments\r\n"
end
-- The next command: an array of bulk strings, or the words of a line. Nil at the end and where it is neither.
local function read_command(stream)
  local line, words = stream:read_line() or "*1", {}
  if line:sub(1, 1) ~= "*" then line:gsub("%S+", function(word) words[#words + 1] = word end) end
  for i = 1, tonumber(line:match "^%*(%d+)$") or 0 do
    local length = (stream:read_line() or ""):match "^%$(%d+)$"
    words[i] = length and #length < 10 and stream:read_exact(tonumber(length) + 2)
    if not words[i] then return nil end
    words[i] = words[i]:sub(1, -3)
  end
  return words
end
local function serve(stream)
  local replies = {}
  for words in read_command, stream do
    replies[#replies + 1] = words[1] and execute(words) -- an empty line is nothing
    if stream:buffered() == 0 then stream:write(table.concat(replies)) replies = {} end
  end
  stream:write(table.concat(replies))
  stream:finish(1)
end
local listener = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
print("listening on " .. tostring(listener:set_accept_options { nodelay = true }:local_addr()))
for stream in listener:incoming() do tcpnet.spawn(serve, stream) end
