-- What a child inherits, or is given, becomes blocking, and with it whatever shares its description: an object here
-- that had descriptor 0, a stream whose view or half was given. Its next read held up every task of the program.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task
local spawn = tcpnet.process.spawn

local function assert_never_blocks(stream)
  local _, err = tcpnet.timeout(0.01, stream.read, stream)
  assert.is_true(tcpnet.is_error(err, "TIMEOUT"), tostring(err))
end

describe("a stream for a child process that its parent would share", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is not inherited while an object here has it", function()
    local folder <close>, fifo = program.fifo()
    local script = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      local spawn = tcpnet.process.spawn
      local a, b = tcpnet.UnixStream.pair()
      local input = assert(tcpnet.PipeReceiver.from_fd(0))
      print(spawn { "true" })
      print(spawn { "true", stdin = "inherit" })
      local child <close> = assert(spawn { "true", stdin = "null" })
      print(child:wait().code)
      print(tcpnet.timeout(0.01, input.read, input))
      input:into_fd()
      local heir <close> = assert(spawn { "true" })
      print(heir:wait().code)
    ]])
    local code, output = program.shell(program.command(script) .. " 0<>" .. program.quote(fifo)) -- never at an end
    local refused = "nil\tspawn: stdin: an object has descriptor 0; give the object (EBUSY)\n"
    assert.equal(refused .. refused .. "0\nnil\ttimeout: timed out (TIMEOUT)\n0\n", output)
    assert.equal(0, code)
  end)

  it("is inherited again once the object is garbage", function()
    local folder <close>, fifo = program.fifo()
    local script = program.write(folder.path .. "/script.lua", [[
      local tcpnet = require "tcpnet"
      do local input <const> = tcpnet.PipeReceiver.from_fd(0) end
      collectgarbage()
      collectgarbage()
      local child, err = tcpnet.process.spawn { "true", stdin = 0, stdout = "null", stderr = "null" }
      print(child and child:wait().code or err.code)
    ]])
    local code, output = program.shell(program.command(script) .. " 0<>" .. program.quote(fifo))
    assert.equal("0\n", output)
    assert.equal(0, code)
  end)

  it("is refused when the Lua state closes, as all else", function()
    local folder <close> = program.fifo()
    local script = program.write(folder.path .. "/script.lua", [[
      local spawn
      local late <const> = setmetatable({}, { __gc = function() print(pcall(spawn, { "true" })) end })
      spawn = require "tcpnet".process.spawn
      _G.late = late
    ]])
    local code, output = program.shell(program.command(script))
    assert.equal("false\tspawn: the Lua state is closing\n", output)
    assert.equal(0, code)
  end)

  it("is no view", in_task(function()
    local stream, peer, _guard <close> = tcp.pair()
    local err = fails("EINVAL", spawn { "true", stdin = stream:as_socket() })
    assert.matches("stdin: as_socket() gave a view", err.message, 1, true)
    fails("EINVAL", spawn { "true", stdin = "null", stdout = "pipe", stderr = peer:as_socket() })
    assert_never_blocks(stream)
  end))

  it("is no half", in_task(function()
    local stream, _, _guard <close> = tcp.pair()
    local halves = { stream:split() }
    for i, half in ipairs(halves) do
      assert.error_matches(function() spawn { "true", stdin = half } end,
        "stdin: .*, got " .. (i == 1 and "ReadHalf" or "WriteHalf"))
    end
    assert_never_blocks(stream)
    local read_half <close>, write_half = stream:into_split()
    assert.error_matches(function() spawn { "true", stdout = write_half } end, "stdout: .*, got OwnedWriteHalf")
    assert_never_blocks(read_half)
    write_half:close()
  end))

  it("is nothing that cannot be closed here", in_task(function()
    local poll <close> = assert(tcpnet.Poll.new())
    for kind, object in pairs { Poll = poll, SourceFd = tcpnet.SourceFd.new(0) } do
      assert.error_matches(function() spawn { "true", stdin = object } end,
        "bad argument #1 to 'spawn' %(stdin: .*, got " .. kind)
    end
    assert.is_false(poll:closed())
  end))

  it("is given with nothing that was read ahead", in_task(function()
    local stream, peer = tcpnet.UnixStream.pair()
    local _both <close> = tcp.guard(stream, peer)
    assert(peer:send_fd(peer))
    assert.equal("\0", stream:read())
    fails("EBUSY", spawn { "true", stdin = stream })
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    if udp:set_udp_gro(true) then
      assert(udp:send_many { { "one", udp:local_addr() }, { "two", udp:local_addr() } })
      assert.equal("one", udp:recv())
      fails("EBUSY", spawn { "true", stdin = udp })
      assert.equal("two", udp:recv())
    end
  end))
end)
