-- tcpnet.sync under random schedules: tasks that do random things to random objects, are cancelled, run out of time and
-- lose selects at random moments, against what must hold whatever happens. spec/support/schedules.lua says how one is
-- repeated.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local schedules = require "spec.support.schedules"

local sync = tcpnet.sync
local random = math.random
local chance, closer, counted, yields = schedules.chance, schedules.closer, schedules.counted, schedules.yields

-- Errors are expected where something was closed, full or late.
local expected = { CLOSED = true, EAGAIN = true, TIMEOUT = true, CANCELED = true }

local function check_refusal(ok, err)
  if not ok and err ~= nil then
    assert(tcpnet.is_error(err) and expected[err.code], err)
  end
end

-- channel: no message is lost, doubled or overtakes another of its sender -------------------------------------------

local Channel = {}
Channel.__index = Channel

function Channel.new(world)
  local capacity = chance(75) and random(3) or nil
  local model = { waiting_receivers = 0, waiting_senders = 0, promised = 0, capacity = capacity, fate = {}, last = {},
    senders = {}, next = 0 }
  local sender
  if capacity then
    sender, model.receiver = sync.channel(capacity)
  else
    sender, model.receiver = sync.unbounded()
  end
  for worker = 1, world.workers do
    model.senders[worker] = sender:clone()
  end
  sender:close()
  return setmetatable(model, Channel)
end

function Channel:message(worker)
  self.next = self.next + 1
  local message = { from = worker, number = self.next }
  self.fate[message] = "made"
  return message
end

function Channel:got(message)
  assert(self.fate[message] == "sent", "a message arrives that was " .. tostring(self.fate[message]))
  assert(message.number > (self.last[message.from] or 0), "a message has overtaken another of its sender")
  self.last[message.from] = message.number
  self.fate[message] = "received"
end

function Channel:send(worker)
  local message = self:message(worker)
  local ok, err
  do
    local _waiting <close> = counted(self, "waiting_senders", 1)
    ok, err = self.senders[worker]:send(message)
  end
  check_refusal(ok, err)
  if ok then
    self.fate[message] = "sent"
  end
end

function Channel:try_send(worker)
  local message = self:message(worker)
  local ok, err = self.senders[worker]:try_send(message)
  check_refusal(ok, err)
  if ok then
    self.fate[message] = "sent"
  end
end

function Channel:reserve(worker)
  local permit, err
  do
    local _waiting <close> = counted(self, "waiting_senders", 1)
    permit, err = self.senders[worker]:reserve()
  end
  check_refusal(permit, err)
  if permit then
    local _promised <close> = counted(self, "promised", 1)
    local _permit <close> = permit
    yields(2)
    if chance(70) then
      local message = self:message(worker)
      assert(permit:send(message))
      self.fate[message] = "sent"
    end
  end
end

function Channel:recv()
  local message, err
  do
    local _waiting <close> = counted(self, "waiting_receivers", 1)
    message, err = self.receiver:recv()
  end
  check_refusal(message, err)
  if message then
    self:got(message)
  elseif not err then
    self.ended = true
  end
end

function Channel:try_recv()
  local message, err = self.receiver:try_recv()
  check_refusal(message, err)
  if message then
    assert(not self.ended, "a message comes behind the end")
    self:got(message)
  end
end

function Channel:close(worker)
  if chance(80) then
    self.senders[worker]:close()
  else
    self.receiver:close()
  end
end

