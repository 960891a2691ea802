-- Child processes: how they are started, what they are given, how they end, and that nothing of them is left behind.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task
local spawn = tcpnet.process.spawn
local NONBLOCK = tonumber("4000", 8) -- in the flags of /proc/PID/fdinfo
local TRAP = "trap '' TERM; echo ready; while :; do sleep 0.1; done"

local function read_all(path)
  local file = io.open(path)
  if not file then
    return nil
  end
  local text = file:read "a"
  file:close()
  return text
end

-- stat(pid) → state, parent, group, session of a process; nil where there is none.
local function stat(pid)
  local text = read_all(("/proc/%d/stat"):format(pid))
  if not text then
    return nil
  end
  local state, parent, group, session = text:match "^.*%) (%a) (%d+) (%d+) (%d+)"
  return state, tonumber(parent), tonumber(group), tonumber(session)
end

-- Is the process gone, zombie and all, within some seconds?
local function gone(pid)
  local give_up = tcpnet.now() + 5
  while stat(pid) do
    if tcpnet.now() > give_up then
      return false
    end
    tcpnet.sleep(0.002)
  end
  return true
end

-- shell(command) → its output; the shell is gone when it returns.
local function shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

-- The descriptors that this process has open, pipes included, which support/leaks leaves out. Asked for one by one: a
-- program that lists them would see those of its own start.
local function descriptors()
  local list = {}
  for fd = 0, 600 do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      file:close()
      list[#list + 1] = fd
    end
  end
  return list
end

-- The children of this process, ended ones included.
local function children()
  local list = {}
  for pid in shell("ls /proc"):gmatch "%f[^\n\0](%d+)\n" do
    local state, parent = stat(pid)
    if parent == tcpnet.private.pid() then
      list[pid] = ("%s (%s, %s)"):format(pid, (read_all(("/proc/%s/comm"):format(pid)) or "?\n"):sub(1, -2), state)
    end
  end
  return list
end

local open, known

local function note()
  collectgarbage()
  collectgarbage()
  leaks.note()
  known = children()
  open = descriptors()
end

local function check()
  leaks.check()
  assert.same(open, descriptors())
  for pid, text in pairs(children()) do
    assert(known[pid] or gone(pid), "the process " .. text .. " is left")
  end
end

-- output(options) → all that a child writes to stdout, and how it ended.
local function output(options)
  options.stdout = "pipe"
  local child <close> = assert(spawn(options))
  local bytes = assert(child.stdout:read_to_end())
  child.stdout:close()
  if child.stdin then
    child.stdin:close()
  end
  return bytes, assert(child:wait(10))
end

local function spec(name, body)
  describe(name, function()
    before_each(note)
    after_each(check)
    body()
  end)
end

if not stat(tcpnet.private.pid()) then
  describe("process", function()
    pending "needs /proc"
  end)
  return
end

spec("a child's arguments", function()
  it("come as they are: spaces, nothing, quotes, bytes, numbers", in_task(function()
    local words = { "a b", "", "'\"\\$HOME`x`", "line\nbreak", "\1\127\128\255", "*", "-n", "ü" }
    local script = "for word; do printf '[%s]' \"$word\"; done"
    local bytes = output { "sh", "-c", script, "sh", table.unpack(words) }
    assert.equal("[" .. table.concat(words, "][") .. "]", bytes)
    assert.equal("[1][-2][1.5][1e+100]", (output { "sh", "-c", script, "sh", 1, -2, 1.5, 1e100 }))
  end))

  it("may be as many as the system takes", in_task(function()
    local list = { "sh", "-c", "echo $#; eval echo \\${$#}", "sh" }
    for i = 1, 5000 do
      list[#list + 1] = "argument" .. i
    end
    assert.equal("5000\nargument5000\n", (output(list)))
  end))

  it("are refused when they are no list of words", function()
    for _, wrong in ipairs {
      {}, { true }, { {} }, { "true", {} }, { "true", false }, { "true", nil, "third" }, { "a\0b" }, { "true", "\0" },
      { "true", bogus = 1 }, { "true", [1.5] = "x" }, { "true", [0] = "x" }, { "true", [-1] = "x" },
    } do
      assert.error_matches(function() spawn(wrong) end, "bad argument #1 to 'spawn' %(")
    end
    for _, wrong in ipairs { "true", 1, false, print } do
      assert.error_matches(function() spawn(wrong) end, "bad argument #1 to 'spawn' %(table expected")
    end
    assert.error_matches(function() spawn() end, "table expected")
    assert.error_matches(function() spawn { "true", bogus = 1 } end, "unknown option 'bogus'")
    assert.error_matches(function() spawn { "true", nil, "third" } end, "without holes expected, but item 2 is nil")
  end)
end)

spec("output", function()
  local whole = tcpnet.process.output

  steps.both(it)("gives all that a child wrote, and how it ended", function()
    assert.same({ code = 0, stdout = "one\n", stderr = "" }, whole { "echo", "one" })
    assert.same({ code = 3, stdout = "out\n", stderr = "err\n" },
      whole { "sh", "-c", "echo out; echo err >&2; exit 3" })
    assert.same({ signal = "SIGKILL", stdout = "before\n", stderr = "" },
      whole { "sh", "-c", "echo before; kill -9 $$" })
    assert.same({ code = 0, stdout = "here", stderr = "" },
      whole { "sh", "-c", "printf %s \"$WHERE\"", env = { WHERE = "here" }, cwd = "/" })
  end)

  it("gives a child its input, and an end without one", in_task(function()
    local buffer = tcpnet.Buffer.new(10)
    buffer:append "buffer"
    for input, expected in pairs { text = "text", [12] = "12", [buffer] = "buffer", [""] = "" } do
      assert.equal(expected, whole({ "cat", input = input }).stdout)
    end
    assert.same({ code = 0, stdout = "", stderr = "" }, whole { "cat" })
    assert.equal("buffer", tostring(buffer))
  end))

  it("lets more than a pipe holds go both ways at once, and past a child that does not read it", in_task(function()
    local input = tcp.bytes(1 << 20)
    local result = whole { "sh", "-c", "tee /dev/stderr", input = input }
    assert.is_true(result.stdout == input and result.stderr == input)
    assert.same({ code = 0, stdout = "", stderr = "" }, whole { "true", input = input })
  end))

  it("has no text of what goes elsewhere", in_task(function()
    local command = { "sh", "-c", "echo out; echo err >&2", stderr = "null" }
    assert.same({ code = 0, stdout = "out\n" }, whole(command))
    assert.same({ "sh", "-c", "echo out; echo err >&2", stderr = "null" }, command)
    assert.same({ code = 0 }, whole { "true", stdout = "null", stderr = "null" })
    local sender, receiver <close> = tcpnet.pipe()
    assert.same({ code = 0, stderr = "" }, whole { "echo", "elsewhere", stdout = sender })
    assert.equal("elsewhere\n", receiver:read_to_end())
  end))

  it("kills the child where it is cancelled or out of time", in_task(function()
    local path = os.tmpname()
    for _, stop in ipairs {
      function(fn) fails("TIMEOUT", tcpnet.timeout(0.2, fn)) end,
      function(fn)
        local task = tcpnet.spawn(fn)
        tcpnet.sleep(0.2)
        task:cancel()
      end,
    } do
      stop(function() whole { "sh", "-c", "echo $$ > " .. path .. "; cat; sleep 60", input = "some" } end)
      assert.is_true(gone(tonumber(read_all(path))))
    end
    os.remove(path)
  end))

  it("fails as spawn does, under its own name", in_task(function()
    assert.equal("output", fails("ENOENT", whole { "no-such-program" }).op)
    assert.equal("/nowhere", fails("ENOENT", whole { "true", cwd = "/nowhere" }).address)
    for wrong, message in pairs {
      [{}] = "a program expected", [{ "true", bogus = 1 }] = "unknown option 'bogus'",
      [{ "true", input = {} }] = "input: string, number or Buffer expected, got table",
      [{ "true", input = "x", stdin = "null" }] = "stdin or input expected, not both",
      [{ "true", stdin = "pipe" }] = "stdin: no pipe expected", [{ "true", stdout = 1.5 }] = "stdout: ",
      [{ "true", env = 1 }] = "env: table expected", [{ "true", cwd = 1 }] = "cwd: ",
      [{ "true", detached = 1 }] = "detached: ", [5] = "table expected, got integer",
    } do
      tcp.raises(function() whole(wrong) end, "process_spec.lua:", "bad argument #1 to 'output' (", message)
    end
  end))
end)

spec("a child's environment", function()
  it("is this process's own without env", in_task(function()
    assert.equal(os.getenv "PATH" .. "\n", (output { "sh", "-c", "echo \"$PATH\"" }))
  end))

  it("has what env adds, changes and takes away", in_task(function()
    local bytes = output {
      "sh", "-c", "echo \"$TCPNET_NEW|$TCPNET_EMPTY|${TCPNET_EMPTY+set}|$HOME|${LANG-none}|$PATH\"",
      env = { TCPNET_NEW = "a=b c\n", TCPNET_EMPTY = "", HOME = "/nowhere", LANG = false, TCPNET_NOT_THERE = false },
    }
    assert.equal("a=b c\n||set|/nowhere|none|" .. os.getenv "PATH" .. "\n", bytes)
  end))

  it("has no name twice, and changes nothing here", in_task(function()
    local home = os.getenv "HOME"
    local bytes = output { "env", env = { HOME = "/elsewhere" } }
    local _, count = ("\n" .. bytes):gsub("\nHOME=[^\n]*", "")
    assert.equal(1, count)
    assert.equal(home, os.getenv "HOME")
  end))

  it("says where the program is looked for", in_task(function()
    local folder <close> = program.folder()
    program.write(folder.path .. "/tcpnet-tool", "#!/bin/sh\necho found\n")
    assert(os.execute("chmod +x " .. folder.path .. "/tcpnet-tool"))
    fails("ENOENT", spawn { "tcpnet-tool" })
    assert.equal("found\n", (output { "tcpnet-tool", env = { PATH = folder.path .. ":" .. os.getenv "PATH" } }))
  end))

  it("is refused when it is no table of strings", function()
    for _, wrong in ipairs {
      "x", 1, true, { A = 1 }, { A = true }, { A = {} }, { A = "a\0b" }, { "x" }, { [""] = "x" }, { ["A=B"] = "x" },
      { ["A\0B"] = "x" },
    } do
      assert.error_matches(function() spawn { "true", env = wrong } end, "env")
    end
  end)
end)

spec("a child's folder and session", function()
  it("are this process's own, or as cwd and detached say", in_task(function()
    assert.equal(shell "pwd -P", (output { "pwd", "-P" }))
    assert.equal("/\n", (output { "pwd", "-P", cwd = "/" }))
    local _, _, _, session = stat(tcpnet.private.pid())
    for _, detached in ipairs { false, true } do
      local child <close> = assert(spawn { "sleep", 30, detached = detached })
      local _, parent, _, its = stat(child:pid())
      assert.equal(tcpnet.private.pid(), parent)
      assert.equal(detached and child:pid() or session, its)
    end
  end))

  it("are refused when they are of another type", function()
    for _, wrong in ipairs { 1, true, {}, "a\0b" } do
      assert.error_matches(function() spawn { "true", cwd = wrong } end, "cwd")
    end
    for _, wrong in ipairs { 1, "yes", {} } do
      assert.error_matches(function() spawn { "true", detached = wrong } end, "detached")
    end
  end)

  it("end with the object though detached", in_task(function()
    local child = assert(spawn { "sleep", 30, detached = true })
    child:close()
    assert.is_true(gone(child:pid()))
  end))
end)

spec("a child's streams", function()
  it("\"pipe\" are streams of the object", in_task(function()
    local child <close> = assert(spawn {
      "sh", "-c", "read line; echo \"out $line\"; echo \"err $line\" >&2; cat >/dev/null; echo end",
      stdin = "pipe", stdout = "pipe", stderr = "pipe",
    })
    assert.equal("PipeSender", tcpnet.private.kind(child.stdin))
    assert.equal("PipeReceiver", tcpnet.private.kind(child.stdout))
    assert.equal("PipeReceiver", tcpnet.private.kind(child.stderr))
    assert.equal(5, child.stdin:write "word\n")
    assert.equal("out word", child.stdout:read_line())
    assert.equal("err word", child.stderr:read_line())
    assert.is_true(tcp.waits(child.stdout.read, child.stdout))
    child.stdin:close()
    assert.equal("end\n", child.stdout:read_to_end())
    assert.equal("", child.stderr:read_to_end())
    assert.same({ code = 0 }, child:wait())
    child.stdout:close()
    child.stderr:close()
  end))

  it("are there only where asked for", in_task(function()
    local child <close> = assert(spawn { "true", stdin = "null" })
    assert.is_nil(child.stdin)
    assert.is_nil(child.stdout)
    assert.is_nil(child.stderr)
    assert.is_nil(child.bogus)
    assert.same({ code = 0 }, child:wait())
  end))

  it("\"null\" are /dev/null", in_task(function()
    local script = "for i in 0 2; do readlink /proc/self/fd/$i; done; cat"
    assert.equal("/dev/null\n/dev/null\n", (output { "sh", "-c", script, stdin = "null", stderr = "null" }))
    script = "exec 3>&1; readlink /proc/$$/fd/3 >&2; :" -- the shell moves its own for a redirection
    local child <close> = assert(spawn { "sh", "-c", script, stdout = "null", stderr = "pipe" })
    assert.equal("/dev/null\n", child.stderr:read_to_end())
    child.stderr:close()
  end))

  it("\"inherit\" are this process's own, as nothing at all is", function()
    for _, how in ipairs { "'inherit'", "nil" } do
      assert.same({ 0, "in out err" }, { program.shell(("printf 'in ' | { %s; }"):format(tcp.with_script(([[
        local child = assert(tcpnet.process.spawn {
          "sh", "-c", "cat; printf 'out '; printf err >&2", stdin = %s, stdout = %s, stderr = %s
        })
        os.exit(assert(child:wait(10)).code)
      ]]):format(how, how, how), function(path)
        local folder = program.folder()
        local copy = program.write(folder.path .. "/script.lua", read_all(path))
        return program.command(copy) .. "; status=$?; rm -r " .. folder.path .. "; (exit $status)"
      end))) })
    end
  end)

  it("a number is that descriptor, and may be swapped with another", function()
    local code, text = program.shell(tcp.with_script([[
      local child = assert(tcpnet.process.spawn { "sh", "-c", "echo to-1; echo to-2 >&2", stdout = 2, stderr = 1 })
      os.exit(assert(child:wait(10)).code)
    ]], function(path)
      local folder = program.folder()
      local copy = program.write(folder.path .. "/script.lua", read_all(path))
      return ("cd %s; { %s; } >one 2>two; echo $?; cat one; echo --; cat two; rm -r %s"):format(folder.path,
        program.command(copy), folder.path)
    end))
    assert.same({ 0, "0\nto-2\n--\nto-1\n" }, { code, text })
  end)

  it("a number stays open here", in_task(function()
    local theirs, ours = assert(tcpnet.UnixStream.pair())
    local fd = assert(theirs:into_fd())
    local child <close> = assert(spawn { "echo", "hello", stdout = fd })
    assert.same({ code = 0 }, child:wait())
    assert.equal("hello", ours:read_line())
    local again = assert(tcpnet.UnixStream.from_fd(fd))
    local _both <close> = tcp.guard(again, ours)
    assert(again:write "still open\n")
    assert.equal("still open", ours:read_line())
  end))

  it("the number of an object is refused: it would block here as it does in the child", in_task(function()
    local sender, receiver = assert(tcpnet.pipe())
    local _both <close> = tcp.guard(sender, receiver)
    fails("EBUSY", spawn { "echo", "hello", stdin = "pipe", stdout = sender:fd() })
    assert.is_false(sender:closed())
    local flags = read_all("/proc/self/fdinfo/" .. sender:fd()):match "flags:%s*(%d+)"
    assert.equal(NONBLOCK, tonumber(flags, 8) & NONBLOCK)
  end))

  it("an object is the child's, and closed here", in_task(function()
    local sender, receiver <close> = assert(tcpnet.pipe())
    local child <close> = assert(spawn { "echo", "through the pipe", stdout = sender })
    assert.is_true(sender:closed())
    fails("CLOSED", sender:write "x")
    assert.equal("through the pipe\n", receiver:read_to_end()) -- there is no other writer
    assert.same({ code = 0 }, child:wait())
  end))

  it("one object for two of them, a Unix stream", in_task(function()
    local theirs, ours <close> = assert(tcpnet.UnixStream.pair())
    local child <close> = assert(spawn { "sh", "-c", "cat; echo err >&2", stdin = theirs, stdout = theirs,
      stderr = theirs })
    assert.is_true(theirs:closed())
    assert(ours:write(tcp.bytes(100000)))
    assert(ours:shutdown())
    assert.is_true(ours:read_to_end() == tcp.bytes(100000) .. "err\n")
    assert.same({ code = 0 }, child:wait())
  end))

  it("a TCP connection: the child serves it", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local child <close> = assert(spawn { "cat", stdin = server, stdout = server })
    assert.is_true(server:closed())
    assert(client:write "hello")
    assert.equal("hello", client:read_exact(5))
    assert(client:shutdown())
    assert.equal("", client:read_to_end())
    assert.same({ code = 0 }, child:wait())
  end))

  it("block in the child, as programs expect it", in_task(function()
    local theirs, ours <close> = assert(tcpnet.UnixStream.pair())
    local child <close> = assert(spawn { "sh", "-c", "cat /proc/$$/fdinfo/0; read x", stdin = theirs, stdout = "pipe" })
    local flags
    repeat
      flags = assert(child.stdout:read_line()):match "^flags:%s*(%d+)"
    until flags
    assert.equal(0, tonumber(flags, 8) & NONBLOCK)
    child.stdout:close()
    ours:write "x\n"
    child:wait()
  end))

  it("an object with bytes read ahead is refused: they would be lost", in_task(function()
    local theirs, ours = assert(tcpnet.UnixStream.pair())
    local _both <close> = tcp.guard(theirs, ours)
    assert(ours:write "head\nrest\n")
    assert(ours:shutdown())
    assert.equal("head", theirs:read_line())
    assert.equal(5, theirs:buffered())
    fails("EBUSY", spawn { "cat", stdin = theirs, stdout = "null" })
    assert.equal("rest", theirs:read_line())
  end))

  it("closed objects are CLOSED, and those given beside them are not leaked", in_task(function()
    local sender, receiver <close> = assert(tcpnet.pipe())
    sender:close()
    fails("CLOSED", spawn { "true", stdin = "pipe", stdout = sender, stderr = "pipe" })
    fails("CLOSED", spawn { "true", stdin = "pipe", stdout = "pipe", stderr = sender })
    fails("EBADF", spawn { "true", stdin = "pipe", stdout = 9999 })
    assert.is_false(receiver:closed())
  end))

  it("that are nothing of all this are misuse, which takes nothing away", in_task(function()
    for _, wrong in ipairs { "bogus", "", -1, 1.5, true, {}, print, 0 / 0, tcpnet.Buffer.new(8), io.stdout } do
      for _, name in ipairs { "stdin", "stdout", "stderr" } do
        assert.error_matches(function() spawn { "true", [name] = wrong } end, name .. ": ")
      end
    end
    local theirs, ours = assert(tcpnet.UnixStream.pair())
    local _both <close> = tcp.guard(theirs, ours)
    assert.has_error(function() spawn { "true", stdin = theirs, stderr = "bogus" } end)
    assert.is_false(theirs:closed())
    assert.is_false(ours:closed())
  end))

  it("pass much in both directions at once", in_task(function()
    local all = tcp.bytes(8 << 20)
    local child <close> = assert(spawn { "cat", stdin = "pipe", stdout = "pipe" })
    local writer = tcpnet.spawn(function()
      local count = assert(child.stdin:write(all))
      child.stdin:close()
      return count
    end)
    assert.is_true(child.stdout:read_to_end() == all)
    assert.same({ true, #all }, { writer:join(5) })
    child.stdout:close()
    assert.same({ code = 0 }, child:wait())
  end))

  it("are copied like any other", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local all = tcp.bytes(3000000)
    local child <close> = assert(spawn { "cat", stdin = "pipe", stdout = "pipe" })
    tcpnet.spawn(function()
      assert(client:write(all))
      assert(client:shutdown())
    end)
    local there = tcpnet.spawn(function()
      local count = assert(tcpnet.copy(server, child.stdin))
      child.stdin:close()
      return count
    end)
    local back = tcpnet.spawn(function()
      local count = assert(tcpnet.copy(child.stdout, server))
      assert(server:shutdown())
      return count
    end)
    assert.is_true(client:read_to_end() == all)
    assert.same({ true, #all }, { there:join(5) })
    assert.same({ true, #all }, { back:join(5) })
    child.stdout:close()
  end))

  it("say EPIPE when the child is gone, and the end", in_task(function()
    local child <close> = assert(spawn { "true", stdin = "pipe", stdout = "pipe" })
    assert.same({ code = 0 }, child:wait())
    fails("EPIPE", child.stdin:write "nobody reads this")
    assert.same({}, { child.stdout:read() })
    child.stdin:close()
    child.stdout:close()
  end))

  it("outlive the object, which does not close them", in_task(function()
    local child = assert(spawn { "sh", "-c", "echo said; sleep 30", stdout = "pipe" })
    local stdout <close> = child.stdout
    assert.equal("said", stdout:read_line())
    child:close()
    assert.is_false(stdout:closed())
    assert.is_true(gone(child:pid()))
  end))
end)

spec("a child that cannot be started", function()
  it("gives the system's reason, the program's name, and leaves nothing", in_task(function()
    local folder <close> = program.folder()
    local plain = program.write(folder.path .. "/plain", "no program")
    local garbled = program.write(folder.path .. "/garbled", "#!/nowhere/at/all\n")
    assert(os.execute("chmod +x " .. garbled))
    for _, case in ipairs {
      { "ENOENT", "/nowhere/program" }, { "ENOENT", "tcpnet-has-no-such-program" }, { "ENOENT", "" },
      { "EACCES", "/" }, { "EACCES", plain }, { "ENOTDIR", plain .. "/program" }, { "ENOENT", garbled },
      { "ENAMETOOLONG", "/" .. ("x"):rep(10000) },
    } do
      local err = fails(case[1], spawn { case[2], stdin = "pipe", stdout = "pipe", stderr = "pipe" })
      assert.equal("spawn", err.op)
      assert.equal(case[2], err.address)
    end
    for cwd, code in pairs { [folder.path .. "/missing"] = "ENOENT", [""] = "ENOENT", [plain] = "ENOTDIR" } do
      local err = fails(code, spawn { "true", cwd = cwd, stdout = "pipe" })
      assert.equal(cwd, err.address)
      assert.matches("cannot enter that folder", err.message)
    end
  end))

  it("for its arguments are too long (E2BIG)", in_task(function()
    fails("E2BIG", spawn { "true", ("x"):rep(1 << 20), stdout = "pipe" })
    fails("E2BIG", spawn { "true", env = { TCPNET_BIG = ("x"):rep(1 << 20) } })
    local list = { "true" }
    for i = 2, 100000 do
      list[i] = ("y"):rep(100)
    end
    fails("E2BIG", spawn(list))
  end))

  it("for lack of descriptors is EMFILE, and leaks none, whichever is missing", function()
    local text, status = tcp.child([[
      local function count()
        local least = math.huge
        for _ = 1, 5 do -- what starts the shell may still have descriptors of its own
          local n, path = 0, os.tmpname()
          assert(os.execute("ls /proc/$PPID/fd >" .. path))
          for _ in io.lines(path) do n = n + 1 end
          os.remove(path)
          least = math.min(least, n)
        end
        return least
      end
      local before = count()
      local kept, codes, started = {}, {}, 0
      while #kept < 200 do -- one descriptor less from round to round
        local socket, err = tcpnet.TcpSocket.new_v4()
        if not socket then assert(err.code == "EMFILE") break end
        kept[#kept + 1] = socket
        local child, why = tcpnet.process.spawn { "true", stdin = "pipe", stdout = "pipe", stderr = "pipe" }
        if child then
          started = started + 1
          assert(child:wait(10).code == 0)
          child.stdin:close() child.stdout:close() child.stderr:close() child:close()
        else
          codes[why.code] = (codes[why.code] or 0) + 1
        end
      end
      for i, socket in ipairs(kept) do socket:close() end
      kept = nil
      assert(count() == before, "leaked")
      for code, times in pairs(codes) do print(code, times >= 6) end
      print(started > 3)
      print(tcpnet.process.spawn { "sh", "-c", "exit 4" }:wait(10).code)
    ]], [[ulimit -n 40; exec "$LUA" "$SCRIPT"]])
    assert.same({ "EMFILE\ttrue\ntrue\n4\n", 0 }, { text, status })
  end)
end)

spec("wait", function()
  it("gives the code, again and again, each a table of its own", in_task(function()
    for _, code in ipairs { 0, 1, 3, 127, 255 } do
      local child <close> = assert(spawn { "sh", "-c", "exit " .. code })
      local first = assert(child:wait())
      assert.same({ code = code }, first)
      assert.equal("integer", math.type(first.code))
      first.code = "changed"
      assert.same({ code = code }, child:wait())
      assert.same({ code = code }, child:wait(0))
    end
  end))

  it("gives the name of the signal that ended it", in_task(function()
    for _, name in ipairs { "KILL", "TERM", "HUP", "USR1", "USR2", "INT", "PIPE", "ALRM" } do
      local child <close> = assert(spawn { "sh", "-c", ("kill -%s $$"):format(name) })
      assert.same({ signal = "SIG" .. name }, child:wait())
    end
  end))

  it("gives the number of a signal without a name", in_task(function()
    local child <close> = assert(spawn { "sh", "-c", "kill -40 $$" })
    assert.same({ signal = 40 }, child:wait())
  end))

  it("wakes every task that waits", in_task(function()
    local child <close> = assert(spawn { "sh", "-c", "read line; exit 9", stdin = "pipe" })
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = tcpnet.spawn(child.wait, child)
    end
    tcpnet.sleep(0.005)
    child.stdin:write "go\n"
    for _, task in ipairs(tasks) do
      assert.same({ true, { code = 9 } }, { task:join(5) })
    end
    child.stdin:close()
  end))

  it("takes seconds, and may be called again after them", in_task(function()
    local child <close> = assert(spawn { "sh", "-c", "read line; exit 5", stdin = "pipe" })
    assert.equal("wait", fails("TIMEOUT", child:wait(0.01)).op)
    fails("TIMEOUT", child:wait(0))
    assert.equal("timeout", fails("TIMEOUT", tcpnet.timeout(0.01, child.wait, child)).op)
    child.stdin:close()
    assert.same({ code = 5 }, child:wait(5))
    for _, wrong in ipairs { -1, 0 / 0, "x", {} } do
      assert.has_error(function() child:wait(wrong) end)
    end
  end))

  it("that is cancelled leaves the child alone", in_task(function()
    local child <close> = assert(spawn { "sh", "-c", "read line; exit 6", stdin = "pipe" })
    local task = tcpnet.spawn(child.wait, child)
    tcpnet.sleep(0.005)
    assert.equal("waiting", task:status())
    task:cancel()
    fails("CANCELED", task:join())
    fails("TIMEOUT", child:wait(0.01))
    child.stdin:close()
    assert.same({ code = 6 }, child:wait(5))
  end))

  it("outside every task needs none, and lets tasks go on", function()
    local child <close> = assert(spawn { "sh", "-c", "read line; exit 2", stdin = "pipe" })
    tcpnet.spawn(function()
      tcpnet.sleep(0.005)
      child.stdin:close()
    end)
    assert.same({ code = 2 }, child:wait())
  end)

  it("alone is no deadlock", function()
    local child <close> = assert(spawn { "sleep", 0.05 })
    assert.same({ code = 0 }, tcpnet.run(child.wait, child))
  end)

  it("finds a child that ended while nobody looked", in_task(function()
    local child <close> = assert(spawn { "true" })
    os.execute "sleep 0.05" -- no turn of the loop meanwhile
    assert.same({ code = 0 }, child:wait(5))
  end))

  it("is of a Child", function()
    for _, wrong in ipairs { 1, "x", {}, io.stdout } do
      assert.has_error(function() tcpnet.Child.wait(wrong) end)
    end
  end)

  it("leaves other children of the process to whoever started them", in_task(function()
    local pipe = io.popen "sleep 0.02; exit 7"
    for _ = 1, 5 do
      assert.same({ code = 0 }, assert(spawn { "true" }):wait())
    end
    tcpnet.sleep(0.03)
    assert.same({ nil, "exit", 7 }, { pipe:close() })
    assert.same({ nil, "exit", 8 }, { os.execute "exit 8" })
  end))
end)

spec("kill", function()
  it("by default ends it for sure", in_task(function()
    local child <close> = assert(spawn { "sh", "-c", TRAP, stdout = "pipe" })
    assert.equal("ready", child.stdout:read_line())
    assert.equal(child, child:kill "SIGTERM")
    fails("TIMEOUT", child:wait(0.05))
    assert.equal(child, child:kill())
    assert.same({ signal = "SIGKILL" }, child:wait(5))
    child.stdout:close()
  end))

  it("takes names and numbers", in_task(function()
    for _, case in ipairs { { "SIGTERM", "SIGTERM" }, { 15, "SIGTERM" }, { "SIGUSR1", "SIGUSR1" }, { 1, "SIGHUP" },
      { 9.0, "SIGKILL" } } do
      local child <close> = assert(spawn { "sleep", 30 })
      assert.equal(child, child:kill(case[1]))
      assert.same({ signal = case[2] }, child:wait(5))
    end
  end))

  it("may stop a child and let it go on", in_task(function()
    local child <close> = assert(spawn { "cat", stdin = "pipe", stdout = "pipe" })
    child:kill "SIGSTOP"
    child.stdin:write "frozen\n"
    local give_up = tcpnet.now() + 5
    while stat(child:pid()) ~= "T" and tcpnet.now() < give_up do
      tcpnet.sleep(0.002)
    end
    assert.equal("T", (stat(child:pid())))
    fails("TIMEOUT", child:wait(0.02)) -- stopped is not ended
    child:kill "SIGCONT"
    assert.equal("frozen", child.stdout:read_line())
    child.stdin:close()
    assert.same({ code = 0 }, child:wait(5))
    child.stdout:close()
  end))

  it("of one that has ended is ESRCH, whoever has that number now", in_task(function()
    local child <close> = assert(spawn { "true" })
    child:wait()
    local err = fails("ESRCH", child:kill())
    assert.equal("kill", err.op)
    fails("ESRCH", child:kill "SIGTERM")
    child:close()
    fails("CLOSED", child:kill())
  end))

  it("refuses what is no signal", in_task(function()
    local child <close> = assert(spawn { "sleep", 30 })
    for _, wrong in ipairs { "SIGNOTHING", "TERM", "sigterm", "", 0, -1, 65, 1.5, {}, true } do
      assert.has_error(function() child:kill(wrong) end)
    end
    fails("TIMEOUT", child:wait(0.01))
  end))
end)

spec("the end of the object", function()
  it("by close kills and reaps, twice too, and ends the waits", in_task(function()
    local child = assert(spawn { "sh", "-c", TRAP, stdout = "pipe" })
    assert.equal("ready", child.stdout:read_line())
    child.stdout:close()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = tcpnet.spawn(child.wait, child)
    end
    tcpnet.yield()
    assert.is_false(child:closed())
    child:close()
    child:close()
    assert.is_true(child:closed())
    for _, task in ipairs(tasks) do
      local ok, result, err = task:join(5)
      assert.is_true(ok)
      fails("CLOSED", result, err)
    end
    fails("CLOSED", child:wait())
    assert.is_true(gone(child:pid()))
  end))

  it("by __close, in a task that is cancelled too", in_task(function()
    local pid
    do
      local child <close> = assert(spawn { "sleep", 30 })
      pid = child:pid()
    end
    assert.is_true(gone(pid))
    local task = tcpnet.spawn(function()
      local child <close> = assert(spawn { "sleep", 30 })
      pid = child:pid()
      child:wait()
    end)
    tcpnet.sleep(0.005)
    assert.equal("waiting", task:status())
    task:cancel()
    assert.is_true(gone(pid))
  end))

  it("by the collector", in_task(function()
    local pids = {}
    for i = 1, 10 do
      pids[i] = assert(spawn { "sleep", 30 }):pid()
    end
    collectgarbage()
    collectgarbage()
    for _, pid in ipairs(pids) do
      assert.is_true(gone(pid))
    end
  end))

  it("does not come while a task waits in it, or the variable lives", in_task(function()
    local task = tcpnet.spawn(function()
      return assert(spawn { "sleep", 0.1 }):wait()
    end)
    local child = assert(spawn { "sleep", 0.1 })
    for _ = 1, 3 do
      tcpnet.sleep(0.005)
      collectgarbage()
    end
    assert.same({ true, { code = 0 } }, { task:join(5) })
    assert.same({ code = 0 }, child:wait(5))
  end))

  it("of one that has ended already signals nobody", in_task(function()
    local child = assert(spawn { "true" })
    child:wait()
    child:close()
    assert.is_true(gone(child:pid()))
    local other = assert(spawn { "true" }) -- ended, but nobody has looked
    os.execute "sleep 0.02"
    other:close()
    assert.is_true(gone(other:pid()))
  end))

  it("shows in its text", in_task(function()
    local child = assert(spawn { "sleep", 30 })
    local pid = child:pid()
    assert.equal("integer", math.type(pid))
    assert.equal(("Child (pid %d)"):format(pid), tostring(child))
    child:kill()
    child:wait()
    assert.equal(("Child (pid %d, ended)"):format(pid), tostring(child))
    child:close()
    assert.equal(("Child (pid %d, closed)"):format(pid), tostring(child))
    assert.equal(pid, child:pid())
  end))

  it("of a hundred at once, some ended, some killed, some closed, some forgotten", in_task(function()
    local children_here, pids = {}, {}
    for i = 1, 100 do
      local child = assert(spawn { "sh", "-c", i % 4 == 0 and "exit " .. i or "exec sleep 30", stdin = "pipe" })
      children_here[i], pids[i] = child, child:pid()
    end
    for i, child in ipairs(children_here) do
      if i % 4 == 0 then
        assert.same({ code = i }, child:wait(10))
      elseif i % 4 == 1 then
        child:kill "SIGTERM"
        assert.same({ signal = "SIGTERM" }, child:wait(10))
      elseif i % 4 == 2 then
        child:close()
      end
    end
    children_here = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    for _, pid in ipairs(pids) do
      assert.is_true(gone(pid))
    end
  end))
end)

spec("the end of the program", function()
  for how, ending in pairs {
    ["the end of the file"] = "",
    ["os.exit that closes the state"] = "os.exit(0, true)",
    ["an error"] = "error 'over'",
    ["an error in run"] = "tcpnet.run(function() tcpnet.spawn(child.wait, child) tcpnet.yield() error 'over' end)",
    ["the end of run"] = "tcpnet.run(function() tcpnet.spawn(child.wait, child) tcpnet.yield() end)",
  } do
    it("by " .. how .. " leaves no child", function()
      local text = tcp.child([[
        local child = assert(tcpnet.process.spawn {
          "sh", "-c", "trap '' TERM HUP INT; echo ready; while :; do sleep 1; done", stdout = "pipe", stdin = "pipe" })
        local other = assert(tcpnet.process.spawn { "sleep", 60, detached = true })
        local ended = assert(tcpnet.process.spawn { "true" })
        assert(child.stdout:read_line() == "ready")
        print(child:pid(), other:pid(), ended:pid())
      ]] .. ending)
      local first, second, third = text:match "^(%d+)\t(%d+)\t(%d+)\n"
      assert(first, text)
      for _, pid in ipairs { first, second, third } do
        assert.is_true(gone(tonumber(pid)), "process " .. pid .. " is left")
      end
    end)
  end
end)

spec("a fork of the host", function()
  it("that ends, closes or collects leaves the parent's children alone", function()
    local folder <close> = program.folder()
    local library = program.c(folder, "forker.so", [[
      #include <lauxlib.h>
      #include <sys/wait.h>
      #include <unistd.h>
      static int l_fork(lua_State *L) { lua_pushinteger(L, fork()); return 1; }
      static int l_wait(lua_State *L) {
        int status = 0;
        waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
        lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        return 1;
      }
      int luaopen_forker(lua_State *L) {
        lua_newtable(L);
        lua_pushcfunction(L, l_fork); lua_setfield(L, -2, "fork");
        lua_pushcfunction(L, l_wait); lua_setfield(L, -2, "wait");
        return 1;
      }
    ]], "-shared -fPIC")
    if not library then
      return pending "no C compiler, or no headers of Lua"
    end
    for _, ending in ipairs { "child:close()", "child = nil collectgarbage() collectgarbage()", "" } do
      local code, text = program.lua(([[
        local forker = package.loadlib(%q, "luaopen_forker")()
        local tcpnet = require "tcpnet"
        io.stdout:setvbuf "no"
        local child = assert(tcpnet.process.spawn { "cat", stdin = "pipe", stdout = "pipe" })
        local stdin, stdout = child.stdin, child.stdout
        child:wait(0.01)
        local pid = forker.fork()
        if pid == 0 then
          for _, call in ipairs {
            function() return child:wait() end,
            function() return child:kill() end,
            function() return tcpnet.process.spawn { "true" } end,
            function() return tcpnet.signal "SIGUSR1" end,
          } do
            local ok, first, second = pcall(call)
            local message = tostring(not ok and first or second)
            if ok and first or not message:find "fork" then
              print("the fork: " .. message)
              os.exit(1, true)
            end
          end
          %s
          os.exit(42, true)
        end
        print(forker.wait(pid))
        print(stdin:write "still there\n", stdout:read_line())
        stdin:close()
        print(child:wait(5).code)
      ]]):format(library, ending))
      assert.same({ 0, "42\n12\tstill there\n0\n" }, { code, text })
    end
  end)
end)
