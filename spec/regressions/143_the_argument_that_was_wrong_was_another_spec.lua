-- Flags behind `host, port` are the fourth argument, the interface of a multicast group the second: messages named the
-- one before. Wrong flags beside a name were told only once that was looked up.
local leaks = require "spec.support.leaks"
local tcpnet = require "tcpnet"

local function refuses(pattern, ...)
  local ok, message = pcall(...)
  assert.is_false(ok)
  assert.matches(pattern, message)
end

describe("a message about a wrong argument", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("counts host and port before the flags", function()
    local udp <close> = assert(tcpnet.UdpSocket.new_v4())
    for method, bytes in pairs { send_to = "x", try_send_to = "x", send_to_vectored = { "x" } } do
      for _, host in ipairs { "127.0.0.1", "no-such-host.invalid" } do
        refuses(("#4 to '%s' %%(flags: "):format(method), function() udp[method](udp, bytes, host, 9, "fast") end)
        refuses(("#3 to '%s' %%(flags: "):format(method), function() udp[method](udp, bytes, host .. ":9", "fast") end)
      end
    end
    assert.equal(1, udp:send_to("x", "127.0.0.1", 9, "dontroute"))
  end)

  it("counts what stands before the interface of a group", function()
    local udp <close> = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
    local group = "239.1.1.1"
    refuses("#1 to 'join_multicast_v4' %(join_multicast_v4: group", function() udp:join_multicast_v4("1.1.1.1", {}) end)
    refuses("#2 to 'join_multicast_v4' %(join_multicast_v4: interface", function() udp:join_multicast_v4(group, {}) end)
    refuses("#2 to 'join_multicast_v6' %(join_multicast_v6: interface", function()
      udp:join_multicast_v6("ff02::1", {})
    end)
    refuses("#1 to 'block_source_v4' %(block_source_v4: source", function() udp:block_source_v4(1, 2, {}) end)
    refuses("#2 to 'block_source_v4' %(block_source_v4: group", function() udp:block_source_v4("1.1.1.1", 2, {}) end)
    refuses("#3 to 'block_source_v4' %(block_source_v4: interface", function()
      udp:block_source_v4("1.1.1.1", group, {})
    end)
    refuses("#1 to 'set_multicast_if_v4'", function() udp:set_multicast_if_v4 {} end)
    refuses("#2 to 'set' %(multicast_if_v4: interface", function() udp:set("IP_MULTICAST_IF", {}) end)
  end)
end)
