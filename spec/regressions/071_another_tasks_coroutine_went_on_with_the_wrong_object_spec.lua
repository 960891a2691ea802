-- tcpnet.coroutine.resume of a coroutine in whose body another task waits went on with that wait as if it were the
-- caller's own, on the object of whatever the caller had waited for last: a NULL pointer, or an object of another
-- class.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a coroutine that waits in another task", function()
  -- wait(thread_to_be) ⏳, what it waits for is over after that call
  local function hijacked(wait, before)
    local thread
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      return wait()
    end)
    tcpnet.yield()
    before()
    local results = { tcpnet.coroutine.resume(thread) }
    local ok, err = task:join(1)
    assert.is_nil(ok)
    return results, err
  end

  local function waits()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local set, gate = tcpnet.JoinSet.new(), tcpnet.spawn(tcpnet.park)
    set:spawn(function() gate:join() end)
    local all = {
      join_next = function() return set:join_next() end,
      join = function() return gate:join() end,
      read = function() return stream:read() end,
      lines = function() return stream:lines()() end,
      readable = function() return stream:readable() end,
      sleep = function() return tcpnet.sleep(10) end,
      park = tcpnet.park,
    }
    return all, function()
      gate:cancel()
      set:abort_all()
      stream:close()
      peer:close()
    end
  end

  local befores = {
    ["has not waited yet"] = function() end,
    ["gave way before"] = tcpnet.yield,
    ["slept before"] = function() tcpnet.sleep(0) end,
    ["joined before"] = function() tcpnet.spawn(tcpnet.yield):join() end,
    ["read before"] = function()
      local stream, peer = assert(tcpnet.UnixStream.pair())
      local _guard <close> = tcp.guard(stream, peer)
      local reading = tcpnet.spawn(function() return peer:write "x" end)
      assert.equal("x", stream:read())
      reading:join()
    end,
  }

  for _, name in ipairs { "join_next", "join", "read", "lines", "readable", "sleep", "park" } do
    for title, before in pairs(befores) do
      it(("is not gone on with by one that %s: %s"):format(title, name), tcp.in_task(function()
        local all, done = waits()
        local results, err = hijacked(all[name], before)
        assert.matches("resumed by somebody else than the reactor", tostring(results[2]))
        assert.matches("resumed or closed by somebody else", tostring(err))
        done()
      end))
    end
  end

  it("may catch that and wait in the other task, and nothing breaks when its own wakes", tcp.in_task(function()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local _guard <close> = tcp.guard(stream, peer)
    local gate, thread = tcpnet.spawn(tcpnet.park), nil
    local task = tcpnet.spawn(function()
      thread = coroutine.running()
      pcall(gate.join, gate)
      return stream:read()
    end)
    tcpnet.yield()
    local thief = tcpnet.spawn(function() return tcpnet.coroutine.resume(thread) end)
    local joining = tcpnet.spawn(task.join, task, 0.05)
    tcpnet.yield()
    gate:cancel()
    tcpnet.sleep(0.001)
    peer:write "x"
    joining:join()
    task:cancel()
    thief:cancel()
  end))
end)
