-- ready, and with it async_io, waited on past the timeout of its object, which readable and writable keep to.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local function timed_out(...)
  local result, err = ...
  assert.is_nil(result)
  return err.code
end

describe("ready", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("keeps to the timeout of its stream", tcp.in_task(function()
    local here, there = tcp.pair()
    local _both <close> = tcp.guard(here, there)
    here:set_read_timeout(0.01)
    for _, interest in ipairs { "r", "p", tcpnet.Interest.READABLE + tcpnet.Interest.PRIORITY } do
      local nothing, err = here:ready(interest)
      assert.is_nil(nothing)
      assert.same({ "ready", "TIMEOUT", tostring(here:peer_addr()) }, { err.op, err.code, err.address })
    end
    local read_half = here:split()
    assert.equal("TIMEOUT", timed_out(read_half:ready "r"))
    assert.is_true(here:ready("w"):is_writable())
    there:write "x"
    assert.is_true(here:ready("r"):is_readable())
  end))

  it("for writing to that for writing", tcp.in_task(function()
    local here, there = tcpnet.UnixStream.pair()
    local _both <close> = tcp.guard(here, there)
    repeat until not here:try_write(("x"):rep(65536))
    here:set_write_timeout(0.01)
    assert.equal("TIMEOUT", timed_out(here:ready "w"))
    here:set_timeout(0.01)
    assert.equal("TIMEOUT", timed_out(here:ready "rw"))
  end))

  it("of what is read message by message, and of a pipe", tcp.in_task(function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local sender, receiver = tcpnet.pipe()
    local _both <close> = tcp.guard(sender, receiver)
    for _, object in ipairs { udp, receiver } do
      assert.equal("TIMEOUT", timed_out(object:set_read_timeout(0.01):ready "r"))
    end
    assert.is_true(sender:ready("w"):is_writable())
  end))

  it("is what async_io waits with", tcp.in_task(function()
    local here, there = tcpnet.UnixStream.pair()
    local _both <close> = tcp.guard(here, there)
    here:set_timeout(0.01)
    assert.equal("TIMEOUT", timed_out(here:async_io("r", function() return here:try_read() end)))
    there:write "x"
    assert.equal("x", here:async_io("r", function() return here:try_read() end))
  end))
end)
