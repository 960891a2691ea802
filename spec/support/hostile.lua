-- Peers that mean no good, a great many of each kind, and others that are to be served meanwhile. One row for each
-- kind: what one such peer does until the time is up. spec/hostile_spec.lua has few of them for a moment, ./dev load
-- many for long.
--   local server <close> = hostile.serve()
--   local report = hostile.attack(server, "never reads", 50, 0.5)
-- A report: served, worst (seconds of the slowest of those), errors (of the others, texts); did (what all the hostile
-- peers did), before, during, after (states of the server).
local process = require "spec.support.process"
local tcpnet = require "tcpnet"

local hostile = {}

local SERVER = "spec/load/server.lua"
local OTHERS = 4
local ROUNDS = 40 -- of the others, at least: what an attack lasts for, however busy the machine is
local PATIENCE = 40 -- seconds; whoever is not served then is not served at all

-- lasts(seconds, report, name, enough): that long, and until so much was done.
local function lasts(seconds, report, name, enough)
  local began = tcpnet.now()
  repeat
    tcpnet.sleep(seconds < 0.1 and 0.01 or 0.1)
    local time = tcpnet.now() - began
  until time >= seconds and report[name] >= enough or time > PATIENCE or #report.errors > 0
end

-- serve([seconds][, descriptors]) → child with spec/load/server.lua; one call of it takes so many seconds at most.
function hostile.serve(seconds, descriptors)
  local command = ('ulimit -S -n %s; exec "$@"'):format(descriptors or '"$(ulimit -H -n)"')
  local child = process.start("env", "LD_PRELOAD=" .. (os.getenv "LD_PRELOAD" or ""), "sh", "-c", command, "sh",
    process.interpreter, SERVER, seconds or 10)
  child.port = math.tointeger(tonumber(child:expect "^listening on 127%.0%.0%.1:(%d+)$"))
  return child
end

local function connect(port, opts)
  return tcpnet.TcpStream.connect("127.0.0.1", port, opts)
end

-- state(port) → { memory = KiB, cpu = seconds, polls =, connections =, exhausted = } of a server.
function hostile.state(port)
  local stream <close> = assert(connect(port)):set_timeout(30)
  assert(stream:write "state\n")
  local state, names = {}, { "memory", "cpu", "polls", "connections", "exhausted" }
  for number in assert(stream:read_line()):gmatch "%S+" do
    state[table.remove(names, 1)] = tonumber(number)
  end
  state.connections = state.connections - 1
  return state
end

-- What each kind does ------------------------------------------------------------------------------

-- Each is the life of one connection, fn(port, going, count, pause, i), over once not going(), or when the server has
-- had enough; then there is another one. count() counts what it did; pause() makes them all together do ten thousand
-- things a second.
local kinds = {}
hostile.kinds = kinds

-- The server may end it, but not say anything wrong.
local function is_over(answer, err)
  assert(answer == nil and (err == nil or err:is("ECONNRESET", "EPIPE")), answer or err)
  return true
end

kinds["writes a byte at a time"] = function(port, going, count, pause, i)
  local stream <close> = assert(connect(port, { nodelay = true }))
  local line = ("slow peer %d"):format(i)
  while going() do
    for byte in ("echo " .. line .. "\n"):gmatch "[^\0]" do
      local sent, err = stream:write(byte)
      if not sent and is_over(nil, err) then
        return
      end
      pause()
    end
    local answer, err = stream:read_line()
    if answer ~= line and is_over(answer, err) then
      return
    end
    count()
  end
end

kinds["reads a byte at a time"] = function(port, going, count, pause)
  local stream <close> = assert(connect(port, { recv_buffer_size = 2048 }))
  assert(stream:write "give 1\n")
  local expected = 0
  while going() do
    local byte, err = stream:read(1)
    if not byte and is_over(byte, err) then
      break
    end
    assert(byte == ("0123456789abcdef"):sub(expected % 16 + 1, expected % 16 + 1), "a byte was lost")
    expected = expected + 1
    count()
    pause()
  end
