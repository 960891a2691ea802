-- Lua before 5.4.4 does not tell a finalizer from other code, on which the library relies where finalizers close things
-- in the middle of a call: it was built with those all the same.
local program = require "spec.support.program"

describe("the library", function()
  it("is not compiled for a Lua before 5.4.4", function()
    local pipe <close> = assert(io.popen "pwd")
    local flags = ("-I'%s/csrc' -shared -fPIC"):format(pipe:read "l")
    local folder <close> = program.folder()
    local source = "#include <lua.h>\n#undef LUA_VERSION_RELEASE_NUM\n#define LUA_VERSION_RELEASE_NUM %d\n"
      .. '#include "binding/runtime.h"\n'
    if not program.c(folder, "new", source:format(50404), flags) then
      return pending "there is no compiler, or no header of Lua's"
    end
    local _, output = program.c(folder, "old", source:format(50403), flags)
    assert.matches("tcpnet needs Lua 5.4.4 or later", output)
  end)
end)
