-- local_addr may be a name; of one with addresses of both families the first was taken, whatever family was connected
-- to: EINVAL or EAFNOSUPPORT, though the name had the right one, too.
local program = require "spec.support.program"
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
    local folder <close> = program.folder()
    local library = slow_lookup.library(folder)
    if not library then
      return pending "no C compiler"
    end
    local status, output = slow_lookup.run(folder, library, script)
    assert.equal(("true\tnil\n"):rep(4), output)
    assert.equal(0, status)
  end)
end)
