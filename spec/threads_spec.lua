-- Several Lua states in threads of one process (F23): each has a reactor of its own, and they meet in the kernel and in
-- tcpnet_waker_wake alone. `./dev test --threads spec/threads_spec.lua` looks for races.
local path = require "pl.path"
local program = require "spec.support.program"

-- What every thread does; board slots: wakers from 0, ports from 100, who has done all its wakes from 200.
local script = [[
local tcpnet = require "tcpnet"

local function fetch_when_there(slot)
  while true do
    local value = fetch(slot)
    if value then
      return value
    end
    tcpnet.sleep(0.001)
  end
end

local WAKES = 50

-- Wakes every other thread's Poll, and is woken by them.
local function wakes()
  local poll <close> = assert(tcpnet.Poll.new())
  local events = tcpnet.Events.new(4)
  local waker <close> = assert(tcpnet.Waker.new(poll:registry(), 1))
  post(index, waker:fd())
  tcpnet.scope(function(scope)
    scope:spawn(function()
      for other = 0, count - 1 do
        local fd = fetch_when_there(other)
        for _ = 1, WAKES do
          assert(wake(fd) == 0)
          tcpnet.yield()
        end
      end
      post(200 + index, 1)
      for other = 0, count - 1 do -- nobody's waker closes before the last wake
        fetch_when_there(200 + other)
      end
      assert(waker:wake())
    end)
    local heard = 0
    repeat
      heard = heard + assert(poll:poll(events, 5))
      local all = true
      for other = 0, count - 1 do
        all = all and fetch(200 + other)
      end
    until all
    assert(heard > 0)
  end)
end

local function talks()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  post(100 + index, listener:local_addr():port())
  tcpnet.scope(function(scope)
    scope:spawn(function()
      local stream <close> = assert(listener:accept())
      assert(tcpnet.copy(stream, stream))
    end)
    local stream <close> = assert(tcpnet.TcpStream.connect("127.0.0.1", fetch_when_there(100 + (index + 1) % count)))
    for i = 1, 20 do
      local line = ("%d from %d"):format(i, index)
      assert(stream:write(line, "\n"))
      assert(stream:read_line() == line)
    end
    assert(stream:shutdown())
    assert(stream:read() == nil)
  end)
end

local function looks_up()
  for _ = 1, 3 do
    assert(#assert(tcpnet.lookup_host("localhost", 1)) > 0)
  end
  for _ = 1, 3 do
    tcpnet.spawn(tcpnet.lookup_host, "localhost", 1) -- left behind
  end
end

tcpnet.run(function()
  tcpnet.scope(function(scope)
    scope:spawn(wakes)
    scope:spawn(talks)
    scope:spawn(looks_up)
  end)
end)
tcpnet.spawn(tcpnet.lookup_host, "localhost", 1) -- and left behind by the whole state
tcpnet.step(0)
]]

describe("states in threads", function()
  local folder, host, reason
  setup(function()
    folder = program.folder()
    local file <close> = assert(io.open "spec/support/threads.c")
    host, reason = program.c(folder, "threads", file:read "a", "-Wall -Werror -Wl,-E -lpthread -ldl")
    local may_lack = program.emulated or not host and reason:find("lauxlib.h", 1, true)
    if not host and not may_lack and program.shell "command -v cc" == 0 then
      error(reason)
    end
  end)
  teardown(function() getmetatable(folder).__close() end)

  local function run(count, rounds, text)
    local core = path.abspath(package.searchpath("tcpnet.core", package.cpath))
    return program.shell(("timeout -k 1 30 %s %d %d %s %s"):format(program.quote(host), count, rounds,
      program.quote(core), program.quote(program.write(folder.path .. "/script.lua", text))))
  end

  it("wake each other's Polls, talk to each other and look names up, and close with lookups on their way", function()
    if not host then
      return pending "no C compiler, or no headers of Lua"
    end
    assert.same({ 0, "fine\n" }, { run(4, 5, script) })
  end)

  it("fail one by one: the host says which", function()
    if not host then
      return pending "no C compiler, or no headers of Lua"
    end
    local code, output = run(2, 1, "if index == 1 then error 'on purpose' end")
    assert.equal(1, code)
    assert.matches("thread 1: .*on purpose\nfailed\n", output)
  end)
end)
