-- A string that a child of select, scope and their like raised was raised again without the traceback of the child.
local tcpnet = require "tcpnet"

local function innermost()
  error "boom"
end

local function child()
  tcpnet.yield()
  innermost()
end

local calls = {
  select = function() tcpnet.select { child, function() tcpnet.sleep(9) end } end,
  scope = function()
    tcpnet.scope(function(scope)
      scope:spawn(child)
      scope:spawn(tcpnet.sleep, 9)
    end)
  end,
  run_until_cancelled = function() tcpnet.sync.CancellationToken.new():run_until_cancelled(child) end,
  join = function()
    local _, err = tcpnet.spawn(child):join()
    error(err, 0)
  end,
  JoinSet = function()
    local set <close> = tcpnet.JoinSet.new()
    set:spawn(child)
    local _, _, err = set:join_next()
    error(err, 0)
  end,
}

describe("what run raises has the frames of the child and of the caller, of", function()
  for name, call in pairs(calls) do
    it(name, function()
      local ok, err = pcall(tcpnet.run, call)
      assert.is_false(ok)
      assert.matches("^[^\n]*069_[^\n]*:5: boom\n", err)
      local _, count = err:gsub("in upvalue 'innermost'", "")
      assert.equal(1, count)
      assert.matches("069_the_traceback_of_a_child_was_lost_spec.lua:10", err, 1, true)
      local line = debug.getinfo(call, "S").linedefined
      assert.matches(("in function <[^\n]*:%d>"):format(line), err)
    end)
  end

  it("nobody else's error", function()
    local ok, err = pcall(tcpnet.run, function()
      tcpnet.spawn(child):join()
      error("another", 0)
    end)
    assert.is_false(ok)
    assert.matches("^another\n", err)
    assert.is_nil(err:find("innermost", 1, true))
  end)
end)
