-- Child processes that run beside a spec: servers and clients, examples and real programs. Reading from one blocks
-- the whole spec, so what the child waits for must not be a task of this process.
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

local process = {}
process.interpreter = program.interpreter

process.seconds = 180 -- nobody outlives a spec for longer than this; a busy machine needs its time
local Child = {}
Child.__index = Child

-- words(...) → one command line of the arguments, quoted.
local function words(...)
  local quoted = {}
  for i = 1, select("#", ...) do
    quoted[i] = program.quote(tostring((select(i, ...))))
  end
  return table.concat(quoted, " ")
end

-- A sanitizer that is preloaded for Lua is nothing for other programs.
local function command_line(...)
  local plain = select(1, ...) == process.interpreter and "" or "env -u LD_PRELOAD "
  return ("timeout -k 5 %d %s%s"):format(process.seconds, plain, words(...))
end

-- start(program, ...) → child, with both outputs in one pipe. Its __close stops it.
function process.start(...)
  local output = assert(io.popen("echo $$; exec " .. command_line(...) .. " </dev/null 2>&1"))
  local pid = assert(math.tointeger(tonumber(output:read "l")))
  return setmetatable({ pid = pid, output = output, seen = {} }, Child)
end

-- lua(script, ...) → child that runs the script with the module under test.
function process.lua(script, ...)
  return process.start(process.interpreter, script, ...)
end

-- serve(script, ...) → child that has said where it listens; child.port is the port.
function process.serve(script, ...)
  local child = process.lua(script, ...)
  child.port = math.tointeger(tonumber(child:expect "^listening on 127%.0%.0%.1:(%d+)$"))
  return child
end

-- run(program, ...) → exit code (or the name of how it ended), output.
function process.run(...)
  return program.shell(command_line(...))
end

-- shell(command, ...) → as run, for a command of the shell; ... are its $1, $2 and so on.
function process.shell(command, ...)
  return process.run("sh", "-c", command, "sh", ...)
end

-- expect(pattern) → the captures of the next line that matches; an error with all that was said when none does.
function Child:expect(pattern)
  for line in self.output:lines() do
    self.seen[#self.seen + 1] = line
    if line:find(pattern) then
      return line:match(pattern)
    end
  end
  error(("no line like %q in what the child said:\n%s"):format(pattern, table.concat(self.seen, "\n")), 2)
end

-- wait() → exit code (or the name of how it ended), what it had not said yet.
function Child:wait()
  local rest = self.output:read "a"
  local _, how, code = self.output:close()
  self.output = nil
  return how == "exit" and code or how, rest
end

-- signal(name): to the program, once. The process that is known is `timeout`, which passes it on twice: to its child,
-- and to its group.
function Child:signal(name)
  local children <close> = assert(io.open(("/proc/%d/task/%d/children"):format(self.pid, self.pid)))
  assert(os.execute(("kill -s %s %d"):format(name, children:read "n")))
end

function Child:stop()
  if self.output then
    os.execute("kill " .. self.pid .. " 2>/dev/null")
    return self:wait()
  end
end

Child.__close = Child.stop

-- A port that was free a moment ago, for programs that cannot choose one themselves.
function process.free_port()
  local listener <close> = assert(tcpnet.TcpListener.bind("127.0.0.1", 0))
  return listener:local_addr():port()
end

-- connect(port) → stream to a server on this machine that may need a moment to start.
function process.connect(port)
  local give_up = tcpnet.now() + 10
  while true do
    local stream, err = tcpnet.TcpStream.connect("127.0.0.1", port, { timeout = 10 })
    if stream then
      return stream:set_timeout(10)
    end
    assert(err.code == "ECONNREFUSED" and tcpnet.now() < give_up, err)
    tcpnet.sleep(0.02)
  end
end

-- round_trip(port, bytes) → all that comes back for them, the write side being shut down behind them.
function process.round_trip(port, bytes)
  return tcpnet.run(function()
    local stream <close> = process.connect(port)
    local writer = tcpnet.spawn(function()
      assert(stream:write(bytes))
      assert(stream:shutdown "write")
    end)
    local back = assert(stream:read_to_end())
    assert(writer:join())
    return back
  end)
end

return process
