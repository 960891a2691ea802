/* JoinSet: see join_set.h. Its user values: the tasks that live (task → true), and the list of
 * those that ended. */
#include "binding/join_set.h"

#include "binding/task_outcome.h"

struct tn_join_set {
  struct tn_header header;
  struct tn_queue waiters;
  lua_Integer members;     /* spawned and not yet given out */
  lua_Integer places;      /* taken in the list, so that the end of a task needs no memory */
  lua_Integer first, last; /* of the list of those that ended */
  lua_Integer told;        /* up to there those that failed are taken or reported */
};

enum { ALIVE = 1, ENDED = 2 };

static struct tn_join_set *check_set(lua_State *L) {
  return tn_check(L, 1, TN_JOIN_SET, "JoinSet");
}

bool tn_join_set_finished(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  struct tn_join_set *set = task->set;
  task->set = NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->sets);
  if (lua_rawgetp(L, -1, set) == LUA_TNIL) {
    lua_pop(L, 2);
    return false; /* garbage, about to be finalized */
  }
  lua_getiuservalue(L, -1, ALIVE);
  lua_pushvalue(L, -4);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_getiuservalue(L, -2, ENDED);
  lua_pushvalue(L, -5);
  lua_rawseti(L, -2, ++set->last);
  lua_pop(L, 4);
  /* all of them: one that is cancelled before it runs must not take the news with it */
  tn_wake_all(rt->reactor, &set->waiters, 0);
  return true;
}

static int set_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_settop(L, 0);
  lua_newtable(L);
  lua_newtable(L);
  struct tn_join_set *set = tn_new(L, rt, TN_JOIN_SET, sizeof *set, 2);
  lua_insert(L, 1); /* whole from the start: its finalizer counts on its tables */
  lua_setiuservalue(L, 1, ENDED);
  lua_setiuservalue(L, 1, ALIVE);
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->sets);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, set);
  lua_pop(L, 1);
  return 1;
}

static int set_spawn(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct tn_join_set *set = check_set(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  tn_runtime_check(L, rt, "spawn");
  lua_getiuservalue(L, 1, ENDED);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, set->places + 1);
  lua_pop(L, 1);
  struct tn_task *task = tn_task_new(L, rt, lua_gettop(L) - 2);
  if (!tn_anchor_reserve(L, &rt->anchors)) {
    return lua_error(L);
  }
  lua_getiuservalue(L, 1, ALIVE);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  tn_task_begin(L, rt, task);
  set->places++;
  set->members++;
  task->set = set;
  return 1;
}

/* Cancels what lives; the tasks stay members, as ended ones. */
static void abort_all(lua_State *L, struct tn_runtime *rt, bool leave) {
  lua_getiuservalue(L, 1, ALIVE);
  int alive = lua_gettop(L);
  lua_newtable(L);
  lua_Integer count = 0;
  for (lua_pushnil(L); lua_next(L, alive); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, alive + 1, ++count);
  }
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, alive + 1, i);
    struct tn_task *task = lua_touserdata(L, -1);
    if (leave) {
      task->set = NULL;
    }
    tn_task_cancel(L, rt, task);
    lua_pop(L, 1);
  }
}

static int set_abort_all(lua_State *L) {
  check_set(L);
  abort_all(L, tn_runtime_of(L), false);
  return 0;
}

/* Reports those that failed and were not taken, of the set on top; were there any? */
static bool report_failed(lua_State *L, struct tn_runtime *rt, struct tn_join_set *set) {
  bool any = false;
  lua_getiuservalue(L, -1, ENDED);
  set->told = set->told > set->first ? set->told : set->first;
  while (set->told < set->last) {
    lua_rawgeti(L, -1, ++set->told);
    const struct tn_task *task = lua_touserdata(L, -1);
    if (task && task->state == TN_TASK_FAILED && !task->joined) { /* a handler may take others */
      any = true;
      tn_task_report(L, rt);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return any;
}

/* Not of all: a handler may make a set, and the table must not change in the middle. */
bool tn_join_sets_report(lua_State *L, struct tn_runtime *rt) {
  bool any = false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->sets);
  for (lua_pushnil(L); !any && lua_next(L, -2); lua_pop(L, 1)) {
    any = report_failed(L, rt, lua_touserdata(L, -1));
  }
  lua_pop(L, any ? 2 : 1);
  return any;
}

/* Closed or collected: its tasks end, and nobody will ask for them. */
static int meta_close(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct tn_join_set *set = check_set(L);
  lua_settop(L, 1);
  if (rt->reactor) {
    abort_all(L, rt, true);
    tn_wake_all(rt->reactor, &set->waiters, 0);
  }
  if (!tn_runtime_gone(rt)) {
    lua_settop(L, 1);
    report_failed(L, rt, set);
  }
  set->members = set->last - set->first;
  return 0;
}

static int meta_len(lua_State *L) {
  lua_pushinteger(L, check_set(L)->members);
  return 1;
}

static int meta_tostring(lua_State *L) {
  lua_pushfstring(L, "JoinSet: %I tasks", (LUAI_UACINT)check_set(L)->members);
  return 1;
}

static const luaL_Reg functions[] = {
    {"new", set_new}, {"spawn", set_spawn}, {"abort_all", set_abort_all}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", meta_close},
                                       {"__gc", meta_close},
                                       {"__len", meta_len},
                                       {"__tostring", meta_tostring},
                                       {NULL, NULL}};
const struct tn_class tn_join_set_class = {"JoinSet", TN_JOIN_SET, functions, metamethods};

static int attempt_join_next(lua_State *L, struct tn_call *call) {
  struct tn_join_set *set = call->self;
  if (set->first == set->last) {
    if (set->members == 0) {
      lua_pushnil(L);
      return 1;
    }
    call->queue = &set->waiters;
    return TN_EAGAIN;
  }
  lua_getiuservalue(L, 1, ENDED);
  const int ended = lua_gettop(L);
  lua_rawgeti(L, ended, set->first + 1);
  int count = tn_task_push_outcome(L, call->rt, ended + 1);
  lua_pushnil(L); /* not before: there may have been no memory for the outcome */
  lua_rawseti(L, ended, ++set->first);
  set->members--;
  if (set->members == 0) {
    tn_wake_all(call->rt->reactor, &set->waiters, 0);
  }
  return 1 + count;
}

const struct tn_method tn_join_set_methods[] = {
    {.name = "join_next",
     .kinds = TN_JOIN_SET,
     .slots = 2,
     .seconds_at = 2,
     .attempt = attempt_join_next},
    {0},
};
