-- A name server for a small table: answers A and AAAA queries over UDP and TCP, NXDOMAIN for other names.
-- Run:  ./dev lua examples/dns_responder.lua [PORT] [NAME=ADDRESS]...     Try:  dig @127.0.0.1 -p PORT here.test AAAA
local tcpnet = require "tcpnet"
io.stdout:setvbuf "line"
local records = {} -- name → list of {type, bytes}; type 1 is A, 28 is AAAA
for _, entry in ipairs(arg[2] and { table.unpack(arg, 2) } or { "here.test=127.0.0.1", "here.test=::1" }) do
  local name, ip = entry:lower():match "^([^=]+)=(%S+)$"
  local addr = assert(name and tcpnet.SocketAddr.new(ip, 0), "usage: dns_responder.lua [PORT] [NAME=ADDRESS]...")
  local zeros = ("0:"):rep(8 - select(2, ip:gsub("%x+", "")))
  local bytes = addr:is_ipv4() and ip:gsub("(%d+)%.?", string.char)
    or ip:gsub("::", ":" .. zeros):gsub(":*(%x+):*", function(part) return (">I2"):pack(tonumber(part, 16)) end)
  records[name] = records[name] or {}
  table.insert(records[name], { addr:is_ipv4() and 1 or 28, bytes })
end

-- The answer to the bytes of a query; nil for what is none.
local function answer(query)
  if #query < 12 or query:byte(3) >= 128 then return nil end
  local id, flags, questions = (">I2I2I2"):unpack(query)
  if flags & 0x7800 ~= 0 then return (">I2I2I8"):pack(id, 0x8004 | flags & 0x7900, 0) end -- not implemented
  local labels, at, answers = {}, 13, {}
  while (query:byte(at) or 0) > 0 do
    labels[#labels + 1], at = query:sub(at + 1, at + query:byte(at)):lower(), at + query:byte(at) + 1
  end
  if questions ~= 1 or #query < at + 4 then return (">I2I2I8"):pack(id, 0x8001 | flags & 0x100, 0) end -- no question
  local found, kind = records[table.concat(labels, ".")], (">I2"):unpack(query, at + 1)
  for _, record in ipairs(found or {}) do
    if record[1] == kind then answers[#answers + 1] = (">I2I2I2I4s2"):pack(0xC00C, kind, 1, 60, record[2]) end
  end
  return (">I2I2I2I2I4"):pack(id, 0x8400 | flags & 0x100 | (found and 0 or 3), 1, #answers, 0)
    .. query:sub(13, at + 4) .. table.concat(answers)
end
local function serve(stream)
  local _stream <close> = stream:set_timeout(10)
  repeat
    local size = stream:read_exact(2)
    local query = size and stream:read_exact((">I2"):unpack(size))
    local reply = query and answer(query)
  until not (reply and stream:write((">s2"):pack(reply)))
end
local listener = assert(tcpnet.TcpListener.bind("127.0.0.1", tonumber(arg[1] or 0)))
local udp = assert(tcpnet.UdpSocket.bind(listener:local_addr()))
print("listening on " .. tostring(udp:local_addr()))
tcpnet.spawn(function() for stream in listener:incoming() do tcpnet.spawn(serve, stream) end end)
while true do
  local query, from = assert(udp:recv_from())
  local reply = answer(query)
  if reply then udp:send_to(reply, from) end
end
