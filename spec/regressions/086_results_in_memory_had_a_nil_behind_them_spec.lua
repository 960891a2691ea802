-- Streams in memory, and what take and chain make, gave a nil more than streams of the system do: behind the end, and
-- behind what write_some and its like had written. table.insert(list, stream:write_some(bytes)) was an error.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("results are as many as of a stream of the system", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function room(text)
    return tcpnet.Buffer.new(10):append(text)
  end

  local reads = {
    read = {}, try_read = {}, read_exact = { 0 }, read_line = {}, read_until = { "x" }, read_to_end = {}, peek = {},
    try_peek = {}, readable = {},
  }

  it("where one writes", tcp.in_task(function()
    for _, new in ipairs { tcp.pair, function() return tcpnet.duplex(100) end } do
      local a, b = new()
      local _both <close> = tcp.guard(a, b)
      assert.same({ 2, n = 1 }, table.pack(a:write_some "ab"))
      assert.same({ 2, n = 1 }, table.pack(a:try_write "ab"))
      assert.same({ 2, n = 1 }, table.pack(a:write_vectored { "a", "b" }))
      assert.same({ 2, n = 1 }, table.pack(a:try_write_vectored { "a", "b" }))
      assert.same({ 2, n = 1 }, table.pack(a:write_from(room "ab")))
      assert.same({ 2, n = 1 }, table.pack(a:write "ab"))
      assert.same({ true, n = 1 }, table.pack(a:writable()))
      assert.same({ true, n = 1 }, table.pack(b:readable()))
    end
  end))

  it("where a reader has ended", tcp.in_task(function()
    for name, new in pairs {
      stream = function(a, _) return a end,
      take = function(a, _) return tcpnet.io.take(a, 3) end,
      chain = function(a, b) return tcpnet.io.chain(a, b) end,
    } do
      local there, here = tcpnet.duplex(100)
      local of_there, of_here = tcpnet.UnixStream.pair()
      local _all <close> = tcp.guard(there, here, of_there, of_here)
      there:shutdown()
      here:shutdown()
      of_there:shutdown()
      of_here:shutdown()
      local ended = new(here, there)
      for method, arguments in pairs(reads) do
        local expected = table.pack(of_here[method](of_here, table.unpack(arguments)))
        assert.same(expected, table.pack(ended[method](ended, table.unpack(arguments))), name .. " " .. method)
      end
      assert.same({ n = 1 }, table.pack(ended:read_into(room "")))
      assert.same({ n = 1 }, table.pack(ended:try_read_into(room "")))
      assert.same({ n = 1 }, table.pack(ended:try_read_vectored { room "" }))
    end
  end))
end)
