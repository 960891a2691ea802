-- A copy with a stream in memory waits for its reader without a look at its writer, and the other way round. Where that
-- was closed meanwhile, the copy went on waiting until something came.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function duplex()
  return tcpnet.duplex(100)
end

local pairs_of = {
  duplex = duplex,
  UnixStream = function() return assert(tcpnet.UnixStream.pair()) end,
  pipe = function()
    local sender, receiver = assert(tcpnet.pipe())
    return receiver, sender
  end,
}

describe("a copy that waits for its reader ends when its writer is closed:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, names in ipairs { { "duplex", "duplex" }, { "UnixStream", "duplex" }, { "pipe", "duplex" },
    { "duplex", "UnixStream" }, { "duplex", "pipe" } } do
    it(("%s to %s"):format(names[1], names[2]), tcp.in_task(function()
      local reader, source = pairs_of[names[1]]()
      local there, here = pairs_of[names[2]]()
      local _all <close> = tcp.guard(reader, source, here, there)
      local copy = tcpnet.spawn(tcpnet.copy, reader, here)
      assert(source:write "abc")
      assert.equal("abc", there:read_exact(3))
      here:close()
      local ok, result, err, copied = copy:join(5)
      assert.is_true(ok)
      tcp.fails("CLOSED", result, err)
      assert.equal("copy", err.op)
      assert.matches("is closed", err.message)
      assert.equal(3, copied)
      assert(source:write "later")
      assert.equal("later", reader:read())
    end))
  end

  for _, names in ipairs { { "duplex", "duplex" }, { "UnixStream", "duplex" }, { "duplex", "UnixStream" } } do
    it(("and its reader while it waits for room: %s to %s"):format(names[1], names[2]), tcp.in_task(function()
      local reader, source = pairs_of[names[1]]()
      local there, here = pairs_of[names[2]]()
      local _all <close> = tcp.guard(reader, source, here, there)
      while here:try_write(("x"):rep(65536)) do end
      local copy = tcpnet.spawn(tcpnet.copy, reader, here)
      assert(source:write "abc")
      tcpnet.sleep(0.01)
      reader:close()
      local ok, result, err, copied = copy:join(5)
      assert.is_true(ok)
      tcp.fails("CLOSED", result, err)
      assert.equal(0, copied)
    end))
  end

  it("cancelled, it has lost nothing and holds nothing", tcp.in_task(function()
    local reader, source = duplex()
    local there, here = duplex()
    local copy = tcpnet.spawn(tcpnet.copy, reader, here)
    tcpnet.sleep(0)
    copy:cancel()
    assert(source:write "later")
    assert.equal("later", reader:read())
    assert.equal(3, here:write "abc")
    assert.equal("abc", there:read())
  end))
end)

describe("a copy that waits for the other party ends when a half is closed:", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for index, name in ipairs { "its reader", "its writer" } do
    it(name, tcp.in_task(function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local halves = { stream:into_split() }
      local memory, other = duplex()
      local _all <close> = tcp.guard(halves[1], halves[2], peer, memory, other)
      while memory:try_write(("x"):rep(65536)) do end
      local parties = index == 1 and { halves[1], memory } or { memory, halves[2] }
      local copy = tcpnet.spawn(tcpnet.copy, table.unpack(parties))
      assert(peer:write "abc")
      tcpnet.sleep(0.01)
      halves[index]:close()
      local ok, result, err = copy:join(5)
      assert.is_true(ok)
      tcp.fails("CLOSED", result, err)
    end))
  end
end)
