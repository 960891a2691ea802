-- Behind a read that took all that the kernel had, try_io answered EAGAIN although bytes were read ahead, or datagrams
-- kept; readable and ready said that it would not wait, so async_io turned without a pause and called no function.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"
local udp = require "spec.support.udp"

-- What readiness a read has found, its function must get.
local function assert_called(object, try, expected)
  assert.is_true(object:readable())
  local calls = 0
  assert.equal(expected, object:try_io("r", function()
    calls = calls + 1
    return try(object)
  end))
  assert.equal(1, calls)
end

describe("what was read ahead", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, pair in pairs { tcp = tcp.pair, unix = tcp.unix_pair } do
    it("is ready for try_io and async_io: " .. name, tcp.in_task(function()
      local a, b, _guard <close> = pair()
      assert.is_true(tcp.waits(b.read, b))
      a:write "1\n2\n3\n4\n"
      assert.equal("1", b:read_line())
      assert_called(b, function() return b:try_read(2) end, "2\n")
      assert.equal("3", b:read_line())
      assert.equal("4\n", b:async_io("r", function() return b:try_read() end))
      tcp.fails("EAGAIN", b:try_io("r", error))
    end))
  end

  it("is ready for try_io and async_io: pipe", tcp.in_task(function()
    local output, input = assert(tcpnet.pipe())
    local _guard <close> = tcp.guard(output, input)
    assert.is_true(tcp.waits(input.read, input))
    output:write "1\n2\n"
    assert.equal("1", input:read_line())
    assert_called(input, input.try_read, "2\n")
  end))

  it("is ready for try_io and async_io: datagrams", tcp.in_task(function()
    local a, b, _guard <close> = udp.connected()
    if not b:set_udp_gro(true) then
      return pending "needs UDP_GRO"
    end
    for _ = 1, 3 do -- it asks for more each time
      assert.is_true(tcp.waits(b.recv, b))
      for i = 1, 5 do
        a:send(tostring(i))
      end
      assert.equal("1", b:recv())
      assert_called(b, b.try_recv, "2")
      assert.equal("3", b:async_io("r", function() return b:try_recv() end))
      assert_called(b, b.try_recv, "4")
      assert_called(b, b.try_recv, "5")
      tcp.fails("EAGAIN", b:try_io("r", error))
    end
  end))
end)
