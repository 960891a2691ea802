-- A program that was started with a signal ignored ignores it again once its last Signal closes. It did so although
-- others in the process still needed it: of SIGCHLD the loop, so that no child's wait ever ended, and of any other a
-- Signal in another thread.
local program = require "spec.support.program"

-- ignoring(name, text) → exit code, output of a script that begins with that signal ignored. A shell need not hand
-- SIGCHLD on so, hence the env of the GNU system.
local function ignoring(name, text)
  local folder <close> = program.folder()
  local path = program.write(folder.path .. "/script.lua", text)
  return program.shell(("timeout -k 1 20 env --ignore-signal=%s %s %s"):format(name, program.quote(program.interpreter),
    program.quote(path)))
end

describe("a signal that was ignored before the program began", function()
  if program.shell "env --ignore-signal=CHLD true" ~= 0 then
    return pending "no env that ignores signals"
  end

  it("is heard by what waits for children once its Signal is closed", function()
    assert.same({ 0, "3\n4\n" }, { ignoring("CHLD", [[
      local tcpnet = require "tcpnet"
      local signal = assert(tcpnet.signal "SIGCHLD")
      local child <close> = assert(tcpnet.process.spawn { "sh", "-c", "read x; exit 3", stdin = "pipe" })
      signal:close()
      child.stdin:close()
      print(assert(child:wait(5)).code)
      print(tcpnet.timeout(5, tcpnet.process.output, { "sh", "-c", "exit 4" }).code)
    ]]) })
  end)

  it("is heard by a Signal in another thread", function()
    assert.same({ 0, "SIGUSR1\n" }, { ignoring("USR1", [[
      local tcpnet = require "tcpnet"
      tcpnet.run(function()
        local signal = assert(tcpnet.signal "SIGUSR1")
        local workers <close> = assert(tcpnet.workers(1, function(parent)
          local there <close> = assert(tcpnet.signal "SIGUSR1")
          parent:send "listens"
          parent:send(there:recv(5) or "nothing came")
        end))
        workers[1]:recv()
        signal:close()
        os.execute "kill -USR1 $PPID"
        print(workers[1]:recv())
        workers[1]:join()
      end)
    ]]) })
  end)
end)
