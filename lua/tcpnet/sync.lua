-- tcpnet.sync: channels, locks and signals between tasks, with the semantics of Tokio's types of those names.
local core = require "tcpnet.core"
local channel = require "tcpnet.sync.channel"

core.sync = {
  channel = channel.bounded,
  unbounded = channel.unbounded,
  oneshot = require "tcpnet.sync.oneshot",
  broadcast = require "tcpnet.sync.broadcast",
  watch = require "tcpnet.sync.watch",
  Notify = require "tcpnet.sync.notify",
  Semaphore = require "tcpnet.sync.semaphore",
  Mutex = require "tcpnet.sync.mutex",
  Barrier = require "tcpnet.sync.barrier",
  CancellationToken = require "tcpnet.sync.cancellation_token",
}

return core.sync
