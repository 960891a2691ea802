-- clone makes a value for Lua, which may call a finalizer. Where it closed the last sender, the receiver saw the end of
-- the channel, and then what the clone sent.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a finalizer in the middle of clone", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, kind in ipairs { "channel", "unbounded" } do
    it("may close the sender for good: " .. kind, function()
      local sender, receiver = tcpnet.sync[kind](4)
      local ran = false
      local clone, err = collect.during(function()
        ran = true
        sender:close()
      end, sender.clone, sender)
      assert.is_true(ran)
      assert.is_nil(clone)
      assert.equal("CLOSED", err.code)
      assert.equal("the sender is closed", err.message)
      assert.is_nil(receiver:recv())
      assert.is_nil(sender:clone())
    end)
  end
end)
