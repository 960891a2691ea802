-- A write to memory that found no memory for a call behind its bytes had sent them and not consumed its Buffer; and for
-- the call that gives back the turn, so that nobody could write or flush there any more. A task for whose waking it
-- found none slept for ever.
local program = require "spec.support.program"

-- The stack has to grow in other places below so many calls.
local preamble = [[
  local tcpnet = require "tcpnet"
  local LEVELS = { 0, 1, 2, 3, 4, 5, 6, 30 }
  local function deep(levels, fn)
    if levels > 0 then
      deep(levels - 1, fn)
    else
      fn()
    end
  end
]]

local script = preamble .. [[
  local long = ("abcdefghij"):rep(30)
  local attempts = 0
  local function every(what, attempt_nth)
    local nth, hits = 0
    repeat
      nth = nth + 1
      time_limit(20)
      hits = attempt_nth(nth, function(came, message)
        assert(came, ("%s, allocation %d: %s"):format(what, nth, message))
      end)
    until hits == 0
    attempts = attempts + nth
  end
  for _, levels in ipairs(LEVELS) do
    for name, call in pairs {
      write = function(stream) return stream:write(long, "tail") end,
      write_some = function(stream) return stream:write_some(long) end,
      try_write = function(stream) return stream:try_write(long) end,
      write_vectored = function(stream) return stream:write_vectored { long, "tail" } end,
      write_from = function(stream, buffer) return stream:write_from(buffer) end,
    } do
      for _, reads in ipairs { false, true } do
        every(name, function(nth, check)
          local stream, peer = tcpnet.duplex(10000)
          local buffer = tcpnet.Buffer.new(#long):append(long)
          local reader = tcpnet.spawn(peer.read_exact, peer, reads and 1 or 0)
          tcpnet.sleep(0)
          local sent
          local _, hits = attempt(function() deep(levels, function() sent = call(stream, buffer) end) end, nth, true)
          check(stream:try_write "|" == 1, "the turn is lost")
          stream:shutdown()
          local ended, first = reader:join(5)
          check(ended, "the reader sleeps")
          local came, behind = (first .. peer:read_to_end()):match "^(.*)|(.*)$"
          check(behind == "" and (sent or #came) == #came, ("%s were sent, %d came"):format(sent, #came))
          if name == "write_from" then
            check(came .. tostring(buffer) == long, ("%d came, %d are left"):format(#came, #buffer))
          else
            check(came == (long .. "tail"):sub(1, #came), "something else came")
          end
          return hits
        end)
      end
    end
  end
  for _, method in ipairs { "send", "feed", "flush" } do
    every(method, function(nth, check)
      local stream, peer = tcpnet.duplex(10000)
      local framed = tcpnet.codec.lines():framed_write(stream)
      for _, frame in ipairs { "one", "two", long } do
        framed:feed(frame)
      end
      local frame, taken = method ~= "flush" and "last" or nil, nil
      local _, hits = attempt(function() taken = framed[method](framed, frame) end, nth, true)
      check(tcpnet.timeout(5, framed.flush, framed), "the turn is lost")
      stream:shutdown()
      local came, first = peer:read_to_end(), "one\ntwo\n" .. long .. "\n"
      check(came == first .. "last\n" or came == first and (method == "flush" or not taken), came)
      return hits
    end)
  end
  print(attempts > 100 and "each byte once") ]]

local in_line = preamble .. [[
  tcpnet.configure { on_task_error = function() return true end }
  local attempts = 0
  for _, levels in ipairs(LEVELS) do
    local nth, hits = 0
    repeat
      nth = nth + 1
      time_limit(20)
      local stream, peer = tcpnet.duplex(4)
      assert(stream:write "full")
      local first = tcpnet.spawn(stream.write, stream, "1111")
      local second = tcpnet.spawn(stream.write, stream, "2222")
      tcpnet.sleep(0)
      local came
      _, hits = attempt(function()
        deep(levels, function() came = peer:try_read() end)
        tcpnet.sleep(0)
        tcpnet.sleep(0)
      end, nth, true)
      came = came or ""
      local function is_alive(task)
        return task:status() == "waiting" or task:status() == "ready"
      end
      while is_alive(first) or is_alive(second) do
        local bytes = tcpnet.timeout(5, peer.read, peer)
        assert(bytes, ("%d levels, allocation %d: a write sleeps"):format(levels, nth))
        came = came .. bytes
      end
      for bytes in function() return peer:try_read() end do
        came = came .. bytes
      end
      assert(came:find "^full1?1?1?1?2?2?2?2?$", came)
      assert(stream:try_write "x" == 1, "the turn is lost")
    until hits == 0
    attempts = attempts + nth
  end
  print(attempts > 20 and "all awake") ]]

describe("a write to memory for which Lua has no memory", function()
  it("sends what it consumes, and gives back its turn", function()
    local output = program.in_host(script)
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("each byte once\n", output)
  end)

  it("wakes who waits for room, and for its turn", function()
    local output = program.in_host(in_line)
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.matches("all awake\n$", output) -- behind what a task had no memory to report
  end)
end)
