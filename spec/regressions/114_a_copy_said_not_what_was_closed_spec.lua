-- A copy that waited when one of its streams was closed failed with "closed" alone, and did not say which.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

describe("a copy that waits", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function message_of(reader, writer, ending)
    local copy <close> = tcpnet.spawn(tcpnet.copy, reader, writer)
    tcpnet.sleep(0.005)
    ending()
    local _, count, err = copy:join(5)
    assert.is_nil(count)
    assert.equal("CLOSED", err.code)
    return err.message
  end

  it("says which of the two is closed", in_task(function()
    local peer, reader = tcpnet.UnixStream.pair()
    local sender, receiver = tcpnet.pipe()
    local _guard <close> = tcp.guard(peer, reader, sender, receiver)
    local read_half = reader:split()
    assert.equal("the reader is closed", message_of(read_half, sender, function() read_half:close() end))
    assert.equal("the writer is closed", message_of(reader, sender, function() sender:close() end))
    local other, writer = tcpnet.UnixStream.pair()
    local _others <close> = tcp.guard(other, writer)
    assert.equal("the writer is closed", message_of(reader, writer, function() writer:close() end))
    assert.equal("the reader is closed", message_of(reader, other, function()
      local first, second = reader:into_split()
      second:close()
      first:close()
    end))
  end))
end)
