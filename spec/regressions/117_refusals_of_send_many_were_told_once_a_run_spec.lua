-- With recv_err_v4 or recv_err_v6 on, the refusals of what send_many had sent were in the error queue once for each run
-- that the kernel had cut, with the bytes of all its datagrams in one, and not once for each datagram.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local udp = require "spec.support.udp"

local COUNT <const> = 20

local CASES = {
  recv_err_v4 = "127.0.0.1:0",
  recv_err_v6 = "[::1]:0",
}

describe("the error queue behind send_many", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for option, address in pairs(CASES) do
    it("has each datagram that was refused: " .. option, tcp.in_task(function()
      local dead, socket = udp.bound(address), udp.bound(address)
      local _guard <close> = tcp.guard(dead, socket)
      local nobody = dead:local_addr()
      dead:close()
      assert(socket:send_many { { "before", nobody }, { "option", nobody } }) -- what it knows of options is asked anew
      assert(socket:set(option, true))
      local list, expected = {}, {}
      for i = 1, COUNT do
        expected[i] = ("%02d"):format(i)
        list[i] = { expected[i], nobody }
      end
      assert.equal(COUNT, socket:send_many(list))
      local came = {}
      for i = 1, COUNT do
        local message <close> = assert(socket:recvmsg { flags = "errqueue" })
        assert.equal("ECONNREFUSED", message:find("error").code)
        came[i] = message.data
      end
      assert.same(expected, came)
      tcp.fails("EAGAIN", socket:try_recvmsg { flags = "errqueue" })
    end))
  end
end)
