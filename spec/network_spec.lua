-- A bad network, and what is reported of it: hosts that refuse, swallow, reset or go away, links that are slow, lose,
-- double and reorder. All in network namespaces; what the peer or the wire did is told from a capture.
-- TCPNET_NETWORK_SECONDS=600 (or ./dev network 600) goes on with one bad wire after another.
local capture = require "spec.support.capture"
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"
local wires = require "spec.support.wire"

local missing = netns.reason() or capture.reason() or not tcp.can "command -v nft" and "needs nft" or nil

-- near is 10.78.1.1 behind a router, far 10.78.2.2; what the router forwards passes its chain of rules.
local near, router, far, seen

local function build()
  near, router, far = netns.new(), netns.new(), netns.new()
  netns.link(near, router, "left", "10.78.1.1/24", "10.78.1.2/24", "fd78:1::1/64", "fd78:1::2/64")
  netns.link(router, far, "right", "10.78.2.1/24", "10.78.2.2/24", "fd78:2::1/64", "fd78:2::2/64")
  near:shell [[
    ip route add 10.78.0.0/16 via 10.78.1.2; ip -6 route add fd78::/16 via fd78:1::2
    # newer systems ask more often at first
    linear=/proc/sys/net/ipv4/tcp_syn_linear_timeouts; [ ! -e $linear ] || echo 0 >$linear]]
  far:shell "ip route add 10.78.0.0/16 via 10.78.2.1; ip -6 route add fd78::/16 via fd78:2::1"
  router:shell [[
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
    echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
    nft add table inet router
    nft 'add chain inet router forward { type filter hook forward priority 0; }']]
  seen = capture.start(near, "any")
end

local function clear()
  router:shell "nft flush chain inet router forward"
end

-- What the router does from now on, one rule a line.
local function rules(...)
  clear()
  for _, rule in ipairs { ... } do
    router:shell(("nft add rule inet router forward '%s'"):format(rule))
  end
end

local function tear_down()
  if seen then
    seen:close()
    seen = nil
  end
  netns.close_all()
end

local function network(name, fn)
  describe(name, function()
    setup(function()
      if not missing then
        build()
      end
    end)
    teardown(tear_down)
    before_each(function()
      leaks.note()
      if not missing then
        clear()
      end
    end)
    after_each(leaks.check)
    fn(function(test, body)
      it(test, function()
        if missing then
          return pending(missing)
        end
        return body()
      end)
    end)
  end)
end

-- Of the packets that a function tells, how many.
local function count(packets, filter)
  local number = 0
  for _, packet in ipairs(packets) do
    number = number + (filter(packet) and 1 or 0)
  end
  return number
end

-- What ICMP quotes is not counted.
local function is_tcp(packet) return packet.tcp_from and not packet.icmp_type and not packet.icmp6_type end
local function is_syn(packet) return is_tcp(packet) and packet.syn and not packet.ack end
local function is_reset(packet) return is_tcp(packet) and packet.rst end

