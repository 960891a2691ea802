-- luv_stream: read and write over a luv handle that suspend the calling coroutine, as short as such a layer gets.
local running, resume, yield = coroutine.running, coroutine.resume, coroutine.yield

local Stream = {}
Stream.__index = Stream

local function wake(thread, ...)
  local ok, err = resume(thread, ...)
  if not ok then
    error(err, 0)
  end
end

function Stream.new(handle)
  return setmetatable({ handle = handle, first = 1, last = 0 }, Stream)
end

-- What comes while nobody waits is kept, and the flow stopped.
function Stream:start()
  self.reading = true
  self.handle:read_start(function(err, data)
    local waiter = self.waiter
    if waiter then
      self.waiter = nil
      wake(waiter, data, err)
      return
    end
    self.last = self.last + 1
    self[self.last] = data or false
    self.reading = false
    self.handle:read_stop()
  end)
end

function Stream:read()
  if self.first <= self.last then
    local data = self[self.first]
    self[self.first] = nil
    self.first = self.first + 1
    return data or nil
  end
  if not self.reading then
    self:start()
  end
  self.waiter = running()
  return yield()
end

function Stream:write(data)
  local thread = running()
  local waiting, done, failure = false, false, nil
  self.handle:write(data, function(err)
    done, failure = true, err
    if waiting then
      wake(thread)
    end
  end)
  if not done then
    waiting = true
    yield()
  end
  return not failure, failure
end

return Stream
