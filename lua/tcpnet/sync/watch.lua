-- watch: one value that changes; receivers see the latest, and may miss those in between.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Waiters = require "tcpnet.sync.waiters"

local Sender = {}
Sender.__index = Sender
Sender.__name = "WatchSender"

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "WatchReceiver"

local function subscribe(state)
  local receiver = setmetatable({ state = state, seen = state.version, done = false, waits = 0, waiter = false },
    Receiver)
  state.receivers = state.receivers + 1
  return receiver
end

local function set(state, value)
  state.line:grant_all(true) -- who run later; there may be no memory to wake them
  state.value = value
  state.version = state.version + 1
end

-- send(v) → true | nil, err (CLOSED: no receiver is left, and the value stays as it was)
function Sender:send(value)
  local state = self.state
  if self.done or state.receivers == 0 then
    return nil, errors.closed("send", self.done and "the sender is closed" or "there are no receivers")
  end
  set(state, value)
  return true
end

-- send_replace(v) → the value before; whether or not somebody receives.
function Sender:send_replace(value)
  local before = self.state.value
  set(self.state, value)
  return before
end

-- borrow() → the value
function Sender:borrow()
  return self.state.value
end

Receiver.borrow = Sender.borrow

-- subscribe() → receiver that has seen the value of now.
function Sender:subscribe()
  return subscribe(self.state)
end

function Sender:receiver_count()
  return self.state.receivers
end

-- close(): collected, it closes too.
function Sender:close()
  if not self.done then
    self.state.line:grant_all(true)
    self.done = true
    self.state.closed = true
  end
end

Sender.__close = Sender.close
Sender.__gc = Sender.close

-- has_changed() → is there a value that this receiver has not seen?
function Receiver:has_changed()
  return self.seen ~= self.state.version
end

-- borrow_and_update() → the value, which counts as seen.
function Receiver:borrow_and_update()
  self.seen = self.state.version
  return self.state.value
end

local function look_again(receiver)
  local state = receiver.state
  if receiver.seen ~= state.version or state.closed or receiver.done then
    state.line:grant_owner(true, receiver)
  end
end

-- changed() ⏳ → true once there is a value not seen yet, which then counts as seen | nil, err (CLOSED). Cancel safe.
function Receiver:changed()
  coop("changed")
  local state = self.state
  while self.seen == state.version do
    if state.closed or self.done then
      return nil, errors.closed("changed", state.closed and "the sender is closed" or "the receiver is closed")
    end
    local ok, err = state.line:wait("changed", nil, self, look_again, self)
    if not ok then
      return nil, err
    end
  end
  self.seen = state.version
  return true
end

-- wait_for(fn) ⏳ → the first value, the present one included, for which fn(value) is true | nil, err (CLOSED)
function Receiver:wait_for(fn)
  check.value(fn, "function", 1, "wait_for")
  coop("wait_for")
  local value = self:borrow_and_update()
  while not fn(value) do
    local ok, err = self:changed()
    if not ok then
      return nil, err
    end
    value = self.state.value
  end
  return value
end

function Receiver:clone()
  local copy = subscribe(self.state)
  copy.seen = self.seen
  return copy
end

function Receiver:close()
  if not self.done then
    self.state.line:grant_owner(true, self)
    self.done = true
    self.state.receivers = self.state.receivers - 1
  end
end

Receiver.__close = Receiver.close
Receiver.__gc = Receiver.close

check.methods(Sender, function(self)
  return self.done and "closed" or self.state.receivers .. " receivers"
end)
check.methods(Receiver, function(self)
  return self.done and "closed" or self:has_changed() and "changed" or "seen"
end)

-- watch(value) → sender, receiver
return function(value)
  local state = { value = value, version = 0, receivers = 0, closed = false, line = Waiters.new() }
  return setmetatable({ state = state, done = false }, Sender), subscribe(state)
end
