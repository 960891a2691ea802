-- Where a clone, or another program's descriptor of the same socket, shut a socket of datagrams down for reading, who
-- waited in recv waited on, and the loop turned without a pause: the system says "readable" and "nothing" for ever.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local Socket = tcpnet.Socket

local PAIRS = {
  unix = function() return assert(Socket.pair("unix", "dgram")) end,
  udp = function()
    local a, b = assert(Socket.new("inet", "dgram")), assert(Socket.new("inet", "dgram"))
    assert(a:bind "127.0.0.1:0")
    assert(b:bind "127.0.0.1:0")
    assert(a:connect(b:local_addr()))
    return a, assert(b:connect(a:local_addr()))
  end,
}

local FORMS = { "recv", "recv_from", "recv_many", "recvmsg", "peek", "peek_sender" }

local function start(socket, form)
  return tcpnet.spawn(socket[form], socket, form == "recv_many" and 5 or nil)
end

local function assert_end(task)
  assert.same({ true, nil, n = 2 }, table.pack(task:join(5)))
end

describe("a socket of datagrams that a clone shut down for reading", function()
  before_each(leaks.note)
  after_each(leaks.check)

  for name, pair in pairs(PAIRS) do
    for _, form in ipairs(FORMS) do
      it(("ends who waits in %s, and who comes later: %s"):format(form, name), tcp.in_task(function()
        local peer, socket = pair()
        local clone = assert(socket:try_clone())
        local _guard <close> = tcp.guard(peer, socket, clone)
        local first, second = start(socket, form), start(socket, form)
        tcpnet.sleep(0.01)
        assert(peer:send "before")
        assert.is_true((first:join(5)))
        if form:find "^peek" then
          assert.is_true((second:join(5)))
          assert.equal("before", socket:recv())
          second = start(socket, form)
        end
        assert(clone:shutdown "read")
        assert_end(second)
        local later <close> = start(socket, form)
        assert_end(later)
      end))
    end
  end
end)
