/* Child: see child.h. Fields (stdin, stdout, stderr) are a table in the user value. */
#include "binding/child.h"

#include "binding/error.h"
#include "binding/field.h"
#include "binding/object.h"
#include "binding/signal.h"
#include "core/watch.h"

#include <limits.h>

struct child {
  struct tn_header header;
  struct tn_child *child; /* NULL: closed */
  int pid;
};

static struct child *check_self(lua_State *L) {
  return tn_check(L, 1, TN_CHILD, "Child");
}

/* The strings of the list at `index`, which keeps them; in memory left on the stack. */
static char **string_list(lua_State *L, int index) {
  size_t count = lua_rawlen(L, index);
  char **list = lua_newuserdatauv(L, (count + 1) * sizeof *list, 0);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TSTRING, index,
                  "list of strings expected");
    list[i] = (char *)lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  list[count] = NULL;
  return list;
}

int tn_child_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 5, LUA_TTABLE);
  lua_settop(L, 8);
  tn_opening_check(L, rt, "spawn");
  struct tn_child_options options = {.directory = lua_tostring(L, 7),
                                     .detached = lua_toboolean(L, 8)};
  for (int i = 0; i < TN_STDIO; i++) {
    options.stdio[i] = (int)tn_check_integer(L, i + 2, "fd", TN_STDIO_NULL, INT_MAX);
  }
  options.arguments = string_list(L, 1);
  options.program = options.arguments[0];
  options.environment = lua_istable(L, 6) ? string_list(L, 6) : NULL;
  struct child *self = tn_new(L, rt, TN_CHILD, sizeof *self, 1);
  lua_pushvalue(L, 5);
  lua_setiuservalue(L, -2, 1);
  int status = tn_child_spawn(rt->reactor, &options, &self->child);
  if (status < 0) {
    lua_pushnil(L);
    tn_error_push(L, rt, status, "spawn", options.program, NULL);
    return 2;
  }
  self->pid = self->child->pid;
  return 1;
}

static int method_pid(lua_State *L) {
  lua_pushinteger(L, check_self(L)->pid);
  return 1;
}

/* kill([signal = "SIGKILL"]) → child */
static int method_kill(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  const struct child *self = check_self(L);
  int number = tn_check_signal(L, lua_isnoneornil(L, 2) ? (lua_pushliteral(L, "SIGKILL"), -1) : 2);
  tn_runtime_check(L, rt, "kill");
  if (!self->child) {
    return tn_fail(L, rt, TN_CLOSED, "kill", "the Child is closed");
  }
  int status = self->child->exited ? -ESRCH : tn_process_kill(self->pid, number);
  if (status < 0) {
    return tn_fail(L, rt, status, "kill", status == -ESRCH ? "the process has ended" : NULL);
  }
  lua_settop(L, 1);
  return 1;
}

static int method_close(lua_State *L) {
  struct child *self = check_self(L);
  if (self->child) {
    tn_child_close(self->child);
  }
  return 0;
}

static int method_closed(lua_State *L) {
  lua_pushboolean(L, check_self(L)->child == NULL);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct child *self = check_self(L);
  lua_pushfstring(L, "Child (pid %d%s)", self->pid,
                  !self->child          ? ", closed"
                  : self->child->exited ? ", ended"
                                        : "");
  return 1;
}

/* wait([seconds]) → {code = 3} or {signal = "SIGKILL"} */
static int attempt_wait(lua_State *L, struct tn_call *call) {
  const struct child *self = call->self;
  if (!self->child) {
    call->message = "the Child is closed";
    return TN_CLOSED;
  }
  if (!self->child->exited) {
    call->queue = &self->child->waiters;
    call->external = true;
    return TN_EAGAIN;
  }
  int64_t code = self->child->code;
  int number = self->child->signal;
  lua_createtable(L, 0, 1);
  if (number) {
    tn_signal_push(L, number);
    lua_setfield(L, -2, "signal");
  } else {
    tn_set_integer(L, "code", code);
  }
  return 1;
}

static const luaL_Reg functions[] = {{"pid", method_pid},
                                     {"kill", method_kill},
                                     {"close", method_close},
                                     {"closed", method_closed},
                                     {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__index", tn_index_fields},
                                       {"__close", method_close},
                                       {"__gc", method_close},
                                       {"__tostring", meta_tostring},
                                       {NULL, NULL}};
const struct tn_class tn_child_class = {"Child", TN_CHILD, functions, metamethods};

const struct tn_method tn_child_methods[] = {
    {.name = "wait", .kinds = TN_CHILD, .slots = 2, .seconds_at = 2, .attempt = attempt_wait},
    {0},
};
