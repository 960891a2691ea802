/* Signal: a signal of this process that a task can wait for. */
#ifndef TCPNET_SIGNAL_H
#define TCPNET_SIGNAL_H

#include "binding/method.h"

/* signal(name) → Signal */
int tn_signal_new(lua_State *L);
/* Its name, or its number where it has none. */
void tn_signal_push(lua_State *L, int number);
/* The number of a signal given by name or number at `index`; raises. */
int tn_check_signal(lua_State *L, int index);

extern const struct tn_class tn_signal_class;
extern const struct tn_method tn_signal_methods[];

#endif
