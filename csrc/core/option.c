/* THE option table: see option.h. */
#include "core/option.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define ROW(name, level, number) #name, #number, level, number
const struct tn_option tn_options[] = {
  {ROW(reuseaddr,        SOL_SOCKET,   SO_REUSEADDR),    TN_OPTION_BOOL,   TN_ON_TCP, 0, 1,
   "Whether a local address that is still in use by old connections may be bound."},
  {ROW(reuseport,        SOL_SOCKET,   SO_REUSEPORT),    TN_OPTION_BOOL,   TN_ON_TCP, 0, 1,
   "Whether several sockets may bind the same address and share its connections."},
  {ROW(keepalive,        SOL_SOCKET,   SO_KEEPALIVE),    TN_OPTION_BOOL,   TN_ON_TCP | TN_INHERITED, 0, 1,
   "Whether an idle connection is probed."},
  {ROW(linger,           SOL_SOCKET,   SO_LINGER),       TN_OPTION_LINGER, TN_ON_TCP | TN_INHERITED, 0, 65535,
   "Whole seconds that closing waits for unsent bytes; nil: it does not wait. More than 0 may block the program."},
  {ROW(zero_linger,      SOL_SOCKET,   SO_LINGER),       TN_OPTION_ZERO_LINGER, TN_ON_TCP, 0, 0,
   "Closing sends RST and drops unsent bytes."},
  {ROW(send_buffer_size, SOL_SOCKET,   SO_SNDBUF),       TN_OPTION_INT,    TN_ON_TCP | TN_INHERITED, 0, INT_MAX,
   "Bytes of the kernel's send buffer; Linux doubles what is set."},
  {ROW(recv_buffer_size, SOL_SOCKET,   SO_RCVBUF),       TN_OPTION_INT,    TN_ON_TCP | TN_INHERITED, 0, INT_MAX,
   "Bytes of the kernel's receive buffer; Linux doubles what is set."},
  {ROW(device,           SOL_SOCKET,   SO_BINDTODEVICE), TN_OPTION_TEXT,   TN_ON_TCP, 0, 15,
   "Name of the interface that the socket is bound to; nil: none."},
  {ROW(nodelay,          IPPROTO_TCP,  TCP_NODELAY),     TN_OPTION_BOOL,   TN_ON_TCP | TN_INHERITED, 0, 1,
   "Whether small segments are sent at once (no Nagle algorithm)."},
  {ROW(quickack,         IPPROTO_TCP,  TCP_QUICKACK),    TN_OPTION_BOOL,   TN_ON_TCP, 0, 1,
   "Whether acknowledgements are sent at once; the kernel may change it back."},
  {ROW(ttl,              IPPROTO_IP,   IP_TTL),          TN_OPTION_INT,    TN_ON_TCP | TN_INHERITED, 1, 255,
   "Time to live of the packets sent over IPv4, in hops."},
  {ROW(tos_v4,           IPPROTO_IP,   IP_TOS),          TN_OPTION_INT,    TN_ON_TCP | TN_INHERITED, 0, 255,
   "Type of service of the packets sent over IPv4: DSCP and ECN bits."},
  {ROW(tclass_v6,        IPPROTO_IPV6, IPV6_TCLASS),     TN_OPTION_INT,    TN_ON_TCP | TN_INHERITED, 0, 255,
   "Traffic class of the packets sent over IPv6."},
  {ROW(only_v6,          IPPROTO_IPV6, IPV6_V6ONLY),     TN_OPTION_BOOL,   TN_ON_TCP, 0, 1,
   "Whether a socket for IPv6 refuses IPv4; to be set before it is bound."},
};
#undef ROW
/* clang-format on */

const size_t tn_options_count = sizeof tn_options / sizeof tn_options[0];

const struct tn_option *tn_option_find(const char *name, unsigned classes) {
  for (size_t i = 0; i < tn_options_count; i++) {
    if ((tn_options[i].classes & classes) && strcmp(tn_options[i].name, name) == 0) {
      return &tn_options[i];
    }
  }
  return NULL;
}

int tn_option_get(tn_fd fd, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  if (option->number == TN_ABSENT) {
    return -ENOTSUP;
  }
  value->length = sizeof value->bytes;
  memset(value->bytes, 0, sizeof value->bytes);
  return tn_socket_get_option(fd, option->level, option->number, value->bytes, &value->length);
}

int tn_option_set(tn_fd fd, const struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  if (option->number == TN_ABSENT) {
    return -ENOTSUP;
  }
  return tn_socket_set_option(fd, option->level, option->number, value->bytes, value->length);
}

void tn_option_values_free(struct tn_option_value *first) {
  while (first) {
    struct tn_option_value *next = first->next;
    free(first);
    first = next;
  }
}
