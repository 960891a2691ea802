-- A worker that was closed while it computed in a coroutine of Lua's own library went on for ever: the hook that was to
-- stop it was that of the task, which only waited for the coroutine.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function resumed(parent)
  local _pipe = parent:recv()
  parent:send "ready"
  coroutine.wrap(function()
    while true do
      local _ = {}
    end
  end)()
end

local function resumed_deeply(parent)
  local _pipe = parent:recv()
  parent:send "ready"
  local function compute(level)
    while true do
      local _ = level == 0 and {} or coroutine.resume(coroutine.create(compute), level - 1)
    end
  end
  coroutine.wrap(compute)(3)
end

local function handling(parent)
  local _pipe = parent:recv()
  parent:send "ready"
  xpcall(error, function()
    while true do
      local _ = {}
    end
  end)
end

describe("a worker that is closed while it computes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, fn in pairs {
    ["in a coroutine of Lua's own library"] = resumed,
    ["in such coroutines within each other, whose errors are caught"] = resumed_deeply,
    ["in the handler of an error"] = handling,
  } do
    it("is stopped " .. name, tcp.in_task(function()
      local workers <close> = assert(tcpnet.workers(1, fn))
      local output, input = tcpnet.pipe()
      local _input <close> = input
      assert(workers[1]:send(output)) -- which the worker's state holds until it is closed
      assert.equal("ready", workers[1]:recv(10))
      workers:close()
      input:set_read_timeout(10)
      local bytes, err = input:read()
      assert.is_nil(bytes)
      assert.is_nil(err)
    end))
  end
end)
