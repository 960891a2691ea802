/* Error values: what the outside world did, as `nil, err`. */
#ifndef TCPNET_ERROR_H
#define TCPNET_ERROR_H

#include "binding/runtime.h"

/* Pushes an error. `op`, `address` and `message` (NULL: the status' own words) may be NULL. */
void tn_error_push(lua_State *L, struct tn_runtime *rt, int status, const char *op,
                   const char *address, const char *message);
/* Pushes nil and an error: the results of a call that failed. */
int tn_fail(lua_State *L, struct tn_runtime *rt, int status, const char *op, const char *message);
/* Gives the error at `index`, if it is one, the traceback at the top; pops the traceback. */
void tn_error_set_traceback(lua_State *L, int index);

extern const struct tn_class tn_error_class;
int tn_error_new(lua_State *L);
int tn_error_locate(lua_State *L);
int tn_is_error(lua_State *L);

#endif
