-- splice and sendfile can send a part and then meet a connection that is gone: they answer the count, and raise SIGPIPE
-- as well, which ended the process.
local program = require "spec.support.program"

describe("a connection that goes in the middle of", function()
  -- The peer has closed; what comes first is answered with a reset, which what comes next meets in the same call.
  local script = [[
    local tcpnet = require "tcpnet"
    local listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    local function pair()
      local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      return client, (assert(listener:accept()))
    end
    local MIB <const> = 1 << 20
    local bytes = ("x"):rep(MIB)
    for _ = 1, 20 do
      %s
    end
    print "alive"
  ]]

  local function lives(body)
    assert.same({ 0, "alive\n" }, { program.lua(script:format(body)) })
  end

  it("sendfile does not end the process", function()
    lives [[
      local file <close> = assert(io.tmpfile())
      file:write(bytes:rep(4))
      file:seek "set"
      local client, server = pair()
      server:close()
      local count, err
      repeat
        count, err = client:sendfile(file)
      until not count
      assert(err.code == "EPIPE" or err.code == "ECONNRESET", tostring(err))
      client:close()
    ]]
  end)

  it("splice does not end the process", function()
    lives [[
      local from, relay_in = pair()
      local relay_out, to = pair()
      local copied = tcpnet.spawn(tcpnet.copy, relay_in, relay_out)
      tcpnet.run(function()
        local writer = tcpnet.spawn(function() from:write(bytes) end)
        to:read_exact(MIB)
        to:close()
        writer:join()
        from:write(bytes)
        from:shutdown()
        local ok, nothing, err = copied:join(10)
        assert(ok and nothing == nil and (err.code == "EPIPE" or err.code == "ECONNRESET"), tostring(err or nothing))
      end)
      for _, stream in ipairs { from, relay_in, relay_out } do
        stream:close()
      end
    ]]
  end)
end)
