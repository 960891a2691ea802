-- SocketAddr: strict texts, exact order, every method.
local tcpnet = require "tcpnet"

local SocketAddr = tcpnet.SocketAddr

local function refused(addr, err, text)
  assert.is_nil(addr, ("%q was taken as %s"):format(tostring(text), tostring(addr)))
  assert.is_true(tcpnet.is_error(err, "EINVAL"), tostring(err))
end

-- An interface of this machine, and its number.
local function loopback_index()
  local file = io.open "/sys/class/net/lo/ifindex"
  local index = file and file:read "n"
  if file then
    file:close()
  end
  return index
end

describe("SocketAddr.new", function()
  it("takes an IPv4 or IPv6 literal and a port", function()
    assert.equal("127.0.0.1:80", tostring(SocketAddr.new("127.0.0.1", 80)))
    assert.equal("[::1]:0", tostring(SocketAddr.new("::1", 0)))
    assert.equal("255.255.255.255:65535", tostring(SocketAddr.new("255.255.255.255", 65535)))
    assert.equal("[2001:db8::1]:443", tostring(SocketAddr.new("2001:0DB8:0:0:0:0:0:1", 443)))
  end)

  it("answers nil, EINVAL for what is no IP literal (F50)", function()
    for _, text in ipairs {
      "", " ", "localhost", "127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "2130706433",
      "1.2.3.4.", ".1.2.3.4", "1..2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.-4", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n",
      "127.0.0.1\0", "127.0.0.1\0evil", "\0", "1.2.3.4%eth0", "1.2.3.4:80", "[::1]", "::1]", ":", ":::", "1::2::3",
      "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "::g", "::1%", "::1\0", "::1 ", "::1.2.3", "::256.1.1.1",
      "fe80::1%no such interface", "fe80::1%4294967296", "fe80::1%-1", "fe80::1%0x1", "fe80::1%1x", "fe80::1%lo\0",
      ("1"):rep(300), ("::"):rep(300), "::1%" .. ("x"):rep(300),
    } do
      local addr, err = SocketAddr.new(text, 80)
      refused(addr, err, text)
    end
  end)

  it("raises for a wrong type and for a port outside 0..65535 (F30, F31)", function()
    for _, ip in ipairs { 1, 127.1, true, {}, print } do
      assert.error_matches(function()
        SocketAddr.new(ip, 80)
      end, "argument #1")
    end
    for _, port in ipairs {
      -1, 65536, 2 ^ 53, math.mininteger, math.maxinteger, 0 / 0, 1 / 0, -1 / 0, 0.5, "80", "", true, {}, print,
    } do
      assert.error_matches(function()
        SocketAddr.new("127.0.0.1", port)
      end, "port")
    end
    assert.error_matches(function()
      SocketAddr.new "127.0.0.1"
    end, "port")
  end)

  it("takes a float port that is an integer, and gives it back as one", function()
    local addr = SocketAddr.new("127.0.0.1", 80.0)
    assert.equal("integer", math.type(addr:port()))
    assert.equal("127.0.0.1:80", tostring(addr))
  end)
end)

