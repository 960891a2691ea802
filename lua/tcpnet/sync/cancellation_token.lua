-- CancellationToken: says to many tasks that they should end; its children hear it too.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
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
  return setmetatable({ line = Waiters.new(), children = setmetatable({}, { __mode = "k" }) }, CancellationToken)
end

-- cancel(): this token and all below it, for good.
function CancellationToken:cancel()
  if self.is_over then
    return
  end
  self.is_over = true
  self.line:grant_all(true)
  for child in pairs(self.children) do
    child:cancel()
  end
end

function CancellationToken:is_cancelled()
  return self.is_over == true
end

-- cancelled() ⏳ → true once it is.
function CancellationToken:cancelled()
  while not self.is_over do
    local ok, err = self.line:wait()
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
  self.children[child] = true
  child.is_over = self.is_over
  return child
end

-- run_until_cancelled(fn, ...) ⏳ → results of fn | nil, err (CANCELED): fn is cancelled with the token.
function CancellationToken:run_until_cancelled(fn, ...)
  check.value(fn, "function", 1, "run_until_cancelled")
  local function cancelled()
    return nil, core.private.new_error("CANCELED", "run_until_cancelled", nil, "the token was cancelled")
  end
  if self.is_over then
    return cancelled()
  end
  local arguments = table.pack(...)
  local function outcome(key, ...)
    if key == "token" then
      return cancelled()
    end
    return ...
  end
  return outcome(core.select {
    function()
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
    self:disarm():cancel()
  end
end

DropGuard.__close = DropGuard.close
DropGuard.__gc = DropGuard.close

return CancellationToken
