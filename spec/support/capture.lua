-- What is seen on a network interface of a namespace (support/netns), by tshark: packets as tables.
local program = require "spec.support.program"
local tcpnet = require "tcpnet"

local capture = {}
local Capture = {}
Capture.__index = Capture

-- Our name of a field, the analyzer's. Where a packet has several of one, they are joined by commas.
local FIELDS = {
  { "from", "ip.src" },
  { "to", "ip.dst" },
  { "from_v6", "ipv6.src" },
  { "ttl", "ip.ttl" },
  { "hop_limit", "ipv6.hlim" },
  { "dscp", "ip.dsfield.dscp" },
  { "ecn", "ip.dsfield.ecn" },
  { "dscp_v6", "ipv6.tclass.dscp" },
  { "ecn_v6", "ipv6.tclass.ecn" },
  { "flow_label", "ipv6.flow" },
  { "dont_fragment", "ip.flags.df" },
  { "tcp_from", "tcp.srcport" },
  { "tcp_to", "tcp.dstport" },
  { "flags", "tcp.flags" },
  { "length", "tcp.len" },
  { "window", "tcp.window_size_value" },
  { "urgent", "tcp.urgent_pointer" },
  { "options", "tcp.option_kind" },
  { "mss", "tcp.options.mss_val" },
  { "cookie", "tcp.options.tfo.cookie" },
  { "cookie_request", "tcp.options.tfo.request" },
  { "digest", "tcp.options.md5.digest" },
  { "keepalive", "tcp.analysis.keep_alive" },
  { "tcp_payload", "tcp.payload" },
  { "retransmission", "tcp.analysis.retransmission" },
  { "icmp_type", "icmp.type" },
  { "icmp_code", "icmp.code" },
  { "icmp6_type", "icmpv6.type" },
  { "icmp6_code", "icmpv6.code" },
  { "udp_from", "udp.srcport" },
  { "udp_to", "udp.dstport" },
  { "udp_checksum", "udp.checksum" },
  { "udp_payload", "udp.payload" },
}

local FLAGS = { fin = 0x01, syn = 0x02, rst = 0x04, psh = 0x08, ack = 0x10, urg = 0x20 }

-- reason() → why nothing can be captured here, or nil.
function capture.reason()
  return program.shell "command -v tshark && command -v dumpcap" ~= 0 and "needs tshark" or nil
end

local function bytes_of(hex)
  return (hex:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

-- Numbers are integers; `data` is the payload.
local function parse(line)
  local packet, index = {}, 0
  for text in (line .. "\t"):gmatch "([^\t]*)\t" do
    index = index + 1
    local name = FIELDS[index][1]
    if name:find "_payload$" then
      packet.data = text ~= "" and bytes_of(text) or packet.data or ""
    elseif text ~= "" then
      packet[name] = name ~= "cookie" and name ~= "digest" and math.tointeger(tonumber(text)) or text
    end
  end
  for name, bit in pairs(FLAGS) do
    packet[name] = (packet.flags or 0) & bit ~= 0
  end
  return packet
end

-- A datagram of the loopback that nobody else sends, before and behind what is to be seen.
local function send_mark(here, mark)
  if not here.marks then
    here.marks = assert(tcpnet.Socket.new("inet", "dgram"))
    assert(here.marks:bind "127.0.0.1:0")
  end
  assert(here.marks:send_to(mark, here.marks:local_addr()))
end

-- Reads packets until the mark → list of those before it.
local function until_mark(self, mark)
  local packets = {}
  while true do
    local packet = parse(self.child:expect "^([^\t]*\t.*)$")
    if packet.udp_from and packet.udp_from == packet.udp_to and packet.data == mark then
      return packets
    end
    packets[#packets + 1] = packet
  end
end

-- start(namespace[, interface]) → capture of its loopback, with nothing in it yet; "any" is every interface, the
-- loopback among them.
function capture.start(namespace, interface)
  local self = setmetatable({ namespace = namespace, marks = 0 }, Capture)
  -- In two programs: by itself tshark looks at what was captured twice a second only. With 64 MiB, where 2 are usual:
  -- on a busy machine the kernel would drop what finds no room, a mark among it.
  local command = { ("exec 2>&1; dumpcap -q -B 64 -i %s -P -w - |"):format(interface or "lo"),
    "tshark -l -n -r - -T fields -E separator=/t -E occurrence=a" }
  for _, field in ipairs(FIELDS) do
    command[#command + 1] = "-e " .. field[2]
  end
  self.child = namespace:start("sh", "-c", table.concat(command, " "))
  self.child:expect "^File: "
  return self
end

-- begin(): what is seen from now on.
function Capture:begin()
  self.marks = self.marks + 1
  self.namespace:run(send_mark, ("mark %d begins"):format(self.marks))
end

-- finish() → list of the packets since then.
function Capture:finish()
  self.namespace:run(send_mark, ("mark %d ends"):format(self.marks))
  until_mark(self, ("mark %d begins"):format(self.marks))
  return until_mark(self, ("mark %d ends"):format(self.marks))
end

-- packets(fn, ...) → list of the packets that fn(here, ...) caused, run in the namespace; what fn returned.
function Capture:packets(fn, ...)
  self:begin()
  local results = table.pack(self.namespace:run(fn, ...))
  return self:finish(), table.unpack(results, 1, results.n)
end

function Capture:close()
  self.child:stop()
end

return capture
