-- A Buffer knew of one write that waits, and only of write, write_from and write_some, and only once they had sent
-- something. Behind the first of two writes, behind its turn, and in a list or a message it could be changed.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local UnixStream, UnixDatagram, Buffer = tcpnet.UnixStream, tcpnet.UnixDatagram, tcpnet.Buffer

local function filled(text)
  return Buffer.new(#text):append(text)
end

local function is_claimed(buffer)
  local ok, err = pcall(buffer.consume, buffer, 0)
  assert.is_true(ok or err:find "a write of this Buffer is waiting" ~= nil)
  return not ok
end

local function fill(stream)
  while stream:try_write(("x"):rep(65536)) do end
end

local function full_stream()
  local here, there = assert(UnixStream.pair())
  fill(here)
  return here, there
end

local function full_datagram()
  local here, there = assert(UnixDatagram.pair())
  while here:try_send "x" do end
  return here, there
end

describe("a Buffer stays as it is while it waits in", function()
  local sends = {
    send = function(sock, buffer) return sock:send(buffer) end,
    send_vectored = function(sock, buffer) return sock:send_vectored { "the ", buffer } end,
    send_many = function(sock, buffer) return sock:send_many { "one", buffer } end,
    ["send_many, as an item"] = function(sock, buffer) return sock:send_many { { buffer } } end,
    ["send_many, as a named item"] = function(sock, buffer) return sock:send_many { { data = buffer } } end,
    sendmsg = function(sock, buffer) return sock:sendmsg { data = buffer } end,
    ["sendmsg of a list"] = function(sock, buffer) return sock:sendmsg { data = { "the ", buffer } } end,
  }
  local writes = {
    write = function(stream, buffer) return stream:write("the ", buffer) end,
    write_some = function(stream, buffer) return stream:write_some(buffer) end,
    write_from = function(stream, buffer) return stream:write_from(buffer) end,
    write_vectored = function(stream, buffer) return stream:write_vectored { "the ", buffer } end,
  }
  for make, calls in pairs { [full_datagram] = sends, [full_stream] = writes } do
    for name, call in pairs(calls) do
      it(name, tcp.in_task(function()
        local here, there = make()
        local _both <close> = tcp.guard(here, there)
        local buffer = filled "message"
        local task = tcpnet.spawn(call, here, buffer)
        tcpnet.sleep(0)
        assert.equal("waiting", task:status())
        assert.is_true(is_claimed(buffer))
        task:cancel()
        assert.is_false(is_claimed(buffer))
      end))
    end
  end

  it("the line for its turn", tcp.in_task(function()
    local here, there = full_stream()
    local _both <close> = tcp.guard(here, there)
    local first = tcpnet.spawn(here.write, here, "first")
    tcpnet.sleep(0)
    local buffer = filled "second"
    local second = tcpnet.spawn(here.write, here, buffer)
    tcpnet.sleep(0)
    assert.is_true(is_claimed(buffer))
    first:cancel()
    second:cancel()
    assert.is_false(is_claimed(buffer))
  end))

  it("several writes", tcp.in_task(function()
    local buffer, tasks, ends = filled "message", {}, {}
    for i = 1, 3 do
      local here, there = full_stream()
      ends[i], ends[i + 3] = here, there
      tasks[i] = tcpnet.spawn(here.write, here, buffer, buffer)
    end
    local _all <close> = tcp.guard(table.unpack(ends))
    tcpnet.sleep(0)
    for _, i in ipairs { 2, 1, 3 } do
      assert.is_true(is_claimed(buffer))
      if i == 1 then
        tasks[1]:cancel()
      else
        assert.equal("message", tostring(buffer))
        while ends[i + 3]:try_read() do end
        assert.same({ true, 14 }, { tasks[i]:join() })
      end
    end
    assert.is_false(is_claimed(buffer))
    buffer:clear():append "other"
    tasks[1] = tcpnet.spawn(ends[1].write, ends[1], buffer)
    tcpnet.sleep(0)
    assert.is_true(is_claimed(buffer))
    tasks[1]:cancel()
    assert.is_false(is_claimed(buffer))
  end))
end)

describe("write_from of a Buffer that waits", function()
  it("lets no other write of it wait, nor waits beside one", tcp.in_task(function()
    local here, there = full_stream()
    local other, peer = full_stream()
    local _all <close> = tcp.guard(here, there, other, peer)
    local buffer = filled "message"
    local first = tcpnet.spawn(here.write_from, here, buffer)
    tcpnet.sleep(0)
    assert.error_matches(function() other:write(buffer) end, "write: a write_from of this Buffer is waiting")
    first:cancel()
    first = tcpnet.spawn(here.write, here, buffer)
    tcpnet.sleep(0)
    assert.error_matches(function() other:write_from(buffer) end, "a write of this Buffer is waiting")
    first:cancel()
    assert.is_false(is_claimed(buffer))
  end))
end)
