-- Semaphore: permits, given out in the order in which they were asked for.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Waiters = require "tcpnet.sync.waiters"

local enter = require "tcpnet.core".private.enter

local Semaphore = {}
Semaphore.__index = Semaphore
Semaphore.__name = "Semaphore"

local Permit = {}
Permit.__index = Permit
Permit.__name = "Permit"

-- What `take` and `try_take` are called in errors, where they serve another call.
local function check_op(op, name)
  if op ~= nil and type(op) ~= "string" then
    check.that(false, 2, name, ("op: string expected, got %s"):format(type(op)))
  end
end

local function permits(n, name)
  return check.integer(n, 0, nil, 1, name, "permits")
end

-- Whoever is first in line holds up those behind, however little they want. So many `more` permits there are once the
-- first is awake: without memory for that call nothing has changed, and the calls behind it are no deeper.
local function serve(semaphore, more)
  local line = semaphore.line
  more = more or 0
  repeat
    local entry = line.first
    local served = entry and entry.wish <= semaphore.permits + more
    if served then
      line:wake_first()
    end
    semaphore.permits, more = semaphore.permits + more, 0
    if served and line.first == entry and entry.wish <= semaphore.permits then -- no finalizer has served meanwhile
      line:grant_woken(true)
      semaphore.permits = semaphore.permits - entry.wish
    end
  until not served
end

-- Semaphore.new(n)
function Semaphore.new(n)
  n = permits(n, "new")
  local semaphore = setmetatable({ permits = n, closed = false }, Semaphore)
  semaphore.line = Waiters.new(function(entry)
    if entry.grant then
      semaphore:give_back(entry.wish)
    end
  end, function()
    serve(semaphore)
  end)
  return semaphore
end

-- Takes permits without an object for them → true | nil, err. What is built on a semaphore uses these three.
function Semaphore:take(n, op)
  n = permits(n, "take")
  check_op(op, "take")
  if self.closed then
    return nil, errors.closed(op or "acquire", "the semaphore is closed")
  end
  if not self.line.first and self.permits >= n then
    self.permits = self.permits - n
    return true
  end
  enter(op or "take")
  local ok, granted = self.line:wait(op or "acquire", n, nil, serve, self)
  if not ok then
    return nil, granted
  elseif not granted then
    return nil, errors.closed(op or "acquire", "the semaphore is closed")
  end
  return true
end

function Semaphore:try_take(n, op)
  n = permits(n, "try_take")
  check_op(op, "try_take")
  if self.closed then
    return nil, errors.closed(op or "try_acquire", "the semaphore is closed")
  elseif self.line.first or self.permits < n then
    return nil, errors.again(op or "try_acquire")
  end
  self.permits = self.permits - n
  return true
end

-- So many more, for the call of that name.
local function add(semaphore, n, name)
  if semaphore.permits + n < 0 then -- it would wrap
    check.misuse(name, "more permits than the largest integer")
  elseif semaphore.line.first then
    serve(semaphore, n)
  else
    semaphore.permits = semaphore.permits + n
  end
end

-- Gives back what was taken.
function Semaphore:give_back(n)
  add(self, permits(n, "give_back"), "give_back")
end

function Semaphore:add_permits(n)
  add(self, permits(n, "add_permits"), "add_permits")
end

-- Made before there is anything in it, for which there may be no memory then.
local function empty_permit(semaphore)
  return setmetatable({ semaphore = semaphore, count = 0 }, Permit)
end

-- acquire([n]) ⏳ → permit. Cancelling gives up the place in line, and never keeps a permit.
function Semaphore:acquire(n)
  n = permits(n or 1, "acquire")
  coop("acquire")
  local permit = empty_permit(self)
  local ok, err = self:take(n)
  if not ok then
    return nil, err
  end
  permit.count = n
  return permit
end

-- try_acquire([n]) → permit | nil, err (EAGAIN, CLOSED)
function Semaphore:try_acquire(n)
  n = permits(n or 1, "try_acquire")
  if self.permits < n and not self.closed then -- an attempt in vain makes nothing
    return nil, errors.again "try_acquire"
  end
  local permit = empty_permit(self)
  local ok, err = self:try_take(n)
  if not ok then
    return nil, err
  end
  permit.count = n
  return permit
end

function Semaphore:available_permits()
  return self.permits
end

-- close(): who waits, and who comes, gets CLOSED; permits that are out can still be given back.
function Semaphore:close()
  self.line:grant_all(false)
  self.closed = true
end

function Semaphore:is_closed()
  return self.closed
end

-- release(): gives the permits back; once.
function Permit:release()
  local n = self.count
  if n > 0 then
    add(self.semaphore, n, "release")
    self.count = 0
  end
end

-- forget(): the semaphore has that many fewer from now on.
function Permit:forget()
  self.count = 0
end

Permit.__close = Permit.release
Permit.__gc = Permit.release

check.methods(Semaphore, function(self)
  return self.closed and "closed" or ("%d permits, %d in line"):format(self.permits, self.line.length)
end)
check.methods(Permit, function(self)
  return self.count
end)

return Semaphore
