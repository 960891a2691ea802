-- set_tcp_keepalive and into_blocking_fd failed as "set_options" and "set_blocking", which nobody had called.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local function check(name, code, value, err)
  assert.is_nil(value)
  assert.equal(code, err.code)
  assert.equal(name, err.op)
  assert.matches("132_", err.where)
end

describe("the failure of a method that is made of others bears its own name", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("set_tcp_keepalive", function()
    local datagrams <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    check("set_tcp_keepalive", "ENOPROTOOPT", datagrams:set_tcp_keepalive { time = 10 })
    local closed = assert(tcpnet.TcpSocket.new_v4())
    closed:close()
    check("set_tcp_keepalive", "CLOSED", closed:set_tcp_keepalive {})
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    assert.equal(socket, socket:set_tcp_keepalive { time = 10 })
  end)

  it("into_blocking_fd", function()
    for _, pipe in ipairs { tcpnet.pipe() } do
      pipe:close()
      check("into_blocking_fd", "CLOSED", pipe:into_blocking_fd())
    end
  end)
end)
