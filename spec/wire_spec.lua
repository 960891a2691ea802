-- What options do, seen from outside: by ss, by a capture of the packets, and by another host (a network namespace).
local capture = require "spec.support.capture"
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local TcpStream, TcpSocket = tcpnet.TcpStream, tcpnet.TcpSocket
local in_task = tcp.in_task

local function is_root()
  local _, id = program.shell "id -u"
  return id == "0\n"
end

-- ss ----------------------------------------------------------------------------------------------

-- What ss says about the socket, on one line. A port alone may be that of another program's as well.
local function ss(object, flags)
  local peer = object.peer_addr and object:peer_addr()
  local code, text = program.shell(("ss -tionmH %s 'src %s %s'"):format(flags or "", tostring(object:local_addr()),
    peer and "and dst " .. tostring(peer) or ""))
  assert(code == 0, text)
  return (text:gsub("%s+", " "))
end

local function number(text, pattern)
  return tonumber(text:match(pattern) or error(("nothing like %q in: %s"):format(pattern, text), 2))
end

-- A connection with nothing under way: what was written has been acknowledged.
local function quiet_pair(opts)
  local client, server, guard = tcp.pair(opts)
  assert(client:write(("x"):rep(100000)))
  assert(#assert(server:read_exact(100000)) == 100000)
  assert(server:write "and back")
  assert(client:read_exact(8))
  while client:tcp_info().unacked > 0 or server:tcp_info().unacked > 0 do
    tcpnet.sleep(0.01)
  end
  return client, server, guard
end

describe("ss agrees", function()
  local missing = not (tcp.can "command -v ss" and tcp.can "test -e /proc/self/exe") and "needs ss on Linux" or nil

  before_each(leaks.note)
  after_each(leaks.check)

  local function with_ss(name, fn)
    it(name, function()
      if missing then
        return pending(missing)
      end
      return in_task(fn)()
    end)
  end

  with_ss("on the congestion control", function()
    local client, server, _guard <close> = tcp.pair { tcp_congestion = "reno" }
    assert.matches(" reno ", ss(client), 1, true)
    assert.equal("reno", client:tcp_congestion())
    assert.matches((" %s "):format(server:tcp_congestion()), ss(server), 1, true)
    if is_root() then -- others may choose from a shorter list
      assert(server:set_tcp_congestion "cubic")
      assert.matches(" cubic ", ss(server), 1, true)
    end
  end)

  with_ss("on keepalive and its time", function()
    local client, _, _guard <close> = tcp.pair()
    assert.is_nil(ss(client):find("timer:", 1, true))
    assert(client:set_tcp_keepalive { time = 50, interval = 7, retries = 3 })
    assert.matches("timer:%(keepalive,[45]%dsec,0%)", ss(client))
    assert(client:set_keepalive(false))
    assert.is_nil(ss(client):find("timer:", 1, true))
  end)

  with_ss("on the sizes of the buffers", function()
    local client, _, _guard <close> = tcp.pair()
    assert(client:set_send_buffer_size(30000))
    assert(client:set_recv_buffer_size(40000))
    assert.equal(60000, client:send_buffer_size())
    assert.equal(80000, client:recv_buffer_size())
    local seen = ss(client)
    assert.equal(60000, number(seen, "skmem:%(.-,tb(%d+)"))
    assert.equal(80000, number(seen, "skmem:%(.-,rb(%d+)"))
  end)

  with_ss("on bytes that wait in the buffers", function()
    local client, server, _guard <close> = tcp.pair()
    assert(client:write(("x"):rep(1234)))
    server:readable()
    assert.matches("^ESTAB 1234 0 ", ss(server))
  end)

  with_ss("on the pacing rate", function()
    local client, _, _guard <close> = quiet_pair { max_pacing_rate = 1000000 }
    assert.equal(1000000, client:max_pacing_rate())
    -- the rate by now, and the most it may be
    assert.matches("pacing_rate [%d.]+bps/8000000bps", ss(client))
    assert(client:set_max_pacing_rate(nil))
    assert.is_nil(ss(client):find("pacing_rate [%d.]+bps/"))
  end)

  with_ss("on the largest segment", function()
    local client, server, _guard <close> = quiet_pair { tcp_mss = 1000 }
    assert.is_true(client:tcp_mss() <= 1000)
    assert.equal(client:tcp_info().snd_mss, number(ss(client), " mss:(%d+)"))
    assert.equal(client:tcp_info().advmss, number(ss(client), "advmss:(%d+)"))
    -- the peer was told, and keeps to it
    assert.equal(server:tcp_mss(), number(ss(server), " mss:(%d+)"))
    assert.is_true(server:tcp_mss() <= 1000)
  end)

  with_ss("on the mark and the type of service", function()
    local client, _, _guard <close> = tcp.pair()
    assert(client:set_tos_v4(0x28))
    assert.matches(" tos:0x28 ", ss(client, "--tos") .. " ", 1, true)
    if is_root() then
      assert(client:set_mark(0x1234))
      assert.equal(0x1234, client:mark())
      assert.matches("fwmark:0x1234", ss(client, "-e"), 1, true)
    end
  end)

  with_ss("on the traffic class of IPv6", function()
    local listener <close> = tcp.listener "[::1]:0"
    local client <close> = assert(TcpStream.connect(listener:local_addr(), { tclass_v6 = 0x50 }))
    assert.equal(0x50, client:tclass_v6())
    assert.matches(" tclass:0x50 ", ss(client, "--tos") .. " ", 1, true)
  end)

  with_ss("on the numbers of tcp_info, at a moment when nothing happens", function()
    local client, server, _guard <close> = quiet_pair()
    for _, stream in ipairs { client, server } do
      local seen, info = ss(stream), stream:tcp_info()
      assert.equal("established", info.state)
      for name, pattern in pairs {
        snd_mss = " mss:(%d+)",
        rcv_mss = " rcvmss:(%d+)",
        advmss = " advmss:(%d+)",
        pmtu = " pmtu:(%d+)",
        snd_cwnd = " cwnd:(%d+)",
        segs_out = " segs_out:(%d+)",
        segs_in = " segs_in:(%d+)",
        bytes_sent = " bytes_sent:(%d+)",
        bytes_acked = " bytes_acked:(%d+)",
        bytes_received = " bytes_received:(%d+)",
        data_segs_out = " data_segs_out:(%d+)",
        data_segs_in = " data_segs_in:(%d+)",
        delivered = " delivered:(%d+)",
        rcv_space = " rcv_space:(%d+)",
        rcv_ssthresh = " rcv_ssthresh:(%d+)",
        snd_wnd = " snd_wnd:(%d+)",
        snd_wscale = " wscale:(%d+),",
        rcv_wscale = " wscale:%d+,(%d+)",
      } do
        assert.equal(number(seen, pattern), info[name], name)
        assert.equal("integer", math.type(info[name]), name)
      end
      for name, pattern in pairs {
        rto = " rto:([%d.]+)",
        rtt = " rtt:([%d.]+)/",
        rttvar = " rtt:[%d.]+/([%d.]+)",
        min_rtt = " minrtt:([%d.]+)",
      } do
        local milliseconds = number(seen, pattern) -- of which ss prints six digits at most
        assert.near(milliseconds, info[name] * 1000, 0.00051 + milliseconds * 1e-5, name)
      end
      assert.equal(seen:find(" ts ", 1, true) ~= nil, info.timestamps)
      assert.equal(seen:find(" sack ", 1, true) ~= nil, info.sack)
    end
    assert.equal(100000, client:tcp_info().bytes_sent)
    assert.equal(100001, client:tcp_info().bytes_acked) -- the SYN counts
    assert.equal(100000, server:tcp_info().bytes_received)
    assert.equal(8, server:tcp_info().bytes_sent)
  end)

  with_ss("on the backlog of a listener, and how much of it is taken", function()
    local listener <close> = tcp.listener("127.0.0.1:0", { backlog = 37 })
    assert.matches("^LISTEN 0 37 ", ss(listener, "-l"))
    local client <close> = assert(TcpStream.connect(listener:local_addr()))
    assert.matches("^LISTEN 1 37 ", ss(listener, "-l"))
    local server <close> = assert(listener:accept())
    assert.equal(client:local_addr(), server:peer_addr())
    assert.matches("^LISTEN 0 37 ", ss(listener, "-l"))
    local other <close> = assert(assert(assert(TcpSocket.new_v4()):bind "127.0.0.1:0"):listen())
    assert.matches("^LISTEN 0 1024 ", ss(other, "-l"))
  end)

  with_ss("on an interface that the socket is bound to", function()
    if not is_root() then
      return pending "needs root"
    end
    local listener <close> = tcp.listener("127.0.0.1:0", { device = "lo" })
    assert.equal("lo", listener:device())
    assert.matches(" 127.0.0.1%lo:", ss(listener, "-l"), 1, true)
  end)

  with_ss("on a socket for IPv6 alone", function()
    local listener <close> = tcp.listener("[::]:0", { only_v6 = true })
    assert.matches(" v6only:1 ", ss(listener, "-l -e") .. " ", 1, true)
    local both <close> = tcp.listener("[::]:0", { only_v6 = false })
    assert.matches(" v6only:0 ", ss(both, "-l -e") .. " ", 1, true)
  end)
end)

-- captures ----------------------------------------------------------------------------------------

-- What runs in the namespace: `here` is its table, and everything these refer to goes with them.

-- connect(opts, listen_opts[, address]) → client, server, guard of both
local function connect(opts, listen_opts, address)
  local listener <close> = assert(tcpnet.TcpListener.bind(address or "127.0.0.1:0", listen_opts))
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr(), opts))
  local server = assert(listener:accept())
  local guard = setmetatable({}, {
    __close = function()
      client:close()
      server:close()
    end,
  })
  return client, server, guard
