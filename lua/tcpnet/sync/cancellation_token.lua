-- CancellationToken: says to many tasks that they should end; its children hear it too.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Waiters = require "tcpnet.sync.waiters"

local CancellationToken = {}
CancellationToken.__index = CancellationToken
CancellationToken.__name = "CancellationToken"

local DropGuard = {}
DropGuard.__index = DropGuard
DropGuard.__name = "DropGuard"

-- CancellationToken.new()
function CancellationToken.new()
  -- a child that nobody holds has nobody to tell
  return setmetatable({ line = Waiters.new(), children = setmetatable({}, { __mode = "k" }), is_over = false,
    ends = false }, CancellationToken)
end

-- cancel(): this token and all below it, for good.
function CancellationToken:cancel()
  local all, count = { not self.is_over and self or nil }, 0 -- not by recursion: they may be deep
  while count < #all do
    count = count + 1
    local token = all[count]
    token.ends = true -- a finalizer may make children meanwhile, which belong to no list
    for child in pairs(token.children) do
      if not child.is_over then
        all[#all + 1] = child
      end
    end
  end
  for i = 1, count do
    all[i].line:grant_all(true)
  end
  for i = 1, count do -- behind all for which there may be no memory: another cancel would go no further than this
    all[i].is_over = true
  end
end

function CancellationToken:is_cancelled()
  return self.is_over
end

local function look_again(token)
  if token.is_over then
    token.line:grant_all(true)
  end
end

-- cancelled() ⏳ → true once it is.
function CancellationToken:cancelled()
  coop("cancelled")
  while not self.is_over do
    local ok, err = self.line:wait("cancelled", nil, nil, look_again, self)
    if not ok then
      return nil, err
    end
  end
  return true
end

-- child_token() → token that is cancelled with this one, and can be alone.
function CancellationToken:child_token()
  local child = CancellationToken.new()
  child.parent = self
  if self.is_over or self.ends then
    child.is_over = true
  else
    self.children[child] = true
  end
  return child
end

local function was_cancelled()
  return nil, core.private.new_error("CANCELED", "run_until_cancelled", nil, "the token was cancelled")
end

-- run_until_cancelled(fn, ...) ⏳ → results of fn | nil, err (CANCELED): fn is cancelled with the token.
function CancellationToken:run_until_cancelled(fn, ...)
  check.value(fn, "function", 1, "run_until_cancelled")
  coop("run_until_cancelled")
  if self.is_over then
    return was_cancelled()
  end
  local arguments = table.pack(...)
  local function outcome(key, ...)
    if key == "token" then
      return was_cancelled()
    elseif not key then -- a __close run by a cancel may not wait
      return nil, errors.canceled "run_until_cancelled"
    end
    return ...
  end
  return outcome(core.select {
    function() -- the first to run, and so preferred where both are done, as in Tokio
      return fn(table.unpack(arguments, 1, arguments.n))
    end,
    token = function()
      return self:cancelled()
    end,
  })
end

-- drop_guard() → guard that cancels the token when it is closed or collected, unless disarm() was called.
function CancellationToken:drop_guard()
  return setmetatable({ token = self }, DropGuard)
end

function DropGuard:disarm()
  local token = self.token
  self.token = nil
  return token
end

function DropGuard:close()
  if self.token then
    self.token:cancel()
    self.token = nil
  end
end

DropGuard.__close = DropGuard.close
DropGuard.__gc = DropGuard.close

check.methods(CancellationToken, function(self)
  return self.is_over and "cancelled" or "not cancelled"
end)
check.methods(DropGuard, function(self)
  return self.token and "armed" or "disarmed"
end)

return CancellationToken
