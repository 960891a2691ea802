-- Error values: what they tell, and where they say that it happened.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"

-- A port of this machine where nobody listens.
local function refused_address()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  return tostring(listener:local_addr())
end

-- A connected pair: client, server.
local function pair()
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, (assert(listener:accept()))
end

local function here()
  local info = debug.getinfo(2, "Sl")
  return ("%s:%d"):format(info.short_src, info.currentline)
end

local function closed_error()
  local stream, peer = pair()
  stream:close()
  peer:close()
  local ok, err = stream:write "x"
  assert.is_nil(ok)
  return err
end

describe("an Error", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("of a refused connection has code, errno, op, address and message", function()
    local address = refused_address()
    local stream, err = tcpnet.TcpStream.connect(address)
    assert.is_nil(stream)
    assert.equal("userdata", type(err))
    assert.equal("ECONNREFUSED", err.code)
    assert.equal("connect", err.op)
    assert.equal(address, err.address)
    assert.equal("string", type(err.message))
    assert.equal("integer", math.type(err.errno))
    assert.is_true(err.errno > 0)
  end)

  it("reads 'op address: message (code)'", function()
    local address = refused_address()
    local _, err = tcpnet.TcpStream.connect(address)
    assert.equal(("connect %s: connection refused (ECONNREFUSED)"):format(address), tostring(err))
  end)

  it("concatenates with strings, numbers and other Errors, on either side", function()
    local err = closed_error()
    local text = tostring(err)
    assert.equal("it: " .. text, "it: " .. err)
    assert.equal(text .. "!", err .. "!")
    assert.equal(text .. "1", err .. 1)
    assert.equal(text .. text, err .. err)
  end)

  it("has no errno where the code is tcpnet's own", function()
    local err = closed_error()
    assert.equal("CLOSED", err.code)
    assert.is_nil(err.errno)
  end)

  it("answers nil for a field that it does not have", function()
    local err = closed_error()
    assert.is_nil(err.nothing)
    assert.is_nil(err[1])
    assert.is_nil(err[{}])
    assert.is_nil(err.traceback)
  end)

  it("cannot be written to, nor lose its metatable", function()
    local err = closed_error()
    for _, key in ipairs { "code", "message", "where", "traceback", "new", 1 } do
      assert.has_error(function()
        err[key] = "changed"
      end)
    end
    assert.equal("CLOSED", err.code)
    assert.is_not.equal("table", type(getmetatable(err)))
    assert.has_error(function()
      setmetatable(err, {})
    end)
  end)

  it("says with is() whether its code is one of those", function()
    local err = closed_error()
    assert.is_true(err:is "CLOSED")
    assert.is_true(err:is("EPIPE", "CLOSED"))
    assert.is_true(err:is("CLOSED", "EPIPE"))
    assert.is_false(err:is "EPIPE")
    assert.is_false(err:is())
    assert.is_false(err:is "closed")
    assert.is_true(tcpnet.Error.is(err, "CLOSED"))
  end)

  it("raises from is() where a code is no string, even after one that matches (F30)", function()
    local err = closed_error()
    for _, wrong in ipairs { 1, true, {}, print, err } do
      assert.has_error(function()
        err:is(wrong)
      end)
      assert.has_error(function()
        err:is("CLOSED", wrong)
      end)
    end
    assert.has_error(function()
      err:is(nil)
    end)
  end)

  it("raises from is() where the receiver is no Error (F28)", function()
    local err = closed_error()
    local is = tcpnet.Error.is
    for _, wrong in ipairs { 1, true, {}, print, "CLOSED", io.stdout, tcpnet.Buffer.new(1) } do
      assert.error_matches(function()
        is(wrong, "CLOSED")
      end, "Error")
    end
    assert.is_true(is(err, "CLOSED"))
  end)
end)

describe("is_error", function()
  it("tells an Error from everything else", function()
    local err = closed_error()
    assert.is_true(tcpnet.is_error(err))
    assert.is_true(tcpnet.is_error(err, "CLOSED"))
    assert.is_false(tcpnet.is_error(err, "EPIPE"))
    assert.is_true(tcpnet.is_error(err, nil))
    for _, other in ipairs { 1, "CLOSED", {}, print, io.stdout, tcpnet.Buffer.new(1), false } do
      assert.is_false(tcpnet.is_error(other))
      assert.is_false(tcpnet.is_error(other, "CLOSED"))
    end
    assert.is_false(tcpnet.is_error(nil))
    assert.is_false(tcpnet.is_error({ code = "CLOSED" }, "CLOSED"))
  end)

  it("raises without a value, and for a code that is no string", function()
    assert.has_error(function()
      tcpnet.is_error()
    end)
    for _, wrong in ipairs { 1, true, {}, print } do
      assert.has_error(function()
        tcpnet.is_error(closed_error(), wrong)
      end)
    end
  end)
end)

describe("the error of an operation that would wait", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is one shared value without op or where", function()
    local a, b = pair()
    local _, first = a:try_read()
    local _, second = b:try_read()
    local _, third = a:try_read(1)
    a:close()
    b:close()
    assert.equal("EAGAIN", first.code)
    assert.is_true(rawequal(first, second))
    assert.is_true(rawequal(first, third))
    assert.is_nil(first.where)
    assert.equal("integer", math.type(first.errno))
    assert.has_error(function()
      first.code = "EPIPE"
    end)
  end)

  it("stays without traceback and where after a task raised it", function()
    local a, b = pair()
    local _, again = a:try_read()
    a:close()
    b:close()
    pcall(tcpnet.run, function()
      error(again)
    end)
    local task = tcpnet.spawn(function()
      error(again)
    end)
    task:join()
    assert.is_nil(again.where)
    assert.is_nil(again.traceback)
    assert.is_nil(tostring(again):find("traceback", 1, true))
  end)
