-- from_fd went through all that is open to see whether something had the descriptor: a program that is passed its
-- connections took longer for each the more it had.
local program = require "spec.support.program"

-- A descriptor that nobody has is refused, after that look: the least that so many calls took, of several times.
local script = [[
  local tcpnet = require "tcpnet"
  local FREE, CALLS, OPEN = 5900, 300, 5000

  local function cost()
    local least = math.huge
    for _ = 1, 10 do
      local before = os.clock()
      for _ = 1, CALLS do
        tcpnet.Socket.from_fd(FREE)
      end
      least = math.min(least, os.clock() - before)
    end
    return least
  end

  local few = cost()
  local open = {}
  for i = 1, OPEN, 2 do
    open[i], open[i + 1] = assert(tcpnet.UnixStream.pair())
  end
  local many = cost()
  print(many < 5 * few and "no longer" or ("%.6f s, then %.6f s"):format(few, many))

  local _, err = tcpnet.UnixStream.from_fd(open[1]:fd())
  print(err.code)
  local fd = open[1]:into_fd()
  print(tcpnet.UnixStream.from_fd(fd):fd() == fd)
  fd = open[2]:fd()
  open[2] = nil
  collectgarbage()
  collectgarbage()
  print(select(2, tcpnet.UnixStream.from_fd(fd)).code)
]]

describe("from_fd", function()
  it("takes no longer where thousands are open, and knows whose a descriptor is", function()
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", script)
    local status, output = program.shell("ulimit -S -n 6000 || exit 99; " .. program.command(path))
    if status == 99 then
      return pending "too few descriptors"
    end
    assert.equal("no longer\nEBUSY\ntrue\nEBADF\n", output)
  end)
end)
