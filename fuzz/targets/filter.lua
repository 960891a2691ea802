-- attach_filter: the system gets the very program of the list, and its answer comes back.
local tcpnet = require "tcpnet"
local fuzz = fuzz

local ours, plain = assert(tcpnet.Socket.pair("unix", "dgram"))
local MOST = { 0xffff, 0xff, 0xff, 0xffffffff }
local FIELDS = { "code", "jt", "jf", "k" }

-- What is no program raises, and says which field of which instruction it is.
local function misuse(list, kind)
  local line, field = kind // 16 % #list + 1, kind // 4 % 4 + 1
  local wrong = ({ -1 << 40, MOST[field] + 1, 0.5, "1" })[kind % 4 + 1]
  list[line][field] = wrong
  local ok, message = pcall(ours.attach_filter, ours, list)
  assert(not ok and message:find(("instruction %d: %s: "):format(line, FIELDS[field]), 1, true), message)
end

return function(bytes)
  local kind = bytes:byte() or 0
  local list, program = {}, {}
  for at = 2, #bytes - 7, 8 do
    local code, jt, jf, k = ("=I2I1I1I4"):unpack(bytes, at)
    local signed = k > 0x7fffffff and kind > 127 and k - (1 << 32) or k -- either reading of 32 bits
    list[#list + 1] = { code, jt, jf, signed }
    program[#program + 1] = bytes:sub(at, at + 7)
  end
  ours:detach_filter()
  if #list == 0 then
    assert(not pcall(ours.attach_filter, ours, list))
    return
  end
  program = table.concat(program)
  local errno = fuzz.attach(plain:fd(), program)
  local same, err = ours:attach_filter(list)
  if errno == 0 then
    assert(same == ours, err)
    assert(fuzz.attached(ours:fd()) == program, "another program")
  else
    assert(same == nil and err.errno == errno and fuzz.attached(ours:fd()) == "", "the system's answer was another")
  end
  if kind % 2 == 1 then
    misuse(list, kind // 2)
    assert(fuzz.attached(ours:fd()) == (errno == 0 and program or ""), "what was refused changed the program")
  end
end
