-- Structured concurrency on JoinSet: select, scope, each.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local outside = require "tcpnet.outside"
local waiting = require "tcpnet.waiting"

local JoinSet = core.JoinSet

-- for task, ok, ... in set:iter() do: join_next, until the set is empty.
function JoinSet:iter()
  check.receiver(self, { JoinSet = true }, "JoinSet", "iter")
  return function()
    return waiting.or_raise(self:join_next())
  end
end

-- Gives the results of a task, or raises unchanged what it raised.
local function results(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

local function first_of(branches)
  local set <close> = JoinSet.new()
  local keys = {}
  local length = #branches
  local first
  -- The others are cancelled by the winner itself: until the caller runs they could go on and take what is lost then.
  local ending = setmetatable({}, { __close = function()
    if not first then
      first = core.current()
      for task in pairs(keys) do
        if task ~= first then
          task:cancel()
        end
      end
    end
  end })
  local function run(branch)
    local _ending <close> = ending
    return branch()
  end
  for i = 1, length do
    if branches[i] ~= nil then -- the border of a list with holes may lie behind them
      keys[set:spawn(run, branches[i])] = i
    end
  end
  for key, branch in pairs(branches) do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then
      keys[set:spawn(run, branch)] = key
    end
  end
  local function winner(task, ...)
    if task and first and task ~= first then -- cancelled, it ended before the winner did
      return winner(set:join_next())
    end
    set:abort_all()
    if not task then
      return waiting.named("select", nil, (...))
    end
    return keys[task], results(...)
  end
  return winner(set:join_next())
end

local run_select = outside(first_of, "select")

-- select(branches) → key, ...results of the first branch to return; the others are cancelled before.
function core.select(branches)
  check.value(branches, "table", 1, "select")
  check.that(next(branches) ~= nil, 1, "select", "at least one branch expected")
  for key, branch in pairs(branches) do
    check.that(type(branch) == "function", 1, "select",
      ("branch '%s': function expected, got %s"):format(tostring(key), type(branch)))
  end
  return run_select(branches)
end

-- scope -------------------------------------------------------------------------------------------

local Scope = {}
Scope.__index = Scope
Scope.__name = "Scope"

function Scope:spawn(fn, ...)
  check.value(fn, "function", 1, "spawn")
  if self.over then
    error("spawn: the scope has ended", 2)
  end
  return self.set:spawn(fn, ...)
end

-- Cancels every child, and the scope's own function with them.
function Scope:cancel()
  self.over = true
  self.set:abort_all()
end

check.methods(Scope, function(self)
  return self.over and "over" or #self.set .. " tasks"
end)

-- Takes the children as they end; the first error cancels the rest, and is raised when all are done.
local function supervise(scope, main)
  local failed, failure, main_cancelled
  while true do
    local task, ok, err = scope.set:join_next()
    if not task and ok then
      return waiting.named("scope", nil, ok)
    elseif not task then
      break
    end
    if not ok and not core.is_error(err, "CANCELED") or task:status() == "failed" then
      if not failed then
        failed, failure = true, err
        scope:cancel()
      end
    elseif task == main and not ok then
      main_cancelled = err
    end
  end
  scope.over = true
  if failed then
    error(failure, 0)
  end
  if main_cancelled then
    return nil, main_cancelled
  end
  return results(main:join())
end

local run_scope = outside(function(fn, ...)
  local set <close> = JoinSet.new()
  local scope = setmetatable({ set = set }, Scope)
  local _end <close> = setmetatable({}, { __close = function() scope.over = true end })
  return supervise(scope, set:spawn(fn, scope, ...))
end, "scope")

-- scope(fn, ...) → results of fn(scope, ...), once every child is done.
function core.scope(fn, ...)
  check.value(fn, "function", 1, "scope")
  return run_scope(fn, ...)
end

-- each --------------------------------------------------------------------------------------------

-- The next item of a list or an iterator.
local function supplier(items)
  if type(items) == "table" and not (getmetatable(items) or {}).__call then
    local i = 0
    return function()
      i = i + 1
      return items[i]
    end
  end
  return items
end

local run_each = outside(function(items, limit, fn)
  local set <close> = JoinSet.new()
  local next_item = supplier(items)
  local index_of, outcomes, count, more = {}, {}, 0, true
  local function keep(task, ...)
    if not task then
      return (...)
    end
    outcomes[index_of[task]] = { ... }
    index_of[task] = nil
  end
  while true do
    while more and #set < limit do
      local item = next_item()
      more = item ~= nil
      if more then
        count = count + 1
        index_of[set:spawn(fn, item, count)] = count
      end
    end
    if #set == 0 then
      return outcomes
    end
    local err = keep(set:join_next())
    if err then
      return waiting.named("each", nil, err)
    end
  end
end, "each")

-- each(items, limit, fn) → list of {ok, ...} in order of the items: fn(item, index) for all, at most `limit` at once.
function core.each(items, limit, fn)
  check.that(type(items) == "table" or type(items) == "function", 1, "each",
    ("a list or an iterator expected, got %s"):format(check.shown(items)))
  limit = check.integer(limit, 1, nil, 2, "each", "limit")
  check.value(fn, "function", 3, "each")
  waiting.begin "each"
  return run_each(items, limit, fn)
end
