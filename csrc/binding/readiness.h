/* Readiness without moving bytes: ready, readable, writable, try_io; the Ready value, and what
 * it has in common with Interest and Event. */
#ifndef TCPNET_READINESS_H
#define TCPNET_READINESS_H

#include "binding/method.h"

/* A Ready, an Interest, and what an Event begins with. */
struct tn_conditions {
  struct tn_header header;
  int bits; /* of `enum tn_ready` */
};

/* Adds is_readable and its like to the table on top: the class is one of those. */
void tn_conditions_add(lua_State *L, struct tn_runtime *rt, const struct tn_class *class);
/* Pushes the bits as a text: "readable, writable". */
const char *tn_conditions_push_names(lua_State *L, int bits);

extern const struct tn_class tn_ready_class;
extern const struct tn_method tn_readiness_methods[];

#endif
