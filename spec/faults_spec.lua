-- System calls and allocations that fail: every method of everything that has a descriptor, at each of its calls, in
-- each way that the call knows (F35, F36, F37, F39, F49). The script gets an error or does not notice; nothing crashes,
-- nothing is left, no byte is lost. Runs a build made for that (fault_walk.lua), the plain one under strace, and one
-- that moves a byte at a time.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"

-- output of a script of the build with faults, or of that file
local function run_faults(script, argument)
  local code, output = program.faults(script, argument)
  assert(code == 0, output)
  return output
end

-- Every error that a peer, the network or the kernel may give a read, a write, a connect: its name and its number.
local errors = [[
  local tcpnet = require "tcpnet"
  local fault = tcpnet.private.fault
  local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  for code, errno in pairs {
    EPIPE = 32, ENETDOWN = 100, ENETUNREACH = 101, ECONNABORTED = 103, ECONNRESET = 104, ENOBUFS = 105,
    ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTDOWN = 112, EHOSTUNREACH = 113, EADDRNOTAVAIL = 99, EACCES = 13,
  } do
    local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local server = listener:accept()
    local function fails(call, nothing, err)
      local text = ("%s %s: %s"):format(call, code, tostring(err))
      assert(nothing == nil and err.code == code and err.errno == errno, text)
      assert(err.message ~= "unknown error" and tostring(err):find(code, 1, true), text)
      assert(fault() == 1, text)
    end
    fault("recv", 1, 1, code)
    fails("recv", client:read())
    fault("send", 1, 1, code)
    fails("send", client:write "x")
    fault("connect", 1, 1, code)
    fails("connect", tcpnet.TcpStream.connect "127.0.0.1:1")
    assert(client:write "sticky\n" and server:read_line() == "sticky", "an error must not stick")
    client:close()
    server:close()
  end
  print "done"
]]

-- Workers and their messages, with the library's own allocations failing one by one, on both sides.
local workers_script = [[
  local tcpnet = require "tcpnet"
  local leaks = require "spec.support.leaks"
  local call = arg[1]
  local fault = tcpnet.private.fault
  local function exercise()
    local workers <close> = assert(tcpnet.workers(2, function(parent)
      for text, stream in parent:messages() do
        assert(parent:send(text, stream))
      end
      return "done"
    end, "argument"))
    local one <close>, other = tcpnet.UnixStream.pair()
    assert(one, other)
    local text = ("x"):rep(10000)
    assert(workers[1]:send(text, other))
    local back, stream = workers[1]:recv(10)
    assert(back, stream)
    assert(back == text and stream:write "ok" and one:read() == "ok")
    stream:close()
    workers[1]:finish()
    local ok, result = assert(workers[1]:join(10))
    assert(result == "done")
  end
  tcpnet.configure { on_task_error = function() end }
  leaks.note()
  local n, struck = 0, 1
  while struck > 0 and n < 200 do
    n = n + 1
    fault(call, n, 1, "ENOMEM")
    local ok, err = pcall(exercise)
    struck = fault()
    assert(ok or struck > 0 and not tostring(err):find "TIMEOUT", err)
    leaks.check()
  end
  print(n - 1)
]]

