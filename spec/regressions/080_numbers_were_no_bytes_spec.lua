-- send_many refused numbers, which the manual counts among the bytes that its items are, and so did sendmsg as its
-- data.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function connected()
  local server = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
  local client = assert(tcpnet.UdpSocket.new_v4())
  assert(client:connect(server:local_addr()))
  return client, server, tcp.guard(client, server)
end

local function received(socket)
  local list = {}
  for i, item in ipairs(assert(socket:recv_many(1024))) do
    list[i] = item.data
  end
  return list
end

describe("a number", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is bytes to send_many, by itself and with an address", tcp.in_task(function()
    local client, server, _guard <close> = connected()
    local target = server:local_addr()
    local buffer = tcpnet.Buffer.new(1):append "b"
    assert.equal(6, client:send_many { 1, "a", { 2.5, target }, buffer, { data = -3, address = target }, { 4 } })
    assert.same({ "1", "a", "2.5", "b", "-3", "4" }, received(server))
    assert.equal(1, client:try_send_many { 5 })
    assert.same({ "5" }, received(server))
  end))

  it("is, in a list of more than one call takes", tcp.in_task(function()
    local client, server, _guard <close> = connected()
    local list, texts = {}, {}
    for i = 1, 100 do
      list[i], texts[i] = i % 3 == 0 and i or { i }, tostring(i)
    end
    assert.equal(100, client:send_many(list))
    assert.same(texts, received(server))
    list[101] = true
    assert.is_false(pcall(client.send_many, client, list))
    assert.is_nil((server:try_recv()))
  end))

  it("is data to sendmsg", tcp.in_task(function()
    local client, server, _guard <close> = connected()
    assert.equal(3, client:sendmsg { data = 6.5 })
    assert.equal(1, client:try_sendmsg { data = 7, address = server:local_addr() })
    assert.same({ "6.5", "7" }, received(server))
  end))
end)
