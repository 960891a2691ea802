-- At the end of a seqpacket socket recv_many gave as many empty messages as were asked for, each time, and put them
-- behind the last real ones. Behind a shutdown of reading it turned the loop without a pause, and so did peek_sender.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task
local Socket = tcpnet.Socket

local function texts(list)
  local result = {}
  for i, item in ipairs(list) do
    result[i] = item.data
  end
  return result
end

local function assert_end(...)
  assert.same({ n = 1 }, table.pack(...))
end

describe("the end of what is received", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is nil from recv_many of a seqpacket socket, and no message", in_task(function()
    local one, other = assert(Socket.pair("unix", "seqpacket"))
    local _close <close> = tcp.guard(one, other)
    assert(one:send_many { "a", "bc", "d" })
    one:close()
    assert.same({ "a", "bc" }, texts(other:recv_many(2)))
    assert.same({ "d" }, texts(other:recv_many(100)))
    for _ = 1, 2 do
      assert_end(other:recv_many(100))
      assert_end(other:try_recv_many(1))
      assert_end(other:recv())
      assert_end(other:peek_sender())
    end
  end))

  it("is no empty record with others behind it", in_task(function()
    local one, other = assert(Socket.pair("unix", "seqpacket"))
    local _close <close> = tcp.guard(one, other)
    assert(one:send_many { "a", "", "b" })
    assert.same({ "a", "", "b" }, texts(other:recv_many(100)))
    local _, err = other:try_recv_many(100)
    assert.is_true(tcpnet.is_error(err, "EAGAIN"))
    local many = {}
    for i = 1, 130 do
      many[i] = tostring(i)
    end
    assert(one:send_many(many))
    one:close()
    assert.same(many, texts(other:recv_many(1000)))
    assert_end(other:recv_many(1000))
  end))

  it("is no reset, which is told to every later read", in_task(function()
    local one, other = assert(Socket.pair("unix", "seqpacket"))
    local _close <close> = tcp.guard(one, other)
    assert(other:send "unread")
    one:close()
    for _, receive in ipairs { "recv_many", "recv", "recv_many", "recv" } do
      tcp.fails("ECONNRESET", other[receive](other, 5))
    end
  end))

  it("wakes who waits in recv_many", in_task(function()
    local one, other = assert(Socket.pair("unix", "seqpacket"))
    local _close <close> = tcp.guard(one, other)
    local waiting <close> = tcpnet.spawn(other.recv_many, other, 10)
    tcpnet.sleep(0.01)
    one:close()
    assert.same({ true, nil, n = 2 }, table.pack(waiting:join(5)))
  end))

  it("leaves empty datagrams what they are", in_task(function()
    local one, other = assert(tcpnet.UnixDatagram.pair())
    local _close <close> = tcp.guard(one, other)
    assert(one:send_many { "", "a", "" })
    assert.same({ "", "a", "" }, texts(other:recv_many(10)))
  end))

  it("comes with a shutdown of reading", in_task(function()
    local peer, unix = assert(tcpnet.UnixDatagram.pair())
    local udp = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local _close <close> = tcp.guard(peer, unix, udp)
    assert(udp:connect(udp:local_addr()))
    for _, socket in ipairs { unix, udp } do
      assert((socket == udp and udp or peer):send "before")
      assert(socket:shutdown "read")
      assert.same({ "before" }, texts(socket:recv_many(10)))
      assert_end(tcpnet.timeout(5, socket.recv_many, socket, 10))
      assert_end(socket:try_recv_many(10))
      assert_end(tcpnet.timeout(5, socket.peek_sender, socket))
      assert_end(socket:try_peek_sender())
    end
    if udp:set_udp_gro(true) then
      assert_end(tcpnet.timeout(5, udp.recv_many, udp, 10))
      assert_end(tcpnet.timeout(5, udp.peek_sender, udp))
    end
  end))
end)
