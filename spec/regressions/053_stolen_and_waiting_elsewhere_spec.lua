-- A stranger resumed a coroutine that waited; that caught the error and waited again, in the other task. The end of
-- its first wait then went on with the second in the task that it was taken from: a read met its own claim, a sleep
-- was over too early.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a coroutine that was taken from its task and waits in another", function()
  before_each(function() tcpnet.configure { on_task_error = function() end } end)
  after_each(function() tcpnet.configure { on_task_error = false } end)

  -- Each: wait() ⏳, finish() ends that.
  local firsts = {
    sleep = function()
      return function() tcpnet.sleep(0.001) end, function() tcpnet.sleep(0.002) end
    end,
    read = function(guard)
      local stream, peer = assert(tcpnet.UnixStream.pair())
      guard(stream, peer)
      return function() return stream:read() end, function() peer:write "first" end
    end,
    recv = function()
      local sender, receiver = tcpnet.sync.channel(1)
      return function() return receiver:recv() end, function() sender:send "first" end
    end,
    join = function()
      local gate = tcpnet.spawn(tcpnet.park)
      return function() return gate:join() end, function() gate:cancel() end
    end,
  }
  local function guards(list)
    return function(...)
      for _, stream in ipairs { ... } do
        list[#list + 1] = stream
      end
    end
  end

  -- How the coroutine comes to wait in the other task, once it has caught the error.
  local ways = {
    ["at once"] = function(thread) return tcpnet.coroutine.resume(thread) end,
    ["after a yield of its own"] = function(thread)
      coroutine.resume(thread)
      return tcpnet.coroutine.resume(thread)
    end,
  }
  local bodies = {
    ["the task's own"] = function(run) return run() end,
    ["one inside"] = function(run) return tcpnet.coroutine.wrap(run)() end,
    ["in a timeout"] = function(run) return tcpnet.timeout(10, run) end,
  }

  for first, make in pairs(firsts) do
    for way, resume in pairs(ways) do
      for place, body in pairs(bodies) do
        -- tcpnet.coroutine refuses one inside that waits
        local refused = way == "at once" and place ~= "the task's own"
        for _, fate in ipairs(refused and {} or { "goes on", "is cancelled", "loses its thief" }) do
          it(("is gone on with by neither: %s, %s, %s, %s"):format(first, way, place, fate), tcp.in_task(function()
            local list = {}
            local wait, finish = make(guards(list))
            local thread, caught, second_is_over
            local stream, peer = assert(tcpnet.UnixStream.pair())
            guards(list)(stream, peer)
            local task = tcpnet.spawn(body, function()
              thread = coroutine.running()
              caught = select(2, pcall(wait))
              if way ~= "at once" then
                coroutine.yield()
              end
              local came = stream:read()
              second_is_over = came == "second" or tostring(came)
              return "not for its own task"
            end)
            tcpnet.yield()
            local thief = tcpnet.spawn(function() return resume(thread) end)
            tcpnet.yield()
            assert.matches("resumed by somebody else than the reactor", tostring(caught))
            if fate == "is cancelled" then
              task:cancel()
            elseif fate == "loses its thief" then
              thief:cancel()
            end
            finish()
            local joined, err = task:join(0.2)
            assert.is_nil(second_is_over)
            assert.is_nil(joined)
            assert.no_match("not for its own task", tostring(err))
            if fate == "is cancelled" then
              tcp.fails("CANCELED", joined, err)
            else
              assert.is_true(tostring(err):find "by somebody else than the reactor" ~= nil
                or tostring(err):find "cannot resume dead coroutine" ~= nil, tostring(err))
            end
            peer:write "second"
            thief:join(1)
            assert.not_equal("waiting", thief:status())
            assert.is_nil(second_is_over)
            for _, open in ipairs(list) do
              open:close()
            end
          end))
        end
      end
    end
  end

  it("is reported by nobody where it ended with that error", tcp.in_task(function()
    local reports, thread = 0, nil
    tcpnet.configure { on_task_error = function() reports = reports + 1 return true end }
    local task = tcpnet.spawn(function()
      thread = tcpnet.coroutine.create(tcpnet.park)
      return tcpnet.coroutine.resume(thread)
    end)
    tcpnet.yield()
    assert.is_false((coroutine.resume(thread)))
    task:unpark()
    assert.same({ true, false, "cannot resume dead coroutine" }, { task:join(1) })
    tcpnet.configure { on_task_error = false }
    assert.equal(0, reports)
  end))
end)
