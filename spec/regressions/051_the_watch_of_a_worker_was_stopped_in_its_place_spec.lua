-- What cancels a worker whose parent has closed it was a task that began with the worker's first wait. Where the worker
-- had computed until then, that task was stopped as what computes is, and the worker waited for ever.
local program = require "spec.support.program"

describe("a closed worker that computes, and then waits for the first time,", function()
  for name, wait in pairs {
    ["is cancelled"] = "tcpnet.sleep, 30",
    ["is cancelled where it would have been stopped as it began to"] = "one.recvmsg, one", -- it makes a value first
  } do
    local can = program.moves_stacks and pending or it -- there a loop that makes nothing allocates, and so is stopped
    can(name, function()
      local code, output = program.lua(([[
        local tcpnet = require "tcpnet"
        local workers = assert(tcpnet.workers(1, function(parent)
          local tcpnet = require "tcpnet"
          local one, other = tcpnet.UnixDatagram.pair()
          local guard <close> = setmetatable({}, { __close = function() io.write "closed\n" end })
          parent:send "ready"
          local now, started = tcpnet.now, tcpnet.now()
          while now() - started < 0.04 do end
          local _made = {} -- it is seen that nobody wants it any more; from 0.1 s later on it would be stopped
          while now() - started < 0.2 do end
          print(pcall(%s))
          other:close()
        end))
        workers[1]:recv(10)
        workers:close()
      ]]):format(wait))
      assert.equal(0, code, output)
      assert.equal("closed\n", output)
    end)
  end
end)
