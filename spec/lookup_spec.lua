-- lookup_host: names, families, deadlines, and lookups that nobody waits for any more.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local slow_lookup = require "spec.support.slow_lookup"

describe("lookup_host", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("finds localhost (B8)", function()
    local list = assert(tcpnet.lookup_host("localhost", 3000))
    assert.is_true(#list >= 1)
    local first = tostring(list[1])
    assert.is_true(first == "127.0.0.1:3000" or first == "[::1]:3000", first)
    for _, addr in ipairs(list) do
      assert.is_true(addr:is_loopback())
      assert.equal(3000, addr:port())
    end
  end)

  it("takes host:port, a host alone, a SocketAddr and literals, which it does not look up", function()
    assert.equal(80, assert(tcpnet.lookup_host "localhost:80")[1]:port())
    assert.equal(0, assert(tcpnet.lookup_host "localhost")[1]:port())
    for text, expected in pairs {
      ["127.0.0.1"] = "127.0.0.1:0", ["127.0.0.1:8"] = "127.0.0.1:8", ["[::1]:8"] = "[::1]:8",
    } do
      local list = assert(tcpnet.lookup_host(text))
      assert.equal(1, #list)
      assert.equal(expected, tostring(list[1]))
    end
    local addr = tcpnet.SocketAddr.new("::1", 5)
    assert.equal(addr, assert(tcpnet.lookup_host(addr))[1])
    assert.equal("[::1]:5", tostring(assert(tcpnet.lookup_host("::1", 5))[1]))
  end)

  it("gives every address once", function()
    local seen = {}
    for _, addr in ipairs(assert(tcpnet.lookup_host("localhost", 1))) do
      assert.is_nil(seen[tostring(addr)])
      seen[tostring(addr)] = true
    end
  end)

  it("keeps to a family", function()
    for family, other in pairs { inet = "inet6", inet6 = "inet" } do
      local list, err = tcpnet.lookup_host("localhost", 1, { family = family })
      if list then
        for _, addr in ipairs(list) do
          assert.equal(family, addr:family())
        end
      else
        assert.matches("^EAI_", err.code)
      end
      local literal = family == "inet" and "127.0.0.1" or "::1"
      assert.equal(1, #assert(tcpnet.lookup_host(literal, 1, { family = family })))
      local nothing
      nothing, err = tcpnet.lookup_host(literal, 1, { family = other })
      assert.is_nil(nothing)
      assert.is_true(tcpnet.is_error(err))
      assert.equal(1, #assert(tcpnet.lookup_host(literal, 1, { family = "any" })))
    end
    assert.is_truthy(tcpnet.lookup_host("localhost", { family = "inet" }))
  end)

  it("raises for options and arguments that are none, naming them at the caller's line (F30)", function()
    local calls = {
      function() tcpnet.lookup_host() end,
      function() tcpnet.lookup_host("localhost", 1, { famly = "inet" }) end,
      function() tcpnet.lookup_host("localhost", 1, { family = "inet7" }) end,
      function() tcpnet.lookup_host("localhost", 1, { family = 4 }) end,
      function() tcpnet.lookup_host("127.0.0.1", 1, { family = "inet7" }) end,
      function() tcpnet.lookup_host("127.0.0.1", 1, { family = 4 }) end,
      function() tcpnet.lookup_host("127.0.0.1", 1, { family = false }) end,
      function() tcpnet.lookup_host("localhost", 1, { timeout = "1" }) end,
      function() tcpnet.lookup_host("localhost", 1, { timeout = -1 }) end,
      function() tcpnet.lookup_host("localhost", 1, { timeout = 0 / 0 }) end,
      function() tcpnet.lookup_host("localhost", 1, { timeout = false }) end,
      function() tcpnet.lookup_host("localhost", 1, 1) end,
      function() tcpnet.lookup_host("localhost", 1, "inet") end,
      function() tcpnet.lookup_host("localhost", 1, false) end,
      function() tcpnet.lookup_host("localhost", false) end,
      function() tcpnet.lookup_host({}, 1) end,
    }
    for i, call in ipairs(calls) do
      local ok, message = pcall(call)
      assert.is_false(ok, "call " .. i)
      assert.matches("^spec/lookup_spec%.lua:%d+: bad argument", message, nil, nil, "call " .. i)
    end
  end)

  it("answers nil, err for a name that does not exist", function()
    local list, err = tcpnet.lookup_host("name.invalid", 80, { timeout = 5 })
    assert.is_nil(list)
    assert.is_true(tcpnet.is_error(err))
    assert.is_true(err:is("EAI_NONAME", "EAI_AGAIN", "EAI_NODATA", "EAI_FAIL", "TIMEOUT"), err.code)
    assert.equal("lookup_host", err.op)
    assert.matches("name%.invalid", tostring(err))
    assert.matches("lookup_spec", err.where)
  end)

  it("passes the failure of a name on through connect and bind", function()
    for _, call in ipairs { tcpnet.TcpStream.connect, tcpnet.TcpListener.bind } do
      local object, err = call "name.invalid:80"
      assert.is_nil(object)
      assert.matches("^EAI_", err.code)
    end
  end)

  it("refuses names that are too long, or have a NUL in them (F50)", function()
    for _, host in ipairs { ("a"):rep(256), ("a."):rep(5000), "localhost\0", "a\0b" } do
      local list, err = tcpnet.lookup_host(host, 80)
      assert.is_nil(list)
      assert.is_true(tcpnet.is_error(err, "EINVAL"), tostring(err))
    end
    local list, err = tcpnet.lookup_host(("a"):rep(255), 80, { timeout = 5 })
    assert.is_nil(list)
    assert.is_true(tcpnet.is_error(err))
  end)

  it("runs any number of lookups at once", function()
    local done = 0
    tcpnet.scope(function(scope)
      for _ = 1, 50 do
        scope:spawn(function()
          assert(tcpnet.lookup_host("localhost", 1))
          done = done + 1
        end)
      end
    end)
    assert.equal(50, done)
  end)
end)

describe("a slow lookup", function()
  local folder, library

  setup(function()
    folder = program.folder()
    library = slow_lookup.library(folder)
  end)
  teardown(function()
    local _folder <close> = folder
  end)

  local prelude = [[
    local tcpnet = require "tcpnet"
    local function elapsed(fn, ...)
      local start = tcpnet.now()
      fn(...)
      return tcpnet.now() - start
    end
    local function check(what, text) if not what then error(text, 2) end end
  ]]

  -- Runs a script in a child whose getaddrinfo is ours; it has to say "fine" as its last word.
  local function child(script)
    if not library then
      return pending "no C compiler"
    end
    local code, output = slow_lookup.run(folder, library, prelude .. script)
    assert.equal("fine\n", output)
    assert.equal(0, code)
  end

  it("gives an address once that came twice, and a name to a failure that nobody knows", function()
    child [[
      local list = tcpnet.lookup_host("twice", 1)
      check(#list == 1 and tostring(list[1]) == "127.0.0.3:1", #list)
      local nothing, err = tcpnet.lookup_host("odd", 1)
      check(nothing == nil and err.code == "EAI_FAIL", tostring(err))
      print "fine"
    ]]
  end)

  it("keeps the Buffers of a send from being changed, and gives them back when it ends", function()
    child [[
      local receiver = assert(tcpnet.UdpSocket.bind "127.0.0.1:0")
      local socket = assert(tcpnet.Socket.new("inet", "dgram"))
      local to = "slow100:" .. receiver:local_addr():port()
      local buffer = tcpnet.Buffer.new(16)
      local forms = {
        function() return socket:send_to(buffer, to) end,
        function() return socket:send_to_vectored({ "he", buffer }, to) end,
        function() return socket:sendmsg { data = buffer, address = to } end,
        function() return socket:sendmsg { data = { "he", buffer }, address = to } end,
      }
      tcpnet.run(function()
        for _, form in ipairs(forms) do
          buffer:clear():append "llo"
          local sending = tcpnet.spawn(form)
          tcpnet.sleep(0.02)
          local changed, message = pcall(buffer.clear, buffer)
          check(not changed and message:find "a write of this Buffer is waiting", tostring(message))
          local _, count, err = sending:join()
          check(count, tostring(err))
          check(receiver:recv():find "llo$", "other bytes")
          buffer:clear():append "llo"
          sending = tcpnet.spawn(form)
          tcpnet.sleep(0.02)
          sending:cancel()
          buffer:clear()
        end
      end)
      print "fine"
    ]]
  end)

  it("says what the system lacked where that is what failed", function()
    child [[
      local nothing, err = tcpnet.lookup_host("full", 1)
      check(nothing == nil and err.code == "EMFILE", tostring(err))
      print "fine"
    ]]
  end)

  it("lets other tasks go on", function()
    child [[
      local turns = 0
      tcpnet.run(function()
        local lookup = tcpnet.spawn(function() return tcpnet.lookup_host("slow100", 7) end)
        while lookup:status() ~= "done" do turns = turns + 1 tcpnet.sleep(0.005) end
        local _, list = lookup:join()
        check(tostring(list[1]) == "127.0.0.1:7", tostring(list[1]))
      end)
      check(turns > 5, turns)
      print "fine"
    ]]
  end)

  it("ends for its caller at once when it is cancelled, at a deadline and when it loses a select (F25)", function()
    child [[
      local took = elapsed(tcpnet.run, function()
        local task = tcpnet.spawn(tcpnet.lookup_host, "slow400", 1)
        tcpnet.sleep(0.02)
        check(task:cancel(), "cancel")
        check(task:status() == "cancelled", task:status())
        local list, err = tcpnet.lookup_host("slow400", 1, { timeout = 0.02 })
        check(list == nil and err:is "TIMEOUT", tostring(err))
        list, err = tcpnet.timeout(0.02, tcpnet.lookup_host, "slow400", 1)
        check(list == nil and err:is "TIMEOUT" and err.op == "timeout", tostring(err))
        local key = tcpnet.select {
          name = function() return tcpnet.lookup_host("slow400", 1) end,
          clock = function() tcpnet.sleep(0.02) end,
        }
        check(key == "clock", key)
        local stream
        stream, err = tcpnet.TcpStream.connect("slow400:1", { timeout = 0.02 })
        check(stream == nil and err:is "TIMEOUT", tostring(err))
        local socket = tcpnet.TcpSocket.new_v4()
        stream, err = socket:connect("slow400:1", { timeout = 0.02 })
        check(stream == nil and err:is "TIMEOUT", tostring(err))
        check(socket:closed(), "a failed connect closes the socket")
      end)
      collectgarbage()
      check(took < 0.35, took)
      print "fine"
    ]]
  end)

  it("may come back long after its caller was collected (F1, F25)", function()
    child [[
      tcpnet.run(function()
        for i = 1, 20 do
          local task = tcpnet.spawn(tcpnet.lookup_host, "slow" .. i * 5, 1)
          tcpnet.yield()
          if i % 3 ~= 0 then task:cancel() end
          task = nil
          collectgarbage()
        end
        for _ = 1, 20 do collectgarbage() tcpnet.sleep(0.01) end
        check(tostring(tcpnet.lookup_host("fast", 3)[1]) == "127.0.0.2:3", "fast")
      end)
      print "fine"
    ]]
  end)

  it("does not hold up the end of the script (F25)", function()
    local start = tcpnet.now()
    child [[
      tcpnet.spawn(tcpnet.lookup_host, "slow3000", 1)
      tcpnet.sleep(0.02)
      print "fine"
    ]]
    assert.is_true(tcpnet.now() - start < 2.5, "it was waited for")
  end)

  it("does not hold up os.exit, closing the state or not (F22, F25)", function()
    for _, close in ipairs { "true", "false" } do
      local start = tcpnet.now()
      child(([[
        tcpnet.run(function()
          tcpnet.spawn(tcpnet.lookup_host, "slow3000", 1)
          tcpnet.sleep(0.02)
          print "fine"
          io.stdout:flush()
          os.exit(0, %s)
        end)
      ]]):format(close))
      assert.is_true(tcpnet.now() - start < 2.5, "it was waited for")
    end
  end)

  it("does not hold up the end of a script that has begun more than run at once", function()
    child [[
      for i = 1, 100 do
        tcpnet.spawn(tcpnet.lookup_host, "localhost", i)
      end
      tcpnet.step()
      print "fine"
    ]]
  end)
end)
