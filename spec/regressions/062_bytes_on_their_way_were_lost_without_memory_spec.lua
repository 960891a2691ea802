-- take and chain joined what they had just read to what they had, before they kept it; a frame was taken off its bytes
-- before it was made; copy made strings between its reader and its writer. Where Lua had no memory for that, bytes were
-- lost, or came twice, or two frames were one.
local program = require "spec.support.program"

-- every(make, call, check): call(what make made, table) with each allocation failing, and all behind it; then check
-- the same with how it failed, or true.
local preamble = [[
  local tcpnet = require "tcpnet"
  local attempts = 0
  local function every(make, call, check)
    local nth, hits = 0
    repeat
      nth = nth + 1
      local subject, results, ok = make(), { false, false }
      ok, hits = attempt(function() call(subject, results) end, nth, true)
      time_limit(20)
      check(subject, results, tostring(ok) .. ", allocation " .. nth)
    until hits == 0
    attempts = attempts + nth
  end
]]

local function holds(what, script)
  it(what, function()
    local output = program.in_host(preamble .. script .. 'print(attempts > 50 and "fine")')
    if not output then
      return pending "no C compiler or no lua5.4 for it"
    end
    assert.equal("fine\n", (output:gsub("tcpnet: [^\n]*not enough memory\n", ""))) -- less the reports of its tasks
  end)
end

-- Small pieces, which are joined, and long ones, which are not.
local reading = [[
  local PIECES = { "one\n", "two\n", "three\n", ("x"):rep(3000), ("y"):rep(3000) .. "\n", "z,\n" }
  local all = table.concat(PIECES)
  local function in_memory()
    local stream, peer = tcpnet.duplex(#all)
    for _, piece in ipairs(PIECES) do
      assert(peer:write(piece))
    end
    peer:shutdown()
    return stream
  end
  local function in_the_kernel()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    assert(peer:write(all))
    peer:close()
    return stream
  end
  local function in_lua()
    local at = 0
    local function read(_, max)
      local bytes = all:sub(at + 1, at + math.min(max, at < 15 and 3 or 1000))
      at = at + #bytes
      return #bytes > 0 and bytes or nil
    end
    return { read = read, try_read = read }
  end
  local function take(make)
    return function() return tcpnet.io.take(make(), #all) end
  end
  local function chain(make)
    return function()
      local inner = make()
      return tcpnet.io.chain(tcpnet.io.take(inner, 5), inner)
    end
  end
  local calls = {
    read = function(reader, results) results[1] = reader:read(6) end,
    try_read = function(reader, results) results[1] = reader:try_read(6) end,
    read_exact = function(reader, results) results[1] = reader:read_exact(5000) end,
    read_line = function(reader, results) results[2] = reader:read_line() end,
    read_until = function(reader, results) results[1] = reader:read_until "," end,
    read_to_end = function(reader, results) results[1] = reader:read_to_end() end,
    peek = function(reader) reader:peek(100) end,
    try_peek = function(reader) reader:try_peek(100) end,
    readable = function(reader) reader:readable() end,
  }
  local function walk(make)
    for name, call in pairs(calls) do
      every(make, call, function(reader, results, how)
        local came = { results[1] or results[2] and results[2] .. "\n" or "" }
        for bytes in reader:chunks() do
          came[#came + 1] = bytes
        end
        came = table.concat(came)
        assert(came == all, ("%s: %d of %d bytes, %s"):format(name, #came, #all, how))
      end)
    end
  end
]]

describe("bytes for which Lua has no memory stay readable, of", function()
  for kind, make in pairs {
    ["a stream in memory"] = "in_memory",
    ["a half"] = "function() return (in_memory():split()) end",
    ["take, of a stream in memory"] = "take(in_memory)",
    ["take, of a stream of the system"] = "take(in_the_kernel)",
    ["take, of a reader that is a table"] = "take(in_lua)",
    ["take, of a take"] = "take(take(in_memory))",
    ["chain, of streams in memory"] = "chain(in_memory)",
    ["chain, of streams of the system"] = "chain(in_the_kernel)",
    ["chain, of readers that are tables"] = "chain(in_lua)",
  } do
    holds(kind, reading .. ("walk(%s)\n"):format(make))
  end
end)

describe("copy", function()
  local copying = reading .. [[
    local function walk(to)
      for from, make in pairs {
        memory = in_memory, kernel = in_the_kernel, take = take(in_the_kernel), chain = chain(in_memory),
      } do
        local writer, peer
        every(function()
          writer, peer = to()
          return make()
        end, function(reader)
          tcpnet.copy(reader, writer)
        end, function(reader, _, how)
          assert(writer:write "|")
          writer:shutdown()
          local copied = peer:read_to_end():match "^(.*)|$"
          local rest = reader:read_to_end()
          assert(copied .. rest == all, ("%s: %d and %d of %d bytes, %s"):format(from, #copied, #rest, #all, how))
          writer:close()
          peer:close()
        end)
      end
    end
  ]]

  for kind, to in pairs {
    ["a stream in memory"] = "function() return tcpnet.duplex(100000) end",
    ["a stream of the system"] = "tcpnet.UnixStream.pair",
    ["a writer that is a table"] = [[function()
      local stream, peer = tcpnet.duplex(100000)
      local table = { shutdown = function() stream:shutdown() end, close = function() stream:close() end }
      for _, name in ipairs { "write", "write_some" } do
        table[name] = function(_, ...) return stream[name](stream, ...) end
      end
      return table, peer
    end]],
  } do
    holds("without memory gives every byte to one side, to " .. kind, copying .. ("walk(%s)\n"):format(to))
  end
end)

describe("frames for which Lua has no memory", function()
  holds("come with the next call, each once and whole", [[
    local long = ("x"):rep(60)
    local lines, length_delimited = tcpnet.codec.lines, tcpnet.codec.length_delimited
    for _, case in ipairs {
      { lines(), "one\r\ntwo\n" .. long .. "\r\nlast\r", "one,two," .. long .. ",last" },
      { lines { max_length = 5 }, "one\n" .. long .. "\ntwo\n", "one,LIMIT,two" },
      { tcpnet.codec.any_delimiter(), "one,two," .. long .. ",x;", "one,two," .. long .. ",x" },
      { length_delimited(), "\0\0\0\3abc\0\0\0\60" .. long .. "\0\0\0\0\0\0\0\1z", "abc," .. long .. ",,z" },
      { length_delimited { max_frame_length = 5 }, "\0\0\0\3abc\0\0\0\60" .. long .. "\0\0\0\1z", "abc,LIMIT,z" },
    } do
      local frames
      local function note(framed, frame, err)
        frames[#frames + 1] = frame or err and err.code or nil
        if err then
          framed:skip()
        end
        return frame or err
      end
      for before = 0, 2 do
        every(function()
          local at, text = 1, case[2]
          local framed = case[1]:framed_read {
            read = function()
              local bytes = text:sub(at, at + 6)
              at = at + #bytes
              return #bytes > 0 and bytes or nil
            end,
          }
          frames = {}
          for _ = 1, before do
            note(framed, framed:next())
          end
          return framed
        end, function(framed, results)
          results[1], results[2] = framed:next()
        end, function(framed, results, how)
          note(framed, results[1] or nil, results[2] or nil)
          while #frames < 9 and note(framed, framed:next()) do end
          local came = table.concat(frames, ",")
          assert(came == case[3], ("%q: %q, %s"):format(case[3], came, how))
        end)
      end
    end
  ]])
end)
