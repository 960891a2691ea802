-- A wire between two namespaces (support/netns) that loses, delays, doubles, reorders and corrupts frames, by a seed:
-- the program is support/wire.c, which is compiled here.
--   local wire <close> = wires.between(near, far, 7, { loss = 20, delay = 5 }, "10.79.1.1", "10.79.1.2")
--   wire:finish().lost
local netns = require "spec.support.netns"
local process = require "spec.support.process"
local program = require "spec.support.program"

local wires = {}
local Wire = {}
Wire.__index = Wire

local folder, compiled, why

local function compile()
  if folder then
    return compiled, why
  end
  folder = program.folder()
  local file <close> = assert(io.open "spec/support/wire.c")
  compiled, why = program.c(folder, "wire", file:read "a")
  return compiled, why
end

-- reason() → why there can be no such wire here, or nil.
function wires.reason()
  local reason = netns.reason()
  if not reason and program.shell "test -c /dev/net/tun && true <>/dev/net/tun" ~= 0 then
    reason = "needs /dev/net/tun"
  end
  return reason or not compile() and "needs a C compiler: " .. why or nil
end

-- close_all(): removes the program.
function wires.close_all()
  if folder then
    getmetatable(folder).__close()
  end
  folder, compiled = nil, nil
end

-- A neighbour is known beforehand: no lost question of who has an address holds up the rest.
local function set_up(namespace, at, other, last)
  namespace:shell(([[
    echo 1 >/proc/sys/net/ipv6/conf/wire/disable_ipv6 # whose own frames come at any time
    ip link set wire address 02:00:00:00:00:0%d up
    ip addr add %s/24 dev wire
    ip neigh replace %s lladdr 02:00:00:00:00:0%d nud permanent dev wire
    ip route change $(ip route show dev wire | head -n 1) dev wire rto_min 20ms]]):format(last, at, other, 3 - last))
end

-- between(near, far, seed, harm, near's address, far's address) → wire, the device `wire` in both; harm is a table of
-- support/wire.c's keys.
function wires.between(near, far, seed, harm, near_address, far_address)
  local arguments = {}
  for key, value in pairs(harm) do
    arguments[#arguments + 1] = ("%s=%d"):format(key, value)
  end
  local child = process.start(assert(compile()), seed, "wire", near.name, far.name, table.unpack(arguments))
  child:expect "^ready$"
  set_up(near, near_address, far_address, 1)
  set_up(far, far_address, near_address, 2)
  return setmetatable({ child = child }, Wire)
end

-- finish() → what it did: frames, lost, duplicated, reordered, corrupted.
function Wire:finish()
  local done = {}
  if self.child.output then
    local _, text = self.child:stop()
    for name, number in text:gmatch "(%l+)=(%d+)" do
      done[name] = math.tointeger(tonumber(number))
    end
  end
  return done
end

Wire.__close = Wire.finish

return wires
