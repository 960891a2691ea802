/* Interest: what of a source somebody wants to hear of, as an object or as "r", "w", "rw", "p". */
#ifndef TCPNET_INTEREST_H
#define TCPNET_INTEREST_H

#include "binding/runtime.h"

/* Bits of `enum tn_ready`; raises unless it is an interest. */
int tn_check_interest(lua_State *L, int index);
/* Adds READABLE, WRITABLE and PRIORITY to the class table on top. */
void tn_interest_constants(lua_State *L, struct tn_runtime *rt);

extern const struct tn_class tn_interest_class;

#endif
