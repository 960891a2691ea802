-- lines_floor.lua PORT: the floor for read_line in Lua; what it does is in lines_floor.c.
local floor = require "lines_floor"
local line = floor.line

floor.listen(tonumber(arg[1]))
while true do
  floor.accept()
  while line() do -- luacheck: ignore 542
  end
end
