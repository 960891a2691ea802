-- One call that reads a user's reader, or writes to a user's writer, again and again gave way to nobody where those
-- never wait: copy, a frame without an end, read_exact of a part, the flush of a long frame.
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local STEPS <const> = 1290

-- A reader of so many pieces of one byte.
local function bytes(count)
  local reader = { left = count }
  function reader:peek()
    return self.left > 0 and "x" or nil
  end
  function reader:read()
    self.left = self.left - 1
    return self.left >= 0 and "x" or nil
  end
  reader.try_read = reader.read
  return reader
end

local function take_one()
  return 1
end

local calls = {
  copy = function()
    assert.equal(STEPS, tcpnet.copy(bytes(STEPS), { write_some = take_one }))
  end,
  ["a copy into memory"] = function()
    local here, there = tcpnet.duplex(1 << 20)
    assert.equal(STEPS, tcpnet.copy(bytes(STEPS), here))
    there:close()
  end,
  ["a frame without an end"] = function()
    assert.equal(STEPS, #tcpnet.codec.lines():framed_read(bytes(STEPS)):next())
  end,
  ["read_exact of a part"] = function()
    assert.equal(STEPS, #tcpnet.io.take(bytes(STEPS), STEPS):read_exact(STEPS))
  end,
  ["read_to_end of a chain"] = function()
    assert.equal(STEPS, #tcpnet.io.chain(bytes(STEPS // 2), bytes(STEPS // 2)):read_to_end())
  end,
  ["the flush of a long frame"] = function()
    assert(tcpnet.codec.lines():framed_write({ write_some = take_one }):send(("x"):rep(STEPS)))
  end,
}

describe("a call with a user's reader or writer that never waits", function()
  for name, call in pairs(calls) do
    it("gives way after as many steps as any other: " .. name, tcp.in_task(function()
      local turns = steps.turns_during(call)
      assert.is_true(turns >= 10, turns)
      assert.is_true(turns <= 40, turns)
    end))
  end
end)
