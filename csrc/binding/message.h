/* Message: what recvmsg returns. Its fields are a table in the user value. */
#ifndef TCPNET_MESSAGE_BINDING_H
#define TCPNET_MESSAGE_BINDING_H

#include "binding/class.h"

struct tn_received {
  struct tn_header header;
  int count;
  tn_fd fds[]; /* that came with it: its own until somebody takes them */
};

/* Leaves one that has no fields yet, with room for so many descriptors. */
struct tn_received *tn_received_new(lua_State *L, struct tn_runtime *rt, int room);

extern const struct tn_class tn_message_class;

#endif
