-- UDP by names, with options by name.
local core = require "tcpnet.core"
local resolve = require "tcpnet.resolve"

local private = core.private
local UdpSocket = core.UdpSocket

local function bind_one(addr, options)
  local socket, err = UdpSocket[addr:is_ipv6() and "new_v6" or "new_v4"]()
  return resolve.prepared("bind", addr, socket, err, options, addr)
end

-- socket:bind(addr) → socket, for one of new_v4 or new_v6.
local bind_made = resolve.binder "UdpSocket"

-- UdpSocket.bind(addr[, opts]) → UdpSocket on the first address of the name that can be bound. opts: options by name.
function UdpSocket.bind(...)
  if private.kind((...)) == "UdpSocket" then
    return bind_made(...)
  end
  local address, port, opts, position = resolve.split_arguments("bind", ...)
  local options = resolve.take("UdpSocket", "bind", opts, position)
  local addresses, err = resolve.all("bind", address, port)
  if not addresses then
    return nil, err
  end
  return resolve.first_of(addresses, bind_one, options)
end
