-- An address of another family is a misuse of every Unix socket: bind raised, sending and connect returned EINVAL.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

describe("a UnixDatagram given the address of another family", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("raises, as bind does", function()
    local datagram <close> = assert(tcpnet.UnixDatagram.unbound())
    local addr = tcpnet.SocketAddr.new("127.0.0.1", 9)
    for pattern, call in pairs {
      ["#1 to 'bind' %("] = function() tcpnet.UnixDatagram.bind(addr) end,
      ["#1 to 'connect' %("] = function() datagram:connect(addr) end,
      ["#2 to 'send_to' %("] = function() datagram:send_to("x", addr) end,
      ["#2 to 'try_send_to' %("] = function() datagram:try_send_to("x", addr) end,
      ["#2 to 'send_to_vectored' %("] = function() datagram:send_to_vectored({ "x" }, addr) end,
      ["#1 to 'sendmsg' %(address: "] = function() datagram:sendmsg { data = "x", address = addr } end,
      ["#1 to 'send_many' %(item 1: "] = function() datagram:send_many { { "x", addr } } end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches(pattern .. "address of a Unix socket expected", message)
    end
  end)
end)
