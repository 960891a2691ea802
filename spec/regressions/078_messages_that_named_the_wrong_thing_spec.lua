-- Messages about arguments named another function, another position, or not what was wrong.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local function text(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

describe("a message about", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("an argument names the method, whoever called it", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local expected = "bad argument #1 to 'sendmsg' %(unknown field 'dta'%)"
    assert.matches(expected, text(socket.sendmsg, socket, { dta = 1 }))
    assert.matches(expected, text(function() return socket:sendmsg { dta = 1 } end))
    assert.matches("bad argument #1 to 'set_timeout'", text(socket.set_timeout, socket, "x"))
  end)

  it("a setting names it", function()
    assert.matches("#1 to '[^']+' %(spin: seconds, 0 or more, expected, got string%)", text(function()
      tcpnet.configure { spin = "a" } end))
    assert.matches("#1 .*%(on_task_error: function or false expected, got 1%)", text(function()
      tcpnet.configure { on_task_error = 1 } end))
    assert.matches("#1 .*%(buffer_size: integer from 1 to 65536 expected, got 0%)", text(function()
      tcpnet.configure { buffer_size = 0 } end))
    assert.matches("unknown setting '1'", text(tcpnet.configure, { "spin" }))
  end)

  it("a key of a table names the key", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert.matches("unknown option '1'", text(tcpnet.TcpStream.connect, "127.0.0.1:9", { "nodelay" }))
    assert.matches("unknown field '1'", text(socket.sendmsg, socket, { "x" }))
  end)

  it("an address in a table names its place", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert.matches("#2 to 'connect' %(local_addr: ", text(tcpnet.TcpStream.connect, "127.0.0.1:9", { local_addr = {} }))
    assert.matches("#1 to 'sendmsg' %(address: ", text(socket.sendmsg, socket, { data = "x", address = {} }))
    assert.matches("#2 to 'lookup_host'", text(tcpnet.lookup_host, "x", { fam = 1 }))
  end)

  it("a direction lists them", function()
    local here, there = assert(tcpnet.UnixStream.pair())
    assert.matches('"read", "write" or "both" expected, got "w"', text(here.shutdown, here, "w"))
    assert.matches("got table at 2", text(there.write_vectored, there, { "a", {} }))
    here:close()
    there:close()
  end)

  it("a group says what it got", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    assert.matches("group: multicast address of IPv4 expected, got '127.0.0.1'",
      text(socket.join_multicast_v4, socket, "127.0.0.1"))
  end)

  it("a folder that a child cannot begin in names it", function()
    local _, err = tcpnet.process.spawn { "true", cwd = "/nope" }
    assert.equal("spawn /nope: cannot enter that folder: no such file or directory (ENOENT)", tostring(err))
    _, err = tcpnet.process.spawn { "no-such-program", cwd = "/" }
    assert.equal("no-such-program", err.address)
  end)

  it("what an option gives is what it takes", function()
    local socket <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    if socket.set_cpu_affinity then
      assert(socket:set_cpu_affinity(-1))
    end
  end)
end)
