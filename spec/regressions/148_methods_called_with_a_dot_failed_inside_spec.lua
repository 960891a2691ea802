-- A dot for a colon: methods of an interval, a scope and a part failed in a file of the library, with Lua's words.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a method called with a dot", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function refuses(class, object, ...)
    for _, name in ipairs { ... } do
      for _, wrong in ipairs { false, 5, {}, tcpnet.sync.Notify.new() } do
        local ok, message = pcall(object[name], wrong or nil)
        assert.is_false(ok)
        assert.matches(("spec.lua:%%d+: bad argument #1 to '%s' %%(%s expected, got "):format(name, class), message)
      end
    end
  end

  it("names the class that it is of", function()
    refuses("Interval", tcpnet.interval(1), "tick", "reset", "set_missed_tick_behavior")
    refuses("Take", tcpnet.io.take({ read = function() end }, 1), "limit")
    tcpnet.scope(function(scope)
      refuses("Scope", scope, "spawn", "cancel")
    end)
  end)

  it("is of an object that prints with its state", function()
    assert.equal("Interval (every 0.5 s)", tostring(tcpnet.interval(0.5)))
    local scope = tcpnet.scope(function(scope)
      assert.equal("Scope (1 tasks)", tostring(scope))
      return scope
    end)
    assert.equal("Scope (over)", tostring(scope))
  end)
end)
