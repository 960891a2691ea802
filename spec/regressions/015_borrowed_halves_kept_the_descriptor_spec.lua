-- A stream that was split, and then into_split, kept its descriptor when both owned halves were closed, until the
-- collector came to the borrowed halves of before; and, where it had come to one of them a moment ago, even then.
local tcpnet = require "tcpnet"
local tcp = require "spec.support.tcp"

describe("the last owned half", function()
  local function descriptors_left(fn)
    local before = tcpnet.metrics().sources
    local client, server = tcp.pair()
    local read_half, write_half = client:split()
    fn(client:into_split())
    server:close()
    local left = tcpnet.metrics().sources - before
    assert(read_half:closed() and write_half:closed())
    assert.equal("ReadHalf (closed)", tostring(read_half))
    return left
  end

  it("takes the descriptor with it, though borrowed halves are still there", function()
    assert.equal(0, descriptors_left(function(read_half, write_half)
      read_half:close()
      write_half:close()
    end))
  end)

  it("does so with a borrowed half that was just collected", function()
    local client, server = tcp.pair()
    local before = tcpnet.metrics().sources
    local kept = client:split()
    local read_half, write_half = client:into_split()
    collectgarbage() -- takes the borrowed write half
    read_half:close()
    write_half:close()
    assert.equal(before - 1, tcpnet.metrics().sources)
    assert.is_true(kept:closed())
    server:close()
  end)

  it("does so when it is given up, too", function()
    assert.equal(0, descriptors_left(function(read_half, write_half)
      read_half:close()
      write_half:forget()
    end))
  end)
end)
