-- A Socket that a peer had reset, and that was connected again, told of the old reset where the new connection ended.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a socket that was reset and connected again", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("ends as its new connection does", tcp.in_task(function()
    local listener <close> = tcp.listener()
    local socket <close> = assert(tcpnet.Socket.new("inet", "stream"))
    assert(socket:connect(listener:local_addr()))
    assert(listener:accept()):reset()
    tcp.fails("ECONNRESET", socket:recv())
    tcp.fails("ECONNRESET", socket:recv())
    assert(socket:connect(listener:local_addr()))
    local server <close> = assert(listener:accept())
    assert(server:write "x")
    assert(server:shutdown())
    assert.equal("x", socket:recv())
    assert.same({ n = 1 }, table.pack(socket:recv()))
  end))
end)
