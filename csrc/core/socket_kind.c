/* Names of the domains, types and protocols of sockets: see socket_kind.h. */
#include "core/socket_kind.h"

#include "platform/platform.h"

#include <string.h>

/* clang-format off */
const struct tn_socket_kind tn_domains[] = {
  {"inet", AF_INET}, {"inet6", AF_INET6}, {"unix", AF_UNIX}, {"packet", AF_PACKET}, {"vsock", AF_VSOCK},
  {"netlink", AF_NETLINK}, {NULL, 0},
};
const struct tn_socket_kind tn_types[] = {
  {"stream", SOCK_STREAM}, {"dgram", SOCK_DGRAM}, {"seqpacket", SOCK_SEQPACKET}, {"raw", SOCK_RAW},
  {"dccp", SOCK_DCCP}, {NULL, 0},
};
const struct tn_socket_kind tn_protocols[] = {
  {"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6},
  {"mptcp", IPPROTO_MPTCP}, {"sctp", IPPROTO_SCTP}, {"dccp", IPPROTO_DCCP},
  {"udplite", IPPROTO_UDPLITE}, {"divert", IPPROTO_DIVERT}, {NULL, 0},
};
/* clang-format on */

const struct tn_socket_kind *tn_socket_kind_named(const struct tn_socket_kind *kinds,
                                                  const char *name) {
  for (; kinds->name; kinds++) {
    if (strcmp(kinds->name, name) == 0) {
      return kinds;
    }
  }
  return NULL;
}

const struct tn_socket_kind *tn_socket_kind_numbered(const struct tn_socket_kind *kinds,
                                                     int number) {
  for (; kinds->name; kinds++) {
    if (kinds->number == number) {
      return kinds;
    }
  }
  return NULL;
}
