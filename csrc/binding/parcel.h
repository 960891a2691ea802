/* Values on their way between two Lua states: as bytes, which one state writes and the other reads;
 * objects with a descriptor as goods beside them.
 *
 * Strings, numbers, booleans, nil, SocketAddr, Error, objects with a descriptor of their own, and
 * tables of these without a metatable. */
#ifndef TCPNET_PARCEL_H
#define TCPNET_PARCEL_H

#include "binding/runtime.h"
#include "core/thread_channel.h"

#include <limits.h>

enum tn_parcel_for {
  TN_PARCEL_MESSAGE,   /* of a call: misuse names the argument */
  TN_PARCEL_ARGUMENTS, /* the same; they go to several states, so no object is among them */
  TN_PARCEL_RESULTS,
};

struct tn_parcel {
  int first, last; /* of the stack */
  size_t length;
  uint32_t goods;
};

/* Raises where one of the values from `first` to `last` cannot be sent. */
struct tn_parcel tn_parcel_measure(lua_State *L, int first, int last, enum tn_parcel_for use);
/* The values as they were measured, nothing having run in between; or NULL. */
struct tn_post *tn_parcel_write(lua_State *L, const struct tn_parcel *parcel);
/* Can the objects go? 0, or a failure with a message. */
int tn_parcel_check(lua_State *L, const struct tn_post *post, const char **message);
/* Takes the descriptors out of the objects, which `by` consumes then. */
void tn_parcel_pack(struct tn_post *post, const char *by);
/* Pushes the values; how many. A failure leaves the post as it was; so does an error, which is on
 * top then. */
enum { TN_PARCEL_RAISED = INT_MIN };
int tn_parcel_read(lua_State *L, struct tn_runtime *rt, struct tn_post *post);

#endif
