-- Notify: wakes one task or all that wait; one wake-up is kept for who comes next.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local Waiters = require "tcpnet.sync.waiters"

local Notify = {}
Notify.__index = Notify
Notify.__name = "Notify"

-- Notify.new()
function Notify.new()
  local notify = setmetatable({ kept = false }, Notify)
  notify.line = Waiters.new(function(entry)
    if entry.grant == "one" then -- it was meant for one, and this one is gone
      notify:notify_one()
    end
  end)
  return notify
end

-- notify_one(): wakes the first in line, or else whoever waits next; several of these are kept as one.
function Notify:notify_one()
  if not self.line:grant("one") then
    self.kept = true
  end
end

-- notify_waiters(): wakes all that wait now, and nobody else.
function Notify:notify_waiters()
  self.line:grant_all("all")
end

local function give_kept(notify)
  if notify.kept then
    notify.kept = not notify.line:grant("one")
  end
end

-- notified() ⏳ → true
function Notify:notified()
  coop("notified")
  if self.kept then
    self.kept = false
    return true
  end
  local ok, err = self.line:wait("notified", nil, nil, give_kept, self)
  if not ok then
    return nil, err
  end
  return true
end

check.methods(Notify, function(self)
  return self.kept and "one kept" or self.line.length .. " in line"
end)

return Notify