describe("SocketAddr.parse", function()
  it("reads what tostring wrote", function()
    for _, text in ipairs {
      "127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0", "[::1]:80", "[2001:db8::1]:443",
      "[::ffff:1.2.3.4]:1", "[1:2:3:4:5:6:7:8]:1",
    } do
      local addr = assert(SocketAddr.parse(text))
      assert.equal(text, tostring(addr))
      assert.equal(addr, SocketAddr.parse(tostring(addr)))
      assert.equal(addr, SocketAddr.new(addr:ip(), addr:port()))
    end
  end)

  it("answers nil, EINVAL for every other text, and looks nothing up (F50)", function()
    for _, text in ipairs {
      "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 80",
      "127.0.0.1:80 ", " 127.0.0.1:80", "127.0.0.1:65536", "127.0.0.1:99999999999999999999", "127.0.0.1:0x50",
      "127.0.0.1:8e1", "127.0.0.1:80:80", "127.0.0.1:80\n", "127.0.0.1:80\0", "127.0.0.1\0:80", "\0:80", "127.1:80",
      "0x7f.1:80", "1.2.3.4.:80", "localhost:80", "::1:80", "[::1]", "[::1]80", "[::1]:", "[::1:80", "::1]:80", "[]:80",
      "[127.0.0.1]:80", "[::1]:80]", "[[::1]]:80", "[::1]:65536", "[localhost]:80", "[fe80::1%]:80", "[::1]]:80",
      "[fe80::1%no such interface]:80", "/path", "@name", "127.0.0.1:" .. ("0"):rep(100), ("x"):rep(70000) .. ":80",
    } do
      local addr, err = SocketAddr.parse(text)
      refused(addr, err, text)
    end
  end)

  it("says what is wrong, without cutting the text at a NUL", function()
    local _, err = SocketAddr.parse "127.0.0.1:99999"
    assert.matches("port", err.message)
    _, err = SocketAddr.parse "127.0.0.1"
    assert.matches("port", err.message)
    _, err = SocketAddr.parse "127.0.0.1\0evil:80"
    assert.matches("NUL", err.message)
    assert.is_not.equal("127.0.0.1", err.address)
  end)

  it("raises for what is no string", function()
    for _, wrong in ipairs { 1, true, {}, print, io.stdout } do
      assert.error_matches(function()
        SocketAddr.parse(wrong)
      end, "argument #1")
    end
    assert.has_error(function()
      SocketAddr.parse()
    end)
  end)
end)

describe("a SocketAddr", function()
  local v4 = assert(SocketAddr.new("127.0.0.1", 80))
  local v6 = assert(SocketAddr.new("::1", 443))

  it("tells its parts", function()
    assert.equal("127.0.0.1", v4:ip())
    assert.equal("::1", v6:ip())
    assert.equal(80, v4:port())
    assert.equal(443, v6:port())
    assert.equal("integer", math.type(v4:port()))
    assert.equal("inet", v4:family())
    assert.equal("inet6", v6:family())
    assert.equal(0, v6:scope_id())
    assert.equal(0, v6:flowinfo())
    assert.is_nil(v4:path())
    assert.is_false(v4:is_unnamed())
    assert.is_true(v4:is_ipv4())
    assert.is_false(v4:is_ipv6())
    assert.is_false(v6:is_ipv4())
    assert.is_true(v6:is_ipv6())
  end)

  it("knows loopback, unspecified and multicast", function()
    local rows = {
      { "127.0.0.1", true, false, false }, { "127.255.255.255", true, false, false },
      { "128.0.0.1", false, false, false }, { "0.0.0.0", false, true, false }, { "0.0.0.1", false, false, false },
      { "224.0.0.0", false, false, true }, { "239.255.255.255", false, false, true },
      { "240.0.0.1", false, false, false }, { "::1", true, false, false }, { "::", false, true, false },
      { "ff02::1", false, false, true }, { "fe80::1", false, false, false }, { "::2", false, false, false },
      { "::ffff:127.0.0.1", false, false, false },
    }
    for _, row in ipairs(rows) do
      local addr = assert(SocketAddr.new(row[1], 1))
      assert.same(row, { row[1], addr:is_loopback(), addr:is_unspecified(), addr:is_multicast() })
    end
  end)

  it("keeps a zone, by number or by name", function()
    local index = loopback_index()
    if not index then
      return pending "no /sys here"
    end
    local by_name = assert(SocketAddr.parse "[fe80::1%lo]:80")
    local by_number = assert(SocketAddr.parse(("[fe80::1%%%d]:80"):format(index)))
    assert.equal(index, by_name:scope_id())
    assert.equal(by_name, by_number)
    assert.equal("[fe80::1%lo]:80", tostring(by_name))
    assert.equal("fe80::1%lo", by_name:ip())
    assert.equal(by_name, SocketAddr.new(by_name:ip(), 80))
    local nowhere = assert(SocketAddr.parse "[fe80::1%4294967295]:80")
    assert.equal(4294967295, nowhere:scope_id())
    assert.equal("[fe80::1%4294967295]:80", tostring(nowhere))
    assert.is_not.equal(nowhere, by_name)
  end)

  it("equals another of the same parts, and nothing else", function()
    assert.equal(SocketAddr.new("127.0.0.1", 80), v4)
    assert.is_true(v4 == SocketAddr.parse "127.0.0.1:80")
    assert.is_false(v4 == SocketAddr.new("127.0.0.1", 81))
    assert.is_false(v4 == SocketAddr.new("127.0.0.2", 80))
    assert.is_false(v4 == v6)
    assert.is_false(SocketAddr.new("::ffff:127.0.0.1", 80) == v4)
    assert.is_false(v4 == "127.0.0.1:80")
    assert.is_false(v4 == io.stdout)
    assert.is_false(v4 == nil)
    assert.is_true(v4 ~= {})
  end)

  it("has one order: family, address by its bytes, port, zone", function()
    local sorted = {
      "0.0.0.0:0", "0.0.0.0:1", "0.0.0.1:0", "9.0.0.0:9", "10.0.0.0:1", "127.0.0.1:80", "127.0.0.1:100",
      "127.0.0.1:65535", "200.0.0.0:0", "255.255.255.255:1", "[::]:1", "[::1]:0", "[::1]:256", "[1::]:0",
      "[fe80::1%1]:1", "[fe80::1%2]:1", "[fe80::1%1]:2", "[ffff::]:0",
    }
    local list = {}
    for i, text in ipairs(sorted) do
      list[i] = assert(SocketAddr.parse(text), text)
    end
    for i = 1, #list do
      for j = 1, #list do
        assert.equal(i < j, list[i] < list[j], sorted[i] .. " < " .. sorted[j])
        assert.equal(i <= j, list[i] <= list[j], sorted[i] .. " <= " .. sorted[j])
        assert.equal(i > j, list[i] > list[j], sorted[i] .. " > " .. sorted[j])
      end
    end
  end)

  it("cannot be ordered beside anything else", function()
    for _, other in ipairs { 1, "127.0.0.1:80", {}, io.stdout } do
      assert.has_error(function()
        return v4 < other
      end)
      assert.has_error(function()
        return other <= v4
      end)
    end
  end)

  it("is immutable", function()
    for _, key in ipairs { "port", "ip", "new", 1 } do
      assert.has_error(function()
        v4[key] = 1
      end)
    end
    assert.is_not.equal("table", type(getmetatable(v4)))
  end)

  it("concatenates as its text", function()
    assert.equal("to 127.0.0.1:80", "to " .. v4)
    assert.equal("127.0.0.1:80!", v4 .. "!")
  end)

  it("refuses another receiver in every method (F28)", function()
    local constructors = { new = true, parse = true, unix = true, vsock = true, packet = true, from_bytes = true }
    for name, method in pairs(SocketAddr) do
      if not constructors[name] then
        for _, wrong in ipairs { 1, "127.0.0.1:80", {}, print, io.stdout, tcpnet.Buffer.new(1), false } do
          assert.error_matches(function()
            method(wrong)
          end, "SocketAddr", nil, name)
        end
      end
    end
  end)
end)

