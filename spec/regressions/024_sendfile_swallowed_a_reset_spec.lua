-- The kernel swallows the error that ended a connection where a sendfile, or a splice, has sent some bytes before it:
-- whoever read after that was told "end of stream", though bytes of the peer were lost with the connection.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a reset that comes in the middle of", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- What a read gets behind all that came from a peer that has closed with much still to send, and answers bytes with a
  -- reset. `before` is done with both ends while they are open, `send` with the one after that.
  local function ends(before, send)
    local client, server, _both <close> = tcp.pair()
    assert(server:set_send_buffer_size(400000))
    local sent, came, err = 0, 0
    before(server, client)
    repeat
      local count = client:try_write(("x"):rep(100000))
      sent = sent + (count or 0)
    until not count
    client:close()
    send(server)
    repeat
      local bytes
      bytes, err = server:read()
      came = came + #(bytes or "")
    until not bytes
    assert.is_true(came < sent, "nothing was lost")
    return err and err.code or "the end"
  end

  it("a sendfile is told to who reads", tcp.in_task(function()
    assert.equal("ECONNRESET", ends(function() end, function(server)
      local file <close> = assert(io.tmpfile())
      assert(file:write(("x"):rep(400000)) and file:flush())
      assert.is_nil(server:sendfile(file))
    end))
  end))

  it("a copy is told to who reads", tcp.in_task(function()
    local source, sink, _pair <close> = tcp.pair()
    local copy
    assert.equal("ECONNRESET", ends(function(server, client)
      copy = tcpnet.spawn(tcpnet.copy, source, server)
      assert(sink:write(("x"):rep(300000))) -- inside the kernel from now on
      assert(client:read_exact(300000))
    end, function()
      assert(sink:try_write(("x"):rep(400000)) > 65536)
      sink:close() -- it may all have gone out before the reset comes
      assert.is_true((copy:join(10)))
    end))
  end))
end)
