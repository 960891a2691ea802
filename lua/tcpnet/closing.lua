-- Objects that are closed together, whatever happens: a set, to be kept in a to-be-closed variable.
local Closing = {}

function Closing.__close(set)
  for object in pairs(set) do
    object:close()
  end
end

return function()
  return setmetatable({}, Closing)
end
