-- What the round trips of option_spec.lua need to know beyond the table of options: what Linux makes of a value.
-- By the option's name, all fields optional:
--   kinds   the sockets on which Socket has it; by default what the system's name suggests
--   values  list of { what is set, what is read then }: the same where that is missing; a function judges it
--   read    of what can only be read: function(value, object, kind) that asserts what it must be
--   fails   kind or class → code of the error that the kernel answers there instead
--   get_fails, set_fails  the same for one direction only
--   late    kernels differ in which sockets have it: the code is what asking by number gives
--   root    setting it takes privileges
--   once    it cannot be taken back: no further ways of setting it are tried
--   accepts_false  where setting fails, false is taken all the same
--   named   a string is the name of an interface
local NONE = {} -- stands for nil in a list
local values = { NONE = NONE }

local function integer(least)
  return function(value)
    assert(math.type(value) == "integer" and value >= least, tostring(value))
  end
end

local function about(seconds) -- the kernel keeps whole ticks of its clock, of 10 ms at most
  return function(value)
    assert(type(value) == "number" and value >= seconds and value <= seconds + 0.011, tostring(value))
  end
end

local function nothing(value)
  assert(value == nil, tostring(value))
end

-- Only before the socket is connected or listens.
local BEFORE = { TcpStream = "EINVAL", TcpListener = "EINVAL" }
local NOT_CONNECTED = { TcpSocket = "ENOTCONN", TcpListener = "ENOTCONN", tcp4 = "ENOTCONN", tcp6 = "ENOTCONN",
  udp4 = "ENOTCONN", udp6 = "ENOTCONN" }
local ON_NO_STREAM_V4 = { TcpSocket = "EINVAL", TcpStream = "EINVAL", TcpListener = "EINVAL" }
local ON_NO_STREAM_V6 = { TcpSocket = "ENOPROTOOPT", TcpStream = "ENOPROTOOPT", TcpListener = "ENOPROTOOPT" }

-- SOL_SOCKET
values.linger = { values = { { 10 }, { 0 }, { NONE }, { 65535 }, { 0.5, 1 } } }
values.zero_linger = { values = { { true } } }
values.send_buffer_size = { values = { { 8192, 16384 }, { 20000, 40000 }, { 0, integer(1) } } }
values.recv_buffer_size = { values = { { 8192, 16384 }, { 20000, 40000 }, { 0, integer(1) } } }
values.send_buffer_size_force = { root = true, values = { { 8192 }, { 20000 } } }
values.recv_buffer_size_force = { root = true, values = { { 8192 }, { 20000 } } }
values.buf_lock = { values = { { 1 }, { 2 }, { 3 }, { 0 } } }
values.rcvlowat = { values = { { 5 }, { 1 }, { 0, 1 } } }
values.rcvtimeo = { values = { { 10, 10.0 }, { 0.25, about(0.25) }, { NONE }, { 0, nothing } } }
values.sndtimeo = values.rcvtimeo
values.debug = { root = true }
values.priority = { values = { { 5 }, { 6 }, { 0 } } }
values.mark = { root = true, values = { { 5 }, { 4294967295 }, { 0 } } }
values.device = { root = true, values = { { "lo" }, { NONE } } }
values.device_index = { root = true, named = true, values = { { "lo", 1 }, { NONE }, { 1 }, { 0, nothing } } }
values.incoming_napi_id = { read = integer(0) }
values.busy_poll = { root = true, values = { { 0.00005 }, { 0.0 }, { 0.001 }, { NONE, 0.0 } } }
values.prefer_busy_poll = { root = true }
values.busy_poll_budget = { root = true }
values.cookie = {
  read = function(value, object)
    integer(1)(value)
    assert(object:cookie() == value, "another cookie the second time")
  end,
}
values.netns_cookie = {
  read = function(value, object)
    integer(1)(value)
    assert(object:netns_cookie() == value, "another cookie the second time")
  end,
}
values.max_pacing_rate = { values = { { 1000000 }, { NONE }, { 1 << 33 } } }
values.reuseport = { set_fails = { unix = "ENOTSUP EOPNOTSUPP" }, accepts_false = true }
values.txrehash = { kinds = { "tcp4", "tcp6" }, late = true }
values.timestamping = { values = { { 1 << 4 }, { 1 << 3 | 1 << 4 }, { 0 } } }
values.lock_filter = { values = { { false }, { true } }, once = true }
values.peek_off = { late = true, values = { { 5 }, { 0 }, { -1 } } }
values.passcred = { kinds = { "unix" } }
values.passsec = { kinds = { "unix" } }
values.peer_cred = {
  kinds = { "unix" },
  read = function(value)
    assert(math.type(value.pid) == "integer" and math.type(value.uid) == "integer")
    assert(math.type(value.gid) == "integer" and value.pid >= 0)
  end,
}
local DOMAINS = { tcp4 = "inet", tcp6 = "inet6", udp4 = "inet", udp6 = "inet6", unix = "unix", unixgram = "unix" }
local TYPES = { tcp4 = "stream", tcp6 = "stream", udp4 = "dgram", udp6 = "dgram", unix = "stream",
  unixgram = "dgram" }
local PROTOCOLS = { tcp4 = "tcp", tcp6 = "tcp", udp4 = "udp", udp6 = "udp" }
local EVERY_KIND = { "tcp4", "tcp6", "udp4", "udp6", "unix" }
local function is_of(names)
  return {
    kinds = EVERY_KIND,
    read = function(value, object, kind)
      kind = tostring(object):find "^UnixDatagram" and "unixgram" or kind
      assert(value == names[kind], tostring(value))
    end,
  }
