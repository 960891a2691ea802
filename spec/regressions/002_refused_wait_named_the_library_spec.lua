-- A wait where none is possible raises at the line of the user's call and with its name, whether the method is written
-- in C or in Lua: those in Lua named a line of the library's own and "this call".
local tcpnet = require "tcpnet"

local function refusal(object, method, ...)
  local arguments = table.pack(...)
  local message
  tcpnet.run(function()
    ("x"):gsub("x", function()
      local ok, raised = pcall(function()
        local _ = object[method](object, table.unpack(arguments)) -- the line that it names
      end)
      assert.is_false(ok)
      message = raised
    end)
  end)
  return message
end

describe("a wait below a C function", function()
  it("is refused at the user's line by every kind of method", function()
    local here = tcpnet.duplex(10)
    local framer = tcpnet.codec.lines():framed_write(here)
    local semaphore, mutex = tcpnet.sync.Semaphore.new(1), tcpnet.sync.Mutex.new()
    for _, row in ipairs {
      { here, "read" }, { here, "write", "x" }, { here, "writable" }, { framer, "send", "x" }, { framer, "flush" },
      { semaphore, "acquire" }, { mutex, "lock" },
    } do
      local message = refusal(table.unpack(row))
      assert.matches("^[^:]*%d+_refused_wait[^:]*:11: ", message, nil, nil, message)
      assert.matches("cannot wait here", message)
    end
  end)

  it("is refused with the method's name", function()
    local here = tcpnet.duplex(10)
    local barrier, interval = tcpnet.sync.Barrier.new(2), tcpnet.interval(1)
    local stream = assert(tcpnet.UnixStream.pair())
    for name, call in pairs {
      read_line = function() local _ = here:read_line() end,
      wait = function() local _ = barrier:wait() end,
      select = function() local _ = tcpnet.select { tcpnet.yield } end,
      tick = function() local _ = interval:tick() end,
      finish = function() local _ = stream:finish(1) end,
      connect = function() local _ = tcpnet.TcpStream.connect("localhost:1", { timeout = 1 }) end,
      bind = function() local _ = tcpnet.UdpSocket.bind "localhost:0" end,
      sleep = function() local _ = tcpnet.sleep(0) end,
    } do
      local ok, raised
      tcpnet.run(function()
        ("x"):gsub("x", function()
          ok, raised = pcall(call)
        end)
      end)
      assert.is_false(ok)
      assert.matches("^[^:]*%d+_refused_wait[^:]*:%d+: " .. name .. ": cannot wait here: ", raised)
    end
    assert.is_false(stream:closed()) -- what was refused did nothing
    stream:close()
  end)

  it("is refused with the method's name where there is no task, in a handler", function()
    local barrier, notify, messages = tcpnet.sync.Barrier.new(2), tcpnet.sync.Notify.new(), {}
    tcpnet.configure {
      on_task_error = function()
        for name, call in pairs {
          wait = function() local _ = barrier:wait() end, notified = function() local _ = notify:notified() end,
        } do
          messages[name] = select(2, pcall(call))
        end
        return true
      end,
    }
    tcpnet.run(function()
      tcpnet.spawn(error, "handled")
      tcpnet.yield()
    end)
    tcpnet.configure { on_task_error = false }
    for _, name in ipairs { "wait", "notified" } do
      assert.matches("^[^:]*%d+_refused_wait[^:]*:%d+: " .. name .. ": cannot wait here: while the reactor runs",
        messages[name])
    end
  end)
end)
