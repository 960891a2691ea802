-- A backlog, or a child's descriptor, that no C int can hold was refused by a step inside the call: under the name and
-- the argument of that, without the place of the call, and a Unix listener had bound its path by then.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

local function message(fn)
  return select(2, pcall(fn))
end

describe("a number past a C int", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("as a backlog is refused where the call stands, and nothing is bound", function()
    local folder <close> = program.folder()
    local path = folder.path .. "/socket"
    for address, class in pairs { ["127.0.0.1:0"] = "TcpListener", [path] = "UnixListener" } do
      for _, backlog in ipairs { 1 << 31, 2.0 ^ 31, 1 << 40 } do
        local text = message(function()
          local _listener <close> = tcpnet[class].bind(address, { backlog = backlog })
        end)
        assert.matches("131_.*: bad argument #2 to 'bind' %(backlog: integer from 0 to 2147483647 expected, got", text)
      end
    end
    assert.equal(0, program.shell("test ! -e " .. program.quote(path)))
  end)

  it("as the stream of a child is refused as any other wrong value", function()
    local receiver, sender = tcpnet.pipe()
    for _, fd in ipairs { 1 << 31, 2.0 ^ 31, 1 << 40 } do
      assert.matches("131_.*: bad argument #1 to 'spawn' %(stdin: .* expected, got [%d.]+%)$", message(function()
        local _child <close> = tcpnet.process.spawn { "true", stdin = fd, stdout = sender }
      end))
    end
    assert.is_false(sender:closed())
    sender:close()
    receiver:close()
  end)
end)
