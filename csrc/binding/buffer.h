/* Buffer: a fixed piece of memory, read into and written from without a string for each. */
#ifndef TCPNET_BUFFER_H
#define TCPNET_BUFFER_H

#include "binding/runtime.h"
#include "platform/platform.h"

struct tn_buffer {
  struct tn_header header;
  struct tn_claim writing; /* a write that waits needs the bytes as they are */
  size_t capacity;
  size_t start;
  size_t length;
  char memory[];
};

/* A Buffer that may be changed now; raises while a write of it waits. */
struct tn_buffer *tn_check_free_buffer(lua_State *L, int index, const struct tn_waiter *waiter);
/* Room for more at the end of the bytes. */
struct tn_slice tn_buffer_room(struct tn_buffer *buffer);
void tn_buffer_consume(struct tn_buffer *buffer, size_t count);
/* The bytes of a string or a Buffer at `index`, or a NULL base. */
struct tn_slice tn_bytes_at(lua_State *L, int index);

extern const struct tn_class tn_buffer_class;

#endif