-- What takes more than one failure, or a failure at a certain moment, which a walk does not have.
local prelude = [[
  local tcpnet = require "tcpnet"
  local fault = tcpnet.private.fault
  local ALWAYS = 1 << 30
  tcpnet.configure { on_task_error = function() return true end }
  local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local function tcp_pair()
    local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    return client, (assert(listener:accept()))
  end
  local function fails(code, nothing, err, ...)
    assert(nothing == nil and tcpnet.is_error(err, code), tostring(err))
    return ...
  end
]]
local moments = {
  ["no memory for a first wait: the next one has it"] = [[
    local here, there = tcpnet.UnixStream.pair()
    for nth = 1, 2 do -- for descriptors that may come, and for the reactor's table
      fault("realloc", nth, 1, "ENOMEM")
      fails("ENOMEM", here:read())
      assert(fault() == 1)
    end
    assert(there:write "text" and here:read() == "text")
  ]],
  ["memory for the first bytes of a read_exact: they are there for the next one"] = [[
    local here, there = tcp_pair()
    assert(there:write "12345" and here:ready "r")
    fault("malloc", 1, 1, "ENOMEM")
    fails("ENOMEM", here:read_exact(10))
    assert(fault() == 1 and there:write "67890" and here:read_exact(10) == "1234567890")
  ]],
  ["a descriptor that said nothing was there: its level is watched, but bytes that nobody wants are told once"] = [[
    tcpnet.run(function()
      local here, there = tcp_pair()
      local reader = tcpnet.spawn(here.read, here)
      tcpnet.yield()
      assert(there:write "first" and select(2, reader:join()) == "first")
      assert(there:write "second")
      tcpnet.sleep(0.01) -- its event is over
      fault("recv", 1, 1, "EAGAIN")
      assert(here:read() == "second" and fault() == 1)
      while here:try_write(("x"):rep(65536)) do end
      local writer = tcpnet.spawn(here.write, here, "last")
      tcpnet.yield()
      assert(there:write "unread")
      tcpnet.sleep(0.01)
      local polls = tcpnet.metrics().polls
      tcpnet.sleep(0.02)
      assert(tcpnet.metrics().polls - polls < 10, "it is told again and again")
      local came = ""
      while came:sub(-4) ~= "last" do
        came = came:sub(-4) .. assert(there:read())
      end
      assert(writer:join() and here:read() == "unread")
    end)
  ]],
  ["a second receive of joined datagrams: what the first brought is given, then the error, then the rest"] = [[
    if not tcpnet.features().udp_gro then return print "done" end
    local here, there = assert(tcpnet.UdpSocket.bind "127.0.0.1:0"), assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(here:connect(there:local_addr()) and there:connect(here:local_addr()) and here:set_udp_gro(true))
    for i = 1, 40 do
      assert(there:send(("m"):rep(i)))
    end
    fault("recvmmsg", 2, 1, "ECONNREFUSED")
    local all = assert(here:recv_many(40))
    assert(fault() == 1 and #all < 40)
    fails("ECONNREFUSED", here:recv_many(40))
    table.move(assert(here:recv_many(40)), 1, 40, #all + 1, all)
    for i = 1, 40 do
      assert(#all[i].data == i)
    end
  ]],
  ["a copy inside the kernel, and what should go on by reading: no byte is lost"] = [[
    local text = ("0123456789abcdef"):rep(40000)
    tcpnet.run(function()
      local from, from_far = tcp_pair()
      local to, to_far = tcp_pair()
      tcpnet.spawn(function() assert(from_far:write(text) and from_far:shutdown()) end)
      local reader = tcpnet.spawn(to_far.read_to_end, to_far)
      fault("splice", 2, ALWAYS, "EINVAL")
      fault("readv", 1, 1, "EIO")
      local copied = fails("EIO", tcpnet.copy(from, to))
      assert(fault() > 1)
      local rest = from:read_to_end()
      to:shutdown()
      local _, came = assert(reader:join())
      assert(#came == copied and came .. rest == text)
    end)
  ]],
  ["an object for a connection, of a listener that goes to a worker and is not received: both are closed"] = [[
    local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    fault("malloc", 1, 1, "ENOMEM")
    fails("ENOMEM", listener:accept())
    assert(fault() == 1)
    local workers = assert(tcpnet.workers(1, function(parent)
      parent:send "up"
      require "tcpnet".sleep(10)
    end))
    assert(workers[1]:recv(10) == "up" and workers[1]:send(listener))
    assert(client:set_read_timeout(10))
    workers:close()
    assert(client:read() == nil)
  ]],
  ["memory for what a worker ended with: whoever joins it hears of that"] = [[
    local workers = assert(tcpnet.workers(1, function(parent)
      parent:send "up"
      parent:recv()
      return "result"
    end))
    assert(workers[1]:recv(10) == "up")
    fault("malloc", 1, ALWAYS, "ENOMEM")
    workers[1]:finish()
    fails("ENOMEM", workers[1]:join(10))
    assert(fault() > 0)
  ]],
  ["memory for one of the streams that a worker ended with: all of them are closed"] = [[
    local workers = assert(tcpnet.workers(1, function(parent)
      local UnixStream = require "tcpnet".UnixStream
      local a, b = UnixStream.pair()
      local c, d = UnixStream.pair()
      parent:send(b, d)
      parent:recv()
      return a, c
    end))
    local b, d = workers[1]:recv(10)
    fault("malloc", 3, ALWAYS, "ENOMEM") -- the second stream's
    workers[1]:finish()
    fails("ENOMEM", workers[1]:join(10))
    assert(fault() > 0)
    workers = nil
    collectgarbage()
    collectgarbage()
    assert(b:set_read_timeout(10) and b:read() == nil and d:set_read_timeout(10) and d:read() == nil)
  ]],
}

-- What the C files of a layer call, by name, that is not the project's own.
local function called_by(layer)
  local names = {}
  local _, output = program.shell("nm -u " .. program.faults_build() .. "/CMakeFiles/core.dir/csrc/" .. layer .. "/*.o")
  for name in output:gmatch " U (%S+)" do
    if not name:find "^tn_" and not name:find "^uv_" and not name:find "^luaL?_" and not name:find "^__real_"
        and not name:find "^__aarch64_" and not name:find "^__gcov_" then
      names[name] = true
    end
  end
  return names
end

-- Cannot fail, or answer what nobody needs: dlopen and madvise are tried, a fork that goes unseen is Linux's own. With
-- musl htons and its like are functions, and `syscall` stands for its sendmsg; 32 bits divide by functions.
local HARMLESS = {}
for name in ([[
  malloc_usable_size malloc_trim bcmp memchr memcmp memcpy memmove memset strchr strcmp strlen strnlen strncmp strtoul
  strtoull free snprintf freeaddrinfo freeifaddrs getenv getpid environ sysconf munmap madvise dladdr dlopen
  sigaddset sigemptyset sigfillset sigismember sigpending sigwait pthread_sigmask pthread_attr_init pthread_attr_destroy
  pthread_attr_setdetachstate _exit luaopen_tcpnet_core pthread_attr_getstacksize pthread_attr_setstacksize stdout
  strncat ceil fmin nearbyint fprintf fflush fileno stderr __errno_location htonl htons ntohl ntohs syscall
  __divdi3 __udivdi3 __divmoddi4 __udivmoddi4   _GLOBAL_OFFSET_TABLE_
]]):gmatch "%S+" do
  HARMLESS[name] = true
end

describe("a failing system call", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("can be any that the library makes", function()
    local missing = {}
    local known = {}
    local rows = assert(io.open "csrc/platform/faults.c"):read "a"
    for name in rows:gmatch "X%(([%w_]+)%)" do
      known[name] = true
    end
    for _, layer in ipairs { "platform", "core", "binding" } do
      for name in pairs(called_by(layer)) do
        if not known[name] and not HARMLESS[name] then
          missing[#missing + 1] = name
        end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
    assert.is_true(known.recv and called_by "platform".recv)
  end)

  it("is an error or goes unnoticed in every method, and loses nothing (F36, F37, F49)", function()
    local output = run_faults "spec/support/fault_walk.lua"
    local cases = tonumber(output:match "^(%d+) cases, 0 complaints\n$")
    assert(cases, output)
    assert.is_true(cases > 5000, output)
  end)

  for _, call in ipairs {
    "malloc", "calloc", "realloc", "epoll_create1", "epoll_ctl", "pipe2", "mmap", "pthread_create",
  } do
    it("(" .. call .. ") in or around a worker is an error or goes unnoticed, and leaves nothing behind", function()
      assert.matches("^%d+\n$", (run_faults(workers_script, call)))
    end)
  end

  for what, script in pairs(moments) do
    it("leaves without " .. what, function()
      assert.equal("done\n", run_faults(prelude .. script .. "print 'done'"))
    end)
  end

  it("has the system's name and number, and is not sticky (F49)", function()
    assert.equal("done\n", run_faults(errors))
  end)
end)

-- musl makes threads by clone, as some sanitizers do for themselves.
local thread_call = program.foreign and "clone,clone3" or "clone3"

-- What strace makes of the calls, libuv's among them, that a script makes; what the script says then.
local injections = {
  { "interrupted and refused calls go unnoticed (F36, F37)", [[
      -e inject=recvfrom:error=EINTR:when=1+3 -e inject=sendto:error=EAGAIN:when=1+4
      -e inject=accept4:error=ECONNABORTED:when=1+2 -e inject=connect:error=EINTR:when=1
      -e inject=epoll_wait,epoll_pwait:error=EINTR:when=1+3 -e inject=poll:error=EINTR:when=1+2 ]], [[
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      tcpnet.run(function()
        tcpnet.spawn(function()
          for stream in listener:incoming() do
            tcpnet.copy(stream, stream)
            stream:close()
          end
        end)
        for i = 1, 3 do
          local stream <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
          assert(stream:write(("x"):rep(i * 1000)) and stream:shutdown())
          tcpnet.sleep(0.001)
          assert(stream:ready "r")
          print(#stream:read_to_end())
        end
      end) ]], "1000\n2000\n3000\n" },
  { "no descriptors for a socket", "-e inject=socket:error=EMFILE:when=1", [[
      local none, err = tcpnet.TcpSocket.new_v4()
      print(none, err.code, tcpnet.TcpSocket.new_v4() ~= nil) ]], "nil\tEMFILE\ttrue\n" },
  { "no thread for a lookup", "-e inject=" .. thread_call .. ":error=EAGAIN:when=" .. 1 + program.own_threads, [[
      local none, err = tcpnet.lookup_host("localhost", 1)
      print(none, err.code, #tcpnet.lookup_host("localhost", 1) > 0) ]], "nil\tENOMEM\ttrue\n" },
  { "no process for a child", "-e inject=clone,fork,vfork:error=EAGAIN:when=1", [[
      local none, err = tcpnet.process.spawn { "true" }
      print(none, err.code, tcpnet.process.spawn { "true" }:wait().code) ]], "nil\tEAGAIN\t0\n" },
}

-- What libuv and the reactor need when the library is loaded: one of them fails, and require says so.
local opening = { "epoll_create1", "eventfd2", "pipe2" }

describe("the system, under strace", function()
  local function traced(options, text)
    local folder <close> = program.folder()
    local script = program.write(folder.path .. "/script.lua", text)
    local line = options:gsub("%s+", " ")
    local code, output = program.shell(("timeout -k 1 20 strace -f -qqq -e signal=none -o /dev/null %s %s %s"):format(
      line, program.quote(program.interpreter), script))
    return output, code
  end

  for _, row in ipairs(injections) do
    local what, options, text, expected = table.unpack(row)
    it("refuses: " .. what, function()
      if not tcp.can "strace -qqq -o /dev/null true" then
        return pending "no strace that may trace"
      end
      assert.equal(expected, (traced(options, 'local tcpnet = require "tcpnet"\n' .. text)))
    end)
  end

  for _, call in ipairs(opening) do
    it("refuses what the library is loaded with: " .. call, function()
      if not tcp.can "strace -qqq -o /dev/null true" then
        return pending "no strace that may trace"
      end
      local output, code = traced(("-e inject=%s:error=EMFILE:when=1"):format(call), [[
        local ok, err = pcall(require, "tcpnet")
        print(ok, tostring(err):match "no memory or no descriptors" or err) ]])
      assert.equal("false\tno memory or no descriptors\n", output)
      assert.equal(0, code)
    end)
  end
end)

describe("calls that move one byte, and would wait every other time", function()
  it("lose none (F39)", function()
    local folder <close> = program.folder()
    local source = assert(io.open "spec/support/one_byte.c"):read "a"
    local library, why = program.c(folder, "one_byte.so", source,
      "-std=gnu11 -D_GNU_SOURCE -shared -fPIC -fno-sanitize=all -ldl")
    if not library then
      return pending("no C compiler: " .. why)
    end
    local more = os.getenv "TCPNET_TORTURE" and 270000 or "" -- inside the kernel, too: after 256 KiB
    local preload = "LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}" .. library -- for Lua alone, which may be another machine's
    local code, output = program.shell(("timeout 200 env %s %s spec/support/every_byte.lua 262144 %s"):format(
      preload, program.quote(program.interpreter), more))
    assert.equal("the same\n", output)
    assert.equal(0, code)
  end)
end)
