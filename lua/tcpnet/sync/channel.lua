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
  if value == nil then
    check.that(false, 1, name, "a value expected, got nil: that is the end of a channel")
  end
end

-- What both ends share: messages `head` to `tail`; `room`, which an unbounded channel lacks.
local function has_ended(state)
  return (state.senders == 0 or state.closed) and state.promised == 0
end

-- For who waits in recv: there may be something for the first, or the end for all.
local function look_again(state)
  if state.tail >= state.head then
    state.receivers:grant(true)
  elseif has_ended(state) then
    state.receivers:grant_all(true)
  end
end

-- `promised`: permits that are out and may still send.
local function new_state(capacity)
  local state = { head = 1, tail = 0, senders = 1, closed = false, promised = 0, queue = {} }
  state.room = capacity and Semaphore.new(capacity)
  state.receivers = Waiters.new(function()
    look_again(state) -- the next may take what this one was woken for
  end)
  return state
end

local function push(state, value)
  local tail = state.tail + 1
  state.tail = tail
  state.queue[tail] = value
  if state.receivers.first then
    state.receivers:grant(true)
  end
end

local function pop(state)
  local head = state.head
  local queue, room = state.queue, state.room
  local value = queue[head]
  queue[head] = nil
  if head == state.tail then -- empty: from the beginning again, so that the queue stays an array
    state.head, state.tail = 1, 0
  else
    state.head = head + 1
  end
  if room then
    if room.line.first then
      room:give_back(1)
    else
      room.permits = room.permits + 1
    end
  end
  return value
end

local function is_closed(sender)
  return sender.done or sender.state.closed
end

local function refusal(sender, op)
  return errors.closed(op, sender.done and "the sender is closed" or "the receiver is closed")
end

-- sending -----------------------------------------------------------------------------------------

-- Waits for a place. Who is granted one just before the channel closes gives it back.
local function take_place(sender, op)
  local room = sender.state.room
  if room then
    local ok, err = room:take(1, op, sender)
    if not ok then
      return nil, err.code == "CLOSED" and refusal(sender, op) or err
    elseif is_closed(sender) then
      room:give_back(1)
      return nil, refusal(sender, op)
    end
  end
  return true
end

-- send(v) ⏳ → true | nil, err (CLOSED). Waits for room. Cancelled, it has sent nothing.
function Sender:send(value)
  if value == nil then
    check_message(value, "send")
  end
  local state = self.state
  local room = state.room
  if room then -- an unbounded channel never waits, not even to be fair
    coop("send")
  end
  if self.done or state.closed then
    return nil, refusal(self, "send")
  end
  if room then
    local permits = room.permits
    if permits > 0 and not room.line.first then
      room.permits = permits - 1
    else
      local ok, err = take_place(self, "send")
      if not ok then
        return nil, err
      end
    end
  end
  local tail = state.tail + 1
  state.tail = tail
  state.queue[tail] = value
  local receivers = state.receivers
  if receivers.first then
    receivers:grant(true)
  end
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

-- reserve() ⏳ → permit with send(v): a place that is kept until it is used or released.
function Sender:reserve()
  coop("reserve")
  if is_closed(self) then
    return nil, refusal(self, "reserve")
  end
  local ok, err = take_place(self, "reserve")
  if not ok then
    return nil, err
  end
  self.state.promised = self.state.promised + 1
  return setmetatable({ sender = self }, Permit)
end

-- send(v) → true, whatever was closed meanwhile: the place was promised.
function Permit:send(value)
  check_message(value, "send")
  local sender = self.sender
  check.that(sender, 1, "send", "the permit was used or released")
  self.sender = nil
  local state = sender.state
  push(state, value)
  state.promised = state.promised - 1
  if has_ended(state) then
    state.receivers:grant_all(true)
  end
  return true
end

function Permit:release()
  local sender = self.sender
  self.sender = nil
  if sender then
    local state = sender.state
    state.promised = state.promised - 1
    if state.room then
      state.room:give_back(1)
    end
    if has_ended(state) then
      state.receivers:grant_all(true)
    end
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
  if state.room then
    state.room:refuse(self)
  end
  if has_ended(state) then
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
  coop("recv")
  local state = self.state
  while state.tail < state.head do
    if has_ended(state) then
      return nil
    end
    local ok, err = state.receivers:wait(nil, nil, look_again, state)
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
  elseif has_ended(state) then
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
  if has_ended(state) then
    state.receivers:grant_all(true)
  end
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

check.methods(Sender)
check.methods(Receiver)
check.methods(Permit)

return channel
