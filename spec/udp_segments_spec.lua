-- Datagrams that the kernel cuts (UDP_SEGMENT) and joins (UDP_GRO): what is sent and received is the same as without.
local capture = require "spec.support.capture"
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"
local udp = require "spec.support.udp"

local UdpSocket = tcpnet.UdpSocket
local fails, in_task, guard = tcp.fails, tcp.in_task, tcp.guard
local features = tcpnet.features()

local ROOMY <const> = { recv_buffer_size = 4 << 20 }

-- How many bytes each of the datagrams has → datagrams that are all different
local function datagrams(sizes)
  local list = {}
  for i, size in ipairs(sizes) do
    list[i] = (tostring(i) .. " " .. tcp.bytes(size + 1)):sub(1, size)
  end
  return list
end

local function same_sizes(count, size)
  local sizes = {}
  for i = 1, count do
    sizes[i] = size
  end
  return sizes
end

-- Asserts that these datagrams, and no others, come to the socket, read one by one.
local function expect(socket, list)
  for i, data in ipairs(list) do
    local came, from, length = socket:try_recv_from()
    if not came and from.code == "EAGAIN" then -- a busy kernel hands it over a moment later
      assert(socket:readable())
      came, from, length = socket:try_recv_from()
    end
    assert.is_true(came == data, ("datagram %d: %s of %d bytes, not %d"):format(i, came and "one" or tostring(from),
      came and #came or 0, #data))
    assert.is_nil(length)
  end
  fails("EAGAIN", socket:try_recv())
end

local LISTS = {
  ["two of one size"] = { 100, 100 },
  ["a last one that is shorter"] = { 100, 100, 100, 1 },
  ["one that grows, and one that shrinks"] = { 1, 2, 3, 4, 4, 3, 2, 1 },
  ["short ones that end a run in the middle"] = { 50, 50, 20, 50, 50, 20, 20, 50 },
  ["empty ones anywhere"] = { 0, 10, 10, 0, 10, 0, 0, 10, 10, 10, 0 },
  ["nothing but empty ones"] = { 0, 0, 0, 0 },
  ["as many as one message holds"] = same_sizes(64, 20),
  ["one more than that"] = same_sizes(65, 20),
  ["two messages full"] = same_sizes(128, 21),
  ["as many bytes as one message holds"] = { 32753, 32754 },
  ["as many bytes as one message holds, of one size"] = { 21835, 21835, 21835, 2 },
  ["one byte more than that"] = { 32754, 32754 },
  ["the largest there are"] = { 65507, 65507 },
  ["many large ones"] = same_sizes(70, 1400),
}

for _, address in ipairs { "127.0.0.1:0", "[::1]:0" } do
  describe("send_many over " .. address, function()
    before_each(leaks.note)
    after_each(leaks.check)

    for what, sizes in pairs(LISTS) do
      for _, joins in ipairs { false, features.udp_gro or nil } do
        it(("carries %s to a receiver that %s"):format(what, joins and "takes joined ones" or "knows of nothing"),
          in_task(function()
            local a, b, _guard <close> = udp.connected(address, ROOMY)
            if joins then
              assert(b:set_udp_gro(true))
            end
            local list = datagrams(sizes)
            assert.equal(#list, a:send_many(list))
            expect(b, list)
            assert.equal(#list, a:send_many(list))
            local got = assert(b:recv_many(200))
            assert.equal(#list, #got)
            for i, item in ipairs(got) do
              assert.is_true(item.data == list[i])
              assert.equal(a:local_addr(), item.address)
              assert.is_nil(item.length)
            end
            fails("EAGAIN", b:try_recv_many(1))
          end))
      end
    end

    it("keeps apart what is for different receivers", in_task(function()
      local a, b, c = udp.bound(address, ROOMY), udp.bound(address, ROOMY), udp.bound(address, ROOMY)
      local _guard <close> = guard(a, b, c)
      local list, for_each = {}, { [b] = {}, [c] = {} }
      for i, data in ipairs(datagrams(same_sizes(120, 30))) do
        local to = i % 7 < 3 and b or c
        list[i] = { data, i % 2 == 0 and to:local_addr() or tostring(to:local_addr()) }
        table.insert(for_each[to], data)
      end
      assert.equal(120, a:send_many(list))
      expect(b, for_each[b])
      expect(c, for_each[c])
    end))
  end)
end

describe("send_many", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- The options and cmsgs of its calls, as strace shows them, of a script that has `a` and `b`, connected.
  local function traced(script, options)
    if not tcp.can "strace -o /dev/null true" or not features.udp_segment then
      return nil
    end
    return tcp.child([[
      local bind = tcpnet.UdpSocket.bind
      local a, b = assert(bind "127.0.0.1:0"), assert(bind "127.0.0.1:0")
      a:connect(b:local_addr())
      b:set_recv_buffer_size(4 << 20)
      local list = {}
      for i = 1, 64 do
        list[i] = ("%02d"):format(i)
      end
      local function check()
        for i = 1, 64 do
          assert(b:try_recv() == list[i], i)
        end
        assert(not b:try_recv())
      end
    ]] .. script, ([[strace -o "$SCRIPT.calls" -e trace=sendmmsg,sendmsg %s "$LUA" "$SCRIPT"
      grep -c cmsg_level=SOL_UDP "$SCRIPT.calls"
      rm -f "$SCRIPT.calls"]]):format(options or ""))
  end

  local function cuts(name, count, script, options)
    it(name, function()
      local output = traced(script, options)
      if not output then
        return pending "needs strace and UDP_SEGMENT"
      end
      assert.equal(count .. "\n", output)
    end)
  end

  cuts("has the kernel cut a run", 2, [[
    for _ = 1, 2 do
      assert(a:send_many(list) == 64)
      check()
    end]])

  for _, code in ipairs { "EINVAL", "EMSGSIZE", "EIO", "EOPNOTSUPP" } do
    cuts("does without for good where the kernel refuses by " .. code, 1, [[
      for _ = 1, 3 do
        assert(a:send_many(list) == 64)
        check()
        a:set_ttl(64) -- what is known of options is asked again, this is not
      end]], "-e inject=sendmmsg,sendmsg:error=" .. code .. ":when=1")
  end

  cuts("takes another failure for what it is, with nothing sent", 2, [[
    local count, err, sent = a:send_many(list)
    assert(count == nil and err.code == "ENOBUFS" and sent == 0)
    assert(not b:try_recv())
    assert(a:send_many(list) == 64)
    check()]], "-e inject=sendmmsg,sendmsg:error=ENOBUFS:when=1")

  cuts("leaves it to the options, where they cut or join", 1, [[
    a:set_udp_segment(1)
    assert(a:send_many(list) == 64)
    for i = 1, 64 do
      assert(b:recv() .. b:recv() == list[i])
    end
    a:set_udp_segment(0)
    a:set("UDP_CORK", true)
    assert(a:send_many(list) == 64)
    assert(not b:try_recv())
    a:set("UDP_CORK", false)
    assert(b:recv() == table.concat(list))
    assert(a:send_many(list) == 64)
    check()]])

  it("hears of a port that nobody holds, with nothing sent", in_task(function()
    local a, b, _guard <close> = udp.connected(nil, ROOMY)
    local address = b:local_addr()
    b:close()
    local list = datagrams(same_sizes(64, 10))
    a:send_many(list)
    assert.is_true(a:ready("r"):is_error())
    local count, err, sent = a:send_many(list)
    fails("ECONNREFUSED", count, err)
    assert.equal(0, sent)
    local again <close> = assert(UdpSocket.bind(address))
    assert.equal(64, a:send_many(list))
    expect(again, list)
  end))

  it("counts what went before a datagram that cannot", in_task(function()
    local a, b, _guard <close> = udp.connected(nil, ROOMY)
    local list = datagrams(same_sizes(10, 100))
    list[8] = ("x"):rep(70000)
    local count, err, sent = a:send_many(list)
    fails("EMSGSIZE", count, err)
    assert.equal(7, sent)
    expect(b, table.move(list, 1, 7, 1, {}))
  end))

  it("is followed by its errors on the error queue, and by a timestamp for each", in_task(function()
    local a, b, _guard <close> = udp.connected(nil, ROOMY)
    local SOFTWARE, TX_SOFTWARE = 1 << 4, 1 << 1
    if not a:set("SO_TIMESTAMPING", SOFTWARE | TX_SOFTWARE) then
      return pending "needs SO_TIMESTAMPING"
    end
    local list = datagrams(same_sizes(5, 10))
    assert.equal(5, a:send_many(list))
    expect(b, list)
    for _ = 1, 5 do
      assert(a:try_recvmsg { flags = { "errqueue" } })
    end
    fails("EAGAIN", a:try_recvmsg { flags = { "errqueue" } })
  end))
end)

describe("a socket that takes joined datagrams", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function joined_it(name, fn)
    it(name, in_task(function()
      if not features.udp_gro then
        return pending "needs UDP_GRO"
      end
      local a, b, _guard <close> = udp.connected(nil, ROOMY)
      assert(b:set_udp_gro(true))
      fn(a, b)
    end))
  end

  joined_it("gives each of them once, be it to a finalizer in the middle of a receive", function(a, b)
    local list = { "one", "two", "six" }
    for place = 1, 6 do
      assert.equal(3, a:send_many(list))
      assert(b:readable())
      local inner
      local function receive() inner = b:try_recv_many(4) end
      local came = {}
      for _, items in ipairs { collect.during_nth(place, receive, b.try_recv_many, b, 2) or {}, inner or {},
        b:try_recv_many(4) or {} } do
        for _, item in ipairs(items) do
          came[item.data] = (came[item.data] or 0) + 1
        end
      end
      assert.same({ one = 1, two = 1, six = 1 }, came, "at place " .. place)
    end
  end)

  joined_it("gives the rest of them to whoever receives next, in whatever form", function(a, b)
    local list = datagrams(same_sizes(40, 50))
    list[41] = "end"
    assert.equal(41, a:send_many(list))
    local address, buffer, at = a:local_addr(), tcpnet.Buffer.new(100), 0
    local function next_is(data, from)
      at = at + 1
      assert.equal(list[at], data)
      assert.is_true(from == nil or from == address)
    end
    for _, item in ipairs(b:recv_many(3)) do
      next_is(item.data, item.address)
    end
    assert.equal(3, at)
    while at < 36 do
      assert.is_true(b:readable())
      assert.is_true(b:ready("r"):is_readable())
      assert.equal(list[at + 1], b:peek())
      assert.equal(list[at + 1], (b:try_peek_from()))
      assert.equal(address, b:peek_sender())
      next_is(b:recv())
      next_is(b:try_recv_from())
      assert.equal(50, b:recv_vectored { buffer:clear() })
      next_is(tostring(buffer))
      assert.equal(50, (b:recv_from_vectored { buffer:clear() }))
      next_is(tostring(buffer))
      local message = b:recvmsg()
      assert.same({}, message.control)
      next_is(message.data, message.address)
      next_is(b:try_io("r", function() return b:try_recv() end))
    end
    local rest = b:recv_many(100)
    assert.equal(41 - at, #rest)
    next_is(rest[1].data)
    assert.equal("end", rest[#rest].data)
    fails("EAGAIN", b:try_recv())
    assert.is_true(tcp.waits(b.readable, b))
  end)

  it("takes several messages at once, of whatever sender, and gives them out in order", in_task(function()
    local a, b, c = udp.bound(nil, ROOMY), udp.bound(nil, ROOMY), udp.bound(nil, ROOMY)
    local _guard <close> = guard(a, b, c)
    if not b:set_udp_gro(true) then
      return pending "needs UDP_GRO"
    end
    local list = datagrams { 10, 0, 300, 10, 65507, 1, 1, 20, 7, 8, 9, 40, 1, 2, 3, 4, 5, 6, 7, 8, 0, 30, 2, 1400 }
    for round = 1, 3 do
      for i, data in ipairs(list) do
        assert((i % 3 == 0 and c or a):send_to(data, b:local_addr()))
      end
      assert.equal(list[1], b:recv())
      fails("EBUSY", b:into_fd())
      for i = 2, #list do
        local data, from = b:recv_from(1000)
        assert.equal(list[i]:sub(1, 1000), data, "round " .. round)
        assert.equal((i % 3 == 0 and c or a):local_addr(), from)
      end
      fails("EAGAIN", b:try_recv())
    end
    assert.is_true(tcp.waits(b.recv, b))
    a:send_to("later", b:local_addr())
    assert.equal("later", b:recv())
    local again <close> = UdpSocket.from_fd(assert(b:into_fd()))
    a:send_to("and on", again:local_addr())
    assert.equal("and on", again:recv())
  end))

  for what, case in pairs {
    ["by recv, from one wait to the next"] = { 6, "b:set_udp_gro(true)", "b:recv()" }, -- 2, 4, 8, 16, 16 and 15
    ["by recv_many, less than it takes"] = { 1, "", "assert(#b:recv_many(64) == 61); break" },
  } do
    it("asks the system no more often than it must: " .. what, function()
      local count, setup, receive = table.unpack(case)
      if not tcp.can "strace -o /dev/null true" or not features.udp_gro then
        return pending "needs strace and UDP_GRO"
      end
      local output = tcp.child(([[
        local a, b = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"), assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
        a:connect(b:local_addr())
        %s
        tcpnet.run(function()
          assert(not tcpnet.timeout(0.01, b.recv, b)) -- one call
          for _ = 1, 61 do
            a:send "x"
          end
          for _ = 1, 61 do
            %s
          end
          assert(not tcpnet.timeout(0.01, b.recv, b))
        end)
      ]]):format(setup, receive), [[strace -o "$SCRIPT.calls" -e trace=recvmmsg,recvmsg,recvfrom "$LUA" "$SCRIPT"
        grep -c ^recv "$SCRIPT.calls"
        rm -f "$SCRIPT.calls"]])
      assert.equal(1 + count .. "\n", output)
    end)
  end

  joined_it("gives them joined to recvmsg alone", function(a, b)
    local list = datagrams(same_sizes(4, 50))
    assert.equal(4, a:send_many(list))
    local message = b:recvmsg()
    assert.equal(table.concat(list), message.data)
    assert.equal(50, message:find("gro_size").value)
    assert.equal(4, a:send_many(list))
    expect(b, list)
  end)

  joined_it("cuts each at max, and tells its real length", function(a, b)
    assert.equal(4, a:send_many { "abcde", "fghij", "klmno", "p" })
    local got = b:recv_many(2, 3)
    assert.same({ { "abc", 5 }, { "fgh", 5 } }, { { got[1].data, got[1].length }, { got[2].data, got[2].length } })
    local data, from, length = b:recv_from(4)
    assert.same({ "klmn", 5 }, { data, length })
    assert.equal(a:local_addr(), from)
    assert.same({ "p" }, { b:recv(4) })
    assert.equal(2, a:send_many { "qrstu", "v" })
    assert.same({ "", nil, 5 }, { b:peek(0) })
    assert.same({ "qrs", nil, 5 }, { b:recv(3) })
    assert.equal("truncated", next(b:recvmsg({ data = 0 }).flags))
  end)

  joined_it("serves tasks that wait in order, each with one datagram, though one event told of all", function(a, b)
    local order, tasks = {}, {}
    for i = 1, 8 do
      tasks[i] = tcpnet.spawn(function()
        local data = i % 2 == 0 and b:recv() or b:recv_many(1)[1].data
        order[#order + 1] = { i, data }
      end)
    end
    tcpnet.yield()
    tasks[2]:cancel()
    local list = datagrams(same_sizes(7, 10))
    assert.equal(7, a:send_many(list))
    for i, task in ipairs(tasks) do
      assert.is_true(i == 2 or task:join(5))
    end
    for i, entry in ipairs(order) do
      assert.same({ i == 1 and 1 or i + 1, list[i] }, entry)
    end
  end)

  joined_it("loses none to a task that is cancelled when they have come", function(a, b)
    local first = tcpnet.spawn(b.recv_many, b, 2)
    local second <close> = tcpnet.spawn(b.recv_many, b, 10)
    tcpnet.yield()
    assert.equal(3, a:send_many { "1", "2", "3" })
    first:cancel()
    local _, got = second:join(5)
    assert.equal("1", got[1].data)
    assert.equal(3, #got)
  end)

  joined_it("keeps its descriptor while it has some, and gives them after the option is off", function(a, b)
    assert.equal(3, a:send_many { "1", "2", "3" })
    assert.equal("1", b:recv())
    assert(b:set_udp_gro(false))
    assert.matches("receive them first", fails("EBUSY", b:into_fd()).message)
    fails("EBUSY", b:into_fd(true))
    assert.equal("2", b:recv())
    assert.equal("3", b:recv())
    local again <close> = assert(UdpSocket.from_fd(assert(b:into_fd())))
    assert.equal(2, a:send_many { "4", "5" })
    expect(again, { "4", "5" })
  end)

  joined_it("knows of the option by whatever way it was set", function(a, b)
    assert(b:set_udp_gro(false))
    expect(b, {})
    for _, set in ipairs {
      function() return b:set("UDP_GRO", true) end,
      function() return b:as_socket():set_udp_gro(true) end,
      function() return b:set(17, 104, ("i"):pack(1)) end,
    } do
      assert(set())
      assert.equal(2, a:send_many { "one", "two" })
      expect(b, { "one", "two" })
      assert(b:set_udp_gro(false))
    end
    local from_elsewhere <close> = assert(UdpSocket.from_fd(assert(assert(b:set_udp_gro(true)):into_fd())))
    assert.equal(2, a:send_many { "one", "two" })
    expect(from_elsewhere, { "one", "two" })
  end)

  joined_it("closes with some that nobody took", function(a, b)
    assert.equal(3, a:send_many { "1", "2", "3" })
    assert.equal("1", b:recv())
    b:close()
    fails("CLOSED", b:recv())
    fails("CLOSED", b:recv_many(3))
  end)

  joined_it("survives finalizers that receive, or close it, in between", function(a, b)
    local list, current = datagrams(same_sizes(60, 100)), 0
    for round = 1, 40 do
      current = round
      assert.equal(60, a:send_many(list))
      local got, taken = {}, {}
      local function trap()
        setmetatable({}, { __gc = function()
          local data = round == current and b:try_recv() or nil
          taken[#taken + 1] = data
          if round == current and round < 40 and #taken < 5 then
            trap()
          elseif round == 40 and #taken == 1 then
            b:close()
          end
        end })
      end
      trap()
      while #got + #taken < 60 do
        collectgarbage "step"
        local part = b:try_recv_many(20)
        if not part then
          break
        end
        for _, item in ipairs(part) do
          got[#got + 1] = item.data
        end
      end
      local seen = {}
      for _, data in ipairs(table.move(taken, 1, #taken, #got + 1, got)) do
        assert.is_nil(seen[data])
        seen[data] = true
      end
      if round < 40 then
        assert.equal(60, #got)
        for _, data in ipairs(list) do
          assert.is_true(seen[data])
        end
      end
    end
    assert.equal(40, current)
  end)
end)

describe("a run of datagrams", function()
  local missing = netns.reason()
  before_each(leaks.note)
  after_each(leaks.check)

  local function with_link(name, fn)
    it(name, function()
      if missing then
        return pending(missing)
      end
      local near <close> = netns.new()
      local far <close> = netns.new()
      netns.link(near, far, "eth0", "10.0.0.1/24", "10.0.0.2/24", "fd00::1/64", "fd00::2/64")
      fn(near, far)
    end)
  end

  local function receive(here, address)
    here.socket = assert(tcpnet.UdpSocket.bind(address))
    assert(here.socket:set_recv_buffer_size(4 << 20))
    return here.socket:local_addr():port()
  end

  -- Two lists each to the address, of datagrams of so many bytes → what the errors were
  local function send(_, address, port, sizes, connect)
    local socket <close> = assert(tcpnet.UdpSocket.bind(address:find ":" and "[::]:0" or "0.0.0.0:0"))
    local target = tcpnet.SocketAddr.new(address, port)
    if connect then
      assert(socket:connect(target))
    end
    for round = 1, 2 do
      local list = {}
      for i, size in ipairs(sizes) do
        local data = (("%d %d "):format(round, i) .. ("x"):rep(size)):sub(1, size)
        list[i] = connect and data or { data, target }
      end
      assert(assert(socket:send_many(list)) == #list)
    end
  end

  local function came(here, sizes)
    for round = 1, 2 do
      for i, size in ipairs(sizes) do
        local data = assert(here.socket:set_read_timeout(5):recv())
        assert(data == (("%d %d "):format(round, i) .. ("x"):rep(size)):sub(1, size), i .. ": " .. #data)
      end
    end
    assert(not here.socket:try_recv())
    here.socket:close()
  end

  with_link("arrives where the MTU is smaller than they are, and where it is not", function(near, far)
    for _, mtu in ipairs { 1500, 1280 } do
      near:shell("ip link set eth0 mtu " .. mtu)
      for _, row in ipairs { { "10.0.0.2", "0.0.0.0:0" }, { "fd00::2", "[::]:0" } } do
        for _, size in ipairs { 100, 1252, 1253, 1400, 3000 } do
          for _, connect in ipairs { false, true } do
            local sizes = { size, size, size, size, 7, size, size }
            local port = far:run(receive, row[2])
            near:run(send, row[1], port, sizes, connect)
            far:run(came, sizes)
          end
        end
      end
    end
  end)

  with_link("is on the wire what it is without a run", function(_, far)
    if capture.reason() then
      return pending(capture.reason())
    end
    far:shell "ip link set lo gso_max_segs 1" -- what a device cannot cut the kernel cuts before it gets there
    local seen = capture.start(far)
    local function run(_, together)
      local a <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      local b <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      local list = {}
      for i, size in ipairs { 10, 10, 10, 4, 0, 30, 30, 1, 1, 1000, 1000 } do
        list[i] = { tostring(i):rep(size):sub(1, size), b:local_addr() }
      end
      if together then
        assert(a:send_many(list))
      else
        for _, item in ipairs(list) do
          assert(a:send_to(table.unpack(item)))
        end
      end
    end
    local shape = {}
    for _, together in ipairs { true, false } do
      local packets = seen:packets(run, together)
      shape[together] = {}
      for i, packet in ipairs(packets) do
        shape[together][i] = packet.data
      end
    end
    seen:close()
    assert.equal(11, #shape[true])
    assert.same(shape[false], shape[true])
  end)
end)
