-- A misspelt field of a table within the arguments was not seen: set_tcp_md5sig with `kye` took the key away, an item
-- of send_many with `adress` went to the peer, and a control message was sent without what it was to say.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local function refuses(pattern, ...)
  local ok, message = pcall(...)
  assert.is_false(ok)
  assert.matches(pattern, message)
end

describe("a misspelt field", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of a signature is refused", function()
    if not tcpnet.features().tcp_md5sig then
      return pending "no signatures here"
    end
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    refuses("#1 to 'set_tcp_md5sig' %(tcp_md5sig: unknown field 'kye'%)", function()
      socket:set_tcp_md5sig { address = "127.0.0.1", kye = "secret" }
    end)
    refuses("#2 to 'bind' %(tcp_md5sig: unknown field 'kye'%)", function()
      tcpnet.TcpListener.bind("127.0.0.1:0", { tcp_md5sig = { address = "127.0.0.1", kye = "secret" } })
    end)
  end)

  it("of an item of send_many is refused, before any goes out", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert(udp:connect(udp:local_addr()))
    refuses("#1 to 'send_many' %(item 2: unknown field 'adress'%)", function()
      udp:send_many { "one", { "two", adress = udp:local_addr() } }
    end)
    refuses("item 1: unknown field '3'", function() udp:send_many { { "two", nil, udp:local_addr() } } end)
    assert.is_nil(udp:try_recv())
    local items = { { "a" }, { data = "b", length = 5 }, { "c", udp:local_addr() } } -- as recv_many gives them, too
    assert.equal(3, udp:send_many(items))
    for _, text in ipairs { "a", "b", "c" } do
      assert.equal(text, udp:recv())
    end
  end)

  it("of a control message is refused", function()
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    assert(sock:bind "127.0.0.1:0")
    for wrong, message in pairs {
      adress = { type = "pktinfo", adress = "127.0.0.1" },
      ttl = { type = "ttl", value = 1, ttl = 1 },
      fd = { type = "fds", fds = { sock }, fd = sock },
      user = { type = "credentials", pid = 1, uid = 1, gid = 1, user = "me" },
      name = { type = "raw", level = 0, number = 0, data = "", name = "x" },
      ["1"] = { type = "tos", value = 1, 5 },
    } do
      refuses(("#1 to 'sendmsg' %%(control: unknown field '%s'%%)"):format(wrong), function()
        sock:sendmsg { data = "x", address = sock:local_addr(), control = { message } }
      end)
    end
  end)

  it("is none that came with a message", function()
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    assert(assert(sock:bind "127.0.0.1:0"):set_recv_pktinfo_v4(true))
    assert(sock:send_to("x", sock:local_addr()))
    local message <close> = assert(sock:recvmsg())
    assert.equal(1, sock:sendmsg { data = "y", address = message.address, control = message.control })
  end)
end)
