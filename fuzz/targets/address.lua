-- Texts and bytes of addresses, against a parser that is written differently: what is taken comes back as it was.
local SocketAddr = require "tcpnet".SocketAddr

-- "192.0.2.1" → its four bytes, or nil
local function v4(text)
  local bytes = {}
  for part in (text .. "."):gmatch "([^.]*)%." do
    local value = part:find "^%d%d?%d?$" and tonumber(part)
    if not value or value > 255 or tostring(math.tointeger(value)) ~= part then
      return nil
    end
    bytes[#bytes + 1] = string.char(math.tointeger(value))
  end
  return #bytes == 4 and table.concat(bytes) or nil
end

-- Groups of hexadecimal digits, the last ones perhaps a v4 address → their bytes, or nil
local function groups(text, may_end_in_v4)
  if text == "" then
    return ""
  end
  local bytes = {}
  local parts = {}
  for part in (text .. ":"):gmatch "([^:]*):" do
    parts[#parts + 1] = part
  end
  for i, part in ipairs(parts) do
    if part:find "^%x%x?%x?%x?$" then
      bytes[i] = (">I2"):pack(tonumber(part, 16))
    else
      bytes[i] = i == #parts and may_end_in_v4 and v4(part)
      if not bytes[i] then
        return nil
      end
    end
  end
  return table.concat(bytes)
end

-- "2001:db8::1" → its sixteen bytes, or nil
local function v6(text)
  local before, after = text:match "^(.-)::(.*)$"
  if not before then
    local bytes = groups(text, true)
    return bytes and #bytes == 16 and bytes or nil
  end
  before, after = groups(before, false), groups(after, true)
  if not before or not after or #before + #after > 14 then
    return nil
  end
  return before .. ("\0"):rep(16 - #before - #after) .. after
end

-- "fe80::1%lo" → bytes, scope; nil: no address; true: the interface may be there or not
local function scoped(text)
  local ip, zone = text:match "^([^%%]*)%%(.*)$"
  if not ip then
    return v6(text), 0
  end
  local bytes = v6(ip)
  if not bytes then
    return nil
  elseif zone:find "^%d+$" then
    local scope = #zone < 18 and tonumber(zone) or 0
    return scope > 0 and scope <= 0xffffffff and bytes or nil, scope
  elseif zone == "lo" then
    return bytes, 1
  elseif zone == "" or #zone > 15 or zone:find "%z" then
    return nil
  end
  return true
end

local function model(text)
  if text:find("\0", 1, true) then
    return nil
  end
  if text:find(":", 1, true) then
    return scoped(text)
  end
  return v4(text), 0
end

-- What the text of an address with a port says: ip, port, or nil
local function split(text)
  local ip, port = text:match "^%[([^]]*:[^]]*)%]:(%d+)$"
  if not ip then
    ip, port = text:match "^([^:%[][^:]*):(%d+)$"
  end
  if ip and #port <= 5 and tonumber(port) <= 65535 then
    return ip, math.tointeger(tonumber(port))
  end
end

local function is_refused(text, addr, err)
  assert(addr == nil and err.code == "EINVAL" and err.address == text and #err.message > 0, "a refusal says why")
end

local function is_same(a, b)
  assert(a == b and not (a < b) and not (b < a) and a <= b and a:bytes() == b:bytes(), "it became another address")
end

-- The address, however made, is what the model says, and its text leads back to it.
local function check(addr, bytes, scope, port)
  assert(addr:port() == port, "another port")
  if bytes ~= true then
    local raw = addr:bytes()
    assert(raw:sub(#bytes == 4 and 5 or 9, #bytes == 4 and 8 or 24) == bytes, "other bytes")
    assert(addr:scope_id() == scope and addr:is_ipv4() == (#bytes == 4) and addr:is_ipv6() == (#bytes == 16))
  end
  is_same(addr, assert(SocketAddr.new(addr:ip(), port)))
  is_same(addr, assert(SocketAddr.parse(tostring(addr))))
  is_same(addr, SocketAddr.from_bytes(addr:bytes()))
end

local function check_ip(text)
  local bytes, scope = model(text)
  local addr, err = SocketAddr.new(text, 8080)
  if bytes == true and not addr or not bytes then
    return is_refused(text, addr, err)
  end
  check(assert(addr, err), bytes, scope, 8080)
end

local function check_parse(text)
  local ip, port = split(text)
  local bytes, scope
  if ip then
    bytes, scope = model(ip)
  end
  local addr, err = SocketAddr.parse(text)
  if bytes == true and not addr or not bytes then
    return is_refused(text, addr, err)
  end
  check(assert(addr, err), bytes, scope, port)
end

local PATH = 108 -- Linux

local function check_path(text)
  local addr, err = SocketAddr.unix(text)
  local room = text:sub(1, 1) == "@" and PATH or PATH - 1
  if text:find("\0", 1, true) or #text > room then
    return is_refused(text, addr, err)
  end
  assert(addr:is_unix() and addr:path() == (text ~= "" and text or nil) and addr:is_unnamed() == (text == ""))
  assert(tostring(addr) == (text == "" and "(unnamed)" or text), "another text")
  is_same(addr, SocketAddr.from_bytes(addr:bytes()))
end

local questions = {
  "ip", "port", "family", "scope_id", "flowinfo", "path", "cid", "interface", "protocol", "hardware",
  "is_unix", "is_unnamed", "is_ipv4", "is_ipv6", "is_loopback", "is_unspecified", "is_multicast",
}

-- Whatever the system might say.
local function check_bytes(text)
  if #text < 2 or #text > 128 then
    assert(not pcall(SocketAddr.from_bytes, text))
    return
  end
  local addr = SocketAddr.from_bytes(text)
  assert(addr:bytes() == text, "other bytes")
  is_same(addr, SocketAddr.from_bytes(text))
  for _, question in ipairs(questions) do
    addr[question](addr)
  end
  assert(#tostring(addr) > 0)
  local other = SocketAddr.from_bytes(text:reverse())
  local less, more, equal = addr < other, other < addr, addr == other
  assert((less and 1 or 0) + (more and 1 or 0) + (equal and 1 or 0) == 1, "no order")
  if addr:is_ipv4() and #text >= 16 or addr:is_ipv6() and #text >= 28 then
    assert(SocketAddr.parse(tostring(addr)) == addr, "its text is another address")
  end
end

return function(text)
  check_ip(text)
  check_parse(text)
  check_path(text)
  check_bytes(text)
end
