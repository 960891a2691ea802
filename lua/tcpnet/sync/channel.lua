-- channel and unbounded: messages from many senders, each to one receiver, in order (Tokio's mpsc).
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Semaphore = require "tcpnet.sync.semaphore"
local Waiters = require "tcpnet.sync.waiters"

local Sender = {}
Sender.__index = Sender
Sender.__name = "Sender"

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "Receiver"

local Permit = {}
Permit.__index = Permit
Permit.__name = "ChannelPermit"

local function check_message(value, name)
  check.that(value ~= nil, 1, name, "a value expected, got nil: that is the end of a channel")
end

-- What both ends share: messages `head` to `tail`; `room`, which an unbounded channel lacks.
local function new_state(capacity)
  local state = { head = 1, tail = 0, senders = 1, permits = 0, closed = false }
  state.room = capacity and Semaphore.new(capacity)
  state.receivers = Waiters.new(function()
    if state.tail >= state.head or state.senders == 0 or state.closed then -- the next may take what it was woken for
      state.receivers:grant(true)
    end
  end)
  return state
end

local function push(state, value)
  local tail = state.tail + 1
  state.tail = tail
  state[tail] = value
  if state.receivers.first then
    state.receivers:grant(true)
  end
end

local function pop(state)
  local head = state.head
  local value = state[head]
  state[head] = nil
  state.head = head + 1
  if state.room then
    state.room:add_permits(1)
  end
  return value
end

-- No message will come any more.
local function is_over(state)
  return (state.senders == 0 or state.closed) and state.permits == 0
end

local function is_closed(sender)
  return sender.done or sender.state.closed
end

local function refusal(sender, op)
  return errors.closed(op, sender.done and "the sender is closed" or "the receiver is closed")
end

-- sending -----------------------------------------------------------------------------------------

-- send(v) ⏳ → true | nil, err (CLOSED). Waits for room. Cancelled, it has sent nothing.
function Sender:send(value)
  check_message(value, "send")
  if self.state.room then -- an unbounded channel never waits, not even to be fair
    coop()
  end
  local state = self.state
  if is_closed(self) then
    return nil, refusal(self, "send")
  end
  if state.room then
    local ok, err = state.room:take(1)
    if not ok then
      return nil, err.code == "CLOSED" and refusal(self, "send") or err
    end
  end
  push(state, value)
  return true
end

-- try_send(v) → true | nil, err (EAGAIN: no room; CLOSED)
function Sender:try_send(value)
  check_message(value, "try_send")
  local state = self.state
  if is_closed(self) then
    return nil, refusal(self, "try_send")
  end
  if state.room and not state.room:try_take(1) then
    return nil, errors.again("try_send")
  end
  push(state, value)
  return true
end

-- reserve() ⏳ → permit with send(v): a place that is kept until it is used or released, whatever closes meanwhile.
function Sender:reserve()
  coop()
  if is_closed(self) then
    return nil, refusal(self, "reserve")
  end
  if self.state.room then
    local ok, err = self.state.room:take(1)
    if not ok then
      return nil, err.code == "CLOSED" and refusal(self, "reserve") or err
    end
  end
  self.state.permits = self.state.permits + 1
  return setmetatable({ state = self.state }, Permit)
end

-- A permit is gone: where it was the last that could still send, the receivers have come to the end.
local function take_back(permit)
  local state = permit.state
  permit.state = nil
  state.permits = state.permits - 1
  return state
end

-- send(v) → true; never waits.
function Permit:send(value)
  check_message(value, "send")
  check.that(self.state, 1, "send", "the permit was used or released")
  push(take_back(self), value)
  return true
end

function Permit:release()
  if not self.state then
    return
  end
  local state = take_back(self)
  if state.room then
    state.room:add_permits(1)
  end
  if is_over(state) then
    state.receivers:grant_all(true)
  end
end

Permit.__close = Permit.release
Permit.__gc = Permit.release

-- clone() → another sender of the channel, which is closed when all of them are.
function Sender:clone()
  if self.done then
    return nil, refusal(self, "clone")
  end
  self.state.senders = self.state.senders + 1
  return setmetatable({ state = self.state }, Sender)
end

-- close(): this sender sends no more; collected, it closes too.
function Sender:close()
  if self.done then
    return
  end
  self.done = true
  local state = self.state
  state.senders = state.senders - 1
  if state.senders == 0 then
    state.receivers:grant_all(true)
  end
end

-- is_closed() → would send fail?
Sender.is_closed = is_closed

-- capacity() → how many messages can be sent at once now; nil: no limit.
function Sender:capacity()
  return self.state.room and self.state.room.permits
end

Sender.__close = Sender.close
Sender.__gc = Sender.close

-- receiving ---------------------------------------------------------------------------------------

-- recv() ⏳ → v | nil at the end: all senders closed and nothing left. Cancel safe.
function Receiver:recv()
  coop()
  local state = self.state
  while state.tail < state.head do
    if is_over(state) then
      return nil
    end
    local ok, err = state.receivers:wait()
    if not ok then
      return nil, err
    end
  end
  return pop(state)
end

-- try_recv() → v | nil at the end | nil, err (EAGAIN: nothing now)
function Receiver:try_recv()
  local state = self.state
  if state.tail >= state.head then
    return pop(state)
  elseif is_over(state) then
    return nil
  end
  return nil, errors.again("try_recv")
end

-- close(): senders get CLOSED from now on; what was sent can still be received.
function Receiver:close()
  local state = self.state
  if state.closed then
    return
  end
  state.closed = true
  if state.room then
    state.room:close()
  end
  state.receivers:grant_all(true)
end

function Receiver:is_closed()
  return self.state.closed
end

-- #receiver: how many messages are waiting.
function Receiver:__len()
  return self.state.tail - self.state.head + 1
end

-- for v in receiver do
function Receiver:__call()
  local value, err = self:recv()
  if err then
    error(err, 0)
  end
  return value
end

Receiver.__close = Receiver.close
Receiver.__gc = Receiver.close

local function new(capacity)
  local state = new_state(capacity)
  return setmetatable({ state = state }, Sender), setmetatable({ state = state }, Receiver)
end

local channel = {}

-- channel(capacity) → sender, receiver
function channel.bounded(capacity)
  check.that(math.type(capacity) == "integer" and capacity >= 1, 1, "channel",
    ("capacity: integer from 1 expected, got %s"):format(tostring(capacity)))
  return new(capacity)
end

-- unbounded() → sender, receiver; send never waits.
function channel.unbounded()
  return new(nil)
end

return channel
