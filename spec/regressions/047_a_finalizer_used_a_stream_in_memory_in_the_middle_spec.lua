-- A duplex, a Take and a Chain looked at their bytes, made strings of them, and then took them off. A finalizer that
-- Lua called in between, and that read or wrote there, got the same bytes, or none were right any more; where it
-- closed the stream, the call failed with an error of Lua's.
local collect = require "spec.support.collect"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local PIECES = { "one\n", "two\n", "three\n" }

local readers = {
  duplex = function(stream) return stream end,
  ["a half"] = function(stream) return (stream:split()) end,
  take = function(stream) return tcpnet.io.take(stream, 1000) end,
  chain = function(stream) return tcpnet.io.chain(tcpnet.io.take(stream, 5), stream) end,
}

local function into_buffer(method, list)
  return function(reader)
    local buffer = tcpnet.Buffer.new(6)
    local count, err = reader[method](reader, list and { buffer } or buffer)
    return count and tostring(buffer), err
  end
end

local reads = {
  read = function(reader) return reader:read(6) end,
  read_exact = function(reader) return reader:read_exact(6) end,
  read_line = function(reader)
    local line, err = reader:read_line()
    return line and line .. "\n", err
  end,
  read_until = function(reader) return reader:read_until "o\n" end,
  try_read = function(reader) return reader:try_read(6) end,
  read_into = into_buffer "read_into",
  try_read_into = into_buffer "try_read_into",
  try_read_vectored = into_buffer("try_read_vectored", true),
}

local function rest_of(reader)
  local parts = {}
  repeat
    local part = reader:try_read()
    parts[#parts + 1] = part
  until not part
  return table.concat(parts)
end

-- Written in pieces, so that a read has to join some.
local function filled(make)
  local stream, peer = tcpnet.duplex(100)
  for _, piece in ipairs(PIECES) do
    assert(peer:write(piece))
  end
  return make(stream), peer, stream
end

local all = table.concat(PIECES)

describe("a finalizer in the middle of a read of a stream in memory", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for kind, make in pairs(readers) do
    for name, read in pairs(reads) do
      it(("gets none of its bytes: %s of %s"):format(name, kind), tcp.in_task(function()
        for n in collect.each_time() do
          local reader, peer = filled(make)
          local inner, err
          local outer = collect.during_nth(n, function() inner, err = reader:try_read(2) end, read, reader)
          assert.is_true(inner ~= nil or err == nil or err.code == "EAGAIN")
          peer:shutdown()
          local rest = rest_of(reader)
          local first, second = (inner or "") .. outer .. rest, outer .. (inner or "") .. rest
          assert.is_true(first == all or second == all, ("%d: %s, %s, %s"):format(n, inner, outer, rest))
        end
      end))

      it(("may write to it: %s of %s"):format(name, kind), tcp.in_task(function()
        for n in collect.each_time() do
          local reader, peer = filled(make)
          local wrote = false
          local outer = collect.during_nth(n, function() wrote = peer:try_write "four\n" == 5 end, read, reader)
          peer:shutdown()
          assert.equal(all .. (wrote and "four\n" or ""), outer .. rest_of(reader))
        end
      end))

      it(("may close it: %s of %s"):format(name, kind), tcp.in_task(function()
        for n in collect.each_time() do
          local reader, _, stream = filled(make)
          local outer, err = collect.during_nth(n, function() stream:close() end, read, reader)
          if outer then
            assert.equal(outer, all:sub(1, #outer))
            assert.is_true(outer ~= "")
          else
            assert.equal("CLOSED", err.code)
          end
        end
      end))
    end
  end
end)

describe("a finalizer in the middle of a write to a stream in memory", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for _, method in ipairs { "write", "try_write", "write_some" } do
    it("may read what was written, write, and close: " .. method, tcp.in_task(function()
      for n in collect.each_time() do
        for _, act in ipairs { "read", "read a part", "write", "close", "shutdown", "close the peer" } do
          local reader, peer, stream = filled(readers.duplex)
          local inner, between
          local closed = false
          local written = collect.during_nth(n, function()
            if act == "close" or act == "shutdown" then
              peer[act](peer)
              inner = rest_of(reader)
            elseif act == "close the peer" then
              closed = stream:close() == nil
            elseif act == "write" then
              between = peer:try_write "between\n" and "between\n"
            else
              inner = reader:try_read(act == "read" and 100 or 5)
            end
          end, peer[method], peer, "four\n")
          local rest = rest_of(reader)
          local text = ("%d, %s: %s, %s"):format(n, act, inner, rest)
          if closed then
            assert.equal("", rest)
          elseif act == "close" or act == "shutdown" then -- nothing comes behind the end
            assert.is_true(rest == (inner and "" or all .. (written and "four\n" or "")), text)
            assert.equal(inner and all .. (written and "four\n" or "") or nil, inner, text)
          else
            local came = (inner or "") .. rest
            assert.equal(5, written)
            local more = between or ""
            assert.is_true(came == all .. "four\n" .. more or came == all .. more .. "four\n", text)
          end
        end
      end
    end))
  end
end)
