-- busted's output for `./dev test`: silent but for failures, each printed when it happens. Counts are kept in
-- the file named by `-Xoutput`, with the test that runs, so that a crash or a hang still leaves word of both.
local busted = require "busted"
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
  busted.subscribe({ "suite", "end" }, function()
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
