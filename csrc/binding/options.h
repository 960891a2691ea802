/* Option rows made visible: name() and set_name(v) on classes, and tables of options by name. */
#ifndef TCPNET_OPTIONS_H
#define TCPNET_OPTIONS_H

#include "binding/method.h"
#include "core/option.h"

/* Adds getters and setters of that kind's options to the class table on top. */
void tn_options_add(lua_State *L, struct tn_runtime *rt, unsigned kind);
extern const struct tn_method tn_option_methods[];
int tn_option_problem(lua_State *L);

#endif
