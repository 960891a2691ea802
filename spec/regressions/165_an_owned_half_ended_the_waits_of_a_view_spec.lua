-- An owned half that closed ended the waits of a view of the stream by CLOSED, "the Socket is closed", which it is not;
-- and what the view sent after that waited for ever where the buffer was full: nothing told of the shutdown.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local in_task = tcp.in_task

describe("a view of a stream whose owned half closes", function()
  before_each(leaks.note)
  after_each(leaks.check)

  -- view, peer, read half, write half, guard of them all
  local function open()
    local stream, peer = assert(tcpnet.UnixStream.pair())
    local view = assert(stream:as_socket())
    local read_half, write_half = stream:into_split()
    return view, peer, read_half, write_half, tcp.guard(view, peer, read_half, write_half)
  end

  local function waiting(object, name, ...)
    local task = tcpnet.spawn(object[name], object, ...)
    tcpnet.sleep(0.005)
    assert.equal("waiting", task:status())
    return task
  end

  local function failed(code, what, task)
    local _, value, err = task:join(5)
    assert.is_nil(value)
    assert.equal(code, err.code)
    assert.matches(what, tostring(err), 1, true)
  end

  it("can send no more, as after a shutdown", in_task(function()
    local view, _, _, write_half, _guard <close> = open()
    while view:try_send(("x"):rep(100000)) do end
    local write = waiting(write_half, "write", "x")
    local behind = waiting(view, "send", "x")
    write_half:close()
    failed("CLOSED", "the OwnedWriteHalf is closed", write)
    failed("EPIPE", "send", behind)
    failed("EPIPE", "send", tcpnet.spawn(view.send, view, "x"))
    assert.is_false(view:closed())
  end))

  it("hears of the shutdown where it alone waits", in_task(function()
    local view, _, _, write_half, _guard <close> = open()
    while view:try_send(("x"):rep(100000)) do end
    local send = waiting(view, "send", "x")
    write_half:close()
    failed("EPIPE", "send", send)
  end))

  it("receives on", in_task(function()
    local view, peer, read_half, _, _guard <close> = open()
    local recv = waiting(view, "recv")
    read_half:close()
    peer:write "for the view"
    assert.same({ true, "for the view" }, { recv:join(5) })
  end))
end)
