-- Programs run in a process of their own: for what ends, or interrupts, a whole process.
local program = {}

local interpreter = "lua5.4"
for i = 0, -20, -1 do
  interpreter = arg and arg[i] or interpreter
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local flavour = (os.getenv "TCPNET_BUILD" or ""):match "[^/]*$"
-- The interpreter is made for another machine, or another C library; an emulator runs it.
program.foreign = flavour:find "cross" ~= nil
program.emulated = flavour:find "arm64" ~= nil or flavour:find "s390x" ~= nil
-- The build under test has a sanitizer in it: memory is kept once it is freed, valgrind cannot run it, …
program.sanitized = (flavour:find "sanitize" or flavour:find "checked" or flavour:find "threads") ~= nil
-- Lua of that build moves its stack at every chance, which allocates.
program.moves_stacks = flavour:find "checked" ~= nil
-- Why few descriptors are not enough for what runs there, or false.
program.needs_descriptors = (program.sanitized or flavour:find "coverage" ~= nil)
  and "the sanitizers need descriptors of their own, and so do the counts of lines"
-- TSan delivers a signal with the next system call, which a script that computes does not make.
program.defers_signals = flavour:find "threads" ~= nil

-- TSan has a thread of its own, which is started first.
program.own_threads = flavour:find "threads" and 1 or 0

program.quote = quote
program.interpreter = interpreter

function program.write(path, text)
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  assert(file:close())
  return path
end

-- A directory that its __close removes; tostring gives the path.
function program.folder()
  local pipe = assert(io.popen "mktemp -d")
  local path = pipe:read "l"
  pipe:close()
  return setmetatable({ path = path }, {
    __close = function()
      os.execute("rm -rf " .. quote(path))
    end,
    __tostring = function()
      return path
    end,
  })
end

-- A folder with a FIFO in it → folder (to be closed), path
function program.fifo()
  local folder = program.folder()
  local path = folder.path .. "/fifo"
  assert(program.shell("mkfifo " .. quote(path)) == 0)
  return folder, path
end

-- shell(command) → exit code (or the name of how it ended), what it wrote to both outputs.
function program.shell(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null"))
  local output = pipe:read "a"
  local _, how, code = pipe:close()
  return how == "exit" and code or how, output
end

-- The command that runs a script, for at most ten seconds.
function program.command(path)
  return ("timeout -k 1 10 %s %s"):format(quote(interpreter), quote(path))
end

-- The same with a library preloaded, into the interpreter alone, which may be another machine's.
function program.preloaded(path, library)
  return ([[timeout -k 1 10 env LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}%s" %s %s]]):format(library, quote(interpreter),
    quote(path))
end

-- The same with so many descriptors; it is the shell's exec that has them, not a shell that needs some itself.
function program.limited(path, descriptors)
  return ([[timeout -k 1 20 sh -c 'ulimit -n %d; exec "$@"' - %s %s]]):format(descriptors, quote(interpreter),
    quote(path))
end

-- The directory of a build for the same machine whose system calls fail on command, made where it is not there yet.
function program.faults_build()
  local own = os.getenv "TCPNET_BUILD" or ""
  local build = own:find "faults[^/]*$" and own or "build-faults" .. (own:match "%-cross%-[^/]*$" or "")
  assert(os.execute(("TCPNET_BUILD=%s ./dev build"):format(quote(build))))
  return build
end

-- faults(text, arguments) → exit code, output of a script of that text, or of that file, with such a build.
function program.faults(text, arguments)
  local folder <close> = program.folder()
  local path = text:find "^spec/" and text or program.write(folder.path .. "/script.lua", text)
  return program.shell(("TCPNET_BUILD=%s timeout 200 ./dev lua %s %s"):format(quote(program.faults_build()),
    quote(path), arguments or ""))
end

-- lua(text) → exit code, output of a script of that text.
function program.lua(text)
  local folder <close> = program.folder()
  return program.shell(program.command(program.write(folder.path .. "/script.lua", text)))
end

-- interrupted(text) → the same for a script that gets SIGINT a moment after it printed its first line.
function program.interrupted(text)
  local folder <close> = program.folder()
  local script = program.write(folder.path .. "/script.lua", "io.stdout:setvbuf 'no'\n" .. text)
  return program.shell(([[
    cd %s
    timeout -k 1 10 sh -c 'echo $$ >pid; exec "$@"' - %s %s >out 2>&1 &
    for i in $(seq 200); do [ -s out ] && break; sleep 0.02; done
    sleep 0.1
    kill -INT $(cat pid)
    wait $!
    code=$?
    cat out
    exit $code]]):format(quote(folder.path), quote(interpreter), quote(script)))
end

-- c(folder, name, text, flags) → path of what the C compiler made; nil where there is none, or no header. What is
-- loaded into a program finds Lua there.
function program.c(folder, name, text, flags)
  local loaded = (flags or ""):find("-shared", 1, true)
  if program.emulated and not loaded then
    return nil, "the emulator would have to be told"
  end
  program.write(folder.path .. "/" .. name .. ".c", text)
  local code, output = program.shell(([[
    cd %s
    unset LD_PRELOAD
    for lua in lua5.4 lua-5.4 lua; do pkg-config --exists $lua && break; done
    cc -o %s %s.c $(pkg-config --cflags $lua) %s %s]])
    :format(quote(folder.path), name, name, flags or "", loaded and "" or "$(pkg-config --libs $lua)"))
  if code ~= 0 then
    return nil, output
  end
  return folder.path .. "/" .. name
end

-- The program of host.c, which has Lua's allocations fail, and more; nil as with c.
function program.host(folder)
  local file <close> = assert(io.open "spec/support/host.c")
  return program.c(folder, "host", file:read "a", "-D_GNU_SOURCE -Wl,-E -lpthread")
end

-- Where every call may collect, it frees the frame that the next call needs, with nothing left to make it anew: what a
-- call has done cannot be noted then, nor a finalizer run. Lua itself collects there only where its stack must grow.
local WITHOUT_COLLECTIONS = [[
  local attempt_with_collections = attempt
  function attempt(...)
    collectgarbage "stop"
    local results = table.pack(attempt_with_collections(...))
    collectgarbage "restart"
    return table.unpack(results, 1, results.n)
  end
]]

-- in_host(text) → output of a script of that text in such a program, which gives it `attempt`; nil where there is
-- none.
function program.in_host(text)
  local folder <close> = program.folder()
  local host = program.host(folder)
  if not host then
    return nil
  end
  local path = program.write(folder.path .. "/script.lua", (program.moves_stacks and WITHOUT_COLLECTIONS or "") .. text)
  return select(2, program.shell(("timeout -k 1 60 %s run %s"):format(host, program.quote(path))))
end

return program
