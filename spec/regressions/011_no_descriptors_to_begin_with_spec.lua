-- Loading the library ended the process where few descriptors were left: libuv aborts where it finds none for its first
-- loop. Every limit from the least with which Lua itself starts: an error, or all is well.
local program = require "spec.support.program"

local script = [[
  io.stdout:setvbuf "no"
  local ok, tcpnet = pcall(require, "tcpnet")
  if not ok then
    print "refused"
    os.exit(0)
  end
  local held = {}
  local function keep(object, err)
    held[#held + 1] = object
    return assert(object or tcpnet.is_error(err)) ~= true and object
  end
  tcpnet.run(function()
    local listener = keep(tcpnet.TcpListener.bind "127.0.0.1:0")
    local client = listener and keep(tcpnet.TcpStream.connect(listener:local_addr()))
    local server = client and keep(listener:accept())
    keep(tcpnet.lookup_host("localhost", 1))
    keep(tcpnet.signal "SIGUSR1")
    local child = keep(tcpnet.process.spawn { "true", stdin = "pipe" })
    if child then
      child:wait()
    end
    keep(tcpnet.Poll.new())
    keep(tcpnet.pipe())
    if server then
      assert(client:write "x" and server:read() == "x")
      assert(tcpnet.timeout(0.001, server.read, server) == nil)
    end
  end)
  print(#held)
]]

describe("a process that may have few descriptors", function()
  it("gets errors, and ends by itself, whatever their number", function()
    if program.needs_descriptors then
      return pending(program.needs_descriptors)
    end
    local folder <close> = program.folder()
    local path = program.write(folder.path .. "/script.lua", script)
    local refused, most = 0, 0
    for limit = 4, 20 do
      local code, output = program.shell(program.limited(path, limit))
      local text = ("with %d descriptors: %s"):format(limit, output)
      if output:find "^refused\n$" then
        refused = refused + 1
        assert.equal(0, code, text)
      elseif not output:find "cannot open shared object" and not output:find "Too many open files"
        and not output:find "No file descriptors" then
        assert.equal(0, code, text)
        most = math.max(most, (assert(math.tointeger(tonumber(output)), text)))
      end
    end
    assert.is_true(refused > 1)
    assert.equal(8, most)
  end)
end)
