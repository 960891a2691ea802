-- recv_many of a stream's Socket began with what the kernel had, before the bytes that the library had read ahead, and
-- told the end of the stream as an empty message.
local leaks = require "spec.support.leaks"
local tcp = require "spec.support.tcp"

describe("recv_many of a stream", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("begins with the bytes read ahead, and ends with nil", tcp.in_task(function()
    local client, server, _guard <close> = tcp.pair()
    local socket <close> = assert(server:as_socket())
    assert(client:write "123456")
    assert.equal("123456", server:peek(6))
    assert.equal("1", server:read_exact(1))
    assert(client:write "late")
    assert(client:shutdown())
    assert.same({ { data = "23" } }, socket:recv_many(8, 2))
    assert.same({ { data = "456" } }, socket:recv_many(8))
    assert.same({ { data = "late" } }, socket:recv_many(8))
    assert.is_nil(socket:recv_many(8))
    assert.is_nil(select(2, socket:recv_many(8)))
  end))
end)
