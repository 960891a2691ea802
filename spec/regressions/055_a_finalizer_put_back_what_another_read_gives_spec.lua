-- The finalizer of a task that closes may call what waits. There a read_line that ends with LIMIT, and a copy, put back
-- into another stream what a read of that was about to give: it came twice.
local collect = require "spec.support.collect"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("what a read is about to give comes once, with a finalizer that", function()
  local others = {
    ["finds a line too long"] = function(x) x:read_line(1) end,
    ["finds no delimiter"] = function(x) x:read_until(";", 1) end,
    copies = function(x, y) tcpnet.copy(x, y, 2) end,
  }
  local reads = {
    read = function(s) return s:read(7) end,
    try_read = function(s) return s:try_read(7) end,
    read_exact = function(s) return s:read_exact(7) end,
    read_line = function(s) return s:read_line() .. "\n" end,
    read_until = function(s) return s:read_until "\n" end,
    lines = function(s) return s:lines()() .. "\n" end,
  }
  for what, finalizer in pairs(others) do
    for name, read in pairs(reads) do
      it(("%s, in the middle of %s"):format(what, name), tcp.in_task(function()
        local a, s, _first <close> = tcp.unix_pair()
        local c, x, _second <close> = tcp.unix_pair()
        local y, _, _third <close> = tcp.unix_pair()
        a:write "line 1\nline 2\n"
        a:shutdown()
        c:write "XX\n"
        local got
        local task = tcpnet.spawn(function()
          local _guard <close> = setmetatable({}, {
            __close = function() got = collect.during(function() finalizer(x, y) end, read, s) end,
          })
          tcpnet.sleep(10)
        end)
        tcpnet.yield()
        task:cancel()
        assert.equal("line 1\n", got)
        assert.equal("line 2\n", s:read_to_end())
        c:shutdown()
        y:shutdown()
      end))
    end
  end
end)
