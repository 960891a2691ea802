-- Every socket option: a round trip for each row of the table on this kernel, the ways to an option, what is refused
-- and in which words, tcp_info, features, what can be seen of an option at work, and that an option is one row.
local leaks = require "spec.support.leaks"
local option_values = require "spec.support.option_values"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Socket, TcpListener, TcpSocket, TcpStream = tcpnet.Socket, tcpnet.TcpListener, tcpnet.TcpSocket, tcpnet.TcpStream
local private = require("tcpnet.core").private
local fails, in_task = tcp.fails, tcp.in_task
local NONE = option_values.NONE

local rows, by_name = private.option_rows(), {}
for _, row in ipairs(rows) do
  by_name[row.name] = row
end

local on_linux = tcp.can "test -e /proc/self/exe"
local is_root = tcp.can "test $(id -u) -eq 0"
local features = tcpnet.features()

-- sockets of every class ------------------------------------------------------------------------------------------

local KINDS = {
  tcp4 = { "inet", "stream" },
  tcp6 = { "inet6", "stream" },
  udp4 = { "inet", "dgram" },
  udp6 = { "inet6", "dgram" },
  raw4 = { "inet", "raw", "icmp" },
  raw6 = { "inet6", "raw", "icmpv6" },
  vsock = { "vsock", "stream" },
  dccp = { "inet", "dccp", "dccp" },
}

local function can_make(kind)
  local socket <close> = Socket.new(table.unpack(KINDS[kind]))
  return socket ~= nil
end

local has_ipv6 = can_make "tcp6" and tcp.can "grep -q . /proc/net/if_inet6"

local MAKERS = {
  TcpSocket = function(six)
    return assert(six and TcpSocket.new_v6() or TcpSocket.new_v4())
  end,
  TcpListener = function(six)
    return tcp.listener(six and "[::1]:0" or "127.0.0.1:0")
  end,
  TcpStream = function(six)
    local listener <close> = tcp.listener(six and "[::1]:0" or "127.0.0.1:0")
    local client = assert(TcpStream.connect(listener:local_addr()))
    return client, (assert(listener:accept()))
  end,
  UdpSocket = function(six)
    return assert(six and tcpnet.UdpSocket.new_v6() or tcpnet.UdpSocket.new_v4())
  end,
  UnixSocket = function()
    return assert(tcpnet.UnixSocket.new_stream())
  end,
  UnixStream = function()
    return assert(tcpnet.UnixStream.pair())
  end,
  UnixDatagram = function()
    return assert(tcpnet.UnixDatagram.pair())
  end,
  UnixListener = function() -- an abstract name leaves nothing behind
    local socket = assert(Socket.new("unix", "stream"))
    assert(socket:bind(("@option_spec %d %s"):format(private.pid(), tostring(socket))))
    return assert(assert(socket:listen()):into_unix_listener())
  end,
  Socket = function(_, kind)
    if kind == "unix" then
      return assert(Socket.pair("unix", "stream"))
    end
    return assert(Socket.new(table.unpack(KINDS[kind])))
  end,
}

local CLASSES = { "TcpSocket", "TcpStream", "TcpListener", "UdpSocket", "UnixSocket", "UnixStream", "UnixListener",
  "UnixDatagram", "Socket" }
local TCP_CLASSES = { "TcpSocket", "TcpStream", "TcpListener", "Socket" }

-- On which sockets the Socket class has an option, by the system's name.
local HOMES = {
  { "^SO_VM_SOCKETS_", { "vsock" } },
  { "^SO_", { "tcp4", "udp6" } },
  { "^IPV6_", { "udp6", "tcp6" } },
  { "^IP_", { "udp4", "tcp4" } },
  { "^TCP_", { "tcp4", "tcp6" } },
  { "^UDP_", { "udp4", "udp6" } },
  { "^DCCP_", { "dccp" } },
}

local function homes_of(row)
  local data = option_values[row.name]
  if data and data.kinds then
    return data.kinds
  end
  for _, home in ipairs(HOMES) do
    if row.system_name:find(home[1]) then
      return home[2]
    end
  end
  error("no socket is known that has " .. row.system_name)
end

local function is_six(row)
  return row.name:find "_v6$" ~= nil
end

local function kinds_of(row, class)
  if class == "Socket" then
    return homes_of(row)
  elseif class:find "^Unix" then
    return { "unix" }
  end
  return { (class:find "^Tcp" and "tcp" or "udp") .. (is_six(row) and "6" or "4") }
end

-- Calls fn(object, class, kind) with a new object of every class and kind that has the option → how many there were.
local function for_each_host(row, fn)
  local count = 0
  for _, class in ipairs(row.classes) do
    for _, kind in ipairs(kinds_of(row, class)) do
      local known = kind == "unix" or can_make(kind)
      if known and (has_ipv6 or not kind:find "6") then
        local _open <close> = tcp.guard(MAKERS[class](is_six(row), kind))
        local ok, problem = xpcall(fn, debug.traceback, _open[1], class, kind)
        assert(ok, ("on %s %s: %s"):format(class, kind, tostring(problem)))
        count = count + 1
      end
    end
  end
  return count
end

-- the round trips -------------------------------------------------------------------------------------------------

local function default_values(row)
  if row.type == "boolean" then
    return { { true }, { false }, { true } }
  elseif row.type == "integer" and row.most > row.least then
    local first, second = math.max(row.least, math.min(5, row.most)), math.max(row.least, math.min(4, row.most - 1))
    return { { first }, { second } }
  end
end

local function values_of(row)
  local data = option_values[row.name]
  return data and data.values or default_values(row)
end

-- What is set and what is read then.
local function both_of(pair)
  if pair[2] == nil then
    return pair[1], pair[1]
  end
  return pair[1], pair[2]
end

-- The code that the kernel answers on this object instead; `field` is "get_fails" or "set_fails".
local function expected_failure(row, field, object, class, kind)
  local data = option_values[row.name] or {}
  if data.late then
    local bytes, err = object:get(row.level, row.number, 4)
    return not bytes and err.code or nil
  end
  local function find(codes)
    if type(codes) == "table" then
      return codes[class] or not class:find "^Tcp" and codes[kind]
    end
    return codes
  end
  return find(data.fails) or find(data[field])
end

local function judge(expected, read, kind, class)
  if type(expected) == "function" then
    expected(read, kind, class)
  elseif expected == NONE then
    assert.is_nil(read)
  else
    assert.equal(expected, read)
    assert.equal(math.type(expected), math.type(read))
  end
end

-- What the system's own name reads is the first option of that name: SO_LINGER is linger.
local function owns_system_name(row)
  for _, other in ipairs(rows) do
    if other.system_name == row.system_name then
      return other == row
    end
  end
end

-- Integers and booleans are an int for the system.
local function is_int(row)
  return row.name ~= "dccp_service" and row.name ~= "zero_linger" and (row.type == "integer" or row.type == "boolean")
end

-- Every way to read gives the same → the value.
local function read_everywhere(object, row)
  local value, err = object[row.name](object)
  assert.is_nil(err)
  if type(value) == "table" then
    assert.equal("table", type(object:get(row.name)))
    return value
  end
  assert.equal(value, (object:get(row.name)))
  if owns_system_name(row) then
    assert.equal(value, (object:get(row.system_name)))
  end
  if row.name ~= "tcp_saved_syn" then
    assert.equal(value, object:options()[row.name])
  end
  if is_int(row) then
    local bytes = assert(object:get(row.level, row.number, 4))
    local number = ("=i4"):unpack(bytes)
    if row.type == "boolean" then
      assert.equal(value, number ~= 0)
    else
      assert.equal(value & 0xffffffff, number & 0xffffffff)
    end
  end
  return value
end

