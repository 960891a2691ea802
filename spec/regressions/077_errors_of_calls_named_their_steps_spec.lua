-- Errors named the step that failed inside a call ("new_v4", "set_options") and no address; a lookup had the name that
-- was given in its message alone; workers without descriptors failed by EINVAL.
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

-- op, address and code of the errors that a script gets from these calls with no descriptor left.
local script = [[
  local tcpnet = require "tcpnet"
  tcpnet.sleep(0)
  local held = {}
  repeat
    held[#held + 1] = io.open "/dev/null"
  until held[#held + 1] == nil and not io.open "/dev/null"
  local function tell(ok, err)
    print(ok, err.op, err.address, err.code)
  end
  tell(tcpnet.TcpStream.connect "127.0.0.1:9")
  tell(tcpnet.TcpListener.bind "127.0.0.1:0")
  tell(tcpnet.UdpSocket.bind "127.0.0.1:0")
  tell(tcpnet.UnixStream.connect "/nowhere")
  tell(tcpnet.UnixListener.bind "/nowhere/x")
  tell(tcpnet.UnixDatagram.bind "/nowhere/x")
  tell(tcpnet.workers(1, function() end))
]]

describe("an error", function()
  it("names the call and its address where no descriptor is left", function()
    if program.needs_descriptors then
      return pending(program.needs_descriptors)
    end
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", script)
    local _, output = program.shell(program.limited(path, 40))
    assert.equal("nil\tconnect\t127.0.0.1:9\tEMFILE\nnil\tbind\t127.0.0.1:0\tEMFILE\nnil\tbind\t127.0.0.1:0\tEMFILE\n"
      .. "nil\tconnect\t/nowhere\tEMFILE\nnil\tbind\t/nowhere/x\tEMFILE\nnil\tbind\t/nowhere/x\tEMFILE\n"
      .. "nil\tworkers\tnil\tEMFILE\n", output)
  end)

  it("of an option names the call that it was given to", function()
    local _, err = tcpnet.TcpStream.connect("127.0.0.1:9", { device = "no-such-device" })
    assert.equal("connect", err.op)
    assert.equal("127.0.0.1:9", err.address)
    assert.matches("device", err.message)
    _, err = tcpnet.UdpSocket.bind("127.0.0.1:0", { device = "no-such-device" })
    assert.equal("bind", err.op)
    local socket <close> = tcpnet.TcpSocket.new_v4()
    _, err = socket:connect("127.0.0.1:9", { device = "no-such-device" })
    assert.equal("connect", err.op)
  end)

  it("of a lookup has the name as its address", function()
    local _, err = tcpnet.TcpStream.connect "nope.invalid:80"
    assert.equal("nope.invalid", err.address)
    assert.matches("^lookup_host nope.invalid: [^:]+ %(EAI_%w+%)$", tostring(err))
  end)
end)
