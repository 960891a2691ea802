-- local_addr may be a name; of one with addresses of both families the first was taken, whatever family was connected
-- to: EINVAL or EAFNOSUPPORT, though the name had the right one, too.
local slow_lookup = require "spec.support.slow_lookup"

local script = [[
  local tcpnet = require "tcpnet"
  for _, ip in ipairs { "127.0.0.1", "::1" } do
    local listener <close> = assert(tcpnet.TcpListener.bind(ip, 0))
    local port = listener:local_addr():port()
    for _, host in ipairs { ip, "both" } do
      local stream, err = tcpnet.TcpStream.connect(host, port, { local_addr = "both:0" })
      print(stream and stream:local_addr():ip() == ip, err)
    end
  end
]]

describe("local_addr", function()
  it("by a name of both families is the one of the family that is connected to", function()
    local outcome = slow_lookup.outcome(script)
    if not outcome then
      return pending "no C compiler"
    end
    assert.same({ 0, ("true\tnil\n"):rep(4) }, outcome)
  end)
end)
