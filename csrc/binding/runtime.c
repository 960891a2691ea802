/* What one Lua state has of tcpnet: see runtime.h. Its life, its numbers and its settings. */
#include "binding/runtime.h"

#include "binding/field.h"
#include "binding/task.h"
#include "core/scratch.h"

#include <string.h>

const char tn_runtime_failure[] = "tcpnet runtime";

void tn_runtime_check(lua_State *L, const struct tn_runtime *rt, const char *operation) {
  if (!rt->reactor) {
    tn_call_error(L, operation, "the Lua state is closing");
  }
  if (tn_reactor_forked(rt->reactor)) {
    tn_call_error(
        L, operation,
        "this process was forked from the one that required tcpnet, whose sockets it shares");
  }
}

/* --- life --- */

static int runtime_gc(lua_State *L) {
  static const unsigned char gone = 0;
  struct tn_runtime *rt = tn_check(L, 1, TN_RUNTIME, "tcpnet runtime");
  struct tn_reactor *reactor = rt->reactor;
  rt->reactor = NULL;
  rt->fork_mark = &gone;
  if (reactor) {
    tn_reactor_free(reactor);
  }
  return 0;
}

/* A table in the registry. */
static int new_table(lua_State *L, bool weak) {
  lua_newtable(L);
  if (weak) {
    lua_createtable(L, 0, 1);
    tn_set_string(L, "__mode", "v");
    lua_setmetatable(L, -2);
  }
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void open_tables(lua_State *L, struct tn_runtime *rt) {
  tn_anchors_open(L, &rt->anchors);
  lua_pushboolean(L, 0);
  rt->on_task_error = luaL_ref(L, LUA_REGISTRYINDEX);
  rt->failures = new_table(L, false);
  rt->detours = new_table(L, false);
  for (int i = 0; i < TN_ADDRESSES_KEPT; i++) {
    lua_pushboolean(L, 0);
    rt->addresses[i].place = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  rt->sets = new_table(L, true);
}

struct tn_runtime *tn_runtime_new(lua_State *L) {
  struct tn_runtime *rt = lua_newuserdatauv(L, sizeof *rt, 0);
  memset(rt, 0, sizeof *rt);
  rt->header = (struct tn_header){tn_magic, TN_RUNTIME};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, runtime_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  int status;
  rt->reactor = tn_reactor_new(&status);
  if (!rt->reactor) {
    lua_pushinteger(L, status);
    lua_rawsetp(L, LUA_REGISTRYINDEX, tn_runtime_failure);
    luaL_error(L, "tcpnet: no memory or no descriptors for the reactor");
  }
  rt->fork_mark = tn_reactor_fork_mark(rt->reactor);
  rt->metrics = tn_reactor_metrics(rt->reactor);
  rt->buffer_size = TN_SCRATCH_SIZE;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  rt->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  rt->driver = lua_newthread(L);
  luaL_ref(L, LUA_REGISTRYINDEX); /* the driver, which nothing else holds, */
  luaL_ref(L, LUA_REGISTRYINDEX); /* and the runtime */
  open_tables(L, rt);
  return rt;
}

/* --- numbers and settings --- */

static void set_count(lua_State *L, const char *name, uint64_t count) {
  tn_set_integer(L, name, (lua_Integer)count);
}

/* For each class that had any: how many. */
static void set_counts(lua_State *L, const char *name, const uint64_t counts[TN_SORTS]) {
  lua_newtable(L);
  for (int sort = 1; sort < TN_SORTS; sort++) {
    if (counts[sort] > 0) {
      set_count(L, tn_kind_name(UINT64_C(1) << (sort - 1)), counts[sort]);
    }
  }
  lua_setfield(L, -2, name);
}

int tn_metrics_table(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, "metrics");
  uint64_t waiting = 0;
  uint64_t running = 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->anchors.list);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const struct tn_task *task = tn_cast(L, -1, TN_TASK);
    waiting += task && task->waiter.parked;
    running += task && task->on_stack;
  }
  const struct tn_metrics *metrics = tn_reactor_metrics(rt->reactor);
  lua_createtable(L, 0, 15);
  set_count(L, "tasks", rt->live);
  set_count(L, "tasks_waiting", waiting);
  set_count(L, "tasks_running", running);
  set_count(L, "tasks_ready", rt->live - waiting - running);
  set_count(L, "sources", metrics->sources);
  set_count(L, "handles", metrics->handles);
  set_count(L, "timers", metrics->timers);
  set_count(L, "watches", metrics->watches);
  set_count(L, "polls", metrics->turns);
  set_count(L, "wakes", metrics->wakes);
  set_count(L, "bytes_read", metrics->bytes_read);
  set_count(L, "bytes_written", metrics->bytes_written);
  tn_set_string(L, "poller", metrics->poller);
  set_counts(L, "opened", metrics->opened);
  set_counts(L, "closed", metrics->closed);
  return 1;
}

/* The setting on top of the stack. */
static void check_setting(lua_State *L, const char *name, bool valid, const char *expected) {
  if (!valid) {
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "%s: %s expected, got %s", name, expected, tn_given(L, -1)));
  }
}

static void take_setting(lua_State *L, struct tn_runtime *rt, const char *name) {
  if (strcmp(name, "spin") == 0) {
    check_setting(L, name, lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 0,
                  "seconds, 0 or more,");
    rt->spin = lua_tonumber(L, -1);
    tn_reactor_set_spin(rt->reactor, rt->spin < 1e6 ? (uint64_t)(rt->spin * 1e9) : UINT64_MAX / 4);
  } else if (strcmp(name, "buffer_size") == 0) {
    rt->buffer_size = tn_check_integer_of(L, 1, -1, name, 1, TN_SCRATCH_SIZE);
  } else {
    bool is_default = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
    check_setting(L, name, is_default || lua_isfunction(L, -1), "function or false");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, rt->on_task_error);
  }
}

int tn_configure(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  static const char *const names[] = {"spin", "buffer_size", "on_task_error", NULL};
  tn_runtime_check(L, rt, "configure");
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
      const char *name = tn_name_at(L, -2);
      int known = 0;
      while (names[known] && strcmp(names[known], name) != 0) {
        known++;
      }
      luaL_argcheck(L, names[known], 1, lua_pushfstring(L, "unknown setting '%s'", name));
      take_setting(L, rt, name);
    }
  }
  lua_createtable(L, 0, 3);
  lua_pushnumber(L, rt->spin);
  lua_setfield(L, -2, "spin");
  tn_set_integer(L, "buffer_size", rt->buffer_size);
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, rt->on_task_error) == LUA_TFUNCTION) {
    lua_setfield(L, -2, "on_task_error");
  } else {
    lua_pop(L, 1);
  }
  return 1;
}
