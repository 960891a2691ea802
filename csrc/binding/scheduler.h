/* Driving the reactor: turn it, run the tasks that became ready, until what was waited for is
 * there. */
#ifndef TCPNET_SCHEDULER_H
#define TCPNET_SCHEDULER_H

#include "binding/runtime.h"

/* The blocking wait. Raises a deadlock, an interrupt. */
void tn_drive_until_woken(lua_State *L, struct tn_runtime *rt, struct tn_waiter *waiter);

int tn_run(lua_State *L);
int tn_step(lua_State *L);
int tn_backend_fd(lua_State *L);
int tn_backend_timeout(lua_State *L);

#endif
