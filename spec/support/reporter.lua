-- busted's output for `./dev test`: silent but for failures, each printed when it happens. Counts are kept in
-- the file named by `-Xoutput`, with the test that runs, so that a crash or a hang still leaves word of both. What a
-- spec file, or a script that it starts, leaves open is a failure of its own (ledger.lua).
local busted = require "busted"
local ledger = require "spec.support.ledger"
local pretty = require "pl.pretty"

return function(options)
  local handler = require "busted.outputHandlers.base"()
  local tally = options.arguments[1] and assert(io.open(options.arguments[1], "w"))
  if tally then
    tally:setvbuf("full")
  end

  local function counts()
    return handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount
  end

  local function record(state, name)
    if tally then
      tally:seek("set")
      local passed, failed, skipped = counts()
      -- A longer name of an earlier test may stay behind; only the first two lines are read.
      tally:write(("%d %d %d %s\n%s\n"):format(passed, failed, skipped, state, name:gsub("\n", " ")))
      tally:flush()
    end
  end

  local function text(message)
    if type(message) == "string" then
      return message
    elseif message == nil then
      return "raised nil"
    end
    local meta = getmetatable(message)
    return meta and meta.__tostring and tostring(message) or pretty.write(message)
  end

  -- Loaded before the first entry: libuv keeps a pipe for the whole process.
  local core = select(2, assert(pcall(require, "tcpnet.core")))
  local opened
  busted.subscribe({ "suite", "start" }, function()
    ledger.settle(core)
    opened = ledger.entry(core)
    return nil, true
  end)

  local function left_open(what, difference)
    handler.errorsCount = handler.errorsCount + 1
    io.write("\nFAILED: ", what, "\n", difference, "\n")
    io.flush()
  end

  -- What the children that ended so far have written.
  local function check_children(name)
    local path = os.getenv "TCPNET_LEDGER"
    local file = path and io.open(path)
    if file then
      left_open(name .. ": a script that it started left something open", file:read "a")
      file:close()
      os.remove(path)
    end
  end

  local function print_failure(element, _, message, trace)
    trace = trace or element.trace
    io.write("\nFAILED: ", handler.getFullName(element), "\n")
    if trace and trace.short_src then
      io.write(trace.short_src, ":", trace.currentline or 0, "\n")
    end
    io.write(text(message), "\n", trace and trace.traceback or "", "\n")
    io.flush()
    return nil, true
  end

  busted.subscribe({ "test", "start" }, function(element)
    record("running", handler.getFullName(element))
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element)
    check_children(handler.getFullName(element))
    return nil, true
  end)
  busted.subscribe({ "suite", "end" }, function()
    local difference = ledger.settled_difference(opened, core, true)
    if difference then
      left_open("the spec file leaves something open", difference)
    end
    check_children "the spec file"
    record("finished", "the end, after the last test")
    if not tally then
      print(("%d passed, %d failed, %d skipped"):format(counts()))
    end
    return nil, true
  end)
  busted.subscribe({ "failure" }, print_failure)
  busted.subscribe({ "error" }, print_failure)

  return handler
end
