-- copy and copy_bidirectional.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits

describe("copy", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("gives the bytes copied at the end of the reader", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(8 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:close()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    assert.is_true(b:read_exact(#all) == all)
    local ok, count = copier:join(5)
    assert.is_true(ok)
    assert.equal(#all, count)
    assert.equal("integer", math.type(count))
    assert.is_true(waits(b.read, b)) -- the writer is not shut down
  end))

  it("of a stream into itself is an echo: 11 bytes 1024 times, 11264 in all (B26)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local copier = tcpnet.spawn(function()
      local read_half, write_half = server:split()
      return tcpnet.copy(read_half, write_half)
    end)
    for _ = 1, 1024 do
      assert(client:write "foo bar baz")
      assert.equal("foo bar baz", client:read_exact(11))
    end
    client:shutdown()
    assert.same({ true, 11264 }, { copier:join(5) })
  end))

  it("of nothing is 0; the server's shutdown succeeds and the client reads the end (B42)", in_task(function()
    local client, server, _guard <close> = tcp.pair()
    assert(client:shutdown())
    local read_half, write_half = server:split()
    assert.equal(0, tcpnet.copy(read_half, write_half))
    assert(write_half:shutdown())
    local bytes, err = client:read()
    assert.is_nil(bytes)
    assert.is_nil(err)
  end))

  it("takes the buffered bytes first", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "head\nrest"
    a:shutdown()
    assert.equal("head", from:read_line())
    assert.equal(4, tcpnet.copy(from, to))
    assert.equal("rest", b:read(10))
  end))

  it("ends at max, and what comes after it stays readable", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "0123456789"
    assert.equal(4, tcpnet.copy(from, to, 4))
    assert.equal("0123", b:read_exact(4))
    assert.equal("456789", from:read_exact(6))
    a:write "more"
    a:shutdown()
    assert.equal(4, tcpnet.copy(from, to, 100))
    assert.equal("more", b:read_exact(4))
    assert.is_true(waits(b.read, b))
  end))

  it("with a max larger than every buffer copies just that", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(5000000)
    tcpnet.spawn(a.write, a, all)
    local copier = tcpnet.spawn(tcpnet.copy, from, to, 3000001)
    assert.is_true(b:read_exact(3000001) == all:sub(1, 3000001))
    assert.same({ true, 3000001 }, { copier:join(5) })
    assert.is_true(from:read_exact(1999999) == all:sub(3000002))
    assert.is_true(waits(b.read, b))
  end))

  it("takes halves of two streams", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local read_half, _unused = from:into_split()
    local _kept, write_half = to:into_split()
    local _halves <close> = tcp.guard(read_half, _unused, _kept, write_half)
    a:write "through"
    a:shutdown()
    assert.equal(7, tcpnet.copy(read_half, write_half))
    write_half:close()
    assert.equal("through", b:read_to_end())
  end))

  it("cancelled leaves at the reader what the writer did not take", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(48 << 20)
    local writer = tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    tcpnet.sleep(0.05)
    assert.equal("waiting", copier:status())
    copier:cancel()
    copier:join()
    to:shutdown()
    local taken = b:read_to_end()
    local rest = from:read_to_end()
    writer:join(5)
    assert.is_true(#taken > 0 and #rest > 0)
    assert.equal(#all, #taken + #rest)
    assert.is_true(taken .. rest == all)
  end))

  it("timed out from outside loses nothing either, time after time", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(16 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local reader = tcpnet.spawn(function()
      local parts = {}
      tcpnet.sleep(0.05) -- nobody reads for longer than the first round lasts
      for chunk in b:chunks(100000) do
        parts[#parts + 1] = chunk
        if #parts % 8 == 0 then
          tcpnet.sleep(0.002)
        end
      end
      return table.concat(parts)
    end)
    local rounds = 0
    while true do
      rounds = rounds + 1
      local count, err = tcpnet.timeout(0.004, tcpnet.copy, from, to)
      if count then
        break
      end
      fails("TIMEOUT", count, err)
    end
    to:shutdown()
    local ok, got = reader:join(10)
    assert.is_true(ok)
    assert.is_true(rounds > 1)
    assert.is_true(got == all)
  end))

  it("obeys the reader's timeout, and says how much it copied", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "some"
    from:set_read_timeout(0.02)
    local count, err, copied = tcpnet.timeout(2, tcpnet.copy, from, to)
    assert.not_equal("timeout", fails("TIMEOUT", count, err).op)
    assert.equal(4, copied)
    assert.equal("some", b:read_exact(4))
  end))

  it("obeys the writer's timeout, says how much it copied and loses nothing", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    to:set_write_timeout(0.05)
    local all = tcp.bytes(48 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local count, err, copied = tcpnet.timeout(2, tcpnet.copy, from, to)
    assert.not_equal("timeout", fails("TIMEOUT", count, err).op)
    to:shutdown()
    local taken = b:read_to_end()
    assert.equal(copied, #taken)
    assert.is_true(taken .. from:read_to_end() == all)
  end))

  it("with a reader that was reset gives the error and what was copied", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    a:write "before"
    assert.equal("before", b:read_exact(6))
    tcp.close_with_reset(a)
    local ok, count, err, copied = copier:join(5)
    assert.is_true(ok)
    fails("ECONNRESET", count, err)
    assert.equal(6, copied)
  end))

  it("with a writer that was reset gives the error, and the rest stays readable", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local all = tcp.bytes(16 << 20)
    tcpnet.spawn(function()
      a:write(all)
      a:shutdown()
    end)
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    assert(b:read_exact(100000))
    tcp.close_with_reset(b)
    local ok, count, err, copied = copier:join(5)
    assert.is_true(ok)
    fails("ECONNRESET EPIPE", count, err)
    assert.is_true(copied >= 100000)
    local rest = from:read_to_end()
    assert.equal(#all, copied + #rest)
    assert.is_true(rest == all:sub(copied + 1))
  end))

  it("ends with CLOSED when either is closed meanwhile", in_task(function()
    for which = 1, 2 do
      local _, from, _first <close> = tcp.pair()
      local to, b, _second <close> = tcp.pair()
      if which == 2 then
        tcp.fill(to)
      end
      local copier = tcpnet.spawn(tcpnet.copy, from, to)
      if which == 2 then
        _:write "x"
        tcpnet.sleep(0.01)
      end
      tcpnet.yield()
      local closing = which == 1 and from or to
      closing:close()
      local ok, count, err = copier:join(5)
      assert.is_true(ok)
      fails("CLOSED", count, err)
      assert.is_false(b:closed())
      fails("CLOSED", tcpnet.copy(from, to))
    end
  end))

  it("is the reader of its stream: another read raises meanwhile", in_task(function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    local copier = tcpnet.spawn(tcpnet.copy, from, to)
    tcpnet.yield()
    assert.has_error(function() from:read() end)
    a:write "x"
    a:shutdown()
    assert.same({ true, 1 }, { copier:join(5) })
    assert.equal("x", b:read())
  end))

  it("raises on what is no reader, no writer, no number", in_task(function()
    local a, b, _guard <close> = tcp.pair()
    local read_half, write_half = a:split()
    for _, wrong in ipairs { "x", 1, {}, true, io.stdout, write_half } do
      assert.has_error(function() tcpnet.copy(wrong, b) end)
    end
    for _, wrong in ipairs { "x", 1, {}, true, read_half } do
      assert.has_error(function() tcpnet.copy(b, wrong) end)
    end
    for _, wrong in ipairs { -1, 0.5, 0 / 0, "1", {} } do
      assert.has_error(function() tcpnet.copy(a, b, wrong) end)
    end
    assert.has_error(function() tcpnet.copy() end)
    assert.has_error(function() tcpnet.copy(a) end)
  end))

  it("outside every task needs none", function()
    local a, from, _first <close> = tcp.pair()
    local to, b, _second <close> = tcp.pair()
    a:write "plain"
    a:shutdown()
    assert.equal(5, tcpnet.copy(from, to))
    assert.equal("plain", b:read())
  end)
end)

