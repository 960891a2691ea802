-- Real programs against the library: clients on our servers, our streams on real servers.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local process = require "spec.support.process"
local tcpnet = require "tcpnet"

-- The output of a program that must succeed.
local function succeed(code, output)
  assert.equal(0, code, output)
  return output
end

describe("the programs of this spec", function()
  local programs = "redis-server redis-cli redis-benchmark curl wrk socat nc nginx systemd-socket-activate"
  for name in programs:gmatch "%S+" do
    it("include " .. name, function()
      succeed(process.shell('command -v "$1"', name))
    end)
  end
end)

describe("clients of redis", function()
  local server
  setup(function() server = process.serve "examples/resp_server.lua" end)
  teardown(function() server:stop() end)

  local function benchmark(...)
    local output = succeed(process.run("redis-benchmark", "-h", "127.0.0.1", "-p", server.port,
      "-t", "ping,set,get,incr", "-n", 2000, "-c", 20, "--csv", ...))
    assert.is_nil(output:find "ERR" or output:find "[Ee]rror" or output:find "WARNING", output)
    local rows = select(2, output:gsub('\n"[A-Z_]+","[%d.]+"', ""))
    assert.equal(5, rows, output) -- PING in two ways
  end

  it("redis-benchmark runs", function()
    benchmark()
  end)

  it("redis-benchmark -P 16 runs", function()
    benchmark("-P", 16)
  end)

  it("redis-cli reads and writes", function()
    local function cli(...)
      return (succeed(process.run("redis-cli", "-p", server.port, ...)):gsub("\n+$", ""))
    end
    assert.equal("PONG", cli "PING")
    assert.equal("OK", cli("SET", "name", "a b"))
    assert.equal("a b", cli("GET", "name"))
    assert.equal("1", cli("DEL", "name"))
    assert.equal("", cli("GET", "name"))
    assert.equal("1", cli("INCR", "count"))
    assert.equal("2", cli("INCR", "count"))
    assert.equal("x y", cli("ECHO", "x y"))
    assert.is_truthy(cli("INCR", "count", "more"):find "^ERR ")
  end)

  it("redis-cli --pipe sends in bulk", function()
    local output = succeed(process.shell(
      'i=0; while [ $i -lt 500 ]; do echo "SET key$i value$i"; i=$((i + 1)); done | redis-cli -p "$1" --pipe',
      server.port))
    assert.is_truthy(output:find("errors: 0, replies: 500", 1, true), output)
  end)
end)

describe("clients of HTTP", function()
  local server, url
  setup(function()
    server = process.serve "examples/http_hello.lua"
    url = "http://127.0.0.1:" .. server.port
  end)
  teardown(function() server:stop() end)

  it("curl keeps one connection for several URLs", function()
    local output = succeed(process.run("curl", "-sS", "-w", " %{http_code} %{num_connects}\n",
      url .. "/a", url .. "/b", url .. "/c"))
    assert.equal("Hello, world!\n 200 1\nHello, world!\n 200 0\nHello, world!\n 200 0\n", output)
  end)

  it("curl asks for the head, in HTTP/1.0 and with Connection: close", function()
    local output = succeed(process.run("curl", "-sS", "--max-time", 5, "--head", url))
    assert.is_truthy(output:find("Content-Length: 14\r\n", 1, true), output)
    assert.equal("Hello, world!\n", succeed(process.run("curl", "-sS", "--max-time", 5, "--http1.0", url)))
    output = succeed(process.run("curl", "-sS", "--max-time", 5, "-H", "Connection: close", "-i", url))
    assert.is_truthy(output:find("Connection: close\r\n", 1, true), output)
  end)

  it("curl uploads, waiting for 100 Continue, and goes on", function()
    local output = succeed(process.shell([[head -c 3000000 /dev/zero | curl -sS --max-time 10 \
      -H 'Expect: 100-continue' --data-binary @- -w ' %{http_code} %{num_connects}\n' "$1/up" "$1/again"]], url))
    assert.equal("Hello, world!\n 200 1\nHello, world!\n 200 0\n", output)
  end)

  it("wrk finds no errors", function()
    local output = succeed(process.run("wrk", "-c", 50, "-d", "2s", url))
    assert.is_nil(output:find "Socket errors" or output:find "Non%-2xx", output)
    assert.is_true(tonumber(output:match "(%d+) requests in") > 50, output)
  end)
end)

