/* Who waits where: a line for each task, for whoever asks and for the text of a deadlock. */
#ifndef TCPNET_WAITS_H
#define TCPNET_WAITS_H

#include "binding/runtime.h"

/* waits() → list of "task 3 (reader) waits in read at server.lua:12". */
int tn_waits(lua_State *L);
/* Raises that nothing can wake those who wait, `caller` among them if no task does. */
TN_COLD int tn_deadlock_raise(lua_State *L, struct tn_runtime *rt, lua_State *caller);

#endif
