-- The rules of docs/architecture.md that a machine can check. Each `it` is one rule and names every place
-- that breaks it.
local dir = require "pl.dir"
local file = require "pl.file"
local path = require "pl.path"

local C_STANDARD = {}
for name in ([[assert ctype errno float inttypes limits locale math setjmp signal stdalign stdarg stdatomic
               stdbool stddef stdint stdio stdlib stdnoreturn string time]]):gmatch "%w+" do
  C_STANDARD[name .. ".h"] = true
end
local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true, ["luaconf.h"] = true }

-- Comments and messages may name what code may not; newlines stay, so that lines can still be counted.
local function only_code(text)
  local function blank(comment)
    return (comment:gsub("[^\n]", " "))
  end
  text = text:gsub("/%*.-%*/", blank):gsub("//[^\n]*", blank)
  return (text:gsub("\n[^#\n][^\n]*", function(line)
    return (line:gsub('"[^"\n]*"', '""'))
  end))
end

local function files(folder, ...)
  local found = {}
  for _, pattern in ipairs { ... } do
    for _, name in ipairs(path.isdir(folder) and dir.getallfiles(folder, pattern) or {}) do
      found[#found + 1] = name
    end
  end
  table.sort(found)
  return found
end

local all = files("csrc", "*.c", "*.h")
local code = {} -- by path; begins with a newline, so that the first line is like the others
for _, source in ipairs(all) do
  code[source] = only_code("\n" .. file.read(source))
end

local function layer(source)
  return source:match "^csrc/(%w+)/"
end

local function noun(source)
  return source:match "([^/]+)%.[ch]$"
end

-- A file of binding/ that holds a kind of socket, told by its name.
local function is_class(name)
  local kind = name:match "[^_]+$"
  return ("socket stream listener datagram pipe poll lookup"):find("%f[%w]" .. kind .. "%f[%W]") ~= nil
end

-- Calls visit(source, included) for every #include below a folder.
local function each_include(folder, visit)
  for _, source in ipairs(all) do
    if layer(source) == folder then
      for included in code[source]:gmatch '\n#%s*include%s*[<"]([^>"]+)[>"]' do
        visit(source, included)
      end
    end
  end
end

-- Every place where a Lua pattern is found in the C sources (of one folder).
local function places(pattern, folder)
  local found = {}
  for _, source in ipairs(all) do
    if not folder or layer(source) == folder then
      for position in code[source]:gmatch("()" .. pattern) do
        local _, line = code[source]:sub(1, position - 1):gsub("\n", "")
        found[#found + 1] = ("%s:%d"):format(source, line)
      end
    end
  end
  return found
end

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local core_so = package.searchpath("tcpnet.core", package.cpath)
local plain_build = core_so and not core_so:find "build%-" -- sanitizers and gcov add symbols of their own
local on_linux = io.open "/proc/self/exe" ~= nil

describe("layers", function()
  it("platform/ includes only the system and itself", function()
    local bad = {}
    each_include("platform", function(source, included)
      local uv_for_errors = included == "uv.h" and noun(source) == "windows"
      if included:find "^core/" or included:find "^binding/" or LUA_HEADERS[included]
        or (included:find "^uv" and not uv_for_errors) then
        bad[#bad + 1] = source .. " includes " .. included
      end
    end)
    assert.same({}, bad)
  end)

  it("core/ includes neither Lua nor binding/", function()
    local bad = {}
    each_include("core", function(source, included)
      if LUA_HEADERS[included] or included:find "^binding/" then
        bad[#bad + 1] = source .. " includes " .. included
      end
    end)
    assert.same({}, bad)
  end)

  it("no code below binding/ names anything of Lua's, so no libuv callback can", function()
    assert.same({}, places("%f[%w_]luaL?_%w+", "core"))
    assert.same({}, places("%f[%w_]luaL?_%w+", "platform"))
  end)

  it("binding/ includes Lua, C's own headers and the layers below, neither libuv nor the system", function()
    local bad = {}
    each_include("binding", function(source, included)
      local below = included:find "^core/" or included == "platform/platform.h" or included:find "^binding/"
      if not (below or LUA_HEADERS[included] or C_STANDARD[included]) then
        bad[#bad + 1] = source .. " includes " .. included
      end
    end)
    assert.same({}, bad)
  end)

  it("libuv is named in core/ alone", function()
    assert.same({}, places("%f[%w_]uv_%w+", "binding"))
    for _, place in ipairs(places("%f[%w_]uv_%w+", "platform")) do
      assert.matches("^csrc/platform/windows%.c:", place) -- asks libuv to translate error codes
    end
  end)

  it("class files do not know each other: only module.c includes a class's header", function()
    local bad = {}
    each_include("binding", function(source, included)
      local other = included:match "^binding/(.+)%.h$"
      if other and is_class(other) and noun(source) ~= "module" and noun(source) ~= other then
        bad[#bad + 1] = source .. " includes " .. included
      end
    end)
    assert.same({}, bad)
  end)
end)

describe("one mechanism", function()
  for _, name in ipairs { "lua_yieldk", "lua_resume" } do
    it("calls " .. name .. " in one place", function()
      local found = places("%f[%w_]" .. name .. "%s*%(")
      assert.equal(1, #found, table.concat(found, ", "))
      assert.matches("^csrc/binding/task%.c:", found[1])
    end)
  end

  it("has no other way to yield", function()
    assert.same({}, places "%f[%w_]lua_yield%s*%(")
  end)
end)

describe("the built module", function()
  it("exports luaopen_tcpnet_core and what tcpnet.h declares, and nothing else", function()
    if not (plain_build and on_linux) then
      return pending "needs a plain build on Linux"
    end
    local names = {}
    for name in output_of("nm -D --defined-only '" .. core_so .. "'"):gmatch "%x+ %a (%S+)" do
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same({ "luaopen_tcpnet_core", "tcpnet_waker_wake" }, names)
  end)

  it("has no variables: state belongs to a Lua state", function()
    if not (plain_build and on_linux) then
      return pending "needs a plain build on Linux"
    end
    local compilers_own = { ["completed.0"] = true, __dso_handle = true, __TMC_END__ = true }
    local variables = {}
    -- Constant tables with addresses in them stand in .data.rel.ro and are no variables.
    for section, name in output_of("objdump -t '" .. core_so .. "'"):gmatch " O (%.%S+)%s+%x+%s+([^\n]+)" do
      name = name:gsub("^%.hidden ", "")
      local writable = section == ".data" or section == ".bss" or section == ".tdata" or section == ".tbss"
      if writable and not compilers_own[name] then
        variables[#variables + 1] = name
      end
    end
    assert.same({}, variables)
  end)

  it("is linked from functions named tn_*", function()
    if not (plain_build and on_linux) then
      return pending "needs a plain build on Linux"
    end
    local bad = {}
    for _, object in ipairs(files(core_so:gsub("/tcpnet/core%.so$", "/CMakeFiles/core.dir"), "*.o")) do
      for name in output_of("nm --defined-only --extern-only '" .. object .. "'"):gmatch "%x+ %a (%S+)" do
        if not name:find "^tn_" and not name:find "^tcpnet_" and name ~= "luaopen_tcpnet_core" then
          bad[#bad + 1] = name
        end
      end
    end
    assert.same({}, bad)
  end)
end)

describe("Lua modules", function()
  local requires = {} -- module → set of the siblings it requires
  for _, source in ipairs(files("lua/tcpnet", "*.lua")) do
    local module = source:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    requires[module] = {}
    for name in file.read(source):gsub("%-%-[^\n]*", ""):gmatch "require%s*%(?%s*[\"']([%w_.]+)[\"']" do
      requires[module][name] = true
    end
  end

  it("never require the facade", function()
    for module, names in pairs(requires) do
      assert.is_nil(names.tcpnet, module .. " requires tcpnet")
    end
  end)

  it("require siblings below them only: there is no cycle", function()
    local finished = {}
    local function visit(module, trail)
      assert.is_nil(trail:find("<" .. module .. ">", 1, true), "a cycle: " .. trail .. "<" .. module .. ">")
      if not finished[module] then
        for name in pairs(requires[module] or {}) do
          visit(name, trail .. "<" .. module .. "> ")
        end
        finished[module] = true
      end
    end
    for module in pairs(requires) do
      visit(module, "")
    end
  end)
end)

describe("every source file", function()
  local sources = {}
  for _, source in ipairs(all) do
    sources[#sources + 1] = source
  end
  for _, folder in ipairs { "lua", "spec", "examples", "bench", "fuzz" } do
    for _, source in ipairs(files(folder, "*.lua")) do
      sources[#sources + 1] = source
    end
  end

  it("begins with a comment that says what it owns", function()
    local bad = {}
    for _, source in ipairs(sources) do
      local head = file.read(source):gsub("^#![^\n]*\n", "")
      if not (head:find "^/%*" or head:find "^//" or head:find "^%-%-") then
        bad[#bad + 1] = source
      end
    end
    assert.same({}, bad)
  end)

  it("holds one noun: no more than 900 lines", function()
    local bad = {}
    for _, source in ipairs(sources) do
      local _, lines = file.read(source):gsub("\n", "")
      if lines > 900 and not source:find "^spec/" then
        bad[#bad + 1] = ("%s has %d lines"):format(source, lines)
      end
    end
    assert.same({}, bad)
  end)
end)
