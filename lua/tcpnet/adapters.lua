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

local function keep(self, bytes, err)
  if not bytes then
    return nil, err
  end
  self.input:append(bytes)
  return true
end

-- take --------------------------------------------------------------------------------------------

local Take = { __name = "Take" }
Take.__index = Take

local function taken(self, bytes, err)
  self.left = self.left - (bytes and #bytes or 0)
  return keep(self, bytes, err)
end

local take_source = { least = 1 }

function take_source.fill(self, max)
  if self.left == 0 then
    return nil
  end
  return taken(self, self.inner:read(math.min(max, self.left)))
end

function take_source.try_fill(self, max)
  if self.left == 0 then
    return nil
  end
  return taken(self, self.inner:try_read(math.min(max, self.left)))
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
local function follow(self, read, max)
  if not self.over then
    local bytes, err = self.first[read](self.first, max)
    if bytes or err then
      return keep(self, bytes, err)
    end
    self.over = true
  end
  return keep(self, self.second[read](self.second, max))
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
