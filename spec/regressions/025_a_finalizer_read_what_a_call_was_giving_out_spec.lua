-- Lua may call a finalizer as soon as the bytes that a call gives out are a string. Where it read from the same stream
-- it got them again, and the call then took more than there was from the buffer; behind read_exact it got later bytes
-- before earlier ones. Where it reset the stream, that was closed under the call, and into_fd gave out a descriptor of
-- a stream that it had closed.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a finalizer in the middle of a read", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local text = ("a"):rep(60) .. "\nnext\n"
  local reads = {
    read = function(stream) return stream.read, stream, 61 end,
    read_exact = function(stream) return stream.read_exact, stream, 61 end,
    read_line = function(stream) return stream.read_line, stream end,
    read_until = function(stream) return stream.read_until, stream, "\n" end,
    lines = function(stream) return stream:lines() end,
    chunks = function(stream) return stream:chunks(61) end,
    into_fd = function(stream) return stream.into_fd, stream, true end,
  }

  for name, read in pairs(reads) do
    for ahead = name == "into_fd" and 1 or 0, 1 do
      local what = name .. (ahead == 1 and ", with bytes read ahead" or "")

      it("gets none of its bytes, and none out of order: " .. what, tcp.in_task(function()
        local client, server, _guard <close> = tcp.pair()
        assert(client:write(text))
        assert.equal(text, server:peek(#text))
        assert.equal(ahead, #server:read_exact(ahead))
        local stolen
        local got, rest = collect.during(function()
          client:try_write "late"
          stolen = server:try_read() or false
        end, read(server))
        assert.is_false(stolen)
        if name == "into_fd" then
          server = assert(tcpnet.TcpStream.from_fd(got))
          got = rest
        end
        client:shutdown()
        local ending = (name == "read_line" or name == "lines") and "\n" or ""
        local all = text:sub(1, ahead) .. got .. ending .. server:read_to_end()
        assert.equal(text .. "late", all)
        server:close()
      end))

      for _, ending in ipairs { "close", "reset" } do
        it(("may %s the stream: %s"):format(ending, what), tcp.in_task(function()
          local client, server, _guard <close> = tcp.pair()
          assert(client:write(text))
          assert.equal(text, server:peek(#text))
          assert.equal(ahead, #server:read_exact(ahead))
          local got, err = collect.during(function() server[ending](server) end, read(server))
          if name == "into_fd" then
            tcp.fails("CLOSED", got, err)
          else
            assert.equal(60 - ahead, #got:match "a+")
          end
          tcp.fails("CLOSED", server:read())
        end))
      end
    end
  end
end)

describe("a finalizer in the middle of append", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- The bytes that it read lay in memory of the reactor's, and the number was put elsewhere; reading the Buffer went
  -- past the end of that memory.
  it("may read into the Buffer", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local buffer = tcpnet.Buffer.new(65536)
    assert(client:write(("r"):rep(1000)))
    assert.equal(1000, #server:peek(1000))
    local read
    local number = 1 / 3 -- its text is nowhere yet
    collect.during(function() read = server:try_read_into(buffer) end, buffer.append, buffer, number)
    assert.equal(1000, read)
    assert(client:write "other")
    assert.equal("other", server:read()) -- whatever was in the reactor's memory is gone
    assert.equal(("r"):rep(1000) .. number, tostring(buffer))
  end))
end)
