-- TCP over the loopback for specs: works in tasks and outside them.
local tcpnet = require "tcpnet"

local loopback = {}

function loopback.listen(opts)
  return assert(tcpnet.TcpListener.bind("127.0.0.1:0", opts))
end

-- Two streams, connected to each other.
function loopback.pair()
  local listener <close> = loopback.listen()
  local client = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  return client, assert(listener:accept())
end

-- A listener whose queue is full, so that a connect to it waits; close the list when done.
function loopback.full_listener()
  local list = setmetatable({}, {
    __close = function(self)
      for _, object in ipairs(self) do
        object:close()
      end
    end,
  })
  list.listener = loopback.listen { backlog = 1 }
  list.address = list.listener:local_addr()
  list[1] = list.listener
  for _ = 1, 16 do
    local stream, err = tcpnet.TcpStream.connect(list.address, { timeout = 0.05 })
    if not stream then
      assert(err.code == "TIMEOUT", tostring(err))
      return list
    end
    list[#list + 1] = stream
  end
  error "the queue of the listener does not fill"
end

return loopback
