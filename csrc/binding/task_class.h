/* Task as scripts see it: spawn, current, join, park and unpark, cancel. The engine is task.h. */
#ifndef TCPNET_TASK_CLASS_H
#define TCPNET_TASK_CLASS_H

#include "binding/method.h"

extern const struct tn_class tn_task_class;
extern const struct tn_method tn_task_methods[];

int tn_task_spawn_function(lua_State *L);
int tn_task_current(lua_State *L);

#endif
