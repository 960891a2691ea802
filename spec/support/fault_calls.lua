-- How to call each method so that its system calls are seen: by name, or by "Class.name" where a class needs it
-- otherwise. false: it makes no call that can fail. spec/support/fault_walk.lua makes the calls fail.
--
-- An entry is called with a case: case.call(fn, …) → results, the only part during which anything fails; what stands
-- around it puts the bytes there and looks at what has become of them.
local tcpnet = require "tcpnet"

local private = tcpnet.private
local TEXT = ("0123456789abcdef"):rep(40) .. "\n" -- what is read and written
local entries = {}

-- The same entry for several names.
local function set(names, entry)
  for name in names:gmatch "%S+" do
    entries[name] = entry
  end
end

-- subjects ----------------------------------------------------------------------------------------

local serial = 0
local function fresh_name()
  serial = serial + 1
  return ("@tcpnet-%d-%d"):format(private.pid(), serial)
end

local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
local function tcp_pair()
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end


-- What a class's methods are called on: the object, its peer, and what has to live as long.
local subjects = {
  TcpStream = tcp_pair,
  UnixStream = function() return tcpnet.UnixStream.pair() end,
  ReadHalf = function()
    local client, server = tcp_pair()
    return client:split(), server, client
  end,
  WriteHalf = function()
    local client, server = tcp_pair()
    return select(2, client:split()), server, client
  end,
  OwnedReadHalf = function()
    local client, server = tcp_pair()
    local read_half, write_half = client:into_split()
    return read_half, server, write_half
  end,
  OwnedWriteHalf = function()
    local client, server = tcp_pair()
    local read_half, write_half = client:into_split()
    return write_half, server, read_half
  end,
  PipeReceiver = function()
    local sender, receiver = tcpnet.pipe()
    return receiver, sender
  end,
  PipeSender = function() return tcpnet.pipe() end,
  UdpSocket = function()
    local a, b = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"), assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(a:connect(b:local_addr()) and b:connect(a:local_addr()))
    return a, b
  end,
  UnixDatagram = function()
    local a = assert(tcpnet.UnixDatagram.bind(fresh_name()))
    local b = assert(tcpnet.UnixDatagram.bind(fresh_name()))
    assert(a:connect(b:local_addr()) and b:connect(a:local_addr()))
    return a, b
  end,
  Socket = function()
    local a, b = assert(tcpnet.Socket.new("unix", "dgram")), assert(tcpnet.Socket.new("unix", "dgram"))
    assert(a:bind(fresh_name()) and b:bind(fresh_name()))
    assert(a:connect(b:local_addr()) and b:connect(a:local_addr()))
    return a, b
  end,
  TcpListener = function() return assert(tcpnet.TcpListener.bind "127.0.0.1:0") end,
  UnixListener = function() return assert(tcpnet.UnixListener.bind(fresh_name())) end,
  TcpSocket = function() return assert(tcpnet.TcpSocket.new_v4()) end,
  UnixSocket = function() return assert(tcpnet.UnixSocket.new_stream()) end,
  Poll = function() return assert(tcpnet.Poll.new()) end,
  Registry = function()
    local poll = assert(tcpnet.Poll.new())
    return poll:registry(), poll
  end,
  Waker = function()
    local poll = assert(tcpnet.Poll.new())
    return assert(tcpnet.Waker.new(poll:registry(), 7)), poll
  end,
  SourceFd = function()
    local a, b = tcpnet.UnixStream.pair()
    return tcpnet.SourceFd.new(a:fd()), a, b
  end,
  Signal = function() return assert(tcpnet.signal "SIGUSR1") end,
  Child = function()
    local child = assert(tcpnet.process.spawn { "cat", stdin = "pipe", stdout = "pipe" })
    return child, child.stdin, child.stdout
  end,
}

-- reading bytes -----------------------------------------------------------------------------------

local function halves_of_text()
  return TEXT:sub(1, 100), TEXT:sub(101)
end

