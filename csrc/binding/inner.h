/* Coroutines inside a task: tcpnet.coroutine and timeout. What waits in one suspends the whole
 * task; its resumer sees only the coroutine's own yields. */
#ifndef TCPNET_INNER_H
#define TCPNET_INNER_H

#include "binding/task.h"

/* Leaves the table of tcpnet.coroutine on top. */
void tn_coroutine_push(lua_State *L, struct tn_runtime *rt);
int tn_timeout(lua_State *L);

extern const struct tn_class tn_guard_class;

#endif
