-- In a process that began without descriptor 0, 1 or 2 the reactor's own took their places: libuv ended the process at
-- the exit, and children had the reactor's epoll as their standard input.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  tcpnet.sleep(0.001)
  local child = assert(tcpnet.process.spawn { "readlink", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2",
    stdout = "pipe" })
  local report = assert(io.open(arg[1], "w"))
  report:write(child.stdout:read_to_end())
  report:close()
  child:wait()
]]

-- What a child found as its standard input, and as its standard error where that is asked for.
local function streams_of_a_child(redirection)
  local folder <close> = program.folder()
  local path = program.write(folder.path .. "/script.lua", script)
  local report = folder.path .. "/report"
  local code, output = program.shell(("%s %s %s"):format(program.command(path), program.quote(report), redirection))
  assert.equal(0, code, output)
  local file <close> = assert(io.open(report))
  return file:read "l", file:read "l" and file:read "l"
end

describe("a process without standard streams", function()
  it("ends by itself, and its children have /dev/null for them", function()
    if program.sanitized then
      return pending "the sanitizers write to them"
    end
    assert.equal("/dev/null", (streams_of_a_child "0<&-"))
    assert.equal("/dev/null", select(2, streams_of_a_child "2>&-"))
    streams_of_a_child "1>&-"
    assert.same({ "/dev/null", "/dev/null" }, { streams_of_a_child "0<&- 1>&- 2>&-" })
  end)

  it("goes on where /dev/null cannot be opened", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      io.stdin:close()
      tcpnet.private.fault("open", 1, 1, "EMFILE")
      local workers <close> = assert(tcpnet.workers(1, function(parent) parent:send(7) end))
      print(workers[1]:recv())
    ]]
    assert.equal("7\n", output)
  end)
end)
