/* PipeSender and PipeReceiver: see pipe.h. They read and write as streams do, through the same
 * rows. */
#include "binding/pipe.h"

#include "binding/error.h"
#include "binding/object.h"

#include <string.h>

int tn_pipe_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_opening_check(L, rt, "pipe");
  tn_object_new(L, rt, TN_PIPE_SENDER);
  tn_object_new(L, rt, TN_PIPE_RECEIVER);
  tn_fd ends[2];
  int status = tn_pipe_open(ends);
  return status < 0 ? tn_fail(L, rt, status, "pipe", NULL)
                    : tn_object_pair(L, rt, TN_PIPE_SENDER, TN_PIPE_RECEIVER,
                                     (const tn_fd[]){ends[1], ends[0]});
}

int tn_pipe_open_fifo(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  size_t length;
  const char *path = luaL_checklstring(L, 1, &length);
  bool sends = lua_toboolean(L, 2);
  luaL_argcheck(L, strlen(path) == length, 1, "the path contains a NUL byte");
  const char *op = sends ? "open_sender" : "open_receiver";
  int ends = lua_toboolean(L, 3) ? TN_PIPE_READ | TN_PIPE_WRITE
             : sends             ? TN_PIPE_WRITE
                                 : TN_PIPE_READ;
  tn_opening_check(L, rt, op);
  struct tn_object *object = tn_object_new(L, rt, sends ? TN_PIPE_SENDER : TN_PIPE_RECEIVER);
  int fd = tn_fifo_open(path, ends, lua_toboolean(L, 4));
  if (fd < 0) {
    lua_pushnil(L);
    tn_error_push(L, rt, fd, op, path, fd == TN_EINVAL ? "it is not a FIFO" : NULL);
    return 2;
  }
  tn_object_own(object, tn_source_take(L, rt, fd));
  return 1;
}

static int sender_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_PIPE_SENDER);
}

static int receiver_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_PIPE_RECEIVER);
}

/* Set before the descriptor is given away: afterwards a failure could not be told. An end that
 * cannot be given away goes on, and must not block. */
static int attempt_set_blocking(lua_State *L, struct tn_call *call) {
  int status = tn_object_check_leaving(L, call->self, &call->message);
  status = status < 0 ? status : tn_fd_set_blocking(call->source->fd);
  lua_settop(L, 1);
  return status < 0 ? status : 1;
}

static const luaL_Reg sender_functions[] = {{"from_fd", sender_from_fd}, {NULL, NULL}};
static const luaL_Reg receiver_functions[] = {{"from_fd", receiver_from_fd}, {NULL, NULL}};
const struct tn_class tn_pipe_sender_class = {"PipeSender", TN_PIPE_SENDER, sender_functions,
                                              tn_object_metamethods};
const struct tn_class tn_pipe_receiver_class = {"PipeReceiver", TN_PIPE_RECEIVER,
                                                receiver_functions, tn_object_metamethods};

const struct tn_method tn_pipe_methods[] = {
    {.name = "set_blocking",
     .kinds = TN_PIPES,
     .slots = 1,
     .flags = TN_NEVER_WAITS | TN_PRIVATE,
     .attempt = attempt_set_blocking},
    {0},
};
