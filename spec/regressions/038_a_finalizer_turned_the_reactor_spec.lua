-- A finalizer outside every task could call step and run, in the middle of a call: the turn freed what that call still
-- used, a stream that the finalizer had closed.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a finalizer outside every task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function nothing() end

  local turns = {
    step = function() tcpnet.step() end,
    run = function() tcpnet.run(nothing) end,
    ["step in a coroutine"] = coroutine.wrap(function() tcpnet.step() end),
  }
  for name, turn in pairs(turns) do
    it("may not turn the reactor: " .. name, function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local ok, err
      local reading, writing = collect.during(function()
        stream:close()
        ok, err = pcall(turn)
      end, stream.split, stream)
      assert.is_false(ok)
      assert.match("cannot wait here: in a finalizer; nothing can wait there", err, 1, true)
      assert.is_nil(reading:read())
      assert.is_nil(writing:write "x")
      reading:close()
      writing:close()
      peer:close()
      tcpnet.step()
    end)
  end
end)