end)

describe("where", function()
  local stream, peer
  before_each(leaks.note)
  before_each(function()
    stream, peer = pair()
  end)
  after_each(function()
    stream:close()
    peer:close()
  end)
  after_each(leaks.check)

  it("is the line of the call, for a method in C", function()
    stream:close()
    local _, err = stream:read() local line = here()
    assert.equal(line, err.where)
  end)

  it("is the line of the call, for an option", function()
    stream:close()
    local _, err = stream:set_nodelay(true) local line = here()
    assert.equal(line, err.where)
  end)

  it("is the line of the call, for what the library does in Lua", function()
    local address = refused_address()
    local _, err = tcpnet.TcpStream.connect(address) local line = here()
    assert.equal(line, err.where)
    _, err = tcpnet.TcpStream.connect("127.0.0.1:80:80") line = here()
    assert.equal(line, err.where)
    _, err = tcpnet.TcpListener.bind "192.0.2.1:1" line = here()
    assert.equal(line, err.where)
    _, err = tcpnet.lookup_host "[x" line = here()
    assert.equal(line, err.where)
    stream:close()
    _, err = stream:finish() line = here()
    assert.equal(line, err.where)
    local socket = assert(tcpnet.TcpSocket.new_v4())
    socket:close()
    _, err = socket:connect "127.0.0.1:1" line = here()
    assert.equal(line, err.where)
    _, err = socket:bind "127.0.0.1:0" line = here()
    assert.equal(line, err.where)
  end)

  it("is the line of the call, where timeout runs in a task of its own", function()
    local _, err = tcpnet.timeout(0, tcpnet.sleep, 10) local line = here()
    assert.equal(line, err.where)
  end)

  it("is the line of the call, where copy_bidirectional runs in tasks of its own", function()
    stream:close()
    local _, err = tcpnet.copy_bidirectional(stream, peer) local line = here()
    assert.equal(line, err.where)
  end)

  it("is the line of the call after it waited in a task, and below helpers of the user", function()
    local err, line
    local function helper()
      local _, failure = stream:read() line = here()
      return failure
    end
    tcpnet.run(function()
      local reader = tcpnet.spawn(function()
        err = helper()
      end)
      tcpnet.yield()
      stream:close()
      reader:join()
    end)
    assert.equal("CLOSED", err.code)
    assert.equal(line, err.where)
  end)

  it("is the line of the call in a function that a task runs as such", function()
    stream:close()
    local ok, task_results = tcpnet.run(function()
      local _, err = stream:read()
      return err.where ~= nil, err.where
    end)
    assert.is_true(ok)
    assert.matches("error_spec%.lua:%d+$", task_results)
  end)

  it("is the user's line, for an iterator that raises", function()
    stream:close()
    local ok, err = pcall(function()
      for _ in stream:lines() do
        error "there is no line"
      end
    end)
    assert.is_false(ok)
    assert.is_true(tcpnet.is_error(err, "CLOSED"))
    assert.matches("error_spec%.lua:%d+$", err.where)
  end)
end)

describe("the settings", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("for errors of tasks have nothing to do with where", function()
    local address = refused_address()
    for _, handler in ipairs { false, function() return true end, false } do
      tcpnet.configure { on_task_error = handler }
      local _, err = tcpnet.TcpStream.connect(address) local line = here()
      assert.equal(line, err.where)
    end
  end)

  it("say that there is no on_task_error as long as nobody set one", function()
    local pipe = assert(io.popen(("'%s' -e '%s' 2>&1"):format(arg[-1] or "lua5.4", [[
      local tcpnet = require "tcpnet"
      assert(tcpnet.configure().on_task_error == nil)
      tcpnet.spawn(error, "a task failed")
      tcpnet.sleep(0)
      tcpnet.step(0)
    ]])))
    local output = pipe:read "a"
    pipe:close()
    assert.matches("a task failed", output)
    assert.is_nil(output:find("on_task_error", 1, true))
  end)
end)

describe("traceback", function()
  before_each(leaks.note)
  after_each(leaks.check)

  local function fail_with(err)
    error(err)
  end

  it("is there once run has raised the Error, and is printed", function()
    local err = closed_error()
    local ok, raised = pcall(tcpnet.run, function()
      fail_with(err)
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(err, raised))
    assert.equal("string", type(err.traceback))
    assert.matches("fail_with", err.traceback)
    assert.is_truthy(tostring(err):find(err.traceback, 1, true))
  end)

  it("is there once join has given it back", function()
    local err = closed_error()
    local task = tcpnet.spawn(function()
      fail_with(err)
    end)
    local ok, raised = task:join()
    assert.is_nil(ok)
    assert.is_true(rawequal(err, raised))
    assert.matches("fail_with", err.traceback)
  end)

  it("is appended to a string that run raises, and another value comes unchanged", function()
    local ok, raised = pcall(tcpnet.run, function()
      fail_with "a string"
    end)
    assert.is_false(ok)
    assert.matches("a string.*stack traceback:.*fail_with", raised)
    local value = {}
    ok, raised = pcall(tcpnet.run, function()
      fail_with(value)
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(value, raised))
  end)

  it("goes to on_task_error with an Error that nobody waits for", function()
    local err = closed_error()
    local seen
    tcpnet.configure {
      on_task_error = function(task, raised, traceback)
        seen = { task, raised, traceback }
        return true
      end,
    }
    tcpnet.spawn(function()
      fail_with(err)
    end)
    tcpnet.sleep(0)
    tcpnet.step(0)
    tcpnet.configure { on_task_error = false }
    assert.is_true(rawequal(err, seen[2]))
    assert.matches("fail_with", seen[3])
    assert.matches("fail_with", err.traceback)
  end)
end)
