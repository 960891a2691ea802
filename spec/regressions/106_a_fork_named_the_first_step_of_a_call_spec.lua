-- In a child of fork what is written in Lua raised under the name of its first step: set_tcp_keepalive as
-- "set_options", bind and connect with a text as "local_addr" or "new_v4".
local program = require "spec.support.program"

-- The names that the calls of a child raise under, where they are not their own.
local script = [[
  local tcpnet = require "tcpnet"
  local listener <close> = assert(tcpnet.TcpListener.bind "127.0.0.1:0")
  local stream <close> = assert(tcpnet.TcpStream.connect(listener:local_addr()))
  local socket, udp = assert(tcpnet.TcpSocket.new_v4()), assert(tcpnet.UdpSocket.new_v4())
  local unix, datagram = assert(tcpnet.UnixSocket.new_stream()), assert(tcpnet.UnixDatagram.unbound())
  local sock = assert(tcpnet.Socket.new("inet", "dgram"))
  local sender, receiver = tcpnet.pipe()
  local worker = assert(tcpnet.workers(1, function(parent) parent:recv() end))
  local text, path = "127.0.0.1:9", "@nobody"
  local child = fork()
  if child == 0 then
    local function try(name, fn, ...)
      local ok, message = pcall(fn, ...)
      local op = tostring(message):match "([%w_]+): this process was forked"
      if ok or op ~= name then
        print(name, op or message)
      end
    end
    local function of(object, name, ...)
      try(name, object[name], object, ...)
    end
    try("bind", tcpnet.TcpListener.bind, text)
    try("bind", tcpnet.UdpSocket.bind, text)
    try("bind", tcpnet.UnixListener.bind, path)
    try("bind", tcpnet.UnixDatagram.bind, path)
    try("connect", tcpnet.UnixStream.connect, path)
    try("features", tcpnet.features)
    of(socket, "bind", text)
    of(socket, "connect", text)
    of(udp, "bind", text)
    of(udp, "connect", text)
    of(udp, "send_to", "x", text)
    of(udp, "sendmsg", { data = "x", address = text })
    of(unix, "bind", path)
    of(unix, "connect", path)
    of(unix, "listen")
    of(datagram, "connect", path)
    of(datagram, "send_to", "x", path)
    of(sock, "bind", text)
    of(sock, "connect", text)
    of(sock, "connect_timeout", text, 1)
    of(sock, "send_to_vectored", { "x" }, text)
    of(stream, "set_tcp_keepalive", {})
    of(sender, "into_blocking_fd")
    of(receiver, "into_blocking_fd")
    print(worker[1]:status(), worker)
    exit_at_once(7)
  end
  print(wait_for(child))
]]

describe("a child of fork", function()
  it("is refused by the name of what it called", function()
    local folder <close> = program.folder()
    local host = program.host(folder)
    if not host then
      return pending "no C compiler or no lua5.4 for it"
    end
    local path = program.write(folder.path .. "/script.lua", script)
    local _, output = program.shell(("timeout -k 1 60 %s run %s"):format(host, program.quote(path)))
    assert.equal("running\tWorkers (1, 1 running)\n7\n", output)
  end)
end)
