-- Streams under random schedules: reads, writes, copies and splices over TCP, Unix streams, pipes and memory, that are
-- cancelled, run out of time and lose selects at random moments, while streams are split, reunited, shut down, closed
-- and reset. What arrives is compared byte for byte with what must (spec/support/lanes.lua): what a write says it sent
-- arrives, as a prefix, in order; what a read did not return stays readable; an operation that was ended has taken
-- nothing; a reset is never the end of a stream. `./dev soak` runs many more of them.
local tcpnet = require "tcpnet"
local lanes = require "spec.support.lanes"
local leaks = require "spec.support.leaks"
local schedules = require "spec.support.schedules"

local Buffer = tcpnet.Buffer
local random = math.random
local chance, closer, yields = schedules.chance, schedules.closer, schedules.yields

local PATIENCE = 45 -- seconds, for what must come
local huge = math.maxinteger

local listener

-- connections -------------------------------------------------------------------------------------------------------

-- An end: `stream` as long as it is whole, `reader` and `writer`, `out` and `into`, the lanes that begin and end here.
local End = {}
End.__index = End

local function new_end(name, reader, writer)
  local stream = reader == writer and reader or nil
  return setmetatable({ name = name, stream = stream, reader = reader, writer = writer }, End)
end

local function tune(stream)
  if chance(15) then
    stream:set_send_buffer_size(random(4096, 40000))
  end
  stream:set_nodelay(true)
end

local kinds = {
  tcp = function()
    local a = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    local b = assert(listener:accept())
    tune(a)
    tune(b)
    return a, a, b, b
  end,
  unix = function()
    local a, b = assert(tcpnet.UnixStream.pair())
    return a, a, b, b
  end,
  pipe = function()
    local sender, receiver = assert(tcpnet.pipe())
    return nil, sender, receiver, nil
  end,
  duplex = function()
    local a, b = tcpnet.duplex(random(16, 3000)) -- with less room 200,000 bytes take a minute of switches
    return a, a, b, b
  end,
}
local kind_names = { "tcp", "tcp", "tcp", "unix", "unix", "pipe", "duplex" }

