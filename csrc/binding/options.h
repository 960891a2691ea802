/* Socket options for Lua: every row of the option table becomes name() and set_name(v) of the
 * classes that have it, and a key in tables of options. */
#ifndef TCPNET_OPTIONS_H
#define TCPNET_OPTIONS_H

#include "binding/method.h"

/* Adds the accessors to the classes, which are fields of the table on top. */
void tn_options_add(lua_State *L, struct tn_runtime *rt);

/* option_problem(options, class) → what is wrong with them for a socket of that class, or nil. */
int tn_option_problem(lua_State *L);
/* option_rows() → the table itself, as a list of tables; tcp_info_rows() that of tcp_info. */
int tn_option_rows(lua_State *L);
int tn_option_info_rows(lua_State *L);

/* get set options, set_options (private), set_accept_options. */
extern const struct tn_method tn_option_methods[];

#endif