-- Packets of TCP to the port or from it.
local function of_port(packets, port)
  local found = {}
  for _, packet in ipairs(packets) do
    if packet.tcp_from == port or packet.tcp_to == port then
      found[#found + 1] = packet
    end
  end
  return found
end

-- What runs in the namespaces --------------------------------------------------------------------

-- listen(here, address, opts) → port; here.listener stays.
local function listen(here, address, opts)
  here.listener = assert(tcpnet.TcpListener.bind(address, opts))
  return here.listener:local_addr():port()
end

local function accept(here)
  here.stream = assert(here.listener:accept()):set_timeout(15)
end

local function connect(here, address, opts)
  here.stream = assert(tcpnet.TcpStream.connect(address, opts))
  return here.stream:local_addr():port()
end

local function forget(here)
  for key, object in pairs(here) do
    if key ~= "marks" then
      object:close()
      here[key] = nil
    end
  end
end

local function answer(_, what, err)
  return what == nil and (err and err.code or "the end") or what
end

-- A connection through the router → its port at far.
local function establish(opts)
  far:run(forget)
  near:run(forget)
  local port = far:run(listen, "10.78.2.2:0")
  near:run(connect, "10.78.2.2:" .. port, opts)
  far:run(accept)
  return port
end

-- A host that says no ------------------------------------------------------------------------------

network("a host that says no", function(test)
  local kinds = {
    { 4, "tcp reset", tcp = "ECONNREFUSED" },
    { 4, "icmp net-unreachable", 3, 0, tcp = "ENETUNREACH", soft = true },
    { 4, "icmp host-unreachable", 3, 1, tcp = "EHOSTUNREACH", soft = true },
    { 4, "icmp prot-unreachable", 3, 2, tcp = "ENOPROTOOPT" },
    { 4, "icmp port-unreachable", 3, 3, tcp = "ECONNREFUSED" },
    { 4, "icmp net-prohibited", 3, 9, tcp = "ENETUNREACH" },
    { 4, "icmp host-prohibited", 3, 10, tcp = "EHOSTUNREACH" },
    { 4, "icmp admin-prohibited", 3, 13, tcp = "EHOSTUNREACH" },
    { 6, "tcp reset", tcp = "ECONNREFUSED" },
    { 6, "icmpv6 no-route", 1, 0, tcp = "ENETUNREACH", soft = true },
    { 6, "icmpv6 admin-prohibited", 1, 1, tcp = "EACCES" },
    { 6, "icmpv6 addr-unreachable", 1, 3, tcp = "EHOSTUNREACH", soft = true },
    { 6, "icmpv6 port-unreachable", 1, 4, tcp = "ECONNREFUSED" },
    { 6, "icmpv6 policy-fail", 1, 5, tcp = "EACCES" },
    { 6, "icmpv6 reject-route", 1, 6, tcp = "EACCES" },
  }

  local function is_icmp(kind)
    return function(packet)
      if kind[1] == 4 then
        return packet.icmp_type == kind[3] and packet.icmp_code == kind[4]
      end
      return packet.icmp6_type == kind[3] and packet.icmp6_code == kind[4]
    end
  end

  local function to_port(packets, kind, transport)
    local found = {}
    for _, packet in ipairs(packets) do
      if packet[transport .. "_to"] == kind.port or packet[transport .. "_from"] == kind.port then
        found[#found + 1] = packet
      end
    end
    return found
  end

  -- All of them at once, each at a port of its own: the system hears nothing of what comes while it still sends a SYN,
  -- and asks again a second later.
  local addresses, v6s = {}, {}
  for i, kind in ipairs(kinds) do
    kind.port = 7000 + i
    v6s[i] = kind[1] == 6
    addresses[i] = (kind[1] == 6 and "[fd78:2::2]:%d" or "10.78.2.2:%d"):format(kind.port)
  end

  local function refuse(protocol)
    local list = {}
    for _, kind in ipairs(kinds) do
      if protocol == "tcp" or kind[3] then
        list[#list + 1] = ("%s dport %d reject with %s"):format(protocol, kind.port,
          (kind[2]:gsub("^(icmp%S*) ", "%1 type ")))
      end
    end
    rules(table.unpack(list))
  end

  local function try_connects(_, to)
    local outcomes = {}
    tcpnet.scope(function(scope)
      for i, address in ipairs(to) do
        scope:spawn(function()
          local stream, err = tcpnet.TcpStream.connect(address, { timeout = 10 })
          outcomes[i] = stream and { "connected" } or { err.code, err.op, err.address }
        end)
      end
    end)
    return outcomes
  end

  -- What connected UDP sockets hear, twice; what one hears that is not connected.
  local function try_sends(_, to, is_v6, recverr, connected)
    local outcomes = {}
    local function try(i, address)
      local any, v6 = is_v6[i] and "[::]:0" or "0.0.0.0:0", is_v6[i]
      local socket <close> = assert(tcpnet.UdpSocket.bind(any))
      assert(socket:set(v6 and "IPV6_RECVERR" or "IP_RECVERR", recverr))
      assert(connected and socket:connect(address) or true)
      assert(connected and socket:send "x" or socket:send_to("x", address))
      local codes = {}
      for k, seconds in ipairs { recverr and 10 or 0.3, 0.02 } do
        codes[k] = select(2, socket:set_read_timeout(seconds):recv_from()).code
      end
      outcomes[i] = codes
    end
    tcpnet.scope(function(scope)
      for i, address in ipairs(to) do
        scope:spawn(try, i, address)
      end
    end)
    return outcomes
  end

  local observed = {}

  local function observe(protocol, ...)
    local key = table.concat({ protocol, tostring((...)), tostring((select(2, ...))) }, " ")
    if not observed[key] then
      refuse(protocol)
      local packets, outcomes = seen:packets(protocol == "tcp" and try_connects or try_sends, addresses, v6s, ...)
      observed[key] = { packets, outcomes }
    end
    return table.unpack(observed[key])
  end

  for i, kind in ipairs(kinds) do
    local name = ("by %s over IPv%d"):format(kind[2], kind[1])

    test(("%s: connect is %s"):format(name, kind.tcp), function()
      local packets, outcomes = observe "tcp"
      assert.same({ kind.tcp, "connect", addresses[i] }, outcomes[i])
      packets = to_port(packets, kind, "tcp")
      local asked = count(packets, is_syn)
      assert.is_true(asked == 1 or asked == 2, asked)
      assert.equal(asked, count(packets, kind[3] and is_icmp(kind) or is_reset))
      assert.equal(2 * asked, #packets)
    end)

    if kind[3] then
      test(name .. ": what UDP hears", function()
        -- A connected socket is told of what will last, and of the rest where it asked for it.
        local told = { false, true }
        for _, recverr in ipairs(told) do
          local packets, outcomes = observe("udp", recverr, true)
          assert.same({ kind.soft and not recverr and "TIMEOUT" or kind.tcp, "TIMEOUT" }, outcomes[i])
          assert.equal(1, count(to_port(packets, kind, "udp"), is_icmp(kind)))
        end
        local packets, outcomes = observe("udp", false, false)
        assert.same({ "TIMEOUT", "TIMEOUT" }, outcomes[i])
        assert.equal(1, count(to_port(packets, kind, "udp"), is_icmp(kind)))
      end)
    end
  end

  test("by a closed port: connect is ECONNREFUSED, and so is what UDP hears", function()
    local packets, outcomes = seen:packets(try_connects, { "10.78.2.2:78" })
    assert.equal("ECONNREFUSED", outcomes[1][1])
    assert.same({ 1, 1 }, { count(packets, is_syn), count(packets, is_reset) })
    packets, outcomes = seen:packets(try_sends, { "10.78.2.2:78" }, {}, false, true)
    assert.same({ "ECONNREFUSED", "TIMEOUT" }, outcomes[1])
    assert.equal(1, count(packets, is_icmp { 4, "", 3, 3 }))
  end)

  test("by a router whose hops ran out: EHOSTUNREACH", function()
    local packets, code = seen:packets(function()
      local stream, err = tcpnet.TcpStream.connect("10.78.2.2:77", { ttl = 1, timeout = 10 })
      return stream and "connected" or err.code
    end)
    assert.equal("EHOSTUNREACH", code)
    local asked = count(packets, is_syn)
    assert.is_true(asked >= 1)
    assert.equal(asked, count(packets, function(packet) return packet.icmp_type == 11 end))
  end)

  test("because there is none: the router's EHOSTUNREACH, and one's own", function()
    for _, namespace in ipairs { near, router } do
      namespace:shell "for link in /proc/sys/net/ipv4/neigh/*; do echo 50 >$link/retrans_time_ms; done"
    end
    local packets, outcomes = seen:packets(try_connects, { "10.78.2.99:77", "10.78.1.99:77" })
    assert.same({ "EHOSTUNREACH", "EHOSTUNREACH" }, { outcomes[1][1], outcomes[2][1] })
    assert.is_true(count(packets, is_icmp { 4, "", 3, 1 }) >= 1)
    assert.equal(0, count(packets, function(packet) return is_syn(packet) and packet.to == "10.78.1.99" end))
  end)

  test("to a datagram too large for a link further on: EMSGSIZE; a stream finds its size", function()
    router:shell "ip link set right mtu 1000"
    local packets, first, large, small = seen:packets(function()
      local socket <close> = assert(tcpnet.UdpSocket.bind "10.78.1.1:0")
      assert(socket:set("IP_MTU_DISCOVER", 2)) -- never in pieces
      assert(socket:connect "10.78.2.2:79")
      assert(socket:send(("x"):rep(1200)))
      local _, err = socket:set_read_timeout(5):recv()
      local _, again = socket:send(("x"):rep(1200))
      return err.code, again.code, socket:send(("x"):rep(900))
    end)
    assert.same({ "EMSGSIZE", "EMSGSIZE", 900 }, { first, large, small })
    assert.equal(1, count(packets, is_icmp { 4, "", 3, 4 }))

    near:shell "ip route flush cache"
    local bytes = tcp.bytes(50000)
    establish()
    far:begin(function(here, size)
      local text = assert(here.stream:read_exact(size))
      assert(here.stream:write "thanks")
      return text
    end, #bytes)
    local thanks, segment
    packets, thanks, segment = seen:packets(function(here, text)
      assert(here.stream:write(text))
      return here.stream:read_exact(6), here.stream:tcp_info().pmtu
    end, bytes)
    assert.is_true(far:result() == bytes)
    assert.same({ "thanks", 1000 }, { thanks, segment })
    assert.is_true(count(packets, is_icmp { 4, "", 3, 4 }) >= 1)
  end)
end)

-- A hole -----------------------------------------------------------------------------------------

network("a hole", function(test)
  -- All at once, for each takes its seconds: → what every one of them said, by name.
  local function try_hole(_, hole, open)
    local connects, codes = tcpnet.TcpStream.connect, { before = tcpnet.metrics().sources }
    local began = tcpnet.now()
    local function note(name, value, err)
      codes[name] = value == nil and err and err.code .. " of " .. err.op or tostring(value)
    end
    local attempts = {
      timeout = function() note("timeout", connects(hole, 1001, { timeout = 0.3 })) end,
      outer = function() note("outer", tcpnet.timeout(0.3, connects, hole, 1002)) end,
      cancel = function()
        local task = tcpnet.spawn(connects, hole, 1003)
        tcpnet.sleep(0.3)
        task:cancel()
        note("cancel", task:join())
      end,
      select = function()
        note("select", tcpnet.select {
          connected = function() return connects(hole, 1004) end,
          late = function() tcpnet.sleep(0.3) end,
        })
      end,
      retries = function() note("retries", connects(hole, 1005, { tcp_syncnt = 1 })) end,
      user = function() note("user", connects(hole, 1006, { tcp_user_timeout = 1.5 })) end,
      closed = function()
        local socket = assert(tcpnet.TcpSocket.new_v4())
        tcpnet.spawn(function()
          tcpnet.sleep(0.3)
          socket:close()
        end)
        note("closed", socket:connect(hole .. ":1007"))
      end,
      others = function()
        local stream <close> = assert(connects(open))
        codes.others = 0
        while tcpnet.now() - began < 1 do
          assert(stream:write "hello\n")
          assert(stream:read_line() == "hello")
          codes.others = codes.others + 1
          tcpnet.sleep(0.01)
        end
      end,
    }
    tcpnet.scope(function(scope)
      for _, attempt in pairs(attempts) do
        scope:spawn(attempt)
      end
    end)
    tcpnet.sleep(math.max(0, began + 3.2 - tcpnet.now())) -- what nobody waits for does not go on
    codes.left = tcpnet.metrics().sources
    return codes
  end

  -- Three connections into the hole: one that waits for what never comes and asks, one that has sent, one that has
  -- asked to be told of ICMP; and a timeout of ours on each before.
  local function try_streams(here)
    local codes = {}
    local function note(name, value, err)
      codes[name] = value == nil and (err and err.code or "the end") or tostring(value)
    end
    tcpnet.scope(function(scope)
      scope:spawn(function()
        local stream = here.idle:set_read_timeout(0.2)
        note("idle first", stream:read())
        note("idle", stream:set_read_timeout(15):read())
        note("idle again", stream:read())
        note("idle writes", stream:write "x")
        note("idle at last", stream:read_line())
      end)
      scope:spawn(function()
        local stream = here.sent
        scope:spawn(function() note("sent reads", stream:read()) end)
        scope:spawn(function() note("sent exactly", here.other:read_exact(5)) end)
        assert(stream:write "some words")
        assert(here.other:write "some more")
        note("sent becomes", stream:ready("r"):is_error())
      end)
    end)
    note("sent reads again", here.sent:read())
    note("sent peeks", here.sent:peek())
    note("other reads", here.other:read())
    return codes, here.idle:local_addr():port()
  end

  local function try_both(here, hole, open)
    local codes, waited, port
    tcpnet.scope(function(scope)
      scope:spawn(function() waited, port = try_streams(here) end)
      codes = try_hole(here, hole, open)
    end)
    return codes, waited, port
  end

  -- The two take their seconds together.
  local all, codes, waited, idle

  local function fall_into_it()
    if all then
      return
    end
    local port = far:run(listen, "10.78.2.2:0")
    near:run(function(here, address)
      local function connected(opts)
        return (assert(tcpnet.TcpStream.connect(address, opts)))
      end
      here.idle = connected()
      assert(here.idle:set_tcp_keepalive { time = 1, interval = 1, retries = 2 })
      here.sent = connected { tcp_user_timeout = 0.6 }
      here.other = connected { tcp_user_timeout = 0.6 }
    end, "10.78.2.2:" .. port)
    local own = near:run(function(here)
      return ("%d, %d, %d"):format(here.idle:local_addr():port(), here.sent:local_addr():port(),
        here.other:local_addr():port())
    end)
    rules("tcp dport 1001-1010 drop", "tcp sport { " .. own .. " } drop")
    far:begin(function(here)
      for _ = 1, 3 do
        here[#here + 1] = assert(here.listener:accept())
      end
      local stream <close> = assert(here.listener:accept())
      for line in stream:lines() do
        assert(stream:write(line, "\n"))
      end
    end)
    all, codes, waited, idle = seen:packets(try_both, "10.78.2.2", "10.78.2.2:" .. port)
    far:result()
    near:run(forget)
    far:run(forget)
  end

  test("swallows a connect: whose deadline it was is told, and whoever gave up sends no more", function()
    fall_into_it()
    assert.equal("TIMEOUT of connect", codes.timeout)
    assert.equal("TIMEOUT of timeout", codes.outer)
    assert.equal("CANCELED of join", codes.cancel)
    assert.equal("late", codes.select)
    assert.equal("ETIMEDOUT of connect", codes.retries)
    assert.equal("ETIMEDOUT of connect", codes.user)
    assert.equal("CLOSED of connect", codes.closed)
    assert.is_true(codes.others > 10, codes.others)
    assert.equal(codes.before, codes.left)
    for hole, most in pairs { [1001] = 1, [1002] = 1, [1003] = 1, [1004] = 1, [1005] = 2, [1006] = 3, [1007] = 1 } do
      local sent = of_port(all, hole)
      assert.equal(#sent, count(sent, is_syn), hole)
      assert.is_true(#sent >= math.min(most, 2) and #sent <= most, hole .. ": " .. #sent)
    end
  end)

  test("opens in the middle: ETIMEDOUT is the system's, TIMEOUT one's own, and neither is an end", function()
    fall_into_it()
    assert.same({
      ["idle first"] = "TIMEOUT", ["idle"] = "ETIMEDOUT", ["idle again"] = "ETIMEDOUT", ["idle writes"] = "EPIPE",
      ["idle at last"] = "ETIMEDOUT", ["sent reads"] = "ETIMEDOUT", ["sent exactly"] = "ETIMEDOUT",
      ["sent becomes"] = "true", ["sent reads again"] = "ETIMEDOUT", ["sent peeks"] = "ETIMEDOUT",
      ["other reads"] = "ETIMEDOUT",
    }, waited)
    assert.equal(2, count(of_port(all, idle), function(packet) return packet.keepalive end))
    assert.is_true(count(all, function(packet) return packet.retransmission end) >= 2)
  end)

  test("that answers with ICMP: what it said is the reason, but only once the connection is lost", function()
    rules()
    establish { tcp_user_timeout = 0.6 }
    rules "ip daddr 10.78.2.2 reject with icmp type host-prohibited"
    local packets, first, again = seen:packets(function(here)
      assert(here.stream:write "x")
      local _, one = here.stream:read()
      local _, two = here.stream:read()
      return one and one.code, two and two.code
    end)
    assert.same({ "EHOSTUNREACH", "EHOSTUNREACH" }, { first, again })
    assert.is_true(count(packets, function(packet) return packet.icmp_code == 10 end) >= 1)
    near:run(forget)
    far:run(forget)
  end)

  test("that closes again is no more than a delay, though ICMP was heard (IP_RECVERR)", function()
    establish()
    rules "ip daddr 10.78.2.2 reject with icmp type host-prohibited"
    local function answered(here) return answer(nil, here.stream:read()) end
    local packets, heard = seen:packets(function(here)
      assert(here.stream:set("IP_RECVERR", true))
      assert(here.stream:write "still there?")
      return select(2, here.stream:read()).code
    end)
    assert.equal("EHOSTUNREACH", heard)
    assert.is_true(count(packets, function(packet) return packet.icmp_code == 10 end) >= 1)
    rules()
    far:begin(function(here)
      local text = assert(here.stream:read_exact(12))
      assert(here.stream:write "still here")
      assert(here.stream:shutdown())
      return text
    end)
    -- ICMP that was on its way may be heard again before the answer
    local text, after = near:run(function(here)
      local text
      repeat
        local err
        text, err = here.stream:read_exact(10)
      until text or err.code ~= "EHOSTUNREACH"
      return text, answered(here)
    end)
    assert.equal("still there?", far:result())
    assert.same({ "still here", "the end" }, { text, after })
    near:run(forget)
    far:run(forget)
  end)
end)

-- Connections that are cut or slow ----------------------------------------------------------------

network("a connection", function(test)
  after_each(function()
    if not missing then
      near:run(forget)
      far:run(forget)
    end
  end)

  test("is cut by the router, after so many bytes: the writer hears of it, the reader does not", function()
    local port = establish()
    local bytes = tcp.bytes(400000)
    rules(("tcp dport %d quota over 60 kbytes reject with tcp reset"):format(port))
    far:begin(function(here)
      here.stream:set_read_timeout(1)
      local parts = {}
      while true do
        local text, err = here.stream:read()
        if not text then
          return table.concat(parts), err and err.code or "the end"
        end
        parts[#parts + 1] = text
      end
    end)
    local packets, code, sent, reader = seen:packets(function(here, text)
      local reader = tcpnet.spawn(here.stream.read, here.stream)
      local sent, code = 0, nil
      while not code do
        local _, err, some = here.stream:write(text)
        code, sent = err and err.code, sent + (some or #text)
      end
      local _, _, err = reader:join()
      return code, sent, err and err.code or "the end"
    end, bytes)
    local arrived, silence = far:result()
    -- whichever of the two comes first is told the reason
    assert.is_true(code == "ECONNRESET" or code == "EPIPE", code)
    assert.equal("ECONNRESET", reader)
    assert.equal("TIMEOUT", silence)
    assert.is_true(#arrived > 20000 and #arrived <= 60000, #arrived)
    assert.is_true(#arrived <= sent)
    assert.equal(bytes:sub(1, #arrived), arrived)
    assert.is_true(count(packets, function(packet) return is_reset(packet) and packet.from == "10.78.2.2" end) >= 1)
    -- once the way is free the other side learns it when it says something
    rules()
    local first, second, third = far:run(function(here)
      assert(here.stream:write "anybody?")
      local _, err = here.stream:set_timeout(10):read()
      local _, again = here.stream:read()
      return err and err.code, again and again.code, select(2, here.stream:write "x").code
    end)
    assert.same({ "ECONNRESET", "ECONNRESET", "EPIPE" }, { first, second, third })
  end)

  -- ss closes sockets of the namespace that it runs in, and no other.
  local function kill_sockets(namespace, filter)
    namespace:shell("ss -K " .. filter .. " >/dev/null 2>&1 || :")
  end

  test("is cut by this host's administrator: ECONNABORTED here, to all who wait, and ECONNRESET there", function()
    local port = establish()
    local packets, codes
    local function wait_in_all(here)
      local said = {}
      local function note(name, value, err) said[name] = value == nil and (err and err.code or "the end") or value end
      tcpnet.scope(function(scope)
        scope:spawn(function() note("read", here.stream:read()) end)
        scope:spawn(function() note("write", here.stream:write(("x"):rep(50000000))) end)
        scope:spawn(function()
          print "waiting"
          note("readable", here.stream:readable())
        end)
      end)
      note("read again", here.stream:read())
      note("write again", here.stream:write "x")
      return said
    end
    near:begin(wait_in_all)
    near.agent:expect "^waiting$"
    kill_sockets(near, ("state established dst 10.78.2.2 and dport = :%d"):format(port))
    codes = near:result()
    assert.is_true(codes.read == "ECONNABORTED" or codes.write == "ECONNABORTED", codes.read .. codes.write)
    assert.equal("ECONNABORTED", codes.read)
    assert.equal("ECONNABORTED", codes["read again"])
    assert.is_true(codes.write == "ECONNABORTED" or codes.write == "EPIPE", codes.write)
    assert.equal("EPIPE", codes["write again"])
    packets = far:run(function(here)
      local err
      repeat
        local text
        text, err = here.stream:read()
      until not text
      return err and err.code or "the end"
    end)
    assert.equal("ECONNRESET", packets)
  end)

  test("is cut by a host that was started again: ECONNRESET as soon as something is sent", function()
    local port = establish()
    rules "ip saddr 10.78.2.2 drop" -- what it says in its last moments is not heard
    kill_sockets(far, ("state established sport = :%d"):format(port))
    rules()
    local packets, silent, code, again = seen:packets(function(here)
      local _, nothing = here.stream:set_read_timeout(0.2):read()
      assert(here.stream:write "are you there?")
      local _, err = here.stream:set_read_timeout(10):read()
      local _, more = here.stream:read()
      return nothing.code, err and err.code, more and more.code
    end)
    assert.same({ "TIMEOUT", "ECONNRESET", "ECONNRESET" }, { silent, code, again })
    assert.equal(1, count(packets, function(packet) return is_reset(packet) and packet.from == "10.78.2.2" end))
  end)

  test("is cut by a reset of the peer behind bytes: the bytes that were read ahead stay readable", function()
    establish()
    far:run(function(here)
      assert(here.stream:write "one\ntwo\nrest")
      tcpnet.sleep(0.05)
      assert(here.stream:set_zero_linger())
    end)
    near:run(function(here) assert(here.stream:read_line() == "one") end)
    far:run(forget)
    local packets, line, code = seen:packets(function(here)
      local text = assert(here.stream:read_line())
      local _, err, rest = here.stream:read_exact(20)
      return text .. " " .. here.stream:read_exact(4), err.code .. (rest or "")
    end)
    assert.same({ "two rest", "ECONNRESET" }, { line, code })
    assert.equal(0, count(packets, is_syn))
  end)

  -- Writes it all, a deadline after the other, by what each said had gone out.
  local function write_in_haste(here, text, seconds)
    here.stream:set_write_timeout(seconds)
    local sent, timeouts = 0, 0
    while sent < #text do
      local written, err, some = here.stream:write(text:sub(sent + 1))
      assert(written or err.code == "TIMEOUT", err)
      timeouts = timeouts + (err and 1 or 0)
      sent = sent + (written or some)
    end
    assert(here.stream:shutdown())
    return sent, timeouts
  end

  local function read_all(here)
    here.stream:set_timeout(15)
    return assert(here.stream:read_to_end())
  end

  test("through a narrow link: a write that ran out of time has said to the byte what it sent", function()
    router:shell "tc qdisc add dev right root tbf rate 8mbit burst 3000 limit 30000"
    local bytes = tcp.bytes(500000)
    establish { send_buffer_size = 20000 }
    far:begin(read_all)
    local sent, timeouts = near:run(write_in_haste, bytes, 0.05)
    assert.equal(#bytes, sent)
    assert.is_true(timeouts >= 2, "a narrower link is needed")
    assert.is_true(far:result() == bytes)
    router:shell "tc qdisc del dev right root"
  end)

  test("that loses every eighth packet loses no byte", function()
    local port = establish()
    rules("tcp dport " .. port .. " numgen inc mod 8 == 0 drop")
    near:shell "ip link set left gso_max_segs 1" -- a packet of all the bytes would not be the eighth
    local bytes = tcp.bytes(100000)
    far:begin(read_all)
    local packets, sent = seen:packets(write_in_haste, bytes, 15)
    assert.equal(#bytes, sent)
    assert.is_true(far:result() == bytes)
    near:shell "ip link set left gso_max_segs 65535"
    assert.is_true(count(packets, function(packet) return packet.retransmission end) > 0)
  end)

  test("whose link goes down for a while goes on; meanwhile the rest of the network is unreachable", function()
    establish()
    near:shell "ip link set left down"
    local code = near:run(function(here)
      assert(here.stream:write "from before")
      return select(2, tcpnet.TcpStream.connect("10.78.2.2:1", { timeout = 5 })).code
    end)
    assert.equal("ENETUNREACH", code)
    near:shell "ip link set left up; ip route add 10.78.0.0/16 via 10.78.1.2"
    assert.equal("from before", far:run(function(here)
      return here.stream:read_exact(11)
    end))
  end)
end)

-- A bad wire --------------------------------------------------------------------------------------

local bytes_of = tcp.bytes

-- Connection i, either side: writes its bytes and ends its half, while it reads the other's, in a way of its own.
local function converse(stream, side, size, i)
  local bytes = bytes_of(size + i)
  local mine, others = side .. bytes, (side == "n" and "f" or "n") .. bytes
  local got, took = {}, 0
  local readers = {
    function() return stream:read(1 + i * 100) end,
    function() return tcpnet.timeout(0.003, stream.read, stream) end, -- cancelled again and again
    function() return stream:read_exact(math.min(777, #others - took)) end,
    function() return stream:read_until("\n", 10000000) end,
  }
  local read = readers[i % #readers + 1]
  assert(stream:set_send_buffer_size(4096)) -- so that writes do have to wait
  tcpnet.scope(function(scope)
    scope:spawn(function()
      local sent = 0
      while sent < #mine do
        local written, err, some = stream:set_write_timeout(0.02):write(mine:sub(sent + 1, sent + 5000 + i))
        assert(written or err.code == "TIMEOUT", err)
        sent = sent + (written or some)
      end
      assert(stream:shutdown())
    end)
    while true do
      local text, err = read()
      if text and #text > 0 then
        got[#got + 1], took = text, took + #text
      elseif not (err and err.code == "TIMEOUT") then
        assert(not err, err)
        break
      end
    end
  end)
  assert(table.concat(got) == others, "bytes were lost, doubled or changed")
  local nothing, err = stream:read()
  assert(nothing == nil and err == nil, "an end is an end")
  return took
end

local function answer_all(here, connections, size)
  local total = 0
  tcpnet.scope(function(scope)
    for _ = 1, connections do
      local accepted = assert(here.listener:accept())
      scope:spawn(function()
        local stream <close> = accepted
        local took = converse(stream, "f", size, assert(stream:read_exact(1)):byte())
        total = total + took
      end)
    end
  end)
  return total
end

local function ask_all(_, address, connections, size)
  local total = 0
  tcpnet.scope(function(scope)
    for i = 1, connections do
      scope:spawn(function()
        local stream <close> = assert(tcpnet.TcpStream.connect(address))
        assert(stream:write(string.char(i)))
        local took = converse(stream, "n", size, i)
        total = total + took
      end)
    end
  end)
  return total
end

-- Datagrams that tell which they are, a burst of a few at a time; together they fit into a socket's buffer.
local function send_datagrams(_, address, number)
  local socket <close> = assert(tcpnet.UdpSocket.bind "10.79.1.1:0")
  for i = 1, number do
    assert(socket:send_to(("%06d"):format(i) .. ("d"):rep(30 + i % 300), address))
    if i % 5 == 0 then
      tcpnet.sleep(0.002)
    end
  end
end

local function receive_datagrams(here)
  local list = {}
  while true do
    local data = here.datagrams:set_read_timeout(1):recv()
    if not data then
      return list
    end
    list[#list + 1] = data
  end
end

describe("a bad wire", function()
  local cause = missing or wires.reason()
  local wire

  before_each(leaks.note)
  after_each(function()
    if wire then
      wire:finish()
    end
    wire = nil
    tear_down()
    leaks.check()
  end)
  teardown(wires.close_all)

  local function over(name, fn)
    it(name, function()
      if cause then
        return pending(cause)
      end
      return fn()
    end)
  end

  local function connect_hosts(seed, harm)
    near, far = netns.new(), netns.new()
    wire = wires.between(near, far, seed, harm, "10.79.1.1", "10.79.1.2")
  end

  over("loses, doubles, reorders and corrupts frames, but no byte; a half that ended leaves the other", function()
    connect_hosts(20261, { delay = 1, jitter = 2, loss = 15, duplicate = 20, reorder = 50, corrupt = 10 })
    seen = capture.start(far, "any")
    local size = 60000
    local port = far:run(listen, "10.79.1.2:0")
    seen:begin()
    near:begin(ask_all, "10.79.1.2:" .. port, 4, size)
    local got = far:run(answer_all, 4, size)
    assert.equal(got, near:result())
    local packets = seen:finish()
    assert.equal(4 * (1 + size) + 1 + 2 + 3 + 4, got)
    assert.is_true(count(packets, function(packet) return packet.retransmission end) > 0)
    local done = wire:finish()
    for _, what in ipairs { "lost", "duplicated", "reordered", "corrupted" } do
      assert.is_true(done[what] > 0, what)
    end
  end)

  over("brings datagrams as it likes: they are received as they came, each whole, and no other", function()
    connect_hosts(20262, { delay = 1, jitter = 1, loss = 50, duplicate = 50, reorder = 100, corrupt = 50 })
    seen = capture.start(far, "any")
    local port = far:run(function(here)
      here.datagrams = assert(tcpnet.UdpSocket.bind "10.79.1.2:0")
      assert(here.datagrams:set_recv_buffer_size(200000))
      return here.datagrams:local_addr():port()
    end)
    seen:begin()
    near:run(send_datagrams, "10.79.1.2:" .. port, 200)
    local received = far:run(receive_datagrams)
    local packets = seen:finish()
    local came, spoiled, doubled, late, known, last = {}, 0, 0, 0, {}, 0
    for _, packet in ipairs(packets) do
      local number = packet.udp_to == port and tonumber(packet.data:match "^(%d+)d+$")
      if number and #packet.data == 36 + number % 300 then
        came[#came + 1] = packet.data
        doubled = doubled + (known[number] and 1 or 0)
        late = late + (number < last and 1 or 0)
        known[number], last = true, number
      else
        spoiled = spoiled + (packet.udp_to == port and 1 or 0)
      end
    end
    assert.same(came, received)
    local done = wire:finish()
    assert.is_true(doubled > 0 and spoiled > 0 and late > 0 and done.lost > 0)
    assert.is_true(doubled <= done.duplicated and spoiled <= done.corrupted)
  end)

  local seconds = tonumber(os.getenv "TCPNET_NETWORK_SECONDS")
  if seconds then
    over(("after another, for %d seconds"):format(seconds), function()
      local seed = tonumber(os.getenv "TCPNET_NETWORK_SEED") or os.time()
      local finish, rounds, total, frames, lost = tcpnet.now() + seconds, 0, 0, 0, 0
      while tcpnet.now() < finish do
        math.randomseed(seed)
        connect_hosts(seed, {
          delay = math.random(0, 20), jitter = math.random(0, 10), loss = math.random(0, 40),
          duplicate = math.random(0, 50), reorder = math.random(0, 200), corrupt = math.random(0, 20),
          hold = math.random(1, 20),
        })
        local connections, size = math.random(1, 8), math.random(1, 60000)
        local ok, err = pcall(function()
          local port = far:run(listen, "10.79.1.2:0")
          far:begin(answer_all, connections, size)
          local got = near:run(ask_all, "10.79.1.2:" .. port, connections, size)
          assert.equal(got, far:result())
          total = total + 2 * got
        end)
        local done = wire:finish()
        netns.close_all()
        assert(ok, ("seed %d: %s"):format(seed, tostring(err)))
        rounds, seed = rounds + 1, seed + 1
        frames, lost = frames + done.frames, lost + done.lost
      end
      print(("%d wires, %d bytes, %d frames, of which %d lost"):format(rounds, total, frames, lost))
    end)
  end
end)
