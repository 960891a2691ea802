-- A connection that the system gave up, or destroyed, told the first reader why, and to the second it looked like the
-- end of the stream. The other way round, an empty datagram was taken for a reset where one had been told of before.
local tcpnet = require "tcpnet"
local netns = require "spec.support.netns"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"

describe("a connection that is lost", function()
  local missing = netns.reason() or not (tcp.can "nft --version" and tcp.can "ss --version") and "needs nftables and ss"
  if missing then
    return pending(missing)
  end
  local space

  setup(function()
    space = netns.new()
  end)
  teardown(netns.close_all)

  -- The codes of three reads, the first of which waits while something happens to the connection.
  local function reads(port, happens, opts)
    return space:run(function()
      local listener <close> = assert(tcpnet.TcpListener.bind(("127.0.0.1:%d"):format(port)))
      local client <close> = assert(tcpnet.TcpStream.connect(listener:local_addr(), opts))
      local _server <close> = assert(listener:accept())
      local codes = {}
      local function read()
        local bytes, err = client:read()
        codes[#codes + 1] = bytes or err and err.code or "end"
      end
      local first = tcpnet.spawn(read)
      tcpnet.yield()
      assert(os.execute(happens))
      client:write "x"
      assert(first:join(15))
      read()
      read()
      return codes
    end)
  end

  it("because it was destroyed is so for every read", function()
    assert.same({ "ECONNABORTED", "ECONNABORTED", "ECONNABORTED" },
      reads(7101, "ss -K state established dport = :7101 >/dev/null"))
  end)

  it("because nobody answers is so for every read", function()
    assert.same({ "ETIMEDOUT", "ETIMEDOUT", "ETIMEDOUT" }, reads(7102,
      [[nft 'add table inet deaf; add chain inet deaf out { type filter hook output priority 0; };
        add rule inet deaf out tcp dport 7102 drop']], { tcp_user_timeout = 0.3 }))
  end)
end)

describe("an empty datagram", function()
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