end

kinds["never reads"] = function(port, going, count, pause)
  local stream <close> = assert(connect(port))
  stream:set_write_timeout(0.05)
  local much = ("give 1\n"):rep(1000)
  while going() do
    local sent, err = stream:write(much)
    if sent then
      count()
    elseif err.code ~= "TIMEOUT" and is_over(nil, err) then
      break
    end
    pause()
  end
end

kinds["resets"] = function(port, _, count, pause, i)
  local stages = { "", "ec", "echo x\n", "give 1\n", "take 100000\nxxx", ("x"):rep(100) }
  local stream <close> = assert(connect(port))
  local stage = math.random(#stages)
  assert(stream:write(stages[stage]))
  if (stage + i) % 2 == 0 then
    pause()
  end
  assert(stream:reset())
  count()
  pause()
end

kinds["sends an endless line"] = function(port, _, count, pause)
  local piece = ("endless "):rep(128)
  local stream <close> = assert(connect(port))
  local err
  repeat
    tcpnet.yield()
    err = select(2, stream:write(piece))
  until err
  is_over(nil, err)
  is_over(stream:read())
  count()
  pause()
end

kinds["announces much and sends little"] = function(port, going, count, pause)
  local stream <close> = assert(connect(port))
  local sent, err = stream:write "take 1000000000\n"
  while sent and going() do
    count()
    pause()
    sent, err = stream:write "little"
  end
  is_over(nil, err)
end

kinds["says nothing"] = function(port, _, count)
  local stream <close> = assert(connect(port))
  local answer, err = stream:set_read_timeout(0.2):read()
  assert(answer == nil and (not err or err:is("TIMEOUT", "ECONNRESET")), answer or err)
  count()
end

kinds["asks for much at once"] = function(port, going, count, pause)
  local stream <close> = assert(connect(port))
  local many = {}
  for k = 1, 200 do
    many[k] = "echo " .. k
  end
  while going() do
    assert(stream:write(table.concat(many, "\n"), "\n"))
    for k = 1, 200 do
      assert(stream:read_line() == tostring(k), "an answer out of order")
    end
    count()
    pause()
  end
end

-- Those who are to be served meanwhile -------------------------------------------------------------

-- with_others(port, keep, report, fn): fn() while others are served, in a process of their own, so that how busy this
-- one is does not count.
local function with_others(port, keep, report, fn)
  local child <close> = assert(tcpnet.process.spawn { process.interpreter, "spec/load/other.lua", tostring(port),
    tostring(OTHERS), keep and "keep" or "new", stdin = "pipe", stdout = "pipe" })
  local listening = tcpnet.spawn(function()
    for line in child.stdout:lines() do
      local served, worst, failure = line:match "^(%d+) (%S+) (.*)$"
      report.served, report.worst = tonumber(served), tonumber(worst)
      report.errors[1] = failure ~= "" and failure or nil
    end
  end)
  fn()
  child.stdin:close()
  assert(listening:join())
end

-- attack(server, kind, peers, seconds) → report
function hostile.attack(server, kind, peers, seconds)
  local port, act = server.port, assert(kinds[kind], kind)
  local report = { served = 0, worst = 0, errors = {}, did = 0, peers = peers, seconds = seconds }
  tcpnet.run(function()
    report.before = hostile.state(port)
    local stop = false
    local function going() return not stop end
    local function count() report.did = report.did + 1 end
    local function pause() tcpnet.sleep(peers / 10000) end
    with_others(port, false, report, function()
      tcpnet.scope(function(scope)
        for i = 1, peers do
          scope:spawn(function()
            repeat
              act(port, going, count, pause, i)
            until stop
          end)
        end
        lasts(seconds, report, "did", peers / 2)
        lasts(0, report, "served", ROUNDS)
        report.during = hostile.state(port)
        stop = true
      end)
    end)
    report.after = hostile.state(port)
  end)
  return report
end

-- Out of descriptors -------------------------------------------------------------------------------

-- exhaust(descriptors, peers, seconds) → report, of a server with so few descriptors and so many that want to connect;
-- `polls`, `cpu` and `exhausted` of the server, in those `seconds`; `late`: how many of the crowd were served once
-- there was room.
function hostile.exhaust(descriptors, peers, seconds)
  local server <close> = hostile.serve(30, descriptors)
  local port = server.port
  local report = { served = 0, worst = 0, errors = {}, late = 0, peers = peers }
  tcpnet.run(function()
    local watch <close> = assert(connect(port)):set_timeout(60)
    local function state()
      assert(watch:write "state\n")
      local _, cpu, polls, _, exhausted = assert(watch:read_line()):match "(%S+) (%S+) (%S+) (%S+) (%S+)"
      return tonumber(cpu), tonumber(polls), tonumber(exhausted)
    end
    state()
    local crowd = {}
    with_others(port, true, report, function()
      lasts(0, report, "served", OTHERS)
      for i = 1, peers do
        crowd[i] = assert(connect(port, { timeout = 60 })):set_timeout(60)
      end
      local cpu, polls, exhausted
      repeat
        tcpnet.sleep(0.01)
        cpu, polls, exhausted = state()
      until exhausted > 0
      local served, began = report.served, tcpnet.now()
      lasts(seconds, report, "served", served + ROUNDS)
      local cpu_after, polls_after, exhausted_after = state()
      report.seconds, report.served_meanwhile = tcpnet.now() - began, report.served - served
      report.cpu, report.polls, report.exhausted = cpu_after - cpu, polls_after - polls, exhausted_after - exhausted
    end)
    for i = 1, peers do -- each makes room for another
      assert(crowd[i]:write("echo ", i, "\n"))
      assert(crowd[i]:read_line() == tostring(i), "not served when its turn came")
      crowd[i]:close()
      report.late = report.late + 1
    end
  end)
  return report
end

-- HTTP -------------------------------------------------------------------------------------------

-- What slowhttptest can do.
hostile.http_ways = { "slow headers", "slow bodies", "ranges", "slow reading" }
local HTTP_OPTIONS = { ["slow headers"] = "-H", ["slow bodies"] = "-B", ranges = "-R", ["slow reading"] = "-X" }

-- http(port, ways, peers, seconds) → report of slowhttptest against a server, in all those ways at once, so many peers
-- each. connected: how many the server had at most.
function hostile.http(port, ways, peers, seconds)
  local report = { served = 0, worst = 0, errors = {}, connected = 0, peers = #ways * peers, seconds = seconds }
  local attacks = {}
  for i, way in ipairs(ways) do
    attacks[i] = process.start("slowhttptest", HTTP_OPTIONS[way], "-c", peers, "-r", peers * 4, "-i", 1, "-l", seconds,
      "-p", 5, "-u", ("http://127.0.0.1:%d/"):format(port))
  end
  tcpnet.run(function()
    local finish = tcpnet.now() + seconds
    local look = 0
    local function enough() return report.served >= ROUNDS and report.connected > 0 end
    while tcpnet.now() < finish or not enough() and tcpnet.now() < finish + PATIENCE do
      local began = tcpnet.now()
      if began > look then
        local _, count = process.shell(("ss -Htn state established 'src 127.0.0.1:%d' | wc -l"):format(port))
        report.connected, look = math.max(report.connected, tonumber(count)), tcpnet.now() + 0.2
      end
      local stream <close> = assert(connect(port)):set_timeout(30)
      local answer, err = stream:write "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
      if answer then
        answer, err = stream:read_to_end()
      end
      if answer and answer:find "^HTTP/1.1 200 OK\r\n.*Hello, world!\n$" then
        report.served = report.served + 1
        report.worst = math.max(report.worst, tcpnet.now() - began)
      else
        report.errors[#report.errors + 1] = tostring(err or answer)
      end
      tcpnet.sleep(0.005)
    end
  end)
  for _, attack in ipairs(attacks) do
    local code, output = attack:wait()
    assert(code == 0, output)
  end
  return report
end

-- Work for input of growing size -------------------------------------------------------------------

local READERS = [[
local tcpnet = require "tcpnet"
local kind, size = arg[1], tonumber(arg[2])
local PIECE, most = ("x"):rep(64), 1 << 30
local codec = tcpnet.codec

local function from_lua(stream)
  local one, other = tcpnet.duplex(65536)
  tcpnet.spawn(function()
    tcpnet.copy(stream, other)
    other:close()
  end)
  return one
end

local readers = {
  ["read_line"] = function(stream) return stream:read_line(most) end,
  ["read_until"] = function(stream) return stream:read_until("yx", most) end,
  ["read_exact"] = function(stream) return select(3, stream:read_exact(most)) end,
  ["read_to_end"] = function(stream) return stream:read_to_end(most) end,
  ["read_line of a duplex"] = function(stream) return from_lua(stream):read_line(most) end,
  ["read_until of a duplex"] = function(stream) return from_lua(stream):read_until("yx", most) end,
  ["read_line of take"] = function(stream) return tcpnet.io.take(stream, most):read_line(most) end,
  ["read_line of chain"] = function(stream) return tcpnet.io.chain(stream, tcpnet.duplex(1)):read_line(most) end,
  ["codec.lines"] = function(stream) return codec.lines { max_length = most }:framed_read(stream):next() end,
  ["codec.any_delimiter"] = function(stream)
    return codec.any_delimiter { delimiters = "\n;", max_length = most }:framed_read(stream):next()
  end,
  ["codec.length_delimited"] = function(stream)
    return codec.length_delimited { max_frame_length = most }:framed_read(stream):next()
  end,
}

if not kind then
  for name in pairs(readers) do
    print(name)
  end
  return
end
tcpnet.run(function()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), { nodelay = true }))
  local server <close> = assert(listener:accept())
  tcpnet.spawn(function()
    if kind == "codec.length_delimited" then
      assert(client:write((">I4"):pack(size)))
    end
    for _ = 1, size // #PIECE do
      assert(client:write(PIECE))
      tcpnet.yield()
      tcpnet.yield()
    end
    client:close()
  end)
  assert(#readers[kind](server) == size)
end)
]]

local program = require "spec.support.program"

local function with_readers(fn, ...)
  local folder <close> = program.folder()
  return fn(program.write(folder.path .. "/readers.lua", READERS), ...)
end

-- readers() → names of what instructions() knows.
function hostile.readers()
  return with_readers(function(path)
    local names = {}
    for name in select(2, process.run(process.interpreter, path)):gmatch "[^\n]+" do
      names[#names + 1] = name
    end
    table.sort(names)
    return names
  end)
end

-- instructions(reader, size...) → how many the whole program took to read one line or frame of that size, which comes
-- 64 bytes at a time; by valgrind, so that no other load on the machine matters.
function hostile.instructions(reader, ...)
  return with_readers(function(path, ...)
    local runs = { ... }
    for i, size in ipairs(runs) do
      runs[i] = process.start("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", process.interpreter,
        path, reader, size)
    end
    for i, run in ipairs(runs) do
      local code, output = run:wait()
      assert(code == 0, output)
      runs[i] = assert(tonumber(output:match "Collected : (%d+)"), output)
    end
    return table.unpack(runs)
  end, ...)
end

-- growth(reader, size) → how the work grows with the input: what eight times the size costs more than the size itself,
-- by what twice the size does (7 where it is linear, up to 63 where all is looked at again for each piece); and the
-- instructions for each byte.
function hostile.growth(reader, size)
  local one, two, eight = hostile.instructions(reader, size, 2 * size, 8 * size)
  return (eight - one) / (two - one), (eight - one) / (7 * size)
end

return hostile
