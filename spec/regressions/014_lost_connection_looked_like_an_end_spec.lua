-- What ended a connection, other than a reset, was told once; whoever read after that was told "end of stream", and
-- took what had come for all there was. The other way round, an empty datagram was taken for a reset where one had been
-- told of before.
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("a connection that was lost", function()
  local missing = netns.reason() or not (tcp.can "nft --version" and tcp.can "ss --version") and "needs nftables and ss"
  local host

  setup(function()
    host = not missing and netns.new()
  end)
  teardown(netns.close_all)
  before_each(leaks.note)
  after_each(leaks.check)

  -- lost(code, name, fn, [opts]): fn(client, server), in a namespace, loses the connection, and may return the code
  -- that it was told; three reads, or two after that, are to tell the same.
  local function lost(code, name, fn, opts)
    it("is never an end of stream: " .. name, function()
      if missing then
        return pending(missing)
      end
      local codes = host:run(function()
        local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
        local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), opts))
        local server <close> = assert(listener:accept())
        assert(server:write "half of i")
        assert(client:read_exact(9))
        local list = { fn(client, listener:local_addr():port()) }
        for _, read in ipairs { "read", "read_line", "read_to_end" } do
          local text, err = client[read](client)
          list[#list + 1] = text or err and err.code or "the end"
        end
        return table.move(list, 1, 3, 1, {})
      end)
      assert.same({ code, code, code }, codes)
    end)
  end

  -- ss, run in the namespace, closes its sockets as the system does where a peer is not heard of any more.
  local function destroy(port)
    assert(os.execute(("ss -K state established 'dport = :%d' >/dev/null 2>&1"):format(port)))
  end

  -- The code that a read gets which waits while `happens` is done.
  local function waiting(client, happens)
    local first = tcpnet.spawn(client.read, client)
    tcpnet.yield()
    happens()
    client:write "x"
    local _, _, err = first:join(15)
    return err and err.code or "the end"
  end

  lost("ECONNABORTED", "a reader is told again", function(_, port)
    destroy(port)
  end)

  lost("ECONNABORTED", "a reader is told what a writer was told before", function(client, port)
    destroy(port)
    return select(2, client:write "x").code
  end)

  lost("ECONNABORTED", "a reader is told what take_error said before", function(client, port)
    destroy(port)
    return client:take_error().code
  end)

  lost("ECONNABORTED", "a reader is told what one was told that waited", function(client, port)
    return waiting(client, function() destroy(port) end)
  end)

  lost("ETIMEDOUT", "because nobody answers", function(client, port)
    return waiting(client, function()
      assert(os.execute(([[nft 'add table inet deaf; add chain inet deaf out { type filter hook output priority 0; };
        add rule inet deaf out tcp dport %d drop']]):format(port)))
    end)
  end, { tcp_user_timeout = 0.3 })
end)

describe("an empty datagram", function()
  before_each(leaks.note)
  after_each(leaks.check)

  it("is one, though the peer was reset before", tcp.in_task(function()
    local folder <close> = program.folder()
    local one <close> = assert(tcpnet.UnixDatagram.bind(folder.path .. "/one"))
    local two <close> = assert(tcpnet.UnixDatagram.bind(folder.path .. "/two"))
    local three <close> = assert(tcpnet.UnixDatagram.bind(folder.path .. "/three"))
    assert(one:connect(two:local_addr()))
    assert(two:connect(one:local_addr()))
    assert(two:send "unread")
    assert(one:connect(three:local_addr())) -- leaves it, with a message unread
    tcp.fails("ECONNRESET", two:recv())
    assert.equal(0, one:send_to("", two:local_addr()))
    assert.equal("", two:recv())
  end))
end)
