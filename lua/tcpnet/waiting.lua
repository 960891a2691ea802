-- What readers and writers that are written in Lua share: the beginning of a call, waits with a deadline, errors.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"

local private = core.private
local waiting = {}

waiting.again = private.new_error "EAGAIN"

function waiting.failure(code, op, message)
  return private.new_error(code, op, nil, message)
end

-- What a call that may wait begins with, wherever it is made; `op` is its name.
waiting.begin = coop

-- The receiver of a method must be an object that has `field`.
function waiting.check_receiver(self, field, expected, name)
  check.expected(type(self) == "table" and rawget(self, field) ~= nil, expected, self, 1, name)
end

-- When a call that may take so many seconds must be over; nil: no limit.
function waiting.deadline(seconds)
  return seconds and core.now() + seconds
end

local function told_by(op, address, ...)
  local ok, err = ...
  if not ok and core.is_error(err, "TIMEOUT") then
    return nil, private.new_error("TIMEOUT", op, address)
  end
  return ...
end

-- fn(...) → ok | nil, err in so many seconds, if there is a limit; that time ran out is told by the call of that name,
-- with that address.
function waiting.within(seconds, op, address, fn, ...)
  if not seconds then
    return fn(...)
  end
  return told_by(op, address, core.timeout(seconds, fn, ...))
end

-- The same by the deadline, if there is one.
function waiting.limited(op, deadline, fn, ...)
  return waiting.within(deadline and math.max(deadline - core.now(), 0), op, nil, fn, ...)
end

-- What a step inside a call failed by, as the failure of that call, with that address. By its number, where it has one:
-- a code may be one that has no name.
function waiting.renamed(op, err, address)
  return private.new_error(err.errno or err.code, op, address or err.address, err.message)
end

-- A wait inside a __close that a cancel runs is refused; the error bears the name of the call.
function waiting.named(op, ...)
  local ok, err = ...
  if not ok and err.code == "CANCELED" then
    return nil, waiting.failure("CANCELED", op)
  end
  return ...
end

-- What an iterator makes of a call that gives nil, err where it fails, and nil alone at the end: it raises the error.
function waiting.or_raise(value, err, ...)
  if value == nil and err then
    error(err, 0)
  end
  return value, err, ...
end

local function until_true(line, subject, condition, op)
  if condition(subject) then
    return true
  end
  local function look_again()
    if condition(subject) then
      line:grant_all(true)
    end
  end
  repeat
    local ok, err = line:wait(op, nil, nil, look_again)
    if not ok then
      return nil, err
    end
  until condition(subject)
  return true
end

-- Waits in line ⏳ until condition(subject) → true | nil, err. It is looked at again in line, for a finalizer may have
-- run before, and by the task that waits: between a look from outside every task and the wait others run.
function waiting.until_true(line, subject, condition, op, deadline)
  return waiting.named(op, waiting.limited(op, deadline, until_true, line, subject, condition, op))
end

local function take(semaphore)
  return semaphore:take(1)
end

-- A permit of a semaphore ⏳ → true | nil, err.
function waiting.permit(semaphore, op, deadline)
  if semaphore:available_permits() > 0 then
    return semaphore:take(1)
  end
  return waiting.named(op, waiting.limited(op, deadline, take, semaphore))
end

-- Such a permit, to be kept in a to-be-closed variable. It goes back without a call, for which there might be no
-- memory: nobody would ever get it again. Who is first in line is woken before the rest, for the same reason.
local Turn = {}

function Turn.__close(turn)
  local semaphore = turn.semaphore
  local entry = semaphore.line.first
  semaphore.permits = semaphore.permits + 1
  if entry then
    if entry.task then
      entry.task:unpark()
    end
    semaphore:give_back(0)
  end
end

function waiting.turn(semaphore)
  return setmetatable({ semaphore = semaphore }, Turn)
end

-- Seconds as a timeout is kept: math.huge and its like are none.
function waiting.kept_seconds(seconds, name)
  check.optional_seconds(seconds, 1, name, "timeout")
  return seconds and seconds < 3.2e9 and seconds + 0.0 or nil
end

return waiting
