-- A connect to a name of both families that was cancelled in the moment when one of its attempts had the connection
-- left that open until it was collected: its peer had a client that said nothing.
local program = require "spec.support.program"
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
    local folder <close> = program.folder()
    local library = slow_lookup.library(folder)
    if not library then
      return pending "no C compiler"
    end
    local status, output = slow_lookup.run(folder, library, script)
    assert.equal(("nil\n"):rep(5) .. "true\t1\n", output)
    assert.equal(0, status)
  end)
end)
