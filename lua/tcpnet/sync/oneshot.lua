-- oneshot: one value, from one task to another.
local check = require "tcpnet.check"
local coop = require "tcpnet.sync.coop"
local errors = require "tcpnet.sync.errors"
local Waiters = require "tcpnet.sync.waiters"

local Sender = {}
Sender.__index = Sender
Sender.__name = "OneshotSender"

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "OneshotReceiver"

-- send(v) → true | nil, err (CLOSED: nobody will receive it). Once.
function Sender:send(value)
  local state = self.state
  check.that(not state.sent, 1, "send", "nothing was sent yet expected: a oneshot takes one value")
  if state.closed or state.dropped then
    return nil, errors.closed("send", state.closed and "the receiver is closed" or "the sender is closed")
  end
  state.receivers:grant_all(true) -- who run later; there may be no memory to wake them
  state.sent, state.value = true, value
  return true
end

function Sender:is_closed()
  return self.state.closed
end

local function look_again(state)
  if state.dropped or state.closed then
    state.senders:grant_all(true)
  end
  if state.sent or state.dropped or state.closed then
    state.receivers:grant_all(true)
  end
end

-- closed() ⏳ → true once the receiver wants no value any more.
function Sender:closed()
  coop("closed")
  local state = self.state
  while not state.closed do
    if state.dropped then
      return nil, errors.closed("closed", "the sender is closed")
    end
    local ok, err = state.senders:wait("closed", nil, nil, look_again, state)
    if not ok then
      return nil, err
    end
  end
  return true
end

-- close(): no value will come; collected, it closes too.
function Sender:close()
  local state = self.state
  if not state.dropped then
    state.receivers:grant_all(true)
    state.senders:grant_all(true)
    state.dropped = true
  end
end

Sender.__close = Sender.close
Sender.__gc = Sender.close

local function take(state, op)
  if state.sent and not state.received then
    state.received = true
    return true, state.value
  elseif state.received then
    return false, errors.closed(op, "the value was received already")
  elseif state.dropped then
    return false, errors.closed(op, "the sender is closed")
  elseif state.closed then
    return false, errors.closed(op, "the receiver is closed")
  end
end

-- recv() ⏳ → v | nil, err (CLOSED: the sender is gone without a value). Cancel safe.
function Receiver:recv()
  coop("recv")
  while true do
    local ok, value = take(self.state, "recv")
    if ok then
      return value
    elseif ok == false then
      return nil, value
    end
    local granted, err = self.state.receivers:wait("recv", nil, nil, look_again, self.state)
    if not granted then
      return nil, err
    end
  end
end

-- try_recv() → v | nil, err (EAGAIN: nothing yet; CLOSED)
function Receiver:try_recv()
  local ok, value = take(self.state, "try_recv")
  if ok then
    return value
  end
  return nil, value or errors.again("try_recv")
end

-- close(): the sender gets CLOSED; a value that was sent can still be received.
function Receiver:close()
  local state = self.state
  if not state.closed then
    state.senders:grant_all(true)
    state.receivers:grant_all(true)
    state.closed = true
  end
end

Receiver.__close = Receiver.close
Receiver.__gc = Receiver.close

local function describe(self)
  local state = self.state
  return state.received and "received" or state.sent and "sent"
    or (state.closed or state.dropped) and "closed" or "open"
end

check.methods(Sender, describe)
check.methods(Receiver, describe)

-- oneshot() → sender, receiver
return function()
  local state = { receivers = Waiters.new(), senders = Waiters.new(), sent = false, received = false, value = nil,
    closed = false, dropped = false } -- all that it will ever have, for which there may be no memory later
  return setmetatable({ state = state }, Sender), setmetatable({ state = state }, Receiver)
end