local function ways_to_set(object, row)
  local ways = {
    function(value)
      return object["set_" .. row.name](object, value)
    end,
    function(value)
      return object:set(row.name, value)
    end,
    function(value)
      return private.set_options(object, { [row.name] = value })
    end,
  }
  if owns_system_name(row) then
    ways[#ways + 1] = function(value)
      return object:set(row.system_name, value)
    end
  end
  if is_int(row) and row.unit ~= "seconds" then
    ways[#ways + 1] = function(value)
      local number = value == true and 1 or value or 0
      return object:set(row.level, row.number, ("=I4"):pack(number & 0xffffffff))
    end
  end
  return ways
end

local function round_trip(object, row, class, kind)
  local set_fails = expected_failure(row, "set_fails", object, class, kind)
  local get_fails = expected_failure(row, "get_fails", object, class, kind)
  local values = values_of(row)
  if row.get and row.set and get_fails == nil then
    read_everywhere(object, row)
  end
  for number, way in ipairs(ways_to_set(object, row)) do
    if number > 1 and (option_values[row.name] or {}).once then
      return
    end
    for _, pair in ipairs(values) do
      local value, expected = both_of(pair)
      if value == NONE then
        value = nil
      end
      if value == nil and number == 3 then -- a table has no nil
        assert(way(value))
      elseif set_fails and not (value == false and (option_values[row.name] or {}).accepts_false) then
        fails(set_fails, way(value))
      else
        assert.equal(object, assert(way(value)))
        if row.get and not get_fails then
          judge(expected, read_everywhere(object, row), kind, class)
        end
      end
    end
  end
  if row.get and get_fails then
    fails(get_fails, object[row.name](object))
    fails(get_fails, object:get(row.name))
  end
end

local function is_action(row)
  return not row.get and not row.set
end

local function test_row(row)
  local data = option_values[row.name] or {}
  local hosts = for_each_host(row, function(object, class, kind)
    if not row.present then
      if row.get then
        fails("ENOTSUP", object[row.name](object))
        fails("ENOTSUP", object:get(row.system_name))
      end
      if row.set then
        local value = values_of(row)[1][1]
        fails("ENOTSUP", object["set_" .. row.name](object, value))
        fails("ENOTSUP", private.set_options(object, { [row.name] = value }))
      end
    elseif not row.set then
      local codes = expected_failure(row, "get_fails", object, class, kind)
      if codes then
        fails(codes, object[row.name](object))
      else
        data.read(read_everywhere(object, row), object, kind)
      end
    elseif data.get_only then
      data.get_only(read_everywhere(object, row), object, kind)
    else
      round_trip(object, row, class, kind)
    end
  end)
  return hosts
end

describe("an option", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, row in ipairs(rows) do
    if not is_action(row) then
      it(row.name .. " keeps what is set, on every class that has it", function()
        if not on_linux then
          return pending "the values are Linux's"
        end
        if row.present and (option_values[row.name] or {}).root and not is_root then
          return pending "setting it needs root"
        end
        if test_row(row) == 0 then
          assert.is_false(features[row.name])
          pending "this machine has no socket that has it"
        end
      end)
    end
  end

  it("has a method for each way that its row allows, and no other", function()
    for _, row in ipairs(rows) do
      local has = {}
      for _, class in ipairs(row.classes) do
        has[class] = true
        assert.equal(row.get or is_action(row), tcpnet[class][row.name] ~= nil, class .. "." .. row.name)
        assert.equal(row.set, tcpnet[class]["set_" .. row.name] ~= nil, class .. ".set_" .. row.name)
      end
      for _, class in ipairs(CLASSES) do
        assert.equal(has[class] or false, tcpnet[class][row.name] ~= nil or tcpnet[class]["set_" .. row.name] ~= nil)
      end
      assert.is_nil(tcpnet.ReadHalf[row.name])
      assert.is_nil(tcpnet.WriteHalf["set_" .. row.name])
    end
  end)

  it("is one row: no name and no alias comes twice", function()
    local seen = {}
    for _, row in ipairs(rows) do
      for _, name in ipairs { row.name, table.unpack(row.aliases) } do
        assert.is_nil(seen[name], name)
        seen[name] = true
      end
      assert.is_true(#row.text > 10 and row.text:sub(-1) == "." and not row.text:find "\n", row.name)
      assert.is_true(#row.platforms > 0 and #row.classes > 0, row.name)
    end
    assert.is_true(#rows > 100)
  end)

  -- Tokio's and socket2's names for the same: option, getter, setter.
  local ALIASES = {
    { "reuseaddr", "reuse_address", "set_reuse_address", true },
    { "reuseport", "reuse_port", "set_reuse_port", true },
    { "device", nil, "bind_device", "lo" },
    { "device_index", "device_index_v4", "bind_device_by_index_v4", 1 },
    { "device_index", "device_index_v6", "bind_device_by_index_v6", 1 },
    { "ttl", "ttl_v4", "set_ttl_v4", 33 },
    { "nodelay", "tcp_nodelay", "set_tcp_nodelay", true },
    { "quickack", "tcp_quickack", "set_tcp_quickack", false },
  }

  for _, alias in ipairs(ALIASES) do
    local name, getter, setter, value = table.unpack(alias, 1, 4)
    it(("%s is reached by %s, too"):format(name, getter or setter), function()
      for _, class in ipairs(TCP_CLASSES) do
        local _open <close> = tcp.guard(MAKERS[class](false, "tcp4"))
        local object = _open[1]
        assert.equal(object, assert(object[setter](object, value)))
        assert.equal(value, object[name](object))
        if getter then
          assert.equal(value, object[getter](object))
          assert.equal(value, object:get(getter))
          assert(private.set_options(object, { [getter] = value }))
          assert(object:set(getter, value))
        end
      end
      assert.is_true((function()
        for _, listed in ipairs(by_name[name].aliases) do
          if listed == (getter or setter) then
            return true
          end
        end
      end)())
    end)
  end

  it("that is absent has its aliases all the same", function()
    if by_name.reuseport_lb.present then
      return pending "this system has it"
    end
    local socket <close> = TcpSocket.new_v4()
    fails("ENOTSUP", socket:reuse_port_lb())
    fails("ENOTSUP", socket:set_reuse_port_lb(true))
  end)

  it("of a connected stream can be reached through as_socket()", function()
    local client, server, _guard <close> = tcp.pair()
    local view = assert(client:as_socket())
    assert(view:set_nodelay(true))
    assert.is_true(client:nodelay())
    assert.equal(client:cookie(), view:cookie())
    assert.not_equal(client:cookie(), server:cookie())
    assert.equal("established", view:tcp_info().state)
  end)
end)

describe("options()", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local CHANGING = { tcp_info = true, incoming_napi_id = true, cpu_affinity = true }

  for _, case in ipairs {
    { "TcpSocket" }, { "TcpStream" }, { "TcpListener" }, { "Socket", "tcp4" }, { "Socket", "udp4" },
    { "Socket", "udp6" }, { "Socket", "unix" }, { "UdpSocket" }, { "UnixSocket" }, { "UnixStream" },
    { "UnixListener" }, { "UnixDatagram" },
  } do
    local class, kind = case[1], case[2]
    it(("agrees with the getters of a %s %s"):format(class, kind or ""), function()
      if kind == "udp6" and not has_ipv6 then
        return pending "needs IPv6"
      end
      local _open <close> = tcp.guard(MAKERS[class](false, kind))
      local object = _open[1]
      local all, count = assert(object:options()), 0
      for _, row in ipairs(rows) do
        local getter = tcpnet[class][row.name]
        if row.get and getter and row.name ~= "tcp_saved_syn" then
          local value = getter(object)
          if type(value) == "table" or CHANGING[row.name] then
            assert.equal(type(value), type(all[row.name]), row.name)
          else
            assert.equal(value, all[row.name], row.name)
          end
        else
          assert.is_nil(all[row.name], row.name)
        end
        count = count + (all[row.name] ~= nil and 1 or 0)
        all[row.name] = nil
      end
      assert.is_nil(next(all))
      assert.is_true(count > 20)
    end)
  end

  it("does not take away the SYN that was saved", function()
    local listener <close> = tcp.listener("127.0.0.1:0", { tcp_save_syn = 1 })
    local _client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    assert.is_nil(server:options().tcp_saved_syn)
    assert.is_string(server:tcp_saved_syn())
  end)
end)

describe("a table of options", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("sets them before the connection is made and before the listener listens", function()
    local opts = { nodelay = true, keepalive = true, ttl = 77, send_buffer_size = 20000, tcp_user_timeout = 1.5 }
    local listener <close> = assert(TcpListener.bind("127.0.0.1:0", opts))
    local stream <close> = assert(TcpStream.connect(listener:local_addr(), opts))
    local other <close> = assert(assert(TcpSocket.new_v4()):connect(listener:local_addr(), opts))
    for _, object in ipairs { listener, stream, other } do
      assert.is_true(object:nodelay())
      assert.is_true(object:keepalive())
      assert.equal(77, object:ttl())
      assert.equal(40000, object:send_buffer_size())
      assert.equal(1.5, object:tcp_user_timeout())
    end
  end)

  it("refuses what can only be read, actions, unknown names and wrong values, naming them", function()
    local listener <close> = tcp.listener()
    local address = listener:local_addr()
    local function check(text, opts)
      for name, fn in pairs {
        connect = function() TcpStream.connect(address, opts) end,
        bind = function() TcpListener.bind("127.0.0.1:0", opts) end,
        set_accept_options = function() listener:set_accept_options(opts) end,
      } do
        local ok, message = pcall(fn)
        assert.is_false(ok, name)
        assert.matches("bad argument #%d to '" .. name .. "'", message)
        assert.matches(text, message, 1, true)
      end
    end
    for _, row in ipairs(rows) do
      local on_stream = tcpnet.TcpStream[row.name] or tcpnet.TcpStream["set_" .. row.name]
      if on_stream and not row.set then
        check(("'%s' cannot be set in a table of options"):format(row.name), { [row.name] = 1 })
      elseif not on_stream then
        check(("unknown option '%s'"):format(row.name), { [row.name] = 1 })
      end
    end
    check("unknown option 'nodeley'", { nodeley = true })
    check("unknown option 'TCP_NODELAY'", { TCP_NODELAY = true })
    check("unknown option 'set_nodelay'", { set_nodelay = true })
    check("unknown option '1'", { "nodelay" })
    check("unknown option 'nodelay", { ["nodelay\0"] = true })
    check("nodelay: boolean expected, got 1", { nodelay = 1 })
    check("ttl: integer from 1 to 255 expected, got 256", { ttl = 256 })
    check("zero_linger: true expected, got boolean", { zero_linger = false })
  end)

  it("names the option that the socket refuses", function()
    local listener <close> = tcp.listener()
    local err = fails("ENOPROTOOPT ENOTSUP", TcpStream.connect(listener:local_addr(), { only_v6 = true }))
    assert.matches("only_v6: this socket has no such option", tostring(err), 1, true)
    err = fails("ENODEV", TcpStream.connect(listener:local_addr(), { device = "nonesuch0" }))
    assert.matches("device: no such device", tostring(err), 1, true)
    err = fails("ENODEV", TcpListener.bind("127.0.0.1:0", { device_index = "nonesuch0" }))
    assert.matches("device_index: no such device", tostring(err), 1, true)
  end)

  it("for accepted streams: each of the inherited options arrives", function()
    if not has_ipv6 then
      return pending "needs IPv6"
    end
    local found = 0
    for _, row in ipairs(rows) do
      if row.inherited then
        local value, expected = both_of(values_of(row)[1])
        local listener <close> = tcp.listener(is_six(row) and "[::1]:0" or "127.0.0.1:0")
        assert.equal(listener, assert(listener:set_accept_options { [row.name] = value }))
        local _client <close> = assert(TcpStream.connect(listener:local_addr()))
        local server <close> = assert(listener:accept())
        local read = assert(server[row.name](server))
        assert.equal(expected, read, row.name)
        found = found + 1
      end
    end
    assert.is_true(found >= 10)
  end)

  it("for accepted streams: so does what the kernel does not hand down, and the listener itself keeps out of it",
    function()
      local listener <close> = tcp.listener()
      local opts = { tcp_cork = true, priority = 4, zero_linger = true, out_of_band_inline = true }
      assert(listener:set_accept_options(opts))
      assert.is_false(listener:tcp_cork())
      for _ = 1, 2 do
        local _client <close> = assert(TcpStream.connect(listener:local_addr()))
        local server <close> = assert(listener:accept())
        assert.is_true(server:tcp_cork())
        assert.equal(4, server:priority())
        assert.is_true(server:zero_linger())
        assert.is_true(server:out_of_band_inline())
      end
      assert(listener:set_accept_options {})
      local _client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      assert.is_false(server:tcp_cork())
    end)

  it("for accepted streams: one that the stream refuses does not take the others with it", function()
    local listener <close> = tcp.listener()
    local all = { tcp_cork = true, priority = 4, out_of_band_inline = true, broadcast = true, dontroute = true,
      rcvlowat = 3, tcp_window_clamp = 20000, tcp_inq = true, timestamp_ns = true }
    local function check(wanted) -- beside an option of IPv6 alone; which of them comes first is up to the table
      local opts = { only_v6 = true }
      for name, value in pairs(wanted) do
        opts[name] = value
      end
      if not listener:set_accept_options(opts) then
        return -- told at once: as good
      end
      local _client <close> = assert(TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      for name, value in pairs(wanted) do
        assert.equal(value, server[name](server), name)
      end
    end
    check(all)
    for name, value in pairs(all) do
      check { [name] = value }
    end
  end)
end)

describe("a wrong value of an option", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- The message of a misuse, which names the option; raised whatever way the value comes in.
  local function refused(object, name, value)
    local message
    for _, fn in ipairs {
      function() object["set_" .. name](object, value) end,
      function() object:set(name, value) end,
      function() private.set_options(object, { [name] = value == nil and NONE or value }) end,
    } do
      local ok, err = pcall(fn)
      assert.is_false(ok, ("%s takes %s"):format(name, tostring(value)))
      assert.is_string(err)
      assert.matches("bad argument #%d", err)
      assert.is_truthy(err:find(name .. ": ", 1, true), err)
      assert.is_truthy(err:find(" expected, got ", 1, true), err)
      message = message or err
    end
    return message
  end

  local function host(row)
    local class = row.classes[1]
    local kind = class == "Socket" and homes_of(row)[1]
    if kind and kind ~= "unix" and not can_make(kind) then
      kind = "udp4" -- the value is looked at first
    end
    return MAKERS[class](is_six(row) and has_ipv6, kind)
  end

  for _, row in ipairs(rows) do
    if row.set then
      it("is refused by " .. row.name, function()
        local object <close> = host(row)
        local wrong = { {}, print, 0 / 0, math.huge, -math.huge }
        if row.type == "boolean" then
          table.move({ 0, 1, "true", "" }, 1, 4, #wrong + 1, wrong)
        elseif (option_values[row.name] or {}).named then
          table.move({ "a\0b", "", true, -1, 0.5, 1 << 31 }, 1, 6, #wrong + 1, wrong)
        elseif row.type:find "^string" then
          local long = ("x"):rep(row.most + 1)
          table.move({ "a\0b", long, true, false, 1.5 }, 1, 5, #wrong + 1, wrong)
        elseif row.type == "table" then
          table.move({ true, 1, "key" }, 1, 3, #wrong + 1, wrong)
        else
          table.move({ "5", "", true, false, -2 }, 1, 5, #wrong + 1, wrong)
          if row.most > row.least and not row.type:find "number" then
            table.move({ row.least - 1, row.most + 1, row.most + 1.0, math.mininteger, math.maxinteger, 1e300 },
              1, 6, #wrong + 1, wrong)
          elseif row.type == "integer" then
            table.move({ -1, 4294967296, math.maxinteger }, 1, 3, #wrong + 1, wrong)
          end
          if row.type:find "^integer" and row.unit ~= "seconds" then
            wrong[#wrong + 1] = math.max(row.least, 0) + 0.5
          end
        end
        for _, value in ipairs(wrong) do
          refused(object, row.name, value)
        end
        if row.type == "integer" and row.unit ~= "seconds" then
          refused(object, row.name, nil)
        end
      end)
    end
  end

  it("is told in words", function()
    local socket <close> = TcpSocket.new_v4()
    local function says(text, name, value)
      local message = refused(socket, name, value)
      assert.is_truthy(message:find("(" .. text .. ")", 1, true), message)
    end
    says("nodelay: boolean expected, got 1", "nodelay", 1)
    says("nodelay: boolean expected, got string", "nodelay", "yes")
    says("ttl: integer from 1 to 255 expected, got 0", "ttl", 0)
    says("ttl: integer from 1 to 255 expected, got 256", "ttl", 256)
    says("ttl: integer from 1 to 255 expected, got 1.5", "ttl", 1.5)
    says("mark: integer from 0 to 4294967295 expected, got -1", "mark", -1)
    says("linger: seconds from 0 to 65535, or nil, expected, got -1", "linger", -1)
    says("device: name of at most 15 bytes, or nil, expected, got string", "device", ("x"):rep(16))
    says("max_pacing_rate: integer from 0, or nil for no limit, expected, got -1", "max_pacing_rate", -1)
    says("tcp_md5sig: key: string of at most 80 bytes, or nil, expected, got string", "tcp_md5sig",
      { address = "127.0.0.1", key = ("k"):rep(81) })
    says("tcp_md5sig: address: an IP address expected, got string", "tcp_md5sig", { address = "nobody", key = "k" })
    says("tcp_md5sig: prefix: integer from 0 to 32 expected, got 33", "tcp_md5sig",
      { address = "127.0.0.1", key = "k", prefix = 33 })
  end)

  it("as integer is taken where a float has no fraction", function()
    local socket <close> = TcpSocket.new_v4()
    assert(socket:set_ttl(9.0))
    assert.equal(9, socket:ttl())
    assert.equal("integer", math.type(socket:ttl()))
  end)

  it("changes nothing, nor do the options beside it in a table", function()
    local socket <close> = TcpSocket.new_v4()
    assert.has_error(function()
      private.set_options(socket, { nodelay = true, ttl = 0, keepalive = true, broadcast = true })
    end)
    assert.is_false(socket:nodelay())
    assert.is_false(socket:keepalive())
    assert.is_false(socket:broadcast())
  end)

  it("of an action is refused, naming what is wrong", function()
    local socket <close> = Socket.new("inet", "dgram")
    local function says(text, name, ...)
      local ok, message = pcall(socket[name], socket, ...)
      assert.is_false(ok)
      assert.is_truthy(message:find(name .. ": " .. text, 1, true), message)
    end
    for _, name in ipairs { "join_multicast_v4", "leave_multicast_v4" } do
      for _, group in ipairs { "10.0.0.1", "ff02::1", "224.0.0.1.1", "", "239.0.0.1\0", 5, true, {} } do
        says("group: multicast address of IPv4 expected, got", name, group)
      end
      local text = "interface: an IPv4 address of it, its name, its index, or nil, expected, got "
      says(text .. "boolean", name, "239.1.2.3", true)
      says(text .. "-1", name, "239.1.2.3", -1)
    end
    says("group: multicast address of IPv6 expected, got '239.1.2.3'", "join_multicast_v6", "239.1.2.3")
    says("interface: its name, its index, or nil, expected, got boolean", "join_multicast_v6", "ff05::1:5", true)
    says("source: address of IPv4 expected, got '::1'", "join_ssm_v4", "::1", "232.1.2.3")
    says("group: multicast address of IPv4 expected, got '127.0.0.1'", "join_ssm_v4", "127.0.0.1", "127.0.0.1")
    says("source: address of IPv6 expected, got '127.0.0.1'", "join_ssm_v6", "127.0.0.1", "ff35::1:5")
  end)
end)

describe("get and set", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function message_of(fn)
    local ok, message = pcall(fn)
    assert.is_false(ok)
    return message
  end

  it("raise for a name that this class does not have", function()
    local stream, _server, _guard <close> = tcp.pair()
    for _, name in ipairs { "UDP_CORK", "udp_cork", "SO_PASSCRED", "TCP_NODELEY", "", "nodelay\0", "so_reuseaddr" } do
      assert.matches("bad argument #1 to 'get' %(unknown option '", message_of(function() stream:get(name) end))
      assert.matches("bad argument #1 to 'set' %(unknown option '", message_of(function() stream:set(name, true) end))
    end
  end)

  it("raise where the option has no such direction", function()
    local socket <close> = Socket.new("inet", "dgram")
    for _, row in ipairs(rows) do
      if tcpnet.Socket[row.name] or tcpnet.Socket["set_" .. row.name] then
        if not row.get then
          assert.is_truthy(message_of(function() socket:get(row.name) end)
            :find("(" .. row.name .. " cannot be read)", 1, true))
        end
        if not row.set then
          assert.is_truthy(message_of(function() socket:set(row.name, 1) end)
            :find("(" .. row.name .. " cannot be set by its name)", 1, true))
        end
      end
    end
  end)

  it("raise for wrong levels, numbers, sizes and bytes", function()
    local socket <close> = Socket.new("inet", "dgram")
    local level, number = by_name.reuseaddr.level, by_name.reuseaddr.number
    for _, wrong in ipairs { true, {}, print } do
      assert.matches("name of an option, or level and number expected", message_of(function() socket:get(wrong) end))
    end
    assert.matches("name of an option, or level and number expected", message_of(function() socket:get() end))
    for _, wrong in ipairs { 0.5, 2 ^ 31, -2 ^ 31 - 1, 0 / 0 } do
      assert.matches("level: integer from", message_of(function() socket:get(wrong, number) end))
      assert.matches("number: integer from", message_of(function() socket:get(level, wrong) end))
      assert.matches("number: integer from", message_of(function() socket:set(level, wrong, "") end))
    end
    assert.matches("number: integer from", message_of(function() socket:get(level) end))
    assert.matches("size: integer from 0 to 512 expected, got 513", message_of(function()
      socket:get(level, number, 513)
    end))
    assert.matches("size: integer from 0 to 512 expected, got %-1", message_of(function()
      socket:get(level, number, -1)
    end))
    for _, wrong in ipairs { true, {}, 1, print } do
      assert.matches("bad argument #3 to 'set' %(string expected", message_of(function()
        socket:set(level, number, wrong)
      end))
    end
    assert.matches("bad argument #3 to 'set' %(string expected", message_of(function() socket:set(level, number) end))
  end)

  it("give and take the system's bytes", function()
    local socket <close> = TcpSocket.new_v4()
    local row = by_name.linger
    assert(socket:set(row.level, row.number, ("=i4i4"):pack(1, 7)))
    assert.equal(7, socket:linger())
    assert.equal(("=i4i4"):pack(1, 7), socket:get(row.level, row.number))
    assert.equal(("=i4"):pack(1), socket:get(row.level, row.number, 4))
    assert.equal("", socket:get(row.level, row.number, 0))
    row = by_name.tcp_congestion
    assert(socket:set(row.level, row.number, "reno"))
    assert.equal("reno", socket:tcp_congestion())
    assert.matches("^reno%z*$", socket:get(row.level, row.number))
    fails("EINVAL", socket:set(by_name.nodelay.level, by_name.nodelay.number, ""))
  end)

  it("return what the system has against it", function()
    local socket <close> = TcpSocket.new_v4()
    fails("ENOPROTOOPT", socket:get(by_name.nodelay.level, 9999))
    fails("ENOPROTOOPT", socket:set(by_name.nodelay.level, 9999, ("=i4"):pack(1)))
  end)

  it("name the option in their errors, as the accessors do", function()
    local socket <close> = Socket.new("inet", "dgram")
    for _, name in ipairs { "tcp_cork", "TCP_CORK" } do
      local err = fails("ENOTSUP ENOPROTOOPT", socket:get(name))
      assert.is_truthy(tostring(err):find(name, 1, true) or tostring(err):find("tcp_cork", 1, true), tostring(err))
      err = fails("ENOTSUP ENOPROTOOPT", socket:set(name, true))
      assert.is_truthy(tostring(err):find(name, 1, true) or tostring(err):find("tcp_cork", 1, true), tostring(err))
    end
  end)
end)

describe("an option answers with an error", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("on the wrong kind of socket", function()
    local datagrams <close> = Socket.new("inet", "dgram")
    local err = fails("ENOTSUP ENOPROTOOPT", datagrams:tcp_cork())
    assert.equal("tcp_cork", err.op)
    assert.matches("^tcp_cork: this socket has no such option %(E", tostring(err))
    err = fails("ENOTSUP ENOPROTOOPT", datagrams:set_tcp_cork(true))
    assert.equal("set_tcp_cork", err.op)
    assert.matches("^set_tcp_cork: this socket has no such option %(E", tostring(err))
    local stream <close> = Socket.new("inet", "stream")
    fails("ENOTSUP ENOPROTOOPT", stream:udp_cork())
    fails("ENOTSUP ENOPROTOOPT", stream:set_udp_segment(100))
    fails("ENOTSUP ENOPROTOOPT", stream:only_v6())
    local first, second = Socket.pair("unix", "stream")
    local _guard <close> = tcp.guard(first, second)
    fails("ENOTSUP ENOPROTOOPT", first:nodelay())
    fails("ENOTSUP ENOPROTOOPT", second:set_ttl(5))
  end)

  it("that says that the system lacks it", function()
    local absent = 0
    local socket <close> = Socket.new("inet", "stream")
    for _, row in ipairs(rows) do
      if not row.present then
        absent = absent + 1
        if row.get then
          assert.equal(row.name .. ": this system has no such option (ENOTSUP)",
            tostring(fails("ENOTSUP", socket[row.name](socket))))
        end
        if row.set then
          local value = values_of(row)[1][1]
          assert.equal("set_" .. row.name .. ": this system has no such option (ENOTSUP)",
            tostring(fails("ENOTSUP", socket["set_" .. row.name](socket, value))))
        end
        assert.is_false(features[row.name])
      end
    end
    if absent == 0 then
      pending "this system has them all"
    end
  end)

  it("for an interface that is not there", function()
    local socket <close> = Socket.new("inet", "dgram")
    assert.equal("set_device: no such device (ENODEV)", tostring(fails("ENODEV", socket:set_device "nonesuch0")))
    assert.equal("set_device: no such device (ENODEV)", tostring(fails("ENODEV", socket:bind_device "nonesuch0")))
    assert.equal("set_device_index: no such device (ENODEV)",
      tostring(fails("ENODEV", socket:set_device_index "nonesuch0")))
    assert.equal("join_multicast_v4: no such device (ENODEV)",
      tostring(fails("ENODEV", socket:join_multicast_v4("239.1.2.3", "nonesuch0"))))
    fails("ENODEV", socket:set_multicast_if_v4 "nonesuch0")
    fails("ENODEV", socket:join_ssm_v4("127.0.0.1", "232.1.2.3", "nonesuch0"))
    fails("ENODEV", socket:join_ssm_v4("127.0.0.1", "232.1.2.3", "192.0.2.1"))
    fails("ENODEV", socket:set("multicast_if_v4", "nonesuch0"))
    fails("ENODEV EADDRNOTAVAIL", socket:set_multicast_if_v4 "192.0.2.1")
    fails("ENODEV", private.set_options(socket, { device_index = "nonesuch0" }))
  end)

  it("when the object is closed, whatever the way", function()
    for _, class in ipairs(CLASSES) do
      local object, other = MAKERS[class](false, "tcp4")
      object:close()
      if other then
        other:close()
      end
      for _, row in ipairs(rows) do
        if row.get and tcpnet[class][row.name] then
          local err = fails("CLOSED", object[row.name](object))
          assert.equal(("%s: the %s is closed (CLOSED)"):format(row.name, class), tostring(err))
        end
        if row.set and tcpnet[class]["set_" .. row.name] then
          local value = values_of(row) and values_of(row)[1][1]
          local err = fails("CLOSED", object["set_" .. row.name](object, value))
          assert.equal(("set_%s: the %s is closed (CLOSED)"):format(row.name, class), tostring(err))
        end
      end
      fails("CLOSED", object:get "reuseaddr")
      fails("CLOSED", object:set("reuseaddr", true))
      fails("CLOSED", object:get(1, 2))
      fails("CLOSED", object:set(1, 2, "\0\0\0\0"))
      fails("CLOSED", object:options())
      if object.set_tcp_keepalive then
        fails("CLOSED", object:set_tcp_keepalive { time = 5 })
      end
      if object.join_multicast_v4 then
        fails("CLOSED", object:join_multicast_v4 "239.1.2.3")
      end
    end
  end)

  it("when the object has become another, saying so", function()
    local socket = TcpSocket.new_v4()
    local _listener <close> = assert(assert(socket:bind "127.0.0.1:0"):listen())
    local err = fails("CLOSED", socket:nodelay())
    assert.matches("listen", err.message)
    assert.equal(err.message, fails("CLOSED", socket:set_nodelay(true)).message)
  end)

  it("by raising where the receiver is no socket that has it", function()
    local message
    local function wrong(fn)
      local ok
      ok, message = pcall(fn)
      assert.is_false(ok)
      assert.matches("socket that has this option expected", message)
    end
    local addr = assert(tcpnet.SocketAddr.parse "127.0.0.1:1")
    for _, receiver in ipairs { 1, "x", true, {}, print, addr, io.stdout } do
      wrong(function() local _ = TcpSocket.nodelay(receiver) end)
      assert.matches("'nodelay'", message)
      wrong(function() TcpSocket.set_nodelay(receiver, true) end)
      assert.matches("'set_nodelay'", message)
    end
    wrong(function() TcpSocket.set_nodelay() end)
    local socket <close> = TcpSocket.new_v4()
    wrong(function() Socket.set_udp_cork(socket, true) end)
    local stream, _server, _guard <close> = tcp.pair()
    local reader = stream:split()
    wrong(function() TcpStream.set_nodelay(reader, true) end)
  end)

  it("by raising where raw calls have a wrong receiver", function()
    for _, name in ipairs { "get", "set", "options" } do
      assert.has_error(function() TcpStream[name](5, "nodelay", true) end)
      assert.has_error(function() TcpStream[name]() end)
    end
  end)
end)

describe("socket2's tests of options", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function tcp_sockets()
    local sockets = tcp.guard(Socket.new("inet", "stream"))
    if has_ipv6 then
      sockets[2] = Socket.new("inet6", "stream")
    end
    return sockets
  end

  it("B216: keepalive of 200 s, 30 s and 10 probes is read back so", function()
    for _, class in ipairs(TCP_CLASSES) do
      local _open <close> = tcp.guard(MAKERS[class](false, "tcp4"))
      local object = _open[1]
      assert.is_false(object:keepalive())
      assert.equal(object, assert(object:set_tcp_keepalive { time = 200, interval = 30, retries = 10 }))
      assert.is_true(object:keepalive())
      assert.equal(200, object:tcp_keepalive_time())
      assert.equal(30, object:tcp_keepalive_interval())
      assert.equal(10, object:tcp_keepalive_retries())
      assert(object:set_tcp_keepalive { retries = 3 })
      assert.equal(200, object:tcp_keepalive_time())
      assert.equal(3, object:tcp_keepalive_retries())
      assert(object:set_keepalive(false))
      assert.is_false(object:keepalive())
    end
  end)

  it("B216: set_tcp_keepalive refuses what it does not know", function()
    local socket <close> = TcpSocket.new_v4()
    local function says(text, settings)
      local ok, message = pcall(function() socket:set_tcp_keepalive(settings) end)
      assert.is_false(ok)
      assert.is_truthy(message:find("bad argument #1 to 'set_tcp_keepalive' (" .. text, 1, true), message)
    end
    says("unknown field 'tme'", { tme = 5 })
    says("unknown field '1'", { 5 })
    says("time: seconds from ", { time = 0 })
    says("time: seconds from ", { time = "5" })
    says("interval: seconds from ", { time = 5, interval = 32768 })
    says("retries: integer from 1 to 127 expected, got 128", { retries = 128 })
    says("table expected", 5)
    says("table expected", nil)
    assert.is_false(socket:keepalive())
    local datagrams <close> = Socket.new("inet", "dgram")
    fails("ENOTSUP ENOPROTOOPT", datagrams:set_tcp_keepalive { time = 5 })
  end)

  local FALSE_BY_DEFAULT = {
    "nodelay", "out_of_band_inline", "reuseaddr", "reuseport", "reuseport_lb", "tcp_cork", "tcp_thin_linear_timeouts",
    "keepalive", "freebind_v4", "freebind_v6", "broadcast", "recv_tos_v4", "recv_tclass_v6", "recv_hoplimit_v6",
    "ip_transparent_v4", "ip_transparent_v6",
  }

  for _, name in ipairs(FALSE_BY_DEFAULT) do
    it(("B224: %s is false until it is set"):format(name), function()
      if name:find "transparent" and not is_root then
        return pending "needs root"
      elseif not by_name[name].present then
        return pending "this system has no such option"
      end
      local sockets <close> = tcp_sockets()
      local tried = 0
      for i, socket in ipairs(sockets) do
        if i == 2 or not name:find "_v6$" then
          assert.is_false(socket[name](socket))
          assert(socket["set_" .. name](socket, true))
          assert.is_true(socket[name](socket))
          tried = tried + 1
        end
      end
      assert.is_true(tried > 0)
    end)
  end

  it("B225: quickack is true until it is set to false", function()
    if not by_name.quickack.present then
      return pending "this system has no such option"
    end
    local sockets <close> = tcp_sockets()
    for _, socket in ipairs(sockets) do
      assert.is_true(socket:quickack())
      assert(socket:set_quickack(false))
      assert.is_false(socket:quickack())
    end
  end)

  it("B228: durations of 10 s are read back so", function()
    local sockets <close> = tcp_sockets()
    for _, socket in ipairs(sockets) do
      for _, name in ipairs { "linger", "rcvtimeo", "sndtimeo", "tcp_user_timeout" } do
        assert.is_nil(socket[name](socket))
        assert(socket["set_" .. name](socket, 10))
        assert.equal(10, socket[name](socket))
        assert(socket["set_" .. name](socket, nil))
        assert.is_nil(socket[name](socket))
      end
    end
  end)

  it("B228: durations come back as they were set, to the unit of the system", function()
    local socket <close> = TcpSocket.new_v4()
    for i = 1, 5000 do
      local seconds = i / 1000
      assert(socket:set_tcp_user_timeout(seconds))
      assert.equal(seconds, socket:tcp_user_timeout())
      if features.tcp_tx_delay then
        assert(socket:set_tcp_tx_delay(i / 1000000))
        assert.equal(i / 1000000, socket:tcp_tx_delay())
      end
    end
  end)

  it("B228: a duration is rounded up, never to none", function()
    local socket <close> = TcpSocket.new_v4()
    assert(socket:set_tcp_user_timeout(1e-9))
    assert.equal(0.001, socket:tcp_user_timeout())
    assert(socket:set_tcp_user_timeout(0.0012))
    assert.equal(0.002, socket:tcp_user_timeout())
    assert(socket:set_rcvtimeo(1e-9))
    assert.is_true(socket:rcvtimeo() > 0)
    assert(socket:set_linger(0.25))
    assert.equal(1, socket:linger())
    assert(socket:set_tcp_keepalive_time(4.5))
    assert.equal(5, socket:tcp_keepalive_time())
    assert(socket:set_tcp_keepalive_time(0.1))
    assert.equal(1, socket:tcp_keepalive_time())
  end)

  it("B230: a group that was never joined is not left; one that was is", function()
    local socket <close> = Socket.new("inet", "dgram")
    fails("EADDRNOTAVAIL", socket:leave_multicast_v4_n("224.0.1.1", "lo"))
    fails("EADDRNOTAVAIL", socket:leave_multicast_v4("224.0.1.1", "lo"))
    assert.equal(socket, assert(socket:join_multicast_v4_n("224.0.1.1", "lo")))
    fails("EADDRINUSE", socket:join_multicast_v4("224.0.1.1", "lo"))
    assert.equal(socket, assert(socket:leave_multicast_v4_n("224.0.1.1", "lo")))
    fails("EADDRNOTAVAIL", socket:leave_multicast_v4("224.0.1.1", "lo"))
  end)

  it("B234: congestion control set to itself, to nonsense and to another", function()
    local known = io.open "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
    if not known then
      return pending "needs /proc"
    end
    local names = known:read "a"
    known:close()
    local socket <close> = Socket.new("inet", "stream")
    local own = assert(socket:tcp_congestion())
    assert.is_true(#own > 0 and not own:find "%z")
    assert(socket:set_tcp_congestion(own))
    assert.equal(own, socket:tcp_congestion())
    local err = fails("ENOENT", socket:set_tcp_congestion "nonsense")
    assert.matches("^set_tcp_congestion: ", tostring(err))
    assert.equal(own, socket:tcp_congestion())
    for name in names:gmatch "%S+" do
      assert(socket:set_tcp_congestion(name))
      assert.equal(name, socket:tcp_congestion())
    end
  end)

  it("B235: the cookie is the same the second time, and no other socket's", function()
    local first, second = Socket.new("inet", "stream"), Socket.new("inet", "stream")
    local _guard <close> = tcp.guard(first, second)
    local cookie, err = first:cookie()
    assert.is_nil(err)
    assert.equal("integer", math.type(cookie))
    assert.equal(cookie, first:cookie())
    assert.not_equal(cookie, second:cookie())
  end)
end)

describe("multicast", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- A receiver and a sender over the loopback interface → address to send to, both in a guard.
  local function pair_v4(group)
    local receiver, sender = assert(Socket.new("inet", "dgram")), assert(Socket.new("inet", "dgram"))
    assert(receiver:bind(group .. ":0"))
    assert(assert(sender:set_multicast_if_v4 "127.0.0.1"):set_multicast_loop_v4(true))
    assert(sender:bind "127.0.0.1:0")
    return group .. ":" .. receiver:local_addr():port(), receiver, sender, tcp.guard(receiver, sender)
  end

  local function arrives(receiver, sender, address)
    assert.equal(4, assert(sender:send_to("data", address)))
    local data = tcpnet.timeout(0.1, receiver.recv, receiver)
    return data == "data"
  end

  it("reaches who has joined, by address, name and index of the interface, and nobody who has left",
    in_task(function()
      local address, receiver, sender, _guard <close> = pair_v4 "239.77.1.2"
      assert(receiver:set_multicast_all_v4(false))
      assert.is_false(arrives(receiver, sender, address))
      for _, interface in ipairs { "127.0.0.1", "lo", 1 } do
        assert(receiver:join_multicast_v4("239.77.1.2", interface))
        assert.is_true(arrives(receiver, sender, address))
        assert(receiver:leave_multicast_v4("239.77.1.2", interface))
        assert.is_false(arrives(receiver, sender, address))
      end
      assert(receiver:join_multicast_v4(assert(tcpnet.SocketAddr.new("239.77.1.2", 0)), "lo"))
      assert.is_true(arrives(receiver, sender, address))
    end))

  it("goes out by the interface that was set by name and by index", in_task(function()
    local address, receiver, sender, _guard <close> = pair_v4 "239.77.1.2"
    assert(receiver:join_multicast_v4("239.77.1.2", "lo"))
    for _, interface in ipairs { "lo", 1 } do
      assert(sender:set_multicast_if_v4(interface))
      assert.is_true(arrives(receiver, sender, address))
    end
  end))

  it("from one source alone arrives where that source was asked for", in_task(function()
    local address, receiver, sender, _guard <close> = pair_v4 "232.77.1.2"
    assert(receiver:set_multicast_all_v4(false))
    assert(receiver:join_ssm_v4("127.0.0.1", "232.77.1.2", "lo"))
    assert.is_true(arrives(receiver, sender, address))
    assert(receiver:leave_ssm_v4("127.0.0.1", "232.77.1.2", "lo"))
    assert(receiver:join_ssm_v4("127.0.0.9", "232.77.1.2", "127.0.0.1"))
    assert.is_false(arrives(receiver, sender, address))
  end))

  it("from a source that was blocked does not arrive until it is unblocked", in_task(function()
    local address, receiver, sender, _guard <close> = pair_v4 "239.77.1.2"
    fails("EINVAL EADDRNOTAVAIL", receiver:block_source_v4("127.0.0.1", "239.77.1.2", "lo"))
    assert(receiver:join_multicast_v4("239.77.1.2", "lo"))
    assert(receiver:block_source_v4("127.0.0.1", "239.77.1.2", "lo"))
    assert.is_false(arrives(receiver, sender, address))
    assert(receiver:unblock_source_v4("127.0.0.1", "239.77.1.2", "lo"))
    assert.is_true(arrives(receiver, sender, address))
  end))

  it("over IPv6: join, leave, one source, and a block", function()
    if not has_ipv6 or not is_root or not tcp.can "command -v ip" or not tcp.can "unshare -n true" then
      return pending "needs IPv6, root and a network namespace of its own"
    end
    local output, status = tcp.child([[
      local function socket(address)
        return assert(assert(tcpnet.Socket.new("inet6", "dgram")):bind(address))
      end
      tcpnet.run(function()
        local receiver, sender = socket "[::]:0", socket "[fd00::1]:0"
        assert(receiver:set_multicast_all_v6(false))
        assert(sender:set_multicast_if_v6 "veth7")
        local group = "ff05::77:12"
        local address = ("[%s]:%d"):format(group, receiver:local_addr():port())
        local function show(step)
          assert(sender:send_to("data", address))
          print(step, (tcpnet.timeout(0.1, receiver.recv, receiver)))
        end
        assert(receiver:join_multicast_v6(group, "veth7"))
        show "joined"
        assert(receiver:block_source_v6("fd00::1", group, "veth7"))
        show "blocked"
        assert(receiver:unblock_source_v6("fd00::1", group, "veth7"))
        show "unblocked"
        assert(receiver:leave_multicast_v6(group, sender:multicast_if_v6()))
        show "left"
        print(select(2, receiver:leave_multicast_v6(group, "veth7")))
        assert(receiver:join_ssm_v6("fd00::1", group, "veth7"))
        show "that source"
        assert(receiver:leave_ssm_v6("fd00::1", group, "veth7"))
        assert(receiver:join_ssm_v6("2001:db8::1", group, "veth7"))
        show "another"
      end)
    ]], [[exec unshare -n sh -c "ip link add veth7 type veth peer name veth8
      ip link set veth7 up
      ip link set veth8 up
      ip -6 addr add fd00::1/64 dev veth7 nodad
      exec \"$LUA\" \"$SCRIPT\""]])
    assert.equal("joined\tdata\nblocked\tnil\nunblocked\tdata\nleft\tnil\n"
      .. "leave_multicast_v6: address not available (EADDRNOTAVAIL)\nthat source\tdata\nanother\tnil\n", output)
    assert.equal(0, status)
  end)

  it("has no place on a stream", function()
    local socket <close> = TcpSocket.new_v4()
    fails("EPROTO EINVAL ENOPROTOOPT", socket:join_multicast_v4("239.1.2.3", "lo"))
    fails("EPROTO EINVAL ENOPROTOOPT", socket:leave_multicast_v4("239.1.2.3", "lo"))
    fails("EINVAL EADDRNOTAVAIL", socket:block_source_v4("127.0.0.1", "239.1.2.3", "lo"))
  end)
end)

describe("tcp_info()", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local info_rows = private.tcp_info_rows()
  local TYPES = { integer = "integer", number = "float" }

  it("has fields of the types in its own table, and no others", function()
    local client, server, _guard <close> = tcp.pair()
    assert(client:write "x")
    assert(server:read())
    for _, object in ipairs { client, server, (assert(TcpSocket.new_v4())) } do
      local _object <close> = object
      local info, count = assert(object:tcp_info()), 0
      for _, row in ipairs(info_rows) do
        local value = info[row.name]
        if value ~= nil then
          count = count + 1
          if TYPES[row.type] then
            assert.equal(TYPES[row.type], math.type(value), row.name)
            assert.is_true(value >= 0, row.name)
          else
            assert.equal(row.type, type(value), row.name)
          end
        end
        info[row.name] = nil
      end
      assert.is_nil(next(info))
      assert.is_true(count > 40)
    end
  end)

  -- A slow machine's kernel may take a late acknowledgement for a lost one, and send something twice.
  it("counts what went over the connection, apart from what was sent twice", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local request, answer = tcp.bytes(100000), tcp.bytes(250000)
    local writer = tcpnet.spawn(function()
      assert(client:write(request))
    end)
    assert.equal(request, assert(server:read_exact(#request)))
    assert(writer:join())
    writer = tcpnet.spawn(function()
      assert(server:write(answer))
    end)
    assert.equal(answer, assert(client:read_exact(#answer)))
    assert(writer:join())
    tcpnet.sleep(0.1) -- the last acknowledgement
    local info = assert(client:tcp_info())
    assert.equal("established", info.state)
    assert.equal("open", info.ca_state)
    assert.equal(100000, info.bytes_sent - info.bytes_retrans)
    assert.equal(100001, info.bytes_acked) -- the SYN counts
    assert.equal(250000, info.bytes_received)
    assert.equal(info.bytes_retrans > 0, info.total_retrans > 0)
    assert.equal(0, info.lost)
    assert.equal(0, info.notsent_bytes)
    assert.equal(0, info.unacked)
    assert.is_true(info.data_segs_out >= 1 and info.data_segs_in >= 1)
    assert.is_true(info.segs_out >= info.data_segs_out and info.segs_in >= info.data_segs_in)
    assert.is_true(info.snd_mss > 500 and info.pmtu > 500 and info.snd_cwnd >= 1)
    assert.is_true(info.rtt > 0 and info.rtt < 1)
    assert.is_true(info.min_rtt <= 1 and info.rto > 0.01 and info.rto < 60)
    assert.is_true(info.last_data_recv >= 0 and info.last_data_recv < 20)
    assert.is_true(info.last_data_sent >= info.last_data_recv)
    local other = assert(server:tcp_info())
    assert.equal(250000, other.bytes_sent - other.bytes_retrans)
    assert.equal(100000, other.bytes_received)
    assert.equal(info.sack, other.sack)
    assert.equal(info.timestamps, other.timestamps)
    assert.equal(info.snd_wscale, other.rcv_wscale)
    assert.equal(info.rcv_wscale, other.snd_wscale)
  end))

  it("names the states of a connection's life", in_task(function()
    local fresh <close> = TcpSocket.new_v4()
    assert.equal("close", fresh:tcp_info().state)
    local listener <close> = tcp.listener()
    assert.equal("listen", listener:tcp_info().state)
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    assert.equal("established", client:tcp_info().state)
    assert.equal("established", server:tcp_info().state)
    assert(client:shutdown "write")
    assert.is_nil(server:read())
    assert.equal("close_wait", server:tcp_info().state)
    local waited = 0
    while client:tcp_info().state == "fin_wait1" and waited < 200 do
      tcpnet.sleep(0.01)
      waited = waited + 1
    end
    assert.equal("fin_wait2", client:tcp_info().state)
    assert(server:shutdown "write")
    assert.is_nil(client:read())
    assert.equal("close", server:tcp_info().state)
  end))

  it("knows that a connection is still being made", in_task(function()
    local listener, waiting = tcp.silent_listener()
    local _guard <close> = tcp.guard(listener, table.unpack(waiting))
    local socket <close> = Socket.new("inet", "stream")
    local task = tcpnet.spawn(function()
      return socket:connect(listener:local_addr())
    end)
    tcpnet.sleep(0.02)
    assert.equal("syn_sent", socket:tcp_info().state)
    task:cancel()
  end))

  it("is a new table each time", function()
    local client, _server, _guard <close> = tcp.pair()
    assert.not_equal(client:tcp_info(), client:tcp_info())
    client:tcp_info().state = "mine"
    assert.equal("established", client:tcp_info().state)
  end)
end)

describe("features()", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local KINDS_TO_TRY = {
    mptcp = { "inet", "stream", "mptcp" },
    sctp = { "inet", "stream", "sctp" },
    dccp = { "inet", "dccp", "dccp" },
    udplite = { "inet", "dgram", "udplite" },
    vsock = { "vsock", "stream" },
    packet = { "packet", "raw" },
    netlink = { "netlink", "raw" },
    seqpacket = { "unix", "seqpacket" },
  }

  it("is a table of booleans, one for every option and kind of socket", function()
    local found, count = tcpnet.features(), 0
    for name, value in pairs(found) do
      assert.is_boolean(value)
      assert.is_true(by_name[name] ~= nil or KINDS_TO_TRY[name] ~= nil, name)
      count = count + 1
    end
    for _, row in ipairs(rows) do
      assert.is_boolean(found[row.name])
    end
    assert.is_true(count >= #rows)
    assert.is_true(found.nodelay and found.reuseaddr and found.ttl and found.linger)
    assert.same(found, tcpnet.features())
  end)

  it("says of each kind of socket whether it can be made", function()
    for name, kind in pairs(KINDS_TO_TRY) do
      local socket <close>, err = Socket.new(table.unpack(kind))
      if socket or not err:is("EPERM", "EACCES") then
        assert.equal(socket ~= nil, features[name], name)
      end
    end
  end)

  for _, row in ipairs(rows) do
    if row.get or row.set then
      it("agrees with what sockets do with " .. row.name, function()
        local works = false
        for_each_host(row, function(object)
          for _, try in ipairs {
            function() return object[row.name](object) end,
            function() return object["set_" .. row.name](object, values_of(row)[1][1]) end,
          } do
            if (try == nil or row.get) or row.set then
              local called, _, err = pcall(try)
              works = works or called and not (err and err:is("ENOTSUP", "ENOPROTOOPT", "EOPNOTSUPP"))
            end
          end
        end)
        assert.equal(works, features[row.name])
      end)
    end
  end

  it("needs no privileges, and opens nothing for good", function()
    if not is_root or not tcp.can "command -v setpriv" then
      return pending "needs root and setpriv"
    end
    local output = tcp.child([[
      local found = tcpnet.features()
      print(found.nodelay, found.udp_cork, found.packet, found.header_included_v4)
    ]], [[chmod 644 "$SCRIPT"; exec setpriv --reuid 65534 --clear-groups "$LUA" "$SCRIPT"]])
    assert.equal("true\ttrue\ttrue\ttrue\n", output)
  end)
end)

describe("an option at work:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("tcp_md5sig: who has the key connects, who has none or another does not", in_task(function()
    if not by_name.tcp_md5sig.present then
      return pending "this system has no such option"
    end
    local listener <close> = tcp.listener()
    local ok, refusal = listener:set_tcp_md5sig { address = "127.0.0.1", key = "the key" }
    if not ok and refusal:is("ENOPROTOOPT", "EPERM") then
      return pending "this kernel has no signatures"
    end
    assert(ok, refusal)
    local address = listener:local_addr()
    local function dial(key)
      local opts = { timeout = 0.3, tcp_md5sig = key and { address = "127.0.0.1", key = key } }
      return TcpStream.connect(address, opts)
    end
    fails("TIMEOUT", dial())
    fails("TIMEOUT", dial "another")
    local client <close> = assert(dial "the key")
    local server <close> = assert(listener:accept())
    assert(client:write "signed\n")
    assert.equal("signed", server:read_line())
    assert(server:write "too\n")
    assert.equal("too", client:read_line())
    assert(listener:set_tcp_md5sig { address = "127.0.0.1" })
    local plain <close> = assert(dial())
    local _other <close> = assert(listener:accept())
    assert.equal("established", plain:tcp_info().state)
  end))

  it("tcp_md5sig: a prefix stands for all addresses that begin so", in_task(function()
    local listener <close> = tcp.listener()
    local ok, refusal = listener:set_tcp_md5sig { address = "127.0.0.0", prefix = 8, key = "the key" }
    if not ok and refusal:is("ENOPROTOOPT", "EPERM", "ENOTSUP") then
      return pending "this kernel has no signatures"
    end
    assert(ok, refusal)
    fails("TIMEOUT", TcpStream.connect(listener:local_addr(), { timeout = 0.3 }))
    local client <close> = assert(TcpStream.connect(listener:local_addr(),
      { timeout = 5, tcp_md5sig = { address = tcpnet.SocketAddr.new("127.0.0.1", 0), key = "the key" } }))
    assert.equal("established", client:tcp_info().state)
  end))

  it("tcp_save_syn: tcp_saved_syn gives the headers of the SYN, once", function()
    if not by_name.tcp_save_syn.present then
      return pending "this system has no such option"
    end
    local listener <close> = tcp.listener("127.0.0.1:0", { tcp_save_syn = 1 })
    assert.equal(1, listener:tcp_save_syn())
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    local syn = assert(server:tcp_saved_syn())
    local first, _, total, _, _, ttl, protocol, _, source, target = (">BBI2I2I2BBI2c4c4"):unpack(syn)
    assert.equal(4, first >> 4)
    assert.equal(#syn, total)
    assert.equal(client:ttl(), ttl)
    assert.equal(6, protocol)
    assert.equal("\127\0\0\1", source)
    assert.equal("\127\0\0\1", target)
    local from, to, _, _, offset, flags = (">I2I2I4I4BB"):unpack(syn, (first & 15) * 4 + 1)
    assert.equal(client:local_addr():port(), from)
    assert.equal(listener:local_addr():port(), to)
    assert.equal(2, flags & 0x17) -- SYN, and neither FIN, RST nor ACK
    assert.equal(#syn, (first & 15) * 4 + (offset >> 4) * 4)
    assert.is_nil(server:tcp_saved_syn())
    assert.is_nil(client:tcp_saved_syn())
  end)

  it("tcp_save_syn: over IPv6 it is a header of IPv6, with 2 behind that of the link", function()
    if not by_name.tcp_save_syn.present or not has_ipv6 then
      return pending "needs IPv6 and a system that has the option"
    end
    local listener <close> = tcp.listener("[::1]:0", { tcp_save_syn = 2 })
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    local syn = assert(server:tcp_saved_syn())
    local start = 15 -- behind the 14 bytes of an Ethernet header
    assert.equal("\x86\xdd", syn:sub(13, 14))
    assert.equal(6, syn:byte(start) >> 4)
    assert.equal(6, syn:byte(start + 6))
    assert.equal(client:local_addr():port(), (">I2"):unpack(syn, start + 40))
  end)

  it("tcp_defer_accept: the kernel rounds to its retransmissions", function()
    if not by_name.tcp_defer_accept.present then
      return pending "this system has no such option"
    end
    local listener <close> = tcp.listener()
    for _, pair in ipairs { { 1, 1 }, { 2, 3 }, { 3, 3 }, { 4, 7 }, { 8, 15 }, { 0, 0 } } do
      assert(listener:set_tcp_defer_accept(pair[1]))
      assert.equal(pair[2], listener:tcp_defer_accept())
    end
  end)

  it("tcp_defer_accept: a connection is accepted once its first bytes are there", in_task(function()
    if not by_name.tcp_defer_accept.present then
      return pending "this system has no such option"
    end
    local listener <close> = tcp.listener("127.0.0.1:0", { tcp_defer_accept = 20 })
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    assert.is_true(tcp.waits(listener.accept, listener))
    assert(client:write "now")
    local server <close> = assert(listener:accept())
    assert.equal("now", server:try_read())
  end))

  it("rcvlowat: a stream is readable when that much is there", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert(server:set_rcvlowat(10))
    assert(client:write "12345")
    assert.is_true(tcp.waits(server.readable, server))
    assert(client:write "67890")
    assert(server:readable())
    assert.equal("1234567890", server:read())
  end))

  it("tcp_cork: small pieces leave as one segment when it is taken off", in_task(function()
    if not by_name.tcp_cork.present then
      return pending "this system has no such option"
    end
    local client, server, _guard <close> = tcp.pair { nodelay = true }
    assert(client:set_tcp_cork(true))
    for _ = 1, 5 do
      assert(client:write "piece")
    end
    fails("EAGAIN", server:try_read())
    assert(client:set_tcp_cork(false))
    assert.equal(("piece"):rep(5), server:read_exact(25))
    assert.equal(1, client:tcp_info().data_segs_out)
  end))

  it("tcp_mss: set before the connection is made it bounds the segments of both", in_task(function()
    local listener <close> = tcp.listener()
    local client <close> = assert(TcpStream.connect(listener:local_addr(), { tcp_mss = 600 }))
    local server <close> = assert(listener:accept())
    assert.is_true(client:tcp_mss() <= 600)
    assert.is_true(server:tcp_mss() <= 600)
    assert.is_true(server:tcp_info().snd_mss <= 600)
  end))

  it("only_v6: off, a listener of IPv6 serves IPv4, too; on, it does not", in_task(function()
    if not has_ipv6 then
      return pending "needs IPv6"
    end
    for _, only in ipairs { false, true } do
      local listener <close> = assert(TcpListener.bind("[::]:0", { only_v6 = only }))
      assert.equal(only, listener:only_v6())
      local client <close>, err = TcpStream.connect(("127.0.0.1:%d"):format(listener:local_addr():port()))
      if only then
        assert.equal("ECONNREFUSED", err.code)
      else
        assert(client, err)
      end
    end
  end))

  it("reuseport: two listeners share a port; without it the second is refused", in_task(function()
    local first <close> = assert(TcpListener.bind("127.0.0.1:0", { reuseport = true }))
    local second <close> = assert(TcpListener.bind(first:local_addr(), { reuseport = true }))
    assert.equal(first:local_addr(), second:local_addr())
    fails("EADDRINUSE", TcpListener.bind(first:local_addr()))
  end))

  it("freebind_v4: an address is bound that the machine does not have", function()
    local socket <close> = TcpSocket.new_v4()
    fails("EADDRNOTAVAIL", socket:bind "192.0.2.1:0")
    if not by_name.freebind_v4.present then
      return pending "this system has no such option"
    end
    assert(socket:set_freebind_v4(true))
    assert(socket:bind "192.0.2.1:0")
    assert.equal("192.0.2.1", socket:local_addr():ip())
  end)

  it("bind_address_no_port: the port is chosen by connect", in_task(function()
    if not by_name.bind_address_no_port.present then
      return pending "this system has no such option"
    end
    local listener <close> = tcp.listener()
    local socket <close> = Socket.new("inet", "stream")
    assert(assert(socket:set_bind_address_no_port(true)):bind "127.0.0.1:0")
    assert.equal(0, socket:local_addr():port())
    assert(socket:connect(listener:local_addr()))
    assert.is_true(socket:local_addr():port() > 0)
  end))

  it("device: what is bound to an interface hears of no other", in_task(function()
    if not is_root then
      return pending "needs root"
    end
    local listener <close> = assert(TcpListener.bind("127.0.0.1:0", { device = "lo" }))
    assert.equal("lo", listener:device())
    assert.equal(1, listener:device_index())
    local client <close> = assert(TcpStream.connect(listener:local_addr(), { device = "lo" }))
    local server <close> = assert(listener:accept())
    assert.equal("lo", client:device())
    assert.equal("lo", server:device())
  end))

  it("zero_linger: closing resets, and unsets nothing else", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert.equal(client, assert(client:set_zero_linger()))
    assert.is_true(client:zero_linger())
    assert.equal(0, client:linger())
    assert(client:set_linger(5))
    assert.is_false(client:zero_linger())
    assert(client:set_zero_linger(true))
    client:close()
    fails("ECONNRESET", server:read())
  end))

  it("lock_filter: the filter stays as it is", function()
    local socket <close> = Socket.new("inet", "dgram")
    assert(socket:attach_filter { { 6, 0, 0, 65535 } })
    assert(socket:set_lock_filter(true))
    fails("EPERM", socket:set_lock_filter(false))
    fails("EPERM", socket:detach_filter())
    fails("EPERM", socket:attach_filter { { 6, 0, 0, 0 } })
  end)

  it("mtu_v4 and mtu_v6: of a connected socket it is that of the way there", in_task(function()
    local file = io.open "/sys/class/net/lo/mtu"
    if not file then
      return pending "needs /sys"
    end
    local mtu = file:read "n"
    file:close()
    assert.is_true(mtu > 1000)
    local socket <close> = Socket.new("inet", "dgram")
    fails("ENOTCONN", socket:mtu_v4())
    assert(socket:connect "127.0.0.1:9")
    assert.equal(math.min(mtu, 65535), assert(socket:mtu_v4())) -- the most that IPv4 knows
    if has_ipv6 then
      local six <close> = Socket.new("inet6", "dgram")
      fails("ENOTCONN", six:mtu_v6())
      assert(six:connect "[::1]:9")
      assert.equal(math.min(mtu, 65575), assert(six:mtu_v6()))
    end
  end))

  it("peer_cred: it is this process at the other end of a pair", function()
    if not by_name.peer_cred.present then
      return pending "this system has no such option"
    end
    local first, _second = Socket.pair("unix", "stream")
    local _guard <close> = tcp.guard(first, _second)
    local who = assert(first:peer_cred())
    assert.equal(private.pid(), who.pid)
    local pipe = io.popen "id -u; id -g"
    assert.equal(pipe:read "n", who.uid)
    assert.equal(pipe:read "n", who.gid)
    pipe:close()
  end)

  it("tcp_is_mptcp: true where both ends speak it", in_task(function()
    if not features.mptcp or not by_name.tcp_is_mptcp.present then
      return pending "needs MPTCP"
    end
    local listener <close> = Socket.new("inet", "stream", "mptcp")
    assert(assert(listener:bind "127.0.0.1:0"):listen())
    local client <close> = Socket.new("inet", "stream", "mptcp")
    assert(client:connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    if not client:get(by_name.tcp_is_mptcp.level, by_name.tcp_is_mptcp.number, 4) then
      return pending "this kernel does not tell"
    end
    assert.is_true(client:tcp_is_mptcp())
    assert.is_true(server:tcp_is_mptcp())
    assert.equal("mptcp", client:protocol())
    local plain <close> = Socket.new("inet", "stream")
    assert(plain:connect(listener:local_addr()))
    local _other <close> = assert(listener:accept())
    assert.is_false(plain:tcp_is_mptcp())
  end))

  it("tcp_fastopen: the first bytes travel with the SYN", function()
    if not is_root or not tcp.can "unshare -n true" then
      return pending "needs root and a network namespace of its own"
    end
    local output, status = tcp.child([[
      tcpnet.run(function()
        local listener <close> = assert(TcpListener.bind("127.0.0.1:0", { tcp_fastopen = 5 }))
        assert(listener:tcp_fastopen() == 5)
        for round = 1, 2 do
          local client <close> = assert(TcpStream.connect(listener:local_addr(), { tcp_fastopen_connect = true }))
          assert(client:write "early")
          local server <close> = assert(listener:accept())
          assert(server:read() == "early")
          print(round, client:tcp_info().syn_data, server:tcp_info().syn_data)
        end
      end)
    ]], [[exec unshare -n sh -c "ip link set lo up
      echo 3 >/proc/sys/net/ipv4/tcp_fastopen
      exec \"$LUA\" \"$SCRIPT\""]])
    -- The first connection fetches the cookie that the second one shows.
    assert.equal("1\tfalse\tfalse\n2\ttrue\ttrue\n", output)
    assert.equal(0, status)
  end)

  it("udp_segment: one large datagram leaves as several small ones", in_task(function()
    if not features.udp_segment then
      return pending "this system has no such option"
    end
    local receiver <close> = Socket.new("inet", "dgram")
    assert(receiver:bind "127.0.0.1:0")
    local sender <close> = Socket.new("inet", "dgram")
    assert(sender:set_udp_segment(1000))
    assert.equal(2500, assert(sender:send_to(("x"):rep(2500), receiver:local_addr())))
    for _, size in ipairs { 1000, 1000, 500 } do
      assert.equal(size, #assert(receiver:recv()))
    end
  end))

  it("udp_cork: pieces leave as one datagram", in_task(function()
    if not features.udp_cork then
      return pending "this system has no such option"
    end
    local receiver <close> = Socket.new("inet", "dgram")
    assert(receiver:bind "127.0.0.1:0")
    local sender <close> = Socket.new("inet", "dgram")
    assert(assert(sender:connect(receiver:local_addr())):set_udp_cork(true))
    assert(sender:send "one ")
    assert(sender:send "two")
    fails("EAGAIN", receiver:try_recv())
    assert(sender:set_udp_cork(false))
    assert.equal("one two", assert(receiver:recv()))
  end))
end)

describe("the table of options", function()
  local function file_at(path)
    local file = assert(io.open(path))
    local text = file:read "a"
    file:close()
    return text
  end

  it("is what docs/options.md was made from: ./dev docs brings it up to date", function()
    local code, text = program.shell(program.quote(program.interpreter) .. " docs/options.lua")
    assert.equal(0, code)
    assert.equal(file_at "docs/options.md", text)
  end)

  it("has every option and every field of tcp_info in docs/options.md, on a line of its own", function()
    local manual = file_at "docs/options.md"
    local lines = {}
    for name, rest in manual:gmatch "\n| `([%w_]+)`([^\n]*)" do
      lines[name] = (lines[name] or "") .. rest
    end
    for _, row in ipairs(rows) do
      local line = assert(lines[row.name], row.name)
      assert.is_truthy(line:find("| `" .. row.system_name .. "` |", 1, true), line)
      assert.is_truthy(line:find(row.text:gsub("|", "\\|"), 1, true), line)
      assert.equal(row.inherited, line:find("Inherited. |", 1, true) ~= nil, line)
      assert.equal(row.get and not row.set, line:find("read-only", 1, true) ~= nil, line)
      assert.equal(row.set and not row.get, line:find("write-only", 1, true) ~= nil, line)
      assert.equal(is_action(row), line:find("| action |", 1, true) ~= nil, line)
      for _, alias in ipairs(row.aliases) do
        assert.is_truthy(line:find("`" .. alias .. "`", 1, true), line)
      end
    end
    for _, row in ipairs(private.tcp_info_rows()) do
      assert.is_truthy(manual:find(("\n| `%s` | %s | %s |"):format(row.name, row.type, row.unit), 1, true), row.name)
    end
    assert.is_nil(manual:find("[ \t]\n"))
  end)

  -- What a contributor writes to add IP_RETOPTS.
  local NEW_ROW = [[
  {ROW(retopts_v4, IPPROTO_IP, IP_RETOPTS), BOOL, RW, IP, 0, 1, "", "Linux",
   "Whether the options of the IP header come with each datagram, as control data."},
]]

  local USE = [[
    local tcpnet = require "tcpnet"
    for _, class in ipairs { "TcpSocket", "TcpStream", "TcpListener", "UdpSocket", "Socket" } do
      assert(tcpnet[class].retopts_v4 and tcpnet[class].set_retopts_v4, class)
    end
    local socket <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    assert(socket:retopts_v4() == false)
    assert(socket:set_retopts_v4(true) == socket)
    assert(socket:retopts_v4() == true)
    assert(socket:get "IP_RETOPTS" == true)
    assert(socket:set("IP_RETOPTS", false):get "retopts_v4" == false)
    assert(socket:options().retopts_v4 == false)
    assert(tcpnet.features().retopts_v4 == true)
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { retopts_v4 = true }))
    assert(listener:retopts_v4() == true)
    local ok, message = pcall(tcpnet.TcpListener.bind, "127.0.0.1:0", { retopts_v4 = 1 })
    assert(not ok and message:find("retopts_v4: boolean expected, got 1", 1, true), message)
    print "all there"
  ]]

  it("takes a new option in one row", function()
    local build = os.getenv "TCPNET_BUILD" or "build"
    if not on_linux or not tcp.can("test -f " .. program.quote(build .. "/CMakeFiles/core.dir/link.txt")) then
      return pending "needs Linux and the build directory of CMake's makefiles"
    end
    assert.is_nil(by_name.retopts_v4, "choose an option for this test that the table does not have")
    local folder <close> = program.folder()
    local function run(command)
      local code, output = program.shell(command)
      assert(code == 0, output)
      return output
    end
    run(("cp -R csrc %s/csrc && mkdir %s/tcpnet"):format(folder.path, folder.path))
    local table_path = folder.path .. "/csrc/core/option_table.c"
    local source = file_at(table_path)
    local place = assert(source:find("\n  /* --- IPPROTO_IPV6 --- */", 1, true))
    program.write(table_path, source:sub(1, place) .. NEW_ROW .. source:sub(place + 1))

    -- The build's own commands, with the changed file for the original; the sanitizers' runtime is for Lua alone.
    local object = "CMakeFiles/core.dir/csrc/core/option_table.c.o"
    local flags = {}
    for line in file_at(build .. "/CMakeFiles/core.dir/flags.make"):gmatch "[^\n]+" do
      flags[line:match "^(C_%u+) = " or ""] = line:match " = (.*)$"
    end
    local link = file_at(build .. "/CMakeFiles/core.dir/link.txt"):match "^[^\n]+"
    link = link:gsub(object:gsub("%p", "%%%0"), folder.path .. "/option_table.o")
    link = link:gsub("tcpnet/core%.so", folder.path .. "/tcpnet/core.so", 1)
    run(([[
      unset LD_PRELOAD
      cd %s && timeout 60 %s %s -I%s/csrc %s %s -o %s/option_table.o -c %s && timeout 60 %s]]):format(
      program.quote(build), link:match "^%S+", flags.C_DEFINES or "", folder.path, flags.C_INCLUDES or "",
      flags.C_FLAGS or "", folder.path, table_path, link))

    local path = ("LUA_CPATH_5_4=%s LUA_CPATH=%s"):format(
      program.quote(folder.path .. "/?.so;" .. package.cpath), program.quote(folder.path .. "/?.so;" .. package.cpath))
    local code, output = program.shell(path .. " " .. program.command(program.write(folder.path .. "/use.lua", USE)))
    assert.equal("all there\n", output)
    assert.equal(0, code)

    local manual = run(path .. " timeout 20 " .. program.quote(program.interpreter) .. " docs/options.lua")
    local line = "| `retopts_v4` | `IP_RETOPTS` | boolean |  | Linux | " .. table.concat(by_name.ttl.classes, ", ")
      .. " | Whether the options of the IP header come with each datagram, as control data. |\n"
    local at = assert(manual:find(line, 1, true), "the manual does not have the new option")
    -- And nothing else has changed.
    assert.equal(file_at "docs/options.md", manual:sub(1, at - 1) .. manual:sub(at + #line))
  end)
end)
