-- A listener's from_fd answered EINVAL, "does not listen", whatever the system had said. Needs the build with faults.
local program = require "spec.support.program"

describe("from_fd of a listener", function()
  it("passes on what the system says", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local fd = listener:into_fd()
      tcpnet.private.fault("getsockopt", 2, 1, "ENOBUFS")
      print(select(2, tcpnet.TcpListener.from_fd(fd)).code)
      print(tcpnet.TcpListener.from_fd(fd):fd() == fd) ]]
    assert.equal("ENOBUFS\ntrue\n", output)
  end)
end)
