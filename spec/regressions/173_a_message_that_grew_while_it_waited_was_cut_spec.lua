-- A list of pieces that got more than 64 while send_vectored waited went out as its first 64, as if they were all of
-- the message; the length was looked at before the wait alone.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a message in pieces", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of which there are too many after a wait is refused", tcp.in_task(function()
    local sender, receiver = assert(tcpnet.UnixDatagram.pair())
    local _guard <close> = tcp.guard(sender, receiver)
    while sender:try_send "x" do end
    local pieces = {}
    for i = 1, 64 do
      pieces[i] = "y"
    end
    local send = tcpnet.spawn(pcall, sender.send_vectored, sender, pieces)
    tcpnet.sleep(0.005)
    assert.equal("waiting", send:status())
    pieces[65] = "y"
    while receiver:try_recv() do end
    local _, ok, message = send:join(5)
    assert.is_false(ok)
    assert.matches("a list of at most 64", message, 1, true)
    pieces[65] = nil
    assert.equal(64, sender:send_vectored(pieces)) -- the call that failed left nothing behind
    assert.equal(pieces[1]:rep(64), receiver:recv())
  end))
end)