describe("clients of the echo server", function()
  local server
  setup(function() server = process.serve "examples/echo_server.lua" end)
  teardown(function() server:stop() end)

  -- A file goes out, the write side is shut down, and all of it comes back.
  for name, command in pairs {
    socat = 'socat -t 20 - "TCP:127.0.0.1:$1"',
    nc = 'nc -N 127.0.0.1 "$1"',
  } do
    it(name .. " gets a file back after its half-close", function()
      local folder <close> = program.folder()
      local output = succeed(process.shell(("cd \"$2\" && head -c 3000000 /dev/urandom >sent &&\n"
        .. "%s <sent >back && sha256sum <sent && sha256sum <back"):format(command), server.port, folder))
      local sent, back = output:match "^(%x+)  %-\n(%x+)  %-\n$"
      assert.equal(64, #(sent or ""), output)
      assert.equal(sent, back)
    end)
  end
end)

describe("a stream to redis-server", function()
  local folder, server, port
  setup(function()
    folder, port = program.folder(), process.free_port()
    server = process.start("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder,
      "--save", "", "--appendonly", "no", "--daemonize", "no")
    process.connect(port):close()
  end)
  teardown(function()
    server:stop()
    getmetatable(folder).__close(folder)
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  local function encode(...)
    local list = { "*", select("#", ...), "\r\n" }
    for _, word in ipairs { ... } do
      word = tostring(word)
      table.move({ "$", #word, "\r\n", word, "\r\n" }, 1, 5, #list + 1, list)
    end
    return table.concat(list)
  end

  -- The next reply: a string, an integer, a list, or false for none; nil, err as the stream gives it.
  local function reply(stream)
    local line, err = stream:read_line()
    if not line then
      return nil, err
    end
    local kind, rest = line:sub(1, 1), line:sub(2)
    local number = math.tointeger(tonumber(rest))
    if kind == "$" then
      return number >= 0 and stream:read_exact(number + 2):sub(1, -3)
    elseif kind == "*" then
      local list = {}
      for i = 1, number do
        list[i] = reply(stream)
      end
      return list
    end
    return kind == ":" and number or rest
  end

  local function ask(stream, ...)
    assert(stream:write(encode(...)))
    return reply(stream)
  end

  it("speaks PING, SET, GET and INCR", function()
    local stream <close> = process.connect(port)
    assert.equal("PONG", ask(stream, "PING"))
    assert.equal("OK", ask(stream, "SET", "key", "\0\r\n\255"))
    assert.equal("\0\r\n\255", ask(stream, "GET", "key"))
    assert.is_false(ask(stream, "GET", "no such key"))
    assert.equal(1, ask(stream, "INCR", "count"))
    assert.is_truthy(ask(stream, "INCR", "key"):find "^ERR ")
    assert.same({ "\0\r\n\255", "1" }, ask(stream, "MGET", "key", "count"))
  end)

  it("pipelines", function()
    local stream <close> = process.connect(port)
    ask(stream, "DEL", "count")
    assert(stream:write((encode("INCR", "count") .. encode("GET", "count")):rep(2000)))
    for i = 1, 2000 do
      assert.equal(i, reply(stream))
      assert.equal(tostring(i), reply(stream))
    end
    assert.equal(0, stream:buffered())
  end)

  it("carries a value of eight megabytes", function()
    local stream <close> = process.connect(port)
    local value = ("0123456789abcde\n"):rep(1 << 19)
    assert.equal("OK", ask(stream, "SET", "large", value))
    assert.is_true(value == ask(stream, "GET", "large"))
    assert.equal(1, ask(stream, "DEL", "large"))
  end)

  it("serves many streams at once", function()
    local sum = 0
    local outcomes = tcpnet.each({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 10, function(n)
      local stream <close> = process.connect(port)
      for _ = 1, 50 do
        ask(stream, "INCRBY", "sum" .. n, n)
      end
      return tonumber(ask(stream, "GET", "sum" .. n))
    end)
    for _, outcome in ipairs(outcomes) do
      assert.is_true(outcome[1], tostring(outcome[2]))
      sum = sum + outcome[2]
    end
    assert.equal(50 * 55, sum)
  end)

  it("waits for another's message, and times out without harm", function()
    local listener <close> = process.connect(port)
    assert.same({ "subscribe", "news", 1 }, ask(listener, "SUBSCRIBE", "news"))
    listener:set_read_timeout(0.05)
    local late, err = reply(listener)
    assert.is_nil(late)
    assert.equal("TIMEOUT", err.code)
    listener:set_read_timeout(10)
    tcpnet.run(function()
      local waiting = tcpnet.spawn(reply, listener)
      local publisher <close> = process.connect(port)
      assert.equal(1, ask(publisher, "PUBLISH", "news", "good"))
      local _, message = assert(waiting:join())
      assert.same({ "message", "news", "good" }, message)
    end)
  end)

  it("is gone from the server after a reset", function()
    local other <close> = process.connect(port)
    local stream = process.connect(port)
    local id = ask(stream, "CLIENT", "ID")
    stream:write(encode("ECHO", ("x"):rep(100000)))
    stream:reset()
    local _, err = stream:read()
    assert.equal("CLOSED", err.code)
    local give_up = tcpnet.now() + 5
    while ask(other, "CLIENT", "LIST", "ID", id) ~= "" and tcpnet.now() < give_up do
      tcpnet.sleep(0.01)
    end
    assert.equal("", ask(other, "CLIENT", "LIST", "ID", id))
  end)

  it("sees the end when the server drops it", function()
    local stream <close> = process.connect(port)
    local other <close> = process.connect(port)
    local id = ask(stream, "CLIENT", "ID")
    assert.equal(1, ask(other, "CLIENT", "KILL", "ID", id))
    assert.same({}, { stream:read() })
    assert.equal("PONG", ask(other, "PING"))
  end)

  it("sees an end, or a reset, when the server is shut down", function()
    local own = process.free_port()
    local short_lived <close> = process.start("redis-server", "--port", own, "--bind", "127.0.0.1", "--save", "")
    local stream <close> = process.connect(own)
    local idle <close> = process.connect(own)
    stream:write(encode("SHUTDOWN", "NOSAVE"))
    for _, one in ipairs { stream, idle } do
      local bytes, err = one:read()
      assert.is_nil(bytes)
      assert.is_truthy(err == nil or err.code == "ECONNRESET", tostring(err))
    end
    assert.equal(0, (short_lived:wait()))
    local refused, err = tcpnet.TcpStream.connect("127.0.0.1", own)
    assert.is_nil(refused)
    assert.equal("ECONNREFUSED", err.code)
  end)
end)

describe("a stream to nginx", function()
  local folder, server, port, bytes
  setup(function()
    folder, port = program.folder(), process.free_port()
    local path = tostring(folder)
    assert(os.execute(("mkdir %s/files && head -c 1000000 /dev/urandom >%s/files/noise"):format(path, path)))
    bytes = assert(io.open(path .. "/files/noise", "rb")):read "a"
    program.write(path .. "/files/empty", "")
    program.write(path .. "/nginx.conf", (([[
      daemon off; master_process off; pid %s/pid; error_log %s/errors;
      events { worker_connections 200; }
      http {
        access_log off;
        client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4;
        scgi_temp_path %s/t5;
        server { listen 127.0.0.1:PORT; root %s/files; keepalive_requests 20; }
      }]]):gsub("%%s", path):gsub("PORT", port)))
    server = process.start("nginx", "-p", path, "-c", path .. "/nginx.conf", "-e", path .. "/errors")
    process.connect(port):close()
  end)
  teardown(function()
    server:stop()
    getmetatable(folder).__close(folder)
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  local function request(method, name, more)
    return ("%s /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(method, name, more or "")
  end

  -- → status, headers by name
  local function read_head(stream)
    local status = assert(stream:read_line()):match "^HTTP/1%.1 (%d+)"
    local headers = {}
    for line in stream:lines() do
      local name, value = line:match "^([^:]+): (.*)$"
      if not name then
        break
      end
      headers[name:lower()] = value
    end
    return tonumber(status), headers
  end

  local function get(stream, name)
    assert(stream:write(request("GET", name)))
    local status, headers = read_head(stream)
    return status, assert(stream:read_exact(tonumber(headers["content-length"])))
  end

  it("gets files over one connection, by Content-Length", function()
    local stream <close> = process.connect(port)
    for _ = 1, 5 do
      local status, body = get(stream, "noise")
      assert.equal(200, status)
      assert.is_true(body == bytes)
      assert.same({ 200, "" }, { get(stream, "empty") })
      assert.equal(404, (get(stream, "missing")))
    end
    assert.equal(0, stream:buffered())
  end)

  it("pipelines, a HEAD between", function()
    local stream <close> = process.connect(port)
    assert(stream:write(request("GET", "noise"), request("HEAD", "noise"), request("GET", "noise")))
    for _, has_body in ipairs { true, false, true } do
      local status, headers = read_head(stream)
      assert.equal(200, status)
      assert.equal(tostring(#bytes), headers["content-length"])
      assert.is_true(not has_body or stream:read_exact(#bytes) == bytes)
    end
  end)

  it("reads to the end where the server closes", function()
    local stream <close> = process.connect(port)
    assert(stream:write(request("GET", "noise", "Connection: close\r\n")))
    assert.equal(200, (read_head(stream)))
    assert.is_true(stream:read_to_end() == bytes)
    assert.same({}, { stream:read() })
  end)

  it("sees the end after the last request that the server allows", function()
    local stream <close> = process.connect(port)
    for _ = 1, 20 do
      assert.equal(200, (get(stream, "empty")))
    end
    assert.same({}, { stream:read() })
  end)

  it("gets a part of a file with read_into", function()
    local stream <close> = process.connect(port)
    local buffer = tcpnet.Buffer.new(1000)
    assert(stream:write(request("GET", "noise", "Range: bytes=500-1499\r\n")))
    assert.equal(206, (read_head(stream)))
    while #buffer < 1000 do
      assert(stream:read_into(buffer))
    end
    assert.is_true(tostring(buffer) == bytes:sub(501, 1500))
  end)

  it("gets it a hundred times at once", function()
    local numbers = {}
    for i = 1, 100 do
      numbers[i] = i
    end
    local outcomes = tcpnet.each(numbers, 50, function()
      local stream <close> = process.connect(port)
      local _, body = get(stream, "noise")
      return body == bytes
    end)
    assert.equal(100, #outcomes)
    for _, outcome in ipairs(outcomes) do
      assert.same({ true, true }, outcome)
    end
  end)
end)

describe("listen_fds", function()
  it("takes over the sockets of systemd-socket-activate", function()
    local folder <close> = program.folder()
    local script = program.write(folder.path .. "/server.lua", [[
      io.stdout:setvbuf "line"
      local tcpnet = require "tcpnet"
      local listeners = assert(tcpnet.listen_fds())
      for _, listener in ipairs(listeners) do
        print("has " .. tostring(listener:local_addr()))
      end
      for _, listener in ipairs(listeners) do
        local stream <close> = assert(listener:accept())
        assert(stream:write("got ", assert(stream:read_line()), "\n"))
      end
    ]])
    local first, second = process.free_port(), process.free_port()
    local options = {}
    for _, name in ipairs { "LUA_PATH", "LUA_PATH_5_4", "LUA_CPATH", "LUA_CPATH_5_4", "ASAN_OPTIONS" } do
      if os.getenv(name) then
        table.move({ "-E", name }, 1, 2, #options + 1, options)
      end
    end
    if os.getenv "LD_PRELOAD" then
      table.move({ "-E", "LD_PRELOAD=" .. os.getenv "LD_PRELOAD" }, 1, 2, #options + 1, options)
    end
    table.move({ process.interpreter, script }, 1, 2, #options + 1, options)
    local server <close> = process.start("systemd-socket-activate", "-l", "127.0.0.1:" .. first,
      "-l", "127.0.0.1:" .. second, table.unpack(options))
    server:expect "[Ll]istening on"
    for _, port in ipairs { first, second } do
      local stream <close> = process.connect(port)
      stream:write("hello ", port, "\n")
      assert.equal("got hello " .. port, stream:read_line())
      assert.is_nil(stream:read())
    end
    local code, output = server:wait()
    assert.equal(0, code, output)
    assert.is_truthy(output:find("has 127.0.0.1:" .. first .. "\nhas 127.0.0.1:" .. second .. "\n", 1, true), output)
  end)

  it("finds nothing where nothing was passed", function()
    assert.same({}, tcpnet.listen_fds())
  end)
end)
