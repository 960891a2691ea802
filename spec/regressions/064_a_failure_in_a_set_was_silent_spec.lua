-- A task that failed in a JoinSet was never heard of where nobody took it: no report, and `run` succeeded.
local reports = require "spec.support.reports"
local tcpnet = require "tcpnet"

local function boom()
  error("boom", 0)
end

-- A set with a task that has failed.
local function failed_set()
  local set = tcpnet.JoinSet.new()
  set:spawn(boom)
  tcpnet.sleep(0.001)
  return set
end

-- run(fn) → did it raise?, and what was reported
local function outcome(fn, answer)
  local list <close> = reports.catch(answer)
  local ok, err = pcall(tcpnet.run, fn)
  return ok, ok and #list or tostring(err):match "^[^\n]*", #list, list
end

describe("what failed in a JoinSet and was not taken", function()
  it("is reported and raised when `run` ends", function()
    local set
    local ok, err, count, list = outcome(function() set = failed_set() end)
    assert.same({ false, "boom", 1 }, { ok, err, count })
    assert.equal("failed", list[1][1]:status())
    assert.equal("boom", list[1][2])
    assert.matches("in function 'error'", list[1][3])
    assert.same({ "boom", 0 }, { select(3, set:join_next()), #set }) -- it can still be taken
    assert.is_true((outcome(function() end)))
  end)

  it("is reported when the set is closed", function()
    local during
    local ok, err, count = outcome(function()
      local list <close> = reports.catch(false)
      do
        local _set <close> = failed_set()
      end
      during = #list
    end)
    assert.same({ false, "boom", 1, 0 }, { ok, err, during, count })
  end)

  it("is reported when the set is collected", function()
    local during
    local ok, err = outcome(function()
      local list <close> = reports.catch(false)
      failed_set()
      collectgarbage()
      collectgarbage()
      during = #list
    end)
    assert.same({ false, "boom", 1 }, { ok, err, during })
  end)

  it("is reported outside `run` too", function()
    local list <close> = reports.catch(false)
    do
      local set <close> = tcpnet.JoinSet.new()
      set:spawn(boom)
      set:spawn(boom)
      assert.equal("boom", select(3, set:join_next()))
      tcpnet.sleep(0.001)
      assert.equal(0, #list)
    end
    assert.equal(1, #list)
  end)

  it("is dealt with where the handler says so", function()
    local set
    assert.same({ true, 1 }, { outcome(function() set = failed_set() end, true), 1 })
    assert.equal(1, #set)
  end)

  it("is all reported, of any number of sets, though the handler makes more", function()
    local sets, count = {}, 0
    tcpnet.configure { on_task_error = function()
      count = count + 1
      sets[#sets + 1] = tcpnet.JoinSet.new()
      return true
    end }
    tcpnet.run(function()
      for i = 1, 5 do
        sets[i] = tcpnet.JoinSet.new()
        for _ = 1, i do
          sets[i]:spawn(boom)
        end
      end
      tcpnet.sleep(0.001)
    end)
    tcpnet.configure { on_task_error = false }
    assert.equal(15, count)
  end)

  it("is reported where the task that has the set is cancelled by the end of `run`", function()
    local ok, err, count = outcome(function()
      tcpnet.spawn(function()
        local _set <close> = failed_set()
        tcpnet.sleep(60)
      end)
      tcpnet.sleep(0.005)
    end)
    assert.same({ false, "boom", 1 }, { ok, err, count })
  end)
end)

describe("no report is made", function()
  for name, fn in pairs {
    ["of what join_next gave"] = function(set)
      set:spawn(boom)
      set:join_next()
    end,
    ["of what was joined by itself"] = function(set)
      set:spawn(boom):join()
    end,
    ["of what was cancelled"] = function(set)
      set:spawn(tcpnet.sleep, 60)
      tcpnet.yield()
      set:abort_all()
    end,
    ["of what ended well"] = function(set)
      set:spawn(tcpnet.yield)
      tcpnet.sleep(0.001)
    end,
  } do
    it(name, function()
      local kept
      local ok, count = outcome(function()
        local set <close> = tcpnet.JoinSet.new()
        fn(set)
        kept = tcpnet.JoinSet.new()
        fn(kept)
      end)
      assert.same({ true, 0 }, { ok, count })
    end)
  end
end)
