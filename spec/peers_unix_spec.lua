-- Real programs over Unix sockets: socat, nc, curl, Python, redis-server, postgres; and examples/fd_passing.lua.
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails = tcp.fails
local UnixDatagram, UnixListener, UnixStream = tcpnet.UnixDatagram, tcpnet.UnixListener, tcpnet.UnixStream

-- The output of a program that must succeed.
local function succeed(code, output)
  assert.equal(0, code, output)
  return output
end

-- needs(name) → is it missing? The test is pending then.
local function needs(name)
  local there = tcp.can("command -v " .. name)
  if not there then
    pending(name .. " is not there")
  end
  return not there
end

-- A stream to a server that may need a moment to start.
local function connect(path)
  local give_up = tcpnet.now() + 10
  while true do
    local stream, err = UnixStream.connect(path, { timeout = 10 })
    if stream then
      return stream:set_timeout(10)
    end
    assert(err:is("ECONNREFUSED", "ENOENT") and tcpnet.now() < give_up, tostring(err))
    tcpnet.sleep(0.02)
  end
end

local folder, count = nil, 0

local function new_path()
  count = count + 1
  return ("%s/%d"):format(folder, count)
end

local function with_folder()
  setup(function() folder = program.folder() end)
  teardown(function() getmetatable(folder).__close(folder) end)
  before_each(leaks.note)
  after_each(leaks.check)
end

-- A child that listens at the path and serves each connection with that body.
local function serve(path, body)
  local server = process.lua(program.write(new_path(), ([[
    local tcpnet = require "tcpnet"
    io.stdout:setvbuf "line"
    local listener = assert(tcpnet.UnixListener.bind(%q))
    print "ready"
    for stream in listener:incoming() do
      tcpnet.spawn(function()
        local stream <close> = stream
        %s
      end)
    end
  ]]):format(path, body)))
  server:expect "^ready$"
  return server
end

local ECHO = "tcpnet.copy(stream, stream)"

