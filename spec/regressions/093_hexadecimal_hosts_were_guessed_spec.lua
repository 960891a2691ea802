-- A host of hexadecimal numbers was looked up as a name, and getaddrinfo read an address from it: 0x7f.1 was 127.0.0.1.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails = tcp.fails

describe("a host of numbers that is no address in four parts", function()
  for _, host in ipairs { "0x7f.1", "0X7F.0.0.1", "0x7f000001", "127.0x1", "127.1", "2130706433", "0x7f.1." } do
    it("is neither an address nor a name: " .. host, tcp.in_task(function()
      fails("EINVAL", tcpnet.lookup_host(host, 80))
      fails("EINVAL", tcpnet.TcpStream.connect(host .. ":9"))
      fails("EINVAL", tcpnet.TcpListener.bind(host, 0))
      fails("EINVAL", tcpnet.UdpSocket.bind(host .. ":0"))
    end))
  end

  it("is not taken for one where a name only begins so", tcp.in_task(function()
    for _, host in ipairs { "0x7g.invalid", "1.invalid", "0x.invalid", "0xa.b.invalid" } do
      local list, err = tcpnet.lookup_host(host, 80, { timeout = 5 })
      assert.is_nil(list)
      assert.is_false(err:is "EINVAL", tostring(err))
    end
  end))
end)
