-- How bindings of networking to Lua fail, in 52 kinds, F1 to F52: each has specs that name its number. The list of
-- them, and specs of those that belong to no class or module.
local tcpnet = require "tcpnet"
local dir = require "pl.dir"
local file = require "pl.file"
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local tcp = require "spec.support.tcp"

local in_task, fails = tcp.in_task, tcp.fails

local FAILURES <const> = {
  "a stream is collected while a task waits in it",
  "a coroutine is collected while it waits",
  "a coroutine that waits, or is dead, is resumed by somebody else",
  "an error in a resumed coroutine tears the loop down",
  "an object is closed while another task waits in it",
  "two tasks read one stream, or may not read and write it at once",
  "the waiter of a read that timed out takes the bytes of the next",
  "bytes that come late are taken for the answer to another request",
  "a connect is cancelled",
  "a generator reads the network",
  "a parent is cancelled while its children wait",
  "a wait across a C function that cannot yield",
  "a wait in a finalizer, a hook, an error handler",
  "a forgotten close hangs the peer until the collector comes",
  "objects and closures that refer to each other are never freed",
  "Lua errors jump across frames of libuv",
  "memory runs out, at each allocation",
  "an error leaves something half made",
  "a handle is freed that is still closing",
  "callbacks run after the state was closed",
  "run within run",
  "os.exit in a task",
  "two Lua states in one process",
  "fork",
  "a name is being looked up when everything closes",
  "the number of a descriptor is used again in the same turn",
  "a descriptor is adopted that is none, or another's",
  "a method is called on something else",
  "use after close, close after close",
  "options of a wrong type, or unknown, are taken",
  "integers that do not fit are cut",
  "times overflow",
  "two clocks",
  "text from outside is run as bytecode",
  "no descriptors are left for accept",
  "a connection is gone before it is accepted",
  "system calls are interrupted, or would block after all",
  "SIGPIPE",
  "one byte at a time",
  "half-closed connections",
  "closing with unread bytes destroys what was sent",
  "a reset looks like an end",
  "more than 4 GiB",
  "reads and writes of nothing",
  "a line without an end",
  "a peer that does not read fills the memory",
  "peers that send slowly on purpose",
  "epoll refuses a descriptor",
  "errors of the network lose their names",
  "addresses that are cut, or guessed",
  "files of Unix sockets that are somebody else's",
  "descriptors in messages, urgent data, empty and cut datagrams",
}

