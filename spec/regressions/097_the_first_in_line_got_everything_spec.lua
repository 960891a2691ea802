-- Of several tasks in one accept or recv the first was first in line again before the others, which the same event had
-- woken in vain: it got everything.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local ROUNDS, TASKS = 4, 3

local function turns(make, feed)
  local object, take = make()
  local order, tasks = {}, {}
  for i = 1, TASKS do
    tasks[i] = tcpnet.spawn(function()
      while true do
        take(object)
        order[#order + 1] = i
      end
    end)
  end
  tcpnet.yield()
  for round = 1, ROUNDS * TASKS do
    feed(object)
    while #order < round do
      tcpnet.sleep(0.001)
    end
  end
  for _, task in ipairs(tasks) do
    task:cancel()
  end
  object:close()
  return table.concat(order)
end

local cases = {
  accept = {
    tcp.listener,
    function(listener) listener:accept():close() end,
    function(listener) assert(tcpnet.TcpStream.connect(listener:local_addr())):close() end,
  },
  incoming = {
    tcp.listener,
    function(listener) listener:incoming()():close() end,
    function(listener) assert(tcpnet.TcpStream.connect(listener:local_addr())):close() end,
  },
  recv = {
    function()
      local udp = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      return assert(udp:connect(udp:local_addr()))
    end,
    function(udp) udp:recv() end,
    function(udp) udp:send "x" end,
  },
}

describe("tasks that wait in one", function()
  for name, case in pairs(cases) do
    it(name .. " are served in turn", tcp.in_task(function()
      local make, take, feed = table.unpack(case)
      assert.equal(("123"):rep(ROUNDS), turns(function() return make(), take end, feed))
    end))
  end
end)
