-- Barrier: tasks wait until so many are there, again and again.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local Waiters = require "tcpnet.sync.waiters"

local Barrier = {}
Barrier.__index = Barrier
Barrier.__name = "Barrier"

-- Barrier.new(n)
function Barrier.new(n)
  n = check.integer(n, 0, nil, 1, "new", "n")
  local barrier = setmetatable({ size = n, waiting = 0 }, Barrier)
  barrier.line = Waiters.new(nil, function()
    barrier.waiting = barrier.waiting - 1
  end)
  return barrier
end

-- wait() ⏳ → is this the leader: the one that came last. Who is cancelled does not count.
function Barrier:wait()
  coop("wait")
  if self.waiting + 1 >= self.size then
    self.waiting = 0
    self.line:grant_all(true)
    return true
  end
  self.waiting = self.waiting + 1
  local ok, err = self.line:wait "wait"
  if not ok then
    return nil, err
  end
  return false
end

check.methods(Barrier)

return Barrier
