-- Real programs against datagrams and pipes: dig, socat, nc and logger as peers, children at the ends of pipes.
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local UdpSocket, UnixDatagram = tcpnet.UdpSocket, tcpnet.UnixDatagram

-- test(tools, name, fn): a test that is pending where one of the tools is missing.
local function test(tools, name, fn)
  it(name, function()
    for tool in tools:gmatch "%S+" do
      if process.shell('command -v "$1"', tool) ~= 0 then
        return pending("needs " .. tool)
      end
    end
    return fn()
  end)
end

-- The output of a program that must succeed.
local function succeed(code, output)
  assert.equal(0, code, output)
  return output
end

local function bound(address)
  return assert(UdpSocket.bind(address or "127.0.0.1:0")):set_timeout(20)
end

-- A port of UDP that was free a moment ago, for programs that cannot choose one themselves.
local function free_port()
  local socket <close> = assert(UdpSocket.bind "127.0.0.1:0")
  return socket:local_addr():port()
end

-- until_true(fn) → the first result of fn that is one; for what needs a moment to start.
local function until_true(fn)
  for _ = 1, 500 do
    local result = fn()
    if result then
      return result
    end
    tcpnet.sleep(0.02)
  end
  error("it never comes", 2)
end

-- A sender to a FIFO that a child is about to open.
local function sender_to(path)
  return until_true(function()
    local sender, err = tcpnet.pipe.open_sender(path)
    assert(sender or err.code == "ENXIO", err)
    return sender
  end)
end

-- A path of our descriptor for children, or nil where there is no /proc.
local function path_of(fd)
  local path = ("/proc/%s/fd/%d"):format(succeed(program.shell "echo $PPID"):match "%d+", fd)
  return program.shell("test -e " .. path) == 0 and path or nil
end

describe("dig", function()
  local server
  setup(function()
    server = process.serve("examples/dns_responder.lua", 0, "one.test=192.0.2.1", "many.test=192.0.2.2",
      "many.test=192.0.2.3", "many.test=2001:db8::3a", "long.test=1:2:3:4:5:6:7:8", "any.test=::")
  end)
  teardown(function() server:stop() end)

  local function dig(...)
    return succeed(process.run("dig", "@127.0.0.1", "-p", server.port, "+tries=1", "+time=10", "+norecurse", ...))
  end

  for way, flag in pairs { UDP = "+notcp", TCP = "+tcp" } do
    test("dig", "gets addresses over " .. way, function()
      assert.equal("192.0.2.1\n", dig("one.test", "A", "+short", flag))
      assert.equal("192.0.2.2\n192.0.2.3\n", dig("many.test", "A", "+short", flag))
      assert.equal("2001:db8::3a\n", dig("many.test", "AAAA", "+short", flag))
      assert.equal("1:2:3:4:5:6:7:8\n", dig("LONG.test.", "AAAA", "+short", flag))
      assert.equal("::\n", dig("any.test", "AAAA", "+short", flag))
      assert.equal("", dig("any.test", "A", "+short", flag))
    end)

    test("dig", "understands every answer over " .. way, function()
      local output = dig("many.test", "A", flag)
      assert.matches("status: NOERROR", output, 1, true)
      assert.matches("flags: qr aa; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0", output, 1, true)
      assert.matches("many%.test%.%s+60%s+IN%s+A%s+192%.0%.2%.2\n", output)
      assert.matches("%(" .. way .. "%)", output)
      assert.is_nil(output:lower():find "malformed" or output:find "Warning")
      output = dig("nobody.test", "A", flag)
      assert.matches("status: NXDOMAIN", output, 1, true)
      output = dig("one.test", "MX", flag)
      assert.matches("status: NOERROR", output, 1, true)
      assert.matches("ANSWER: 0", output, 1, true)
      assert.matches("status: NOTIMP", dig("one.test", "+opcode=notify", flag), 1, true)
    end)

    test("dig", "asks several questions in one run over " .. way, function()
      local output = dig("+short", flag, "one.test", "A", "many.test", "AAAA", "any.test", "AAAA")
      assert.equal("192.0.2.1\n2001:db8::3a\n::\n", output)
    end)
  end

  test("dig", "keeps one connection for several questions", function()
    local output = dig("+short", "+tcp", "+keepopen", "one.test", "A", "many.test", "AAAA", "any.test", "AAAA")
    assert.equal("192.0.2.1\n2001:db8::3a\n::\n", output)
  end)
end)

