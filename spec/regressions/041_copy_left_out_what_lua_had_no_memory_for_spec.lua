-- A read for whose bytes Lua had no memory sets them aside for the next call on the stream. copy was none: it sent what
-- came after them, and they were read behind the end.
local program = require "spec.support.program"

local script = [[
  local tcpnet = require "tcpnet"
  local sent = ("1"):rep(300) .. ("2"):rep(300) .. ("3"):rep(300)
  local failures, nth, hits = 0, 0
  repeat
    nth = nth + 1
    local from, peer = assert(tcpnet.UnixStream.pair())
    local to, other = assert(tcpnet.UnixStream.pair())
    assert(peer:write(sent))
    peer:close()
    local first = ""
    _, hits = attempt(function() first = from:read(600) end, nth, true)
    failures = failures + hits
    assert(tcpnet.copy(from, to, 100) == 100)
    local copied = assert(tcpnet.copy(from, to))
    to:close()
    local all = first .. other:read_to_end()
    assert(all == sent and #first + 100 + copied == #sent, ("allocation %d: %s"):format(nth, all))
    from:close()
    other:close()
  until hits == 0
  assert(failures > 0)
  print "in order" ]]

describe("copy behind a read for whose bytes Lua had no memory", function()
  it("begins with those bytes", function()
    local output = program.in_host(script)
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("in order\n", output)
  end)
end)
