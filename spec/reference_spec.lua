-- docs/reference.md and the module, tcpnet.sync included, know the same names, and the Lua in the documents compiles.
-- The names of options are the business of docs/options.md: here they count as documented where the table of options
-- has them.
local file = require "pl.file"
local tcpnet = require "tcpnet"
local private = require "tcpnet.core".private

local reference = file.read "docs/reference.md"

local function blocks(text)
  local found = {}
  for block in ("\n" .. text):gmatch "\n```lua\n(.-)\n```" do
    found[#found + 1] = block
  end
  return found
end

-- All that is set as code, one piece to a line; a span of the text does not cross a line.
local function code_of(text)
  local pieces = blocks(text)
  local prose = ("\n" .. text):gsub("\n```.-\n```", "\n")
  for span in prose:gmatch "`([^`\n]+)`" do
    pieces[#pieces + 1] = span
  end
  return "\n" .. table.concat(pieces, "\n") .. "\n"
end

local code = code_of(reference)

local function class_of_objects()
  local scope
  tcpnet.scope(function(own)
    scope = getmetatable(own)
  end)
  local workers <close> = assert(tcpnet.workers(1, function() end))
  return { Interval = getmetatable(tcpnet.interval(1)), Scope = scope, Workers = getmetatable(workers) }
end

-- Objects of every class of tcpnet.sync, by the function or class that they come from.
local sync = tcpnet.sync
local sync_samples = {
  channel = function()
    local sender, receiver = sync.channel(1)
    return sender, receiver, sender:reserve()
  end,
  unbounded = sync.unbounded,
  oneshot = sync.oneshot,
  broadcast = function()
    local sender = sync.broadcast(1)
    return sender, sender:subscribe()
  end,
  watch = function() return sync.watch(1) end,
  Notify = sync.Notify.new,
  Semaphore = function()
    local semaphore = sync.Semaphore.new(1)
    return semaphore, semaphore:acquire()
  end,
  Mutex = function()
    local mutex = sync.Mutex.new()
    return mutex, mutex:lock()
  end,
  Barrier = function() return sync.Barrier.new(1) end,
  CancellationToken = function()
    local token = sync.CancellationToken.new()
    return token, token:drop_guard()
  end,
}

-- Objects of the classes of readers, writers and frames, by what they come from.
local function stream_samples()
  local stream, other = tcpnet.duplex(1)
  local codec = tcpnet.codec.bytes()
  local read_half, write_half = stream:split()
  return { read_half, write_half, tcpnet.io.take(other, 1), tcpnet.io.chain(other, other), codec,
    codec:framed_read(other), codec:framed_write(other) }
end

local classes = class_of_objects()
for _, object in ipairs(stream_samples()) do
  classes[getmetatable(object).__name] = getmetatable(object)
end
for name, value in pairs(tcpnet) do
  if type(value) == "table" and name:find "^%u" then
    classes[name] = value
  end
end
for _, sample in pairs(sync_samples) do
  for _, object in ipairs { sample() } do
    classes[getmetatable(object).__name] = getmetatable(object)
  end
end

-- How the reference calls objects of a class; the first is its own name.
local receivers = {
  Barrier = { "barrier" },
  BroadcastReceiver = { "subscriber" },
  BroadcastSender = { "broadcaster" },
  Buffer = { "buffer" },
  CancellationToken = { "token" },
  Chain = { "stream" },
  ChannelPermit = { "reserved" },
  Child = { "child" },
  Codec = { "codec" },
  DropGuard = { "drop_guard" },
  DuplexReadHalf = { "stream", "object" },
  DuplexStream = { "duplex", "stream", "object" },
  DuplexWriteHalf = { "stream", "object" },
  Error = { "err" },
  Event = { "event" },
  Events = { "events" },
  FramedRead = { "framed" },
  FramedWrite = { "framer" },
  Interest = { "interest" },
  Interval = { "interval" },
  JoinSet = { "set" },
  Message = { "message" },
  Mutex = { "mutex" },
  MutexGuard = { "guard" },
  Notify = { "notify" },
  OneshotReceiver = { "answer" },
  OneshotSender = { "promise" },
  OwnedReadHalf = { "read_half", "stream", "object" },
  OwnedWriteHalf = { "write_half", "stream", "object" },
  Permit = { "permit" },
  Parent = { "parent" },
  PipeReceiver = { "pipe_receiver", "stream", "object" },
  PipeSender = { "pipe_sender", "stream", "object" },
  Poll = { "poll", "object" },
  ReadHalf = { "stream", "object" },
  Ready = { "ready" },
  Receiver = { "receiver" },
  Registry = { "registry" },
  Scope = { "scope" },
  Semaphore = { "semaphore" },
  Sender = { "sender" },
  Signal = { "signal" },
  Socket = { "sock", "object" },
  SocketAddr = { "addr" },
  SourceFd = { "source_fd" },
  Take = { "part", "stream" },
  Task = { "task" },
  TcpListener = { "listener", "object" },
  TcpSocket = { "socket", "object" },
  TcpStream = { "stream", "object" },
  UdpSocket = { "udp", "object" },
  UnixDatagram = { "datagram", "udp", "object" },
  UnixListener = { "unix_listener", "listener", "object" },
  UnixSocket = { "unix_socket", "object" },
  UnixStream = { "unix_stream", "stream", "object" },
  Waker = { "waker" },
  WatchReceiver = { "watcher" },
  WatchSender = { "publisher" },
  Worker = { "worker" },
  Workers = { "workers" },
  WriteHalf = { "stream", "object" },
}

local class_named = {}
for class, names in pairs(receivers) do
  if names[1] ~= "stream" or class == "TcpStream" then
    class_named[names[1]] = class
  end
end

-- Accessors by name → the rows they are of; an alias stands for its option.
local options = private.option_rows()
local accessors = {}
for _, row in ipairs(options) do
  for _, name in ipairs { row.name, table.unpack(row.aliases) } do
    accessors[name], accessors["set_" .. name] = row, row
  end
end

local function mentioned(call)
  return code:find("%f[%w_]" .. call:gsub("%p", "%%%0") .. "%f[^%w_]") ~= nil
end

local function is_documented(class, method)
  if accessors[method] or mentioned(method) and method:find "^bind_device" then
    return true
  end
  for _, receiver in ipairs(receivers[class]) do
    if mentioned(receiver .. ":" .. method) then
      return true
    end
  end
  return mentioned(("tcpnet.%s.%s"):format(class, method)) or mentioned(("tcpnet.sync.%s.%s"):format(class, method))
end

local function functions_of(class)
  local names = {}
  for name, value in pairs(class) do
    if type(value) == "function" and not name:find "^__" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

describe("the reference", function()
  it("has every function of the module", function()
    local missing = {}
    for name, value in pairs(tcpnet) do
      if type(value) == "function" and not mentioned("tcpnet." .. name) then
        missing[#missing + 1] = name
      end
    end
    for _, part in ipairs { "codec", "coroutine", "io", "pipe", "process", "sync" } do
      assert.is_true(mentioned("tcpnet." .. part))
      for _, name in ipairs(functions_of(tcpnet[part])) do
        if not mentioned(("tcpnet.%s.%s"):format(part, name)) then
          missing[#missing + 1] = part .. "." .. name
        end
      end
    end
    assert.same({}, missing)
  end)

  it("has every method of every class, options included", function()
    local missing = {}
    for class, methods in pairs(classes) do
      assert.is_table(receivers[class], "a class that this spec does not know: " .. class)
      for _, method in ipairs(functions_of(methods)) do
        if not is_documented(class, method) then
          missing[#missing + 1] = class .. ":" .. method
        end
      end
    end
    assert.same({}, missing)
  end)

  it("has every class of tcpnet.sync", function()
    for name in pairs(sync) do
      assert.is_function(sync_samples[name], "no samples of what there is in tcpnet.sync: " .. name)
    end
    for name, class in pairs(sync_samples) do
      assert.is_truthy(sync[name], name)
      for _, object in ipairs { class() } do
        assert.equal(getmetatable(object), getmetatable(object).__index)
      end
    end
  end)

  -- Options apart: those are the business of their table.
  it("says truly which classes share their methods", function()
    local function only_in(class, other)
      local names = {}
      for _, name in ipairs(functions_of(classes[class])) do
        if not classes[other][name] and not accessors[name] then
          names[#names + 1] = name
        end
      end
      return names
    end
    assert.same({ "reset", "set_tcp_keepalive" }, only_in("TcpStream", "UnixStream"))
    assert.same({ "pair", "recv_fd", "send_fd" }, only_in("UnixStream", "TcpStream"))
    assert.same({ "set_tcp_keepalive" }, only_in("TcpListener", "UnixListener"))
    assert.same({}, only_in("UnixListener", "TcpListener"))
    assert.same({ "new_v4", "new_v6" }, only_in("UdpSocket", "UnixDatagram"))
    assert.same({ "pair", "unbound" }, only_in("UnixDatagram", "UdpSocket"))
    assert.same({ "new_v4", "new_v6" }, only_in("UdpSocket", "Socket"))
    assert.same({ "local_addr", "peer_addr" }, only_in("ReadHalf", "PipeReceiver"))
    assert.same({ "local_addr", "peer_addr", "sendfile", "shutdown" }, only_in("WriteHalf", "PipeSender"))
    local of_both = { "from_fd", "into_blocking_fd", "into_fd", "set_timeout", "timeout" }
    assert.same(of_both, only_in("PipeReceiver", "ReadHalf"))
    assert.same(of_both, only_in("PipeSender", "WriteHalf"))
    assert.same({}, only_in("DuplexStream", "TcpStream"))
    assert.same({ "async_io", "close", "fd", "local_addr", "peer_addr", "ready", "try_io" },
      only_in("ReadHalf", "DuplexReadHalf"))
    assert.same({}, only_in("DuplexReadHalf", "ReadHalf"))
    assert.same({}, only_in("DuplexWriteHalf", "WriteHalf"))
    assert.same({ "closed", "read_timeout", "set_read_timeout" }, only_in("DuplexReadHalf", "Chain"))
    assert.same({}, only_in("Chain", "DuplexReadHalf"))
    assert.same({ "limit" }, only_in("Take", "Chain"))
  end)

  it("has every setting and every number of metrics", function()
    local missing = {}
    for _, fields in ipairs { tcpnet.configure(), tcpnet.metrics() } do
      for name in pairs(fields) do
        if not mentioned(name) then
          missing[#missing + 1] = name
        end
      end
    end
    assert.same({}, missing)
  end)

  it("leaves the options to a page of their own, which has those that there are", function()
    assert.is_truthy(reference:find("](options.md)", 1, true))
    assert.is_true(#options > 100)
    local wrong = {}
    local function check(class, name, expected)
      if (classes[class][name] ~= nil) ~= expected then
        wrong[#wrong + 1] = class .. ":" .. name
      end
    end
    for _, row in ipairs(options) do
      for _, class in ipairs(row.classes) do
        check(class, row.name, row.get or not row.set)
        check(class, "set_" .. row.name, row.set)
      end
    end
    assert.same({}, wrong)
  end)

  it("has every field of tcp_info", function()
    local missing = {}
    for _, row in ipairs(private.tcp_info_rows()) do
      if not mentioned(row.name) then
        missing[#missing + 1] = row.name
      end
    end
    assert.same({}, missing)
  end)

  it("has every domain, type and protocol, every flag, and every feature that is no option", function()
    local missing = {}
    local function look_for(names)
      for name in names:gmatch "%S+" do
        if not (mentioned('"' .. name .. '"') or mentioned(name)) then
          missing[#missing + 1] = name
        end
      end
    end
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    for pattern, call in pairs {
      ["domain: a number or one of (.-) expected"] = function() tcpnet.Socket.new("?", "?") end,
      ["type: a number or one of (.-) expected"] = function() tcpnet.Socket.new("inet", "?") end,
      ["protocol: a number or one of (.-) expected"] = function() tcpnet.Socket.new("inet", "dgram", "?") end,
      ["flags: list of (.-) expected"] = function() sock:send("", "?") end,
      ["flags: list of ([%w_ ]-) expected"] = function() sock:recv(1, "?") end,
    } do
      local called, message = pcall(call)
      assert.is_false(called)
      look_for(assert(message:match(pattern), message))
    end
    for name in pairs(tcpnet.features()) do
      if not accessors[name] then
        look_for(name)
      end
    end
    assert.same({}, missing)
  end)

  it("calls no method that there is not", function()
    local unknown, count = {}, 0
    for receiver, method in code:gmatch "%f[%w_]([%l_]+):([%l_][%w_]*)" do
      local class = class_named[receiver]
      if class or receiver == "object" then
        count = count + 1
        if not classes[class or "TcpStream"][method] then
          unknown[#unknown + 1] = receiver .. ":" .. method
        end
      end
    end
    assert.same({}, unknown)
    assert.is_true(count > 100)
  end)

  it("uses no name of the module that there is not", function()
    local unknown = {}
    for path in code:gmatch "%f[%w_]tcpnet%.([%w_.]*[%w_])" do
      local value = tcpnet
      for name in path:gmatch "[%w_]+" do
        value = type(value) == "table" and value[name] or nil
      end
      if value == nil then
        unknown[#unknown + 1] = path
      end
    end
    assert.same({}, unknown)
  end)
end)

describe("the Lua in", function()
  for _, path in ipairs { "README.md", "docs/reference.md" } do
    it(path .. " compiles", function()
      local found = blocks(file.read(path))
      assert.is_true(#found > 0)
      for i, block in ipairs(found) do
        assert(load(block, ("=%s, block %d"):format(path, i), "t"))
      end
    end)
  end
end)
