-- Scripts at random, in child processes with a watchdog (play.lua says what they do).
--   script.lua --seed N          that one alone, each call on a line
--   script.lua --seconds N       new ones for so long
--   script.lua --count N [FIRST] so many, seeds from FIRST, by default 1: every method of every class is among them
-- What was found is printed with its seed, and the exit status is 1.
local program = require "spec.support.program"

local BATCH, LIMIT = 40, 120 -- scripts in one process; seconds that it may take
local DUE = 10 -- rows of the catalogue that a script calls in any case

local ROOT = arg[0]:match "^(.*)fuzz/script%.lua$"
ROOT = ROOT == "" and "." or ROOT:gsub("/$", "")

-- the child ---------------------------------------------------------------------------------------

local function rows_of(catalogue, seed)
  local rows = {}
  for i = 0, DUE - 1 do
    rows[#rows + 1] = catalogue[((seed - 1) * DUE + i) % #catalogue + 1]
  end
  return rows
end

local function child(first, count, verbose)
  local play = require "fuzz.script.play"
  local leaks = require "spec.support.leaks"
  io.stdout:setvbuf "line"
  local catalogue = play.catalogue()
  print(("methods %d"):format(#catalogue))
  leaks.note()
  for seed = first, first + count - 1 do
    print(("seed %d"):format(seed))
    local findings = play.sequence(seed, rows_of(catalogue, seed), verbose and print)
    if #findings > 0 then
      print("found: " .. table.concat(findings, "\nfound: ", 1, math.min(#findings, 3)))
      os.exit(1)
    end
  end
  leaks.check()
  print "done"
end

-- the parent --------------------------------------------------------------------------------------

-- run(first, count[, "verbose"]) → nil, or what went wrong: its seed, output
local function run(first, count, verbose)
  local folder <close> = program.folder()
  local root = ROOT:find "^/" and ROOT or os.getenv "PWD" .. "/" .. ROOT
  -- its input is a pipe, for what it sends to itself it must be able to close
  local command = ("cd %s && : | LUA_PATH_5_4=%s timeout -s ABRT -k 5 %d %s -W %s --child %d %d %s"):format(
    program.quote(folder.path), program.quote(root .. "/?.lua;" .. (os.getenv "LUA_PATH_5_4" or ";;")), LIMIT,
    program.quote(program.interpreter), program.quote(root .. "/fuzz/script.lua"), first, count, verbose or "")
  local code, output = program.shell(command)
  if code == 0 and output:find "done\n$" and not output:find "Lua warning" then
    return nil
  end
  local seed = first
  for number in output:gmatch "seed (%d+)" do
    seed = math.tointeger(tonumber(number))
  end
  return seed, ("ended with %s\n%s"):format(tostring(code), output:sub(-6000))
end

local function report(seed, output)
  io.stderr:write(output, ("\nscript %d failed; again with: ./dev fuzz script --seed %d\n"):format(seed, seed))
  os.exit(1)
end

local function run_all(first, more)
  local done = 0
  while more(done) do
    local seed, output = run(first + done, BATCH)
    if seed then
      report(seed, output)
    end
    done = done + BATCH
  end
  print(("Done %d scripts"):format(done))
end

local what, number, first = arg[1], math.tointeger(tonumber(arg[2])), math.tointeger(tonumber(arg[3]))
if what == "--child" then
  child(number, first, arg[4])
elseif what == "--seconds" then
  local over = os.time() + number
  run_all(os.time() % 1000000 * 1000, function() return os.time() < over end)
elseif what == "--count" then
  run_all(first or 1, function(done) return done < number end)
else
  local seed, output = run(number, 1, "verbose")
  print(output or "nothing was found")
  os.exit(not seed)
end
