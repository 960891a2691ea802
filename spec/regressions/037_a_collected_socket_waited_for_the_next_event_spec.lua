-- A socket that the collector took is closed by the next turn, but backend_timeout told a foreign loop that none was
-- due: its peer waited until something else happened.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("backend_timeout", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("says that a turn is due where a collected socket waits for it", function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local task = tcpnet.spawn(stream.read, stream)
    while tcpnet.step() do end
    assert.is_nil(tcpnet.backend_timeout())
    assert(peer:fd())
    peer = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(0, tcpnet.backend_timeout())
    while task:status() == "waiting" and tcpnet.backend_timeout() == 0 do
      tcpnet.step()
    end
    while tcpnet.step() do end
    assert.equal("done", task:status())
    assert.is_nil(tcpnet.backend_timeout())
    stream:close()
  end)
end)
