-- A copy whose reader failed with a number of the system's that has no name here raised, as if it had been misused.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a failure whose code has no name", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is what a copy fails with", function()
    local a, b = tcpnet.duplex(10)
    local _guard <close> = tcp.guard(a, b)
    local odd = {}
    for _, method in ipairs { "read", "try_read", "peek" } do
      odd[method] = function() return nil, "odd", 2000 end -- as io's functions fail
    end
    local copied, err = tcpnet.copy(odd, a)
    assert.is_nil(copied)
    assert.same({ "EUNKNOWN", 2000, "copy", "odd" }, { err.code, err.errno, err.op, err.message })
  end)
end)