end

-- Until the peer has acknowledged all that was sent.
local function settle(...)
  for _, stream in ipairs { ... } do
    while stream:tcp_info().unacked > 0 do
      tcpnet.sleep(0.005)
    end
  end
end

local function select_packets(packets, filter)
  local found = {}
  for _, packet in ipairs(packets) do
    if filter(packet) then
      found[#found + 1] = packet
    end
  end
  return found
end

-- The segments with bytes of the side that connected, or of the other one.
local function data_of(packets, from_server)
  local client_port
  for _, packet in ipairs(packets) do
    client_port = client_port or packet.syn and not packet.ack and packet.tcp_from
  end
  return select_packets(packets, function(packet)
    return packet.length and packet.length > 0 and (packet.tcp_from ~= client_port) == (from_server or false)
  end)
end

local function lengths(packets)
  local list = {}
  for i, packet in ipairs(packets) do
    list[i] = packet.length or #packet.data
  end
  return list
end

local function syn_of(packets)
  return assert(select_packets(packets, function(packet)
    return packet.syn and not packet.ack
  end)[1], "no SYN was seen")
end

local function has_option(packet, kind)
  return ("," .. (packet.options or "") .. ","):find("," .. kind .. ",", 1, true) ~= nil
end

describe("on the wire", function()
  local missing = netns.reason() or capture.reason()
  local host, seen

  setup(function()
    if not missing then
      host = netns.new()
      host:shell [[
        ip link set lo gso_max_segs 1 # every segment is seen as one
        echo 3 >/proc/sys/net/ipv4/tcp_fastopen]]
      seen = capture.start(host)
    end
  end)

  teardown(function()
    if seen then
      seen:close()
    end
    netns.close_all()
  end)

  before_each(leaks.note)
  after_each(leaks.check)

  local function captured(name, fn)
    it(name, function()
      if missing then
        return pending(missing)
      end
      return fn()
    end)
  end

  describe("a signature of TCP (RFC 2385)", function()
    captured("is in every segment where both sides have the key", function()
      local packets, text = seen:packets(function()
        local key = { address = "127.0.0.1", key = "shared" }
        local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { tcp_md5sig = key }))
        local socket = assert(assert(tcpnet.TcpSocket.new_v4()):set_tcp_md5sig(key))
        local client <close> = assert(socket:connect(listener:local_addr(), { timeout = 5 }))
        local server <close> = assert(listener:accept())
        assert(client:write "signed")
        local got = assert(server:read())
        settle(client)
        return got
      end)
      assert.equal("signed", text)
      assert.is_true(#packets >= 4)
      local digests = {}
      for _, packet in ipairs(packets) do
        if not packet.rst then
          assert.is_true(has_option(packet, 19))
          assert.equal(32, #packet.digest)
          digests[packet.digest] = true
        end
      end
      assert.is_true(has_option(syn_of(packets), 19))
      assert.is_not_nil(next(digests, next(digests)), "every segment has a signature of its own")
      assert.same({ 6 }, lengths(data_of(packets)))
    end)

    local silent = {
      ["another key"] = { key = { address = "127.0.0.1", key = "other" }, signed = true },
      ["no key"] = { key = nil, signed = false },
      ["a key for another peer"] = { key = { address = "127.0.0.9", key = "shared" }, signed = false },
      ["a key that was taken back"] = { key = { address = "127.0.0.1", key = "shared" }, back = true, signed = false },
    }
    for name, case in pairs(silent) do
      captured("keeps a client out that has " .. name, function()
        local packets, code, nobody = seen:packets(function(_, with, back)
          local key = { address = "127.0.0.1", key = "shared" }
          local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { tcp_md5sig = key }))
          local socket = assert(tcpnet.TcpSocket.new_v4())
          if with then
            assert(socket:set_tcp_md5sig(with))
          end
          if back then
            assert(socket:set_tcp_md5sig { address = "127.0.0.1" })
          end
          local stream, err = socket:connect(listener:local_addr(), { timeout = 0.3 })
          return stream and "connected" or err.code, select(2, listener:try_accept()).code
        end, case.key, case.back)
        assert.equal("TIMEOUT", code)
        assert.equal("EAGAIN", nobody)
        assert.equal(case.signed, has_option(syn_of(packets), 19))
        for _, packet in ipairs(packets) do
          assert.is_true(packet.syn and not packet.ack, "nobody answers")
        end
      end)
    end

    local prefixes = {
      ["IPv6"] = { "[::1]:0", { address = "::1" }, { address = "::1" } },
      ["a whole prefix"] = { "127.0.0.1:0", { address = "127.0.0.0", prefix = 8 }, { address = "127.0.0.1" } },
      ["every peer"] = { "[::1]:0", { address = "::", prefix = 0 }, { address = "::1", prefix = 128 } },
    }
    for name, case in pairs(prefixes) do
      captured("serves " .. name, function()
        local packets, ok = seen:packets(function(_, address, listener_key, client_key)
          listener_key.key, client_key.key = "shared", "shared"
          local listener <close> = assert(tcpnet.TcpListener.bind(address, { tcp_md5sig = listener_key }))
          local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), {
            tcp_md5sig = client_key, timeout = 2,
          }))
          local server <close> = assert(listener:accept())
          return server:peer_addr() == client:local_addr()
        end, table.unpack(case))
        assert.is_true(ok)
        assert.is_true(has_option(syn_of(packets), 19))
      end)
    end
  end)

  describe("TCP fast open (RFC 7413)", function()
    local function exchange(here)
      if not here.fast then
        here.fast = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { tcp_fastopen = 16 }))
      end
      assert(here.fast:tcp_fastopen() == 16)
      local client <close> = assert(tcpnet.TcpStream.connect(here.fast:local_addr(), { tcp_fastopen_connect = true }))
      assert(client:write "early")
      local server <close> = assert(here.fast:accept())
      local text = assert(server:read_exact(5))
      assert(server:write "late")
      assert(client:read_exact(4))
      return text, client:tcp_info().syn_data, server:tcp_info().syn_data
    end

    captured("asks for a cookie first, and then sends bytes with the SYN", function()
      local packets, text, syn_data = seen:packets(exchange)
      assert.equal("early", text)
      assert.is_false(syn_data)
      assert.is_true(has_option(syn_of(packets), 34))
      assert.equal(0, syn_of(packets).length)
      local answer = select_packets(packets, function(packet) return packet.syn and packet.ack end)[1]
      assert.is_not_nil(answer.cookie)

      local server_syn_data
      packets, text, syn_data, server_syn_data = seen:packets(exchange)
      assert.equal("early", text)
      assert.is_true(syn_data)
      assert.is_true(server_syn_data)
      local syn = syn_of(packets)
      assert.equal("early", syn.data)
      assert.equal(answer.cookie, syn.cookie)
    end)

    captured("needs no cookie where both sides do without", function()
      local packets, text = seen:packets(function()
        local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.2:0", {
          tcp_fastopen = 16, tcp_fastopen_no_cookie = true,
        }))
        local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), {
          tcp_fastopen_connect = true, tcp_fastopen_no_cookie = true,
        }))
        assert(client:write "first")
        local server <close> = assert(listener:accept())
        return assert(server:read_exact(5))
      end)
      assert.equal("first", text)
      assert.equal("first", syn_of(packets).data)
      assert.is_nil(syn_of(packets).cookie)
    end)

    captured("is asked for by the flag of a send, too", function()
      local packets, text = seen:packets(function(here)
        local socket <close> = assert(tcpnet.Socket.new("inet", "stream"))
        assert(socket:send_to("flagged", here.fast:local_addr(), { "fastopen" }) == 7)
        local server <close> = assert(here.fast:accept())
        return assert(server:read_exact(7))
      end)
      assert.equal("flagged", text)
      assert.equal("flagged", syn_of(packets).data)
    end)

    captured("is not used where nobody asked", function()
      local packets = seen:packets(function(here)
        local client <close> = assert(tcpnet.TcpStream.connect(here.fast:local_addr()))
        local server <close> = assert(here.fast:accept())
        return server:peer_addr() == client:local_addr()
      end)
      assert.is_false(has_option(syn_of(packets), 34))
    end)
  end)

  describe("the type of service", function()
    captured("is in the SYN, and in what follows a change", function()
      local packets = seen:packets(function()
        local client, server, _guard <close> = connect { tos_v4 = 0xb8 }
        assert(client:write "a")
        assert(server:read_exact(1))
        settle(client)
        assert(client:set_tos_v4(0x28))
        assert(client:write "b")
        assert(server:read_exact(1))
        settle(client)
      end)
      assert.equal(46, syn_of(packets).dscp)
      local data = data_of(packets)
      assert.equal("a", data[1].data)
      assert.equal(46, data[1].dscp)
      assert.equal("b", data[2].data)
      assert.equal(10, data[2].dscp)
    end)

    captured("is the traffic class of IPv6", function()
      local packets = seen:packets(function()
        local client, server, _guard <close> = connect({ tclass_v6 = 0xb8 }, { tclass_v6 = 0x28 }, "[::1]:0")
        assert(server:write "x")
        assert(client:read_exact(1))
        settle(server)
      end)
      assert.equal(46, syn_of(packets).dscp_v6)
      assert.equal(10, data_of(packets, true)[1].dscp_v6)
    end)

    captured("of a datagram is that of the socket, or of the message", function()
      local packets = seen:packets(function()
        for _, address in ipairs { "127.0.0.1:0", "[::1]:0" } do
          local v6 = address:find "::"
          local socket <close> = assert(tcpnet.Socket.new(v6 and "inet6" or "inet", "dgram"))
          assert(socket:bind(address))
          assert(socket[v6 and "set_tclass_v6" or "set_tos_v4"](socket, 0x48 | 1))
          assert(socket:send_to("socket", socket:local_addr()))
          assert(socket:sendmsg {
            data = "message", address = socket:local_addr(),
            control = { { type = v6 and "tclass" or "tos", value = 0x68 | 2 },
              { type = v6 and "hoplimit" or "ttl", value = 33 } },
          })
        end
      end)
      assert.equal(4, #packets)
      for i, version in ipairs { "", "_v6" } do
        local by_socket, by_message = packets[2 * i - 1], packets[2 * i]
        assert.equal("socket", by_socket.data)
        assert.equal(18, by_socket["dscp" .. version])
        assert.equal(1, by_socket["ecn" .. version])
        assert.equal("message", by_message.data)
        assert.equal(26, by_message["dscp" .. version])
        assert.equal(2, by_message["ecn" .. version])
        assert.equal(33, by_message.ttl or by_message.hop_limit)
      end
    end)
  end)

  describe("the largest segment", function()
    captured("that is set before the connection limits both sides", function()
      local packets = seen:packets(function()
        local client, server, _guard <close> = connect { tcp_mss = 600 }
        assert(client:write(("a"):rep(5000)))
        assert(server:read_exact(5000))
        assert(server:write(("b"):rep(5000)))
        assert(client:read_exact(5000))
        settle(client, server)
      end)
      assert.equal(600, syn_of(packets).mss)
      for _, from_server in ipairs { false, true } do
        local total = 0
        local sizes = lengths(data_of(packets, from_server))
        for _, size in ipairs(sizes) do
          assert.is_true(size <= 600, size)
          total = total + size
        end
        assert.equal(5000, total)
        assert.is_true(#sizes >= 9)
      end
    end)

    captured("of a listener is in its answer", function()
      local packets = seen:packets(function()
        local client, _, _guard <close> = connect(nil, { tcp_mss = 700 })
        return client:tcp_mss()
      end)
      local answer = select_packets(packets, function(packet) return packet.syn and packet.ack end)[1]
      assert.equal(700, answer.mss)
      assert.is_true(syn_of(packets).mss > 60000)
    end)
  end)

  captured("the time to live and the hop limit are those set", function()
    local packets = seen:packets(function()
      local four, five, _guard <close> = connect({ ttl = 7 }, { ttl = 9 })
      local six, seven, _other <close> = connect({ unicast_hops_v6 = 8 }, { unicast_hops_v6 = 10 }, "[::1]:0")
      assert(five:write "x")
      assert(four:read_exact(1))
      assert(seven:write "x")
      assert(six:read_exact(1))
      settle(five, seven)
      assert(four:set_ttl(200))
      assert(four:write "later")
      settle(four)
    end)
    local seen_ttl, seen_hops = {}, {}
    for _, packet in ipairs(packets) do
      if packet.syn or packet.length > 0 then
        local list = packet.ttl and seen_ttl or seen_hops
        list[#list + 1] = packet.ttl or packet.hop_limit
      end
    end
    assert.same({ 7, 9, 9, 200 }, seen_ttl)
    assert.same({ 8, 10, 10 }, seen_hops)
  end)

  describe("small writes", function()
    -- Four writes of a few bytes each, the last one of which is read before anything is closed.
    local function four_writes(_, opts, cork)
      local client, server, _guard <close> = connect(opts)
      if cork then
        assert(client:set_tcp_cork(true))
      end
      for i = 1, 4 do
        assert(client:write("part" .. i))
      end
      if cork then
        assert(client:set_tcp_cork(false))
      end
      assert(server:read_exact(20))
      settle(client)
    end

    captured("are a segment each with nodelay", function()
      local packets = seen:packets(four_writes, { nodelay = true })
      assert.same({ 5, 5, 5, 5 }, lengths(data_of(packets)))
    end)

    captured("are one segment under tcp_cork", function()
      local packets = seen:packets(four_writes, { nodelay = true }, true)
      assert.same({ 20 }, lengths(data_of(packets)))
    end)

    captured("wait for the first one's acknowledgement under Nagle's algorithm", function()
      local packets = seen:packets(function()
        -- the peer's acknowledgement is delayed, so that it cannot come between the writes
        local client, server, _guard <close> = connect({ nodelay = false }, { quickack = false })
        assert(server:set_quickack(false))
        for i = 1, 4 do
          assert(client:write("part" .. i))
        end
        assert(server:read_exact(20))
        settle(client)
      end)
      assert.same({ 5, 15 }, lengths(data_of(packets)))
    end)

    captured("are one segment where they are one call, or the flag says that more comes", function()
      local packets = seen:packets(function()
        local client, server, _guard <close> = connect { nodelay = true }
        assert(client:write("all", 4, "one"))
        local view <close> = assert(client:as_socket())
        assert(view:send("more", { "more" }) == 4)
        assert(view:send("done") == 4)
        assert(server:read_exact(15))
        settle(client)
      end)
      assert.same({ 7, 8 }, lengths(data_of(packets)))
    end)
  end)

  describe("a connection ends", function()
    local function ending(_, how)
      local client, server, _guard <close> = connect()
      if how == "reset" then
        assert(client:reset())
      elseif how == "zero_linger" then
        assert(client:set_zero_linger())
        client:close()
      else
        client:close()
      end
      return select("#", server:read()), (select(2, server:read()) or {}).code
    end

    for _, how in ipairs { "reset", "zero_linger", "close" } do
      captured(how == "close" and "with FIN by close" or "with RST and no FIN by " .. how, function()
        local packets, _, code = seen:packets(ending, how)
        local resets = select_packets(packets, function(packet) return packet.rst end)
        local port = syn_of(packets).tcp_from
        local fins = select_packets(packets, function(packet) return packet.fin and packet.tcp_from == port end)
        assert.same(how == "close" and { 0, 1 } or { 1, 0 }, { #resets, #fins })
        assert.equal(how ~= "close" and "ECONNRESET" or nil, code)
        if how ~= "close" then
          assert.equal(port, resets[1].tcp_from)
        end
      end)
    end

    captured("half by shutdown: FIN of one side, and bytes of the other after it", function()
      local packets = seen:packets(function()
        local client, server, _guard <close> = connect()
        assert(client:shutdown "write")
        assert(server:read() == nil)
        assert(server:write "still here")
        assert(client:read_exact(10))
        settle(server)
      end)
      local order = {}
      for _, packet in ipairs(packets) do
        order[#order + 1] = packet.fin and "fin" or packet.data == "still here" and "data" or nil
      end
      assert.same({ "fin", "data" }, { order[1], order[2] })
    end)
  end)

  captured("urgent data is marked, and the pointer is behind it", function()
    local packets, normal, urgent = seen:packets(function()
      local client, server, _guard <close> = connect { nodelay = true }
      local view <close> = assert(client:as_socket())
      assert(view:send_out_of_band "abc!" == 4)
      local other <close> = assert(server:as_socket())
      local byte = assert(other:recv_out_of_band(1))
      settle(client)
      return assert(server:read_exact(3)), byte
    end)
    assert.equal("abc", normal)
    assert.equal("!", urgent)
    local data = data_of(packets)
    assert.equal(1, #data)
    assert.equal("abc!", data[1].data)
    assert.is_true(data[1].urg)
    assert.equal(4, data[1].urgent)
  end)

  captured("keepalive probes an idle connection after its time", function()
    local packets = seen:packets(function()
      local client, server, _guard <close> = connect()
      assert(client:set_tcp_keepalive { time = 1, interval = 1, retries = 2 })
      assert(client:tcp_keepalive_time() == 1 and client:tcp_keepalive_interval() == 1)
      tcpnet.sleep(1.5)
      return server:fd()
    end)
    local port = syn_of(packets).tcp_from
    local probes = select_packets(packets, function(packet) return packet.keepalive end)
    assert.is_true(#probes >= 1 and #probes <= 2)
    assert.equal(port, probes[1].tcp_from)
    assert.equal(0, probes[1].length)
    assert.is_true(probes[1].ack)
    local answers = select_packets(packets, function(packet)
      return packet.tcp_to == port and not (packet.syn or packet.fin)
    end)
    assert.is_true(#answers >= #probes)
    assert.equal(0, answers[1].length)
  end)

  captured("the window that is offered at the beginning is no larger than its clamp", function()
    local packets = seen:packets(function()
      local client, server, _guard <close> = connect { tcp_window_clamp = 5000 }
      return client:fd() + server:fd()
    end)
    local port = syn_of(packets).tcp_from
    assert.equal(5000, syn_of(packets).window)
    local own = select_packets(packets, function(packet) return packet.tcp_from == port and not packet.syn end)
    assert.equal(5000, own[1].window)
  end)

  describe("one large datagram", function()
    local function sent(_, how)
      local socket <close> = assert(tcpnet.Socket.new("inet", "dgram"))
      local peer <close> = assert(tcpnet.Socket.new("inet", "dgram"))
      assert(peer:bind "127.0.0.1:0")
      assert(socket:connect(peer:local_addr()))
      local text = ("a"):rep(1000) .. ("b"):rep(1000) .. ("c"):rep(500)
      if how == "option" then
        assert(socket:set_udp_segment(1000))
        assert(socket:send(text) == 2500)
      elseif how == "message" then
        assert(socket:sendmsg { data = text, control = { { type = "segment_size", value = 1000 } } } == 2500)
      elseif how == "cork" then
        assert(socket:set_udp_cork(true))
        assert(socket:send "one" == 3)
        assert(socket:send "two" == 3)
        assert(socket:set_udp_cork(false))
        assert(socket:send "three" == 5)
      else
        assert(socket:send(text) == 2500)
      end
    end

    for _, how in ipairs { "option", "message" } do
      captured("is cut into datagrams by the " .. how, function()
        local packets = seen:packets(sent, how)
        assert.same({ 1000, 1000, 500 }, lengths(packets))
        assert.equal(("b"):rep(1000), packets[2].data)
      end)
    end

    captured("is one without that", function()
      assert.same({ 2500 }, lengths((seen:packets(sent))))
    end)

    captured("is made of small ones by udp_cork", function()
      local packets = seen:packets(sent, "cork")
      assert.same({ "onetwo", "three" }, { packets[1].data, packets[2].data })
      assert.equal(2, #packets)
    end)
  end)

  captured("what forbids fragments, sums up and labels is in the headers", function()
    local packets = seen:packets(function()
      for _, discover in ipairs { 0, 2 } do -- IP_PMTUDISC_DONT, IP_PMTUDISC_DO
        local socket <close> = assert(tcpnet.Socket.new("inet", "dgram"))
        assert(socket:bind "127.0.0.1:0")
        assert(socket:set_mtu_discover_v4(discover))
        assert(socket:send_to("v4", socket:local_addr()))
      end
      for _, on in ipairs { false, true } do
        local socket <close> = assert(tcpnet.Socket.new("inet6", "dgram"))
        assert(socket:bind "[::1]:0")
        assert(socket:set_autoflowlabel_v6(on))
        assert(socket:set_udp_no_check6_tx(on))
        assert(socket:set_udp_no_check6_rx(true))
        assert(socket:send_to("v6", socket:local_addr()))
      end
    end)
    assert.equal(4, #packets)
    assert.same({ 0, 1 }, { packets[1].dont_fragment, packets[2].dont_fragment })
    assert.equal(0, packets[3].flow_label)
    assert.is_true(packets[4].flow_label ~= 0)
    assert.is_true(packets[3].udp_checksum ~= 0)
    assert.equal(0, packets[4].udp_checksum)
  end)
end)

-- another host ------------------------------------------------------------------------------------

-- A socket for datagrams on a port of the system's choice; here.keep closes it when the next test begins.
local function datagrams(here, family, options, address)
  local socket = assert(tcpnet.Socket.new(family or "inet", "dgram"))
  table.insert(here.keep, socket)
  for name, value in pairs(options or {}) do
    assert(socket["set_" .. name](socket, value))
  end
  assert(socket:bind(address or (family == "inet6" and "[::]:0" or "0.0.0.0:0")))
  return socket, socket:local_addr():port()
end

local function forget(here)
  for _, object in ipairs(here.keep or {}) do
    object:close()
  end
  here.keep = {}
end

-- Sends a datagram from a socket of its own with these options.
local function send(here, data, to, options, from)
  local socket = datagrams(here, to:find "^%[" and "inet6" or "inet", options, from)
  local sent, err = socket:send_to(data, to)
  return sent, err and err.code
end

-- What arrived at here.socket until "end" does, a list; what came with each as control data by type, in a second one.
local function arrived(here)
  local list, control = {}, {}
  while true do
    local message = assert(here.socket:recvmsg())
    if message.data == "end" then
      return list, control
    end
    list[#list + 1] = message.data
    control[#control + 1] = {}
    for _, entry in ipairs(message.control) do
      control[#control][entry.type] = entry.interface or entry.value
    end
  end
end

describe("between two hosts", function()
  local missing = netns.reason()
  local near, far

  -- Two links, `one` and `two`; near is 10.77.1.1 and 10.77.1.3 on the first and 10.77.2.1 on the second, far is .2.
  setup(function()
    if missing then
      return
    end
    near, far = netns.new(), netns.new()
    netns.link(near, far, "one", "10.77.1.1/24", "10.77.1.2/24", "fd77:1::1/64", "fd77:1::2/64")
    netns.link(near, far, "two", "10.77.2.1/24", "10.77.2.2/24", "fd77:2::1/64", "fd77:2::2/64")
    near:address("one", "10.77.1.3/24")
    near:address("one", "fd77:1::3/64")
    near:shell "ip addr change 10.77.1.1/24 dev one brd 10.77.1.255; ip route add 10.88.0.0/16 via 10.77.1.2"
    far:shell "ip addr add 10.88.0.1/32 dev lo; ip route add 224.0.0.0/4 dev one; ip route add 10.99.0.0/16 dev one"
  end)

  teardown(netns.close_all)

  before_each(function()
    leaks.note()
    if not missing then
      near:run(forget)
      far:run(forget)
    end
  end)
  after_each(leaks.check)

  local function between(name, fn)
    it(name, function()
      if missing then
        return pending(missing)
      end
      return fn()
    end)
  end

  -- far listens for datagrams → port; prepare(socket, ...) may set it up
  local function listen(family, options, prepare, ...)
    return far:run(function(here, socket_family, socket_options, fn, ...)
      local port
      here.socket, port = datagrams(here, socket_family, socket_options)
      if fn then
        fn(here.socket, ...)
      end
      return port
    end, family, options, prepare, ...)
  end

  local function change(fn, ...)
    return far:run(function(here, inner, ...)
      return inner(here.socket, ...)
    end, fn, ...)
  end

  -- What far got of what was sent; "end" goes by both links, behind all of it.
  local function result(port)
    local ends = { "10.77.1.2:" .. port, "10.77.2.2:" .. port }
    local v6 = change(function(socket) return socket:domain() == "inet6" end)
    if v6 then
      ends = { ("[fd77:1::2]:%d"):format(port), ("[fd77:2::2]:%d"):format(port) }
    end
    local list, control = nil, {}
    for _, to in ipairs(ends) do
      assert.equal(3, near:run(send, "end", to))
      local some, more = far:run(arrived)
      list = table.move(some, 1, #some, #(list or {}) + 1, list or {})
      control = table.move(more, 1, #more, #control + 1, control)
    end
    table.sort(list)
    return list, control
  end

  local function index_of(namespace, name)
    return math.tointeger(tonumber(namespace:shell(("cat /sys/class/net/%s/ifindex"):format(name))
      :match "%d+"))
  end

  local families = {
    {
      name = "v4", domain = "inet", group = "239.77.0.1", other = "239.77.0.2", ssm = "232.77.0.1",
      sources = { "10.77.1.1", "10.77.1.3" }, to = function(group, port) return group .. ":" .. port end,
      from = function(ip) return ip .. ":0" end,
    },
    {
      name = "v6", domain = "inet6", group = "ff15::77", other = "ff15::78", ssm = "ff35::77",
      sources = { "fd77:1::1", "fd77:1::3" }, to = function(group, port) return ("[%s]:%d"):format(group, port) end,
      from = function(ip) return "[" .. ip .. "]:0" end,
    },
  }

  for _, family in ipairs(families) do
    local v = family.name

    -- near sends to the group by the link
    local function multicast(data, group, port, link, options, source)
      options = options or {}
      options["multicast_if_" .. v] = link
      local sent, code = near:run(send, data, family.to(group, port), options, source and family.from(source))
      assert.equal(#data, sent, code)
    end

    describe("multicast of IP" .. v, function()
      local ways = { name = "one", index = index_of }
      if v == "v4" then
        ways.address = "10.77.1.2"
        ways["system's choice"] = false
      end
      for way, interface in pairs(ways) do
        between("is joined and left by the interface's " .. way, function()
          local named = interface
          if named == index_of then
            named = index_of(far, "one")
          end
          local port = listen(family.domain, nil, function(socket, join, group, at)
            assert(socket[join](socket, group, at or nil) == socket)
          end, "join_multicast_" .. v, family.group, named)
          multicast("by one", family.group, port, "one")
          multicast("by two", family.group, port, "two")
          multicast("of another group", family.other, port, "one")
          assert.same({ "by one" }, (result(port)))
          local again = change(function(socket, join, group, at)
            return select(2, socket[join](socket, group, at or nil)).code
          end, "join_multicast_" .. v, family.group, named)
          assert.equal("EADDRINUSE", again)
          change(function(socket, leave, group, at)
            assert(socket[leave](socket, group, at or nil) == socket)
          end, "leave_multicast_" .. v, family.group, named)
          multicast("too late", family.group, port, "one")
          assert.same({}, (result(port)))
          local never = change(function(socket, leave, group, at)
            return select(2, socket[leave](socket, group, at or nil)).code
          end, "leave_multicast_" .. v, family.group, named)
          assert.equal("EADDRNOTAVAIL", never)
        end)
      end

      between("is not joined by an interface that is not there", function()
        listen(family.domain)
        local codes = table.pack(change(function(socket, join, group)
          local _, by_name = socket[join](socket, group, "nowhere")
          local _, by_index = socket[join](socket, group, 9999)
          return by_name.code, by_index.code
        end, "join_multicast_" .. v, family.group))
        assert.same({ "ENODEV", "ENODEV", n = 2 }, codes)
      end)

      between("is joined for one source and left again", function()
        local port = listen(family.domain, nil, function(socket, join, source, group)
          assert(socket[join](socket, source, group, "one"))
        end, "join_ssm_" .. v, family.sources[1], family.ssm)
        multicast("wanted", family.ssm, port, "one", nil, family.sources[1])
        multicast("unwanted", family.ssm, port, "one", nil, family.sources[2])
        assert.same({ "wanted" }, (result(port)))
        change(function(socket, leave, source, group)
          assert(socket[leave](socket, source, group, "one"))
        end, "leave_ssm_" .. v, family.sources[1], family.ssm)
        multicast("too late", family.ssm, port, "one", nil, family.sources[1])
        assert.same({}, (result(port)))
      end)

      between("blocks a source of a joined group and lets it in again", function()
        local port = listen(family.domain, nil, function(socket, join, block, source, group)
          assert(socket[join](socket, group, "one"))
          assert(socket[block](socket, source, group, "one"))
        end, "join_multicast_" .. v, "block_source_" .. v, family.sources[1], family.group)
        multicast("blocked", family.group, port, "one", nil, family.sources[1])
        multicast("free", family.group, port, "one", nil, family.sources[2])
        assert.same({ "free" }, (result(port)))
        change(function(socket, unblock, source, group)
          assert(socket[unblock](socket, source, group, "one"))
        end, "unblock_source_" .. v, family.sources[1], family.group)
        multicast("1 free again", family.group, port, "one", nil, family.sources[1])
        multicast("2 still free", family.group, port, "one", nil, family.sources[2])
        assert.same({ "1 free again", "2 still free" }, (result(port)))
      end)

      between("goes out by the interface of multicast_if, with the hops that are set", function()
        local hops = v == "v4" and "multicast_ttl_v4" or "multicast_hops_v6"
        local port = listen(family.domain, {
          ["recv_pktinfo_" .. v] = true, [v == "v4" and "recv_ttl_v4" or "recv_hoplimit_v6"] = true,
        }, function(socket, join, group)
          assert(socket[join](socket, group, "one"))
          assert(socket[join](socket, group, "two"))
        end, "join_multicast_" .. v, family.group)
        multicast("1", family.group, port, "one")
        multicast("2", family.group, port, index_of(near, "one"), { [hops] = 7 })
        if v == "v4" then
          multicast("3", family.group, port, "10.77.1.1", { [hops] = 255 })
        end
        multicast("4", family.group, port, "two")
        local list, control = result(port)
        local one, two = index_of(far, "one"), index_of(far, "two")
        local seen, links = {}, {}
        for i, entry in ipairs(control) do
          seen[i], links[i] = entry.ttl or entry.hoplimit, entry.pktinfo
        end
        if v == "v4" then
          assert.same({ "1", "2", "3", "4" }, list)
          assert.same({ 1, 7, 255, 1 }, seen)
          assert.same({ one, one, one, two }, links)
        else
          assert.same({ "1", "2", "4" }, list)
          assert.same({ 1, 7, 1 }, seen)
          assert.same({ one, one, two }, links)
        end
      end)

      between("reads back the interface that was set", function()
        local values = table.pack(near:run(function(here, domain, name)
          local socket = datagrams(here, domain)
          local before = socket[name](socket)
          assert(socket["set_" .. name](socket, "two"))
          local after = socket[name](socket)
          assert(socket["set_" .. name](socket, nil))
          return before, after, socket[name](socket), select(2, socket["set_" .. name](socket, "nowhere")).code
        end, family.domain, "multicast_if_" .. v))
        assert.same({ nil, v == "v4" and "10.77.2.1" or index_of(near, "two"), nil, "ENODEV", n = 4 }, values)
      end)

      between("comes back to the sender's host with multicast_loop only", function()
        local got = near:run(function(here, domain, version, group)
          local receiver, port = datagrams(here, domain)
          assert(receiver["join_multicast_" .. version](receiver, group, "one"))
          local loop = "multicast_loop_" .. version
          local to = (domain == "inet6" and "[%s]:%d" or "%s:%d"):format(group, port)
          for i, on in ipairs { false, true } do
            local options = { [loop] = on, ["multicast_if_" .. version] = "one" }
            assert(send(here, "loop " .. i, to, options))
          end
          return (assert(receiver:recv()))
        end, family.domain, v, family.group)
        assert.equal("loop 2", got)
      end)

      between("is for every socket that may have it, or for those that joined with multicast_all off", function()
        local port = listen(family.domain, { ["multicast_all_" .. v] = true })
        far:run(function(here, domain, join, group)
          local other = datagrams(here, domain)
          assert(other[join](other, group, "one"))
        end, family.domain, "join_multicast_" .. v, family.group)
        multicast("joined by another", family.group, port, "one")
        assert.same({ "joined by another" }, (result(port)))
        change(function(socket, name)
          assert(socket["set_" .. name](socket, false))
          assert(socket[name](socket) == false)
        end, "multicast_all_" .. v)
        multicast("not by me", family.group, port, "one")
        assert.same({}, (result(port)))
      end)
    end)
  end

  between("a group of IPv6 with its link in the address is joined there", function()
    local port = listen("inet6", nil, function(socket)
      assert(socket:join_multicast_v6 "ff12::77%one")
    end)
    assert(near:run(send, "by one", ("[ff12::77%%one]:%d"):format(port)))
    assert(near:run(send, "by two", ("[ff12::77%%two]:%d"):format(port)))
    assert.same({ "by one" }, (result(port)))
  end)

  between("a broadcast is sent where it is allowed, and arrives", function()
    local port = listen()
    local sent, code = near:run(send, "forbidden", "10.77.1.255:" .. port)
    assert.same({ nil, "EACCES" }, { sent, code })
    assert.equal(7, near:run(send, "allowed", "10.77.1.255:" .. port, { broadcast = true }))
    assert.same({ "allowed" }, (result(port)))
  end)

  describe("a socket that is bound to an interface", function()
    between("sends by that one, whatever the routes say", function()
      local port = listen("inet", { recv_pktinfo_v4 = true })
      local to = "10.77.1.2:" .. port
      local by_index = index_of(near, "two")
      for i, options in ipairs { {}, { device = "two" }, { device_index = by_index }, { device_index = "two" } } do
        assert.equal(1, near:run(send, tostring(i), to, options))
      end
      local list, control = result(port)
      assert.same({ "1", "2", "3", "4" }, list)
      local one, two = index_of(far, "one"), index_of(far, "two")
      local links = {}
      for i, entry in ipairs(control) do
        links[i] = entry.pktinfo
      end
      table.sort(links)
      local expected = { one, two, two, two }
      table.sort(expected)
      assert.same(expected, links)
    end)

    between("gets only what comes by that one", function()
      local port = listen()
      far:run(function(here)
        here.bound = datagrams(here, "inet", { device = "two", reuseaddr = true })
        here.bound_port = here.bound:local_addr():port()
      end)
      local bound_port = far:run(function(here) return here.bound_port end)
      assert(near:run(send, "by one", "10.77.1.2:" .. bound_port))
      assert(near:run(send, "by two", "10.77.2.2:" .. bound_port))
      assert.same({}, (result(port)))
      assert.equal("by two", far:run(function(here) return (here.bound:recv()) end))
    end)

    between("says which, and is set free by nil", function()
      local values = table.pack(near:run(function(here)
        local socket = datagrams(here)
        local found = table.pack(socket:device(), socket:device_index())
        assert(socket:set_device "two")
        found[3], found[4] = socket:device(), socket:device_index()
        assert(socket:set_device(nil))
        found[5], found[6] = socket:device(), socket:device_index()
        assert(socket:set_device_index "one")
        found[7], found[8] = socket:device(), socket:device_index()
        assert(socket:set_device_index(nil))
        found[9], found[10] = socket:device(), socket:device_index()
        return table.unpack(found, 1, 10)
      end))
      local one, two = index_of(near, "one"), index_of(near, "two")
      assert.same({ nil, nil, "two", two, nil, nil, "one", one, nil, nil, n = 10 }, values)
    end)

    between("is not bound to one that is not there", function()
      local codes = table.pack(near:run(function(here)
        local socket = datagrams(here)
        local found = {}
        for _, name in ipairs { "device", "device_index" } do
          local ok, err = socket["set_" .. name](socket, "nowhere")
          found[#found + 1] = ok == nil and err.code
        end
        local stream, err = tcpnet.TcpStream.connect("10.77.1.2:9", { device = "nowhere", timeout = 5 })
        found[#found + 1] = stream == nil and err.code
        return table.unpack(found)
      end))
      assert.same({ "ENODEV", "ENODEV", "ENODEV", n = 3 }, codes)
    end)

    between("and listens is not there for those who come by another", function()
      local port = far:run(function(here)
        local listener = assert(tcpnet.TcpListener.bind("0.0.0.0:0", { device = "two" }))
        table.insert(here.keep, listener)
        return listener:local_addr():port()
      end)
      local outcomes = table.pack(near:run(function(_, at)
        local found = {}
        for _, ip in ipairs { "10.77.1.2", "10.77.2.2" } do
          local stream, err = tcpnet.TcpStream.connect(ip, at, { timeout = 5 })
          found[#found + 1] = stream and tostring(stream:local_addr():ip()) or err.code
          if stream then
            stream:close()
          end
        end
        return table.unpack(found)
      end, port))
      assert.same({ "ECONNREFUSED", "10.77.2.1", n = 2 }, outcomes)
    end)
  end)

  between("an address that nobody has is bound with freebind only", function()
    local outcomes = table.pack(near:run(function()
      local found = {}
      for _, case in ipairs { { "v4", "10.99.0.1:0" }, { "v6", "[fd99::1]:0" } } do
        for _, free in ipairs { false, true } do
          local socket <close> = assert(tcpnet.TcpSocket["new_" .. case[1]]())
          assert(socket["set_freebind_" .. case[1]](socket, free))
          local ok, err = socket:bind(case[2])
          found[#found + 1] = ok and socket:local_addr():ip() or err.code
        end
      end
      return table.unpack(found)
    end))
    assert.same({ "EADDRNOTAVAIL", "10.99.0.1", "EADDRNOTAVAIL", "fd99::1", n = 4 }, outcomes)
  end)

  between("a foreign address is sent from with ip_transparent", function()
    local port = listen()
    assert.equal(8, near:run(send, "disguise", "10.77.1.2:" .. port, { ip_transparent_v4 = true }, "10.99.0.7:4242"))
    local data, from = change(function(socket)
      local text, address = socket:recv_from()
      return text, tostring(address)
    end)
    assert.equal("disguise", data)
    assert.equal("10.99.0.7:4242", from)
    local refused = near:run(function(here)
      return select(2, pcall(send, here, "x", "10.77.1.2:9", nil, "10.99.0.7:0"))
    end)
    assert.matches("EADDRNOTAVAIL", refused)
  end)

  describe("a redirected connection", function()
    for _, case in ipairs {
      { name = "v4", nft = "ip", to = "10.77.1.2:4299", any = "0.0.0.0:0", lone = "127.0.0.1" },
      { name = "v6", nft = "ip6", to = "[fd77:1::2]:4299", any = "[::]:0", lone = "[::1]" },
    } do
      between("of IP" .. case.name .. " knows where it was meant to go", function()
        if not tcp.can "command -v nft" then
          return pending "needs nft"
        end
        local port = near:run(function(here, address)
          here.listener = assert(tcpnet.TcpListener.bind(address, { only_v6 = address:find "::" and true or nil }))
          table.insert(here.keep, here.listener)
          return here.listener:local_addr():port()
        end, case.any)
        near:shell(([[
          nft add table %s spec
          nft 'add chain %s spec out { type nat hook output priority -100; }'
          nft add rule %s spec out tcp dport 4299 redirect to :%d]]):format(case.nft, case.nft, case.nft, port))
        local outcomes = table.pack(near:run(function(here, version, to, direct)
          local found = {}
          for _, target in ipairs { to, direct } do
            local client <close> = assert(tcpnet.TcpStream.connect(target, { timeout = 5 }))
            local server <close> = assert(here.listener:accept())
            local meant = assert(server["original_dst_" .. version](server))
            found[#found + 1] = tostring(meant)
            found[#found + 1] = meant == client:peer_addr()
          end
          return table.unpack(found)
        end, case.name, case.to, case.lone .. ":" .. port))
        near:shell(("nft delete table %s spec"):format(case.nft))
        local direct = case.lone .. ":" .. port
        assert.same({ case.to, true, direct, true, n = 4 }, outcomes)
      end)
    end

    between("is one only where something redirects", function()
      local code = far:run(function()
        local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
        local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
        local address, err = client:original_dst_v4()
        return address and tostring(address) or err.code
      end)
      assert.is_true(code == "ENOENT" or code == "ENOPROTOOPT", code)
    end)
  end)

  between("a mark chooses the route, and comes with what is received", function()
    near:shell "ip rule add fwmark 0x77 table 77; ip route add 10.88.0.0/16 via 10.77.2.2 table 77"
    local port = listen("inet", { recv_pktinfo_v4 = true })
    assert.equal(5, near:run(send, "plain", "10.88.0.1:" .. port))
    local _, control = result(port)
    assert.equal(index_of(far, "one"), control[1].pktinfo)
    assert.equal(6, near:run(send, "marked", "10.88.0.1:" .. port, { mark = 0x77 }))
    _, control = result(port)
    near:shell "ip rule del fwmark 0x77 table 77; ip route flush table 77"
    assert.equal(index_of(far, "two"), control[1].pktinfo)
    if not tcpnet.features().recv_mark then
      return -- musl knows no SO_RCVMARK
    end
    local mark = near:run(function(here)
      local at
      here.socket, at = datagrams(here, "inet", { recv_mark = true })
      assert(send(here, "marked", "127.0.0.1:" .. at, { mark = 0xfedcba98 }))
      assert(send(here, "end", "127.0.0.1:" .. at))
      local _, seen = arrived(here)
      return seen[1].mark & 0xffffffff
    end)
    assert.equal(0xfedcba98, mark)
  end)

  between("dontroute reaches neighbours only", function()
    local port = listen()
    assert.equal(9, near:run(send, "neighbour", "10.77.1.2:" .. port, { dontroute = true }))
    local sent, code = near:run(send, "routed", "10.88.0.1:" .. port, { dontroute = true })
    assert.same({ nil, "ENETUNREACH" }, { sent, code })
    assert.same({ "neighbour" }, (result(port)))
  end)

  between("a datagram larger than the link is refused or cut, as it is told", function()
    near:shell "ip link set two mtu 1400"
    local port = listen()
    local codes = table.pack(near:run(function(here, at)
      local socket = datagrams(here)
      assert(socket:connect("10.77.2.2", at))
      local found = { socket:mtu_v4() }
      assert(socket:set_mtu_discover_v4(2)) -- IP_PMTUDISC_DO
      found[2] = select(2, socket:send(("x"):rep(1373))).code -- with headers of 28 bytes
      found[3] = socket:send(("y"):rep(1372))
      assert(socket:set_mtu_discover_v4(0)) -- IP_PMTUDISC_DONT
      found[4] = socket:send(("z"):rep(3000))
      return table.unpack(found)
    end, port))
    local v6 = table.pack(near:run(function(here, at)
      local socket = datagrams(here, "inet6")
      assert(socket:connect(("[fd77:2::2]:%d"):format(at)))
      assert(socket:set_dontfrag_v6(true))
      return socket:mtu_v6(), select(2, socket:send(("x"):rep(1353))).code, (socket:send(("y"):rep(1352)))
    end, port))
    near:shell "ip link set two mtu 1500"
    assert.same({ 1400, "EMSGSIZE", 1372, 3000, n = 4 }, codes)
    assert.same({ 1400, "EMSGSIZE", 1352, n = 3 }, v6)
    assert.same({ ("y"):rep(1372), ("z"):rep(3000) }, (result(port)))
  end)

  between("a peer of too many hops is not heard with min_ttl and min_hopcount", function()
    for _, case in ipairs {
      { "10.77.1.2", "0.0.0.0:0", "min_ttl_v4", "ttl" },
      { "fd77:1::2", "[::]:0", "min_hopcount_v6", "unicast_hops_v6" },
    } do
      local port = far:run(function(here, address, name)
        local listener = assert(tcpnet.TcpListener.bind(address, { [name] = 100 }))
        table.insert(here.keep, listener)
        return listener:local_addr():port()
      end, case[2], case[3])
      local outcomes = table.pack(near:run(function(_, ip, at, hops)
        local found = {}
        for i, count in ipairs { 99, 100 } do
          local stream, err = tcpnet.TcpStream.connect(ip, at, { [hops] = count, timeout = i == 1 and 0.3 or 5 })
          found[i] = stream and "connected" or err.code
          if stream then
            stream:close()
          end
        end
        return table.unpack(found)
      end, case[1], port, case[4]))
      assert.same({ "TIMEOUT", "connected", n = 2 }, outcomes)
    end
  end)
end)
