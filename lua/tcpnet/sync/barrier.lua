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
  return setmetatable({ size = n, line = Waiters.new() }, Barrier)
end

-- wait() ⏳ → is this the leader: the one that came last. Who is cancelled does not count.
function Barrier:wait()
  coop("wait")
  if self.line.length + 1 >= self.size then
    self.line:grant_all(true)
    return true
  end
  local ok, err = self.line:wait "wait"
  if not ok then
    return nil, err
  end
  return false
end

check.methods(Barrier, function(self)
  return ("%d of %d"):format(self.line.length, self.size)
end)

return Barrier
