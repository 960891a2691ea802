-- finish, async_io and join of a worker counted their object among the arguments that they complain of; finish and
-- async_io failed under the names of their steps: shutdown, read, try_io, ready.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a method that is written in Lua", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function text(fn)
    local ok, message = pcall(fn)
    assert.is_false(ok)
    return message
  end

  it("counts its arguments as those in C do", tcp.in_task(function()
    local a, b = tcpnet.UnixStream.pair()
    local _both <close> = tcp.guard(a, b)
    assert.matches("#1 to 'finish' %(timeout: ", text(function() a:finish(-1) end))
    assert.matches("#1 to 'async_io' %(interest: ", text(function() a:async_io("x", print) end))
    assert.matches("#1 to 'async_io' %(interest: ", text(function() a:split():async_io("w", print) end))
    assert.matches("#2 to 'async_io' %(function ", text(function() a:async_io "r" end))
    local workers <close> = assert(tcpnet.workers(1, function() end))
    assert.matches("#1 to 'join' %(timeout: ", text(function() workers[1]:join(-1) end))
    assert.matches("#1 to 'join' %(timeout: ", text(function() workers:join "x" end))
    assert.is_true(workers:join(5))
  end))

  local function told(_, err)
    return { err.op, err.code, err.address }
  end

  it("fails under its own name", tcp.in_task(function()
    for _, new in ipairs { tcp.pair, tcpnet.UnixStream.pair, function() return tcpnet.duplex(10) end } do
      local a, b = new()
      a:close()
      assert.same({ "finish", "CLOSED" }, told(a:finish()))
      if a.async_io then
        assert.same({ "async_io", "CLOSED" }, told(a:async_io("r", a.fd)))
      end
      b:close()
    end
    local client, server = tcp.pair()
    local address = tostring(client:peer_addr())
    server:reset()
    assert.same({ "finish", "ECONNRESET", address }, told(client:finish()))
    client, server = tcp.pair()
    local _both <close> = tcp.guard(client, server)
    client:set_timeout(0.01)
    address = tostring(client:peer_addr())
    assert.same({ "async_io", "TIMEOUT", address }, told(client:async_io("r", function() return client:try_read() end)))
  end))

  it("leaves what the function of async_io answers as it is", tcp.in_task(function()
    local a, b = tcpnet.UnixStream.pair()
    local _both <close> = tcp.guard(a, b)
    local _, refused = tcpnet.TcpStream.connect "127.0.0.1:1"
    local nothing, err, more = a:async_io("w", function() return nil, refused, 3 end)
    assert.is_nil(nothing)
    assert.equal(refused, err)
    assert.equal(3, more)
    assert.equal("closed", (select(2, a:async_io("w", function() return nil, "closed" end))))
  end))
end)
