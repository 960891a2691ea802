-- What ended a connection, other than a reset, was told once; whoever read after that was told "end of stream", and
-- took what had come for all there was.
local leaks = require "spec.support.leaks"
local netns = require "spec.support.netns"
local tcpnet = require "tcpnet"

describe("a connection that was lost", function()
  local missing = netns.reason()
  local host

  setup(function()
    host = not missing and netns.new()
  end)
  teardown(netns.close_all)
  before_each(leaks.note)
  after_each(leaks.check)

  local function fails(name, fn)
    it("is never an end of stream: " .. name, function()
      if missing then
        return pending(missing)
      end
      assert.same({ "ECONNABORTED", "ECONNABORTED", "ECONNABORTED" }, host:run(fn))
    end)
  end

  -- ss, run in the namespace, closes its sockets as the system does where a peer is not heard of any more.
  local function lose(here)
    local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
    here.client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
    here.server = assert(listener:accept())
    assert(here.server:write "half of i")
    assert(here.client:read_exact(9))
    os.execute(("ss -K state established 'sport = :%d' >/dev/null 2>&1"):format(here.client:local_addr():port()))
    return here.client
  end

  local function codes(client, first)
    local list = { first }
    for _, read in ipairs { "read", "read_line", "read_to_end" } do
      local text, err = client[read](client)
      list[#list + 1] = text or err and err.code or "the end"
    end
    client:close()
    return table.move(list, 1, 3, 1, {})
  end

  fails("a reader is told again", function(here)
    local client = lose(here)
    return codes(client)
  end)

  fails("a reader is told what a writer was told before", function(here)
    local client = lose(here)
    return codes(client, select(2, client:write "x").code)
  end)

  fails("a reader is told what take_error said before", function(here)
    local client = lose(here)
    return codes(client, client:take_error().code)
  end)
end)
