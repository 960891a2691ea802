-- copy where one side at least is written in Lua. What the writer did not take stays readable at the reader: nothing is
-- taken from it before the writer has taken the same, or surely will, without a wait in between.
local core = require "tcpnet.core"
local adapters = require "tcpnet.adapters"
local check = require "tcpnet.check"
local reader = require "tcpnet.reader"
local waiting = require "tcpnet.waiting"
local writer = require "tcpnet.writer"

local private = core.private
local CHUNK = 65536

local generic = {}

-- The stream that a half is of stands for it.
local function whole(value)
  return type(value) == "table" and rawget(value, "whole") or value
end

-- Has the table the mechanism of reader.lua, or of writer.lua?
local function is_own(value, field)
  return type(value) == "table" and value[field] ~= nil
end

local function check_party(value, position, expected, ...)
  local lacking = {}
  for _, method in ipairs { ... } do
    lacking[#lacking + 1] = not adapters.can(value, method) and method or nil
  end
  check.that(#lacking == 0, position, "copy", ("%s expected, got %s%s"):format(expected, check.shown(value),
    type(value) == "table" and " without " .. table.concat(lacking, " and ") or ""))
end

function generic.check(from, to, max)
  check_party(from, 1, "reader", "try_read", not private.kind(from) and "peek" or nil)
  check_party(to, 2, "writer", "write_some")
  from, to = whole(from), whole(to)
  check.that(adapters.can(from, "peek") or private.kind(from) and (is_own(to, "sink") or private.kind(to)), 1, "copy",
    "a reader that has peek expected")
  check.that(not (is_own(from, "source") and from.claim.holder), 1, "copy", "another task is reading from the reader")
  return check.optional_integer(max, 0, math.maxinteger, 3, "copy", "max")
end

-- Takes from the reader what it has shown → true | nil, err. Into `waste`, where it can: for a string there might be no
-- memory, and what the writer has would come again.
local function drop(from, count, waste)
  while count > 0 do
    local taken, err
    if waste then
      taken, err = from:try_read_into(waste:clear(), count)
    else
      taken, err = adapters.given("try_read", count, from:try_read(count))
      if not taken and not err then
        check.misuse("the reader's try_read", "what its peek has shown expected, got the end")
      end
      taken = taken and #taken
    end
    if not taken then
      return nil, err
    end
    count = count - taken
  end
  return true
end

-- A step to any writer: looks, writes, and takes what was written.
local function step_by_peek(from, to, most, waste)
  local own = is_own(from, "source")
  local bytes, err, errno = from:peek(most)
  if adapters.is_foreign(from) then
    bytes, err = adapters.given("peek", most, bytes, err, errno)
  end
  if not bytes then
    return nil, err
  end
  local foreign = adapters.is_foreign(to)
  local count
  count, err, errno = to:write_some(bytes)
  if foreign then
    count, err = adapters.taken(#bytes, count, err, errno)
  end
  if not count then
    return nil, err
  end
  local ok
  if own then
    from.owed = count -- before any call: there might be no memory for one
    ok, err = reader.pay(from, "copy")
  else
    ok, err = drop(from, count, waste)
  end
  if not ok then
    return nil, err
  end
  return count
end

-- Waits until there is something to read, taking nothing → true | nil at the end | nil, err. A pipe has no peek, but
-- refuses to read more than nothing to its end once there is something. What can only wait by reading ahead reads all
-- that may be copied: a byte at a time would be a step for each.
local function await_bytes(from, most)
  if from.peek then
    local reads_ahead = is_own(from, "source") and not from.source.await
    local size = reads_ahead and most or 1
    local bytes, err = adapters.given("peek", size, from:peek(size))
    return bytes and true, err
  end
  local _, err = from:read_to_end(0)
  if err and err.code == "LIMIT" then
    return true
  end
  return nil, err
end

-- A step to a writer that tells its room: reads as much as it will take.
local function step_by_room(from, to, most)
  local foreign = adapters.is_foreign(from)
  while true do
    local ok, err = await_bytes(from, most)
    if not ok then
      return nil, err
    end
    local room
    room, err = to.sink.room(to, "copy", waiting.deadline(to.write_seconds))
    if not room then
      return nil, err
    end
    local bytes, errno
    to.sink.prepare(to)
    local size = math.min(room, most)
    bytes, err, errno = from:try_read(size)
    if foreign then
      bytes, err = adapters.given("try_read", size, bytes, err, errno)
    end
    if bytes then
      return to.sink.put(to, bytes, "copy")
    elseif not (err and err.code == "EAGAIN") then -- else somebody took it while this waited for room
      return nil, err
    end
  end
end

local function failure(err)
  return waiting.renamed("copy", err)
end

-- → true | nil, err; what has been copied is in `progress` at any time.
local function move_all(from, to, max, progress)
  local step, turn, waste = step_by_peek, nil, nil
  if is_own(to, "sink") then
    local err
    turn, err = writer.hold(to, "copy", waiting.deadline(to.write_seconds))
    if not turn then
      return nil, err
    end
    step = step_by_room
  elseif private.kind(from) then
    waste = core.Buffer.new(CHUNK)
  end
  local _turn <close> = turn
  local _held <close> = is_own(from, "source") and reader.hold(from) or nil
  local foreign = adapters.is_foreign(from)
  while progress.copied < max do
    if foreign then
      waiting.begin "copy" -- it need not ever wait
    end
    local count, err = step(from, to, math.min(max - progress.copied, CHUNK), waste)
    if count then
      progress.copied = progress.copied + count
    elseif err then
      return nil, failure(err)
    else
      break
    end
  end
  return true
end

-- A branch that ends with the error of a party that is closed; nil where nothing tells.
local function closing_of(party)
  local await_close = private.kind(party) and private.await_close
  if is_own(party, "sink") then
    await_close = party.sink.await_close
  end
  return await_close and function()
    local _, err = await_close(party)
    return nil, failure(err)
  end
end

-- copy(reader, writer, max) ⏳ → bytes | nil, err, bytes. While it waits for the one, nothing there tells that the other
-- is closed, so other tasks wait for that.
function generic.copy(from, to, max)
  from, to = whole(from), whole(to)
  waiting.begin("copy")
  if private.kind(from) and adapters.can(from, "try_peek") then
    from:try_peek(1) -- where another task reads, that is raised where the caller is
  end
  local progress = { copied = 0 }
  local branches = { reader = closing_of(from), writer = closing_of(to) }
  function branches.moved()
    return move_all(from, to, max or math.maxinteger, progress)
  end
  local key, ok, err = core.select(branches)
  if not key then -- it was refused the wait
    return nil, failure(ok), progress.copied
  elseif not ok then
    return nil, private.locate(err), progress.copied
  end
  return progress.copied
end

return generic
