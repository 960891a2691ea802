-- A write of a Buffer to a stream in memory claimed nothing while it waited: the Buffer could be changed meanwhile, and
-- two write_from could send it at once, each a part.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local steps = require "spec.support.steps"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task, waiting = steps.in_task, steps.waiting
local Buffer = tcpnet.Buffer

local WAITS = "a write of this Buffer is waiting"

local function filled(text)
  return Buffer.new(#text):append(text)
end

local peers = {} -- whom nobody holds the collector closes

-- A stream without room, and its peer.
local function full_stream()
  local here, there = tcpnet.duplex(4)
  peers[#peers + 1] = there
  assert(here:write "full")
  return here, there
end

local function assert_refused(method, object, ...)
  local ok, message = pcall(object[method], object, ...)
  assert.is_false(ok)
  assert.is_truthy(message:find(WAITS, 1, true) or message:find("none with a write waiting", 1, true), message)
end

local function assert_claimed(buffer)
  assert_refused("append", buffer, "")
  assert_refused("consume", buffer, 0)
  assert_refused("clear", buffer)
  local source, peer = tcpnet.duplex(10)
  assert(peer:write "x")
  for _, reader in ipairs { source, tcpnet.io.take(source, 1) } do
    assert_refused("read_into", reader, buffer)
    assert_refused("try_read_into", reader, buffer)
    assert_refused("try_read_vectored", reader, { buffer })
  end
  assert.equal("x", source:read())
end

local function assert_free(buffer)
  buffer:append "":consume(0)
end

local writes = {
  write = function(stream, buffer) return stream:write("the ", buffer) end,
  write_some = function(stream, buffer) return stream:write_some(buffer) end,
  write_from = function(stream, buffer) return stream:write_from(buffer) end,
  write_vectored = function(stream, buffer) return stream:write_vectored { "the ", buffer } end,
}

describe("a Buffer stays as it is while a stream in memory has no room for it, in", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, call in pairs(writes) do
    it(name .. ", until that is cancelled, late, closed or over", in_task(function()
      local ends = {
        cancel = function(task) task:cancel() end,
        close = function(_, here) here:close() end,
        ["the peer's close"] = function(_, _, there) there:close() end,
        room = function(_, _, there)
          while there:try_read() do steps.settle() end
        end,
        time = function() tcpnet.sleep(0.05) end,
      }
      for what, finish in pairs(ends) do
        local here, there = full_stream()
        here:set_write_timeout(what == "time" and 0.02 or nil)
        local buffer = filled "message"
        local task = waiting(call, here, buffer)
        assert_claimed(buffer)
        finish(task, here, there)
        steps.settle()
        assert.equal(what == "cancel" and "cancelled" or "done", task:status(), what)
        assert_free(buffer)
      end
    end))

    it(name .. " of a half, in the line for its turn", in_task(function()
      local here = full_stream()
      local first = waiting(here.write, here, "first")
      local buffer = filled "second"
      local _, half = here:split()
      local second = waiting(call, half, buffer)
      assert_claimed(buffer)
      first:cancel()
      steps.settle()
      assert_claimed(buffer)
      second:cancel()
      assert_free(buffer)
    end))
  end

  it("a write outside every task", function()
    local here, there = full_stream()
    local buffer = filled "message"
    local told = tcpnet.spawn(function()
      assert_claimed(buffer)
      there:read()
      there:close()
      return true
    end)
    assert.equal("EPIPE", select(2, here:write_from(buffer)).code)
    assert.same({ true, true }, { told:join() })
    assert_free(buffer)
  end)

  it("several writes, each of which needs it", in_task(function()
    local buffer, tasks = filled "message", {}
    for i = 1, 3 do
      tasks[i] = waiting(writes.write, full_stream(), buffer)
    end
    for i = 1, 3 do
      assert_claimed(buffer)
      tasks[i]:cancel()
    end
    assert_free(buffer)
  end))
end)

describe("write_from of a Buffer that waits in a stream in memory", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function unix_full()
    local here, there = assert(tcpnet.UnixStream.pair())
    while here:try_write(("x"):rep(65536)) do end
    return here, there
  end

  it("lets no other write of it wait, nor waits beside one, wherever that is", in_task(function()
    for _, first_kind in ipairs { full_stream, unix_full } do
      for _, other_kind in ipairs { full_stream, unix_full } do
        local here, there = first_kind()
        local other, peer = other_kind()
        local _all <close> = tcp.guard(here, there, other, peer)
        if first_kind == full_stream or other_kind == full_stream then
          local buffer = filled "message"
          local first = waiting(here.write_from, here, buffer)
          assert.error_matches(function() other:write(buffer) end, "write: a write_from of this Buffer is waiting")
          assert.error_matches(function() other:write_from(buffer) end, "'write_from' %(" .. WAITS)
          first:cancel()
          first = waiting(here.write, here, buffer)
          assert.error_matches(function() other:write_from(buffer) end, "'write_from' %(" .. WAITS)
          first:cancel()
          assert_free(buffer)
        end
      end
    end
  end))

  it("refuses no write that has room", in_task(function()
    local here = full_stream()
    local buffer = filled "message"
    local task = waiting(here.write_from, here, buffer)
    local other, peer = tcpnet.duplex(100)
    assert.equal(7, other:write(buffer))
    assert.equal(7, other:try_write(buffer))
    assert.equal("messagemessage", peer:read())
    task:cancel()
  end))

  it("sends what it consumes, once", in_task(function()
    local here, there = full_stream()
    local buffer = filled "a message of many pieces"
    local task = waiting(here.write_from, here, buffer)
    there:read()
    steps.settle()
    assert.equal("a me", there:read(4))
    steps.settle()
    task:cancel()
    assert.equal("ssag", there:read())
    assert.equal("e of many pieces", tostring(buffer))
  end))

  it("is not changed by a finalizer in its middle", in_task(function()
    for n in collect.each_time() do
      for _, name in ipairs { "clear", "write_from" } do
        local here, there = tcpnet.duplex(100)
        local other, peer = tcpnet.duplex(100)
        local buffer = filled "message"
        local changed
        local count = collect.during_nth(n, function()
          changed = pcall(function()
            if name == "clear" then
              buffer:clear()
            else
              other:write_from(buffer)
            end
          end)
        end, here.write_from, here, buffer)
        assert.equal(changed and 0 or 7, count)
        here:shutdown()
        assert.equal(changed and "" or "message", there:read_to_end())
        assert.equal(0, peer:buffered())
        assert_free(buffer)
      end
    end
  end))

  it("is free again where the call raises", in_task(function()
    local here = full_stream()
    local buffer = filled "message"
    local task = waiting(here.write_from, here, buffer)
    assert.has_error(function() tcpnet.duplex(1):write_from(buffer) end)
    task:cancel()
    assert.has_error(function() tcpnet.duplex(1):write(buffer, {}) end)
    assert_free(buffer)
  end))
end)
