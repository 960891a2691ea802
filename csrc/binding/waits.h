/* Who waits where: a line for each task, for whoever asks and for the text of a deadlock; and what
 * a timeout ended. */
#ifndef TCPNET_WAITS_H
#define TCPNET_WAITS_H

#include "binding/runtime.h"

struct tn_task;

/* The program's call that waits. */
struct tn_wait {
  char operation[64]; /* "": its name is lost by a tail call */
  char source[LUA_IDSIZE];
  int line; /* 0: it is not the program's Lua that calls */
};

/* That of the task's coroutines beyond that depth. Makes nothing, so that there is memory for it.
 */
struct tn_wait tn_wait_within(lua_State *L, struct tn_task *task, int depth);
/* Pushes "`what` in read at server.lua:12". */
const char *tn_wait_push(lua_State *L, const char *what, const struct tn_wait *wait);
/* waits() → list of "task 3 (reader) waits in read at server.lua:12". */
int tn_waits(lua_State *L);
/* Raises that nothing can wake those who wait, `caller` among them if no task does. */
TN_COLD int tn_deadlock_raise(lua_State *L, struct tn_runtime *rt, lua_State *caller);

#endif
