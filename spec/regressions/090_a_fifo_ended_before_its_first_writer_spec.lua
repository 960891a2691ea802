-- The receiver of a FIFO read the end at once while no sender had come yet, where Tokio's waits for the first.
local leaks = require "spec.support.leaks"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task = tcp.fails, tcp.in_task

describe("a FIFO without a writer yet", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("has nothing to read", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(tcpnet.pipe.open_receiver(path))
    fails("EAGAIN", receiver:try_read())
    fails("EAGAIN", receiver:try_read_vectored { tcpnet.Buffer.new(8), tcpnet.Buffer.new(8) })
    fails("TIMEOUT", tcpnet.timeout(0.01, receiver.read, receiver))
  end))

  it("is read to the end of its first, who comes later", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(tcpnet.pipe.open_receiver(path))
    local reader <close> = tcpnet.spawn(receiver.read_to_end, receiver)
    tcpnet.sleep(0.01)
    assert.equal("waiting", reader:status())
    local sender = assert(tcpnet.pipe.open_sender(path))
    tcpnet.sleep(0.01)
    assert(sender:write "hello")
    tcpnet.sleep(0.01)
    assert.equal("waiting", reader:status())
    sender:close()
    assert.same({ true, "hello" }, { reader:join(5) })
    assert.same({}, { receiver:read() })
  end))

  it("ends with one who wrote nothing", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(tcpnet.pipe.open_receiver(path))
    local reader <close> = tcpnet.spawn(receiver.read, receiver)
    tcpnet.sleep(0.01)
    assert(tcpnet.pipe.open_sender(path)):close()
    assert.same({ true }, { reader:join(5) })
  end))

  it("is copied once there is one", in_task(function()
    local _folder <close>, path = program.fifo()
    local receiver <close> = assert(tcpnet.pipe.open_receiver(path))
    local output, input <close> = tcpnet.pipe()
    local copier <close> = tcpnet.spawn(tcpnet.copy, receiver, output)
    tcpnet.sleep(0.01)
    assert.equal("waiting", copier:status())
    local sender = assert(tcpnet.pipe.open_sender(path))
    assert(sender:write "hello")
    sender:close()
    assert.same({ true, 5 }, { copier:join(5) })
    output:close()
    assert.equal("hello", input:read_to_end())
  end))
end)
