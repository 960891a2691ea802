-- Readers made of other readers: take and chain. They read ahead only where a kind of read has to, and keep what they
-- read ahead for the next.
local core = require "tcpnet.core"
local check = require "tcpnet.check"
local reader = require "tcpnet.reader"

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
  check.that(adapters.can(value, "read"), position, name,
    ("reader expected, got %s"):format(private.kind(value) or type(value)))
end

-- Reads from `inner` by that method, into bytes that are not joined yet → how many | nil at the end | nil, err
function adapters.fetch(bytes, inner, method, max)
  bytes:reserve()
  local piece, err = inner[method](inner, max)
  if not piece then
    return nil, err
  end
  bytes:keep(piece)
  return #piece
end

local fetch = adapters.fetch

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

local take_source = { least = 1 }

function take_source.fill(self, max)
  return take_some(self, "read", max)
end

function take_source.try_fill(self, max)
  return take_some(self, "try_read", max)
end

reader.extend(Take, take_source)

-- limit() → how many bytes it may still give out
function Take:limit()
  return self.left + self.input.length
end

-- take(inner, n) → reader of the next n bytes at most; the others stay. Only read_line and read_until read ahead,
-- within the n bytes: buffered() says how much.
function adapters.take(inner, n)
  adapters.check_reader(inner, 1, "take")
  check.that(math.type(n) == "integer" and n >= 0, 2, "take",
    ("n: integer from 0 expected, got %s"):format(tostring(n)))
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

local chain_source = { least = 1 }

function chain_source.fill(self, max)
  return follow(self, "read", max)
end

function chain_source.try_fill(self, max)
  return follow(self, "try_read", max)
end

reader.extend(Chain, chain_source)

-- chain(first, second) → reader of all of the first and then of the second
function adapters.chain(first, second)
  adapters.check_reader(first, 1, "chain")
  adapters.check_reader(second, 2, "chain")
  return setmetatable(reader.init { first = first, second = second, over = false }, Chain)
end

return adapters
