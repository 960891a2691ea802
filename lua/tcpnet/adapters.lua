-- Readers made of other readers: take and chain. They read ahead only where a kind of read has to, and keep what they
-- read ahead for the next.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local reader = require "tcpnet.reader"
local waiting = require "tcpnet.waiting"

local private = core.private
local adapters = {}

local function index(value, key)
  return value[key]
end

-- can(value, method) → has it that method? An object of the library, or a table that is written like one.
function adapters.can(value, method)
  local kind = private.kind(value)
  if kind then
    return core[kind] ~= nil and core[kind][method] ~= nil
  end
  local ok, found = pcall(index, value, method) -- anything may be a table's __index
  return type(value) == "table" and ok and type(found) == "function"
end

function adapters.check_reader(value, position, name)
  check.expected(adapters.can(value, "read"), "reader", value, position, name)
end

-- Is it a table that a user wrote, which may answer anything and knows of no more arguments than are documented?
function adapters.is_foreign(value)
  return not private.kind(value) and not value.source and not value.sink and not rawget(value, "whole")
end

-- What came of a method that a user wrote, where it is not what was `wanted` → nil, err: io's errors are texts.
local function refused(who, method, wanted, result, err, errno)
  if result == nil and core.is_error(err) then
    return nil, err
  elseif result == nil and type(err) == "string" then
    return nil, private.new_error(math.type(errno) == "integer" and errno > 0 and errno or "EIO", method, nil, err)
  end
  local got = type(result) == "string" and #result .. " bytes" or check.shown(result)
  if result == nil then
    got = "nil and " .. check.shown(err)
  end
  check.misuse(("the %s's %s"):format(who, method), ("%s, or nil and an error, expected, got %s"):format(wanted, got))
end

-- given(method, max, ...) → bytes | nil at the end | nil, err: the results of a user's reader.
function adapters.given(method, max, bytes, err, errno)
  if type(bytes) == "string" and #bytes > 0 and #bytes <= max or bytes == nil and err == nil then
    return bytes
  end
  return refused("reader", method, ("1 to %d bytes, nil at the end"):format(max), bytes, err, errno)
end

-- taken(most, ...) → count | nil, err: the results of a user's write_some of so many bytes.
function adapters.taken(most, count, err, errno)
  if math.type(count) == "integer" and count > 0 and count <= most then
    return count
  end
  return refused("writer", "write_some", ("count from 1 to %d"):format(most), count, err, errno)
end

-- ended(...) → true | nil, err: the results of a shutdown.
function adapters.ended(ok, err, errno)
  if ok then
    return true
  end
  return refused("writer", "shutdown", "true", ok, err, errno)
end

-- Reads from `inner` by that method, into bytes that are not joined yet → how many | nil at the end | nil, err. A
-- user's reader need not ever wait, and whoever calls this may do so until something comes of it.
function adapters.fetch(bytes, inner, method, max)
  local foreign = adapters.is_foreign(inner) -- now: for a call between a read and keep there might be no memory
  if foreign and not adapters.can(inner, method) then
    check.misuse("the reader's " .. method, "function expected, got " .. check.shown(inner[method]))
  end
  if foreign and method == "read" then
    waiting.begin(method)
  end
  bytes:reserve()
  local piece, err, errno = inner[method](inner, max)
  if foreign then
    piece, err = adapters.given(method, max, piece, err, errno)
  end
  if not piece then
    return nil, err
  end
  bytes:keep(piece)
  return #piece
end

local fetch = adapters.fetch

-- What reader.lua asks for, by some(self, method, max): fetches with that method of the readers inside.
local function source_of(some)
  return {
    least = 1,
    fill = function(self, max)
      return some(self, "read", max)
    end,
    try_fill = function(self, max)
      return some(self, "try_read", max)
    end,
  }
end

-- take --------------------------------------------------------------------------------------------

local Take = { __name = "Take" }
Take.__index = Take

local function take_some(self, method, max)
  if self.left == 0 then
    return nil
  end
  local input = self.input
  local count, err = fetch(input, self.inner, method, math.min(max, self.left))
  if not count then
    return nil, err
  end
  self.left = self.left - count
  input:join()
  return true
end

reader.extend(Take, source_of(take_some))

-- limit() → how many bytes it may still give out
function Take:limit()
  check.expected(getmetatable(self) == Take, "Take", self, 1, "limit")
  return self.left + self.input.length
end

-- take(inner, n) → reader of the next n bytes at most; the others stay. Only read_line and read_until read ahead,
-- within the n bytes: buffered() says how much.
function adapters.take(inner, n)
  adapters.check_reader(inner, 1, "take")
  n = check.integer(n, 0, nil, 2, "take", "n")
  return setmetatable(reader.init { inner = inner, left = n }, Take)
end

-- chain -------------------------------------------------------------------------------------------

local Chain = { __name = "Chain" }
Chain.__index = Chain

-- At the end of the first the second follows, at once.
local function follow(self, method, max)
  local input = self.input
  local count, err
  if not self.over then
    count, err = fetch(input, self.first, method, max)
    self.over = not count and not err
  end
  if self.over then
    count, err = fetch(input, self.second, method, max)
  end
  if not count then
    return nil, err
  end
  input:join()
  return true
end

reader.extend(Chain, source_of(follow))

-- chain(first, second) → reader of all of the first and then of the second
function adapters.chain(first, second)
  adapters.check_reader(first, 1, "chain")
  adapters.check_reader(second, 2, "chain")
  return setmetatable(reader.init { first = first, second = second, over = false }, Chain)
end

return adapters