local specs = {}
for _, folder in ipairs { "spec", "spec/regressions" } do
  for _, name in ipairs(dir.getfiles(folder, "*_spec.lua")) do
    if not name:find "failures_spec" then
      specs[#specs + 1] = name
    end
  end
end

describe("the list of failures", function()
  it("has a spec for each", function()
    local text = {}
    for _, name in ipairs(specs) do
      text[#text + 1] = file.read(name)
    end
    local own = file.read "spec/failures_spec.lua"
    for title in own:gmatch 'it%("([^\n]*)"' do
      text[#text + 1] = title
    end
    text = table.concat(text, "\n")
    local missing = {}
    for number, what in ipairs(FAILURES) do
      if not text:find(("%%f[%%w]F%d%%f[%%D]"):format(number)) then
        missing[#missing + 1] = ("F%d: %s"):format(number, what)
      end
    end
    assert.equal(52, #FAILURES)
    assert.same({}, missing)
  end)
end)

-- Lines of the project's own code in which one of the patterns is, comments left out.
local function places(folders, patterns)
  local found = {}
  for _, folder in ipairs(folders) do
    for _, name in ipairs(dir.getallfiles(folder)) do
      local number = 0
      for line in (file.read(name) .. "\n"):gmatch "(.-)\n" do
        number = number + 1
        local code = line:gsub("%-%-.*", ""):gsub("/?%*.*", "")
        for _, pattern in ipairs(patterns) do
          if code:find(pattern) then
            found[#found + 1] = ("%s:%d: %s"):format(name, number, line)
          end
        end
      end
    end
  end
  return found
end

describe("the library's own code", function()
  it("has one clock, which is not the wall's (F33)", function()
    assert.same({}, places({ "lua", "csrc" }, { "os%.time", "os%.clock", "os%.date", "gettimeofday", "CLOCK_REALTIME",
      "%f[%w_]time%s*%(NULL" }))
  end)

  it("runs no text and no bytecode, but what a program hands to its own workers (F34)", function()
    local found = places({ "lua" }, { "%f[%w_]load%s*[%(\"'%[]", "loadstring", "dofile", "loadfile", "string%.dump" })
    for _, place in ipairs(found) do
      assert.matches("^lua/tcpnet/workers%.lua:%d+: ", place)
      assert.is_nil(place:find("loadfile", 1, true) and not place:find('"t"', 1, true) or nil, place) -- text only
    end
    for _, place in ipairs(places({ "csrc" }, { "lua_load", "luaL_load", "luaL_do", "lua_dump" })) do
      assert.matches("^csrc/binding/worker%.c:%d+: ", place)
    end
  end)
end)

describe("a wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- The reason why fn may not wait; the stream that it tried is as it was.
  local function refused(run)
    local client, server, _guard <close> = tcp.pair()
    local ok, message = run(function()
      return server:read()
    end)
    assert.is_false(ok)
    assert.matches("cannot wait here", tostring(message))
    client:write "works"
    assert.equal("works", server:read())
    fails("EAGAIN", server:try_read())
  end

  it("is refused while a chunk is required, and nothing of it is left (F12)", in_task(function()
    refused(function(read)
      package.preload["spec.waits"] = read
      local _forget <close> = setmetatable({}, { __close = function()
        package.preload["spec.waits"], package.loaded["spec.waits"] = nil, nil
      end })
      return pcall(require, "spec.waits")
    end)
  end))

  it("is refused in a hook (F13)", in_task(function()
    refused(function(read)
      local ok, message
      debug.sethook(function()
        debug.sethook()
        ok, message = pcall(read)
      end, "", 1)
      local spin = 0
      while ok == nil and spin < 1000000 do
        spin = spin + 1
      end
      return ok, message
    end)
  end))

  it("is refused in an error handler (F13)", in_task(function()
    refused(function(read)
      local ok, message
      xpcall(error, function()
        ok, message = pcall(read)
      end)
      return ok, message
    end)
  end))
end)

describe("ten thousand streams", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that closures and finalizers refer to are collected, each with its descriptor (F15)", function()
    local before = tcpnet.metrics()
    for _ = 1, 100 do
      for _ = 1, 50 do
        local one, other = assert(tcpnet.UnixStream.pair())
        local ring = { one = one, other = other }
        ring.read = function() return ring.one:read(), ring.other end
        setmetatable(ring, { __gc = function(self) assert(self.read) end })
      end
      collectgarbage()
    end
    collectgarbage()
    tcpnet.step(0)
    local after = tcpnet.metrics()
    assert.equal(10000, after.opened.UnixStream - (before.opened.UnixStream or 0))
    assert.equal(10000, after.closed.UnixStream - (before.closed.UnixStream or 0))
  end)
end)

describe("a number that is used again", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("in the turn in which it was closed gets its own events alone, a thousand times (F26)", in_task(function()
    local first, first_peer = assert(tcpnet.UnixStream.pair())
    for round = 1, 1000 do
      local second, second_peer = assert(tcpnet.UnixStream.pair())
      local number, fresh, fresh_peer = second:fd(), nil, nil
      local closer = tcpnet.spawn(function()
        assert(first:read() == "1")
        second:close() -- whose event is in the same batch
        fresh, fresh_peer = assert(tcpnet.UnixStream.pair())
      end)
      local other = tcpnet.spawn(second.read, second)
      tcpnet.yield()
      first_peer:write "1"
      second_peer:write "2"
      assert(closer:join())
      local _, bytes, err = other:join()
      assert(bytes == "2" or err.code == "CLOSED")
      assert.equal(number, math.min(fresh:fd(), fresh_peer:fd()))
      fails("EAGAIN", fresh:try_read())
      fresh_peer:write(round)
      assert.equal(tostring(round), fresh:read())
      for _, stream in ipairs { second_peer, fresh, fresh_peer } do
        stream:close()
      end
    end
    first:close()
    first_peer:close()
  end))
end)

describe("a descriptor that closes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- How often the selector is told that connections end, of which ten are accepted, waited for and closed.
  local function removals(before_the_close)
    local output = tcp.child([[
      tcpnet.run(function()
        local listener = assert(TcpListener.bind "127.0.0.1:0")
        local keep = {}
        for i = 1, 10 do
          local client = assert(TcpStream.connect(listener:local_addr()))
          local server = assert(listener:accept())
          local reader = tcpnet.spawn(server.read, server)
          tcpnet.yield()
          reader:cancel()
          ]] .. before_the_close .. [[
          server:close()
          keep[i] = client
        end
      end)
      os.exit(0, false)
    ]], [[strace -o "$SCRIPT.calls" -e trace=epoll_ctl "$LUA" "$SCRIPT"
      grep -c EPOLL_CTL_DEL "$SCRIPT.calls"; rm "$SCRIPT.calls"]])
    return assert(tonumber(output), output)
  end

  it("is removed from the selector only where it may have a copy elsewhere", function()
    if not tcp.can "strace -o /dev/null true" or (os.getenv "TCPNET_POLLER" or "epoll") ~= "epoll" then
      return pending "needs strace and epoll"
    end
    local without = removals ""
    assert.equal(without + 10, removals "server:fd()")
    assert.equal(without + 10, removals "keep[-i] = assert(server:as_socket():try_clone())")
    assert.equal(without + 10, removals [[
      local one, other = assert(tcpnet.UnixStream.pair())
      assert(one:send_fd(server))
    ]])
    assert.equal(without + 10, removals "keep[-i] = assert(TcpStream.from_fd(server:into_fd()))")
  end)

  -- The kernel goes on reporting what has a copy that nobody here knows of.
  it("and lives on elsewhere unknown to us wakes nobody when its number is another's", in_task(function()
    local listener <close> = tcp.listener()
    local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local server = assert(listener:accept())
    local reader = tcpnet.spawn(server.read, server)
    tcpnet.yield()
    reader:cancel()
    local number = tostring(server):match "fd (%d+)"
    local holder <close> = assert(tcpnet.process.spawn {
      "perl", "-e", [[
        $| = 1;
        print syscall(438, syscall(434, getppid(), 0), $ARGV[0] + 0, 0) < 0 ? "refused" : "held";
        <STDIN>
      ]], number, stdin = "pipe", stdout = "pipe", stderr = "null",
    })
    if holder.stdout:read() ~= "held" then
      return pending "needs pidfd_getfd"
    end
    server:close()
    local next_client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local fresh <close> = assert(listener:accept())
    local numbers = { tostring(fresh):match "fd (%d+)", tostring(next_client):match "fd (%d+)" }
    assert.is_true(numbers[1] == number or numbers[2] == number)
    local reads = {
      tcpnet.spawn(fresh.read, fresh), tcpnet.spawn(next_client.read, next_client),
    }
    tcpnet.yield()
    local wakes = tcpnet.metrics().wakes
    for _ = 1, 10 do
      assert(client:write "to the old one")
      tcpnet.sleep(0.001)
    end
    assert.is_true(tcpnet.metrics().wakes <= wakes + 10, "more than the sleeps'")
    for _, read in ipairs(reads) do
      assert.equal("waiting", read:status())
      read:cancel()
    end
    holder.stdin:close()
    holder:wait()
  end))
end)

describe("a descriptor that epoll refuses", function()
  it("is the error of the wait that needs it, and what waits already goes on (F48)", function()
    if not tcp.can "strace -o /dev/null true" then
      return pending "needs strace"
    end
    -- libuv ends the process where what it has asked for once is refused later: a known limit.
    local clean = 0
    for from = 1, 8 do
      local output, status = tcp.child([[
        local one, other = tcpnet.UnixStream.pair()
        local third, fourth = tcpnet.UnixStream.pair()
        local function wait(stream)
          local bytes, err = tcpnet.timeout(0.05, stream.read, stream)
          return bytes or err.op == "timeout" and "waited" or err.code
        end
        print(wait(one), wait(third))
        fourth:write "still there"
        print(third:read())
      ]], ([[strace -o /dev/null -e trace=epoll_ctl -e inject=epoll_ctl:error=ENOSPC:when=%d+ "$LUA" "$SCRIPT"]])
        :format(from))
      if status == 0 then
        local first, second, bytes = output:match "^(%S+)\t(%S+)\n(.*)\n$"
        assert.is_truthy(bytes == "still there" and (second == "ENOSPC" or first == "waited" and second == "waited"),
          output)
        clean = clean + (second == "ENOSPC" and 1 or 0)
      else
        assert.equal(134, status, output) -- SIGABRT
      end
    end
    assert.is_true(clean > 0, "it was never refused in order")
  end)
end)

describe("a network that refuses", function()
  local missing = netns.reason() or not tcp.can "nft --version" and "needs nftables"
  if missing then
    return pending(missing)
  end
  local space

  setup(function()
    space = netns.new()
    space:shell [[
      nft -f - <<'RULES'
      table inet hostile {
        chain out {
          type filter hook output priority 0;
          tcp dport 7001 reject with icmpx type admin-prohibited
          tcp dport 7002 reject with icmpx type host-unreachable
          tcp dport 7003 reject with icmpx type port-unreachable
          tcp dport 7004 reject with icmpx type no-route
          tcp dport 7005 reject with tcp reset
          tcp dport 7006 quota over 20 kbytes reject with tcp reset
        }
      }
RULES]]
  end)
  teardown(netns.close_all)

  it("a connection gives the error of the system, by its name (F49)", function()
    -- The answer comes while connect(2) holds the socket, and counts at the second attempt, a second later.
    assert.same({ "EHOSTUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "ENETUNREACH", "ECONNREFUSED" }, space:run(function()
      local codes = {}
      for _, outcome in ipairs(tcpnet.each({ 7001, 7002, 7003, 7004, 7005 }, 5, function(port)
        return tcpnet.TcpStream.connect("127.0.0.1", port, { timeout = 15 })
      end)) do
        codes[#codes + 1] = outcome[1] and outcome[2] == nil and outcome[3].code or tostring(outcome[2])
      end
      return codes
    end))
  end)

  it("and resets in the middle of a stream is ECONNRESET to who writes, a prefix to who reads (F42)", function()
    local code, whole, least, received_code = space:run(function()
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:7006")
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      local parts = {}
      for i = 1, 20000 do
        parts[i] = ("%09d\n"):format(i)
      end
      local bytes = table.concat(parts)
      local sent, err
      for i = 1, #bytes, 1000 do
        sent, err = client:write(bytes:sub(i, i + 999))
        if not sent then
          break
        end
        tcpnet.sleep(0)
      end
      server:set_read_timeout(0.3)
      local received, piece, read_err = {}, server:read()
      while piece do
        received[#received + 1] = piece
        piece, read_err = server:read()
      end
      received = table.concat(received)
      return err and err.code, received == bytes:sub(1, #received) and #received < #bytes, #received > 5000,
        read_err and read_err.code
    end)
    assert.is_truthy(code == "ECONNRESET" or code == "EPIPE", code)
    assert.is_true(whole and least)
    assert.equal("TIMEOUT", received_code) -- nobody told the reader; it is no end
  end)

  it("and destroys a connection is ECONNABORTED to who waits in it, never an end (F42)", function()
    local first, second = space:run(function()
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:7100")
      local _client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      local server <close> = assert(listener:accept())
      local reader = tcpnet.spawn(server.read, server)
      tcpnet.yield()
      assert(os.execute "ss -K state established sport = :7100 >/dev/null")
      local _, bytes, err = reader:join(5)
      local again, again_err = server:read()
      return bytes == nil and err and err.code or tostring(bytes),
        again == nil and again_err and again_err.code or "end"
    end)
    assert.equal("ECONNABORTED", first)
    assert.not_equal("end", second)
  end)
end)

describe("a peer that never reads", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("holds the writer back, who times out again and again and loses count of nothing (F46)", in_task(function()
    local client, server = tcp.pair()
    client:set_write_timeout(0.05)
    local piece, total, late = tcp.bytes(1 << 20), 0, 0
    repeat
      local count, err, sent = client:write(piece)
      total = total + (count or sent)
      if not count then
        fails("TIMEOUT", count, err)
        late = late + 1
      end
    until late == 3
    client:set_write_timeout(nil)
    client:shutdown()
    local received = 0
    for bytes in server:chunks() do
      received = received + #bytes
    end
    assert.equal(total, received)
    client:close()
    server:close()
  end))
end)
