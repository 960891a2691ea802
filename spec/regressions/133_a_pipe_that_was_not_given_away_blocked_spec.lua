-- into_blocking_fd in a finalizer, where no descriptor is given away, made the pipe block all the same: its next read
-- held up the whole program.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("into_blocking_fd in a finalizer", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is refused, and the pipe goes on as it was", function()
    local sender, receiver = tcpnet.pipe()
    local answers
    setmetatable({}, { __gc = function()
      answers = table.pack(receiver:into_blocking_fd())
    end })
    collectgarbage()
    local found, err = table.unpack(answers, 1, answers.n)
    assert.is_nil(found)
    assert.equal("EBUSY", err.code)
    local _child <close> = tcpnet.process.spawn { "sh", "-c", "sleep 2; echo late", stdout = sender }
    local _, none = receiver:try_read()
    assert.equal("EAGAIN", none and none.code)
    receiver:close()
  end)
end)
