-- A program that sleeps for long listens for SIGINT in place of the interpreter, and puts its handler back when it
-- wakes. Where a worker's Signal began meanwhile, it put that in the place of libuv's, and the worker heard nothing;
-- where one ended meanwhile it put libuv's back, and SIGINT did nothing any more.
local program = require "spec.support.program"

local prelude = [[
  local tcpnet = require "tcpnet"
  local workers <close> = assert(tcpnet.workers(1, function(parent)
    local tcpnet = require "tcpnet"
    tcpnet.sleep(parent:recv())
    local listener = assert(tcpnet.signal "SIGINT")
    parent:send "listens"
    parent:send(listener:recv(5) or "nothing came")
    tcpnet.sleep(parent:recv())
    listener:close()
    parent:send "closed"
  end))
  local worker = workers[1]
  local function interrupt()
    tcpnet.process.output { "sh", "-c", "kill -INT $PPID" } -- system(3) would have it ignored
  end
  local function listen_and_close(before, behind)
    worker:send(before)
    worker:recv()
    interrupt()
    print(worker:recv())
    worker:send(behind)
    worker:recv()
    print(pcall(function()
      tcpnet.spawn(function()
        tcpnet.sleep(0.3)
        interrupt()
      end)
      tcpnet.sleep(2)
    end))
  end
]]

local function output_of(body)
  local folder <close> = program.folder()
  local path = program.write(folder.path .. "/script.lua", prelude .. body)
  return program.shell(program.command(path))
end

describe("SIGINT", function()
  if program.defers_signals then
    return pending "TSan keeps a signal until the thread that it came to makes a call, and all of them sleep"
  end

  it("is a worker's whose Signal begins while the main thread sleeps", function()
    local status, output = output_of "listen_and_close(0.3, 0)"
    assert.equal(0, status, output)
    assert.matches("^SIGINT\nfalse\t[^\n]*interrupted!", output)
  end)

  it("is the main thread's again when that ends while it sleeps", function()
    local status, output = output_of "listen_and_close(0, 0.3)"
    assert.equal(0, status, output)
    assert.matches("^SIGINT\nfalse\t[^\n]*interrupted!", output)
  end)
end)