describe("socat", function()
  before_each(leaks.note)
  after_each(leaks.check)

  test("socat", "sends datagrams that we receive, one for each of its reads", function()
    local socket <close> = bound()
    succeed(process.shell('printf "hello you" | socat -u - "UDP4-SENDTO:127.0.0.1:$1"', socket:local_addr():port()))
    local data, from = socket:recv_from()
    assert.equal("hello you", data)
    assert.equal("127.0.0.1", from:ip())
    assert.is_true(from:port() > 0)
  end)

  test("socat", "gives back what we send it", function()
    local port = free_port()
    local _child <close> = process.start("socat", "-T", 20, "UDP4-RECVFROM:" .. port .. ",bind=127.0.0.1,fork",
      "EXEC:cat")
    local socket <close> = bound()
    assert(socket:connect("127.0.0.1", port))
    assert.equal("hello, socat", until_true(function()
      return socket:send "hello, socat" and socket:set_read_timeout(0.5):recv()
    end))
  end)

  test("socat", "is answered by us", function()
    local socket <close> = bound()
    local server <close> = tcpnet.spawn(function()
      local data, from = socket:recv_from()
      assert(socket:send_to(data:upper(), from))
    end)
    local folder <close> = program.folder()
    local output = tostring(folder) .. "/output"
    local child <close> = process.start("sh", "-c",
      'printf question | socat -t 10 - "UDP4:127.0.0.1:$1" >"$2.part" & sleep 0 ; pid=$!; ' ..
      'until [ -s "$2.part" ]; do sleep 0.02; done; kill $pid; mv "$2.part" "$2"', "sh",
      socket:local_addr():port(), output)
    assert(server:join(20))
    local code, said = child:wait()
    assert.equal(0, code, said)
    local file = assert(io.open(output))
    assert.equal("QUESTION", file:read "a")
    file:close()
  end)

  test("socat", "speaks IPv6 with us", function()
    local socket, err = UdpSocket.bind "[::1]:0"
    if not socket then
      return pending(tostring(err))
    end
    local _socket <close> = socket:set_timeout(20)
    succeed(process.shell('printf six | socat -u - "UDP6-SENDTO:[::1]:$1"', socket:local_addr():port()))
    local data, from = socket:recv_from()
    assert.equal("six", data)
    assert.equal("::1", from:ip())
  end)

  test("socat", "sends to a Unix datagram socket", function()
    local folder <close> = program.folder()
    local path = tostring(folder) .. "/socket"
    local socket <close> = assert(UnixDatagram.bind(path)):set_timeout(20)
    succeed(process.shell('printf local | socat -u - "UNIX-SENDTO:$1"', path))
    assert.equal("local", (socket:recv()))
  end)

  test("socat", "reads a FIFO that we write, and writes one that we read", function()
    local folder <close> = program.folder()
    local path, output = tostring(folder) .. "/fifo", tostring(folder) .. "/output"
    succeed(process.run("mkfifo", path))
    local child <close> = process.start("socat", "-u", "PIPE:" .. path .. ",rdonly", "CREATE:" .. output)
    local sender = sender_to(path)
    local data = tcp.bytes(300000)
    assert.equal(#data, sender:write(data))
    sender:close()
    assert.equal(0, (child:wait()))
    local file = assert(io.open(output, "rb"))
    assert.is_true(file:read "a" == data)
    file:close()
    local receiver <close> = assert(tcpnet.pipe.open_receiver(path)):set_timeout(20)
    local writer <close> = process.start("socat", "-u", "OPEN:" .. output, "PIPE:" .. path .. ",wronly")
    assert.is_true(receiver:readable())
    assert.is_true(receiver:read_exact(#data) == data)
    assert.equal(0, (writer:wait()))
    assert.same({}, { receiver:read() })
  end)
end)

describe("nc -u", function()
  before_each(leaks.note)
  after_each(leaks.check)

  test("nc", "sends datagrams that we receive", function()
    local socket <close> = bound()
    succeed(process.shell('printf "from nc" | nc -u -w 1 127.0.0.1 "$1"', socket:local_addr():port()))
    local data, from = socket:recv_from()
    assert.equal("from nc", data)
    assert.equal("127.0.0.1", from:ip())
  end)

  test("nc", "prints what we answer", function()
    local socket <close> = bound()
    local child <close> = process.start("sh", "-c", 'echo question | nc -u -w 2 127.0.0.1 "$1"', "sh",
      socket:local_addr():port())
    local data, from = socket:recv_from()
    assert.equal("question\n", data)
    assert.equal(7, socket:send_to("answer\n", from))
    assert.equal("answer", child:expect "^(answer)$")
  end)

  test("nc", "receives what we send to its port", function()
    local port = free_port()
    local child <close> = process.start("nc", "-u", "-l", "127.0.0.1", port)
    local socket <close> = bound():set_read_timeout(0.05)
    assert(socket:connect("127.0.0.1", port))
    until_true(function() -- a port is unreachable, and we are told, as long as nobody holds it
      return socket:send "hello\n" and tcpnet.is_error(select(2, socket:recv()), "TIMEOUT")
    end)
    assert.equal("hello", child:expect "^(hello)$")
  end)
end)

describe("logger", function()
  before_each(leaks.note)
  after_each(leaks.check)

  test("logger", "sends syslog to our UDP socket", function()
    local socket <close> = bound()
    succeed(process.run("logger", "--server", "127.0.0.1", "--port", socket:local_addr():port(), "--udp", "--rfc5424",
      "--priority", "local0.warning", "--tag", "tcpnet", "a line for the log"))
    local data, from = socket:recv_from()
    assert.matches("^<132>1 %d%d%d%d%-%d%d%-%d%dT%S+ %S+ tcpnet .*a line for the log%s*$", data)
    assert.equal("127.0.0.1", from:ip())
  end)

  test("logger", "sends one datagram for each line, in order", function()
    local socket <close> = bound()
    succeed(process.shell('i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo "line $i"; done | ' ..
      'logger --server 127.0.0.1 --port "$1" --udp --rfc3164 --priority user.info --tag many',
      socket:local_addr():port()))
    local count = 0
    while count < 50 do
      for _, item in ipairs(assert(socket:recv_many(64))) do
        count = count + 1
        assert.matches("^<14>.* many: line " .. count .. "%s*$", item.data)
        assert.equal("127.0.0.1", item.address:ip())
      end
    end
    assert.equal("EAGAIN", select(2, socket:try_recv()).code)
  end)

  test("logger", "sends syslog to our Unix datagram socket", function()
    local folder <close> = program.folder()
    local path = tostring(folder) .. "/log"
    local socket <close> = assert(UnixDatagram.bind(path)):set_timeout(20)
    succeed(process.run("logger", "--socket", path, "--priority", "user.notice", "--tag", "tcpnet", "a local line"))
    local data = assert(socket:recv())
    assert.matches("^<13>.* ?tcpnet: a local line%s*$", data)
  end)
end)

describe("children", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function fifo(folder, name)
    local path = tostring(folder) .. "/" .. name
    succeed(process.run("mkfifo", path))
    return path
  end

  it("read a FIFO that we feed, slowly, and answer through another", function()
    local folder <close> = program.folder()
    local question, answer = fifo(folder, "question"), fifo(folder, "answer")
    local receiver <close> = assert(tcpnet.pipe.open_receiver(answer)):set_timeout(20)
    local child <close> = process.start("sh", "-c", 'exec sort -n <"$1" >"$2"', "sh", question, answer)
    local sender = sender_to(question)
    local lines = tcpnet.run(function()
      local writer = tcpnet.spawn(function()
        for i = 20000, 1, -1 do
          assert(sender:write(i, "\n"))
        end
        sender:close()
      end)
      assert(receiver:readable())
      local count = 0
      for line in receiver:lines() do
        count = count + 1
        assert(tonumber(line) == count, line)
      end
      assert(writer:join())
      return count
    end)
    assert.equal(20000, lines)
    assert.same({ 0, "" }, { child:wait() })
  end)

  it("have our pipe for their standard output, by its descriptor", function()
    local sender, receiver = assert(tcpnet.pipe())
    local _receiver <close> = receiver:set_timeout(20)
    local fd = assert(sender:into_blocking_fd())
    local path = path_of(fd)
    if not path then
      assert(tcpnet.PipeSender.from_fd(fd)):close()
      return pending "needs /proc"
    end
    -- The child writes more than the pipe holds, so that it has to wait for us: its end blocks, ours does not.
    local child <close> = process.start("sh", "-c", 'exec seq 1 50000 >"$1"', "sh", path)
    local count = 0
    tcpnet.run(function()
      while count < 50000 do
        count = count + 1
        assert(assert(receiver:read_line()) == tostring(count))
      end
    end)
    local code, output = child:wait()
    assert.equal(0, code, output)
    assert(tcpnet.PipeSender.from_fd(fd)):close()
    assert.same({}, { receiver:read() })
    assert.equal(50000, count)
  end)

  it("have our pipe for their standard input, by its descriptor", function()
    local sender, receiver = assert(tcpnet.pipe())
    local _sender <close> = sender:set_timeout(20)
    local fd = assert(receiver:into_blocking_fd())
    local path = path_of(fd)
    if not path then
      assert(tcpnet.PipeReceiver.from_fd(fd)):close()
      return pending "needs /proc"
    end
    local child <close> = process.start("sh", "-c", 'exec <"$1"; echo ready; exec sum -s', "sh", path)
    child:expect "^ready$"
    assert(tcpnet.PipeReceiver.from_fd(fd)):close()
    assert.equal(512 * 1000, sender:write(("a"):rep(512 * 1000)))
    sender:close()
    local code, output = child:wait()
    assert.equal(0, code, output)
    -- sum -s adds the bytes up, folds the sum to 16 bits and counts blocks of 512 bytes
    local sum = 512 * 1000 * ("a"):byte()
    local folded = (sum & 0xffff) + (sum >> 16)
    folded = (folded & 0xffff) + (folded >> 16)
    assert.equal(("%d 1000\n"):format(folded), output)
  end)

  it("that end early give us EPIPE, not a signal", function()
    local folder <close> = program.folder()
    local path = fifo(folder, "fifo")
    local child <close> = process.start("sh", "-c", 'exec head -c 10 <"$1"', "sh", path)
    local sender = sender_to(path)
    local _sender <close> = sender:set_timeout(20)
    local count, problem, sent = sender:write(("x"):rep(1 << 20))
    assert.is_nil(count)
    assert.equal("EPIPE", problem.code)
    assert.is_true(sent >= 10 and sent < 1 << 20)
    assert.same({ 0, ("x"):rep(10) }, { child:wait() })
  end)
end)
