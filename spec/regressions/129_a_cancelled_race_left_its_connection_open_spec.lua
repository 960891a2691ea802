-- A connect to a name of both families that was cancelled in the moment when one of its attempts had the connection
-- left that open until it was collected: its peer had a client that said nothing.
local slow_lookup = require "spec.support.slow_lookup"

-- Who accepts cancels the connect so many turns later: in one of them it has won and not gone on.
local script = [[
  local tcpnet = require "tcpnet"
  local listener = assert(tcpnet.TcpListener.bind("[::1]:0"))
  collectgarbage "stop"
  tcpnet.run(function()
    local cancelled = 0
    for turns = 0, 4 do
      local connecting = tcpnet.spawn(function()
        local _stream <close> = assert(tcpnet.TcpStream.connect("both", listener:local_addr():port()))
      end)
      local served <close> = assert(listener:accept())
      for _ = 1, turns do
        tcpnet.yield()
      end
      connecting:cancel()
      cancelled = cancelled + (connecting:status() == "cancelled" and 1 or 0)
      connecting:join()
      print(assert(served:set_timeout(2)):read())
    end
    print(cancelled > 0, tcpnet.metrics().sources)
  end)
]]

describe("a connect that is cancelled as it has won", function()
  it("closes the connection", function()
    local outcome = slow_lookup.outcome(script)
    if not outcome then
      return pending "no C compiler"
    end
    assert.same({ 0, ("nil\n"):rep(5) .. "true\t1\n" }, outcome)
  end)
end)
