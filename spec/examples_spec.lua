-- Every example, run for real.
local dir = require "pl.dir"
local path = require "pl.path"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

local covered = { "fd_passing.lua" } -- run by spec/peers_unix_spec.lua

local function example(name, body)
  covered[#covered + 1] = name
  describe("examples/" .. name, function()
    body("examples/" .. name)
  end)
end

-- Bytes without a pattern that could hide a loss or a swap.
local function noise(size)
  local bytes = {}
  for i = 1, size // 8 do
    bytes[i] = ("%08x"):format((i * 2654435761) & 0xffffffff)
  end
  return table.concat(bytes)
end

example("echo_server.lua", function(script)
  it("gives back what it gets", function()
    local server <close> = process.serve(script, 0)
    local stream <close> = process.connect(server.port)
    for _, text in ipairs { "hello", "\0\255\r\n", "again" } do
      assert.equal(#text, stream:write(text))
      assert.equal(text, stream:read_exact(#text))
    end
  end)

  it("gives back everything after a half-close", function()
    local server <close> = process.serve(script)
    local bytes = noise(1 << 20)
    assert.is_true(process.round_trip(server.port, bytes) == bytes)
  end)

  it("outlives connections that are reset", function()
    local server <close> = process.serve(script, 0)
    process.connect(server.port):reset()
    assert.equal("still here", process.round_trip(server.port, "still here"))
  end)
end)

example("echo_client.lua", function(script)
  it("reports throughput and latency", function()
    local server <close> = process.serve "examples/echo_server.lua"
    local code, output = process.run(process.interpreter, script, "127.0.0.1", server.port, 8, 1)
    assert.equal(0, code, output)
    assert.is_truthy(output:find "^  1 s +%d+ round trips\n")
    assert.is_true(tonumber(output:match "\n(%d+) round trips per second\n") > 0)
    local last = 0
    for _, name in ipairs { "p50", "p90", "p99", "max" } do
      local latency = tonumber(output:match(name .. " +([%d.]+) ms\n"))
      assert.is_true(latency >= last, output)
      last = latency
    end
  end)

  it("fails where nobody listens, and says so", function()
    local code, output = process.run(process.interpreter, script, "127.0.0.1", process.free_port(), 4, 1)
    assert.equal(1, code)
    assert.is_truthy(output:find("ECONNREFUSED", 1, true), output)
  end)

  it("fails when the server goes away", function()
    local server <close> = process.serve("examples/tcp_proxy.lua", 0, "127.0.0.1", process.free_port())
    local code, output = process.run(process.interpreter, script, "127.0.0.1", server.port, 4, 5)
    assert.equal(1, code)
    assert.is_truthy(output:find "ECONNRESET" or output:find "EPIPE", output)
  end)

  it("wants all of its arguments", function()
    local code, output = process.run(process.interpreter, script, "127.0.0.1")
    assert.equal(1, code)
    assert.is_truthy(output:find "^usage: ")
  end)
end)

example("chat.lua", function(script)
  local function enter(server, name)
    local stream = process.connect(server.port)
    assert.equal("your name?", stream:read_line())
    stream:write(name, "\n")
    return stream
  end

  it("sends lines to all the others, and says who comes and goes", function()
    local server <close> = process.serve(script)
    local ada <close> = enter(server, "ada")
    ada:write "is there anybody?\n" -- what is written before it has been read goes to nobody
    local bob <close> = enter(server, "bob")
    assert.equal("* bob joined", ada:read_line())
    local cyd <close> = enter(server, "cyd")
    assert.equal("* cyd joined", ada:read_line())
    assert.equal("* cyd joined", bob:read_line())
    bob:write "hello\r\nyou two\n"
    for _, stream in ipairs { ada, cyd } do
      assert.equal("bob: hello", stream:read_line())
      assert.equal("bob: you two", stream:read_line())
    end
    cyd:reset()
    assert.equal("* cyd left", bob:read_line())
    ada:close()
    assert.equal("* ada left", bob:read_line())
  end)

  it("does not wait for one that does not read", function()
    local server <close> = process.serve(script)
    local deaf <close> = enter(server, "deaf")
    local ada <close> = enter(server, "ada")
    assert.equal("* ada joined", deaf:read_line())
    local left = tcpnet.run(function()
      tcpnet.spawn(function()
        local line = noise(32768) .. "\n"
        for _ = 1, 2000 do
          ada:write(line)
          tcpnet.yield()
        end
      end)
      return ada:read_line()
    end)
    assert.equal("* deaf left", left)
  end)
end)

example("http_hello.lua", function(script)
  local HELLO = "Hello, world!\n"
  local server
  setup(function() server = process.serve(script) end)
  teardown(function() server:stop() end)

  -- → status, body, headers; the body of a HEAD is not waited for
  local function response(stream, method)
    local status = tonumber(assert(stream:read_line()):match "^HTTP/1%.1 (%d%d%d) ")
    local headers = {}
    for line in stream:lines() do
      if line == "" then
        break
      end
      local name, value = line:match "^([^:]+): (.*)$"
      headers[name:lower()] = value
    end
    local length = method == "HEAD" and 0 or tonumber(headers["content-length"])
    return status, stream:read_exact(length), headers
  end

  it("keeps the connection, and leaves the body of a HEAD out", function()
    local stream <close> = process.connect(server.port)
    for _, method in ipairs { "GET", "HEAD", "GET" } do
      stream:write(method, " / HTTP/1.1\r\nHost: here\r\n\r\n")
      local status, body, headers = response(stream, method)
      assert.equal(200, status)
      assert.equal(method == "HEAD" and "" or HELLO, body)
      assert.equal(tostring(#HELLO), headers["content-length"])
    end
  end)

  it("answers pipelined requests in order, bodies skipped", function()
    local stream <close> = process.connect(server.port)
    local body = noise(100000)
    local post = ("POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"):format(#body)
    local get = "GET / HTTP/1.1\r\n\r\n"
    stream:write(get, post, body, get:rep(100), "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n")
    for _ = 1, 103 do
      assert.equal(200, (response(stream)))
    end
    assert.is_nil(stream:read())
  end)

  it("takes a request that comes byte by byte", function()
    local stream <close> = process.connect(server.port):set_nodelay(true)
    for byte in ("GET /slow HTTP/1.1\r\nA: b\r\n\r\n"):gmatch "." do
      stream:write(byte)
      tcpnet.sleep(0.001)
    end
    assert.equal(200, (response(stream)))
  end)

  it("closes when told to, and after HTTP/1.0", function()
    for _, request in ipairs { "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n" } do
      local stream <close> = process.connect(server.port)
      stream:write(request)
      local status, body, headers = response(stream)
      assert.same({ 200, HELLO, "close" }, { status, body, headers.connection })
      assert.same({}, { stream:read() })
    end
  end)

  for what, request in pairs {
    ["nonsense"] = "what is this?\r\n\r\n",
    ["a request line without end"] = ("x"):rep(10000),
    ["a header without a colon"] = "GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    ["too many headers"] = "GET / HTTP/1.1\r\n" .. ("a: b\r\n"):rep(200) .. "\r\n",
    ["a negative length"] = "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ["a length past every integer"] = "POST / HTTP/1.1\r\nContent-Length: " .. ("9"):rep(30) .. "\r\n\r\n",
    ["a chunked body"] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  } do
    it("answers 400 to " .. what .. ", then closes", function()
      local stream <close> = process.connect(server.port)
      stream:write(request)
      assert.equal(400, (response(stream)))
      assert.same({}, { stream:read() })
    end)
  end

  it("survives a client that leaves in the middle", function()
    for _, request in ipairs { "GET", "GET / HTTP/1.1\r\nA: b", "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc" } do
      local stream <close> = process.connect(server.port)
      stream:write(request)
      stream:shutdown "write"
      stream:read_to_end()
      process.connect(server.port):reset()
    end
    local stream <close> = process.connect(server.port)
    stream:write "GET / HTTP/1.1\r\n\r\n"
    assert.equal(200, (response(stream)))
  end)
end)

example("resp_server.lua", function(script)
  local server
  setup(function() server = process.serve(script) end)
  teardown(function() server:stop() end)

  local function encode(...)
    local list = { ("*%d\r\n"):format(select("#", ...)) }
    for _, word in ipairs { ... } do
      list[#list + 1] = ("$%d\r\n%s\r\n"):format(#word, word)
    end
    return table.concat(list)
  end

  it("answers the commands it knows", function()
    local stream <close> = process.connect(server.port)
    for _, exchange in ipairs {
      { "+PONG\r\n", "PING" },
      { "$3\r\na\0b\r\n", "ECHO", "a\0b" },
      { "$-1\r\n", "GET", "key" },
      { "+OK\r\n", "SET", "key", "a\r\nb" },
      { "$4\r\na\r\nb\r\n", "get", "key" },
      { "-ERR value is not an integer or out of range\r\n", "INCR", "key" },
      { ":1\r\n", "DEL", "key" },
      { ":0\r\n", "DEL", "key" },
      { ":1\r\n", "INCR", "key" },
      { ":2\r\n", "INCR", "key" },
      { "+OK\r\n", "SET", "key", tostring(math.maxinteger) },
      { "-ERR value is not an integer or out of range\r\n", "INCR", "key" },
      { "-ERR unknown command or wrong number of arguments\r\n", "GET" },
      { "-ERR unknown command or wrong number of arguments\r\n", "FLY" },
    } do
      stream:write(encode(table.unpack(exchange, 2)))
      assert.equal(exchange[1], stream:read_exact(#exchange[1]))
    end
  end)

  it("answers pipelined commands in order, a plain line too", function()
    local stream <close> = process.connect(server.port)
    local requests, replies = { "ping\r\n" }, { "+PONG\r\n" }
    for i = 1, 2000 do
      requests[#requests + 1] = encode("SET", "k" .. i, "v" .. i) .. encode("GET", "k" .. i)
      replies[#replies + 1] = ("+OK\r\n$%d\r\nv%d\r\n"):format(#("v" .. i), i)
    end
    stream:write(table.concat(requests))
    local expected = table.concat(replies)
    assert.is_true(expected == stream:read_exact(#expected))
  end)

  it("takes commands however they are cut", function()
    local stream <close> = process.connect(server.port):set_nodelay(true)
    for byte in (encode("SET", "cut", "x") .. encode("GET", "cut")):gmatch "." do
      stream:write(byte)
      tcpnet.sleep(0.001)
    end
    assert.equal("+OK\r\n$1\r\nx\r\n", stream:read_exact(12))
  end)

  it("answers what came before, and ends where it cannot follow", function()
    for _, request in ipairs { "*1\r\nnonsense\r\n", "*1\r\n$999999999999\r\n", "*2\r\n$4\r\nEC" } do
      local stream <close> = process.connect(server.port)
      stream:write(encode "PING", request)
      stream:shutdown "write"
      assert.equal("+PONG\r\n", stream:read_to_end())
    end
  end)
end)

example("tcp_proxy.lua", function(script)
  it("passes bytes and half-closes both ways", function()
    local target <close> = process.serve "examples/echo_server.lua"
    local proxy <close> = process.serve(script, 0, "127.0.0.1", target.port)
    local bytes = noise(1 << 20)
    assert.is_true(process.round_trip(proxy.port, bytes) == bytes)
    assert.equal(tostring(1 << 20), proxy:expect "sent (%d+) bytes, got 1048576$")
  end)

  it("serves many at once", function()
    local target <close> = process.serve "examples/echo_server.lua"
    local proxy <close> = process.serve(script, 0, "127.0.0.1", target.port)
    local code, output = process.run(process.interpreter, "examples/echo_client.lua", "127.0.0.1", proxy.port, 50, 1)
    assert.equal(0, code, output)
  end)

  it("resets a connection whose target refuses", function()
    local proxy <close> = process.serve(script, 0, "127.0.0.1", process.free_port())
    local stream, err = tcpnet.TcpStream.connect("127.0.0.1", proxy.port, { timeout = 10 })
    if stream then -- the reset may be faster than the connection
      local bytes
      bytes, err = stream:read()
      stream:close()
      assert.is_nil(bytes)
    end
    assert.equal("ECONNRESET", err and err.code)
    proxy:expect "failed: connect .*ECONNREFUSED"
  end)

  it("passes a reset on, either way", function()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
    local proxy <close> = process.serve(script, 0, "127.0.0.1", listener:local_addr():port())
    for first = 1, 2 do
      local client <close> = process.connect(proxy.port)
      local target <close> = assert(listener:accept())
      local ends = { client, target }
      ends[first]:reset()
      local bytes, err = ends[3 - first]:read()
      assert.is_nil(bytes)
      assert.equal("ECONNRESET", err and err.code)
      proxy:expect "failed: .*ECONNRESET"
    end
  end)

  it("wants all of its arguments", function()
    local code, output = process.run(process.interpreter, script, 0)
    assert.equal(1, code)
    assert.is_truthy(output:find "^usage: ")
  end)
end)

example("port_scanner.lua", function(script)
  it("finds what is open", function()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
    local port = listener:local_addr():port()
    local first, last = math.max(1, port - 200), math.min(65535, port + 200)
    local code, output = process.run(process.interpreter, script, "127.0.0.1", first, last, 32)
    assert.equal(0, code, output)
    assert.is_truthy(output:find(("%5d open\n"):format(port), 1, true), output)
    local open, closed, silent = output:match "\n(%d+) open, (%d+) closed, (%d+) silent\n$"
    assert.equal(last - first + 1, open + closed + silent)
  end)

  it("fails on a name that is none, and without arguments", function()
    local code, output = process.run(process.interpreter, script, "nowhere.invalid", 1, 2)
    assert.equal(1, code)
    assert.is_truthy(output:find "EAI_", output)
    code, output = process.run(process.interpreter, script)
    assert.equal(1, code)
    assert.is_truthy(output:find "^usage: ")
  end)
end)

example("graceful_shutdown.lua", function(script)
  local function stop(control)
    local stream <close> = process.connect(control)
    stream:write "stop\n"
  end

  local function start(seconds)
    local server = process.serve(script, 0, seconds)
    return server, math.tointeger(tonumber(server:expect "^control on 127%.0%.0%.1:(%d+)$"))
  end

  it("lets the open connections end", function()
    local server <close>, control = start(10)
    local stream <close> = process.connect(server.port)
    stream:write "one\n"
    assert.equal("one", stream:read_line())
    process.connect(control):close() -- says nothing: not a reason to stop
    stop(control)
    assert.equal("1", server:expect "^stopping, (%d+) connections open$")
    local refused, err = tcpnet.TcpStream.connect("127.0.0.1", server.port)
    assert.is_nil(refused)
    assert.equal("ECONNREFUSED", err.code)
    stream:write "two\n"
    assert.equal("two", stream:read_line())
    stream:shutdown "write"
    assert.same({}, { stream:read() })
    assert.same({ 0, "all connections ended\n" }, { server:wait() })
  end)

  it("cuts off those that do not", function()
    local server <close>, control = start(0.2)
    local streams = {}
    for i = 1, 3 do
      streams[i] = process.connect(server.port)
      streams[i]:write "here\n"
      assert.equal("here", streams[i]:read_line())
    end
    stop(control)
    server:expect "^stopping, 3 connections open$"
    for _, stream in ipairs(streams) do
      assert.is_nil(stream:read())
      stream:close()
    end
    assert.same({ 0, "3 connections cut off\n" }, { server:wait() })
  end)
end)

example("icmp_ping.lua", function(script)
  local raw, refused = tcpnet.Socket.new("inet", "raw", "icmp")
  if raw then
    raw:close()
  end

  it("gets its own host's answers", function()
    if not raw then
      return pending("needs root: " .. refused)
    end
    local code, output = process.run(process.interpreter, script, "127.0.0.1", 3, 0.01)
    assert.equal(0, code, output)
    local line = "127%.0%.0%.1: seq=(%d) ttl=%d+ time=%d+%.%d%d%d ms\n"
    local first, second, third = output:match("^" .. line .. line .. line .. "3 sent, 3 back\n$")
    assert.same({ "1", "2", "3" }, { first, second, third }, output)
  end)

  it("takes no answer of another ping for its own", function()
    if not raw then
      return pending("needs root: " .. refused)
    end
    local pings = {}
    for i = 1, 8 do
      pings[i] = process.lua(script, "127.0.0." .. i, 5, 0.01)
    end
    for i, ping in ipairs(pings) do
      local code, output = ping:wait()
      assert.equal(0, code, output)
      local _, answers = output:gsub(("127.0.0.%d: seq=%%d ttl=%%d+ time="):format(i), "")
      assert.equal(5, answers, output)
      assert.is_truthy(output:find("5 sent, 5 back\n", 1, true), output)
    end
  end)

  it("says that it may not, where it may not", function()
    local user = raw and "setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all " or ""
    if raw and process.shell(user .. "true") ~= 0 then
      return pending "needs setpriv"
    end
    local code, output = process.shell(user .. '"$1" "$2" 127.0.0.1 1', process.interpreter, script)
    assert.equal(1, code, output)
    assert.is_truthy(output:find "^new: .* %(E[PA]%u+%)\n$", output)
  end)

  it("fails on a name that is none, and without arguments", function()
    local code, output = process.run(process.interpreter, script, "nowhere.invalid", 1)
    assert.equal(1, code)
    assert.is_truthy(output:find "EAI_", output)
    for _, arguments in ipairs { {}, { "127.0.0.1", "many" }, { "127.0.0.1", 1, "soon" } } do
      code, output = process.run(process.interpreter, script, table.unpack(arguments))
      assert.equal(1, code)
      assert.is_truthy(output:find "^usage: ", output)
    end
  end)
end)

example("socket_options.lua", function(script)
  it("sets what it is told and prints what there is", function()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
    local port = listener:local_addr():port()
    local arguments = { "127.0.0.1", port, "nodelay=true", "ttl=9", "tcp_user_timeout=1.5" }
    local code, output = process.run(process.interpreter, script, table.unpack(arguments))
    assert.equal(0, code, output)
    local title = "^TcpStream %%(127%%.0%%.0%%.1:%%d+ %%-> 127%%.0%%.0%%.1:%d, fd %%d+%%)\n"
    assert.is_truthy(output:find(title:format(port)), output)
    local options, info = output:match "\noptions\n(.*)\ntcp_info\n(.*)$"
    for _, line in ipairs { "nodelay +true", "ttl +9", "keepalive +false", "domain +inet", "type +stream" } do
      assert.is_truthy(("\n" .. options .. "\n"):find("\n  " .. line .. "\n"), line .. "\n" .. output)
    end
    assert.is_truthy(options:find "\n  tcp_user_timeout +1%.5\n", output)
    assert.is_truthy(info:find "  state +established\n", output)
    assert.is_truthy(info:find "  rtt +[%d.e-]+\n", output)
  end)

  it("says what is wrong with a host, an option, a value or its arguments", function()
    local port = process.free_port()
    for expected, arguments in pairs {
      ["ECONNREFUSED"] = { "127.0.0.1", port },
      ["unknown option 'nodely'"] = { "127.0.0.1", port, "nodely=true" },
      ["ttl: integer from 1 to 255 expected, got 9999"] = { "127.0.0.1", port, "ttl=9999" },
      ["usage: "] = { "127.0.0.1", port, "nodelay" },
      ["usage: socket_options"] = { "127.0.0.1" },
    } do
      local code, output = process.run(process.interpreter, script, table.unpack(arguments))
      assert.equal(1, code)
      assert.is_truthy(output:find(expected, 1, true), output)
    end
  end)
end)

example("dns_responder.lua", function(script)
  -- A query for one name; `type` is the number of a record's type.
  local function query(id, name, type)
    return (">I2I2I2I2I2I2"):pack(id, 0x0100, 1, 0, 0, 0) ..
      name:gsub("([^.]+)%.?", function(label) return ("s1"):pack(label) end) .. "\0" .. (">I2I2"):pack(type, 1)
  end

  -- id, response code, list of the answers' bytes
  local function taken_apart(reply)
    local id, flags, _, count = (">I2I2I2I2"):unpack(reply)
    local at = reply:find("\0", 13, true) + 5
    local answers = {}
    for i = 1, count do
      local name, _, _, _, bytes, behind = (">I2I2I2I4s2"):unpack(reply, at)
      assert.equal(0xC00C, name)
      answers[i], at = bytes, behind
    end
    assert.equal(#reply + 1, at)
    assert.equal(0x8500, flags & 0xFFF0)
    return id, flags & 15, answers
  end

  local server
  setup(function() server = process.serve(script, 0, "a.test=1.2.3.4", "A.test=5.6.7.8", "a.test=2001:db8::1") end)
  teardown(function() server:stop() end)

  local function ask_udp(bytes)
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(socket:connect("127.0.0.1", server.port))
    assert(socket:send(bytes))
    return socket:set_timeout(5):recv()
  end

  local function ask_tcp(bytes)
    local stream <close> = process.connect(server.port)
    assert(stream:write((">s2"):pack(bytes)))
    return stream:read_exact((">I2"):unpack(assert(stream:read_exact(2))))
  end

  for way, ask in pairs { UDP = ask_udp, TCP = ask_tcp } do
    it("answers over " .. way, function()
      local id, code, answers = taken_apart(assert(ask(query(7, "a.test", 1))))
      assert.same({ 7, 0, { "\1\2\3\4", "\5\6\7\8" } }, { id, code, answers })
      id, code, answers = taken_apart(assert(ask(query(65535, "A.TEST", 28))))
      assert.same({ 65535, 0, { "\x20\1\x0d\xb8" .. ("\0"):rep(11) .. "\1" } }, { id, code, answers })
      assert.same({ 8, 0, {} }, { taken_apart(assert(ask(query(8, "a.test", 15)))) })
      assert.same({ 9, 3, {} }, { taken_apart(assert(ask(query(9, "b.test", 1)))) })
    end)

    it("says what it cannot answer over " .. way, function()
      assert.equal("\0\5\x80\1" .. ("\0"):rep(8), ask((">I2I2I2I2I2I2"):pack(5, 0, 0, 0, 0, 0)))
      assert.equal("\0\5\x80\1" .. ("\0"):rep(8), ask(query(5, "a.test", 1):sub(1, -3):gsub("^(..)..", "%1\0\0")))
      assert.equal("\0\5\xa0\4" .. ("\0"):rep(8), ask((">I2I2I2I2I2I2"):pack(5, 0x2000, 1, 0, 0, 0)))
    end)
  end

  it("outlives what is no query", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(socket:connect("127.0.0.1", server.port))
    socket:send_many { "", "short", ("\255"):rep(500), (">I2I2I2I2I2I2"):pack(5, 0x8000, 1, 0, 0, 0) }
    assert(socket:send(query(7, "a.test", 1)))
    assert.equal(7, (taken_apart(assert(socket:set_timeout(5):recv()))))
    local stream <close> = process.connect(server.port)
    stream:write "\0\5short"
    assert.same({}, { stream:read() })
    process.connect(server.port):reset()
    assert.equal(7, (taken_apart(assert(ask_tcp(query(7, "a.test", 1))))))
  end)

  it("answers many queries on one connection, sent at once", function()
    local stream <close> = process.connect(server.port)
    local parts = {}
    for id = 1, 100 do
      parts[id] = (">s2"):pack(query(id, "a.test", 1))
    end
    assert(stream:write(table.concat(parts)))
    for id = 1, 100 do
      assert.equal(id, (taken_apart(stream:read_exact((">I2"):unpack(stream:read_exact(2))))))
    end
  end)

  it("wants names with addresses", function()
    for _, entry in ipairs { "nonsense", "a.test=", "=1.2.3.4", "a.test=b.test" } do
      local code, output = process.run(process.interpreter, script, 0, entry)
      assert.equal(1, code, output)
      assert.is_truthy(output:find("usage: ", 1, true) or output:find("EINVAL", 1, true) or
        output:find("address", 1, true), output)
    end
  end)
end)

example("worker_pool.lua", function(script)
  it("does every job once, whatever the number of workers", function()
    for _, workers in ipairs { 1, 3, 40 } do
      local code, output = process.run(process.interpreter, script, workers, 30)
      assert.equal(0, code, output)
      local steps, count = {}, 0
      for worker, n, taken in output:gmatch "worker (%d+): (%d+) takes (%d+) steps\n" do
        assert.is_true(tonumber(worker) <= workers)
        assert.is_nil(steps[tonumber(n)])
        steps[tonumber(n)] = tonumber(taken)
        count = count + 1
      end
      assert.equal(30, count)
      assert.same({ 0, 1, 7, 2, 5, 8, 16 }, { table.unpack(steps, 1, 7) })
      assert.equal(111, steps[27])
      assert.is_truthy(output:find(("\n30 jobs done by %d workers\n$"):format(workers)), output)
    end
  end)

  it("ends at once without a job", function()
    local code, output = process.run(process.interpreter, script, 2, 0)
    assert.equal(0, code)
    assert.equal("0 jobs done by 2 workers\n", output)
  end)
end)

example("all_cores.lua", function(script)
  it("serves on one port from every thread, and says who served what", function()
    local server <close> = process.serve(script, 0, 3)
    local counts = { 0, 0, 0 }
    for _ = 1, 40 do
      local stream <close> = process.connect(server.port)
      for _ = 1, 2 do
        assert(stream:write "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert.equal("HTTP/1.1 200 OK", stream:read_line())
        assert.equal("Content-Length: 20", stream:read_line())
        assert.equal("", stream:read_line())
        local thread = math.tointeger(tonumber(stream:read_line():match "^hello from thread (%d)$"))
        counts[thread] = counts[thread] + 1
      end
    end
    assert.equal(80, counts[1] + counts[2] + counts[3])
    server:signal "TERM"
    local code, rest = server:wait()
    assert.equal(0, code, rest)
    assert.equal(("thread 1 served %d requests\nthread 2 served %d requests\nthread 3 served %d requests\n")
      :format(table.unpack(counts)), rest)
  end)
end)

example("graceful_server.lua", function(script)
  it("answers until one says shutdown, then tells everybody and ends", function()
    local server <close> = process.serve(script, 0)
    local ada, bob = process.connect(server.port), process.connect(server.port)
    for _, stream in ipairs { ada, bob } do
      stream:write "hello\nagain\n"
      assert.equal("HELLO", stream:read_line())
      assert.equal("AGAIN", stream:read_line())
    end
    ada:write "half a li"
    bob:write "shutdown\n"
    for _, stream in ipairs { ada, bob } do
      assert.equal("goodbye", stream:read_line())
      local line, err = stream:read_line()
      assert.is_nil(line)
      assert.is_nil(err)
      stream:close()
    end
    local code, rest = server:wait()
    assert.equal(0, code, rest)
    assert.equal("shutting down\neverybody has gone\n", rest)
    local _, err = tcpnet.TcpStream.connect("127.0.0.1", server.port)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("ends in the same way at SIGTERM, with nobody there too", function()
    local server <close> = process.serve(script, 0)
    local stream <close> = process.connect(server.port)
    stream:write "hello\n"
    assert.equal("HELLO", stream:read_line())
    server:signal "TERM"
    assert.equal("goodbye", stream:read_line())
    stream:close()
    assert.same({ 0, "shutting down\neverybody has gone\n" }, { server:wait() })
    local idle <close> = process.serve(script, 0)
    idle:signal "TERM"
    assert.same({ 0, "shutting down\neverybody has gone\n" }, { idle:wait() })
  end)

  it("outlives clients that leave, and resets", function()
    local server <close> = process.serve(script, 0)
    process.connect(server.port):close()
    process.connect(server.port):reset()
    local stream <close> = process.connect(server.port)
    stream:write "still here\nshutdown\n"
    assert.equal("STILL HERE", stream:read_line())
    assert.equal("goodbye", stream:read_line())
    stream:close()
    assert.equal(0, (server:wait()))
  end)
end)

example("mio_loop.lua", function(script)
  it("gives back what it gets, to several at once", function()
    local server <close> = process.serve(script, 0)
    local one <close> = process.connect(server.port)
    local two <close> = process.connect(server.port)
    for _, text in ipairs { "hello", "\0\255\r\n", "again" } do
      for _, stream in ipairs { one, two } do
        assert.equal(#text, stream:write(text))
      end
      for _, stream in ipairs { two, one } do
        assert.equal(text, stream:read_exact(#text))
      end
    end
  end)

  it("gives back everything after a half-close", function()
    local server <close> = process.serve(script)
    local bytes = noise(1 << 20)
    assert.is_true(process.round_trip(server.port, bytes) == bytes)
  end)

  it("goes on where one that did not read for a while begins to, and serves the others meanwhile", function()
    local server <close> = process.serve(script)
    local bytes = noise(1 << 20):rep(32) -- more than all the buffers between them hold
    local slow <close> = process.connect(server.port)
    local writer = tcpnet.spawn(function() return slow:set_write_timeout(60):write(bytes) end)
    tcpnet.sleep(0.1)
    assert.equal("quick", process.round_trip(server.port, "quick"))
    assert.equal("waiting", writer:status())
    assert.is_true(slow:read_exact(#bytes) == bytes)
    assert.same({ true, #bytes }, { writer:join(10) })
  end)

  it("outlives connections that are reset", function()
    local server <close> = process.serve(script, 0)
    for _ = 1, 20 do
      process.connect(server.port):reset()
    end
    assert.equal("still here", process.round_trip(server.port, "still here"))
  end)
end)

example("rig_redis.lua", function(script)
  it("starts a Redis, talks to it and ends it", function()
    if process.shell "command -v redis-server" ~= 0 then
      return pending "needs redis-server"
    end
    local code, output = process.run(process.interpreter, script)
    assert.same({ 0, "PONG\tOK\ta value\nredis-server ended with 0\n" }, { code, output })
  end)

  it("says so where there is none, or where it ends at once", function()
    local folder <close> = program.folder()
    local _, interpreter = process.shell("command -v \"$1\"", process.interpreter)
    interpreter = interpreter:match "[^\n]+"
    local code, output = process.run("env", "PATH=" .. folder.path, interpreter, script)
    assert.equal(1, code, output)
    assert.is_truthy(output:find("ENOENT", 1, true), output)
    local fake = program.write(folder.path .. "/redis-server", "#!/bin/sh\necho no room for it\nexit 3\n")
    assert(os.execute("chmod +x " .. fake))
    code, output = process.run("env", "PATH=" .. folder.path .. ":/usr/bin:/bin", interpreter, script)
    assert.equal(1, code, output)
    assert.is_truthy(output:find("redis-server ended with 3:\nno room for it", 1, true), output)
  end)
end)

describe("examples/", function()
  local scripts = dir.getfiles("examples", "*.lua")

  it("has nothing but what is run above", function()
    local names = {}
    for i, script in ipairs(scripts) do
      names[i] = path.basename(script)
    end
    table.sort(names)
    table.sort(covered)
    assert.same(names, covered)
  end)

  it("is listed in its README", function()
    local readme = assert(io.open("examples/README.md")):read "a"
    for _, name in ipairs(covered) do
      assert.is_truthy(readme:find("](" .. name .. ")", 1, true), name)
    end
  end)

  it("keeps each under 50 lines, with a head that tells how to run it", function()
    for _, script in ipairs(scripts) do
      local count, text = 0, {}
      for line in io.lines(script) do
        count = count + 1
        text[count] = line
      end
      assert.is_true(count < 50, ("%s has %d lines"):format(script, count))
      local head = table.concat(text, "\n"):match "^(%-%-[^\n]*\n%-%-.-)\n[^-]"
      assert.is_truthy(head and head:find("./dev lua " .. script, 1, true), script)
    end
  end)
end)
