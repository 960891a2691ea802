-- What the specs of TCP share: tests that run as a task and cannot hang, connected pairs, full buffers, children.
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

local tcp = {}

-- Seconds; more than any test takes, so that a wait that never ends shows as one.
local PATIENCE = 60 * (tonumber(os.getenv "TCPNET_SLOW") or 1)

-- in_task(fn) → function for `it`: runs fn as a task.
function tcp.in_task(fn)
  return function()
    tcpnet.run(function()
      local finished = false
      local _, err = tcpnet.timeout(PATIENCE, function()
        fn()
        finished = true
      end)
      if not finished then
        error("the test hangs: " .. tostring(err), 0)
      end
    end)
  end
end

function tcp.listener(address, opts)
  return assert(tcpnet.TcpListener.bind(address or "127.0.0.1:0", opts))
end

local Guard = {}
Guard.__index = Guard

function Guard:__close()
  for _, object in ipairs(self) do
    object:close()
  end
end

-- guard(object...) → something that closes them all when it is closed itself.
function tcp.guard(...)
  return setmetatable({ ... }, Guard)
end

-- pair([opts]) → client, server, guard of both
function tcp.pair(opts)
  local listener <close> = tcp.listener()
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr(), opts))
  local server = assert(listener:accept())
  return client, server, tcp.guard(client, server)
end

-- Two Unix streams that are connected, and what closes them.
function tcp.unix_pair()
  local a, b = assert(tcpnet.UnixStream.pair())
  return a, b, tcp.guard(a, b)
end

-- An address of which nobody answers: a port that was free a moment ago.
function tcp.refusing_address()
  local listener <close> = tcp.listener()
  return tostring(listener:local_addr())
end

-- silent_listener([address]) → listener, list of streams: its backlog is full, so that the next connection is not
-- answered at all.
function tcp.silent_listener(address)
  address = assert(tcpnet.SocketAddr.parse(address or "127.0.0.1:0"))
  local socket = assert(address:is_ipv6() and tcpnet.TcpSocket.new_v6() or tcpnet.TcpSocket.new_v4())
  local listener = assert(assert(assert(socket:set_reuseaddr(true)):bind(address)):listen(1))
  local waiting = {}
  for _ = 1, 64 do
    local stream, err = tcpnet.TcpStream.connect(listener:local_addr(), { timeout = 0.05 })
    if not stream then
      assert(err.code == "TIMEOUT", tostring(err))
      return listener, waiting
    end
    waiting[#waiting + 1] = stream
  end
  error "the backlog never fills"
end

-- Writes until the kernel takes no more → bytes written.
function tcp.fill(stream)
  local piece, total = ("x"):rep(65536), 0
  local idle = 0
  while idle < 20 do -- longer than the kernel holds back an acknowledgment
    local count, err = stream:try_write(piece)
    if count then
      total, idle = total + count, 0
    else
      assert(err.code == "EAGAIN", tostring(err))
      idle = idle + 1
      tcpnet.sleep(0.005) -- the peer's kernel may still take some
    end
  end
  return total
end

-- Closes with a reset, by the option and not by the method under test.
function tcp.close_with_reset(stream)
  assert(stream:set_zero_linger())
  stream:close()
end

-- Does fn(...) still wait after a moment? It is cancelled then.
function tcp.waits(fn, ...)
  local _, err = tcpnet.timeout(0.03, fn, ...)
  return tcpnet.is_error(err, "TIMEOUT") and err.op == "timeout"
end

-- Asserts that what is given is nil and an error of one of the codes → the error.
function tcp.fails(codes, ...)
  local value, err = ...
  assert(value == nil, "expected nil and " .. codes .. ", got " .. tostring(value))
  assert(tcpnet.is_error(err), "expected an Error, got " .. tostring(err))
  for code in codes:gmatch "%S+" do
    if err.code == code then
      return err
    end
  end
  error(("expected %s, got %s: %s"):format(codes, err.code, tostring(err)), 2)
end

-- Asserts that fn raises a message with all of these parts.
function tcp.raises(fn, ...)
  local ok, message = pcall(fn)
  assert(not ok, "it raises nothing")
  message = tostring(message)
  for _, part in ipairs { ... } do
    assert(message:find(part, 1, true), ("%q expected in: %s"):format(part, message))
  end
end

-- bytes(n) → n bytes that do not repeat soon, the same ones each time.
function tcp.bytes(count)
  local parts, state = {}, 12345
  for i = 1, math.ceil(math.min(count, 1 << 20) / 8) do
    state = (state * 6364136223846793005 + 1442695040888963407)
    parts[i] = ("<i8"):pack(state)
  end
  local block = table.concat(parts)
  return (block:rep(math.ceil(count / #block))):sub(1, count)
end

-- Digest of what is fed to it, independent of how it is cut: add(bytes), value().
function tcp.digest()
  local sum, count, rest = 0, 0, ""
  local digest = {}
  local function eat(text)
    local words = #text // 8
    for i = 1, words * 8, 64 * 8 do
      local last = math.min(i + 64 * 8 - 1, words * 8)
      local values = { (("<" .. ("i8"):rep((last - i + 1) // 8))):unpack(text, i) }
      for k = 1, #values - 1 do
        sum = ((sum << 5) | (sum >> 59)) ~ values[k]
      end
    end
    return text:sub(words * 8 + 1)
  end
  function digest.add(text)
    count = count + #text
    rest = eat(rest .. text)
  end
  function digest.value()
    return ("%d:%x:%s"):format(count, sum, rest)
  end
  return digest
end

-- can(command) → does it succeed? For what a machine may not have.
function tcp.can(command)
  return (os.execute(command .. " >/dev/null 2>&1 </dev/null"))
end

-- The beginning of every child's script.
local PRELUDE = [[
local tcpnet = require "tcpnet"
local TcpStream, TcpListener, TcpSocket = tcpnet.TcpStream, tcpnet.TcpListener, tcpnet.TcpSocket
io.stdout:setvbuf "line"
]]

-- with_script(source, fn): fn(path) while a file holds the script.
function tcp.with_script(source, fn)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(PRELUDE, source)
  file:close()
  local outcome = table.pack(pcall(fn, path))
  os.remove(path)
  if not outcome[1] then
    error(outcome[2], 0)
  end
  return table.unpack(outcome, 2, outcome.n)
end

-- child(source[, command]) → output, exit status. In `command`, a line of bash, $LUA is the interpreter and $SCRIPT
-- the script.
function tcp.child(source, command)
  return tcp.with_script(source, function(path)
    local line = ([[LUA='%s' SCRIPT='%s' timeout -k 1 20 bash -c '%s' 2>&1 </dev/null]]):format(
      program.interpreter, path, (command or [["$LUA" "$SCRIPT"]]):gsub("'", [['\'']]))
    local pipe = assert(io.popen(line))
    local output = pipe:read "a"
    local _, _, status = pipe:close()
    return output, status
  end)
end

return tcp
