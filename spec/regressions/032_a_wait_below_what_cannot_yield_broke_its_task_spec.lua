-- A coroutine of tcpnet.coroutine that was resumed below a C function that cannot yield, or in a finalizer, could begin
-- a wait, which then could not be passed on: the task that had the coroutine was broken for good, and every operation
-- of its own raised.
local collect = require "spec.support.collect"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local wrap = tcpnet.coroutine.wrap

describe("a wait in a coroutine that was resumed where nothing can yield", function()
  local function in_gsub(fn)
    local ok, result
    string.gsub("x", "x", function() ok, result = pcall(fn) end)
    return ok, result
  end

  local function in_finalizer(fn)
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local ok, result
    local text = ("unharmed"):rep(10)
    assert(peer:write(text))
    assert.equal(text, collect.during(function() ok, result = pcall(fn) end, stream.read, stream))
    stream:close()
    peer:close()
    return ok, result
  end

  local places = {
    ["a callback of string.gsub"] = { call = in_gsub, why = "below a C function that cannot yield" },
    ["a finalizer"] = { call = in_finalizer, why = "in a finalizer; nothing can wait there" },
  }
  for name, place in pairs(places) do
    local function refused(fn)
      local ok, err = place.call(fn)
      assert.is_false(ok)
      assert.match("cannot wait here: ", err, 1, true)
      assert.match(place.why, err, 1, true)
      assert.is_true(tcpnet.timeout(5, function() -- the task is as before
        tcpnet.sleep(0.001)
        return true
      end))
    end

    it("is refused: " .. name, tcp.in_task(function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      refused(wrap(function() return stream:read() end))
      refused(wrap(function() return wrap(function() return stream:read() end)() end))
      refused(wrap(function() tcpnet.yield() end))
      refused(wrap(function() return tcpnet.timeout(1, tcpnet.sleep, 0) end))
      refused(wrap(function() return tcpnet.scope(function() end) end))
      stream:close()
      peer:close()
    end))

    it("is refused where the coroutine has waited elsewhere: " .. name, tcp.in_task(function()
      local generator = wrap(function()
        tcpnet.sleep(0.001)
        tcpnet.coroutine.yield "first"
        local ok, err = pcall(tcpnet.sleep, 0.001)
        tcpnet.coroutine.yield(ok or err)
        tcpnet.sleep(0.001)
        return "last"
      end)
      assert.equal("first", generator())
      local _, second = place.call(generator)
      assert.match(place.why, second, 1, true)
      assert.equal("last", generator())
    end))

    it("hinders nothing but waits: " .. name, tcp.in_task(function()
      local outer = wrap(function()
        local inner = wrap(function()
          tcpnet.coroutine.yield(1)
          return 2
        end)
        tcpnet.coroutine.yield(inner())
        return inner()
      end)
      assert.equal(1, select(2, place.call(outer)))
      assert.equal(2, select(2, place.call(outer)))
    end))
  end

  it("does not wait where a cancel closes variables", tcp.in_task(function()
    local code
    local task = tcpnet.spawn(function()
      local _ <close> = setmetatable({}, { __close = function()
        code = select(2, wrap(function() return tcpnet.sleep(1) end)()).code
      end })
      tcpnet.sleep(10)
    end)
    tcpnet.yield()
    task:cancel()
    assert.equal("CANCELED", code)
  end))
end)
