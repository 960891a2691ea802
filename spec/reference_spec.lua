-- docs/reference.md and the module know the same names, and the Lua in the documents compiles.
local file = require "pl.file"
local tcpnet = require "tcpnet"

local reference = file.read "docs/reference.md"

local function blocks(text)
  local found = {}
  for block in ("\n" .. text):gmatch "\n```lua\n(.-)\n```" do
    found[#found + 1] = block
  end
  return found
end

-- All that is set as code, one piece to a line; a span of the text does not cross a line.
local function code_of(text)
  local pieces = blocks(text)
  local prose = ("\n" .. text):gsub("\n```.-\n```", "\n")
  for span in prose:gmatch "`([^`\n]+)`" do
    pieces[#pieces + 1] = span
  end
  return "\n" .. table.concat(pieces, "\n") .. "\n"
end

local code = code_of(reference)

local function class_of_objects()
  local scope
  tcpnet.scope(function(own)
    scope = getmetatable(own)
  end)
  return { Interval = getmetatable(tcpnet.interval(1)), Scope = scope }
end

local classes = class_of_objects()
for name, value in pairs(tcpnet) do
  if type(value) == "table" and name:find "^%u" then
    classes[name] = value
  end
end

-- How the reference calls objects of a class; the first is its own name.
local receivers = {
  Buffer = { "buffer" },
  Error = { "err" },
  Interval = { "interval" },
  JoinSet = { "set" },
  OwnedReadHalf = { "read_half", "stream", "object" },
  OwnedWriteHalf = { "write_half", "stream", "object" },
  ReadHalf = { "stream", "object" },
  Ready = { "ready" },
  Scope = { "scope" },
  SocketAddr = { "addr" },
  Task = { "task" },
  TcpListener = { "listener", "object" },
  TcpSocket = { "socket", "object" },
  TcpStream = { "stream", "object" },
  WriteHalf = { "stream", "object" },
}

local class_named = {}
for class, names in pairs(receivers) do
  if names[1] ~= "stream" or class == "TcpStream" then
    class_named[names[1]] = class
  end
end

-- The names in the first column of the table of socket options.
local options = {}
for name in reference:match("\n## Socket options\n(.-)\n## "):gmatch "\n| `([%w_]+)` |" do
  options[name] = true
end

local function mentioned(call)
  return code:find("%f[%w_]" .. call:gsub("%p", "%%%0") .. "%f[^%w_]") ~= nil
end

local function is_documented(class, method)
  if options[method] or options[method:match "^set_(.+)" or ""] or mentioned(method) and method == "bind_device" then
    return true
  end
  for _, receiver in ipairs(receivers[class]) do
    if mentioned(receiver .. ":" .. method) then
      return true
    end
  end
  return mentioned(("tcpnet.%s.%s"):format(class, method))
end

local function functions_of(class)
  local names = {}
  for name, value in pairs(class) do
    if type(value) == "function" and not name:find "^__" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

describe("the reference", function()
  it("has every function of the module", function()
    local missing = {}
    for name, value in pairs(tcpnet) do
      if type(value) == "function" and not mentioned("tcpnet." .. name) then
        missing[#missing + 1] = name
      end
    end
    for _, name in ipairs(functions_of(tcpnet.coroutine)) do
      if not mentioned("tcpnet.coroutine." .. name) then
        missing[#missing + 1] = "coroutine." .. name
      end
    end
    assert.same({}, missing)
  end)

  it("has every method of every class, options included", function()
    local missing = {}
    for class, methods in pairs(classes) do
      assert.is_table(receivers[class], "a class that this spec does not know: " .. class)
      for _, method in ipairs(functions_of(methods)) do
        if not is_documented(class, method) then
          missing[#missing + 1] = class .. ":" .. method
        end
      end
    end
    assert.same({}, missing)
  end)

  it("has every setting and every number of metrics", function()
    local missing = {}
    for _, fields in ipairs { tcpnet.configure(), tcpnet.metrics() } do
      for name in pairs(fields) do
        if not mentioned(name) then
          missing[#missing + 1] = name
        end
      end
    end
    assert.same({}, missing)
  end)

  it("names no option that there is not", function()
    assert.is_true(next(options) ~= nil)
    for name in pairs(options) do
      for _, class in ipairs { "TcpSocket", "TcpStream", "TcpListener" } do
        assert.is_function(classes[class][name], class .. ":" .. name)
        assert.is_function(classes[class]["set_" .. name], class .. ":set_" .. name)
      end
    end
  end)

  it("calls no method that there is not", function()
    local unknown, count = {}, 0
    for receiver, method in code:gmatch "%f[%w_]([%l_]+):([%l_][%w_]*)" do
      local class = class_named[receiver]
      if class or receiver == "object" then
        count = count + 1
        if not classes[class or "TcpStream"][method] then
          unknown[#unknown + 1] = receiver .. ":" .. method
        end
      end
    end
    assert.same({}, unknown)
    assert.is_true(count > 100)
  end)

  it("uses no name of the module that there is not", function()
    local unknown = {}
    for path in code:gmatch "%f[%w_]tcpnet%.([%w_.]*[%w_])" do
      local value = tcpnet
      for name in path:gmatch "[%w_]+" do
        value = type(value) == "table" and value[name] or nil
      end
      if value == nil then
        unknown[#unknown + 1] = path
      end
    end
    assert.same({}, unknown)
  end)
end)

describe("the Lua in", function()
  for _, path in ipairs { "README.md", "docs/reference.md" } do
    it(path .. " compiles", function()
      local found = blocks(file.read(path))
      assert.is_true(#found > 0)
      for i, block in ipairs(found) do
        assert(load(block, ("=%s, block %d"):format(path, i), "t"))
      end
    end)
  end
end)
