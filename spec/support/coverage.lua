-- coverage.lua FILE: which lines of csrc ran, by a file of lcov's, and for each block that did not why not
-- (spec/coverage_reasons.lua). It fails where a block has no reason or a reason no block, and below the percentage that
-- is asked for.
local reasons, by_chance = dofile "spec/coverage_reasons.lua"

local LEAST <const> = 97 -- percent

local function read_lines(path)
  local lines = {}
  for line in io.lines(path) do
    lines[#lines + 1] = line
  end
  return lines
end

-- name → list of {number, count}, sorted. A header has a part for each file that it is compiled into.
local function read_counts(path)
  local sums, counts = {}, nil
  for line in io.lines(path) do
    local name = line:match "^SF:.*/(csrc/.*)$"
    local number, count = line:match "^DA:(%d+),(%d+)"
    if line:find "^SF:" then
      counts = name and (sums[name] or {}) or nil
      sums[name or ""] = counts
    elseif number and counts then
      number = tonumber(number)
      counts[number] = (counts[number] or 0) + tonumber(count)
    end
  end
  local files = {}
  for name, list in pairs(sums) do
    files[name] = {}
    for number, count in pairs(list) do
      table.insert(files[name], { number, count })
    end
    table.sort(files[name], function(a, b) return a[1] < b[1] end)
  end
  return files
end

local function trimmed(line)
  return (line:gsub("^%s+", ""):gsub("%s+$", ""))
end

-- The blocks of lines, one behind the other, that did not run: {first, last, text of the first}. The end of a function
-- whose last call never returns is none.
local function blocks_of(name, counts)
  local blocks, open = {}, nil
  local source = read_lines(name)
  for _, pair in ipairs(counts) do
    local number, count = pair[1], pair[2]
    if count > 0 or source[number] == "}" then
      open = nil
    elseif open then
      open.last = number
    else
      open = { first = number, last = number, text = trimmed(source[number]) }
      blocks[#blocks + 1] = open
    end
  end
  return blocks
end

local used = {}

-- A reason for that line of that file, or for lines like it in any.
local function reason_for(name, text)
  for _, file in ipairs { name, "*" } do
    for code, reason in pairs(reasons[file] or {}) do
      if text:find(code, 1, true) then
        used[file .. code] = true
        return reason
      end
    end
  end
end

local function percent(ran, all)
  return 100 * ran / all
end

local function main(path)
  local files, names = read_counts(path), {}
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names)
  local all_ran, all, without = 0, 0, 0
  local notes = {}
  for _, name in ipairs(names) do
    local ran = 0
    for _, pair in ipairs(files[name]) do
      ran = ran + (pair[2] > 0 and 1 or 0)
    end
    print(("%6.1f %%  %4d of %4d  %s"):format(percent(ran, #files[name]), ran, #files[name], name))
    all_ran, all = all_ran + ran, all + #files[name]
    for _, block in ipairs(blocks_of(name, files[name])) do
      local reason = reason_for(name, block.text)
      without = without + (reason and 0 or 1)
      local place = block.last > block.first and block.first .. "-" .. block.last or block.first
      notes[#notes + 1] = ("%s:%s: %s\n    %s"):format(name, place, block.text, reason or "NO REASON")
    end
  end
  print(("%6.1f %%  %4d of %4d  in all\n"):format(percent(all_ran, all), all_ran, all))
  print(table.concat(notes, "\n"))
  local stale = 0
  for file, list in pairs(reasons) do
    for code, reason in pairs(list) do
      if not used[file .. code] and not by_chance[reason] then
        stale = stale + 1
        print(("%s: %q has a reason, and no such line was left out"):format(file, code))
      end
    end
  end
  print(("%d blocks did not run, %d of them without a reason; %d reasons are for nothing"):format(#notes, without,
    stale))
  return percent(all_ran, all) >= LEAST and without == 0 and stale == 0
end

os.exit(main(arg[1]))
