-- docs/reference.md and the module know the same names, and the Lua in the documents compiles. The names of options are
-- the business of docs/options.md: here they count as documented where the table of options has them.
local file = require "pl.file"
local tcpnet = require "tcpnet"
local private = require "tcpnet.core".private

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
  Message = { "message" },
  OwnedReadHalf = { "read_half", "stream", "object" },
  OwnedWriteHalf = { "write_half", "stream", "object" },
  ReadHalf = { "stream", "object" },
  Ready = { "ready" },
  Scope = { "scope" },
  Socket = { "sock", "object" },
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

-- Accessors by name → the rows they are of; an alias stands for its option.
local options = private.option_rows()
local accessors = {}
for _, row in ipairs(options) do
  for _, name in ipairs { row.name, table.unpack(row.aliases) } do
    accessors[name], accessors["set_" .. name] = row, row
  end
end

local function mentioned(call)
  return code:find("%f[%w_]" .. call:gsub("%p", "%%%0") .. "%f[^%w_]") ~= nil
end

local function is_documented(class, method)
  if accessors[method] or mentioned(method) and method:find "^bind_device" then
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

  it("leaves the options to a page of their own, which has those that there are", function()
    assert.is_truthy(reference:find("](options.md)", 1, true))
    assert.is_true(#options > 100)
    local wrong = {}
    local function check(class, name, expected)
      if (classes[class][name] ~= nil) ~= expected then
        wrong[#wrong + 1] = class .. ":" .. name
      end
    end
    for _, row in ipairs(options) do
      for _, class in ipairs(row.classes) do
        check(class, row.name, row.get or not row.set)
        check(class, "set_" .. row.name, row.set)
      end
    end
    assert.same({}, wrong)
  end)

  it("has every field of tcp_info", function()
    local missing = {}
    for _, row in ipairs(private.tcp_info_rows()) do
      if not mentioned(row.name) then
        missing[#missing + 1] = row.name
      end
    end
    assert.same({}, missing)
  end)

  it("has every domain, type and protocol, every flag, and every feature that is no option", function()
    local missing = {}
    local function look_for(names)
      for name in names:gmatch "%S+" do
        if not (mentioned('"' .. name .. '"') or mentioned(name)) then
          missing[#missing + 1] = name
        end
      end
    end
    local sock <close> = assert(tcpnet.Socket.new("inet", "dgram"))
    for pattern, call in pairs {
      ["domain: a number or one of (.-) expected"] = function() tcpnet.Socket.new("?", "?") end,
      ["type: a number or one of (.-) expected"] = function() tcpnet.Socket.new("inet", "?") end,
      ["protocol: a number or one of (.-) expected"] = function() tcpnet.Socket.new("inet", "dgram", "?") end,
      ["flags: list of (.-) expected"] = function() sock:send("", "?") end,
      ["flags: list of ([%w_ ]-) expected"] = function() sock:recv(1, "?") end,
    } do
      local called, message = pcall(call)
      assert.is_false(called)
      look_for(assert(message:match(pattern), message))
    end
    for name in pairs(tcpnet.features()) do
      if not accessors[name] then
        look_for(name)
      end
    end
    assert.same({}, missing)
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
