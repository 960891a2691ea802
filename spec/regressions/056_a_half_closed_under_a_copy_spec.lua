-- A copy that waited did not hear that a borrowed half, which it read from or wrote to, was closed.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a copy that waits ends where a borrowed half is closed,", function()
  for _, side in ipairs { "reader", "writer" } do
    it("its " .. side, tcp.in_task(function()
      local _, s, _first <close> = tcp.unix_pair()
      local to, _, _second <close> = tcp.unix_pair()
      local read_half, other_write_half = s:split()
      local other_read_half, write_half = to:split()
      local copying = tcpnet.spawn(tcpnet.copy, read_half, write_half)
      tcpnet.yield()
      other_write_half:close()
      other_read_half:close()
      tcpnet.sleep(0.001)
      assert.equal("waiting", copying:status())
      local closed = side == "reader" and read_half or write_half
      closed:close()
      local ok, count, err, copied = copying:join(5)
      assert.same({ true, nil, 0 }, { ok, count, copied })
      assert.equal(("copy: the %s is closed (CLOSED)"):format(side), tostring(err))
    end))
  end
end)
