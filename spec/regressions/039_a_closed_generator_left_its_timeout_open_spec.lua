-- Where a generator had yielded through `timeout` and was closed then, the function inside the timeout was not: what it
-- had to close stayed open until the collector came by, a lock stayed locked.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local yield = tcpnet.coroutine.yield

describe("a generator that yields through timeout", function()
  local log

  before_each(function() log = {} end)

  local function note(text, err)
    return setmetatable({}, { __close = function()
      log[#log + 1] = text
      if err then
        error(err, 0)
      end
    end })
  end

  local function generator(body, seconds)
    return tcpnet.coroutine.create(function()
      local _outer <close> = note "outer"
      return tcpnet.timeout(seconds or 10, body)
    end)
  end

  local closes = { ["tcpnet.coroutine.close"] = tcpnet.coroutine.close, ["coroutine.close"] = coroutine.close }
  for name, close in pairs(closes) do
    it("is closed whole by " .. name, tcp.in_task(function()
      local co = generator(function()
        local _inner <close> = note "inner"
        for i = 1, 3 do
          yield(i)
        end
      end)
      assert.same({ true, 1 }, { tcpnet.coroutine.resume(co) })
      assert.same({ true, 2 }, { tcpnet.coroutine.resume(co) })
      assert.is_true(close(co))
      assert.same({ "inner", "outer" }, log)
      assert.equal("dead", tcpnet.coroutine.status(co))
    end))

    it("gives what closing it raises: " .. name, tcp.in_task(function()
      local co = generator(function()
        local _inner <close> = note("inner", "raised")
        yield()
      end)
      assert(tcpnet.coroutine.resume(co))
      assert.same({ false, "raised" }, { close(co) })
      assert.same({ "inner", "outer" }, log)
    end))
  end

  it("is closed whole where timeouts stand in each other", tcp.in_task(function()
    local co = generator(function()
      local _middle <close> = note "middle"
      tcpnet.timeout(10, function()
        local _inner <close> = note "inner"
        yield()
      end)
    end)
    assert(tcpnet.coroutine.resume(co))
    assert.is_true(tcpnet.coroutine.close(co))
    assert.same({ "inner", "middle", "outer" }, log)
  end))

  it("may not wait while it is closed", tcp.in_task(function()
    local code
    local co = generator(function()
      local _inner <close> = setmetatable({}, { __close = function()
        code = select(2, tcpnet.sleep(10)).code
      end })
      yield()
    end)
    assert(tcpnet.coroutine.resume(co))
    assert.is_true(tcpnet.coroutine.close(co))
    assert.equal("CANCELED", code)
  end))

  it("closes once where its function ends by itself", tcp.in_task(function()
    local endings = {
      returns = function() return "value" end,
      fails = function() error("raised", 0) end,
      ["is late"] = function() tcpnet.sleep(10) end,
    }
    local results = {
      returns = { true, "value" },
      fails = { false, "raised" },
      ["is late"] = { true },
    }
    for name, ending in pairs(endings) do
      log = {}
      local co = generator(function()
        local _inner <close> = note "inner"
        yield(tcpnet.sleep(0.001))
        tcpnet.sleep(0.001)
        yield()
        return ending()
      end, name == "is late" and 0.05 or 10)
      assert(tcpnet.coroutine.resume(co))
      assert(tcpnet.coroutine.resume(co))
      local ok, value, err = tcpnet.coroutine.resume(co)
      assert.same(results[name], { ok, value })
      assert.equal(name == "is late" and "TIMEOUT" or nil, err and err.code)
      tcpnet.coroutine.close(co)
      assert.same({ "inner", "outer" }, log)
    end
  end))

  it("leaves alone who has the thread of its timeout by then", tcp.in_task(function()
    local co = tcpnet.coroutine.create(function()
      tcpnet.timeout(10, function()
        yield()
        tcpnet.sleep(0.001)
      end)
      yield()
    end)
    assert(tcpnet.coroutine.resume(co))
    assert(tcpnet.coroutine.resume(co)) -- the timeout is over, the generator is not
    local other = generator(function()
      local _inner <close> = note "inner"
      yield()
      return "unharmed"
    end)
    assert(tcpnet.coroutine.resume(other))
    assert.is_true(tcpnet.coroutine.close(co))
    assert.same({}, log)
    assert.same({ true, "unharmed" }, { tcpnet.coroutine.resume(other) })
  end))

  it("closes once where a cancel finds it in a wait", tcp.in_task(function()
    local task = tcpnet.spawn(function()
      local next_item = tcpnet.coroutine.wrap(function()
        local _outer <close> = note "outer"
        tcpnet.timeout(10, function()
          local _inner <close> = note "inner"
          yield()
          tcpnet.sleep(10)
        end)
      end)
      next_item()
      next_item()
    end)
    tcpnet.yield()
    task:cancel()
    assert.same({ "inner", "outer" }, log)
  end))

  it("is closed with a task that yields to nobody", tcp.in_task(function()
    local task = tcpnet.spawn(function()
      tcpnet.timeout(10, function()
        local _inner <close> = note "inner"
        yield()
      end)
    end)
    local ok, err = task:join()
    assert.is_nil(ok)
    assert.match("coroutine.yield in the body of a task", err, 1, true)
    assert.same({ "inner" }, log)
  end))

  it("gives its lock back", tcp.in_task(function()
    local lock = tcpnet.sync.Mutex.new()
    local co = generator(function()
      local _locked <close> = lock:lock()
      yield()
    end)
    assert(tcpnet.coroutine.resume(co))
    assert.is_nil((lock:try_lock()))
    tcpnet.coroutine.close(co)
    assert(lock:try_lock()):unlock()
  end))
end)