describe("copy_bidirectional", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("passes both directions and counts them", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    assert(client:write "question")
    assert.equal("question", backend:read_exact(8))
    assert(backend:write "the answer")
    assert.equal("the answer", client:read_exact(10))
    client:close()
    assert.equal("", backend:read_to_end())
    backend:close()
    assert.same({ true, 8, 10 }, { proxy:join(5) })
  end))

  it("passes the half-close on and goes on the other way: 0 and 4 bytes (B239)", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    assert(client:shutdown())
    assert.equal("", backend:read_to_end())
    assert.equal("waiting", proxy:status())
    assert(backend:write "late")
    backend:close()
    assert.equal("late", client:read_to_end())
    local results = { proxy:join(5) }
    assert.same({ true, 0, 4 }, results)
    assert.equal("integer", math.type(results[2]))
  end))

  it("moves much both ways at once, byte for byte", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local up, down = tcp.bytes(16 << 20), tcp.bytes((12 << 20) + 3):reverse()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    for _, job in ipairs { { client, up }, { backend, down } } do
      tcpnet.spawn(function()
        job[1]:write(job[2])
        job[1]:shutdown()
      end)
    end
    local at_client = tcpnet.spawn(client.read_to_end, client)
    local at_backend = tcpnet.spawn(backend.read_to_end, backend)
    local ok, bytes = at_client:join(15)
    assert.is_true(ok and bytes == down)
    ok, bytes = at_backend:join(15)
    assert.is_true(ok and bytes == up)
    assert.same({ true, #up, #down }, { proxy:join(5) })
  end))

  it("takes what is buffered on either side", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    client:write "head\nup"
    backend:write "head\ndown"
    assert.equal("head", a:read_line())
    assert.equal("head", b:read_line())
    client:shutdown()
    backend:shutdown()
    local there, back = tcpnet.copy_bidirectional(a, b)
    assert.equal(2, there)
    assert.equal(4, back)
    assert.equal("up", backend:read(10))
    assert.equal("down", client:read(10))
  end))

  it("ends at once with a read error of either side (B241)", in_task(function()
    for which = 1, 2 do
      local client, a, _first <close> = tcp.pair()
      local b, backend, _second <close> = tcp.pair()
      local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
      tcpnet.yield()
      tcp.close_with_reset(which == 1 and client or backend)
      local ok, count, err = proxy:join(5)
      assert.is_true(ok)
      fails("ECONNRESET", count, err)
    end
  end))

  it("ends at once with a write error of either side (B241)", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, _, _second <close> = tcp.pair()
    assert(b:shutdown())
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    client:write "nowhere to go"
    local ok, count, err = proxy:join(5)
    assert.is_true(ok)
    fails("EPIPE", count, err)
  end))

  it("ends with CLOSED when one of them is closed", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, _, _second <close> = tcp.pair()
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    tcpnet.sleep(0.005)
    b:close()
    local ok, count, err = proxy:join(5)
    assert.is_true(ok)
    fails("CLOSED", count, err)
    assert.is_false(client:closed())
  end))

  it("cancelled leaves no task behind and both streams usable", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    local before = tcpnet.metrics().tasks
    local proxy = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    tcpnet.sleep(0.005)
    proxy:cancel()
    fails("CANCELED", proxy:join(5))
    tcpnet.yield()
    assert.equal(before, tcpnet.metrics().tasks)
    client:write "x"
    assert.equal("x", a:read())
    b:write "y"
    assert.equal("y", backend:read())
  end))

  it("works twice in a row, proxy behind proxy", in_task(function()
    local client, a, _first <close> = tcp.pair()
    local b, c, _second <close> = tcp.pair()
    local d, backend, _third <close> = tcp.pair()
    local one = tcpnet.spawn(tcpnet.copy_bidirectional, a, b)
    local two = tcpnet.spawn(tcpnet.copy_bidirectional, c, d)
    local all = tcp.bytes(1 << 20)
    tcpnet.spawn(function()
      client:write(all)
      client:shutdown()
    end)
    assert.is_true(backend:read_to_end() == all)
    backend:write "done"
    backend:close()
    assert.equal("done", client:read_to_end())
    assert.same({ true, #all, 4 }, { one:join(5) })
    assert.same({ true, #all, 4 }, { two:join(5) })
  end))

  it("raises on what is no stream", in_task(function()
    local a, _, _guard <close> = tcp.pair()
    for _, wrong in ipairs { "x", 1, {}, true, io.stdout } do
      assert.has_error(function() tcpnet.copy_bidirectional(a, wrong) end)
      assert.has_error(function() tcpnet.copy_bidirectional(wrong, a) end)
    end
    assert.has_error(function() tcpnet.copy_bidirectional() end)
  end))

  it("outside every task needs none", function()
    local client, a, _first <close> = tcp.pair()
    local b, backend, _second <close> = tcp.pair()
    client:write "1"
    client:shutdown()
    backend:write "22"
    backend:shutdown()
    assert.same({ 1, 2 }, { tcpnet.copy_bidirectional(a, b) })
  end)
end)
