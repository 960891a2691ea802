-- Messages of the generic Socket: sendmsg and recvmsg, the Message that comes, typed control data in both directions,
-- descriptors that travel (and never leak), the error queue.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Buffer, Socket, SocketAddr = tcpnet.Buffer, tcpnet.Socket, tcpnet.SocketAddr
local fails, in_task = tcp.fails, tcp.in_task
local on_linux = os.execute "test -e /proc/self/exe"
local as_root = tcp.can "test $(id -u) = 0"

-- it() as a task, of what only Linux has.
local function on_linux_it(name, fn)
  it(name, function()
    if not on_linux then
      return pending "needs Linux"
    end
    in_task(fn)()
  end)
end

local function it_in_task(name, fn)
  it(name, in_task(fn))
end

-- pair(kind) → two connected Unix sockets, guard of both
local function pair(kind)
  local first, second = Socket.pair("unix", kind or "dgram")
  assert(first, second)
  return first, second, tcp.guard(first, second)
end

local function udp(address)
  address = address or "127.0.0.1:0"
  local domain = address:find("[", 1, true) and "inet6" or "inet"
  local socket = assert(Socket.new(domain, "dgram"))
  assert(socket:bind(address))
  return socket
end

-- sender, receiver, the receiver's address, guard of both
local function udp_pair(address)
  local sender, receiver = udp(address), udp(address)
  return sender, receiver, receiver:local_addr(), tcp.guard(sender, receiver)
end

-- An address on this machine where nobody listens.
local function closed_port(address)
  local socket <close> = udp(address)
  return socket:local_addr()
end

-- How many sockets this process has open. Counting opens a pipe.
local function open_sockets()
  for _ = 1, 2 do
    collectgarbage()
    tcpnet.sleep(0)
  end
  local list = assert(io.popen("ls -l /proc/$PPID/fd 2>/dev/null | grep -c socket:", "r"))
  local count = list:read "n"
  list:close()
  return count
end

local function is_open(fd)
  local info = io.open(("/proc/self/fdinfo/%d"):format(fd))
  return info ~= nil and info:close()
end

local function is_close_on_exec(fd)
  local info <close> = assert(io.open(("/proc/self/fdinfo/%d"):format(fd)))
  return tonumber(info:read("a"):match "flags:%s*(%d+)", 8) & tonumber("2000000", 8) ~= 0
end

local function same_list(expected, list)
  assert.same(expected, list)
end

-- The types of the control messages, sorted, as one string.
local function types_of(message)
  local types = {}
  for i, entry in ipairs(message.control) do
    types[i] = entry.type
  end
  table.sort(types)
  return table.concat(types, " ")
end

local function value_of(message, kind)
  local entry = message:find(kind)
  assert(entry, "no control message " .. kind .. " but: " .. types_of(message))
  return entry.value
end

local function fds_of(message)
  local entry = message:find "fds"
  return entry and entry.fds or {}
end

