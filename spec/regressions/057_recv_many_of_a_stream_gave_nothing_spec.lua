-- A finalizer that read from a stream socket in the middle of its recv_many left a message without a byte.
local collect = require "spec.support.collect"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("recv_many of a stream socket", function()
  for nth = 1, 4 do
    it(("gives no empty message where a finalizer has read, at the %d. value"):format(nth), tcp.in_task(function()
      local a, s = assert(tcpnet.Socket.pair("unix", "stream"))
      assert(a:send "hello")
      local taken
      local list, err = collect.during_nth(nth, function() taken = s:try_recv(100) end, s.try_recv_many, s, 1)
      if taken then
        assert.equal("hello", taken)
        tcp.fails("EAGAIN", list, err)
      else
        assert.same({ { data = "hello" } }, list)
      end
      a:close()
      s:close()
    end))
  end
end)
