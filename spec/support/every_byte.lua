-- Bytes both ways at once through streams, a file and copies: `COUNT [MORE]` bytes, and MORE for what takes longer.
-- For builds and preloaded libraries that move one byte at a time. Says "the same" where all came.
local tcpnet = require "tcpnet"
local tcp = require "spec.support.tcp"
local COUNT, MORE = tonumber(arg[1]), tonumber(arg[2])

local function both_ways(count, a, b)
  local text, back = tcp.bytes(count), tcp.bytes(count):reverse()
  local function exchange(stream, sent, expected)
    return function()
      local writer = tcpnet.spawn(function()
        assert(stream:write(sent:sub(1, 1000), tcpnet.Buffer.new(count):append(sent:sub(1001))) == #sent)
        assert(stream:shutdown())
      end)
      assert(stream:read_to_end(count) == expected, "bytes are missing")
      assert(writer:join())
    end
  end
  tcpnet.scope(function(scope)
    scope:spawn(exchange(a, text, back))
    scope:spawn(exchange(b, back, text))
  end)
  a:close()
  b:close()
end

local function copied(count)
  local text, parts = tcp.bytes(count), {}
  local from, into = tcpnet.UnixStream.pair()
  local client, server = tcp.pair()
  local sender, receiver = tcpnet.pipe()
  tcpnet.scope(function(scope)
    scope:spawn(function()
      local file <close> = assert(io.tmpfile())
      assert(file:write(text) and file:flush())
      assert(from:sendfile(file) == count)
      from:close()
    end)
    scope:spawn(function()
      assert(tcpnet.copy(into, client) == count)
      client:shutdown()
    end)
    scope:spawn(function()
      assert(tcpnet.copy(server, sender) == count)
      sender:close()
    end)
    for chunk in receiver:chunks() do
      parts[#parts + 1] = chunk
    end
  end)
  assert(table.concat(parts) == text, "bytes are missing")
  for _, object in ipairs { into, client, server, receiver } do
    object:close()
  end
end

-- A copy inside the kernel, once enough has gone through.
local function spliced(count)
  local a, a_far = tcp.pair()
  local b, b_far = tcp.pair()
  local text = tcp.bytes(count)
  tcpnet.scope(function(scope)
    scope:spawn(function()
      assert(a_far:write(text) == count and a_far:shutdown())
    end)
    scope:spawn(function()
      assert(tcpnet.copy(a, b) == count and b:shutdown())
    end)
    assert(b_far:read_to_end(count) == text, "bytes are missing")
  end)
  for _, object in ipairs { a, a_far, b, b_far } do
    object:close()
  end
end

tcpnet.run(function()
  both_ways(COUNT, tcp.pair())
  both_ways(COUNT // 16, tcpnet.UnixStream.pair())
  copied(COUNT // 16)
  if MORE then
    spliced(MORE)
  end
  print "the same"
end)