function Channel:check_rest()
  local _, any = next(self.senders)
  assert(self.waiting_receivers == 0 or #self.receiver == 0, "a receiver waits though there is a message")
  if self.capacity and not self.receiver:is_closed() then
    local room = any:capacity()
    assert(room + #self.receiver + self.promised == self.capacity, "room is lost or made")
    assert(self.waiting_senders == 0 or room == 0, "a sender waits though there is room")
  end
end

function Channel:finish()
  for _, sender in pairs(self.senders) do
    sender:close()
  end
end

function Channel:check_end()
  for message in self.receiver.try_recv, self.receiver do
    assert(not self.ended, "a message comes behind the end")
    self:got(message)
  end
  for _, fate in pairs(self.fate) do
    assert(fate ~= "sent", "a message is lost")
  end
end

Channel.poke = "try_recv"
Channel.operations = { "send", "send", "send", "recv", "recv", "recv", "try_send", "try_recv", "reserve", "close" }

-- Semaphore: permits are neither lost nor made ----------------------------------------------------------------------

local Semaphore = {}
Semaphore.__index = Semaphore

function Semaphore.new()
  local total = random(0, 4)
  return setmetatable({ total = total, held = 0, waiting = {}, semaphore = sync.Semaphore.new(total) }, Semaphore)
end

function Semaphore:hold(permit, n)
  local _permit <close> = permit
  local _held <close> = counted(self, "held", n)
  assert(self.held <= self.total, "more permits are held than there are")
  yields(3)
  if chance(10) then
    permit:forget()
    self.total = self.total - n
  end
end

function Semaphore:acquire(worker)
  local n = random(3)
  local permit, err
  do
    self.waiting[worker] = n
    local _waiting <close> = closer(function()
      self.waiting[worker] = nil
    end)
    permit, err = self.semaphore:acquire(n)
  end
  check_refusal(permit, err)
  if permit then
    self:hold(permit, n)
  end
end

function Semaphore:try_acquire()
  local n = random(2)
  local permit, err = self.semaphore:try_acquire(n)
  check_refusal(permit, err)
  if permit then
    self:hold(permit, n)
  end
end

function Semaphore:add()
  self.total = self.total + 1
  self.semaphore:add_permits(1)
end

function Semaphore:check_rest()
  local available, largest = self.semaphore:available_permits(), 0
  assert(available + self.held == self.total, "permits are lost or made")
  for _, n in pairs(self.waiting) do
    largest = math.max(largest, n)
  end
  assert(largest == 0 or available < largest, "tasks wait though there are permits for each")
end

function Semaphore:finish()
  if chance(50) then
    self.semaphore:close()
  else
    self.total = self.total + 100
    self.semaphore:add_permits(100)
  end
end

function Semaphore:check_end()
  assert(self.held == 0 and self.semaphore:available_permits() == self.total, "permits are lost or made")
end

Semaphore.poke = "add"
Semaphore.operations = { "acquire", "acquire", "acquire", "try_acquire", "add" }

-- Mutex: one at a time, and somebody always --------------------------------------------------------------------------

local Mutex = {}
Mutex.__index = Mutex

function Mutex.new()
  return setmetatable({ inside = 0, waiting = 0, mutex = sync.Mutex.new() }, Mutex)
end

function Mutex:hold(guard)
  local _guard <close> = guard
  local _inside <close> = counted(self, "inside", 1)
  assert(self.inside == 1, "two hold the lock")
  yields(3)
end

function Mutex:lock()
  local guard, err
  do
    local _waiting <close> = counted(self, "waiting", 1)
    guard, err = self.mutex:lock()
  end
  check_refusal(guard, err)
  if guard then
    self:hold(guard)
  end
end

function Mutex:try_lock()
  local guard, err = self.mutex:try_lock()
  check_refusal(guard, err)
  if guard then
    self:hold(guard)
  end
end

function Mutex:check_rest()
  assert(self.waiting == 0 or self.inside == 1, "a task waits for a lock that nobody holds")
end

function Mutex:finish() -- luacheck: ignore 212
end

function Mutex:check_end()
  local guard = assert(self.mutex:try_lock(), "the lock is held at the end")
  guard:unlock()
end

Mutex.operations = { "lock", "lock", "lock", "try_lock" }

-- Notify: as many wake up as were notified, and no notification is lost while somebody waits ------------------------

local Notify = {}
Notify.__index = Notify

function Notify.new()
  return setmetatable({ waiting = 0, given = 0, woken = 0, notify = sync.Notify.new() }, Notify)
end

function Notify:notified()
  local ok, err
  do
    local _waiting <close> = counted(self, "waiting", 1)
    ok, err = self.notify:notified()
  end
  check_refusal(ok, err)
  if ok then
    self.woken = self.woken + 1
  end
end

function Notify:notify_one()
  self.given = self.given + 1
  self.notify:notify_one()
end

function Notify:notify_waiters()
  self.given = self.given + self.waiting
  self.notify:notify_waiters()
end

function Notify:check_rest()
  assert(self.woken <= self.given, "more woke up than were notified")
  if self.waiting > 0 then -- a notification that was kept would be had at once
    assert(not tcpnet.timeout(0, self.notify.notified, self.notify), "a task waits though a notification is kept")
  end
end

function Notify:finish()
  self:notify_waiters()
end

function Notify:check_end()
  assert(self.waiting == 0)
  self.given = self.given + 1
  self.notify:notify_one()
  assert(tcpnet.timeout(60, self.notify.notified, self.notify), "a notification is lost")
end

Notify.poke = "notify_one"
Notify.operations = { "notified", "notified", "notify_one", "notify_one", "notify_waiters" }

-- broadcast: each receiver gets every message in order, or is told exactly how many it missed -----------------------

local Broadcast = {}
Broadcast.__index = Broadcast

function Broadcast.new(world)
  local model = setmetatable({ sent = 0, receivers = {}, busy = {}, sender = sync.broadcast(random(5)) }, Broadcast)
  for worker = 1, world.workers do
    model.receivers[worker] = { receiver = model.sender:subscribe(), next = 1 }
  end
  return model
end

function Broadcast:got(view, value, err)
  check_refusal(value, not tcpnet.is_error(err, "LAGGED") and err or nil)
  if value then
    assert(value == view.next, ("message %s comes where %d is next"):format(value, view.next))
    view.next = value + 1
  elseif tcpnet.is_error(err, "LAGGED") then
    view.next = view.next + err.missed
    assert(view.next <= self.sent, "more was missed than sent")
  end
end

function Broadcast:recv(worker)
  local view = self.receivers[worker]
  self.busy[worker] = view
  local _busy <close> = closer(function()
    self.busy[worker] = nil
  end)
  self:got(view, view.receiver:recv())
end

function Broadcast:try_recv(worker)
  local view = self.receivers[worker]
  self:got(view, view.receiver:try_recv())
end

function Broadcast:send()
  local count, err = self.sender:send(self.sent + 1)
  check_refusal(count, err)
  if count then
    self.sent = self.sent + 1
  end
end

function Broadcast:subscribe(worker)
  local view = self.receivers[worker]
  self.receivers[worker] = { receiver = view.receiver:resubscribe(), next = self.sent + 1 }
  view.receiver:close()
end

function Broadcast:check_rest()
  for _, view in pairs(self.busy) do
    assert(#view.receiver == 0, "a receiver waits though there is a message")
    assert(view.next == self.sent + 1, "a receiver waits and has not got everything")
  end
end

function Broadcast:finish()
  self.sender:close()
end

function Broadcast:check_end()
  for _, view in pairs(self.receivers) do
    repeat
      local value, err = view.receiver:try_recv()
      self:got(view, value, err)
    until not value and not err
    assert(view.next == self.sent + 1, "a receiver ended before it had everything")
  end
end

Broadcast.poke = "send"
Broadcast.operations = { "recv", "recv", "recv", "send", "send", "send", "try_recv", "subscribe" }

-- watch: nobody waits who has not seen the latest value ---------------------------------------------------------------

local Watch = {}
Watch.__index = Watch

function Watch.new(world)
  local model = setmetatable({ value = 0, receivers = {}, busy = {} }, Watch)
  local receiver
  model.sender, receiver = sync.watch(0)
  for worker = 1, world.workers do
    model.receivers[worker] = { receiver = receiver:clone(), seen = 0 }
  end
  receiver:close()
  return model
end

function Watch:changed(worker)
  local view = self.receivers[worker]
  local ok, err
  do
    self.busy[worker] = view
    local _busy <close> = closer(function()
      self.busy[worker] = nil
    end)
    ok, err = view.receiver:changed()
  end
  check_refusal(ok, err)
  if ok then
    assert(view.receiver:borrow() == self.value and self.value > view.seen, "a change that is none")
    view.seen = self.value
  end
end

function Watch:send()
  if not self.finished then
    self.value = self.value + 1
    assert(self.sender:send(self.value))
  end
end

function Watch:check_rest()
  for _, view in pairs(self.busy) do
    assert(not view.receiver:has_changed() and view.seen == self.value, "a receiver waits though there was a change")
  end
end

function Watch:finish()
  self.finished = true
  self.sender:close()
end

function Watch:check_end()
  for _, view in pairs(self.receivers) do
    assert(view.receiver:has_changed() == (view.seen ~= self.value), "a change is lost or made")
  end
end

Watch.poke = "send"
Watch.operations = { "changed", "changed", "send" }

-- oneshot: a value that was sent is received, or still there ----------------------------------------------------------

local Oneshot = {}
Oneshot.__index = Oneshot

function Oneshot.new()
  local model = setmetatable({ waiting = 0 }, Oneshot)
  model.sender, model.receiver = sync.oneshot()
  return model
end

function Oneshot:send()
  if not self.tried then
    self.tried = true
    local ok, err = self.sender:send "value"
    check_refusal(ok, err)
    self.sent = ok
  end
end

function Oneshot:recv()
  local value, err
  do
    local _waiting <close> = counted(self, "waiting", 1)
    value, err = self.receiver:recv()
  end
  check_refusal(value, err)
  if value then
    assert(self.sent and not self.received, "a value that was not sent, or twice")
    self.received = true
  end
end

function Oneshot:close()
  if chance(50) then
    self.sender:close()
  else
    self.receiver:close()
  end
end

function Oneshot:check_rest()
  assert(self.waiting == 0 or not self.sent, "a receiver waits though there is a value")
end

function Oneshot:finish()
  self.sender:close()
end

function Oneshot:check_end()
  local value = self.receiver:try_recv()
  assert((value == "value") == (self.sent and not self.received or false), "the value is lost, or there twice")
end

Oneshot.poke = "send"
Oneshot.operations = { "recv", "recv", "send", "close" }

-- schedules -----------------------------------------------------------------------------------------------------------

local kinds = { Channel, Channel, Channel, Semaphore, Semaphore, Mutex, Notify, Broadcast, Watch, Oneshot }

local function work(world, worker)
  for _ = 1, random(2, 8) do
    local object = world.objects[random(#world.objects)]
    local name = object.operations[random(#object.operations)]
    schedules.operate(world, function()
      object[name](object, worker)
    end)
    yields(2)
  end
end

-- Lets everything run until no task is ready: what they wait for then is not there.
local function rest()
  repeat
    tcpnet.yield()
  until tcpnet.metrics().tasks_ready == 0
end

-- Wakes somebody, and cancels a task before it has run: what it was woken with must not go with it.
local function poke_and_cancel(world, tasks)
  local object = world.objects[random(#world.objects)]
  if object.poke and chance(70) then
    object[object.poke](object, random(world.workers))
  end
  local first = random(#tasks)
  for i = 0, #tasks - 1 do
    local task = tasks[(first + i) % #tasks + 1]
    if task:status() == "ready" then
      task:cancel()
      return
    end
  end
  tasks[first]:cancel()
end

local function run()
  local world = { workers = random(2, 6), objects = {}, token = sync.CancellationToken.new() }
  for i = 1, random(3) do
    world.objects[i] = kinds[random(#kinds)].new(world)
  end
  local tasks = {}
  for worker = 1, world.workers do
    tasks[worker] = tcpnet.spawn(work, world, worker)
  end
  for _ = 1, random(0, 6) do
    yields(6)
    local what = random(10)
    if what <= 4 then
      poke_and_cancel(world, tasks)
    elseif what == 5 then
      world.token:cancel()
    elseif what == 6 then
      collectgarbage "step"
    end
  end
  for _, object in ipairs(world.objects) do
    rest() -- each time: a check may wait itself
    object:check_rest()
  end
  local deadline = tcpnet.now() + 20
  repeat -- who goes on to a next wait is told again
    for _, object in ipairs(world.objects) do
      object:finish()
    end
    yields(3)
    local left = false
    for _, task in ipairs(tasks) do
      local status = task:status()
      left = left or status == "ready" or status == "waiting"
    end
    assert(tcpnet.now() < deadline, "a task waits for ever")
  until not left
  for _, task in ipairs(tasks) do
    local ok, err = task:join(20)
    assert(ok or tcpnet.is_error(err, "CANCELED"), err)
  end
  for _, object in ipairs(world.objects) do
    object:check_end()
  end
end

describe("random schedules", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("lose no message, permit, lock or wake-up", function()
    schedules.each(10000, run)
  end)
end)
