-- Mutex: a lock that belongs to its guard, not to a task, and may be held across waits.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Semaphore = require "tcpnet.sync.semaphore"

local Mutex = {}
Mutex.__index = Mutex
Mutex.__name = "Mutex"

local Guard = {}
Guard.__index = Guard
Guard.__name = "MutexGuard"

-- Mutex.new()
function Mutex.new()
  return setmetatable({ semaphore = Semaphore.new(1) }, Mutex)
end

-- Made before it has the lock, for there may be no memory then.
local function new_guard(mutex)
  return setmetatable({ mutex = mutex, locked = false }, Guard)
end

-- lock() ⏳ → guard; in the order of asking.
function Mutex:lock()
  coop("lock")
  local guard = new_guard(self)
  local ok, err = self.semaphore:take(1, "lock")
  if not ok then
    return nil, err
  end
  guard.locked = true
  return guard
end

-- try_lock() → guard | nil, err (EAGAIN)
function Mutex:try_lock()
  if self.semaphore.permits == 0 then -- an attempt in vain makes nothing
    return nil, errors.again "try_lock"
  end
  local guard = new_guard(self)
  local ok, err = self.semaphore:try_take(1, "try_lock")
  if not ok then
    return nil, err
  end
  guard.locked = true
  return guard
end

-- unlock(): once; the next in line has it then.
function Guard:unlock()
  if self.locked then
    self.mutex.semaphore:give_back(1)
    self.locked = false
  end
end

Guard.__close = Guard.unlock
Guard.__gc = Guard.unlock

check.methods(Mutex, function(self)
  return ("%s, %d in line"):format(self.semaphore.permits == 0 and "locked" or "free", self.semaphore.line.length)
end)
check.methods(Guard, function(self)
  return self.locked and "locked" or "unlocked"
end)

return Mutex
