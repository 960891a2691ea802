-- A spawn that could not take one of the objects that it was given as streams closed those before it and left those
-- behind it, and did not say which it was, nor that it was a spawn, where that one was closed.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local spawn = tcpnet.process.spawn

describe("a spawn that is refused", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("leaves every object as it was, wherever it stands", tcp.in_task(function()
    local ahead, peer = tcpnet.UnixStream.pair()
    local plain, other = tcpnet.UnixStream.pair()
    local _all <close> = tcp.guard(ahead, peer, plain, other)
    peer:write "one\ntwo\n"
    ahead:read_line()
    for _, options in ipairs {
      { "cat", stdin = plain, stdout = ahead }, { "cat", stdin = ahead, stdout = plain },
      { "cat", stdin = plain, stdout = ahead:fd() }, { "cat", stdin = ahead:fd(), stderr = plain },
    } do
      local child, err = spawn(options)
      assert.is_nil(child)
      assert.same({ "spawn", "EBUSY" }, { err.op, err.code })
      assert.is_false(plain:closed())
      assert.is_false(ahead:closed())
    end
    assert.equal("two", ahead:read_line())
  end))

  it("for a closed object says so", tcp.in_task(function()
    local closed, peer = tcpnet.UnixStream.pair()
    local plain, other = tcpnet.UnixStream.pair()
    local _all <close> = tcp.guard(peer, plain, other)
    closed:close()
    local child, err = spawn { "cat", stdin = plain, stdout = closed }
    assert.is_nil(child)
    assert.equal("spawn: stdout: the UnixStream is closed (CLOSED)", tostring(err))
    assert.is_false(plain:closed())
  end))

  it("for want of a descriptor closes all that it was given", function()
    if program.needs_descriptors then
      return pending(program.needs_descriptors)
    end
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      tcpnet.sleep(0)
      local before, behind = tcpnet.UnixStream.pair()
      local held = {}
      repeat held[#held + 1] = io.open "/dev/null" until not io.open "/dev/null"
      local _, err = tcpnet.process.spawn { "cat", stdin = before, stdout = "pipe", stderr = behind }
      print(err.op, err.code, before:closed(), behind:closed())
    ]])
    local _, output = program.shell(("ulimit -n 40; %s"):format(program.command(path)))
    assert.equal("spawn\tEMFILE\ttrue\ttrue\n", output)
  end)
end)
