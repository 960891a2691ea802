/* What every object with a descriptor has: its life, its addresses, its timeouts. */
#ifndef TCPNET_OBJECT_H
#define TCPNET_OBJECT_H

#include "binding/method.h"

/* __gc __close __tostring, for every such class. */
extern const luaL_Reg tn_object_metamethods[];
/* close, closed. */
extern const luaL_Reg tn_object_functions[];
/* local_addr peer_addr take_error fd into_fd, and the timeouts. */
extern const struct tn_method tn_object_methods[];

static inline bool tn_object_is_open(const struct tn_object *object) {
  return object->source && object->source->fd != TN_NO_FD;
}

/* from_fd(fd) of a class: adopts a descriptor that is right for it. */
int tn_object_from_fd(lua_State *L, uint64_t kind);
/* Is it, for an object of that kind? 0, or a failure with a message. */
int tn_object_check_fd(uint64_t kind, tn_fd fd, const char **message);
/* A new object of that kind around a socket of that domain, type and protocol, or `nil, err`. */
int tn_object_open(lua_State *L, uint64_t kind, int domain, int type, int protocol, const char *op);
/* A pair of connected Unix sockets of that type. */
int tn_object_open_pair(lua_State *L, uint64_t kind, int type);
/* Two objects on top of the stack around a pair of descriptors, or an error without memory. */
int tn_object_pair(lua_State *L, struct tn_runtime *rt, uint64_t first, uint64_t second,
                   const tn_fd fds[2]);
/* The receiver's descriptor goes on in a new object of that kind, which is on top: 1, or a failure
 * where a finalizer has closed it meanwhile. */
int tn_object_become(lua_State *L, struct tn_call *call, uint64_t kind);
/* Is the descriptor its own? 0, or a failure with its message. */
int tn_object_check_owner(const struct tn_object *object, const char **message);
/* May the descriptor leave it now, by a call that asks for what was read ahead? The same; it must
 * be open. */
int tn_object_check_leaving(lua_State *L, const struct tn_object *object, const char **message);
/* May it go on elsewhere, with its descriptor or all that was read of it? The same; it must be
 * open, and what a copy had under way is its own again. */
int tn_object_check_moving(lua_State *L, const struct tn_object *object, const char **message);
/* leaving(object, name) → true | false: nothing that can leave with its descriptor | nil, err: it
 * cannot now, not without a loss. For a child process, whose stream `name` it is to be. */
int tn_object_leaving(lua_State *L);
/* Closes it; what a finalizer closes may be in use, and ends later. `collected`: by its own. */
void tn_object_close(lua_State *L, struct tn_object *object, bool collected);
/* The same for a writing half, without a word to the peer. */
void tn_object_forget(lua_State *L, struct tn_object *half);
/* What opens a descriptor, or takes an address, begins with that: what the collector has taken
 * gives its own back first. A row's `prepare`, before anything of its receiver's is looked at. */
int tn_opening_prepare(lua_State *L, struct tn_runtime *rt);
/* The same for a function, which may also be called where the runtime is gone: raises then. */
void tn_opening_check(lua_State *L, struct tn_runtime *rt, const char *operation);
/* A new source for the descriptor, which is closed where there is no memory: raises then. */
struct tn_source *tn_source_take(lua_State *L, struct tn_runtime *rt, tn_fd fd);

#endif
