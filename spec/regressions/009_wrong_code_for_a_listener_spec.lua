-- A listener's from_fd answered EINVAL, "does not listen", whatever the system had said. Needs the build with faults.
local program = require "spec.support.program"

describe("from_fd of a listener", function()
  setup(function()
    assert(os.execute "./dev build --faults")
  end)

  it("passes on what the system says", function()
    local folder <close> = program.folder()
    local script = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local fd = listener:into_fd()
      tcpnet.private.fault("getsockopt", 2, 1, "ENOBUFS")
      print(select(2, tcpnet.TcpListener.from_fd(fd)).code)
      print(tcpnet.TcpListener.from_fd(fd):fd() == fd) ]])
    local _, output = program.shell("TCPNET_BUILD=build-faults ./dev lua " .. script)
    assert.equal("ENOBUFS\ntrue\n", output)
  end)
end)
