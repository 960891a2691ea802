-- "integer from 1 expected, got 8" did not say that it was a string, nor did others say what they lack or how much they
-- take; a Semaphore of more permits than an integer holds had a negative number of them.
local tcpnet = require "tcpnet"

local function nothing() end

local stream = tcpnet.duplex(1)

-- Returned, not raised.
local answers = {
  { "a host and a port are expected, not a URL", tcpnet.TcpStream.connect, "http://localhost:80/" },
  { "an IPv6 address with a port takes brackets", tcpnet.TcpStream.connect, "fe80::1:80" },
}

local cases = {
  { "limit: integer from 1 expected, got string", tcpnet.each, { 1 }, "8", nothing },
  { "limit: integer from 1 expected, got 0", tcpnet.each, { 1 }, 0, nothing },
  { "a list or an iterator expected, got nil", tcpnet.each, nil, 1, nothing },
  { "capacity: integer from 1 expected, got string", tcpnet.sync.channel, "3" },
  { "capacity: integer from 1 to 1073741824 expected, got 1099511627776", tcpnet.sync.broadcast, 1 << 40 },
  { "capacity: integer from 1 expected, got string", tcpnet.duplex, "3" },
  { "permits: integer from 0 expected, got string", tcpnet.sync.Semaphore.new, "3" },
  { "n: integer from 0 expected, got string", tcpnet.sync.Barrier.new, "3" },
  { "n: integer from 0 expected, got string", tcpnet.io.take, stream, "5" },
  { "max_length: integer from 1 expected, got string", tcpnet.codec.lines, { max_length = "5" } },
  { "endian: 'big', 'little' or 'native' expected, got middle", tcpnet.codec.length_delimited, { endian = "middle" } },
  { "reader expected, got table without try_read and peek)", tcpnet.copy, { read = nothing }, stream },
  { "reader expected, got table without peek)", tcpnet.copy, { try_read = nothing }, stream },
  { "writer expected, got table without write_some)", tcpnet.copy, stream, { write = nothing } },
  { "reader expected, got 1)", tcpnet.copy, 1, stream },
  { "TcpStream, UnixStream or DuplexStream expected, got table", tcpnet.copy_bidirectional, {}, stream },
  { "add_permits: more permits than the largest integer", function()
    tcpnet.sync.Semaphore.new(math.maxinteger):add_permits(1)
  end },
}

describe("what is refused is said to be", function()
  for _, case in ipairs(cases) do
    it(case[1], function()
      local ok, err = pcall(table.unpack(case, 2, 5))
      assert.is_false(ok)
      assert.matches(case[1], err, 1, true)
    end)
  end

  for _, case in ipairs(answers) do
    it(case[1], function()
      local ok, err = case[2](case[3])
      assert.is_nil(ok)
      assert.matches(case[1], tostring(err), 1, true)
    end)
  end
end)
