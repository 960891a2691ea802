/* Time: sleep, yield, now. */
#ifndef TCPNET_CLOCK_H
#define TCPNET_CLOCK_H

#include "binding/method.h"

extern const struct tn_method tn_clock_methods[];
int tn_now(lua_State *L);

#endif
