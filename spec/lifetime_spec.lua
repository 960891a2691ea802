-- Finalizers, closing and cancelling at the worst of moments: in the middle of a read, of an accept, of another's wait.
local tcpnet = require "tcpnet"
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"

-- Garbage whose finalizer calls fn.
local function litter(fn)
  setmetatable({}, { __gc = fn })
end

describe("a finalizer", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that touches a socket while a read gives out its bytes doubles none", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local other, other_peer, _other <close> = tcp.pair()
    other_peer:write(("o"):rep(1000))
    local sent = 400 * 8000
    tcpnet.spawn(function()
      for i = 1, 400 do
        server:write(("%08d"):format(i):rep(1000))
      end
      server:shutdown()
    end)
    local parts, taken = {}, 0
    while true do
      litter(function()
        other:fd()
        taken = taken + #(other:try_read(1) or "")
      end)
      local data, err = client:read(8000)
      assert(not err, err)
      if not data then
        break
      end
      parts[#parts + 1] = data
    end
    local all = table.concat(parts)
    assert.equal(sent, #all)
    for i = 1, 400 do
      assert.equal(("%08d"):format(i), all:sub((i - 1) * 8000 + 1, (i - 1) * 8000 + 8))
    end
    assert.equal(("o"):rep(1000 - taken), other:read_exact(1000 - taken))
  end))

  it("may close the very stream that is being read", tcp.in_task(function()
    for _ = 1, 60 do
      local client, server, _guard <close> = tcp.pair()
      server:write(("x"):rep(60000))
      client:read_exact(10)
      for _ = 1, 20 do
        litter(function() client:close() end)
      end
      for _ = 1, 50 do
        if not client:read(1000) then
          break
        end
      end
    end
  end))

  it("may close the very listener that accepts", tcp.in_task(function()
    for _ = 1, 40 do
      local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
      for _ = 1, 20 do
        litter(function() listener:close() end)
      end
      local stream, err = listener:accept()
      if stream then
        stream:close()
      else
        assert.equal("CLOSED", err.code)
      end
      assert.is_false(client:closed())
    end
  end))
end)

describe("closing", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("ends a copy that waits for the other party", tcp.in_task(function()
    local a, a_peer, _a <close> = tcp.pair()
    local b, _, _b <close> = tcp.pair()
    local task <close> = tcpnet.spawn(tcpnet.copy, a, b)
    tcpnet.yield()
    b:close()
    local _, nothing, err = task:join(5)
    assert.is_nil(nothing)
    assert.equal("CLOSED", err.code)
    assert.equal(3, a_peer:write "abc")
    assert.equal("abc", a:read())
  end))

  it("into halves ends the waits of the whole", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local task <close> = tcpnet.spawn(client.read, client)
    tcpnet.yield()
    local read_half <close>, write_half = client:into_split()
    local _, nothing, err = task:join(5)
    assert.is_nil(nothing)
    assert.equal("CLOSED", err.code)
    server:write "for the half"
    assert.equal("for the half", read_half:read())
    write_half:close()
  end))

  it("in the function of try_io is fine", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local idle, _, _idle <close> = tcp.pair()
    server:write "x"
    client:readable()
    local nothing, err = client:try_io("r", function()
      client:close()
      return idle:try_read()
    end)
    assert.is_nil(nothing)
    assert.equal("EAGAIN", err.code)
  end))
end)

describe("a task", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("that cancels itself in the close of its own failure fails", function()
    tcpnet.configure { on_task_error = function() return true end }
    local task = tcpnet.run(function()
      local task = tcpnet.spawn(function()
        local _guard <close> = setmetatable({}, { __close = function() tcpnet.current():cancel() end })
        coroutine.yield()
      end)
      tcpnet.sleep(0.01)
      return task
    end)
    tcpnet.configure { on_task_error = false }
    assert.equal("failed", task:status())
  end)

  it("whose thread a stranger resumed before it began fails, and nothing breaks (F3)", function()
    tcpnet.configure { on_task_error = function() return true end }
    local old
    tcpnet.run(function() old = coroutine.running() end)
    local task = tcpnet.spawn(function() return 1 end)
    coroutine.resume(old)
    tcpnet.step()
    local _, err = task:join()
    tcpnet.configure { on_task_error = false }
    assert.is_true(task:status() == "failed" and err:find("somebody else", 1, true) ~= nil or task:status() == "done")
  end)

  it("that failed is not silent, though its joiner was cancelled before it heard of it", function()
    local ok, err = pcall(tcpnet.run, function()
      local task = tcpnet.spawn(function()
        tcpnet.yield()
        error("unheard", 0)
      end)
      local joiner = tcpnet.spawn(task.join, task)
      tcpnet.yield()
      tcpnet.yield()
      joiner:cancel()
      tcpnet.sleep(0)
    end)
    assert.is_false(ok)
    assert.matches("unheard", err)
  end)

  it("closed by its scope cannot spawn into it any more", function()
    local ok, err = pcall(tcpnet.scope, function(scope)
      scope:spawn(function()
        local _guard <close> = setmetatable({}, {
          __close = function()
            scope:spawn(tcpnet.sleep, 30)
          end,
        })
        tcpnet.sleep(30)
      end)
      tcpnet.yield()
      error("done", 0)
    end)
    assert.is_false(ok)
    assert.equal("done", err)
  end)

  it("that catches errors over and over gathers no tracebacks", function()
    local grown = tcpnet.run(function()
      local function fail()
        pcall(tcpnet.timeout, 1, error, "caught")
      end
      for _ = 1, 200 do fail() end
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 8000 do fail() end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count" - before
    end)
    assert.is_true(grown < 300, grown)
  end)
end)

describe("arguments that would corrupt", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("the same Buffer twice in one vectored read is refused", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local buffer = tcpnet.Buffer.new(4096)
    server:write(("x"):rep(8192))
    client:readable()
    assert.has_error(function() client:try_read_vectored { buffer, buffer } end)
    assert.equal(0, #buffer)
  end))

  it("a linger of part of a second is not rounded to none", function()
    local socket <close> = assert(tcpnet.TcpSocket.new_v4())
    assert.equal(1, socket:set_linger(0.5):linger())
    assert.is_false(socket:zero_linger())
  end)
end)
