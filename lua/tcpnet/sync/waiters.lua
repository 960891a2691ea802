-- Tasks that wait in line until something is granted to them: the one way in which everything in tcpnet.sync waits.
--
-- A grant belongs to its waiter at once, before the task runs: whoever comes later cannot snatch it. A task that is
-- cancelled in between never took it, and `revoke` passes it on.
local core = require "tcpnet.core"
local errors = require "tcpnet.sync.errors"
local outside = require "tcpnet.outside"

local current, park, is_error = core.current, core.park, core.is_error

local Waiters = {}
Waiters.__index = Waiters

local function nothing() end

-- revoke(entry): the task of a granted entry is gone. left(): a waiter went away without a grant.
function Waiters.new(revoke, left)
  return setmetatable({ revoke = revoke or nothing, left = left or nothing, length = 0 }, Waiters)
end

local function unlink(list, entry)
  local previous, next = entry.previous, entry.next
  if previous then
    previous.next = next
  else
    list.first = next
  end
  if next then
    next.previous = previous
  else
    list.last = previous
  end
  entry.list, entry.previous, entry.next = nil, nil, nil
  list.length = list.length - 1
  local owner = entry.owner
  if owner then
    owner.waits = owner.waits - 1
    owner.waiter = owner.waiter ~= entry and owner.waiter
  end
end

local Entry = {}

function Entry.__close(entry)
  local list = entry.list
  if list then
    unlink(list, entry)
    list.left()
  elseif not entry.taken then
    entry.home.revoke(entry)
  end
end

-- Only a __close run by a cancel may not wait; what a stranger's unpark brings is nothing to us. Whoever woke us may
-- have had no memory for what comes after that.
local function park_until_granted(entry, due, arg)
  while entry.list do
    local _, err = park()
    if err and is_error(err, "CANCELED") then
      return false
    elseif due and entry.list then
      due(arg)
    end
  end
  return true
end

-- Outside every task a task of its own parks; until that runs there is nobody to wake, and no need to.
local park_outside = outside(function(entry, due, arg)
  entry.task = current()
  return park_until_granted(entry, due, arg)
end, "wait")

-- list:wait(op[, wish[, owner]][, due, arg]) ⏳ → true, what was granted | nil, err of that operation; in line from the
-- moment of the call. `wish` and `owner`: for whoever grants, in the entry; an owner counts its `waits`, and has its
-- latest `waiter`. due(arg) is called once in line: a finalizer that ran while the entry was made may have granted what
-- was to be had to nobody.
function Waiters:wait(op, wish, owner, due, arg)
  local task = current()
  -- every field at once: a table that grows costs more than all the rest
  local entry <close> = setmetatable({ home = self, wish = wish, owner = owner, task = task, list = false,
    previous = false, next = false, grant = false, taken = false }, Entry)
  local last = self.last
  entry.list, entry.previous, entry.next = self, last, nil
  if last then
    last.next = entry
  else
    self.first = entry
  end
  self.last = entry
  self.length = self.length + 1
  if owner then
    owner.waits, owner.waiter = owner.waits + 1, entry
  end
  if due then
    due(arg)
  end
  if entry.list then
    if not (task and park_until_granted or park_outside)(entry, due, arg) then
      return nil, errors.canceled(op)
    end
  end
  entry.taken = true
  return true, entry.grant
end

-- Comes before a grant: there may be no memory for that call, and nobody wakes who is in line no more.
local function wake(entry)
  local task = entry.task
  if task then
    task:unpark()
  end
end

local function give(list, entry, grant)
  wake(entry)
  if entry.list == list then
    unlink(list, entry)
    entry.grant = grant
  else -- a finalizer has granted it something meanwhile: this is another's
    list.revoke(entry)
  end
end

-- The same for the first in line in two steps, of which only the first may fail or run a finalizer.
function Waiters:wake_first()
  wake(self.first)
end

function Waiters:grant_woken(grant)
  local entry = self.first
  unlink(self, entry)
  entry.grant = grant
end

-- Grants something to the first in line → was there one.
function Waiters:grant(grant)
  local entry = self.first
  if not entry then
    return false
  end
  give(self, entry, grant)
  return true
end

function Waiters:grant_all(grant)
  local entry = self.first
  while entry do
    local next = entry.next
    give(self, entry, grant)
    entry = next
  end
end

-- Grants it to all of one owner: mostly one, or none, in a line where all the others wait.
function Waiters:grant_owner(grant, owner)
  local entry = owner.waits == 1 and owner.waiter or self.first
  while entry and owner.waits > 0 do
    local next = entry.next
    if entry.owner == owner then
      give(self, entry, grant)
    end
    entry = next
  end
end

return Waiters
