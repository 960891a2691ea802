-- Tasks that wait in line until something is granted to them: the one way in which everything in tcpnet.sync waits.
--
-- A grant belongs to its waiter at once, before the task runs: whoever comes later cannot snatch it. A task that is
-- cancelled in between never took it, and `revoke` passes it on.
local core = require "tcpnet.core"
local outside = require "tcpnet.outside"

local Waiters = {}
Waiters.__index = Waiters

local function nothing() end

-- revoke(entry): the task of a granted entry is gone. left(): a waiter went away without a grant.
function Waiters.new(revoke, left)
  return setmetatable({ revoke = revoke or nothing, left = left or nothing }, Waiters)
end

local function append(list, entry)
  entry.list, entry.previous = list, list.last
  if list.last then
    list.last.next = entry
  else
    list.first = entry
  end
  list.last = entry
end

local function unlink(list, entry)
  if entry.previous then
    entry.previous.next = entry.next
  else
    list.first = entry.next
  end
  if entry.next then
    entry.next.previous = entry.previous
  else
    list.last = entry.previous
  end
  entry.list, entry.previous, entry.next = nil, nil, nil
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

-- Outside every task a task of its own parks; until that runs there is nobody to wake, and no need to.
local park_until_granted = outside(function(entry)
  entry.task = core.current()
  while entry.list do
    local _, err = core.park()
    if err then -- a __close run by a cancel may not wait
      return nil, err
    end
  end
  return true
end)

-- list:wait([wish]) ⏳ → true, what was granted; in line from the moment of the call. `wish`: for whoever grants, in
-- the entry.
function Waiters:wait(wish)
  local entry <close> = setmetatable({ home = self, wish = wish }, Entry)
  append(self, entry)
  local ok, err = park_until_granted(entry)
  if not ok then
    return nil, err
  end
  entry.taken = true
  return true, entry.grant
end

-- Grants something to the first in line → was there one.
function Waiters:grant(grant)
  local entry = self.first
  if not entry then
    return false
  end
  unlink(self, entry)
  entry.grant = grant
  if entry.task then
    entry.task:unpark()
  end
  return true
end

function Waiters:grant_all(grant)
  local last = self.last
  while last and last.list do
    self:grant(grant)
  end
end

return Waiters
