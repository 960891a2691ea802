-- broadcast: every message to every receiver; who is left behind is told how many were missed.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Waiters = require "tcpnet.sync.waiters"
local waiting = require "tcpnet.waiting"

local MOST = 1 << 30

local Sender = {}
Sender.__index = Sender
Sender.__name = "BroadcastSender"

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "BroadcastReceiver"

-- The last `capacity` messages lie at state[n] for n up to state.tail, each until all who are owed it have had it.
local function settle_one(state, n)
  local owed = state.owed[n] - 1
  state.owed[n] = owed
  if owed == 0 then
    state[n], state.owed[n] = nil, nil
  end
end

local function subscribe(state, from)
  local receiver = setmetatable({ state = state, next = from, done = false, waits = 0, waiter = false },
    Receiver)
  state.receivers = state.receivers + 1
  return receiver
end

-- send(v) → count of receivers | nil, err (CLOSED: there are none). Never waits.
function Sender:send(value)
  check.that(value ~= nil, 1, "send", "a value expected, got nil: that is the end of a channel")
  local state = self.state
  if self.done or state.receivers == 0 then
    return nil, errors.closed("send", self.done and "the sender is closed" or "there are no receivers")
  end
  state.line:grant_all(true) -- who run later; there may be no memory to wake them, nor for the message
  local n = state.tail + 1
  state[n] = value
  state.owed[n] = state.receivers
  state.tail = n
  local oldest = n - state.capacity
  state[oldest], state.owed[oldest] = nil, nil
  return state.receivers
end

-- subscribe() → receiver of all that is sent from now on.
function Sender:subscribe()
  if self.done then
    return nil, errors.closed("subscribe", "the sender is closed")
  end
  return subscribe(self.state, self.state.tail + 1)
end

function Sender:clone()
  if self.done then
    return nil, errors.closed("clone", "the sender is closed")
  end
  local sender = setmetatable({ state = self.state, done = false }, Sender)
  self.state.senders = self.state.senders + 1
  return sender
end

function Sender:receiver_count()
  return self.state.receivers
end

-- close(): collected, it closes too; with the last sender the receivers end.
function Sender:close()
  local state = self.state
  if not self.done then
    if state.senders == 1 then
      state.line:grant_all(true)
    end
    self.done = true
    state.senders = state.senders - 1
  end
end

Sender.__close = Sender.close
Sender.__gc = Sender.close

local function lagged(missed)
  return core.private.new_error("LAGGED", "recv", nil, ("%d messages were missed"):format(missed), "missed", missed)
end

-- What there is for a receiver: found, value or error.
local function take(receiver)
  local state = receiver.state
  local oldest = state.tail - state.capacity + 1
  if receiver.next < oldest then
    local missed = oldest - receiver.next
    receiver.next = oldest
    return true, nil, lagged(missed)
  elseif receiver.next <= state.tail then
    local n = receiver.next
    local value = state[n]
    receiver.next = n + 1
    settle_one(state, n)
    return true, value
  end
  return state.senders == 0 or receiver.done
end

local function look_again(receiver)
  local state = receiver.state
  if receiver.next <= state.tail or state.senders == 0 or receiver.done then
    state.line:grant_owner(true, receiver)
  end
end

-- recv() ⏳ → v | nil at the end | nil, err (LAGGED with err.missed; the next call goes on). Cancel safe.
function Receiver:recv()
  coop("recv")
  while true do
    local found, value, err = take(self)
    if err then
      return nil, err
    elseif found then
      return value
    end
    local ok
    ok, err = self.state.line:wait("recv", nil, self, look_again, self)
    if not ok then
      return nil, err
    end
  end
end

-- try_recv() → v | nil at the end | nil, err (EAGAIN, LAGGED)
function Receiver:try_recv()
  local found, value, err = take(self)
  if not found then
    return nil, errors.again("try_recv")
  elseif err then
    return nil, err
  end
  return value
end

-- resubscribe() → receiver of what is sent from now on.
function Receiver:resubscribe()
  return subscribe(self.state, self.state.tail + 1)
end

function Receiver:close()
  if not self.done then
    local state = self.state
    local first = math.max(self.next, state.tail - state.capacity + 1)
    state.line:grant_owner(true, self)
    self.done = true
    for n = first, state.tail do
      settle_one(state, n)
    end
    self.next = math.huge
    state.receivers = state.receivers - 1
  end
end

-- How many messages wait for this receiver.
function Receiver:__len()
  local state = self.state
  return self.done and 0 or state.tail - math.max(self.next, state.tail - state.capacity + 1) + 1
end

-- for v in receiver do; raises where messages were missed.
function Receiver:__call()
  return waiting.or_raise(self:recv())
end

Receiver.__close = Receiver.close
Receiver.__gc = Receiver.close

check.methods(Sender, function(self)
  return self.done and "closed" or self.state.receivers .. " receivers"
end)
check.methods(Receiver, function(self)
  return self.done and "closed" or #self .. " messages"
end)

-- broadcast(capacity) → sender. The capacity is rounded up to a power of two, as Tokio's.
return function(capacity)
  capacity = check.integer(capacity, 1, MOST, 1, "broadcast", "capacity")
  local size = 1
  while size < capacity do
    size = size * 2
  end
  local state = { capacity = size, tail = 0, senders = 1, receivers = 0, owed = {}, line = Waiters.new() }
  return setmetatable({ state = state, done = false }, Sender)
end
