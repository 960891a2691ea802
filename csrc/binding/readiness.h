/* Readiness without moving bytes: ready, readable, writable, try_io; and the Ready value. */
#ifndef TCPNET_READINESS_H
#define TCPNET_READINESS_H

#include "binding/method.h"

/* Pushes bits of `enum tn_ready` as a text: "readable, writable". */
const char *tn_ready_push_names(lua_State *L, int bits);

extern const struct tn_class tn_ready_class;
extern const struct tn_method tn_readiness_methods[];

#endif