local function names(flags)
  local list = {}
  for name, on in pairs(flags) do
    assert.is_true(on)
    list[#list + 1] = name
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- Calls that Lua knows the name of.
local CONTROL_HEADER = string.packsize "Tii" -- struct cmsghdr

local calls = {
  sendmsg = function(socket, message) local sent = socket:sendmsg(message) return sent end,
  recvmsg = function(socket, message) local came = socket:recvmsg(message) return came end,
  try_sendmsg = function(socket, message) local sent = socket:try_sendmsg(message) return sent end,
  try_recvmsg = function(socket, message) local came = socket:try_recvmsg(message) return came end,
}

-- Asserts that the method raises, the message being the caller's, of that method, and with that text.
local function raises(text, socket, method, message)
  local ok, err = pcall(calls[method], socket, message)
  assert(not ok, ("%s was taken: %s expected"):format(method, text))
  err = tostring(err)
  assert(err:find(text, 1, true), ("%q expected in: %s"):format(text, err))
  assert(err:find(("bad argument #1 to '%s'"):format(method), 1, true), err)
  assert(err:find("message_spec.lua:", 1, true), "blamed on another place: " .. err)
end

-- Cookies tell sockets apart, whatever descriptor they have.
local function cookie_of(fd)
  local socket <close> = assert(Socket.from_fd(fd))
  return assert(socket:cookie())
end

describe("sendmsg and recvmsg", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("data", function()
    it_in_task("is a string", function()
      local a, b, _guard <close> = pair()
      assert.equal(5, assert(a:sendmsg { data = "hello" }))
      local message = assert(b:recvmsg())
      assert.equal("hello", message.data)
      assert.equal(5, message.length)
      assert.equal("integer", math.type(message.length))
    end)

    it_in_task("is a Buffer, which keeps its bytes", function()
      local a, b, _guard <close> = pair()
      local buffer = Buffer.new(16):append "xhello"
      buffer:consume(1)
      assert.equal(5, assert(a:sendmsg { data = buffer }))
      assert.equal("hello", assert(b:recvmsg {}).data)
      assert.equal("hello", tostring(buffer))
    end)

    it_in_task("is a list of strings, numbers and Buffers, one message of them all", function()
      local a, b, _guard <close> = pair()
      assert.equal(10, assert(a:sendmsg { data = { "ab", 1, "", Buffer.new(8):append "cdef", 2.0 } }))
      assert.equal("ab1cdef2.0", assert(b:recvmsg()).data)
    end)

    it_in_task("may be up to 64 parts", function()
      local a, b, _guard <close> = pair()
      local parts = {}
      for i = 1, 64 do
        parts[i] = string.char(i)
      end
      assert.equal(64, assert(a:sendmsg { data = parts }))
      assert.equal(table.concat(parts), assert(b:recvmsg()).data)
      parts[65] = "x"
      raises("data: a list of 1 to 64 strings, numbers or Buffers expected", a, "sendmsg", { data = parts })
    end)

    it_in_task("may be left out, or empty: an empty datagram", function()
      local a, b, address, _guard <close> = udp_pair()
      for _, message in ipairs { {}, { data = "" }, { data = { "", "" } } } do
        message.address = address
        assert.equal(0, assert(a:sendmsg(message)))
        local came = assert(b:recvmsg())
        assert.equal("", came.data)
        assert.equal(0, came.length)
        assert.equal(a:local_addr(), came.address)
      end
    end)

    it_in_task("of other types is refused", function()
      local a, _, _guard <close> = pair()
      for _, wrong in ipairs { true, print, tcpnet.now } do
        raises("data: string, number, Buffer or a list of them expected", a, "sendmsg", { data = wrong })
      end
      for _, wrong in ipairs { {}, { "a", {} }, { true }, { x = "a" }, { "a", print } } do
        raises("data: a list of 1 to 64 strings, numbers or Buffers expected", a, "sendmsg", { data = wrong })
      end
    end)

    it_in_task("of more than 64 KiB goes through Unix sockets whole", function()
      for _, kind in ipairs { "dgram", "seqpacket" } do
        local a, b, _guard <close> = pair(kind)
        assert(a:set_send_buffer_size(500000))
        local bytes = tcp.bytes(200000)
        assert.equal(200000, assert(a:sendmsg { data = bytes }))
        local message = assert(b:recvmsg { data = 200000 })
        assert.is_true(message.data == bytes)
        assert.equal("", names(message.flags))
        assert.equal(200000, assert(a:sendmsg { data = { bytes:sub(1, 100000), bytes:sub(100001) } }))
        message = assert(b:recvmsg { data = 300000 })
        assert.is_true(message.data == bytes)
        assert.equal(200000, assert(a:sendmsg { data = bytes }))
        message = assert(b:recvmsg { data = 100000 })
        assert.is_true(message.data == bytes:sub(1, 100000))
        assert.equal(200000, message.length)
        assert.equal("truncated", names(message.flags))
      end
    end)

    it_in_task("past the limit of the socket is EMSGSIZE", function()
      local a, _, address, _guard <close> = udp_pair()
      fails("EMSGSIZE", a:sendmsg { data = ("x"):rep(70000), address = address })
    end)
  end)

  describe("address", function()
    it_in_task("is a SocketAddr, a text or a name", function()
      local a, b, address, _guard <close> = udp_pair()
      for _, form in ipairs { address, tostring(address), "localhost:" .. address:port() } do
        assert.equal(1, assert(a:sendmsg { data = "x", address = form }))
        local message = assert(b:recvmsg())
        assert.equal(a:local_addr(), message.address)
      end
    end)

    it_in_task("is one of IPv6", function()
      local a, b, address, _guard <close> = udp_pair "[::1]:0"
      for _, form in ipairs { address, "[::1]:" .. address:port() } do
        assert.equal(1, assert(a:sendmsg { data = "x", address = form }))
        assert.equal(a:local_addr(), assert(b:recvmsg()).address)
      end
    end)

    it_in_task("is a path, or a name of Linux's, for a Unix socket", function()
      local folder <close> = program.folder()
      local path = folder.path .. "/socket"
      local a <close> = assert(Socket.new("unix", "dgram"))
      local b <close> = assert(Socket.new("unix", "dgram"))
      assert(b:bind(path))
      assert.equal(1, assert(a:sendmsg { data = "x", address = path }))
      assert.is_nil(assert(b:recvmsg()).address)
      assert(a:bind(folder.path .. "/other"))
      assert.equal(1, assert(a:sendmsg { data = "x", address = SocketAddr.unix(path) }))
      assert.equal(folder.path .. "/other", assert(b:recvmsg()).address:path())
      if on_linux then
        local c <close> = assert(Socket.new("unix", "dgram"))
        local name = "@tcpnet-" .. tostring(c:cookie())
        assert(c:bind(name))
        assert.equal(1, assert(a:sendmsg { data = "x", address = name }))
        assert.equal("x", assert(c:recvmsg()).data)
      end
      fails("ENOENT", a:sendmsg { data = "x", address = folder.path .. "/nobody" })
    end)

    it_in_task("that is none is an error, of another type a misuse", function()
      local a <close> = udp()
      fails("EINVAL", a:sendmsg { data = "x", address = "nonsense" })
      fails("EINVAL", a:sendmsg { data = "x", address = "127.0.0.1:70000" })
      raises("SocketAddr", a, "sendmsg", { data = "x", address = 5 })
      raises("SocketAddr", a, "sendmsg", { data = "x", address = {} })
      raises("SocketAddr", a, "sendmsg", { data = "x", address = true })
    end)

    it_in_task("is in the error that sending to it gives", function()
      local a <close> = udp()
      local err = fails("EACCES", a:sendmsg { data = "x", address = "255.255.255.255:9" })
      assert.equal("sendmsg", err.op)
      assert.equal("255.255.255.255:9", err.address)
      fails("EDESTADDRREQ", a:sendmsg { data = "x" })
    end)
  end)

  describe("what does not belong", function()
    it_in_task("is named when it is an unknown field", function()
      local a, b, _guard <close> = pair()
      raises("unknown field 'dta'", a, "sendmsg", { dta = "x" })
      raises("unknown field 'size'", b, "recvmsg", { size = 5 })
      raises("unknown field 'address'", b, "recvmsg", { address = "x" })
      raises("unknown field", a, "sendmsg", { "x" })
      raises("unknown field", b, "recvmsg", { [true] = 1 })
      raises("unknown field 'dta'", a, "try_sendmsg", { dta = "x" })
      raises("unknown field 'size'", b, "try_recvmsg", { size = 5 })
    end)

    it_in_task("is refused in place of the table", function()
      local a, b, _guard <close> = pair()
      for _, wrong in ipairs { "x", 5, true, print } do
        raises("table expected", a, "sendmsg", wrong)
        raises("table expected", b, "recvmsg", wrong)
      end
      raises("table expected", a, "sendmsg", nil)
      assert.has_error(function() a.sendmsg({}, { data = "x" }) end)
      assert.has_error(function() a.recvmsg({}, {}) end)
    end)

    it_in_task("is refused as a size", function()
      local _, b, _guard <close> = pair()
      for _, wrong in ipairs { -1, 1.5, "5", {}, true, 1 << 31, math.huge, 0 / 0 } do
        raises("data: integer from 0 to 2147483647 expected", b, "recvmsg", { data = wrong })
      end
      for _, wrong in ipairs { -1, 8193, 0.5, "5", {}, false } do
        raises("control: integer from 0 to 8192 expected", b, "recvmsg", { control = wrong })
      end
    end)

    it_in_task("is refused as a flag, with the names that there are", function()
      local a, b, _guard <close> = pair()
      local sends = "flags: list of oob dontroute eor more confirm fastopen expected"
      local receives = "flags: list of oob peek errqueue expected"
      for _, wrong in ipairs { "bogus", { "oob", "bogus" }, { 5 }, 5, "peek", { {} }, true, "truncated", "" } do
        raises(sends, a, "sendmsg", { data = "x", flags = wrong })
      end
      for _, wrong in ipairs { "bogus", { "peek", "bogus" }, { 5 }, 5, "eor", true, "control_truncated" } do
        raises(receives, b, "recvmsg", { flags = wrong })
      end
    end)

    it_in_task("sends nothing and takes nothing", function()
      local a, b, _guard <close> = pair()
      assert(a:send "kept")
      pcall(a.sendmsg, a, { data = "x", control = { { type = "bogus" } } })
      pcall(b.recvmsg, b, { data = -1 })
      assert.equal("kept", assert(b:recvmsg()).data)
      fails("EAGAIN", b:try_recvmsg())
    end)

    it_in_task("is what a message has become while it waited", function()
      local a, b, _guard <close> = pair()
      local message = { data = "x" }
      while a:try_send "fill" do end
      local task = tcpnet.spawn(a.sendmsg, a, message)
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      message.data = true
      while b:try_recv() do end
      local ok, err = task:join()
      assert.is_nil(ok)
      assert.matches("data: string, number, Buffer or a list of them expected", tostring(err), 1, true)
    end)

    it_in_task("asks no metamethod, which could close the socket in the middle", function()
      local a, b, _guard <close> = pair()
      local message = setmetatable({ data = "x" }, { __index = function() a:close() end })
      assert.equal(1, a:sendmsg(message))
      assert.equal("x", b:recv())
    end)
  end)

  describe("a Message", function()
    local function message_of(text)
      local a, b, _guard <close> = pair()
      assert(a:sendmsg { data = text })
      return assert(b:recvmsg())
    end

    it_in_task("has data, length, flags, control; an address where the sender has one", function()
      local message = message_of "abc"
      local fields = {}
      for name, value in pairs(message) do
        fields[name] = value
      end
      same_list({ data = "abc", length = 3, flags = {}, control = {} }, fields)
      assert.is_nil(message.address)
      assert.is_nil(message.nothing)
      assert.is_nil(message[1])
      assert.equal("userdata", type(message))
    end)

    it_in_task("cannot be written to", function()
      local message = message_of "abc"
      assert.has_error(function() message.data = "x" end)
      assert.equal("abc", message.data)
    end)

    it_in_task("tells what it is", function()
      assert.equal("Message (3 bytes, 0 descriptors)", tostring(message_of "abc"))
      local a, b, _guard <close> = pair()
      assert(a:sendmsg { data = "abcd", control = { { type = "fds", fds = { a, b } } } })
      local message = assert(b:recvmsg())
      assert.equal("Message (4 bytes, 2 descriptors)", tostring(message))
      message:close()
      assert.equal("Message (4 bytes, 0 descriptors)", tostring(message))
      assert.is_nil(tcpnet.Message and tcpnet.Message.new)
    end)

    it_in_task("finds a control message by its type, or nil", function()
      local message = message_of "abc"
      assert.is_nil(message:find "fds")
      for _, wrong in ipairs { 5, {}, true } do
        assert.has_error(function() message:find(wrong) end)
      end
      assert.has_error(function() message:find() end)
      assert.has_error(function() message.find({}, "fds") end)
    end)

    it_in_task("gives pairs its fields, and not the table that holds them", function()
      local message = message_of "abc"
      local _, state = pairs(message)
      assert.equal(message, state)
      assert.has_error(function() state.control = 5 end)
      assert.is_nil(message:find "fds")
      assert.equal("string", type(tostring(message)))
    end)

    it_in_task("has methods that refuse another receiver", function()
      local message = message_of "abc"
      for _, method in ipairs { "find", "take_fds", "close" } do
        assert.has_error(function() message[method]({}) end)
        assert.has_error(function() message[method](io.stdout) end)
      end
    end)

    it_in_task("without descriptors gives none, and closing it is fine", function()
      local message = message_of "abc"
      same_list({}, message:take_fds())
      message:close()
      message:close()
      assert.equal("abc", message.data)
      do
        local _closed <close> = message
      end
      assert.equal("abc", message.data)
    end)
  end)

  describe("the end of a stream", function()
    it_in_task("is nil alone", function()
      for _, kind in ipairs { "stream", "seqpacket" } do
        local a, b, _guard <close> = pair(kind)
        assert(a:sendmsg { data = "last" })
        a:close()
        assert.equal("last", assert(b:recvmsg()).data)
        for _ = 1, 2 do
          local message, err = b:recvmsg()
          assert.is_nil(message)
          assert.is_nil(err)
        end
      end
    end)

    on_linux_it("is nil with credentials switched on", function()
      for _, kind in ipairs { "stream", "seqpacket" } do
        local a, b, _guard <close> = pair(kind)
        assert(b:set_passcred(true))
        assert(a:sendmsg { data = "last" })
        a:close()
        assert.equal("credentials", types_of(assert(b:recvmsg())))
        local message, err = b:recvmsg()
        assert.is_nil(message)
        assert.is_nil(err)
      end
    end)

    on_linux_it("is nil with the count of unread bytes switched on", function()
      local client, server, _guard <close> = tcp.pair()
      local view = server:as_socket()
      assert(view:set_tcp_inq(true))
      assert(client:write "last")
      client:close()
      assert.equal("last", assert(view:recvmsg()).data)
      local message, err = view:recvmsg()
      assert.is_nil(message)
      assert.is_nil(err)
    end)

    it_in_task("is EPIPE for the sender", function()
      local a, b, _guard <close> = pair "stream"
      b:close()
      fails("EPIPE", a:sendmsg { data = "x" })
    end)
  end)

  describe("waiting", function()
    it_in_task("is a task's own", function()
      local a, b, _guard <close> = pair()
      local task = tcpnet.spawn(b.recvmsg, b)
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      assert(a:sendmsg { data = "x" })
      local ok, message = task:join()
      assert.is_true(ok)
      assert.equal("x", message.data)
    end)

    it("works outside tasks too", function()
      local a, b, _guard <close> = pair()
      tcpnet.spawn(function()
        tcpnet.sleep(0.01)
        assert(a:sendmsg { data = "x" })
      end)
      assert.equal("x", assert(b:recvmsg()).data)
    end)

    it_in_task("of a sender ends when there is room", function()
      local a, b, _guard <close> = pair()
      local sent = 0
      while a:try_sendmsg { data = "fill" } do
        sent = sent + 1
      end
      local task = tcpnet.spawn(a.sendmsg, a, { data = "one more" })
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      for _ = 1, sent do
        assert.equal("fill", assert(b:recvmsg()).data)
      end
      assert.equal("one more", assert(b:recvmsg()).data)
      assert.is_true(task:join())
    end)

    it_in_task("that is cancelled, or too long, has taken nothing", function()
      local a, b, _guard <close> = pair()
      assert.is_true(tcp.waits(b.recvmsg, b))
      local task = tcpnet.spawn(b.recvmsg, b)
      tcpnet.yield()
      task:cancel()
      assert(b:set_read_timeout(0.01))
      local err = fails("TIMEOUT", b:recvmsg())
      assert.equal("recvmsg", err.op)
      assert(a:sendmsg { data = "kept" })
      assert.equal("kept", assert(b:recvmsg()).data)
    end)

    it_in_task("ends when the socket is closed", function()
      local _, b, _guard <close> = pair()
      local task = tcpnet.spawn(b.recvmsg, b)
      tcpnet.yield()
      b:close()
      local ok, message, err = task:join()
      assert.is_true(ok)
      fails("CLOSED", message, err)
      fails("CLOSED", b:recvmsg())
      fails("CLOSED", b:sendmsg { data = "x" })
      fails("CLOSED", b:try_recvmsg())
      fails("CLOSED", b:try_sendmsg { data = "x" })
    end)

    it_in_task("is shared by several tasks, served in order", function()
      local a, b, _guard <close> = pair()
      local tasks, list = {}, {}
      for i = 1, 5 do
        tasks[i] = tcpnet.spawn(function()
          local message = assert(b:recvmsg())
          list[#list + 1] = i .. message.data
        end)
        tcpnet.yield()
      end
      for i = 1, 5 do
        assert(a:sendmsg { data = string.char(96 + i) })
      end
      for i = 1, 5 do
        assert(tasks[i]:join())
      end
      assert.equal("1a 2b 3c 4d 5e", table.concat(list, " "))
    end)

    it_in_task("not at all gives EAGAIN", function()
      local a, b, _guard <close> = pair()
      fails("EAGAIN", b:try_recvmsg())
      while a:try_sendmsg { data = "fill" } do end
      fails("EAGAIN", a:try_sendmsg { data = "fill" })
      assert.equal("fill", assert(b:try_recvmsg { data = 100 }).data)
    end)

    -- Each attempt makes an object and, for a large size, memory: none may stay on the task's stack.
    on_linux_it("takes hundreds of attempts without running out of stack", function()
      local a <close> = udp()
      assert(a:set_recv_err_v4(true))
      assert(a:send_to("x", closed_port()))
      local seen = fails("ECONNREFUSED", a:recvmsg { data = 100000 })
      assert.equal("recvmsg", seen.op)
      for _, call in ipairs {
        function() return a:recvmsg { data = 100000 } end,
        function() return a:recvmsg() end,
        function() return a:recv(100000) end,
        function() return a:recv_from(100000) end,
      } do
        local _, err = tcpnet.timeout(0.6, call) -- with the queue unread it is tried every 10 ms
        assert(tcpnet.is_error(err, "TIMEOUT"), tostring(err))
      end
      assert(a:send_to("still fine", a:local_addr()))
      assert.equal("still fine", assert(a:recvmsg { data = 100000 }).data)
    end)
  end)

  describe("flags", function()
    it_in_task("say that the data was cut, and length how long it was", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(a:sendmsg { data = "0123456789", address = address })
      local message = assert(b:recvmsg { data = 4 })
      assert.equal("0123", message.data)
      assert.equal(10, message.length)
      assert.equal("truncated", names(message.flags))
      assert.is_true(message.flags.truncated)
      assert(a:sendmsg { data = "0123456789", address = address })
      message = assert(b:recvmsg { data = 0 })
      assert.equal("", message.data)
      assert.equal(10, message.length)
      assert.equal("truncated", names(message.flags))
      assert(a:sendmsg { data = "0123", address = address })
      message = assert(b:recvmsg { data = 4 })
      assert.equal("", names(message.flags))
      assert.is_nil(message.flags.truncated)
    end)

    it_in_task("of a stream are empty: what was not read is still there", function()
      local a, b, _guard <close> = pair "stream"
      assert(a:sendmsg { data = "0123456789" })
      local message = assert(b:recvmsg { data = 4 })
      assert.equal("0123", message.data)
      assert.equal(4, message.length)
      assert.equal("", names(message.flags))
      assert.equal("456789", assert(b:recvmsg()).data)
    end)

    it_in_task("peek leaves the message there", function()
      local a, b, _guard <close> = pair()
      assert(a:sendmsg { data = "x" })
      assert.equal("x", assert(b:recvmsg { flags = { "peek" } }).data)
      assert.equal("x", assert(b:recvmsg { flags = "peek" }).data)
      assert.equal("x", assert(b:recvmsg()).data)
      fails("EAGAIN", b:try_recvmsg { flags = "peek" })
    end)

    it_in_task("keep records apart on seqpacket, however little of one is read", function()
      local a, b, _guard <close> = pair "seqpacket"
      assert(a:sendmsg { data = "first", flags = { "eor" } })
      assert(a:sendmsg { data = { "sec", "ond" }, flags = "eor" })
      local message = assert(b:recvmsg { data = 3 })
      assert.equal("fir", message.data)
      assert.equal(5, message.length)
      assert.is_true(message.flags.truncated)
      message = assert(b:recvmsg { data = 100 })
      assert.equal("second", message.data)
      assert.is_nil(message.flags.truncated)
    end)

    on_linux_it("end_of_record comes with SCTP", function()
      local listener = Socket.new("inet", "seqpacket", "sctp")
      if not listener then
        return pending "the kernel has no SCTP"
      end
      local a, b = listener, assert(Socket.new("inet", "seqpacket", "sctp"))
      local _guard <close> = tcp.guard(a, b)
      assert(a:bind "127.0.0.1:0")
      assert(a:listen(1))
      assert(b:sendmsg { data = "record", address = a:local_addr() })
      local message = assert(a:recvmsg())
      assert.equal("record", message.data)
      assert.is_true(message.flags.end_of_record)
    end)

    on_linux_it("out_of_band is told of urgent data (F52)", function()
      local client, server, _guard <close> = tcp.pair()
      local sends, receives = client:as_socket(), server:as_socket()
      local task = tcpnet.spawn(receives.recvmsg, receives, { flags = { "oob" } })
      tcpnet.sleep(0.01)
      assert(sends:sendmsg { data = "plain" })
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      assert.equal(1, assert(sends:sendmsg { data = "!", flags = { "oob" } }))
      local ok, message = task:join()
      assert.is_true(ok)
      assert.equal("!", message.data)
      assert.equal("out_of_band", names(message.flags))
      message = assert(receives:recvmsg())
      assert.equal("plain", message.data)
      assert.equal("", names(message.flags))
    end)

    on_linux_it("oob waits no longer than the stream lives", function()
      local client, server, _guard <close> = tcp.pair()
      local receives = server:as_socket()
      local task = tcpnet.spawn(receives.recvmsg, receives, { flags = { "oob" } })
      tcpnet.sleep(0.01)
      client:close()
      local ok, message, err = task:join()
      assert.is_true(ok)
      assert.is_nil(message)
      assert.is_nil(err)
    end)

    on_linux_it("oob at the end is nil, whatever came before it", function()
      local a, b, _guard <close> = pair()
      local client, server, _guard2 <close> = tcp.pair()
      local view = server:as_socket()
      client:close()
      assert.is_nil(server:read())
      local fds = {}
      for i = 1, 100 do
        fds[i] = a
      end
      assert(a:sendmsg { data = "x", control = { { type = "fds", fds = fds } } })
      local message <close> = assert(b:recvmsg())
      for _ = 1, 2 do -- what the last message left in memory is none of this one's
        local nothing, err = view:try_recvmsg { flags = { "oob" } }
        assert.is_nil(nothing)
        assert.is_nil(err)
      end
      collectgarbage()
      collectgarbage()
      for _, fd in ipairs(message:find("fds").fds) do
        assert.is_true(is_open(fd))
      end
    end)

    on_linux_it("more joins datagrams", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(a:sendmsg { data = "one ", address = address, flags = { "more", "confirm" } })
      fails("EAGAIN", b:try_recvmsg())
      assert(a:sendmsg { data = "two", address = address })
      assert.equal("one two", assert(b:recvmsg()).data)
    end)
  end)
end)

describe("control data", function()
  before_each(leaks.note)
  after_each(leaks.check)

  describe("that is malformed is refused, naming the field:", function()
    local many = {}
    for i = 1, 254 do
      many[i] = 1
    end
    local integer = "integer from 0 to 2147483647 expected"
    for name, row in pairs {
      ["no list"] = { 5, "control: list of tables with a type expected" },
      ["a text"] = { "fds", "control: list of tables with a type expected" },
      ["a list of numbers"] = { { 5 }, "control: list of tables with a type expected" },
      ["one message without a list"] = { { type = "tos", value = 4 }, "control: list of tables with a type expected" },
      ["no type"] = { { {} }, "control: type: string expected" },
      ["a type that is a number"] = { { { type = 5 } }, "control: type: string expected" },
      ["an unknown type"] = { { { type = "bogus" } }, "control: unknown type 'bogus'" },
      ["the second of two"] = { { { type = "tos", value = 1 }, { type = "no" } }, "control: unknown type 'no'" },
      ["timestamp"] = { { { type = "timestamp" } }, "control: 'timestamp' can only be received" },
      ["timestamping"] = { { { type = "timestamping" } }, "control: 'timestamping' can only be received" },
      ["error"] = { { { type = "error" } }, "control: 'error' can only be received" },
      ["drops"] = { { { type = "drops", value = 1 } }, "control: 'drops' can only be received" },
      ["gro_size"] = { { { type = "gro_size", value = 1 } }, "control: 'gro_size' can only be received" },
      ["inq"] = { { { type = "inq", value = 1 } }, "control: 'inq' can only be received" },
      ["original_dst"] = { { { type = "original_dst" } }, "control: 'original_dst' can only be received" },
      ["fds without fds"] = { { { type = "fds" } }, "control: fds: list of objects or descriptors expected" },
      ["fds of none"] = { { { type = "fds", fds = {} } }, "control: fds: 1 to 253 descriptors expected" },
      ["fds of 254"] = { { { type = "fds", fds = many } }, "control: fds: 1 to 253 descriptors expected" },
      ["fds of a text"] = { { { type = "fds", fds = { "1" } } }, "fds: list of objects or descriptors expected" },
      ["fds of -1"] = { { { type = "fds", fds = { -1 } } }, "fds: list of objects or descriptors expected" },
      ["fds of a fraction"] = { { { type = "fds", fds = { 1.5 } } }, "fds: list of objects or descriptors expected" },
      ["fds of a file"] = { { { type = "fds", fds = { io.stdout } } }, "fds: list of objects or descriptors expected" },
      ["fds too great"] = { { { type = "fds", fds = { 1 << 31 } } }, "fds: list of objects or descriptors expected" },
      ["credentials without pid"] = { { { type = "credentials", uid = 0, gid = 0 } }, "control: pid: " .. integer },
      ["credentials without uid"] = {
        { { type = "credentials", pid = 1, gid = 0 } }, "control: uid: integer from 0 to 4294967295 expected" },
      ["credentials without gid"] = {
        { { type = "credentials", pid = 1, uid = 0 } }, "control: gid: integer from 0 to 4294967295 expected" },
      ["credentials of a text"] = { { { type = "credentials", pid = "1", uid = 0, gid = 0 } }, "control: pid: " },
      ["credentials below 0"] = { { { type = "credentials", pid = 1, uid = -1, gid = 0 } }, "control: uid: " },
      ["pktinfo of a number"] = { { { type = "pktinfo", address = 5 } }, "control: address: IP address expected" },
      ["pktinfo of a name"] = { { { type = "pktinfo", address = "host" } }, "control: address: IP address expected" },
      ["pktinfo of no interface"] = {
        { { type = "pktinfo", interface = "no-such" } }, "control: interface: name or index of an interface expected" },
      ["pktinfo of interface true"] = {
        { { type = "pktinfo", interface = true } }, "control: interface: name or index of an interface expected" },
      ["pktinfo of interface -1"] = { { { type = "pktinfo", interface = -1 } }, "control: interface: " .. integer },
      ["tos without value"] = { { { type = "tos" } }, "control: value: " .. integer },
      ["tos of a text"] = { { { type = "tos", value = "4" } }, "control: value: " .. integer },
      ["ttl below 0"] = { { { type = "ttl", value = -1 } }, "control: value: " .. integer },
      ["hoplimit of a fraction"] = { { { type = "hoplimit", value = 0.5 } }, "control: value: " .. integer },
      ["tclass of a table"] = { { { type = "tclass", value = {} } }, "control: value: " .. integer },
      ["mark past 32 bits"] = {
        { { type = "mark", value = 1 << 32 } }, "control: value: integer from 0 to 4294967295 expected" },
      ["segment_size past 16 bits"] = {
        { { type = "segment_size", value = 65536 } }, "control: value: integer from 0 to 65535 expected" },
      ["raw without level"] = { { { type = "raw", number = 1, data = "" } }, "control: level: integer from " },
      ["raw without number"] = { { { type = "raw", level = 1, data = "" } }, "control: number: integer from " },
      ["raw without data"] = { { { type = "raw", level = 1, number = 1 } }, "control: data: string expected" },
      ["raw of a number"] = { { { type = "raw", level = 1, number = 1, data = 5 } }, "control: data: string expected" },
      ["one that does not fit"] = {
        { { type = "raw", level = 0, number = 1, data = ("x"):rep(8192) } }, "control: at most 8192 bytes" },
      ["many that do not fit"] = {
        { { type = "raw", level = 0, number = 1, data = ("x"):rep(8000) },
          { type = "raw", level = 0, number = 1, data = ("x"):rep(300) } }, "control: at most 8192 bytes" },
    } do
      it_in_task(name, function()
        local a <close> = udp()
        raises(row[2], a, "sendmsg", { data = "x", address = a:local_addr(), control = row[1] })
        raises(row[2], a, "try_sendmsg", { data = "x", address = a:local_addr(), control = row[1] })
        fails("EAGAIN", a:try_recvmsg())
      end)
    end
  end)

  it_in_task("may be an empty list", function()
    local a, b, _guard <close> = pair()
    assert(a:sendmsg { data = "x", control = {} })
    same_list({}, assert(b:recvmsg()).control)
  end)

  describe("fds", function()
    on_linux_it("pass one socket, which is used at the other side and passed back", function()
      local a, b, _guard <close> = pair()
      local passed, other, _guard2 <close> = pair()
      local cookie = passed:cookie()
      assert.equal(1, assert(a:sendmsg { data = "x", control = { { type = "fds", fds = { passed } } } }))
      passed:close()
      local message = assert(b:recvmsg())
      assert.equal("x", message.data)
      assert.equal("fds", types_of(message))
      local fds = message:take_fds()
      assert.equal(1, #fds)
      assert.equal("integer", math.type(fds[1]))
      same_list(fds, message:find("fds").fds)
      assert.is_true(is_close_on_exec(fds[1]))
      local again <close> = assert(Socket.from_fd(fds[1]))
      assert.equal(cookie, again:cookie())
      assert(again:send "through it")
      assert.equal("through it", assert(other:recv()))
      assert(b:sendmsg { data = "y", control = { { type = "fds", fds = { again } } } })
      local back <close> = assert(a:recvmsg())
      local home <close> = assert(Socket.from_fd(back:take_fds()[1]))
      assert.equal(cookie, home:cookie())
      assert(other:send "back")
      assert.equal("back", assert(home:recv()))
    end)

    on_linux_it("pass TCP objects of every kind, and integers, in order", function()
      local a, b, _guard <close> = pair()
      local listener <close> = tcp.listener()
      local client, server, _guard2 <close> = tcp.pair()
      local cookies = {
        assert(listener:as_socket():cookie()), assert(client:cookie()), assert(server:cookie()),
        assert(a:cookie()), assert(listener:as_socket():cookie()) }
      assert(a:sendmsg { data = "x", control = {
        { type = "fds", fds = { listener, client, server:fd(), a, listener:as_socket() } } } })
      local message = assert(b:recvmsg())
      local fds = message:take_fds()
      assert.equal(5, #fds)
      for i, fd in ipairs(fds) do
        assert.is_true(is_close_on_exec(fd))
        assert.equal(cookies[i], cookie_of(fd))
      end
    end)

    on_linux_it("pass as many as the kernel does: 253, with the usual room for control data", function()
      local a, b, _guard <close> = pair()
      local fds = {}
      for i = 1, 253 do
        fds[i] = a
      end
      local before = open_sockets()
      assert(a:sendmsg { data = "x", control = { { type = "fds", fds = fds } } })
      local message = assert(b:recvmsg())
      assert.equal(253, #message:find("fds").fds)
      assert.equal("", names(message.flags))
      assert.equal("Message (1 bytes, 253 descriptors)", tostring(message))
      message:close()
      assert.equal(before, open_sockets())
    end)

    on_linux_it("come in one list for each message sent, not for each entry", function()
      local a, b, _guard <close> = pair()
      assert(a:sendmsg { data = "x", control = {
        { type = "fds", fds = { a } }, { type = "fds", fds = { b, a } } } })
      local message <close> = assert(b:recvmsg())
      assert.equal("fds", types_of(message))
      assert.equal(3, #fds_of(message))
    end)

    on_linux_it("are refused as EBUSY while bytes already read would be lost", function()
      local a, b, _guard <close> = pair()
      local client, server, _guard2 <close> = tcp.pair()
      assert(client:write "line\nrest")
      assert.equal("line", assert(server:read_line()))
      assert.equal(4, server:buffered())
      local err = fails("EBUSY", a:sendmsg { data = "x", control = { { type = "fds", fds = { server } } } })
      assert.matches("bytes already read", err.message, 1, true)
      assert.equal("sendmsg", err.op)
      assert.equal("rest", assert(server:read()))
      assert(a:sendmsg { data = "x", control = { { type = "fds", fds = { server } } } })
      assert.equal(1, #fds_of(assert(b:recvmsg())))
    end)

    on_linux_it("of closed and consumed objects are CLOSED", function()
      local a, b, _guard <close> = pair()
      local closed, consumed = pair()
      closed:close()
      local fd = consumed:into_fd()
      for _, object in ipairs { closed, consumed } do
        fails("CLOSED", a:sendmsg { data = "x", control = { { type = "fds", fds = { a, object } } } })
      end
      assert(Socket.from_fd(fd)):close()
      fails("EBADF", a:sendmsg { data = "x", control = { { type = "fds", fds = { 19999 } } } })
      fails("EAGAIN", b:try_recvmsg())
    end)

    on_linux_it("of an object that is closed while the message waits are CLOSED, not another's", function()
      local a, b, _guard <close> = pair()
      local passed, _, _guard2 <close> = pair()
      while a:try_send "fill" do end
      local task = tcpnet.spawn(a.sendmsg, a, { data = "x", control = { { type = "fds", fds = { passed } } } })
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      local fd = passed:fd()
      passed:close()
      local reused <close> = udp()
      assert.equal(fd, reused:fd())
      while b:try_recv() do end
      local ok, sent, err = task:join()
      assert.is_true(ok)
      fails("CLOSED", sent, err)
      fails("EAGAIN", b:try_recvmsg())
    end)

    on_linux_it("go with the bytes of a stream", function()
      local a, b, _guard <close> = pair "stream"
      local before = open_sockets()
      assert(a:sendmsg { data = "first" })
      assert(a:sendmsg { data = "second", control = { { type = "fds", fds = { a, b } } } })
      assert(a:sendmsg { data = "third" })
      local seen, count = "", 0
      while #seen < 16 do
        local message <close> = assert(b:recvmsg { data = 3 })
        seen = seen .. message.data
        count = count + #fds_of(message)
        if #fds_of(message) > 0 then
          assert.is_true(is_close_on_exec(fds_of(message)[2]))
        end
      end
      assert.equal("firstsecondthird", seen)
      assert.equal(2, count)
      assert.equal(before, open_sockets())
    end)

    on_linux_it("are the message's until they are taken", function()
      local a, b, _guard <close> = pair()
      local function send()
        assert(a:sendmsg { data = "x", control = { { type = "fds", fds = { a, b } } } })
        return assert(b:recvmsg())
      end
      local before = open_sockets()
      local fds
      do -- closed with it
        local message <close> = send()
        fds = fds_of(message)
        assert.is_true(is_open(fds[1]) and is_open(fds[2]))
      end
      assert.is_false(is_open(fds[1]) or is_open(fds[2]))
      fds = fds_of(send()) -- collected
      collectgarbage()
      collectgarbage()
      assert.is_false(is_open(fds[1]) or is_open(fds[2]))
      local message = send() -- closed by name, twice
      fds = fds_of(message)
      message:close()
      message:close()
      assert.is_false(is_open(fds[1]) or is_open(fds[2]))
      same_list({}, message:take_fds())
      assert.equal(before, open_sockets())
      do -- taken: neither closing nor collecting it does anything
        local taken_from <close> = send()
        fds = taken_from:take_fds()
        same_list({}, taken_from:take_fds())
        assert.equal("Message (1 bytes, 0 descriptors)", tostring(taken_from))
      end
      collectgarbage()
      assert.is_true(is_open(fds[1]) and is_open(fds[2]))
      for _, fd in ipairs(fds) do
        assert(Socket.from_fd(fd)):close()
      end
      assert.equal(before, open_sockets())
    end)

    describe("never leak, in 200 rounds,", function()
      -- round(a, b, fds): one message is sent before, on a pair of `kind`.
      local function rounds(name, round, kind)
        on_linux_it(name, function()
          local a, b, _guard <close> = pair(kind)
          local message = { data = "x", control = { { type = "fds", fds = { a, b, a, b, a } } } }
          local before = open_sockets()
          for number = 1, 200 do
            assert(a:sendmsg(message))
            round(b, a)
            if number % 40 == 0 then -- a round may take 15 descriptors, and a shell has 1024
              collectgarbage()
            end
          end
          assert.equal(before, open_sockets())
        end)
      end

      for _, kind in ipairs { "dgram", "stream", "seqpacket" } do
        for count = 0, 4 do
          rounds(("where the room is for %d of 5 (%s)"):format(count, kind), function(b)
            local message = assert(b:recvmsg { control = CONTROL_HEADER + 4 * count })
            assert.equal("x", message.data)
            assert.equal(count, #fds_of(message))
            assert.is_true(message.flags.control_truncated)
            assert.equal("control_truncated", names(message.flags))
          end, kind)
        end

        rounds("where there is no room, or less than a header (" .. kind .. ")", function(b, a)
          local message = assert(b:recvmsg { control = 0 })
          same_list({}, message.control)
          assert.is_true(message.flags.control_truncated)
          assert(a:sendmsg { data = "y", control = { { type = "fds", fds = { a } } } })
          message = assert(b:recvmsg { control = 15 })
          assert.equal("y", message.data)
          same_list({}, message.control)
          assert.is_true(message.flags.control_truncated)
        end, kind)

        rounds("where plain recv, and its like, discard them (" .. kind .. ")", function(b, a)
          local message = { data = "x", control = { { type = "fds", fds = { a, b } } } }
          assert.equal("x", assert(b:peek()))
          assert.equal("x", assert(b:recv()))
          assert(a:sendmsg(message))
          b:peek_sender()
          assert.equal("x", (assert(b:recv_from())))
          assert(a:sendmsg(message))
          assert.equal(1, (assert(b:recv_vectored { Buffer.new(4) })))
        end, kind)

        rounds("where peek gives other ones than the message itself (" .. kind .. ")", function(b)
          local first = assert(b:recvmsg { flags = { "peek" } })
          local second = assert(b:recvmsg { flags = { "peek" } })
          local message = assert(b:recvmsg())
          assert.equal(5, #fds_of(first))
          assert.equal(5, #fds_of(second))
          assert.equal(5, #fds_of(message))
          assert.is_true(first:find("fds").fds[1] ~= message:find("fds").fds[1])
        end, kind)
      end

      rounds("where user code raises with the message in hand", function(b)
        local ok, err = pcall(function()
          local message = assert(b:recvmsg())
          error { message }
        end)
        assert.is_false(ok)
        assert.equal(5, #fds_of(err[1]))
      end)

      rounds("where the message is dropped at once", function(b)
        b:recvmsg()
      end)

      rounds("where a wait was cancelled before", function(b)
        assert.equal(5, #fds_of(assert(b:recvmsg())))
        local task = tcpnet.spawn(b.recvmsg, b)
        tcpnet.yield()
        task:cancel()
      end)

      rounds("where the task that got it is cancelled", function(b)
        local task = tcpnet.spawn(function()
          local message = assert(b:recvmsg())
          tcpnet.park()
          return message
        end)
        tcpnet.yield()
        task:cancel()
      end)

      rounds("where the socket is closed with the message unread", function(_, a)
        local c, d = pair()
        assert(c:sendmsg { data = "x", control = { { type = "fds", fds = { a, a, a } } } })
        c:close()
        d:close()
      end, "stream")
    end)

    on_linux_it("wait for whoever receives after a wait that ended", function()
      local a, b, _guard <close> = pair()
      local before = open_sockets()
      assert(b:set_timeout(0.01))
      fails("TIMEOUT", b:recvmsg())
      assert(b:set_timeout(nil))
      assert.is_true(tcp.waits(b.recvmsg, b))
      assert(a:sendmsg { data = "x", control = { { type = "fds", fds = { a, b } } } })
      assert.equal(2, #fds_of(assert(b:recvmsg())))
      assert.equal(before, open_sockets())
    end)
  end)

  describe("credentials", function()
    local function own_pid()
      local file <close> = assert(io.open "/proc/self/stat")
      return file:read "n"
    end

    local function own_id(which)
      local pipe = assert(io.popen("id -" .. which))
      local id = pipe:read "n"
      pipe:close()
      return id
    end

    on_linux_it("come with every message once they are asked for", function()
      for _, kind in ipairs { "dgram", "stream", "seqpacket" } do
        local a, b, _guard <close> = pair(kind)
        assert(b:set_passcred(true))
        assert(a:sendmsg { data = "x" })
        same_list({ { type = "credentials", pid = own_pid(), uid = own_id "u", gid = own_id "g" } },
          assert(b:recvmsg()).control)
      end
    end)

    on_linux_it("may be given: one's own", function()
      local a, b, _guard <close> = pair()
      assert(b:set_passcred(true))
      local own = { type = "credentials", pid = own_pid(), uid = own_id "u", gid = own_id "g" }
      assert(a:sendmsg { data = "x", control = { own } })
      same_list({ own }, assert(b:recvmsg()).control)
    end)

    on_linux_it("and descriptors come together (F52)", function()
      local a, b, _guard <close> = pair()
      assert(b:set_passcred(true))
      assert(a:sendmsg { data = "x", control = { { type = "fds", fds = { a } } } })
      local message <close> = assert(b:recvmsg())
      assert.equal("credentials fds", types_of(message))
      assert.equal(own_pid(), message:find("credentials").pid)
    end)

    on_linux_it("of others are root's to give", function()
      if not as_root then
        return pending "needs root"
      end
      local a, b, _guard <close> = pair()
      assert(b:set_passcred(true))
      local other = { type = "credentials", pid = 1, uid = 12345, gid = 4000000000 }
      assert(a:sendmsg { data = "x", control = { other } })
      same_list({ other }, assert(b:recvmsg()).control)
      other.pid = 999999999
      fails("ESRCH", a:sendmsg { data = "x", control = { other } })
    end)

    it("of others are EPERM for everybody else", function()
      if not on_linux then
        return pending "needs Linux"
      end
      local output = tcp.child([[
        local a, b = tcpnet.Socket.pair("unix", "dgram")
        for _, change in ipairs { "pid", "uid", "gid" } do
          local who = { type = "credentials", pid = io.open "/proc/self/stat":read "n", uid = tonumber(os.getenv "ID"),
            gid = tonumber(os.getenv "ID") }
          assert(a:sendmsg { data = "own", control = { who } })
          who[change] = 0 + (change == "pid" and 1 or 0)
          local sent, err = a:sendmsg { data = "x", control = { who } }
          print(change, sent, err and err.code)
        end
      ]], as_root and [[ID=65534 setpriv --reuid 65534 --regid 65534 --clear-groups "$LUA" - <"$SCRIPT"]]
        or [[ID=$(id -u) "$LUA" "$SCRIPT"]])
      if not output:find "^pid" then
        return pending("nobody else can run this module here: " .. output:sub(1, 60))
      end
      assert.equal("pid\tnil\tEPERM\nuid\tnil\tEPERM\ngid\tnil\tEPERM\n", output)
    end)
  end)

  describe("pktinfo", function()
    local function loopback_index()
      local file <close> = assert(io.open "/sys/class/net/lo/ifindex")
      return file:read "n"
    end

    on_linux_it("says which interface and address an IPv4 datagram was for", function()
      local sender, receiver = udp(), udp "0.0.0.0:0"
      local _guard <close> = tcp.guard(sender, receiver)
      assert(receiver:set_recv_pktinfo_v4(true))
      assert(sender:sendmsg { data = "x", address = "127.0.0.7:" .. receiver:local_addr():port() })
      same_list({ { type = "pktinfo", interface = loopback_index(), address = "127.0.0.7",
        local_address = "127.0.0.7" } }, assert(receiver:recvmsg()).control)
    end)

    on_linux_it("says so of an IPv6 datagram", function()
      local sender, receiver = udp "[::1]:0", udp "[::]:0"
      local _guard <close> = tcp.guard(sender, receiver)
      assert(receiver:set_recv_pktinfo_v6(true))
      assert(sender:sendmsg { data = "x", address = "[::1]:" .. receiver:local_addr():port() })
      same_list({ { type = "pktinfo", interface = loopback_index(), address = "::1" } },
        assert(receiver:recvmsg()).control)
    end)

    on_linux_it("chooses the source of an IPv4 datagram, and its interface", function()
      local sender, receiver = udp "0.0.0.0:0", udp()
      local _guard <close> = tcp.guard(sender, receiver)
      local port = sender:local_addr():port()
      for _, interface in ipairs { "lo", loopback_index(), false } do
        assert(sender:sendmsg { data = "x", address = receiver:local_addr(),
          control = { { type = "pktinfo", address = "127.0.0.9", interface = interface or nil } } })
        assert.equal("127.0.0.9:" .. port, tostring(assert(receiver:recvmsg()).address))
      end
      assert(sender:sendmsg { data = "x", address = receiver:local_addr(),
        control = { { type = "pktinfo", interface = "lo" } } })
      assert.equal("127.0.0.1:" .. port, tostring(assert(receiver:recvmsg()).address))
      fails("EINVAL ENETUNREACH EADDRNOTAVAIL", sender:sendmsg { data = "x", address = receiver:local_addr(),
        control = { { type = "pktinfo", address = "192.0.2.1" } } })
    end)

    on_linux_it("chooses the interface of an IPv6 datagram", function()
      local sender, receiver = udp "[::]:0", udp "[::1]:0"
      local _guard <close> = tcp.guard(sender, receiver)
      for _, entry in ipairs { { address = "::1" }, { interface = "lo" }, { address = "::1", interface = "lo" }, {} } do
        entry.type = "pktinfo"
        assert(sender:sendmsg { data = "x", address = receiver:local_addr(), control = { entry } })
        assert.equal("::1", assert(receiver:recvmsg()).address:ip())
      end
      fails("EINVAL EADDRNOTAVAIL", sender:sendmsg { data = "x", address = receiver:local_addr(),
        control = { { type = "pktinfo", address = "2001:db8::1" } } })
      fails("ENODEV EINVAL ENXIO", sender:sendmsg { data = "x", address = receiver:local_addr(),
        control = { { type = "pktinfo", interface = 99999 } } })
    end)

    on_linux_it("that came can be sent back: the answer is from where the question went", function()
      local client, server = udp(), udp "0.0.0.0:0"
      local _guard <close> = tcp.guard(client, server)
      assert(server:set_recv_pktinfo_v4(true))
      assert(client:sendmsg { data = "?", address = "127.0.0.8:" .. server:local_addr():port() })
      local question = assert(server:recvmsg())
      assert(server:sendmsg { data = "!", address = question.address, control = question.control })
      assert.equal("127.0.0.8:" .. server:local_addr():port(), tostring(assert(client:recvmsg()).address))
    end)
  end)

  describe("time", function()
    local function assert_recent(nanoseconds)
      assert.equal("integer", math.type(nanoseconds))
      local seconds = nanoseconds / 1e9
      assert(math.abs(seconds - os.time()) < 60, ("%.0f is not now (%d)"):format(seconds, os.time()))
    end

    on_linux_it("of arrival comes as timestamp, in nanoseconds", function()
      for _, option in ipairs { "set_timestamp", "set_timestamp_ns" } do
        local a, b, address, _guard <close> = udp_pair()
        assert(b[option](b, true))
        local stamps = {}
        for i = 1, 2 do
          assert(a:sendmsg { data = "x", address = address })
          local message = assert(b:recvmsg())
          assert.equal("timestamp", types_of(message))
          stamps[i] = value_of(message, "timestamp")
          assert_recent(stamps[i])
          tcpnet.sleep(0.02)
        end
        local apart = stamps[2] - stamps[1]
        assert(apart >= 19000000 and apart < 20000000000, tostring(apart))
        if option == "set_timestamp" then
          assert.equal(0, stamps[1] % 1000)
        end
      end
    end)

    on_linux_it("of arrival comes as timestamping, of departure in the error queue", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(b:set_timestamping(8 | 16))
      assert(a:set_timestamping(2 | 16))
      assert(a:sendmsg { data = "stamped", address = address })
      local message = assert(b:recvmsg())
      for _ = 1, 100 do -- the kernel begins to take them a moment after it was asked to
        if message:find "timestamping" then
          break
        end
        tcpnet.sleep(0.01)
        assert(a:sendmsg { data = "stamped", address = address })
        message = assert(b:recvmsg())
        assert(a:recvmsg { flags = "errqueue" })
      end
      assert.equal("timestamping", types_of(message))
      local entry = message:find "timestamping"
      assert_recent(entry.software)
      assert.is_nil(entry.hardware)
      local stamp = assert(a:recvmsg { flags = { "errqueue" } })
      assert.equal("error timestamping", types_of(stamp))
      assert.equal("error_queue", names(stamp.flags))
      assert.equal("stamped", stamp.data:sub(-7))
      assert_recent(stamp:find("timestamping").software)
      local cause = stamp:find "error"
      assert.equal("timestamp", cause.origin)
      assert.equal("ENOMSG", cause.code)
      assert.equal(42, cause.errno)
      assert.equal(0, cause.info)
      assert.is_nil(cause.offender)
      fails("EAGAIN", a:try_recvmsg { flags = { "errqueue" } })
    end)

    on_linux_it("of departure comes without the bytes, and is no end of a stream", function()
      local client, server, _guard <close> = tcp.pair()
      local view = client:as_socket()
      assert(view:set_timestamping(2 | 16 | 1 << 7 | 1 << 11)) -- SOF_TIMESTAMPING_OPT_ID and OPT_TSONLY
      local task = tcpnet.spawn(view.recvmsg, view, { flags = { "errqueue" } })
      tcpnet.sleep(0.01)
      assert.equal("waiting", task:status())
      assert(client:write "0123456789")
      assert.equal("0123456789", assert(server:read()))
      local ok, stamp, err = task:join()
      assert.is_true(ok)
      assert(stamp, err or "taken for an end")
      assert.equal("", stamp.data)
      assert_recent(stamp:find("timestamping").software)
      assert.equal(9, stamp:find("error").data) -- the last byte's number
    end)
  end)

  describe("values", function()
    on_linux_it("tos and ttl go and come with IPv4", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(b:set_recv_tos_v4(true))
      assert(b:set_recv_ttl_v4(true))
      assert(a:sendmsg { data = "x", address = address,
        control = { { type = "tos", value = 0xb8 }, { type = "ttl", value = 33 } } })
      local message = assert(b:recvmsg())
      assert.equal("tos ttl", types_of(message))
      assert.equal(0xb8, value_of(message, "tos"))
      assert.equal(33, value_of(message, "ttl"))
      assert.equal("integer", math.type(value_of(message, "tos")))
      assert(a:sendmsg { data = "x", address = address })
      assert.equal(0, value_of(assert(b:recvmsg()), "tos"))
      fails("EINVAL", a:sendmsg { data = "x", address = address, control = { { type = "tos", value = 256 } } })
      fails("EINVAL", a:sendmsg { data = "x", address = address, control = { { type = "ttl", value = 0 } } })
    end)

    on_linux_it("tclass and hoplimit go and come with IPv6", function()
      local a, b, address, _guard <close> = udp_pair "[::1]:0"
      assert(b:set_recv_tclass_v6(true))
      assert(b:set_recv_hoplimit_v6(true))
      assert(a:sendmsg { data = "x", address = address,
        control = { { type = "tclass", value = 0x48 }, { type = "hoplimit", value = 34 } } })
      local message = assert(b:recvmsg())
      assert.equal("hoplimit tclass", types_of(message))
      assert.equal(0x48, value_of(message, "tclass"))
      assert.equal(34, value_of(message, "hoplimit"))
      fails("EINVAL", a:sendmsg { data = "x", address = address, control = { { type = "tclass", value = 256 } } })
      fails("EINVAL", a:sendmsg { data = "x", address = address, control = { { type = "hoplimit", value = 256 } } })
    end)

    on_linux_it("mark goes and comes with all its 32 bits", function()
      if not as_root then
        return pending "needs root"
      end
      local a, b, address, _guard <close> = udp_pair()
      if not b:set_recv_mark(true) then
        return pending "the kernel gives no marks"
      end
      for _, mark in ipairs { 77, 0xf0000001, 0xffffffff } do
        assert(a:sendmsg { data = "x", address = address, control = { { type = "mark", value = mark } } })
        same_list({ { type = "mark", value = mark } }, assert(b:recvmsg()).control)
      end
    end)

    on_linux_it("drops counts what did not fit", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(b:set_rxq_ovfl(true))
      assert(b:set_recv_buffer_size(4096))
      local block = ("x"):rep(1000)
      for _ = 1, 100 do
        assert(a:sendmsg { data = block, address = address })
      end
      local came = 0
      while b:try_recvmsg() do
        came = came + 1
      end
      assert(came > 0 and came < 100, tostring(came))
      assert(a:sendmsg { data = "last", address = address })
      local message = assert(b:recvmsg())
      assert.equal("last", message.data)
      same_list({ { type = "drops", value = 100 - came } }, message.control)
    end)

    on_linux_it("segment_size cuts a datagram, gro_size tells how to", function()
      local a, b, address, _guard <close> = udp_pair()
      local bytes = tcp.bytes(400)
      local message = { data = bytes, address = address, control = { { type = "segment_size", value = 100 } } }
      assert.equal(400, assert(a:sendmsg(message)))
      for i = 0, 3 do
        local came = assert(b:recvmsg())
        assert.equal(bytes:sub(100 * i + 1, 100 * i + 100), came.data)
        same_list({}, came.control)
      end
      assert(b:set_udp_gro(true))
      message.data = bytes:sub(1, 390)
      assert.equal(390, assert(a:sendmsg(message)))
      local came = assert(b:recvmsg())
      assert.equal(bytes:sub(1, 390), came.data)
      same_list({ { type = "gro_size", value = 100 } }, came.control)
      fails("EAGAIN", b:try_recvmsg())
    end)

    on_linux_it("inq tells how much of a TCP stream is unread", function()
      local client, server, _guard <close> = tcp.pair()
      local view = server:as_socket()
      assert(view:set_tcp_inq(true))
      assert(client:write "0123456789")
      local message = assert(view:recvmsg { data = 4 })
      assert.equal("0123", message.data)
      same_list({ { type = "inq", value = 6 } }, message.control)
      message = assert(view:recvmsg { data = 6 })
      same_list({ { type = "inq", value = 0 } }, message.control)
    end)

    on_linux_it("what a stream has read ahead comes first, without control data", function()
      local client, server, _guard <close> = tcp.pair()
      local view = server:as_socket()
      assert(view:set_tcp_inq(true))
      assert(client:write "line\nrest")
      assert.equal("line", assert(server:read_line()))
      local message = assert(view:recvmsg { data = 2, flags = { "peek" } })
      assert.equal("re", message.data)
      assert.equal("re", assert(view:recvmsg { data = 2 }).data)
      assert(client:write "more")
      assert.equal("st", assert(view:recvmsg()).data)
      message = assert(view:recvmsg())
      assert.equal("more", message.data)
      assert.equal("inq", types_of(message))
    end)

    on_linux_it("original_dst tells where a datagram was sent", function()
      local sender, receiver = udp(), udp "0.0.0.0:0"
      local _guard <close> = tcp.guard(sender, receiver)
      assert(receiver:set_recv_orig_dst_v4(true))
      local address = assert(SocketAddr.new("127.0.0.6", receiver:local_addr():port()))
      assert(sender:sendmsg { data = "x", address = address })
      local message = assert(receiver:recvmsg())
      assert.equal("original_dst", types_of(message))
      assert.equal(address, message:find("original_dst").address)
    end)

    on_linux_it("many come in one message, with what has no room cut off", function()
      local a, b, address, _guard <close> = udp_pair()
      for _, option in ipairs { "recv_tos_v4", "recv_ttl_v4", "recv_pktinfo_v4", "timestamp_ns" } do
        assert(b["set_" .. option](b, true))
      end
      assert(a:sendmsg { data = "x", address = address })
      assert.equal("pktinfo timestamp tos ttl", types_of(assert(b:recvmsg())))
      assert(a:sendmsg { data = "x", address = address })
      local message = assert(b:recvmsg { control = CONTROL_HEADER + string.packsize "jj" })
      assert.equal("timestamp", types_of(message))
      assert.equal("control_truncated", names(message.flags))
      assert(a:sendmsg { data = "x", address = address })
      message = assert(b:recvmsg { control = 0 })
      same_list({}, message.control)
      assert.is_true(message.flags.control_truncated)
      for size = 1, 200 do
        assert(a:sendmsg { data = "x", address = address })
        assert.equal("x", assert(b:recvmsg { control = size }).data)
      end
    end)
  end)

  describe("raw", function()
    on_linux_it("sends what has a name, too", function()
      local a, b, address, _guard <close> = udp_pair()
      assert(b:set_recv_tos_v4(true))
      assert(a:sendmsg { data = "x", address = address,
        control = { { type = "raw", level = 0, number = 1, data = ("i4"):pack(0x20) } } }) -- IPPROTO_IP, IP_TOS
      same_list({ { type = "tos", value = 0x20 } }, assert(b:recvmsg()).control)
    end)

    on_linux_it("is what comes without a name", function()
      local a, b, address, _guard <close> = udp_pair()
      local IPPROTO_IP, IP_RECVOPTS = 0, 6
      assert(b:set(IPPROTO_IP, IP_RECVOPTS, ("i4"):pack(1)))
      local options = "\x01\x01\x01\x00" -- three of no operation, then the end
      assert(a:sendmsg { data = "x", address = address,
        control = { { type = "raw", level = IPPROTO_IP, number = 7, data = options } } }) -- IP_RETOPTS
      same_list({ { type = "raw", level = IPPROTO_IP, number = IP_RECVOPTS, data = options } },
        assert(b:recvmsg()).control)
    end)

    on_linux_it("of an unknown number is refused by the kernel", function()
      local a, b, address, _guard <close> = udp_pair()
      for _, level in ipairs { 0, 1 } do
        fails("EINVAL", a:sendmsg { data = "x", address = address,
          control = { { type = "raw", level = level, number = 9999, data = ("i4"):pack(1) } } })
      end
      fails("EINVAL", a:sendmsg { data = "x", address = address,
        control = { { type = "raw", level = 0, number = 1, data = "x" .. ("i8"):pack(1) } } })
      fails("EAGAIN", b:try_recvmsg())
      local c, _, _guard2 <close> = pair()
      fails("EINVAL", c:sendmsg { data = "x", control = { { type = "raw", level = 1, number = 9999, data = "" } } })
    end)

    on_linux_it("takes all of the room, and is refused past it", function()
      local a <close> = udp()
      local entry = { type = "raw", level = 0x7ffffff, number = 1 } -- nobody's level
      entry.data = ("x"):rep(8192 - CONTROL_HEADER)
      assert(a:sendmsg { data = "x", address = a:local_addr(), control = { entry } })
      assert.equal("x", assert(a:recv()))
      entry.data = entry.data .. "x"
      raises("control: at most 8192 bytes", a, "sendmsg", { data = "x", control = { entry } })
    end)
  end)
end)

describe("the error queue", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local families = {
    { name = "v4", any = "127.0.0.1:0", ip = "127.0.0.1", origin = "icmp", icmp_type = 3, icmp_code = 3 },
    { name = "v6", any = "[::1]:0", ip = "::1", origin = "icmp6", icmp_type = 1, icmp_code = 4 },
  }

  -- a socket that keeps its errors
  local function keeping(family)
    local socket = udp(family.any)
    assert(socket["set_recv_err_" .. family.name](socket, true))
    return socket
  end

  for _, family in ipairs(families) do
    on_linux_it("tells which datagram met a closed port, and whose word it is, over " .. family.name, function()
      local socket <close> = keeping(family)
      local nobody = closed_port(family.any)
      assert(socket:sendmsg { data = "lost", address = nobody })
      local message = assert(socket:recvmsg { flags = { "errqueue" } })
      assert.equal("lost", message.data)
      assert.equal(nobody, message.address)
      assert.equal("error_queue", names(message.flags))
      local cause = message:find "error"
      assert.equal(family.ip, cause.offender:ip())
      assert.equal(0, cause.offender:port())
      cause.offender = nil
      same_list({ type = "error", code = "ECONNREFUSED", errno = 111, origin = family.origin, info = 0, data = 0,
        icmp_type = family.icmp_type, icmp_code = family.icmp_code }, cause)
      fails("EAGAIN", socket:try_recvmsg { flags = { "errqueue" } })
    end)

    on_linux_it("is waited for, over " .. family.name, function()
      local socket <close> = keeping(family)
      local task = tcpnet.spawn(socket.recvmsg, socket, { flags = { "errqueue" } })
      tcpnet.sleep(0.02)
      assert.equal("waiting", task:status())
      local nobody = closed_port(family.any)
      assert(socket:send_to("lost", nobody))
      local ok, message = task:join(5)
      assert.is_true(ok)
      assert.equal("ECONNREFUSED", message:find("error").code)
      assert.equal(nobody, message.address)
    end)
  end

  on_linux_it("keeps the order, and the bytes cut to what is asked for", function()
    local socket <close> = keeping(families[1])
    local nobody = closed_port()
    for i = 1, 5 do
      socket:send_to("number " .. i, nobody)
      socket:take_error()
    end
    for i = 1, 5 do
      local message = assert(socket:recvmsg { data = 7 + i % 2, flags = "errqueue" })
      assert.equal(("number " .. i):sub(1, 7 + i % 2), message.data)
      assert.equal(i % 2 == 0, message.flags.truncated == true)
    end
    fails("EAGAIN", socket:try_recvmsg { flags = "errqueue" })
  end)

  on_linux_it("that is waited for is no hindrance to a reader, nor one to it", function()
    local socket, peer <close> = keeping(families[1]), udp()
    local _guard <close> = socket
    local seen = {}
    local reader = tcpnet.spawn(function()
      while #seen < 3 do
        local data, err = socket:recv()
        if data then
          seen[#seen + 1] = data
        else
          assert(err.code == "ECONNREFUSED", err)
        end
      end
    end)
    local watcher = tcpnet.spawn(function()
      for _ = 1, 3 do
        assert.equal("ECONNREFUSED", assert(socket:recvmsg { flags = { "errqueue" } }):find("error").code)
      end
    end)
    local nobody = closed_port()
    for i = 1, 3 do
      tcpnet.sleep(0.01)
      socket:send_to("lost", nobody)
      socket:take_error()
      assert(peer:send_to("data " .. i, socket:local_addr()))
    end
    assert(reader:join(5))
    assert(watcher:join(5))
    assert.equal("data 1 data 2 data 3", table.concat(seen, " "))
  end)

  on_linux_it("that nobody reads makes no busy loop, and data still comes", function()
    local socket, peer <close> = keeping(families[1]), udp()
    local _guard <close> = socket
    assert(socket:send_to("lost", closed_port()))
    fails("ECONNREFUSED", socket:recv())
    local reader = tcpnet.spawn(socket.recv, socket)
    tcpnet.sleep(0.05)
    assert.is_nil((reader:join(0))) -- it waits, or tries again just now
    local polls, processor = tcpnet.metrics().polls, os.clock()
    tcpnet.sleep(0.5)
    assert(os.clock() - processor < 0.25, ("%.3f s of CPU in 0.5 s"):format(os.clock() - processor))
    assert(tcpnet.metrics().polls - polls < 500, ("%d turns in 0.5 s"):format(tcpnet.metrics().polls - polls))
    assert.is_nil((reader:join(0))) -- it waits, or tries again just now
    assert(peer:send_to("late", socket:local_addr()))
    local ok, data = reader:join(1)
    assert.is_true(ok)
    assert.equal("late", data)
    assert.equal("lost", assert(socket:recvmsg { flags = { "errqueue" } }).data)
  end)

  on_linux_it("that nobody reads makes no busy loop for a sender that waits either", function()
    local a, b, _guard <close> = pair()
    local socket <close> = keeping(families[1])
    assert(socket:send_to("lost", closed_port()))
    fails("ECONNREFUSED", socket:recv())
    while a:try_send "fill" do end
    local tasks = { tcpnet.spawn(a.send, a, "one more"), tcpnet.spawn(socket.recvmsg, socket),
      tcpnet.spawn(socket.readable, socket) }
    tcpnet.sleep(0.05)
    local processor = os.clock()
    tcpnet.sleep(0.5)
    assert(os.clock() - processor < 0.25, ("%.3f s of CPU in 0.5 s"):format(os.clock() - processor))
    for _, task in ipairs(tasks) do
      task:cancel()
    end
    assert.equal("fill", assert(b:recv()))
  end)

  on_linux_it("wait ends when the socket is closed, when the time is up, when it is cancelled", function()
    local socket <close> = keeping(families[1])
    assert.is_true(tcp.waits(socket.recvmsg, socket, { flags = { "errqueue" } }))
    assert(socket:set_timeout(0.02))
    fails("TIMEOUT", socket:recvmsg { flags = { "errqueue" } })
    assert(socket:set_timeout(nil))
    local task = tcpnet.spawn(socket.recvmsg, socket, { flags = { "errqueue" } })
    tcpnet.yield()
    socket:close()
    local ok, message, err = task:join()
    assert.is_true(ok)
    fails("CLOSED", message, err)
  end)

  on_linux_it("of a socket that keeps none is only the pending error", function()
    local socket <close> = udp()
    assert(socket:connect(closed_port()))
    assert(socket:send "lost")
    fails("ECONNREFUSED", socket:recvmsg())
    fails("EAGAIN", socket:try_recvmsg { flags = { "errqueue" } })
  end)
end)
