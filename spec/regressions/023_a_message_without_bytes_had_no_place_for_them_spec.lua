-- An empty message went to the system with no place for bytes at all. Linux sends that; BSD refuses it (EMSGSIZE), and
-- qemu says that 0 bytes were sent and sends nothing.
local tcp = require "spec.support.tcp"

describe("a message without bytes", function()
  it("has one empty place for them", function()
    if not tcp.can "strace -qqq -o /dev/null true" then
      return pending "needs strace"
    end
    local output = tcp.child([[
      local a, b = assert(tcpnet.Socket.pair("unix", "dgram"))
      for _, message in ipairs { {}, { data = "" }, { data = { "", "" } } } do
        assert(a:sendmsg(message) == 0)
        assert(b:recvmsg().data == "")
      end
    ]], [[strace -f -qqq -e trace=sendmsg -e signal=none "$LUA" "$SCRIPT" 2>&1 | grep -o 'msg_iovlen=[0-9]*']])
    assert.equal(("msg_iovlen=1\n"):rep(3), output)
  end)
end)
