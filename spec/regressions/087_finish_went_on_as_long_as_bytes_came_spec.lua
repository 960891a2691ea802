-- The timeout of a stream held for each read that finish makes, not for finish: a peer that went on sending kept it.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("finish", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("keeps to the timeout of its stream while the peer goes on sending", tcp.in_task(function()
    for _, new in ipairs { tcp.pair, tcpnet.UnixStream.pair, function() return tcpnet.duplex(100) end } do
      local here, there = new()
      local _both <close> = tcp.guard(here, there)
      local _drip <close> = tcpnet.spawn(function()
        while there:write "x" do
          tcpnet.sleep(0.01)
        end
      end)
      local started = tcpnet.now()
      local ok, err = here:set_timeout(0.1):finish()
      assert.is_nil(ok)
      assert.same({ "finish", "TIMEOUT" }, { err.op, err.code })
      assert.is_true(tcpnet.now() - started < 1)
      assert.is_true(here:closed())
    end
  end))
end)