end
values.domain, values.type, values.protocol = is_of(DOMAINS), is_of(TYPES), is_of(PROTOCOLS)
values.is_listener = {
  read = function(value, object)
    assert(value == (tostring(object):find "^%w*Listener" ~= nil), tostring(value))
  end,
}

-- IPPROTO_IP
values.ttl = { values = { { 1 }, { 77 }, { 255 } } }
-- The two lowest bits are ECN's, and TCP keeps them to itself.
local function without_ecn(value)
  return { value, function(read, kind)
    assert(read == (kind:find "udp" and value or value & ~3), tostring(read))
  end }
end
values.tos_v4 = { values = { { 16 }, without_ecn(255), { 0 } } }
values.tclass_v6 = { values = { { 16 }, without_ecn(255), { 0 } } }
values.mtu_v4 = { read = integer(68), fails = NOT_CONNECTED }
values.header_included_v4 = { kinds = { "raw4" }, root = true }
values.ip_transparent_v4 = { root = true }
values.original_dst_v4 = { kinds = { "tcp4" }, fails = "ENOENT ENOPROTOOPT" }
values.multicast_if_v4 = {
  kinds = { "udp4" }, named = true, set_fails = ON_NO_STREAM_V4,
  values = { { "127.0.0.1" }, { NONE }, { "lo", "127.0.0.1" }, { NONE }, { 1, "127.0.0.1" }, { "0.0.0.0", nothing } },
}
values.multicast_ttl_v4 = { kinds = { "udp4" }, set_fails = ON_NO_STREAM_V4 }

-- IPPROTO_IPV6
values.only_v6 = { set_fails = BEFORE }
values.unicast_hops_v6 = { values = { { 1 }, { 77 }, { 255 }, { -1, integer(1) } } }
values.mtu_v6 = { read = integer(1280), fails = NOT_CONNECTED }
values.header_included_v6 = { kinds = { "raw6" }, root = true }
values.ip_transparent_v6 = { root = true }
values.original_dst_v6 = { kinds = { "tcp6" }, fails = "ENOENT ENOPROTOOPT" }
values.multicast_if_v6 = { named = true, kinds = { "udp6" }, values = { { "lo", 1 }, { NONE }, { 1 }, { 0, nothing } },
  set_fails = ON_NO_STREAM_V6 }
values.multicast_hops_v6 = { kinds = { "udp6" }, values = { { 5 }, { 255 }, { -1, integer(1) } },
  set_fails = ON_NO_STREAM_V6 }

-- IPPROTO_TCP
values.tcp_mss = {
  values = { { 1000, function(read, _, class)
    -- Of a connection it is what the kernel sends by now, which setting does not change at once.
    assert(class == "TcpStream" and read > 0 or read == 1000, tostring(read))
  end } },
}
values.tcp_user_timeout = { values = { { 10, 10.0 }, { 0.25 }, { NONE }, { 0, nothing } } }
values.tcp_congestion = { values = { { "reno" }, { "cubic" } } }
values.tcp_notsent_lowat = { values = { { 16384 }, { 4294967295 }, { 0 } } }
values.tcp_fastopen = { set_fails = { TcpStream = "EINVAL" } }
values.tcp_fastopen_connect = { set_fails = BEFORE }
values.tcp_fastopen_no_cookie = { set_fails = { TcpStream = "EINVAL" } }
values.tcp_defer_accept = { values = { { 1 }, { 5, 7 }, { 20, 31 }, { 0 }, { NONE, 0 } } }
values.tcp_linger2 = { values = { { 5 }, { 0, integer(1) }, { -1 }, { 65535, integer(1) } } }
values.tcp_window_clamp = { values = { { 20000 }, { 1, integer(2) } } }
values.tcp_md5sig = { kinds = { "tcp4" }, values = { { { address = "127.0.0.1", key = "secret" } } } }
values.tcp_save_syn = { values = { { 1 }, { 2 }, { 0 } } }
values.tcp_saved_syn = { read = nothing }
values.tcp_tx_delay = { values = { { 0.25 }, { 0.001 }, { 0.0 } } }
values.tcp_ulp = { get_only = nothing }
values.tcp_is_mptcp = {
  late = true,
  read = function(value)
    assert(value == false, tostring(value))
  end,
}
values.tcp_info = {
  read = function(value)
    assert(type(value) == "table" and type(value.state) == "string", tostring(value))
  end,
}

-- SOL_UDP
values.udp_segment = { values = { { 1000 }, { 0 } } }

-- SOL_DCCP, AF_VSOCK: only where the kernel has such sockets
values.dccp_service = { values = { { 42 }, { 4294967294 } } }
values.dccp_tx_ccid = { read = integer(0) }
values.dccp_rx_ccid = { read = integer(0) }
values.dccp_ccid = { values = { { 2 } } }
values.dccp_cur_mps = { read = integer(0) }
values.dccp_available_ccids = {
  read = function(value)
    assert(type(value) == "string" and #value > 0, tostring(value))
  end,
}
values.vsock_buffer_size = { values = { { 65536 }, { 131072 } } }
values.vsock_buffer_min_size = { values = { { 256 }, { 1024 } } }
values.vsock_buffer_max_size = { values = { { 1 << 20 }, { 1 << 19 } } }

return values
