-- A write of many pieces went through those that were gone at each of its waits, and through all of them for Buffers:
-- four times as many took sixteen times as long.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a write of many pieces that waits often", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- Writes the pieces to a peer with little room, which reads them → what the write gave, what came, seconds of the CPU
  local function send(pieces)
    local a, b, _guard <close> = tcp.unix_pair()
    assert(a:set_send_buffer_size(4096))
    local reader = tcpnet.spawn(function() return b:read_to_end() end)
    local began = os.clock()
    local sent = table.pack(a:write(table.unpack(pieces)))
    a:shutdown()
    local _, got = reader:join()
    return sent, got, os.clock() - began
  end

  local function cost(count)
    local pieces = {}
    for i = 1, count do
      pieces[i] = "x"
    end
    local least = math.huge
    for _ = 1, 5 do
      local sent, got, seconds = send(pieces)
      assert.same({ count, n = 1 }, sent)
      assert.equal(count, #got)
      least = math.min(least, seconds)
    end
    return least
  end

  it("goes on where it was", tcp.in_task(function()
    local few, many = cost(20000), cost(320000)
    assert.is_true(many < 64 * few, ("%.6f s for many, %.6f s for few"):format(many, few))
  end))

  it("sends each byte once, whatever its pieces are", tcp.in_task(function()
    local pieces, texts = {}, {}
    for i = 1, 300 do
      local text = ("%d,"):format(i):rep(i * 7 % 90)
      texts[i] = text
      pieces[i] = i % 5 == 0 and tcpnet.Buffer.new(#text + 1):append(text) or text
    end
    texts[301], pieces[301] = "17", 17
    local all = table.concat(texts)
    local sent, got = send(pieces)
    assert.same({ #all, n = 1 }, sent)
    assert.equal(all, got)
  end))

  it("tells how much has gone when its time is up, and keeps its Buffers until then", tcp.in_task(function()
    local a, b, _guard <close> = tcp.unix_pair()
    assert(a:set_send_buffer_size(4096):set_write_timeout(0.05))
    local buffer = tcpnet.Buffer.new(3000):append(("b"):rep(3000))
    local pieces = {}
    for i = 1, 20 do
      pieces[2 * i - 1], pieces[2 * i] = ("a"):rep(3000), buffer
    end
    local writer = tcpnet.spawn(function() return a:write(table.unpack(pieces)) end)
    tcpnet.sleep(0.01)
    local got = b:read_exact(10000) -- it has waited more than once
    tcpnet.sleep(0.01)
    assert.is_false((pcall(buffer.clear, buffer)))
    local _, count, err, sent = writer:join()
    assert.is_nil(count)
    assert.equal("TIMEOUT", err.code)
    buffer:clear()
    a:shutdown()
    got = got .. b:read_to_end()
    assert.equal(sent, #got)
    assert.equal((("a"):rep(3000) .. ("b"):rep(3000)):rep(20):sub(1, sent), got)
  end))
end)
