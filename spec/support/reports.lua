-- Takes the errors that nobody waits for, in place of stderr, while a test runs.
local tcpnet = require "tcpnet"

local reports = {}

-- reports.catch([answer]) → list of {task, err, traceback} that fills; the handler returns `answer`. Its __close puts
-- the default back.
function reports.catch(answer)
  local list = setmetatable({}, {
    __close = function()
      tcpnet.configure { on_task_error = false }
    end,
  })
  tcpnet.configure {
    on_task_error = function(...)
      list[#list + 1] = table.pack(...)
      return answer
    end,
  }
  return list
end

return reports