describe("socat", function()
  with_folder()

  local function round_trip(command, ...)
    local output = succeed(process.shell(
      ('cd "$1" && head -c 3000000 /dev/urandom >sent && %s <sent >back && sha256sum <sent && sha256sum <back')
        :format(command), folder, ...))
    local sent, back = output:match "^(%x+)  %-\n(%x+)  %-\n$"
    assert.equal(64, #(sent or ""), output)
    assert.equal(sent, back)
  end

  it("UNIX-CONNECT gets a file back from our listener after its half-close", function()
    if needs "socat" then return end
    local path = new_path()
    local _server <close> = serve(path, ECHO)
    round_trip('socat -t 20 - "UNIX-CONNECT:$2"', path)
  end)

  it("ABSTRACT-CONNECT does, too", function()
    if needs "socat" then return end
    local name = new_path()
    local _server <close> = serve("@" .. name, ECHO)
    round_trip('socat -t 20 - "ABSTRACT-CONNECT:$2"', name)
  end)

  for _, kind in ipairs { "UNIX", "ABSTRACT" } do
    it(kind .. "-LISTEN gives us our bytes back after our half-close", function()
      if needs "socat" then return end
      local path = new_path()
      local _server <close> = process.start("socat", "-t", 20, kind .. "-LISTEN:" .. path .. ",fork", "EXEC:cat")
      tcpnet.run(function()
        local stream <close> = connect((kind == "ABSTRACT" and "@" or "") .. path)
        local text = tcp.bytes(3000000)
        local writer = tcpnet.spawn(function()
          assert(stream:write(text))
          assert(stream:shutdown())
        end)
        assert.is_true(stream:read_to_end() == text)
        assert.is_true(writer:join(5))
      end)
    end)

    it(kind .. "-SENDTO sends us datagrams", function()
      if needs "socat" then return end
      local path, own = new_path(), new_path()
      local server <close> = assert(UnixDatagram.bind((kind == "ABSTRACT" and "@" or "") .. path))
      server:set_timeout(10)
      succeed(process.shell('printf one | socat -u - "$1-SENDTO:$2"', kind, path))
      succeed(process.shell('printf three | socat -u - "$1-SENDTO:$2,bind=$3"', kind, path, own))
      assert.equal("one", server:recv())
      local data, from = server:recv_from()
      assert.equal("three", data)
      assert.equal((kind == "ABSTRACT" and "@" or "") .. own, from:path())
    end)

    it(kind .. "-RECVFROM answers our datagrams", function()
      if needs "socat" then return end
      local prefix = kind == "ABSTRACT" and "@" or ""
      local path, own = new_path(), new_path()
      local _server <close> = process.start("socat", kind .. "-RECVFROM:" .. path .. ",fork", "EXEC:cat")
      local client <close> = assert(UnixDatagram.bind(prefix .. own))
      client:set_timeout(10)
      local give_up = tcpnet.now() + 10
      local sent, err
      repeat
        sent, err = client:send_to("ping 1", prefix .. path)
        if not sent then
          assert(err:is("ENOENT", "ECONNREFUSED"), tostring(err))
          tcpnet.sleep(0.02)
        end
      until sent or tcpnet.now() > give_up
      for i = 1, 3 do
        assert.equal("ping " .. i, (client:recv()))
        if i < 3 then
          client:send_to("ping " .. i + 1, prefix .. path)
        end
      end
    end)
  end

  it("that is killed leaves a stale socket, which unlink replaces", function()
    if needs "socat" then return end
    local path = new_path()
    local server = process.start("socat", "-t", 20, "UNIX-LISTEN:" .. path .. ",fork,unlink-close=0", "EXEC:cat")
    connect(path):close()
    fails("EADDRINUSE", UnixListener.bind(path, { unlink = true }))
    server:stop()
    fails("EADDRINUSE", UnixListener.bind(path))
    local listener <close> = assert(UnixListener.bind(path, { unlink = true }))
    assert.is_false(listener:closed())
  end)
end)

describe("nc", function()
  with_folder()

  it("-U gets its bytes back from our listener", function()
    if needs "nc" then return end
    if not tcp.can "sh -c 'nc -h 2>&1 | grep -q -e -U'" then
      pending "this nc knows no Unix sockets"
      return
    end
    local path = new_path()
    local _server <close> = serve(path, ECHO)
    assert.equal("hello", succeed(process.shell('printf hello | nc -N -U "$1"', path)))
  end)
end)

describe("curl", function()
  with_folder()

  local HELLO = [[
    while true do
      local line = stream:read_line()
      if not line then
        return
      end
      repeat until stream:read_line() == ""
      local body = line .. "\n"
      stream:write("HTTP/1.1 200 OK\r\nContent-Length: ", #body, "\r\n\r\n", body)
    end
  ]]

  it("--unix-socket keeps one connection for several URLs", function()
    if needs "curl" then return end
    local path = new_path()
    local _server <close> = serve(path, HELLO)
    local output = succeed(process.run("curl", "-sS", "--max-time", 10, "--unix-socket", path,
      "-w", "%{http_code} %{num_connects}\n", "http://localhost/a", "http://localhost/b"))
    assert.equal("GET /a HTTP/1.1\n200 1\nGET /b HTTP/1.1\n200 0\n", output)
  end)

  it("--abstract-unix-socket finds an abstract name", function()
    if needs "curl" then return end
    local name = new_path()
    local _server <close> = serve("@" .. name, HELLO)
    local output = succeed(process.run("curl", "-sS", "--max-time", 10, "--abstract-unix-socket", name,
      "http://localhost/c"))
    assert.equal("GET /c HTTP/1.1\n", output)
  end)
end)

describe("Python", function()
  with_folder()

  it("sends us descriptors with its bytes, and takes ours", function()
    if needs "python3" then return end
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    local script = program.write(new_path(), [[
import array, os, socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
ours, theirs = socket.socketpair()
channel.sendall(b"first\n")
channel.sendmsg([b"two come\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()] * 2))])
channel.sendall(b"last\n")
theirs.close()
data, control, flags, _ = channel.recvmsg(10, 200)
fds = array.array("i")
fds.frombytes(control[0][2])
got = socket.socket(fileno=fds[0])
got.sendall(b"from python")
got.close()
print(data, len(fds), ours.recv(100, socket.MSG_WAITALL))
]])
    local child <close> = process.start("python3", script, path)
    local stream <close> = assert(listener:accept())
    stream:set_timeout(10)
    assert.equal("first", stream:read_line())
    assert.equal("two come", stream:read_line())
    local one <close> = assert(UnixStream.from_fd((assert(stream:recv_fd()))))
    local two <close> = assert(UnixStream.from_fd((assert(stream:recv_fd()))))
    fails("EBUSY", stream:recv_fd())
    assert.equal("last", stream:read_line())
    local here, there = UnixStream.pair()
    local _guard <close> = tcp.guard(here, there)
    stream:send_fd(there)
    there:close()
    assert.equal("from python", here:set_timeout(10):read_to_end())
    one:write "one "
    two:write "two"
    one:close()
    two:close()
    local code, output = child:wait()
    assert.equal("b'\\x00' 1 b'one two'\n", output)
    assert.equal(0, code)
  end)
end)

describe("redis-server over its Unix socket", function()
  local server, path
  local missing = not tcp.can "command -v redis-server"
  setup(function()
    folder = program.folder()
    path = new_path()
    if not missing then
      server = process.start("redis-server", "--port", 0, "--unixsocket", path, "--dir", folder,
        "--save", "", "--appendonly", "no", "--daemonize", "no")
      connect(path):close()
    end
  end)
  teardown(function()
    if server then
      server:stop()
    end
    getmetatable(folder).__close(folder)
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  local function redis(name, fn)
    it(name, function()
      if missing then
        pending "redis-server is not there"
        return
      end
      local stream <close> = connect(path)
      fn(stream)
    end)
  end

  local function encode(...)
    local list = { "*", select("#", ...), "\r\n" }
    for _, word in ipairs { ... } do
      word = tostring(word)
      table.move({ "$", #word, "\r\n", word, "\r\n" }, 1, 5, #list + 1, list)
    end
    return table.concat(list)
  end

  local function reply(stream)
    local line = assert(stream:read_line())
    local kind, rest = line:sub(1, 1), line:sub(2)
    local number = math.tointeger(tonumber(rest))
    if kind == "$" then
      return number >= 0 and stream:read_exact(number + 2):sub(1, -3)
    end
    return kind == ":" and number or rest
  end

  local function ask(stream, ...)
    assert(stream:write(encode(...)))
    return reply(stream)
  end

  redis("speaks PING, SET, GET and INCR", function(stream)
    assert.equal("PONG", ask(stream, "PING"))
    assert.equal("OK", ask(stream, "SET", "key", "\0\r\n\255"))
    assert.equal("\0\r\n\255", ask(stream, "GET", "key"))
    assert.is_false(ask(stream, "GET", "no such key"))
    assert.equal(1, ask(stream, "INCR", "count"))
    assert.equal(path, stream:peer_addr():path())
  end)

  redis("pipelines, and carries a value of eight megabytes", function(stream)
    ask(stream, "DEL", "count")
    assert(stream:write((encode("INCR", "count")):rep(2000)))
    for i = 1, 2000 do
      assert.equal(i, reply(stream))
    end
    local value = ("0123456789abcde\n"):rep(1 << 19)
    assert.equal("OK", ask(stream, "SET", "large", value))
    assert.is_true(value == ask(stream, "GET", "large"))
    assert.equal(0, stream:buffered())
  end)

  redis("knows whose process we are", function(stream)
    local id = ask(stream, "CLIENT", "ID")
    assert.matches("addr=" .. path .. ":0", ask(stream, "CLIENT", "LIST", "ID", id), 1, true)
    assert.equal(server and "integer", math.type(stream:peer_cred().pid))
  end)

  redis("ends the stream of a client that it is told to kill", function(stream)
    local other <close> = connect(path)
    assert.equal(1, ask(other, "CLIENT", "KILL", "ID", ask(stream, "CLIENT", "ID")))
    assert.same({}, { stream:read() })
    assert.equal("PONG", ask(other, "PING"))
  end)
end)

describe("postgres over its Unix socket", function()
  local server, path, reason

  -- Postgres refuses to run as root: as its own user then, or as nobody.
  local function prefix()
    if not tcp.can "test $(id -u) = 0" then
      return ""
    elseif not tcp.can "command -v setpriv" then
      return nil
    end
    local user = tcp.can "id postgres" and "postgres" or "nobody"
    return ("setpriv --reuid=$(id -u %s) --regid=$(id -g %s) --clear-groups "):format(user, user), user
  end

  setup(function()
    folder = program.folder()
    local _, bin = program.shell [[
      PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin /usr/libexec/postgresql* 2>/dev/null | tail -n 1)
      command -v postgres >/dev/null && command -v initdb >/dev/null && dirname "$(command -v initdb)"]]
    bin = bin:match "^(/[^\n]*)\n$"
    local as, user = prefix()
    reason = not bin and "postgres is not there" or not as and "setpriv is not there, and postgres refuses root"
    if reason then
      return
    end
    local own = user and ("chown %s '%s' && "):format(user, folder) or ""
    local code, output = program.shell(("cd / && unset LD_PRELOAD && %s%s '%s/initdb' -D '%s/data' -U tester -A trust"
      .. " -E UTF8 --no-locale --no-sync"):format(own, as, bin, folder))
    if code ~= 0 then
      reason = "initdb failed: " .. output
      return
    end
    server = process.start("sh", "-c", ("cd / && exec %s'%s/postgres' -D '%s/data' -k '%s' -F -c listen_addresses=''")
      :format(as, bin, folder, folder))
    path = folder.path .. "/.s.PGSQL.5432"
    connect(path):close()
  end)

  teardown(function()
    if server then
      server:stop()
    end
    getmetatable(folder).__close(folder)
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  -- The next message: its type and what is in it.
  local function receive(stream)
    local head = assert(stream:read_exact(5))
    local kind, length = (">c1I4"):unpack(head)
    return kind, assert(stream:read_exact(length - 4))
  end

  -- Messages up to ReadyForQuery, by type.
  local function receive_all(stream)
    local all = {}
    while true do
      local kind, body = receive(stream)
      all[kind] = all[kind] or {}
      table.insert(all[kind], body)
      if kind == "Z" then
        return all
      end
    end
  end

  local function log_in()
    local give_up = tcpnet.now() + 20
    while true do -- it answers "the database system is starting up" at first
      local stream = connect(path)
      local parameters = "user\0tester\0database\0postgres\0\0"
      stream:write((">I4I4"):pack(#parameters + 8, 196608), parameters)
      local kind, body = receive(stream)
      if kind == "R" then
        assert.equal((">I4"):pack(0), body) -- AuthenticationOk
        return stream, receive_all(stream)
      end
      stream:close()
      assert(kind == "E" and body:find("57P03", 1, true) and tcpnet.now() < give_up, body)
      tcpnet.sleep(0.02)
    end
  end

  local function query(stream, text)
    stream:write("Q", (">I4"):pack(#text + 5), text, "\0")
    return receive_all(stream)
  end

  -- The one column of every DataRow.
  local function column(all)
    local values = {}
    for i, row in ipairs(all.D or {}) do
      values[i] = (">s4"):unpack(row, 3)
    end
    return values
  end

  local function postgres(name, fn)
    it(name, function()
      if reason then
        pending(reason)
        return
      end
      local stream, start = log_in()
      local _stream <close> = stream
      fn(stream, start)
    end)
  end

  postgres("lets us in and answers SELECT 1", function(stream, start)
    assert.is_truthy(start.K and #start.S > 5)
    assert.same({ "I" }, start.Z)
    local answer = query(stream, "SELECT 1")
    assert.same({ "1" }, column(answer))
    assert.same({ "SELECT 1\0" }, answer.C)
    assert.equal(path, stream:peer_addr():path())
  end)

  postgres("says what is wrong, and goes on", function(stream)
    local answer = query(stream, "SELECT nonsense")
    assert.matches("C42703\0", answer.E[1], 1, true)
    assert.same({ "2" }, column(query(stream, "SELECT 1 + 1")))
  end)

  postgres("sends many rows, and one of megabytes", function(stream)
    local values = column(query(stream, "SELECT generate_series(1, 20000)"))
    assert.equal(20000, #values)
    assert.equal("20000", values[20000])
    values = column(query(stream, "SELECT repeat('x', 4000000)"))
    assert.is_true(values[1] == ("x"):rep(4000000))
    assert.equal(0, stream:buffered())
  end)

  postgres("ends the stream when it is told goodbye", function(stream)
    stream:write("X", (">I4"):pack(4))
    assert.same({}, { stream:read() })
  end)
end)

describe("examples/fd_passing.lua", function()
  with_folder()

  local function talk(port)
    for i = 1, 5 do
      local stream <close> = process.connect(port)
      assert(stream:write("hello ", i, "\nbye\n"))
      stream:shutdown()
      assert.equal(("worker: hello %d\nworker: bye\n"):format(i), stream:read_to_end())
    end
  end

  it("serves with a task for a worker, many connections, some at once", function()
    local server <close> = process.serve("examples/fd_passing.lua", 0)
    talk(server.port)
    local outcomes = tcpnet.each({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 10, function(n)
      local stream <close> = process.connect(server.port)
      stream:write(n, "\n")
      return stream:read_line()
    end)
    for n = 1, 10 do
      assert.same({ true, "worker: " .. n }, outcomes[n])
    end
    server:expect "^handed over 127%.0%.0%.1:%d+$"
  end)

  it("serves with a process for a worker, which ends with its parent", function()
    local path = new_path()
    local server = process.lua("examples/fd_passing.lua", 0, path)
    server:expect("^waiting for: %./dev lua examples/fd_passing%.lua worker ")
    local worker = process.lua("examples/fd_passing.lua", "worker", path)
    talk(math.tointeger(tonumber(server:expect "^listening on 127%.0%.0%.1:(%d+)$")))
    server:stop()
    assert.same({ 0, "worker: the parent is gone\n" }, { worker:wait() })
  end)
end)