-- Puts the text on its way: at once, or in two pieces while the call waits for it.
local function feed(case, ends)
  local function finish()
    if ends then
      case.peer:close()
    end
  end
  if not case.later then
    assert(case.peer:write(TEXT))
    finish()
    return
  end
  local first, second = halves_of_text()
  case.meanwhile(function()
    assert(case.peer:try_write(first) == #first)
  end, function()
    assert(case.peer:try_write(second) == #second)
    finish()
  end)
end

-- What the peer sent and nobody was given is still to be read, to the last byte.
local function rest_is_there(case, taken)
  local peer, parts = case.peer, { taken }
  case.stop()
  if not peer:closed() then
    peer:close()
  end
  repeat
    local data = case.self:read()
    parts[#parts + 1] = data
  until not data
  local all = table.concat(parts)
  assert(all == TEXT, ("%d of %d bytes were read"):format(#all, #TEXT))
end

-- A method that reads: taken(result) → the bytes that it gave away.
local function reads(taken, options, ...)
  local arguments = table.pack(...)
  return {
    later = not (options and options.at_once),
    partial = options and options.partial,
    run = function(case)
      feed(case, options and options.ends)
      local result = case.call(case.fn, case.self, table.unpack(arguments, 1, arguments.n))
      rest_is_there(case, result and taken(result) or "")
    end,
  }
end

local function itself(result) return result end
local function nothing() return "" end

entries.read = reads(itself, { partial = true })
entries.read_exact = reads(itself, nil, 300)
entries.read_line = reads(function(line) return line .. "\n" end)
entries.read_until = reads(itself, nil, "cdef\n")
entries.read_to_end = reads(itself, { ends = true })
entries.peek = reads(nothing, { partial = true })
entries.readable = reads(nothing)
local readable = reads(nothing, { partial = true }, "r")
entries.ready = {
  later = true,
  run = function(case)
    if case.self.read then
      readable.run(case)
    else
      case.call(case.fn, case.self, "w")
    end
  end,
}
entries.try_read = reads(itself, { at_once = true, partial = true })
entries.try_peek = reads(nothing, { at_once = true, partial = true })

local function reads_into(again)
  return {
    later = not again,
    partial = true,
    run = function(case)
      feed(case)
      local buffer = tcpnet.Buffer.new(1000)
      case.call(case.fn, case.self, again and again(buffer) or buffer)
      rest_is_there(case, tostring(buffer))
    end,
  }
end
entries.read_into = reads_into()
entries.try_read_into = reads_into(itself)
entries.try_read_vectored = reads_into(function(buffer) return { buffer } end)

local function iterates(first, separator)
  return {
    later = true,
    raises = true,
    partial = separator == "",
    run = function(case)
      feed(case)
      local got = case.call(function() return first(case.self)() end)
      rest_is_there(case, got and got .. separator or "")
    end,
  }
end
entries.lines = iterates(function(stream) return stream:lines() end, "\n")
entries.chunks = iterates(function(stream) return stream:chunks() end, "")

entries.try_io = {
  run = function(case)
    if case.self.read then
      assert(case.peer:write(TEXT))
    elseif case.self.recv then
      assert(case.peer:send(TEXT))
    end
    local interest = (case.self.read or case.self.recv) and "r" or "w"
    case.call(case.fn, case.self, interest, function() return "done" end)
  end,
}
entries.async_io = {
  later = true,
  run = function(case)
    local reading = case.self.read
    if reading then
      feed(case)
    end
    local interest = reading and "r" or "w"
    case.call(case.fn, case.self, interest, function()
      return "done"
    end)
  end,
}

-- writing bytes -----------------------------------------------------------------------------------

-- Lets the peer read while the call goes on.
local function drain(case, drained)
  case.meanwhile_always(function()
    local data
    repeat
      data = case.peer:try_read()
      drained[#drained + 1] = data
    until not data
  end)
end

-- Fills what the kernel keeps for the peer, which drains it while the call waits → what has been written so far.
local function fill(case)
  local parts, drained = {}, {}
  local piece = ("x"):rep(4096)
  if case.self.set_send_buffer_size then
    case.self:set_send_buffer_size(4096)
  end
  local full = 0
  while full < 2 do
    local count = case.self:try_write(piece)
    if count then
      parts[#parts + 1] = piece:sub(1, count)
      full = 0
    else
      full = full + 1
      tcpnet.yield()
    end
  end
  drain(case, drained)
  return table.concat(parts), drained
end

-- A method that writes: sent(results…) → how many bytes it said went out.
local function writes(argument, options)
  return {
    later = not (options and options.at_once),
    partial = options and options.partial,
    run = function(case)
      local before, drained = "", {}
      if case.later then
        before, drained = fill(case)
      else
        drain(case, drained)
      end
      local total, _, sent = case.call(case.fn, case.self, argument(case))
      sent = total or sent or 0
      case.stop()
      case.release()
      repeat
        local data = case.peer:read()
        drained[#drained + 1] = data
      until not data
      local all = table.concat(drained)
      assert(all == before .. TEXT:sub(1, sent),
        ("%d bytes came of %d and %d that were sent"):format(#all, #before, sent))
    end,
  }
end

local function text() return TEXT end
local function list() return { TEXT:sub(1, 50), "", TEXT:sub(51) } end
local function pieces() return TEXT:sub(1, 50), "", tcpnet.Buffer.new(1000):append(TEXT:sub(51)) end

entries.write = writes(pieces)
entries.write_some = writes(text, { partial = true })
entries.write_vectored = writes(list, { partial = true })
entries.try_write = writes(text, { at_once = true, partial = true })
entries.try_write_vectored = writes(list, { at_once = true, partial = true })
entries.write_from = writes(function() return tcpnet.Buffer.new(1000):append(TEXT) end)
entries.sendfile = writes(function(case)
  local file = assert(io.tmpfile())
  assert(file:write(TEXT) and file:flush())
  case.keep(file)
  return file
end)
entries["Socket.sendfile"] = {
  subject = function()
    local client, server = tcp_pair()
    return client:as_socket(), server, client
  end,
  run = entries.sendfile.run,
}
entries.writable = {
  later = true,
  run = function(case)
    if case.later and case.self.try_write then
      fill(case)
    end
    case.call(case.fn, case.self)
  end,
}

-- streams -----------------------------------------------------------------------------------------

local function plain(...)
  local arguments = table.pack(...)
  return {
    run = function(case)
      case.call(case.fn, case.self, table.unpack(arguments, 1, arguments.n))
    end,
  }
end

entries.shutdown = {
  run = function(case)
    if case.call(case.fn, case.self) and case.peer.read then
      assert(case.peer:read() == nil)
    end
  end,
}
entries.reset = plain()
entries.finish = {
  later = true,
  run = function(case)
    if case.later then
      case.meanwhile(function() case.peer:try_write "more" end, function() case.peer:close() end)
    else
      assert(case.peer:write "unread")
      case.peer:close()
    end
    case.call(case.fn, case.self, 5)
    assert(case.self:closed())
  end,
}
entries.split = plain()
entries.into_split = plain()
entries.reunite = {
  run = function(case)
    case.call(case.fn, case.self, case.others[1])
  end,
}
entries.forget = plain()
entries.local_addr = plain()
entries.peer_addr = plain()
entries.peer_cred = plain()
entries.take_error = {
  run = function(case)
    case.call(function(self)
      local err = self:take_error()
      if err then
        return nil, err
      end
      return "none"
    end, case.self)
  end,
}
entries.domain = plain()
entries.type = plain()
entries.protocol = plain()
entries.is_listener = plain()
entries.close = plain()
entries.as_socket = plain()
entries.try_clone = plain()
entries.options = plain()
set("into_fd into_blocking_fd", {
  run = function(case)
    local fd = case.call(function(self)
      local fd, err = case.fn(self)
      return fd and "a descriptor", err, fd
    end, case.self)
    if fd then
      local wrap = tcpnet[case.class].from_fd
      assert(wrap(case.result[4])):close()
    end
  end,
})
entries.from_fd = {
  run = function(case)
    local fd = assert(case.self:into_fd())
    local object = case.call(case.fn, fd)
    if not object then -- it is still the caller's
      assert(case.fn(fd)):close()
    end
  end,
}

set([[buffered closed fd set_timeout timeout set_read_timeout read_timeout set_write_timeout write_timeout
  set_accept_options bytes]], false)

-- options -----------------------------------------------------------------------------------------

entries.get = plain "SO_KEEPALIVE"
entries.set = plain("SO_KEEPALIVE", true)
entries.set_tcp_keepalive = plain { time = 10, interval = 5, retries = 3 }
entries["Socket.set_tcp_keepalive"] = {
  subject = function() return assert(tcpnet.Socket.new("inet", "stream")) end,
  run = entries.set_tcp_keepalive.run,
}
set("bind_device", plain "lo")
set("bind_device_by_index_v4 bind_device_by_index_v6", plain "lo")

-- Setting what a getter gave, where the kernel takes that; with nothing to get, what a script may hand over.
local GROUPS = { v4 = { "239.1.2.3", "127.0.0.1", "127.0.0.1" }, v6 = { "ff02::1", 1, 1 }, n = { "239.1.2.3", 1, 1 } }
entries["an option"] = {
  may_fail = true,
  partial = true,
  subject = function()
    return assert(tcpnet.Socket.new("inet", "dgram"))
  end,
  run = function(case)
    local getter, setter = case.self[case.name], case.self["set_" .. case.name]
    if not setter then
      local group = GROUPS[case.name:match "_([^_]+)$"] or {}
      if case.name:find "source" or case.name:find "ssm" then
        group = { group[1], case.name:find "v4" and "127.0.0.2" or "fe80::1", group[2] }
      end
      local arguments = case.name:find "_v[46]_?n?$" and group or {}
      case.call(getter, case.self, table.unpack(arguments))
      return
    end
    local value = getter(case.self)
    if not pcall(setter, case.self, value) then
      case.call(getter, case.self)
      return
    end
    case.call(function(self)
      local same, err = getter(self)
      if err then
        return nil, err
      end
      local done
      done, err = setter(self, same)
      return done and "set", err
    end, case.self)
  end,
}

-- connecting --------------------------------------------------------------------------------------

local function works_both_ways(a, b)
  local send, receive = a.write or a.send, b.read or b.recv
  assert(send(a, "ping") == 4)
  assert(receive(b) == "ping")
end

local function accepts(of)
  return {
    later = of ~= "try_accept",
    raises = of == "incoming",
    run = function(case)
      local address, clients = case.self:local_addr(), {}
      local class = address:is_unix() and tcpnet.UnixStream or tcpnet.TcpStream
      local function connect()
        clients[1] = case.keep(assert(class.connect(address)))
      end
      if case.later then
        case.meanwhile(connect)
      else
        connect()
      end
      local stream = case.call(function(self)
        if of == "incoming" then
          return (self:incoming()())
        end
        local stream, from = case.fn(self)
        return stream, tcpnet.is_error(from) and from or nil
      end, case.self)
      case.stop()
      if not clients[1] then
        connect()
      end
      case.keep(stream or assert(case.self:accept()))
      works_both_ways(clients[1], stream or case.kept[#case.kept])
    end,
  }
end
set("accept", accepts "accept")
set("try_accept", accepts "try_accept")
set("incoming", accepts "incoming")

local function socket_that_listens()
  local socket = assert(tcpnet.Socket.new("inet", "stream"))
  assert(socket:bind "127.0.0.1:0" and socket:listen())
  return socket
end
entries["Socket.accept"] = { later = true, subject = socket_that_listens, run = entries.accept.run }
entries["Socket.try_accept"] = { subject = socket_that_listens, run = entries.try_accept.run }

local function connects(make, target, ...)
  local arguments = table.pack(...)
  return {
    run = function(case)
      local there = case.keep(target())
      local socket = make and case.keep(make())
      local connect = case.fn
      local stream
      if socket then
        stream = case.call(connect, socket, there:local_addr(), table.unpack(arguments, 1, arguments.n))
      else
        stream = case.call(connect, there:local_addr(), table.unpack(arguments, 1, arguments.n))
      end
      if stream then
        case.keep(stream)
        local accepted = there.accept and case.keep(assert(there:accept())) or there
        works_both_ways(stream, accepted)
      end
    end,
  }
end

local function tcp_listener() return assert(tcpnet.TcpListener.bind "127.0.0.1:0") end
local function unix_listener() return assert(tcpnet.UnixListener.bind(fresh_name())) end
local function udp_socket() return assert(tcpnet.UdpSocket.bind "127.0.0.1:0") end
local function unix_datagram() return assert(tcpnet.UnixDatagram.bind(fresh_name())) end
local function inet_socket() return assert(tcpnet.Socket.new("inet", "stream")) end

entries["TcpStream.connect"] = connects(nil, tcp_listener, { nodelay = true, local_addr = "127.0.0.1:0" })
entries["TcpSocket.connect"] = connects(subjects.TcpSocket, tcp_listener, { keepalive = true })
entries["UnixStream.connect"] = connects(nil, unix_listener)
entries["UnixSocket.connect"] = connects(subjects.UnixSocket, unix_listener)
entries["UdpSocket.connect"] = connects(udp_socket, udp_socket)
entries["UnixDatagram.connect"] = connects(unix_datagram, unix_datagram)
entries["Socket.connect"] = connects(inet_socket, tcp_listener)
entries["Socket.connect_timeout"] = connects(inet_socket, tcp_listener, 5)

local function makes(...)
  local arguments = table.pack(...)
  return {
    run = function(case)
      for _, object in ipairs { case.call(case.fn, table.unpack(arguments, 1, arguments.n)) } do
        case.keep(object)
      end
    end,
  }
end

set("new_v4 new_v6 new_stream new_datagram unbound pair", makes())
entries["Socket.new"] = makes("inet", "stream", "tcp")
entries["Socket.pair"] = makes("unix", "stream")
entries["TcpListener.bind"] = makes("127.0.0.1:0", { keepalive = true, backlog = 10 })
entries["UdpSocket.bind"] = makes("127.0.0.1:0", { broadcast = true })
local function binds_name(class)
  return {
    run = function(case)
      local object = case.call(case.fn, fresh_name(), { send_buffer_size = 10000 })
      assert(not object or case.keep(object):fd(), class)
    end,
  }
end
entries["UnixListener.bind"] = binds_name "UnixListener"
entries["UnixDatagram.bind"] = binds_name "UnixDatagram"

local function on(make, ...)
  local arguments = table.pack(...)
  return {
    subject = make,
    run = function(case)
      case.call(case.fn, case.self, table.unpack(arguments, 1, arguments.n))
    end,
  }
end
entries["TcpSocket.bind"] = plain "127.0.0.1:0"
entries["UnixSocket.bind"] = {
  run = function(case)
    case.call(case.fn, case.self, fresh_name())
  end,
}
entries["Socket.bind"] = on(inet_socket, "127.0.0.1:0")
entries.listen = plain()
entries["Socket.listen"] = on(inet_socket)
entries["UnixSocket.listen"] = on(function()
  return assert(assert(tcpnet.UnixSocket.new_stream()):bind(fresh_name()))
end)
entries["UnixSocket.datagram"] = on(function() return assert(tcpnet.UnixSocket.new_datagram()) end)

local function becomes(domain, kind, prepare)
  return on(function()
    local socket = assert(tcpnet.Socket.new(domain, kind))
    if prepare then
      prepare(socket)
    end
    return socket
  end)
end
entries["Socket.into_tcp_socket"] = becomes("inet", "stream")
entries["Socket.into_udp_socket"] = becomes("inet", "dgram")
entries["Socket.into_unix_socket"] = becomes("unix", "stream")
entries["Socket.into_unix_datagram"] = becomes("unix", "dgram")
entries["Socket.into_tcp_listener"] = on(socket_that_listens)
entries["Socket.into_unix_listener"] = becomes("unix", "stream", function(socket)
  assert(socket:bind(fresh_name()) and socket:listen())
end)
entries["Socket.into_unix_stream"] = on(function() return tcpnet.Socket.pair("unix", "stream") end)
entries["Socket.into_tcp_stream"] = on(function()
  local socket = assert(inet_socket():connect(listener:local_addr()))
  return socket, (assert(listener:accept()))
end)

-- descriptors with the bytes ----------------------------------------------------------------------

entries.send_fd = {
  run = function(case)
    if case.call(case.fn, case.self, case.peer) then
      local fd = assert(case.peer:recv_fd())
      assert(tcpnet.UnixStream.from_fd(fd)):close()
    else
      case.release()
      assert(case.peer:recv_fd() == nil)
    end
  end,
}
entries.recv_fd = {
  later = true,
  run = function(case)
    local function send()
      assert(case.peer:send_fd(case.peer))
    end
    if case.later then
      case.meanwhile(send)
    else
      send()
    end
    local fd
    if case.call(function(self)
      local err
      fd, err = case.fn(self)
      return fd and "a descriptor", err
    end, case.self) then
      assert(tcpnet.UnixStream.from_fd(fd)):close()
    elseif case.code() ~= "EMFILE" then
      case.stop()
      assert(tcpnet.UnixStream.from_fd(assert(case.self:recv_fd()))):close()
    end
  end,
}

-- messages ----------------------------------------------------------------------------------------

-- A method that takes a message, or looks at it.
local function receives(looks, call)
  return {
    later = true,
    optional = "getsockopt", -- the kind of socket, once
    run = function(case)
      local function send() assert(case.peer:try_send(TEXT) == #TEXT) end
      if case.later then
        case.meanwhile(send)
      else
        send()
      end
      local result
      if call then
        result = case.call(call, case.self, case.fn)
      else
        result = case.call(function(self)
          local data, from = case.fn(self)
          return data, tcpnet.is_error(from) and from or nil
        end, case.self)
      end
      case.stop()
      if result == nil or looks then
        assert(case.self:recv() == TEXT)
      end
      assert(case.self:try_recv() == nil)
    end,
  }
end
set("recv recv_from", receives())
entries.peek_from = receives(true)
for _, class in ipairs { "UdpSocket", "UnixDatagram", "Socket" } do
  entries[class .. ".peek"] = receives(true)
  entries[class .. ".ready"] = receives(true, function(self, ready) return ready(self, "r") end)
  entries[class .. ".readable"] = receives(true, function(self, is_readable) return is_readable(self) end)
end
entries.peek_sender = receives(true, function(self, peek_sender)
  local from, err = peek_sender(self)
  return from and "an address", err
end)
set("recv_vectored recv_from_vectored", receives(false, function(self, receive)
  local buffers = { tcpnet.Buffer.new(100), tcpnet.Buffer.new(2000) }
  local count, err = receive(self, buffers)
  if tcpnet.is_error(err) then
    return nil, err
  end
  return count and tostring(buffers[1]) .. tostring(buffers[2])
end))
entries.recvmsg = receives(false, function(self, receive)
  local message, err = receive(self, { data = 2000, control = 200 })
  return message and message.data, err
end)
entries.recv_many = receives(false, function(self, receive)
  local messages, err = receive(self, 4)
  return messages and messages[1].data, err
end)
set("send_out_of_band try_send_out_of_band", {
  subject = function()
    local client, server = tcp_pair()
    return client:as_socket(), server, client
  end,
  run = function(case)
    case.call(case.fn, case.self, "!")
  end,
})
set("recv_out_of_band try_recv_out_of_band", {
  subject = function()
    local client, server = tcp_pair()
    assert(server:as_socket():send_out_of_band "!")
    assert(client:ready "p")
    return client:as_socket(), server, client
  end,
  run = function(case)
    if not case.call(case.fn, case.self) then
      assert(case.self:recv_out_of_band() == "!")
    end
  end,
})

-- A method that sends one: it came whole, or the call failed and it did not.
local function sends(...)
  local arguments = table.pack(...)
  return {
    run = function(case)
      local given = {}
      for i, argument in ipairs(arguments) do
        given[i] = type(argument) == "function" and argument(case) or argument
      end
      local sent = case.call(case.fn, case.self, table.unpack(given, 1, arguments.n))
      if sent then
        assert(case.peer:recv() == TEXT)
      end
      assert(case.peer:try_recv() == nil)
    end,
  }
end
local function peer_address(case) return case.peer:local_addr() end
entries.send = sends(TEXT)
entries.send_vectored = sends { TEXT:sub(1, 50), TEXT:sub(51) }
entries.send_to = sends(TEXT, peer_address)
entries.send_to_vectored = sends({ TEXT:sub(1, 50), TEXT:sub(51) }, peer_address)
entries.sendmsg = sends { data = { TEXT:sub(1, 50), TEXT:sub(51) } }
-- Several: as many came as it said, the first ones.
entries.send_many = {
  partial_try = true,
  run = function(case)
    local total, _, sent = case.call(case.fn, case.self, { TEXT .. 1, TEXT .. 2, TEXT .. 3 })
    for i = 1, total or sent or 0 do
      assert(case.peer:recv() == TEXT .. i)
    end
    assert(case.peer:try_recv() == nil)
  end,
}

entries.attach_filter = plain { { 0x06, 0, 0, 0xffff } }
entries.detach_filter = {
  run = function(case)
    assert(case.self:attach_filter { { 0x06, 0, 0, 0xffff } })
    case.call(case.fn, case.self)
  end,
}

-- Poll --------------------------------------------------------------------------------------------

local function registered(make)
  return {
    later = true,
    run = make,
  }
end

entries["Poll.new"] = makes()
entries["Poll.registry"] = plain()
entries["Registry.try_clone"] = plain()
entries["Poll.poll"] = registered(function(case)
  local a, b = tcpnet.UnixStream.pair()
  case.keep(a, b)
  assert(case.self:registry():register(a, 5, tcpnet.Interest.READABLE))
  if case.later then
    case.meanwhile(function() b:try_write "x" end)
  else
    assert(b:write "x")
  end
  local events = tcpnet.Events.new(8)
  if not case.call(case.fn, case.self, events, 5) then
    case.stop()
    assert(b:write "x" and case.self:poll(events, 5) == 1)
  end
  for event in events:iter() do
    assert(event:token() == 5 and event:is_readable())
  end
end)

local function registers(name)
  return {
    run = function(case)
      local a, b = tcpnet.UnixStream.pair()
      case.keep(a, b)
      local interest = tcpnet.Interest.READABLE
      if name ~= "register" then
        assert(case.self:register(a, 1, interest))
      end
      local arguments = name == "deregister" and {} or { 2, interest }
      local done = case.call(case.fn, case.self, a, table.unpack(arguments))
      assert(b:write "x")
      local events = tcpnet.Events.new(8)
      assert(case.peer:poll(events, 0))
      local token
      for event in events:iter() do
        token = event:token()
      end
      local left = name ~= "register" and 1 or nil
      if done then
        left = arguments[1]
      end
      assert(token == left, ("an event of %s came, not of %s"):format(token, left))
    end,
  }
end
entries["Registry.register"] = registers "register"
entries["Registry.reregister"] = registers "reregister"
entries["Registry.deregister"] = registers "deregister"
entries["Waker.new"] = {
  subject = subjects.Registry,
  run = function(case)
    case.keep(case.call(case.fn, case.self, 3) or assert(case.fn(case.self, 3)))
  end,
}
entries["Waker.wake"] = {
  run = function(case)
    local woken = case.call(case.fn, case.self)
    local events = tcpnet.Events.new(8)
    assert(case.peer:poll(events, 0) == (woken and 1 or 0))
  end,
}
entries["SourceFd.new"] = false

-- signals and children ----------------------------------------------------------------------------

entries["Signal.recv"] = {
  later = true,
  run = function(case)
    local function kill() os.execute(("kill -USR1 %d"):format(private.pid())) end
    if case.later then
      case.meanwhile(kill)
    else
      kill()
    end
    case.call(case.fn, case.self, 5)
  end,
}
entries["Child.pid"] = false
entries["Child.kill"] = plain "SIGTERM"
entries["Child.wait"] = {
  run = function(case)
    case.self.stdin:close()
    case.call(case.fn, case.self, 5)
  end,
}

-- functions of the module -------------------------------------------------------------------------

-- workers: what fails in another thread is the matter of a script of its own (faults_spec)
set([[available_parallelism backend_fd backend_timeout configure coroutine current duplex each features interval
  is_error listen_fds metrics now park run scope select sleep spawn step timeout workers yield]], false)

entries["tcpnet.signal"] = makes "SIGUSR2"
entries["tcpnet.pipe"] = makes()
entries["tcpnet.lookup_host"] = {
  run = function(case)
    case.call(tcpnet.lookup_host, "localhost", 80, { family = "inet" })
  end,
}

-- Copies a text long enough for a pipe of the kernel's own; each byte is with the writer, or to be read still.
local LONG = TEXT:rep(600)
local function copies(both)
  return {
    long = true, -- too much of it to move one byte at a time
    run = function(case)
      local a, a_far = tcp_pair()
      local b, b_far = tcp_pair()
      case.keep(a, a_far, b, b_far)
      local writer = tcpnet.spawn(function()
        local at = 1
        while at <= #LONG do
          case.hold()
          local count = a_far:try_write(LONG, at)
          case.go_on()
          at = at + (count or 0)
          if not count then
            tcpnet.yield()
          end
        end
        case.hold()
        a_far:shutdown()
        case.go_on()
      end)
      local got = {}
      if both then
        b_far:shutdown()
      end
      case.meanwhile_always(function()
        local data
        repeat
          data = b_far:try_read()
          got[#got + 1] = data
        until not data
      end)
      local total, _, copied
      if both then
        total, _, copied = case.call(tcpnet.copy_bidirectional, a, b)
      else
        total, _, copied = case.call(tcpnet.copy, a, b)
      end
      case.stop()
      assert(writer:join())
      if both and not total then
        return
      end
      b:shutdown()
      repeat
        local data = b_far:read()
        got[#got + 1] = data
      until not data
      local came = table.concat(got)
      assert(#came == (total or copied), ("%d bytes came, %s were copied"):format(#came, total or copied))
      repeat
        local data = a:read()
        got[#got + 1] = data
      until not data
      assert(table.concat(got) == LONG, ("%d of %d bytes"):format(#table.concat(got), #LONG))
    end,
  }
end
entries["tcpnet.copy"] = copies()
entries["tcpnet.copy_bidirectional"] = copies(true)

entries["process.spawn"] = {
  run = function(case)
    local child = case.call(tcpnet.process.spawn, { "cat", stdin = "pipe", stdout = "pipe" })
    if child then
      case.keep(child, child.stdin, child.stdout)
      assert(child.stdin:write "meow")
      child.stdin:close()
      assert(child.stdout:read_to_end() == "meow" and child:wait().code == 0)
    end
  end,
}

entries["process.output"] = {
  optional = "writev", -- EPIPE: a child need not read its input
  run = function(case)
    local result = case.call(tcpnet.process.output, { "cat", input = "meow" })
    assert(not result or result.stderr == "" and result.code == 0)
    assert(not result or result.stdout == "meow" or result.stdout == "")
  end,
}

local function opens_fifo(other)
  return {
    run = function(case)
      local path = os.tmpname()
      os.remove(path)
      assert(os.execute("mkfifo " .. path))
      local pipe = case.call(case.fn, path, { read_write = true })
      if pipe then
        case.keep(pipe)
        assert(other)
      end
      os.remove(path)
    end,
  }
end
entries["pipe.open_sender"] = opens_fifo(true)
entries["pipe.open_receiver"] = opens_fifo(true)

return { entries = entries, subjects = subjects }
