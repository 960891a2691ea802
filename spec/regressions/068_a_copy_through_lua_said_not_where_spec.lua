-- The error of a copy through Lua, made in a task of the library's own, had no `where` in a task.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function here()
  return debug.getinfo(2, "l").currentline
end

describe("the error of a copy", function()
  it("says where the call stands", tcp.in_task(function()
    local a, b = tcpnet.duplex(10)
    local to = tcpnet.duplex(10)
    a:write "data"
    to:close()
    local _, err = tcpnet.copy(b, to) local line = here()
    assert.equal("CLOSED", err.code)
    assert.equal(line, tonumber(err.where:match ":(%d+)$"))
    b:close()
    _, err = tcpnet.copy(b, a) line = here()
    assert.equal(line, tonumber(err.where:match ":(%d+)$"))
    _, err = tcpnet.copy_bidirectional(b, a) line = here()
    assert.equal(line, tonumber(err.where:match ":(%d+)$"))
  end))
end)
