-- take, try_take and give_back of a Semaphore check how many permits: without a number they failed inside the library.
local tcpnet = require "tcpnet"

describe("a Semaphore", function()
  for _, name in ipairs { "take", "try_take", "give_back" } do
    it("refuses what is no number of permits: " .. name, function()
      local semaphore = tcpnet.sync.Semaphore.new(1)
      for _, value in ipairs { false, "1", -1, 0.5 } do
        local ok, raised = pcall(function() semaphore[name](semaphore, value) end)
        assert.is_false(ok)
        assert.matches("^[^:]*%d+_permits[^:]*:%d+: bad argument #1 to '" .. name .. "' %(permits: integer", raised)
      end
      assert.equal(1, semaphore:available_permits())
    end)
  end
end)
