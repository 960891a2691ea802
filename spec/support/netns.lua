-- Network namespaces for specs, with Lua running inside them: each is `tcpnet-PID-n`, and goes with what runs in it.
--   local near <close> = netns.new()
--   near:run(function(here, name) ... end, "eth0") → results; `here` is a table that lasts as long as the namespace
-- Two of them at once: far:begin(server); near:run(client); far:result().
local program = require "spec.support.program"
local process = require "spec.support.process"

local netns = {}
local Namespace = {}
Namespace.__index = Namespace

local alive, count = {}, 0

local function own_pid()
  local code, output = program.shell "echo $PPID"
  assert(code == 0, output)
  return assert(output:match "%d+")
end

local function succeed(...)
  local code, output = process.run(...)
  if code ~= 0 then
    error(("%s\nended with %s: %s"):format(table.concat({ ... }, " "), code, output), 2)
  end
  return output
end

local reason, asked

-- reason() → why this machine makes no namespaces, or nil.
function netns.reason()
  if not asked then
    asked = true
    local code, output = program.shell [[
      [ "$(uname -s)" = Linux ] || { echo "needs Linux"; exit 1; }
      [ "$(id -u)" -eq 0 ] || { echo "needs root"; exit 1; }
      command -v ip >/dev/null || { echo "needs iproute2"; exit 1; }
      # what a run that was killed has left behind
      for name in $(ip netns list | sed -n 's/^\(tcpnet-[0-9]*-[0-9]*\).*/\1/p'); do
        pid=${name#tcpnet-}
        kill -0 "${pid%-*}" 2>/dev/null || ip netns del "$name"
      done
      ip netns add tcpnet-$$-0 2>/dev/null && ip netns del tcpnet-$$-0 || { echo "needs network namespaces"; exit 1; }]]
    reason = code ~= 0 and output:match "[^\n]*" or nil
  end
  return reason
end

-- close_all(): for a teardown, whatever happened before.
function netns.close_all()
  for namespace in pairs(alive) do
    namespace:close()
  end
end

-- link(a, b, name, ...): an interface of that name in both; ... are pairs of addresses with their prefixes.
function netns.link(a, b, name, ...)
  succeed("ip", "link", "add", name, "netns", a.name, "type", "veth", "peer", "name", name, "netns", b.name)
  for _, namespace in ipairs { a, b } do
    namespace:shell(("ip link set %s up"):format(name))
  end
  for i = 1, select("#", ...), 2 do
    a:address(name, (select(i, ...)))
    b:address(name, (select(i + 1, ...)))
  end
end

function Namespace:address(interface, address)
  self:shell(("ip addr add %s dev %s%s"):format(address, interface, address:find(":", 1, true) and " nodad" or ""))
end

-- shell(command) → what it said; an error where it fails.
function Namespace:shell(command)
  return succeed("ip", "netns", "exec", self.name, "sh", "-e", "-c", command)
end

-- start(program, ...) → child (see support/process) in the namespace, which ends with it.
function Namespace:start(...)
  local child = process.start("ip", "netns", "exec", self.name, ...)
  self.children[#self.children + 1] = child
  return child
end

-- Lua in the namespace ---------------------------------------------------------------------------

-- Reads a line with a call, makes it as a task, and answers with a line.
local AGENT = [[
local tcpnet = require "tcpnet"
local encode = dofile(arg[1])
local here = {}

function bring(code, upvalues)
  local fn = assert(load(code, "brought", "b"))
  for i = 1, upvalues.n do
    debug.setupvalue(fn, i, upvalues[i])
  end
  return fn
end

local function call(line)
  local request = assert(load("local tcpnet = require 'tcpnet'; return " .. line, "request", "t"))()
  return tcpnet.run(function()
    return assert(table.pack(tcpnet.timeout(20, function()
      return table.pack(request.fn(here, table.unpack(request, 1, request.n)))
    end))[1])
  end)
end

io.stdout:setvbuf "line"
print "ready"
for line in assert(io.open(arg[2], "r")):lines() do
  local ok, results = xpcall(call, function(err) return debug.traceback(tostring(err)) end, line)
  print(encode { ok = ok, results = results })
end
]]

-- Values as an expression on one line; userdata is its text.
local ENCODE = [[
local function encode(value)
  local kind = type(value)
  if value ~= nil and value == package.loaded.tcpnet then
    return "tcpnet"
  elseif value == _G then
    return "_G"
  elseif kind == "table" then
    local parts = {}
    for key, field in pairs(value) do
      parts[#parts + 1] = ("[%s]=%s"):format(encode(key), encode(field))
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif kind == "function" then
    local parts, index = {}, 1
    local name, upvalue = debug.getupvalue(value, index)
    while name do
      parts[index] = ("[%d]=%s"):format(index, name == "_ENV" and "_G" or encode(upvalue))
      index = index + 1
      name, upvalue = debug.getupvalue(value, index)
    end
    parts[index] = "n=" .. index - 1
    return ("bring(%s,{%s})"):format(encode(string.dump(value)), table.concat(parts, ","))
  elseif kind == "userdata" then
    value = tostring(value)
  end
  return (("%q"):format(value):gsub("\n", "n"))
end
return encode
]]

local encode = load(ENCODE, "encode")()

-- The agent is there from the beginning: nothing of it is left over by a test then.
local function start_agent(self)
  self.folder = program.folder()
  local path = tostring(self.folder)
  succeed("mkfifo", path .. "/calls")
  self.calls = assert(io.open(path .. "/calls", "r+")) -- for both, so that neither end waits for the other to come
  self.agent = self:start("env", "LD_PRELOAD=" .. (os.getenv "LD_PRELOAD" or ""), process.interpreter,
    program.write(path .. "/agent.lua", AGENT), program.write(path .. "/encode.lua", ENCODE), path .. "/calls")
  self.agent:expect "^ready$"
end

-- new() → namespace whose loopback is up.
function netns.new()
  count = count + 1
  local self = setmetatable({ name = ("tcpnet-%s-%d"):format(own_pid(), count), children = {} }, Namespace)
  succeed("ip", "netns", "add", self.name)
  alive[self] = true
  -- Addresses of IPv6 are usable at once; no filter on the way back hides what is to be seen.
  self:shell [[
    ip link set lo up
    for all in default all; do
      echo 0 >/proc/sys/net/ipv4/conf/$all/rp_filter
      [ ! -e /proc/sys/net/ipv6 ] || echo 0 >/proc/sys/net/ipv6/conf/$all/accept_dad
    done]]
  start_agent(self)
  return self
end

-- begin(fn, ...): fn(here, ...) runs in the namespace, while this process goes on. What fn refers to goes with it:
-- plain values, functions, tcpnet.
function Namespace:begin(fn, ...)
  local request = table.pack(...)
  request.fn = fn
  self.agent.seen = {} -- what it said before is no part of a failure of this call
  assert(self.calls:write(encode(request), "\n"))
  assert(self.calls:flush())
end

-- result() → results of what was begun; what it raised is raised here.
function Namespace:result()
  local reply = load("return " .. self.agent:expect "^{.*}$", "reply", "t", {})()
  if not reply.ok then
    error("in " .. self.name .. ": " .. reply.results, 2)
  end
  return table.unpack(reply.results, 1, reply.results.n)
end

-- run(fn, ...) → results of fn(here, ...).
function Namespace:run(fn, ...)
  self:begin(fn, ...)
  return self:result()
end

function Namespace:close()
  if not alive[self] then
    return
  end
  alive[self] = nil
  for _, child in ipairs(self.children) do
    child:stop()
  end
  if self.calls then
    self.calls:close()
  end
  if self.folder then
    getmetatable(self.folder).__close()
  end
  succeed("ip", "netns", "del", self.name)
end

Namespace.__close = Namespace.close

return netns
