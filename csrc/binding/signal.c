/* Signal: see signal.h. */
#include "binding/signal.h"

#include "binding/error.h"
#include "core/watch.h"

struct signal {
  struct tn_header header;
  struct tn_signal *signal; /* NULL: closed */
  int number;
};

int tn_check_signal(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TNUMBER) {
    return (int)tn_check_integer(L, index, "signal", 1, 64);
  }
  int number = tn_signal_number(tn_name_at(L, index));
  luaL_argcheck(L, number > 0, index, "name of a signal, as \"SIGTERM\", expected");
  return number;
}

void tn_signal_push(lua_State *L, int number) {
  const char *name = tn_signal_name(number);
  if (name) {
    lua_pushstring(L, name);
  } else {
    lua_pushinteger(L, number);
  }
}

int tn_signal_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  int number = tn_check_signal(L, 1);
  tn_runtime_check(L, rt, "signal");
  struct signal *self = tn_new(L, rt, TN_SIGNAL, sizeof *self, 0);
  self->number = number;
  int status = tn_signal_open(rt->reactor, number, &self->signal);
  if (status < 0) {
    return tn_fail(L, rt, status, "signal",
                   status == TN_EINVAL ? "that signal cannot be caught" : NULL);
  }
  return 1;
}

static struct signal *check_self(lua_State *L) {
  return tn_check(L, 1, TN_SIGNAL, "Signal");
}

static int method_close(lua_State *L) {
  struct signal *self = check_self(L);
  if (self->signal) {
    tn_signal_close(self->signal);
  }
  return 0;
}

static int method_closed(lua_State *L) {
  lua_pushboolean(L, check_self(L)->signal == NULL);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct signal *self = check_self(L);
  tn_signal_push(L, self->number);
  lua_pushfstring(L, "Signal (%s%s)", lua_tostring(L, -1), self->signal ? "" : ", closed");
  return 1;
}

/* Several that come before somebody asks are one. */
static int attempt_recv(lua_State *L, struct tn_call *call) {
  struct signal *self = call->self;
  if (!self->signal) {
    call->message = "the Signal is closed";
    return TN_CLOSED;
  }
  if (!self->signal->pending) {
    call->queue = &self->signal->waiters;
    call->external = true;
    return TN_EAGAIN;
  }
  self->signal->pending = false;
  tn_signal_push(L, self->number);
  return 1;
}

static const luaL_Reg functions[] = {
    {"close", method_close}, {"closed", method_closed}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__close", method_close}, {"__gc", method_close}, {"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_signal_class = {"Signal", TN_SIGNAL, functions, metamethods};

const struct tn_method tn_signal_methods[] = {
    {.name = "recv", .kinds = TN_SIGNAL, .slots = 2, .seconds_at = 2, .attempt = attempt_recv},
    {0},
};
