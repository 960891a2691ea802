-- What is shipped: the rockspec knows every file that CMake builds and every Lua module, and the rock works
-- by itself.
local dir = require "pl.dir"
local file = require "pl.file"
local program = require "spec.support.program"

local rockspec = {}
assert(loadfile("tcpnet-scm-1.rockspec", "t", rockspec))()

local function sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

local function c_sources()
  local found = {}
  for _, path in ipairs(sorted(dir.getallfiles("csrc", "*.c"))) do
    -- One replaces unix.c on another system, the other is for test builds.
    if not path:find "/windows%.c$" and not path:find "/faults%.c$" then
      found[#found + 1] = path
    end
  end
  return found
end

local function cmake_sources()
  local found = {}
  for path in file.read("CMakeLists.txt"):match("set%(TCPNET_SOURCES(.-)%)"):gmatch "%S+" do
    found[#found + 1] = path
  end
  return found
end

describe("the C sources", function()
  it("are all in CMake's list, sorted", function()
    assert.same(c_sources(), cmake_sources())
  end)

  it("are the same in the rockspec", function()
    assert.same(cmake_sources(), rockspec.build.modules["tcpnet.core"].sources)
  end)
end)

describe("the rockspec", function()
  it("has every Lua module", function()
    local expected = {}
    for _, path in ipairs(dir.getallfiles("lua/tcpnet", "*.lua")) do
      local module = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
      expected[module] = path
    end
    local listed = {}
    for module, path in pairs(rockspec.build.modules) do
      listed[module] = type(path) == "string" and path or nil
    end
    assert.same(expected, listed)
  end)
end)

describe("the rock", function()
  local folder
  setup(function()
    folder = assert(io.popen "mktemp -d"):read "l"
  end)
  teardown(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  local function shell(command)
    local pipe = assert(io.popen(("cd '%s' && { %s\n} 2>&1"):format(folder, command)))
    local output = pipe:read "a"
    local ok = pipe:close()
    assert(ok, output)
    return output
  end

  it("builds, and tcpnet loads from it alone", function()
    if (os.getenv "TCPNET_BUILD" or ""):find "cross" then
      return pending "LuaRocks builds for the machine that it runs on"
    end
    -- LuaRocks leaves object files beside the sources, so it gets a copy.
    assert(os.execute(("cp -R csrc lua tcpnet-scm-1.rockspec LICENSE '%s'"):format(folder)))
    shell "luarocks --lua-version 5.4 make --tree tree --deps-mode=none tcpnet-scm-1.rockspec"
    local output = shell(([[
      unset LUA_PATH LUA_CPATH LUA_INIT
      export LUA_PATH_5_4='tree/share/lua/5.4/?.lua;tree/share/lua/5.4/?/init.lua'
      export LUA_CPATH_5_4='tree/lib/lua/5.4/?.so'
      '%s' -e 'assert(require "tcpnet") print(package.searchpath("tcpnet.core", package.cpath))'
    ]]):format(program.interpreter))
    assert.equal("tree/lib/lua/5.4/tcpnet/core.so\n", output)
  end)
end)
