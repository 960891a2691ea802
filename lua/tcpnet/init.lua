-- The facade: gathers the names of the library. No logic of its own.
local core = require "tcpnet.core"

core.private.hide_sources(debug.getinfo(1, "S").source:match("^(.*)init%.lua$") or "")

require "tcpnet.task"
require "tcpnet.time"
require "tcpnet.net"
require "tcpnet.socket"
require "tcpnet.udp"
require "tcpnet.unix"
require "tcpnet.io"
require "tcpnet.sync"
require "tcpnet.codec"
require "tcpnet.process"
require "tcpnet.workers"

core._VERSION = "tcpnet scm"

return core
