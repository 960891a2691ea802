-- Streams with a model: whatever happens between, the bytes that come out are those that went in, in order. The log of
-- the writes says what went in: each write is of one letter, its neighbours are of others, so that the prefix which a
-- cancelled write sent can be told.
local tcpnet = require "tcpnet"

local streams = {}
local Stream = {}
Stream.__index = Stream

local function tcp_pair()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

local kinds = {
  tcp_pair,
  function() return tcpnet.UnixStream.pair() end,
  function() return tcpnet.pipe() end,
  function(choices) return tcpnet.duplex(choices:pick { 1, 100, 5000 }) end,
  function()
    local a, b = tcp_pair()
    local read_half, write_half = a:into_split()
    return write_half, b, read_half
  end,
}

-- new(choices) → a stream from `writer` to `reader`
function streams.new(choices)
  local writer, reader, rest = choices:pick(kinds)(choices)
  assert(writer, reader)
  return setmetatable({
    writer = writer, reader = reader, rest = rest, log = {}, received = {}, closed = false,
  }, Stream)
end

-- Notes a write that begins → its entry; `sent` is nil until it is known.
local function enter(self, data)
  local entry = { data = data, reported = false }
  self.log[#self.log + 1] = entry
  return entry
end

local function leave(entry, count, err, sent)
  entry.sent = count or sent or err and 0 or nil
end

local writes = {
  function(self, data, choices) -- in several pieces
    local cut = choices:integer(0, #data)
    local entry = enter(self, data)
    leave(entry, self.writer:write(data:sub(1, cut), data:sub(cut + 1)))
  end,
  function(self, data)
    local buffer = tcpnet.Buffer.new(#data):append(data)
    local entry = enter(self, data)
    local _left <close> = setmetatable({}, { __close = function() -- cancelled or not, the rest is in the Buffer
      entry.sent = #data - #buffer
    end })
    self.writer:write_from(buffer)
  end,
  function(self, data)
    local entry = enter(self, data)
    entry.sent = 0 -- cancelled it has sent nothing
    leave(entry, self.writer:write_some(data))
  end,
  function(self, data)
    local entry = enter(self, data)
    entry.sent = 0
    leave(entry, self.writer:write_vectored { data:sub(1, 1), data:sub(2) })
  end,
  function(self, data)
    local entry = enter(self, data)
    leave(entry, self.writer:try_write(data))
  end,
  function(self)
    self.writer:writable()
  end,
}

-- One write at a time: of several that give way it is not said which one's bytes go first.
function Stream:write(choices)
  if self.writing then
    return
  end
  self.writing = true
  local _over <close> = setmetatable({}, { __close = function() self.writing = false end })
  local letter = string.char(33 + #self.log % 90)
  local data = letter:rep(choices:pick { 1, 2, 5, 300, 5000, 100000 }) .. choices:pick { "", "\n" }
  choices:pick(writes)(self, data, choices)
end

function Stream:take(bytes)
  if type(bytes) == "string" then
    self.received[#self.received + 1] = bytes
  end
end

local function from_buffer(self, method, buffer, ...)
  local count = self.reader[method](self.reader, ...)
  if count then
    self:take(tostring(buffer))
  end
end

local reads = {
  function(self, choices) self:take(self.reader:read(choices:pick { 1, 10, 70000 })) end,
  function(self, choices) self:take(self.reader:try_read(choices:pick { 1, 10, 70000 })) end,
  function(self, choices) self:take(self.reader:read_exact(choices:pick { 0, 1, 50, 20000 })) end,
  function(self, choices) self:take(self.reader:read_until("\n", choices:pick { 1, 100, 65536 })) end,
  function(self, choices)
    local buffer = tcpnet.Buffer.new(choices:pick { 1, 1000 })
    from_buffer(self, "read_into", buffer, buffer)
  end,
  function(self, choices)
    local buffer = tcpnet.Buffer.new(choices:pick { 1, 1000 })
    from_buffer(self, "try_read_into", buffer, buffer)
  end,
  function(self)
    local buffer = tcpnet.Buffer.new(7)
    from_buffer(self, "try_read_vectored", buffer, { buffer })
  end,
  function(self, choices) self.reader:peek(choices:pick { 1, 70000 }) end,
  function(self) self.reader:readable() end,
  function(self) self.reader:buffered() end,
}

function Stream:read(choices)
  choices:pick(reads)(self, choices)
end

-- What a script does to it besides: none of it may lose a byte.
function Stream:disturb(choices)
  local end_of = choices:once_in(2) and self.reader or self.writer
  local kind = choices:integer(1, 6)
  if kind == 1 and end_of.ready then
    end_of:ready(end_of == self.reader and "r" or "w")
  elseif kind == 2 and end_of.set_timeout then
    end_of:set_timeout(choices:pick { 0, 0.001, 1 / 0 })
    if choices:once_in(2) then
      end_of:set_timeout(nil)
    end
  elseif kind == 3 and end_of.options then
    end_of:options()
  elseif kind == 4 and end_of.split then
    end_of:split()
  elseif kind == 5 then
    tostring(end_of)
  elseif choices:once_in(8) then
    self.closed = true
    end_of:close()
  end
end

-- The received bytes are what the log says → nil, or what is wrong. `whole`: and none is missing.
local function compare(self, whole)
  local received, at = table.concat(self.received), 1
  for i, entry in ipairs(self.log) do
    if at > #received then
      if whole and (entry.sent or 0) > 0 then
        return ("%d bytes of write %d did not come"):format(entry.sent, i)
      end
    else
      local count = entry.sent
      if not count then
        count = 0
        while count < #entry.data and entry.data:byte(count + 1) == received:byte(at + count) do
          count = count + 1
        end
      end
      local part = received:sub(at, at + count - 1)
      if part ~= entry.data:sub(1, #part) then
        local letter = entry.data:sub(1, 1)
        return ("write %d, %s bytes of %q: came %q"):format(i, tostring(entry.sent), letter, part:sub(1, 20))
      elseif whole and #part < count then
        return ("the last %d bytes of write %d did not come"):format(count - #part, i)
      end
      at = at + #part
    end
  end
  if at <= #received then
    return ("%d bytes came that nobody sent: %q"):format(#received - at + 1, received:sub(at, at + 20))
  end
end

-- Reads what is left → nil, or what is wrong. To be called in a task, when nobody else uses it any more.
function Stream:finish()
  local whole = not self.closed
  if whole then
    if self.reader.set_timeout then
      self.reader:set_timeout(nil)
    else
      self.reader:set_read_timeout(nil)
    end
    self.writer:close()
    local rest, err = self.reader:read_to_end()
    if not rest then
      return "the rest cannot be read: " .. tostring(err)
    end
    self:take(rest)
  end
  self.writer:close()
  self.reader:close()
  if self.rest then
    self.rest:close()
  end
  return compare(self, whole)
end

return streams