local function connect(world, names, left, right)
  local kind = names[random(#names)]
  local a_reads, a_writes, b_reads, b_writes = kinds[kind]()
  local a, b = new_end(left .. " of " .. kind, a_reads, a_writes), new_end(right .. " of " .. kind, b_reads, b_writes)
  table.insert(world.ends, a)
  table.insert(world.ends, b)
  return a, b
end

local function new_lane(world, from, to, relayed)
  local lane = lanes.new(from.name .. " to " .. to.name)
  lane.relayed = relayed
  from.out, to.into = lane, lane
  table.insert(world.lanes, lane)
  return lane
end

-- reading -----------------------------------------------------------------------------------------------------------

local function took(self, bytes, err)
  if bytes then
    self.into:arrived(bytes)
  elseif not err then
    self.into:ended()
  else
    return err
  end
end

local function limit()
  local limits <const> = { 1, 10, 300, 5000, 65536 }
  return limits[random(#limits)]
end

-- Each → nil, or the error.
local reads = {}

function reads:read()
  return took(self, self.reader:read(chance(50) and limit() or nil))
end

function reads:try_read()
  local before = self.reader:buffered()
  local bytes, err = self.reader:try_read(chance(50) and limit() or nil)
  assert((before or 0) == 0 or bytes, "a read of nothing, though there are bytes read ahead")
  return took(self, bytes, err)
end

function reads:read_exact()
  local count = chance(90) and random(0, 400) or random(30000)
  local bytes, err, partial = self.reader:read_exact(count)
  if bytes then
    assert(#bytes == count)
    if count > 0 then
      self.into:arrived(bytes)
    end
  elseif err.code == "EOF" then
    assert(#partial < count)
    self.into:ended(self.into:shown(partial))
  else
    self.into:shown(partial or "")
    return err
  end
end

function reads:read_until()
  local bytes, err = self.reader:read_until("\n", limit())
  if bytes and bytes:sub(-1) ~= "\n" then
    self.into:arrived(bytes)
    return self.into:ended(self.into.at, self.into.offset)
  end
  return took(self, bytes, err)
end

function reads:read_line()
  local line, err = self.reader:read_line(limit())
  if line and self.into:match(line .. "\n") then
    line = line .. "\n"
  elseif line then
    self.into:ended(self.into:shown(line))
  end
  return took(self, line, err)
end

function reads:read_to_end()
  local bytes, err = self.reader:read_to_end(limit())
  if not bytes then
    return err
  end
  if bytes ~= "" then
    self.into:arrived(bytes)
  end
  self.into:ended()
end

local function into_buffer(self, name)
  local buffer = Buffer.new(random(3000))
  local first = ("x"):rep(random(0, buffer:capacity() - 1))
  buffer:append(first)
  local count, err = self.reader[name](self.reader, buffer, chance(50) and limit() or nil)
  assert(#buffer == #first + (count or 0) and buffer:sub(1, #first) == first)
  return took(self, count and buffer:sub(#first + 1), err)
end

function reads:read_into()
  return into_buffer(self, "read_into")
end

function reads:try_read_into()
  return into_buffer(self, "try_read_into")
end

function reads:try_read_vectored()
  local one, two = Buffer.new(random(300)), Buffer.new(random(300))
  local count, err = self.reader:try_read_vectored { one, two }
  assert(#one + #two == (count or 0))
  return took(self, count and tostring(one) .. tostring(two), err)
end

local function show(self, bytes, err)
  if bytes then
    self.into:shown(bytes)
  elseif not err then
    self.into:ended(self.into.at, self.into.offset)
  else
    return err
  end
end

function reads:peek()
  return show(self, self.reader:peek(limit()))
end

function reads:try_peek()
  return show(self, self.reader:try_peek(limit()))
end

function reads:readable()
  local ok, err = self.reader:readable()
  return not ok and err or nil
end

local read_names <const> = { "read", "read", "read", "read_exact", "read_until", "read_line", "read_to_end",
  "read_into", "try_read", "try_read_into", "try_read_vectored", "peek", "try_peek", "readable" }

-- What may go wrong without anybody being at fault.
local function excused(self, object, err)
  local code = err.code
  return code == "EAGAIN" or code == "TIMEOUT" or code == "LIMIT"
    or code == "CLOSED" and (self.closed or self.reader ~= object and self.writer ~= object)
end

local function one_read(world, self, ways)
  if self.reading or self.closed then
    return
  end
  self.reading = true
  local _done <close> = closer(function()
    self.reading = false
  end)
  local name = read_names[random(#read_names)]
  schedules.operate(world, function()
    local reader = self.reader
    local timed = chance(10) and reader.set_read_timeout
    if timed then
      timed(reader, random() * 0.0005)
    end
    local err = reads[name](self)
    if err and not excused(self, reader, err) then
      self.into:failed(err, true)
    end
    if timed then
      timed(reader, nil)
    end
  end, ways)
end

-- writing -----------------------------------------------------------------------------------------------------------

-- A segment that is written now. However the write ends, the model learns what it can.
local function segment(world, self, cancelled)
  local length = chance(world.bulk) and random(200000) or chance(10) and random(0, 1) or random(2000)
  local piece = self.out:segment(length)
  return piece, closer(function()
    if not piece.settled then
      cancelled(piece)
    end
  end)
end

local function nothing_sent(piece)
  piece:sent(0)
end

local function finished(piece, count, err, sent)
  piece:sent(count or sent or 0)
  return err
end

local writes = {}

function writes:write(world)
  local piece <const>, _told <close> = segment(world, self, function(piece) piece:unknown() end)
  local bytes = piece.bytes
  if chance(50) then
    return finished(piece, self.writer:write(bytes))
  end
  local cut = random(0, #bytes)
  local buffer = Buffer.new(math.max(1, #bytes - cut)):append(bytes:sub(cut + 1))
  return finished(piece, self.writer:write(bytes:sub(1, cut), buffer))
end

function writes:write_some(world)
  local piece <const>, _told <close> = segment(world, self, nothing_sent)
  return finished(piece, self.writer:write_some(piece.bytes))
end

function writes:write_vectored(world)
  local piece <const>, _told <close> = segment(world, self, nothing_sent)
  local cut = random(0, #piece.bytes)
  return finished(piece, self.writer:write_vectored { piece.bytes:sub(1, cut), piece.bytes:sub(cut + 1) })
end

function writes:try_write(world)
  local piece <const>, _told <close> = segment(world, self, nothing_sent)
  return finished(piece, self.writer:try_write(piece.bytes))
end

function writes:try_write_vectored(world)
  local piece <const>, _told <close> = segment(world, self, nothing_sent)
  return finished(piece, self.writer:try_write_vectored { piece.bytes })
end

function writes:write_from(world)
  local buffer
  local piece <const>, _told <close> = segment(world, self, function(piece) piece:sent(#piece.bytes - #buffer) end)
  buffer = Buffer.new(math.max(1, #piece.bytes)):append(piece.bytes)
  local length = #piece.bytes
  local count, err, sent = self.writer:write_from(buffer)
  assert((count or sent or 0) == length - #buffer, "a Buffer has not consumed what was sent")
  return finished(piece, count, err, sent)
end

function writes:sendfile(world)
  if not self.writer.sendfile then
    return writes.write(self, world)
  end
  local piece <const>, _told <close> = segment(world, self, function(piece) piece:unknown() end)
  local file <close> = assert(io.tmpfile())
  assert(file:write(piece.bytes) and file:flush())
  return finished(piece, self.writer:sendfile(file))
end

local write_names <const> = { "sendfile", "write", "write", "write_some", "write_vectored", "try_write",
  "try_write_vectored", "write_from", "write_from" }

local function one_write(world, self, ways)
  if self.closed then
    return
  end
  local name = write_names[random(#write_names)]
  schedules.operate(world, function()
    local writer = self.writer
    local err = writes[name](self, world)
    if err and not excused(self, writer, err) and not (err.code == "EPIPE" and self.out.finishing)
      and not (err.code == "CLOSED" and self.write_closed) then
      self.out:failed(err)
    end
  end, ways)
end

-- carrying bytes on -------------------------------------------------------------------------------------------------

local function tear(world)
  for _, lane in ipairs(world.lanes) do
    lane.torn = true
  end
end

-- A relay's operation failed: its both ends go.
local function relay_failed(world, lane, err, ...)
  assert(lane.torn, lane:describe("the relay fails with " .. tostring(err)))
  assert(err:is("ECONNRESET", "EPIPE", "CLOSED", "ENOTCONN"), tostring(err))
  tear(world)
  for _, object in ipairs { ... } do
    object:close()
  end
end

-- Each → "go on", "end", or nil and the error.
local hauls = {}

function hauls.copy(world, from, to)
  local max = chance(60) and (chance(20) and random(1000000) or random(3000)) or huge
  local count, err = max, nil
  schedules.operate(world, function()
    count, err = tcpnet.copy(from, to, max)
  end)
  if err then
    return nil, err
  end
  return count < max and "end" or "go on"
end

function hauls.buffer(world, from, to)
  local buffer, count, err = Buffer.new(random(20000)), 0, nil
  schedules.operate(world, function()
    count, err = from:read_into(buffer)
  end)
  while #buffer > 0 and not err do
    schedules.operate(world, function()
      local _
      _, err = to:write_from(buffer)
    end)
    if err and err.code == "TIMEOUT" then
      err = nil
    end
  end
  if err then
    return nil, err
  end
  return count and "go on" or "end"
end

function hauls.string(world, from, to)
  local bytes, err = "", nil
  schedules.operate(world, function()
    bytes, err = from:read()
  end)
  if not bytes then
    return not err and "end", err
  end
  local i = 1
  while i <= #bytes do
    schedules.operate(world, function()
      local count
      count, err = to:write_some(bytes, i)
      i = i + (count or 0)
    end)
    if err and err.code ~= "TIMEOUT" then
      return nil, err
    end
  end
  return "go on"
end

local haul_names <const> = { "copy", "copy", "copy", "buffer", "string" }

local function relay(world, from, to, lane)
  local state, err = "go on", nil
  while state ~= "end" do
    local timed = chance(10) and from.set_read_timeout
    if timed then
      timed(from, random() * 0.0005)
    end
    local name = haul_names[random(#haul_names)]
    lane.carried_by = name
    state, err = hauls[name](world, from, to)
    if timed then
      timed(from, nil)
    end
    if err and err.code ~= "TIMEOUT" then
      return relay_failed(world, lane, err, from, to)
    end
  end
  local ok
  if to.shutdown then
    ok, err = to:shutdown()
  else
    to:close()
    ok = true
  end
  if not ok then
    relay_failed(world, lane, err, from, to)
  end
end

local function relay_both(world, a, b, lane)
  local there, back
  local err
  repeat
    schedules.operate(world, function()
      there, back = tcpnet.copy_bidirectional(a, b)
      err = not there and back or nil
    end)
    if err then
      return relay_failed(world, lane, err, a, b)
    end
  until there
end

-- worlds ------------------------------------------------------------------------------------------------------------

local shapes = {}

function shapes.pair(world)
  local a, b = connect(world, kind_names, "a", "b")
  if a.writer and b.reader then
    new_lane(world, a, b)
  end
  if b.writer and a.reader then
    new_lane(world, b, a)
  end
end

function shapes.echo(world)
  local a, b = connect(world, { "tcp", "tcp", "unix", "duplex" }, "a", "echo")
  local lane = new_lane(world, a, a, true)
  b.is_relay = true
  table.insert(world.relays, tcpnet.spawn(relay, world, b.stream, b.stream, lane))
end

function shapes.chain(world)
  local a, b = connect(world, kind_names, "a", "b")
  local c, d = connect(world, kind_names, "c", "d")
  b.is_relay, c.is_relay = true, true
  local there = new_lane(world, a, d, true)
  local both = a.stream and d.stream
  local back = both and new_lane(world, d, a, true)
  if both and chance(30) then
    table.insert(world.relays, tcpnet.spawn(relay_both, world, b.stream, c.stream, there))
    return
  end
  table.insert(world.relays, tcpnet.spawn(relay, world, b.reader, c.writer, there))
  if both then
    table.insert(world.relays, tcpnet.spawn(relay, world, c.reader, b.writer, back))
  elseif b.writer or c.reader then -- a pipe is the other part: nothing goes back
    a.into, d.out = nil, nil
  end
end

local shape_names <const> = { "pair", "pair", "echo", "chain" }

-- what happens to an end --------------------------------------------------------------------------------------------

local happenings = {}

local function torn(self)
  for _, lane in ipairs { self.out or false, self.into or false } do
    if lane then
      lane.torn = true
    end
  end
end

function happenings.close(self)
  torn(self)
  self.closed = true
  if self.out then
    self.out.finishing = true
  end
  for _, object in ipairs { self.reader or false, self.writer or false, self.stream or false } do
    if object and object.close then -- halves of a duplex have none
      object:close()
    end
  end
end

function happenings.reset(self)
  if self.stream and self.stream.reset then
    torn(self)
    self.closed = true
    assert(self.stream:reset())
  else
    happenings.close(self)
  end
end

function happenings.finish(self)
  if self.stream and not self.reading then
    torn(self)
    self.reading = true
    if self.out then
      self.out.finishing = true
    end
    local _closed <close> = closer(function()
      self.closed = true
    end)
    self.closed = true
    self.stream:finish(0.001)
  end
end

function happenings.shutdown(self)
  if self.out and self.writer.shutdown then
    self.out.finishing = true
    local ok, err = self.writer:shutdown()
    assert(ok or err.code == "CLOSED" and (self.closed or self.write_closed), err)
  elseif self.out then
    self.out.finishing, self.write_closed = true, true
    self.writer:close()
  end
end

function happenings.shutdown_read(self)
  if self.stream and self.into and not self.into.relayed then
    self.into.deaf = true
    torn(self) -- with both sides shut down, bytes that come are answered with a reset
    assert(self.stream:shutdown "read")
  end
end

-- A whole stream into its halves, or back.
function happenings.split(self)
  if self.stream and self.stream.into_split and chance(70) then
    self.reader, self.writer = self.stream:into_split()
    self.stream, self.owned = nil, true
  elseif self.stream then
    self.reader, self.writer = self.stream:split()
  elseif self.owned and not self.write_closed then
    self.stream = assert(self.reader:reunite(self.writer))
    self.reader, self.writer, self.owned = self.stream, self.stream, nil
  end
end

function happenings.close_writing(self)
  if self.owned and self.out then
    self.out.finishing, self.write_closed = true, true
    self.writer:close()
  end
end

local happening_names <const> = { "split", "split", "split", "split", "split", "split", "shutdown", "shutdown",
  "shutdown_read", "close_writing", "close_writing", "close", "reset", "finish" }

local function happen(self)
  if not self.closed and not self.is_relay then
    local name = happening_names[random(#happening_names)]
    happenings[name](self)
  end
end

-- schedules ---------------------------------------------------------------------------------------------------------

-- Ways with real time in them.
local ways = table.move(schedules.ways, 1, #schedules.ways, 1, {
  function(_, fn) return (tcpnet.timeout(random() * 0.001, fn)) end,
  function(_, fn)
    local key, result = tcpnet.select { function() yields(3) end, fn }
    return key == 2 and result or nil
  end,
  function(_, fn) return tcpnet.coroutine.wrap(fn)() end,
  function(_, fn)
    local task = tcpnet.spawn(fn)
    yields(3)
    task:cancel()
    local ok, result = task:join()
    assert(ok or tcpnet.is_error(result, "CANCELED"), result)
    return ok and result or nil
  end,
})

local function work(world, self, act)
  for _ = 1, random(3, 20) do
    act(world, self, ways)
    yields(2)
  end
end

local function employ(world)
  local self = world.ends[random(#world.ends)]
  local act = self.out and self.into and (chance(50) and one_read or one_write) or self.out and one_write
    or self.into and one_read
  if act and not self.is_relay then
    table.insert(world.workers, tcpnet.spawn(work, world, self, act))
  end
end

-- Reads what is still to come, to the end.
local function drain(self)
  local lane, rounds = self.into, 0
  if self.reader.set_read_timeout then -- that of a read which was cancelled
    self.reader:set_read_timeout(nil)
  end
  while not self.closed do
    local bytes, err = self.reader:read()
    if bytes then
      lane:arrived(bytes)
    elseif err then
      return lane:failed(err, true)
    else
      lane:ended()
      rounds = rounds + 1
      if rounds == 2 then -- once more: it is still the end
        return
      end
    end
  end
end

local function wait_for(world, task, what)
  local ok, err = task:join(PATIENCE)
  if ok or tcpnet.is_error(err, "CANCELED") then
    return
  end
  local lines = { ("%s: %s"):format(what, tostring(err)) }
  for _, lane in ipairs(world.lanes) do
    local segment_missing = lane:missing()
    lines[#lines + 1] = lane:describe(("%s%s%s, carried by %s"):format(lane.finishing and "finishing " or "",
      lane.torn and "torn " or "", segment_missing and "incomplete" or "complete", lane.carried_by))
  end
  for _, self in ipairs(world.ends) do
    lines[#lines + 1] = ("%s: %s, %s, %s"):format(self.name, self.stream, self.reader, self.writer)
  end
  error(table.concat(lines, "\n"), 0)
end

-- Nothing of the schedule may be left: what libuv still has to let go of takes a turn or two.
local function check_ledger(before)
  local now
  for _ = 1, 100 do
    now = tcpnet.metrics()
    if now.tasks == before.tasks and now.sources == before.sources and now.handles == before.handles then
      return
    end
    tcpnet.sleep(0)
  end
  error(("left: %d tasks, %d sources, %d handles"):format(now.tasks - before.tasks, now.sources - before.sources,
    now.handles - before.handles))
end

local function act_at_random(world)
  if chance(50) then
    yields(6)
  else
    tcpnet.sleep(chance(50) and 0 or random() * 0.0005)
  end
  local what = random(10)
  if what <= 3 and #world.workers > 0 then
    world.workers[random(#world.workers)]:cancel()
    employ(world)
  elseif what <= 6 then
    employ(world)
  elseif what <= 8 then
    local self = world.ends[random(#world.ends)]
    table.insert(world.workers, tcpnet.spawn(happen, self))
  elseif what == 9 then
    world.token:cancel()
    world.token = tcpnet.sync.CancellationToken.new()
  else
    collectgarbage "step"
  end
end

local function end_of(world)
  for _, task in ipairs(world.workers) do
    task:cancel()
    wait_for(world, task, "a worker does not end")
  end
  local drains = {}
  for _, self in ipairs(world.ends) do
    if not self.is_relay and not self.closed then
      if self.out and not self.write_closed then
        happenings.shutdown(self)
      end
      if self.into then
        drains[#drains + 1] = tcpnet.spawn(drain, self)
      end
    end
  end
  for _, task in ipairs(drains) do
    wait_for(world, task, "what must arrive does not")
  end
  for _, task in ipairs(world.relays) do
    wait_for(world, task, "a relay does not end")
  end
end

local function run()
  local before = tcpnet.metrics()
  local world = { ends = {}, lanes = {}, relays = {}, workers = {}, token = tcpnet.sync.CancellationToken.new() }
  world.bulk = chance(15) and 50 or 0
  shapes[shape_names[random(#shape_names)]](world)
  for _ = 1, random(2, 5) do
    employ(world)
  end
  for _ = 1, random(0, 20) do
    act_at_random(world)
  end
  end_of(world)
  for _, self in ipairs(world.ends) do
    if not self.closed then
      happenings.close(self)
    end
  end
  check_ledger(before)
end

describe("random schedules of streams", function()
  setup(function()
    listener = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  end)
  teardown(function()
    listener:close()
  end)
  before_each(leaks.note)
  after_each(leaks.check)

  it("lose, double and make up no byte", function()
    schedules.each(1000, run)
  end)
end)
