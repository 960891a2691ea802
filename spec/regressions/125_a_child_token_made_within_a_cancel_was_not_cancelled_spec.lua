-- A finalizer that ran in the middle of a cancel and made a child token there had one that was never cancelled, or made
-- the cancel raise ("invalid key to 'next'"), which had told nobody then.
local collect = require "spec.support.collect"
local tcpnet = require "tcpnet"

local CHILDREN = 9

local function family()
  local token = tcpnet.sync.CancellationToken.new()
  local children = {}
  for i = 1, CHILDREN do
    children[i] = (children[i // 2] or token):child_token()
  end
  return token, children
end

describe("a child token that a finalizer makes in the middle of a cancel", function()
  for _, above in ipairs { 0, 1, CHILDREN } do
    it(("is cancelled too, below %s"):format(above == 0 and "the token" or "its child " .. above), function()
      local places
      for place in collect.each_time() do
        local token, children = family()
        local made = {}
        places = place
        local ok, problem = collect.during_nth(place, function()
          for i = 1, 20 do
            made[i] = (children[above] or token):child_token()
          end
        end, pcall, token.cancel, token)
        assert.is_true(ok, problem)
        for i, child in ipairs(made) do
          assert.is_true(child:is_cancelled(), ("the finalizer ran at place %d, child %d"):format(place, i))
        end
        for i, child in ipairs(children) do
          assert.is_true(child:is_cancelled(), ("the finalizer ran at place %d, child %d of before"):format(place, i))
        end
      end
      assert.is_true(places > 3, tostring(places))
    end)
  end
end)
