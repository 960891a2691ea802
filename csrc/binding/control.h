/* Control messages as Lua tables: {type = "tos", value = 4}, {type = "fds", fds = {…}}, ….
 * Descriptors that arrive belong to a Message until somebody takes them. */
#ifndef TCPNET_CONTROL_H
#define TCPNET_CONTROL_H

#include "binding/runtime.h"
#include "core/message.h"

/* Encodes the list at `index`. Raises what is wrong with it as argument `argument`. Returns 0, or
 * a status with *message where an object among the descriptors cannot be sent. */
int tn_control_take(lua_State *L, int index, int argument, tn_fd fd, struct tn_control *control,
                    const char **message);
/* The descriptor of the object or integer at `index`; TN_EINVAL: it is neither. */
int tn_control_fd(lua_State *L, int index, tn_fd *fd, const char **message);
/* Leaves the list of the messages; of descriptors only their numbers. */
void tn_control_push(lua_State *L, struct tn_runtime *rt, const struct tn_control *control);

#endif
