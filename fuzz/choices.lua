-- Choices for whoever tries things at random: from bytes, as a fuzzer gives them, or from a seed, by the same methods.
local Choices = {}
Choices.__index = Choices

-- of(bytes) → choices; once the bytes are used up every choice is the first one.
function Choices.of(bytes)
  local at = 0
  return setmetatable({
    byte = function()
      at = at + 1
      return bytes:byte(at) or 0
    end,
    more = function()
      return at < #bytes
    end,
    rest = function()
      local rest = bytes:sub(at + 1)
      at = #bytes
      return rest
    end,
  }, Choices)
end

-- random(seed) → choices without end, the same ones for the same seed (splitmix64).
function Choices.random(seed)
  local state = seed
  return setmetatable({
    byte = function()
      state = state + 0x9e3779b97f4a7c15
      local z = state
      z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
      z = (z ~ (z >> 27)) * 0x94d049bb133111eb
      return (z ~ (z >> 31)) & 0xff
    end,
    more = function()
      return true
    end,
  }, Choices)
end

-- → integer from least to most, at most 2^31 apart
function Choices:integer(least, most)
  local span, value, size = most - least + 1, 0, 1
  while size < span do
    value, size = value << 8 | self.byte(), size << 8
  end
  return least + value % span
end

function Choices:pick(list)
  return list[self:integer(1, #list)]
end

-- One in `n` times.
function Choices:once_in(n)
  return self:integer(1, n) == n
end

-- count bytes, of a small alphabet where `letters` gives one
function Choices:bytes(count, letters)
  local list = {}
  for i = 1, count do
    local byte = self.byte()
    list[i] = letters and letters:byte(byte % #letters + 1) or byte
  end
  local parts = {}
  for i = 1, count, 100 do -- string.char takes as many arguments as the stack has room for
    parts[#parts + 1] = string.char(table.unpack(list, i, math.min(i + 99, count)))
  end
  return table.concat(parts)
end

return Choices
