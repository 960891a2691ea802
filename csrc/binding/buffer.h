/* Buffer: a fixed piece of memory, read into and written from without a string for each. */
#ifndef TCPNET_BUFFER_H
#define TCPNET_BUFFER_H

#include "binding/runtime.h"
#include "core/scratch.h"

/* The claim of one of several writes, which the Buffer keeps for the next, or for a while. */
struct tn_share {
  struct tn_claim claim;
  struct tn_share *next;
};

struct tn_buffer {
  struct tn_header header;
  struct tn_claim emptying; /* by a write_from that waits, which shares it with nobody */
  struct tn_share *shares;  /* writes that wait need the bytes as they are; the latest first */
  size_t share_count;
  size_t sweep_at; /* so many, and those that are idle go */
  size_t capacity;
  size_t start;
  size_t length;
  bool finalized;      /* nobody would see to it that a loan ends */
  char *place;         /* where they are: `memory`, or memory of the reactor's */
  struct tn_loan loan; /* of that */
  char memory[];
};

/* Does a write of it wait, other than this one? */
bool tn_buffer_is_claimed(struct tn_buffer *buffer, const struct tn_waiter *waiter);
/* Of a write that is about to wait: the Buffers among its arguments, in lists and items of lists
 * too, stay as they are until it ends. `empties`: it is a write_from. 0, TN_ENOMEM, or TN_EBUSY: a
 * write_from of one of them waits. */
int tn_buffers_claim(lua_State *L, struct tn_waiter *waiter, bool empties);
/* A Buffer that may be changed now; raises while a write of it waits. */
struct tn_buffer *tn_check_free_buffer_slowly(lua_State *L, int index,
                                              const struct tn_waiter *waiter);
TN_INLINE struct tn_buffer *tn_check_free_buffer(lua_State *L, int index,
                                                 const struct tn_waiter *waiter) {
  struct tn_buffer *buffer = tn_cast(L, index, TN_BUFFER);
  return buffer && !buffer->emptying.holder && !buffer->shares
             ? buffer
             : tn_check_free_buffer_slowly(L, index, waiter);
}
static inline char *tn_buffer_bytes(const struct tn_buffer *buffer) {
  return buffer->place + buffer->start;
}
/* Room for more at the end of the bytes. */
struct tn_slice tn_buffer_room(struct tn_buffer *buffer);
/* One read of at most `max` bytes, behind those that are there. Into an empty Buffer it goes by way
 * of the reactor's memory, and stays there until somebody else needs that: what is written on at
 * once never touches memory of its own, which is cold where connections are many. */
ptrdiff_t tn_buffer_recv(struct tn_buffer *buffer, struct tn_source *source, size_t max);
void tn_buffer_consume(struct tn_buffer *buffer, size_t count);
/* The bytes of a string or a Buffer at `index`, or a NULL base. */
struct tn_slice tn_bytes_at(lua_State *L, int index);

/* For the writers in Lua. is_claimed(buffer); new_claim(buffer or list, name) → the claim of a
 * write on what is among that, to be kept in a to-be-closed variable. */
int tn_buffer_claimed(lua_State *L);
int tn_buffer_claim_new(lua_State *L);

extern const struct tn_class tn_buffer_class;
extern const struct tn_class tn_buffer_claim_class;

#endif
