-- ./dev load [PART...]: many connections, and a great many hostile peers. Prints tables in markdown, those of
-- docs/reliability.md; ends with an error where anything was wrong. Parts:
--   connections   10,000 of them, each with traffic for a minute, every answer checked
--   hostile       1,000 peers of each kind of support/hostile.lua for ten seconds
--   descriptors   a server with few descriptors, and many that want to connect
--   http          slowhttptest in all of its ways against examples/http_hello.lua
--   lines         how the work of every reader grows with the length of a line
-- TCPNET_LOAD_CONNECTIONS, TCPNET_LOAD_PEERS, TCPNET_LOAD_SECONDS change the numbers.
local hostile = require "spec.support.hostile"
local process = require "spec.support.process"
local tcpnet = require "tcpnet"

process.seconds = 900
io.stdout:setvbuf "line"

local function setting(name, default)
  return math.tointeger(tonumber(os.getenv("TCPNET_LOAD_" .. name) or default))
end

local failures = {}

local function check(holds, ...)
  if not holds then
    failures[#failures + 1] = table.concat({ ... }, " ")
  end
end

local function row(...)
  print("| " .. table.concat({ ... }, " | ") .. " |")
end

local function head(title, ...)
  print("\n" .. title .. "\n")
  row(...)
  print("|" .. ("---|"):rep(select("#", ...)))
end

local function ms(seconds)
  return ("%.1f ms"):format(seconds * 1000)
end

local parts = {}

-- Connections --------------------------------------------------------------------------------------

-- One connection: a round trip a second, at a time of its own, with a text that is nobody else's.
local function converse(port, i, going, report)
  local stream <close> = assert(tcpnet.TcpStream.connect("127.0.0.1", port, { nodelay = true })):set_timeout(60)
  report.connected = report.connected + 1
  while not report.go do
    tcpnet.sleep(0.1)
  end
  tcpnet.sleep(math.random())
  local round = 0
  while going() do
    round = round + 1
    local text = ("connection %d round %d %s"):format(i, round, ("x"):rep(math.random(0, 200)))
    local began = tcpnet.now()
    local ok, err = stream:write("echo ", text, "\n")
    local line
    if ok then
      line, err = stream:read_line()
    end
    if line ~= text then
      report.errors[#report.errors + 1] = tostring(err or "another's answer")
      return
    end
    report.took[#report.took + 1] = tcpnet.now() - began
    tcpnet.sleep(0.5 + math.random())
  end
  report.rounds[i] = round
end

function parts.connections()
  local count, seconds = setting("CONNECTIONS", 10000), setting("SECONDS", 60)
  local server <close> = hostile.serve(120)
  local report = { connected = 0, errors = {}, took = {}, rounds = {} }
  local before, during, after
  tcpnet.run(function()
    before = hostile.state(server.port)
    local stop = false
    local function going() return not stop end
    tcpnet.scope(function(scope)
      for i = 1, count do
        scope:spawn(converse, server.port, i, going, report)
        if i % 100 == 0 then
          tcpnet.sleep(0.01)
        end
      end
      while report.connected < count do
        tcpnet.sleep(0.05)
      end
      report.go = true
      tcpnet.sleep(seconds)
      during = hostile.state(server.port)
      stop = true
    end)
    repeat
      tcpnet.sleep(0.05)
      after = hostile.state(server.port)
    until after.connections == 0
  end)
  table.sort(report.took)
  local total, fewest = #report.took, math.huge
  for i = 1, count do
    fewest = math.min(fewest, report.rounds[i] or 0)
  end
  head(("%d connections, each with traffic for %d seconds"):format(count, seconds), "connections", "round trips",
    "fewest of one", "errors", "memory of the server for each", "median", "99 %", "99.9 %", "worst",
    "CPU of the server for each round trip")
  row(during.connections, total, fewest, #report.errors,
    ("%.1f KiB"):format((during.memory - before.memory) / count), ms(report.took[(total + 1) // 2]),
    ms(report.took[math.ceil(total * 0.99)]), ms(report.took[math.ceil(total * 0.999)]), ms(report.took[total]),
    ("%.1f µs"):format((during.cpu - before.cpu) / total * 1e6))
  check(#report.errors == 0, "connections:", report.errors[1])
  check(during.connections == count, "connections were lost")
  check(fewest > 0, "a connection was never served")
end

-- Hostile peers ------------------------------------------------------------------------------------

function parts.hostile()
  local peers, seconds = setting("PEERS", 1000), setting("SECONDS", 10)
  local kinds = {}
  for kind in pairs(hostile.kinds) do
    kinds[#kinds + 1] = kind
  end
  table.sort(kinds)
  head(("%d peers of a kind for %d seconds, and four others"):format(peers, seconds), "a peer that", "did",
    "round trips of the others", "their errors", "worst", "memory of the server for each peer", "left afterwards")
  for _, kind in ipairs(kinds) do
    local server <close> = hostile.serve(5)
    local report = hostile.attack(server, kind, peers, seconds)
    local left
    tcpnet.run(function()
      local finish = tcpnet.now() + 30
      repeat
        tcpnet.sleep(0.1)
        left = hostile.state(server.port).connections
      until left == 0 or tcpnet.now() > finish
    end)
    row(kind, report.did, report.served, #report.errors, ms(report.worst),
      ("%.1f KiB"):format((report.during.memory - report.before.memory) / peers), left)
    check(#report.errors == 0, kind .. ":", report.errors[1])
    check(report.served > 0, kind .. ": the others were not served")
    check(left == 0, kind .. ": connections are left")
  end
end

function parts.descriptors()
  local seconds = setting("SECONDS", 10)
  head(("More connections than descriptors for %d seconds, and four others"):format(seconds), "descriptors",
    "want to connect", "round trips of the others", "their errors", "worst", "accepts without a descriptor",
    "CPU of the server", "served later")
  for descriptors, peers in pairs { [40] = 500, [1000] = 3000 } do
    local report = hostile.exhaust(descriptors, peers, seconds)
    row(descriptors, peers, report.served_meanwhile, #report.errors, ms(report.worst), report.exhausted,
      ("%.1f %%"):format(report.cpu / report.seconds * 100), report.late)
    check(#report.errors == 0, "descriptors:", report.errors[1])
    check(report.late == peers, "descriptors: some of the crowd were never served")
    check(report.exhausted <= 11 * report.seconds + 2, "descriptors: it spins")
  end
end

function parts.http()
  local peers, seconds = setting("PEERS", 1000), setting("SECONDS", 20)
  head(("slowhttptest, %d connections for %d seconds, against examples/http_hello.lua"):format(peers, seconds), "way",
    "connections at most", "requests of another", "its errors", "worst")
  for _, way in ipairs(hostile.http_ways) do
    local server <close> = process.serve "examples/http_hello.lua"
    local report = hostile.http(server.port, { way }, peers, seconds)
    row(way, report.connected, report.served, #report.errors, ms(report.worst))
    check(#report.errors == 0, way .. ":", report.errors[1])
    check(report.served > 0, way .. ": nobody else was served")
  end
end

function parts.lines()
  head("Instructions for a line or frame without an end, 64 bytes at a time (callgrind)", "reader", "for each byte",
    "growth to the eightfold: 7 is linear")
  for _, reader in ipairs(hostile.readers()) do
    local factor, each = hostile.growth(reader, 32768)
    row(reader, ("%.0f"):format(each), ("%.1f"):format(factor))
    check(factor < 12, reader .. ": not linear")
  end
end

local wanted = #arg > 0 and arg or { "connections", "hostile", "descriptors", "http", "lines" }
for _, part in ipairs(wanted) do
  assert(parts[part], "no such part: " .. part)()
end
for _, failure in ipairs(failures) do
  io.stderr:write("load: ", failure, "\n")
end
os.exit(#failures == 0, true)