describe("SocketAddr.unix", function()
  it("takes a path (B197)", function()
    local addr = assert(SocketAddr.unix "/tmp/socket")
    assert.equal("unix", addr:family())
    assert.equal("/tmp/socket", addr:path())
    assert.equal("/tmp/socket", tostring(addr))
    assert.is_true(addr:is_unix())
    assert.is_false(addr:is_unnamed())
    assert.is_false(addr:is_ipv4())
    assert.is_false(addr:is_ipv6())
    assert.is_false(addr:is_loopback())
    assert.is_false(addr:is_unspecified())
    assert.is_false(addr:is_multicast())
    assert.is_nil(addr:ip())
    assert.equal(0, addr:port())
    assert.equal(0, addr:scope_id())
    assert.is_true(addr == SocketAddr.unix "/tmp/socket")
    assert.is_false(addr == SocketAddr.unix "/tmp/socke")
    assert.is_false(addr == SocketAddr.new("127.0.0.1", 1))
  end)

  it("takes a name in the abstract namespace, of any bytes but NUL, up to the whole field (B199)", function()
    local addr = assert(SocketAddr.unix "@name")
    assert.equal("@name", addr:path())
    assert.equal("@name", tostring(addr))
    assert.is_false(addr:is_unnamed())
    assert.is_false(addr == SocketAddr.unix "name")
    assert.equal(2 + 5, #addr:bytes())
    assert.equal("\0name", addr:bytes():sub(3))
    local longest = "@" .. ("x"):rep(107)
    addr = assert(SocketAddr.unix(longest))
    assert.equal(longest, addr:path())
    assert.equal(2 + 108, #addr:bytes())
    refused(SocketAddr.unix(longest .. "x"))
  end)

  it("takes no name at all", function()
    local addr = assert(SocketAddr.unix "")
    assert.is_true(addr:is_unnamed())
    assert.is_true(addr:is_unix())
    assert.is_nil(addr:path())
    assert.equal(2, #addr:bytes())
  end)

  it("refuses what is too long or has a NUL, and never cuts it (F50)", function()
    local longest = "/" .. ("x"):rep(106)
    assert.equal(longest, assert(SocketAddr.unix(longest)):path())
    local addr, err = SocketAddr.unix(longest .. "x")
    refused(addr, err, longest)
    assert.equal("the path is longer than the system allows", err.message)
    for _, text in ipairs { "a\0b", "\0", "@a\0b", "/tmp/x\0" } do
      addr, err = SocketAddr.unix(text)
      refused(addr, err, text)
      assert.equal("the path contains a NUL byte", err.message)
      assert.equal(text, err.address)
    end
    for _, wrong in ipairs { 1, true, {}, print } do
      assert.error_matches(function()
        SocketAddr.unix(wrong)
      end, "argument #1")
    end
  end)
end)

describe("SocketAddr of another family", function()
  it("vsock: machine and port, of 32 bits each", function()
    if not SocketAddr.vsock(1, 1) then
      return pending "no vsock on this system"
    end
    local addr = SocketAddr.vsock(2, 4294967295)
    assert.equal("vsock", addr:family())
    assert.equal(2, addr:cid())
    assert.equal(4294967295, addr:port())
    assert.equal("integer", math.type(addr:cid()))
    assert.equal("vsock:2:4294967295", tostring(addr))
    assert.is_nil(addr:ip())
    assert.is_nil(addr:path())
    assert.is_nil(addr:interface())
    assert.is_true(addr == SocketAddr.vsock(2, 4294967295))
    assert.is_false(addr == SocketAddr.vsock(3, 4294967295))
    for _, wrong in ipairs { -1, 2 ^ 32, 0.5, 0 / 0, "1", true } do
      assert.error_matches(function() SocketAddr.vsock(wrong, 1) end, "cid: integer from 0 to 4294967295")
      assert.error_matches(function() SocketAddr.vsock(1, wrong) end, "port: integer from 0 to 4294967295")
    end
  end)

  it("packet: interface by name or number, and protocol", function()
    local index = loopback_index()
    if not index or not SocketAddr.packet(index) then
      return pending "no packet sockets on this system"
    end
    local addr = SocketAddr.packet("lo", 0x0806)
    assert.equal("packet", addr:family())
    assert.equal(index, addr:interface())
    assert.equal(0x0806, addr:protocol())
    assert.equal("", addr:hardware())
    assert.equal(("packet:%d:0x0806"):format(index), tostring(addr))
    assert.is_true(addr == SocketAddr.packet(index, 0x0806))
    assert.equal(0, SocketAddr.packet(index):protocol())
    assert.is_nil(addr:cid())
    assert.is_nil(addr:ip())
    assert.error_matches(function() SocketAddr.packet "no such interface" end, "there is no interface of that name")
    for _, wrong in ipairs { -1, 2 ^ 31, 0.5, true } do
      assert.error_matches(function() SocketAddr.packet(wrong) end, "interface: integer from 0 to 2147483647")
    end
    for _, wrong in ipairs { -1, 65536, 0.5, true, "1" } do
      assert.error_matches(function() SocketAddr.packet(1, wrong) end, "protocol: integer from 0 to 65535")
    end
  end)

  it("has nil for the parts of others", function()
    local addr = assert(SocketAddr.new("127.0.0.1", 80))
    for _, part in ipairs { "cid", "interface", "protocol", "hardware", "path" } do
      assert.is_nil(addr[part](addr))
    end
    assert.is_false(addr:is_unix())
  end)

  it("by the system's bytes: what bytes() gave, or any other family", function()
    for _, addr in ipairs {
      assert(SocketAddr.new("127.0.0.1", 80)), assert(SocketAddr.parse "[fe80::1%1]:80"),
      assert(SocketAddr.unix "/path"), assert(SocketAddr.unix "@name"), assert(SocketAddr.unix ""),
    } do
      local back = SocketAddr.from_bytes(addr:bytes())
      assert.is_true(back == addr, tostring(addr))
      assert.equal(tostring(addr), tostring(back))
      assert.equal(addr:bytes(), back:bytes())
    end
    local odd = SocketAddr.from_bytes(("=I2"):pack(4093) .. "abc")
    assert.equal(4093, odd:family())
    assert.equal("(family 4093)", tostring(odd))
    assert.equal(5, #odd:bytes())
    for _, wrong in ipairs { "", "x", ("x"):rep(129) } do
      assert.error_matches(function() SocketAddr.from_bytes(wrong) end, "bytes of a sockaddr expected")
    end
    assert.has_error(function() SocketAddr.from_bytes {} end)
  end)

  it("cut short has zeros for what is missing, not what else lies in memory", function()
    for _, text in ipairs { "255.254.253.252:65535", "[ffff:fffe:fffd:fffc:fffb:fffa:fff9:fff8]:65535" } do
      local whole = assert(SocketAddr.parse(text)):bytes()
      local kept = {}
      for length = 2, #whole - 1 do
        kept[#kept + 1] = ("\xff"):rep(40 + length) -- so that memory is not all zeros
        local short = SocketAddr.from_bytes(whole:sub(1, length))
        local filled = SocketAddr.from_bytes(whole:sub(1, length) .. ("\0"):rep(#whole - length))
        assert.equal(length, #short:bytes())
        assert.equal(tostring(filled), tostring(short))
        for _, part in ipairs { "ip", "port", "family", "scope_id", "flowinfo", "is_loopback", "is_multicast" } do
          assert.equal(filled[part](filled), short[part](short), part)
        end
      end
    end
  end)
end)

describe("an address argument", function()
  -- Everything that takes one; none of these may get as far as a lookup.
  local takers = {
    ["TcpStream.connect"] = tcpnet.TcpStream.connect,
    ["TcpListener.bind"] = tcpnet.TcpListener.bind,
    ["TcpSocket.bind"] = function(...)
      local socket <close> = assert(tcpnet.TcpSocket.new_v4())
      return socket:bind(...)
    end,
    ["TcpSocket.connect"] = function(...)
      local socket <close> = assert(tcpnet.TcpSocket.new_v4())
      return socket:connect(...)
    end,
    lookup_host = tcpnet.lookup_host,
  }

  for name, taker in pairs(takers) do
    it("of " .. name .. " is refused with EINVAL where it is malformed (F50)", function()
      for _, text in ipairs {
        "127.0.0.1\0evil:80", "localhost\0:80", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "127.0.0.1:",
        "[::1]80", "[::1:80", "::1:80", ":80", "1.2.3.4.:80", "127.1:80", ("x"):rep(256) .. ":80",
        ("x"):rep(100000) .. ":80",
      } do
        local result, err = taker(text)
        refused(result, err, text)
      end
      for _, host in ipairs {
        "127.0.0.1\0evil", "localhost\0", "", "1.2.3.4.", "127.1", "::1%no such", ("x"):rep(256),
      } do
        local result, err = taker(host, 80)
        refused(result, err, host)
      end
    end)

    it("of " .. name .. " raises for a wrong type, naming the argument, at the caller's line (F30, F31)", function()
      for _, wrong in ipairs { 1, true, {}, print, io.stdout, 0 / 0, tcpnet.Buffer.new(1) } do
        local ok, message = pcall(function()
          taker(wrong)
        end)
        assert.is_false(ok)
        assert.matches("argument #1", message)
        assert.matches("^spec/socket_addr_spec%.lua:", message)
      end
      for _, port in ipairs { -1, 65536, 2 ^ 53, 0 / 0, 1 / 0, 0.5, "80", true, print } do
        local ok, message = pcall(function()
          taker("127.0.0.1", port)
        end)
        assert.is_false(ok, tostring(port))
        assert.matches("argument #2", message)
        assert.matches("^spec/socket_addr_spec%.lua:", message)
      end
    end)
  end
end)
