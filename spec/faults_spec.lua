-- Every system call and allocation of the library fails once, at each place of a script that uses it all: the script
-- gets an error or does not notice, nothing crashes, nothing is left. Runs a build made for that.
local leaks = require "spec.support.leaks"

-- One script, run in a process of its own for each call: fails the n-th one, for n = 1, 2, … until none is left.
local script = [[
  local tcpnet = require "tcpnet"
  local leaks = require "spec.support.leaks"
  local call, code, times = arg[1], arg[2], tonumber(arg[3])
  local fault = tcpnet.private.fault
  local payload = ("0123456789"):rep(2000)

  -- Descriptors travel with messages: those that came are the message's, or nobody's.
  local function exchange()
    local one, two = assert(tcpnet.Socket.pair("unix", "dgram"))
    local fds = { type = "fds", fds = { one, two } }
    for _ = 1, 3 do
      assert(one:sendmsg { data = { payload, "end" }, control = { fds } })
      local message <close> = assert(two:recvmsg { data = 100000 })
      assert(message.data == payload .. "end" and #message:find "fds".fds == 2)
    end
    assert(one:send "x")
    assert(two:recv() == "x")
    one:close()
    two:close()
  end

  -- true, or the error that one of the operations met
  local function exercise()
    exchange()
    local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1:0", { keepalive = true }))
    listener:set_accept_options { nodelay = true }
    return tcpnet.scope(function(scope)
      scope:spawn(function()
        local stream <close> = listener:incoming()()
        for line in stream:lines(100000) do
          assert(stream:write(line, "\n"))
        end
      end)
      local stream <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), { timeout = 5 }))
      assert(stream:write(payload, "\n"))
      assert(stream:read_line(100000) == payload)
      assert(stream:ready("w"))
      local buffer = tcpnet.Buffer.new(64)
      assert(stream:write("abc\n"))
      assert(stream:read_into(buffer))
      assert(stream:shutdown())
      assert(stream:read() == nil or true)
      return true
    end)
  end

  leaks.note()
  local n, struck = 0, 1
  while struck > 0 and n < 200 do
    n = n + 1
    fault(call, n, times, code)
    local ok, err = pcall(tcpnet.timeout, 10, exercise)
    struck = fault()
    if ok and err == nil then error(("%s number %d failing with %s: the script hangs"):format(call, n, code)) end
    if struck == 0 and not ok then error(err, 0) end
    leaks.check()
  end
  print(n - 1)
]]

-- The build that runs these specs, if it is one.
local own = os.getenv "TCPNET_BUILD" or ""
local build = own:match "faults[^/]*$" and own or "build-faults"

local function run_text(text, arguments)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local command = ("TCPNET_BUILD='%s' timeout 120 ./dev lua %s %s 2>&1"):format(build, path, arguments)
  local pipe = assert(io.popen(command))
  local output = pipe:read "a"
  local ok = pipe:close()
  os.remove(path)
  assert(ok, output)
  return tonumber(output:match "(%d+)%s*$")
end

local function run(call, code, times)
  return run_text(script, ("%s %s %d"):format(call, code, times))
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
  print(1)
]]

describe("a failing system call", function()
  setup(function()
    assert(os.execute(("TCPNET_BUILD='%s' ./dev build"):format(build)))
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  for call, codes in pairs {
    socket = { "EMFILE", "ENOBUFS" },
    connect = { "ECONNREFUSED", "EADDRNOTAVAIL", "EINTR" },
    accept4 = { "EMFILE", "ECONNABORTED", "EINTR", "EAGAIN" },
    recv = { "EINTR", "EAGAIN", "ECONNRESET", "ENOMEM" },
    send = { "EINTR", "EAGAIN", "EPIPE", "ENOBUFS" },
    sendmsg = { "EINTR", "EAGAIN", "ECONNRESET", "ENOBUFS" },
    recvmsg = { "EINTR", "EAGAIN", "ECONNREFUSED", "ENOBUFS" },
    getsockopt = { "ENOBUFS" },
    setsockopt = { "ENOMEM" },
    poll = { "EINTR", "ENOMEM" },
    malloc = { "ENOMEM" },
    calloc = { "ENOMEM" },
    realloc = { "ENOMEM" },
  } do
    for _, code in ipairs(codes) do
      it(("(%s, %s) is an error or goes unnoticed, and leaves nothing behind"):format(call, code), function()
        run(call, code, 1)
      end)
    end
  end

  it("has the system's name and number, and is not sticky (F49)", function()
    run_text(errors, "")
  end)

  it("that moves one byte at a time loses none (F39)", function()
    assert(run("recv", "short", 1000000) >= 1)
    assert(run("send", "short", 1000000) >= 1)
  end)
end)
