-- channel and unbounded: messages from many senders, each to one receiver, in order (Tokio's mpsc). The rest is in C.
local check = require "tcpnet.check"
local core = require "tcpnet.core"

local channel = {}

-- channel(capacity) → sender, receiver
function channel.bounded(capacity)
  return core.private.new_channel(check.integer(capacity, 1, nil, 1, "channel", "capacity"))
end

-- unbounded() → sender, receiver; send never waits.
function channel.unbounded()
  return core.private.new_channel()
end

return channel
