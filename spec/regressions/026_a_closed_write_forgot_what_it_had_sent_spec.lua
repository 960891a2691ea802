-- A write that waited, and whose stream was closed meanwhile, said that it had sent nothing: what it had sent lay below
-- the text that says why the stream is closed.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a write whose stream is closed while it waits", function()
  local big = ("x"):rep(20000000)

  local writes = {
    ["write of a string"] = function(stream) return stream:write(big) end,
    ["write of several"] = function(stream) return stream:write(big, 12, "y") end,
    write_from = function(stream) return stream:write_from(tcpnet.Buffer.new(#big):append(big)) end,
  }
  for name, write in pairs(writes) do
    it("says how much it has sent: " .. name, tcp.in_task(function()
      local client, server, _guard <close> = tcp.pair()
      local writer = tcpnet.spawn(write, client)
      local behind = tcpnet.spawn(write, client)
      tcpnet.sleep(0.05)
      client:close()
      local _, text, err, sent = writer:join()
      assert.is_nil(text)
      assert.equal("CLOSED", err.code)
      assert.equal(#assert(server:read_to_end()), sent)
      _, text, err, sent = behind:join()
      assert.is_nil(text)
      assert.equal("CLOSED", err.code)
      assert.equal(0, sent)
    end))
  end

  it("says 0 where it waited for another write", tcp.in_task(function()
    local client, _, _guard <close> = tcp.pair()
    local first = tcpnet.spawn(client.write, client, big)
    tcpnet.yield()
    local second = tcpnet.spawn(client.write, client, "1", 2)
    tcpnet.yield()
    client:close()
    local _, _, err, sent = second:join()
    assert.equal("CLOSED", err.code)
    assert.equal(0, sent)
    first:join()
  end))
end)
