-- Control data: what the system might say, taken apart beside a second reading of it; what was taken apart goes back.
local fuzz = fuzz
local HEAD, ALIGN = 16, 8 -- struct cmsghdr where size_t has 64 bits

-- The messages in it: list of { level, number, data }.
local function walk(bytes)
  local entries, at = {}, 1
  while at + HEAD - 1 <= #bytes do
    local length, level, number = ("=I8i4i4"):unpack(bytes, at)
    if math.ult(length, HEAD) then
      break
    end
    local data = bytes:sub(at + HEAD, math.ult(#bytes, length) and #bytes or at + length - 1)
    entries[#entries + 1] = { level = level, number = number, data = data }
    at = at + HEAD + (#data + ALIGN - 1) // ALIGN * ALIGN
  end
  return entries
end

local INTEGERS = { "=I1", "=I2", [4] = "=I4" }

local function integer(data)
  return (INTEGERS[#data] or "=i8"):unpack(data .. ("\0"):rep(8))
end

local function fds(data)
  local list = {}
  for at = 1, #data - 3, 4 do
    list[#list + 1] = ("=i4"):unpack(data, at)
  end
  return list
end

local function same_list(a, b)
  assert(#a == #b, "another number of them")
  for i = 1, #a do
    assert(a[i] == b[i], "another one")
  end
end

local SENDABLE = { mark = true, tos = true, ttl = true, tclass = true, hoplimit = true, segment_size = true }

-- What has a value that can be sent comes back with the same.
local function round_trip(message)
  local most = message.type == "segment_size" and 0xffff or message.type == "mark" and 0xffffffff or 0x7fffffff
  if message.value < 0 or message.value > most then
    assert(not pcall(fuzz.encode_control, { message }), "out of range, and taken")
    return
  end
  local again = fuzz.decode_control(assert(fuzz.encode_control { message }))
  assert(#again == 1 and again[1].type == message.type and again[1].value == message.value, "another value")
end

local function check(message, entry)
  local data = entry.data
  if message.type == "raw" then
    assert(message.level == entry.level and message.number == entry.number and message.data == data)
  elseif message.type == "fds" then
    same_list(message.fds, fds(data))
  elseif message.type == "credentials" then
    local pid, uid, gid = ("=i4I4I4"):unpack(data .. ("\0"):rep(12))
    assert(message.pid == pid and message.uid == uid and message.gid == gid)
  elseif message.type == "timestamp" then
    assert(math.type(message.value) == "integer")
  elseif SENDABLE[message.type] then
    assert(message.value == integer(data), "another value")
    round_trip(message)
  elseif message.value then
    assert(message.value == integer(data), "another value")
  elseif message.type == "error" then
    local errno = ("=I4"):unpack(data .. ("\0"):rep(4))
    assert(message.errno == errno and type(message.code) == "string")
  end
end

return function(bytes)
  bytes = bytes:sub(1, 8192)
  local messages, entries = fuzz.decode_control(bytes), walk(bytes)
  assert(#messages == #entries, "another number of messages")
  local raw, size = {}, 0
  for i, entry in ipairs(entries) do
    check(messages[i], entry)
    raw[i] = { type = "raw", level = entry.level, number = entry.number, data = entry.data }
    size = size + HEAD + (#entry.data + ALIGN - 1) // ALIGN * ALIGN
  end
  if size > 8192 then
    assert(not pcall(fuzz.encode_control, raw), "too long, and taken")
    return
  end
  local again = walk(assert(fuzz.encode_control(raw)))
  assert(#again == #entries, "messages were lost")
  for i, entry in ipairs(entries) do
    local other = again[i]
    assert(other.level == entry.level and other.number == entry.number and other.data == entry.data, "another message")
  end
end
