-- What is built in Lua on join_next and sleep took their refusal, in a __close that a cancel runs, for an end:
-- copy_bidirectional answered `nil, nil`, tick that a period had passed, each raised "table index is nil", and scope
-- raised the error.
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

describe("in a __close that a cancel runs", function()
  local function in_close(fn, ...)
    local arguments, results = table.pack(...), nil
    local task = tcpnet.spawn(function()
      local _ <close> = setmetatable({}, { __close = function()
        results = table.pack(pcall(fn, table.unpack(arguments, 1, arguments.n)))
      end })
      tcpnet.sleep(10)
    end)
    tcpnet.yield()
    task:cancel()
    return table.unpack(results, 1, results.n)
  end

  local function refused(op, ...)
    local ok, value, err = in_close(...)
    assert.is_true(ok, value)
    assert.is_nil(value)
    assert.equal("CANCELED", err.code)
    assert.equal(op, err.op)
  end

  local function slow()
    return tcpnet.sleep(10)
  end

  it("copy_bidirectional is refused", tcp.in_task(function()
    local a, b = assert(tcpnet.UnixStream.pair())
    local c, d = assert(tcpnet.UnixStream.pair())
    refused("copy_bidirectional", tcpnet.copy_bidirectional, a, c)
    assert(b:write "unharmed")
    assert.equal("unharmed", a:read())
    for _, stream in ipairs { a, b, c, d } do
      stream:close()
    end
  end))

  it("each is refused", tcp.in_task(function()
    refused("each", tcpnet.each, { 1, 2 }, 1, slow)
    assert.same({ true, {} }, { in_close(tcpnet.each, {}, 1, slow) })
  end))

  it("scope is refused", tcp.in_task(function()
    local began = false
    refused("scope", tcpnet.scope, function() began = true end)
    tcpnet.yield()
    assert.is_false(began)
  end))

  it("select is refused", tcp.in_task(function()
    refused("select", tcpnet.select, { slow, slow })
  end))

  it("tick is refused, and the next one waits", tcp.in_task(function()
    local began = tcpnet.now()
    local interval = tcpnet.interval(0.02)
    assert.equal(1, interval:tick())
    refused("tick", interval.tick, interval)
    assert.equal(1, interval:tick())
    assert.is_true(tcpnet.now() - began >= 0.02)
  end))
end)
