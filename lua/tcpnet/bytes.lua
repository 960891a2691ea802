-- Bytes: what was read and not yet given out, as the pieces in which it came, small ones joined. The rest is joined
-- only for a result that spans several, so that neither many small pieces nor a long line cost more than their length.
-- Whatever makes a value for Lua may run a finalizer, or fail: what changes these bytes makes none on the way. So more
-- may be appended at any time, but only one at a time may take.
local SMALL = 4096

local Bytes = {}
Bytes.__index = Bytes

function Bytes.new()
  return setmetatable({ first = 1, last = 0, skip = 0, length = 0 }, Bytes)
end

-- The last piece, and the one that it becomes with these bytes; nil where they become one of their own. For `put`.
function Bytes:seam(bytes)
  local last = self[self.last]
  if last and self.last > self.first and #last + #bytes <= SMALL then
    return last, last .. bytes
  end
end

-- Appends. The last piece may be another by now.
function Bytes:put(bytes, last, joined)
  if joined and self.last > self.first and self[self.last] == last then
    self[self.last] = joined
  else
    self[self.last + 1] = bytes
    self.last = self.last + 1
  end
  self.length = self.length + #bytes
end

-- All of it, or, where there is no memory, nothing.
function Bytes:append(bytes)
  if #bytes > 0 then
    self:put(bytes, self:seam(bytes))
  end
end

-- What was taken from elsewhere is nowhere else: a place for it is made before, where the next piece needs no memory,
-- and it is joined to the others when it is safe there. Only whoever may take does so.
function Bytes:reserve()
  local place = self.last + 1
  self[place] = self[place] or false
end

function Bytes:keep(bytes)
  if #bytes > 0 then
    local place = self.last + 1
    self[place] = bytes
    self.last = place
    self.length = self.length + #bytes
  end
end

function Bytes:join()
  local last = self.last
  local piece, before = self[last], self[last - 1]
  if last - 1 > self.first and #before + #piece <= SMALL then
    local joined = before .. piece
    if self.last == last and last - 1 > self.first and self[last] == piece and self[last - 1] == before then
      self[last - 1] = joined
      self[last] = false
      self.last = last - 1
    end
  end
end

-- The bytes from the first to the last of these positions, which must be there. `first` and `at`: a piece that does not
-- begin behind them, and what lies before it.
function Bytes:sub(from, to, first, at)
  local pieces = {}
  at = at or 0
  for i = first or self.first, self.last do
    local skip = i == self.first and self.skip or 0
    local size = #self[i] - skip
    if at + size >= from then
      pieces[#pieces + 1] = self[i]:sub(skip + math.max(from - at, 1), skip + math.min(to - at, size))
    end
    at = at + size
    if at >= to then
      break
    end
  end
  return #pieces == 1 and pieces[1] or table.concat(pieces)
end

function Bytes:consume(count)
  self.length = self.length - count
  while count > 0 do
    local piece = self[self.first]
    local size = #piece - self.skip
    if count < size then
      self.skip = self.skip + count
      return
    end
    count = count - size
    self[self.first] = nil
    self.first, self.skip = self.first + 1, 0
  end
  if self.length == 0 then
    self.first, self.last = 1, 0
  end
end

-- The first bytes, or all where there are fewer; they are gone then.
function Bytes:take(count)
  count = math.min(count, self.length)
  local bytes = self:sub(1, count)
  self:consume(count)
  return bytes
end

-- All of them as one piece → a string, and where in it they begin. There must be some.
function Bytes:joined()
  while self.first < self.last do
    local count = self.length
    local whole = self:sub(1, count)
    if self.length == count then -- else a finalizer appended
      self[self.last] = whole
      for i = self.first, self.last - 1 do
        self[i] = nil
      end
      self.first, self.skip = self.last, 0
    end
  end
  return self[self.first], self.skip + 1
end

function Bytes:clear()
  self:consume(self.length)
end

-- The piece that has the byte behind the first `count`, or one before it, and what lies before that piece; `i` and `at`
-- are such a piece further back. Where nothing comes before, that is known without a search.
function Bytes:before(count, i, at)
  if count == 0 then
    return self.first, 0
  end
  while i > self.first and at > count do
    i = i - 1
    at = at - (#self[i] - (i == self.first and self.skip or 0))
  end
  return i, at
end

-- Where the first match of a pattern of `width` bytes begins, or nil. `known`: so many bytes hold no beginning of one.
-- `limit`: what ends behind so many bytes need not be found.
function Bytes:find(pattern, width, known, plain, limit)
  local from, at = self:before(known, self.last + 1, self.length)
  for i = from, self.last do
    local piece, skip = self[i], i == self.first and self.skip or 0
    local size = #piece - skip
    if at + size > known then
      if width > 1 and at > 0 then -- one that begins before this piece
        local lead = math.min(at, width - 1)
        local seam = self:sub(at - lead + 1, math.min(at + width - 1, self.length), self:before(at - lead, i, at))
        local hit = seam:find(pattern, 1, plain)
        if hit and hit <= lead then
          return at - lead + hit
        end
      end
      local hit = piece:find(pattern, skip + math.max(known - at, 0) + 1, plain)
      if hit then
        return at + hit - skip
      end
    end
    at = at + size
    if limit and at >= limit then
      break
    end
  end
end

return Bytes
