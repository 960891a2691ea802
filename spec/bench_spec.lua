-- The bench still measures: its tests run, their tables say what they should, and can be shown again. How fast anything
-- is, is no matter here.
local file = require "pl.file"
local process = require "spec.support.process"
local program = require "spec.support.program"

local function run(...)
  return process.run("env", "LUA=" .. process.interpreter, ...)
end

local function succeed(code, output)
  assert(code == 0, output)
  return output
end

-- line_of(output, label) → the numbers in the line of a table that begins so, in order.
local function numbers_of(output, label)
  local line = output:match("\n| " .. label .. " |([^\n]*)")
  assert(line, "no line for " .. label .. " in:\n" .. output)
  local numbers = {}
  for number in line:gsub(",", ""):gmatch "%d+%.?%d*" do
    numbers[#numbers + 1] = tonumber(number)
  end
  return numbers
end

-- A server of the bench is no child of the spec, so that a sanitizer would not be loaded into it.
((program.sanitized or program.foreign) and pending or describe)("the bench", function()
  local folder, samples
  setup(function()
    folder = program.folder()
    samples = folder.path .. "/samples.json"
  end)
  teardown(function()
    os.execute("rm -rf " .. program.quote(folder.path))
  end)

  local function bench(...)
    return succeed(run("bench/run", "--rounds", 1, "--secs", 0.05, "--tries", 1, ...))
  end

  it("measures every way to use a server", function()
    local tests = "rtt1,large64,stream,sink,accept,lines,unix64,udp32,idle,transfer,syscalls"
    local output = bench("--tests", tests, "--only", "tcpnet,tcpnet-buffer,tcpnet-copy,raw-spin,tcpnet-spin", "--conns",
      20, "--bytes", 1 << 20, "--json", samples)
    local labels = {
      "echo of 64 B, 1 connection: CPU per request, µs",
      "echo of 64 B, 1 connection: requests per second %(spin%)",
      "echo of 16 KiB, 64 connections: CPU per request, µs %(buffer%)",
      "64 KiB at a time echoed, 1 connection: CPU per MiB, µs",
      "64 KiB at a time, one way, 4 connections: CPU per MiB, µs %(buffer%)",
      "connect, a byte each way, close: CPU per connection, µs",
      "lines of 40 B [^|]*: CPU per line, µs",
      "echo of 64 B, 64 Unix connections: requests per second",
      "echo of 64 B, 64 Unix connections: CPU per request, µs %(copy%)",
      "datagrams × 64 B, 32 in a call: datagrams per second",
    }
    for _, label in ipairs(labels) do
      local numbers = numbers_of(output, label)
      assert.is_true(#numbers >= 2, label)
      if label:find "CPU" then -- a rate may be next to nothing on a busy machine
        assert.is_true(numbers[1] > 0 and numbers[2] > 0, label)
      end
    end
    local calls = numbers_of(output, "system calls per request, 1 connection")
    assert.is_true(calls[1] > 2.9 and calls[1] < 10, output)
    assert.is_true(calls[2] > 1.9 and calls[2] < 10, output)
    assert.is_nil(output:find("**failed**", 1, true), output)
  end)

  it("measures clients, and two processes on one port", function()
    local output = bench("--tests", "client64,reuseport", "--only", "tcpnet")
    for _, label in ipairs { "client of the raw C server, 64 connections, 64 B: requests per second",
      "two processes on one port %(reuseport%): CPU per request, × one process" } do
      assert.is_true(#numbers_of(output, label) >= 2, output)
    end
    assert.is_nil(output:find("**failed**", 1, true), output)
  end)

  it("says who is left out, and why", function()
    local output = succeed(run("LUA_CPATH_5_4=/none", "bench/run", "--rounds", 1, "--secs", 0.05, "--tests", "rtt1",
      "--only", "luv"))
    assert.truthy(output:find("left out: luv (no Lua module luv)", 1, true), output)
  end)

  it("shows samples again, in a page and as a drawing", function()
    local page, drawing = folder.path .. "/page.md", folder.path .. "/drawing.svg"
    file.write(page, "before\n<!-- tables: written by the bench -->\nold\n<!-- end of tables -->\nafter\n")
    succeed(run("bench/run", "--tests", "none", "--from", samples, "--write", page, "--svg", drawing))
    local text = file.read(page)
    assert.truthy(text:find "^before\n<!%-%- tables: written by the bench %-%->\n\n|")
    assert.truthy(text:find "\n<!%-%- end of tables %-%->\nafter\n$")
    assert.is_nil(text:find("old", 1, true))
    numbers_of(text, "echo of 64 B, 1 connection: CPU per request, µs")
    local svg = file.read(drawing)
    assert.truthy(svg:find "^<svg .*</svg>\n$")
    assert.truthy(svg:find('class="bar ours"', 1, true))
  end)

  it("refuses a page without its marks", function()
    local page = program.write(folder.path .. "/bare.md", "nothing\n")
    local code, output = run("bench/run", "--tests", "none", "--from", samples, "--write", page)
    assert.not_equal(0, code)
    assert.truthy(output:find("has no marks for tables", 1, true), output)
    assert.equal("nothing\n", file.read(page))
  end)

  it("counts instructions, and the same in each run", function()
    local output = succeed(run("bench/instructions", "--only", "raw", "--primitives", "", "--rounds", 40,
      "--conns", 16, "--runs", 2, "--lines", 4000))
    local raw = numbers_of(output, "raw")
    assert.is_true(raw[1] > 10 and raw[1] < 500, output)
    assert.is_true(raw[3] - raw[2] < 2, output)
  end)
end)
