/* Child: a child process. Its program, arguments and streams are put together in Lua. */
#ifndef TCPNET_CHILD_H
#define TCPNET_CHILD_H

#include "binding/method.h"

/* spawn_child(arguments, stdin, stdout, stderr, fields[, environment, directory, detached]) → Child
 */
int tn_child_new(lua_State *L);

extern const struct tn_class tn_child_class;
extern const struct tn_method tn_child_methods[];

#endif
