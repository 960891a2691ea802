-- A descriptor that came while there was no memory to keep it was lost without a word, and the byte that had carried it
-- was left among the others. Needs the build with faults.
local program = require "spec.support.program"

describe("a descriptor that comes while memory is short", function()
  it("is told as lost, or still comes, whichever allocation fails", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      local fault = tcpnet.private.fault
      local struck, nth = 1, 0
      while struck > 0 do
        nth = nth + 1
        local a, b = tcpnet.UnixStream.pair()
        assert(a:send_fd(a) and a:write "rest")
        a:close()
        fault("realloc", nth, 1, "ENOMEM")
        local fd, err = b:recv_fd()
        struck = fault()
        if err and err.code == "ENOMEM" then -- before anything was read
          fd, err = b:recv_fd()
        end
        assert(fd or err.code == "EMFILE" and err.message:find "no memory", tostring(err))
        if fd then
          tcpnet.UnixStream.from_fd(fd):close()
        end
        assert(b:read_to_end() == "rest")
        b:close()
      end
      print(nth > 2) ]]
    assert.equal("true\n", output)
  end)
end)
