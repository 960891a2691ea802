/* Task as scripts see it: see task_class.h. */
#include "binding/task_class.h"

#include "binding/method_call.h"
#include "binding/task_outcome.h"
#include "core/status.h"

static const char *status_of(const struct tn_runtime *rt, const struct tn_task *task) {
  static const char *const ended[] = {
      [TN_TASK_DONE] = "done", [TN_TASK_FAILED] = "failed", [TN_TASK_CANCELLED] = "cancelled"};
  if (task->state != TN_TASK_ALIVE) {
    return ended[task->state];
  }
  if (task->dying) {
    return "cancelled";
  }
  if (rt->current == task || task->on_stack) {
    return "running";
  }
  return task->waiter.parked ? "waiting" : "ready";
}

static struct tn_task *check_task(lua_State *L) {
  return tn_check(L, 1, TN_TASK, "Task");
}

static int method_cancel(lua_State *L) {
  lua_pushboolean(L, tn_task_cancel(L, tn_runtime_of(L), check_task(L)));
  return 1;
}

static int method_status(lua_State *L) {
  lua_pushstring(L, status_of(tn_runtime_of(L), check_task(L)));
  return 1;
}

static int method_name(lua_State *L) {
  check_task(L);
  if (lua_isnoneornil(L, 2)) {
    tn_task_push_notes(L, 1, false);
    if (lua_istable(L, -1)) {
      lua_getfield(L, -1, "name");
    }
    return 1;
  }
  luaL_checktype(L, 2, LUA_TSTRING);
  tn_task_push_notes(L, 1, true);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "name");
  lua_settop(L, 1);
  return 1;
}

static int method_unpark(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct tn_task *task = check_task(L);
  bool parked = task->waiter.parked && task->waiter.interest == TN_PARKED;
  if (parked) {
    lua_State *thread = tn_task_innermost(task);
    /* on one that a stranger closed they would be a function to begin with */
    int arguments = lua_status(thread) == LUA_YIELD ? lua_gettop(L) - 1 : 0;
    if (!lua_checkstack(thread, arguments + LUA_MINSTACK)) {
      return luaL_error(L, "too many arguments");
    }
    bool marked = tn_thread_marked(thread);
    lua_xmove(L, thread, arguments);
    if (marked) { /* that stays on top */
      lua_rotate(thread, -arguments - 1, -1);
    }
    task->wake_arguments = arguments;
    tn_wake(rt->reactor, &task->waiter, 0);
  }
  lua_pushboolean(L, parked);
  return 1;
}

static int meta_tostring(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct tn_task *task = check_task(L);
  tn_task_push_title(L, 1);
  lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), status_of(rt, task));
  return 1;
}

static const luaL_Reg functions[] = {{"cancel", method_cancel},
                                     {"status", method_status},
                                     {"name", method_name},
                                     {"unpark", method_unpark},
                                     {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__close", method_cancel}, {"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_task_class = {"Task", TN_TASK, functions, metamethods};

/* One that has to wait did not give way before; one that has not does so here. */
static int attempt_join(lua_State *L, struct tn_call *call) {
  struct tn_task *task = call->self;
  if (task->state != TN_TASK_ALIVE) {
    return !call->resumed && tn_budget_spent(call->rt)
               ? tn_method_give_way(L, call->bound, call->waiter)
               : tn_task_push_outcome(L, call->rt, 1);
  }
  if (call->waiter == &task->waiter) {
    return luaL_error(L, "join: a task cannot wait for itself");
  }
  call->queue = &task->joiners;
  return TN_EAGAIN;
}

static int prepare_park(lua_State *L, struct tn_runtime *rt) {
  (void)L;
  return rt->current ? 0 : luaL_error(L, "park: outside every task there is nobody to unpark");
}

static int attempt_park(lua_State *L, struct tn_call *call) {
  if (!call->resumed) {
    call->wait_interest = TN_PARKED;
    return TN_EAGAIN;
  }
  return lua_gettop(L) - call->top;
}

const struct tn_method tn_task_methods[] = {
    {.name = "join",
     .kinds = TN_TASK,
     .slots = 2,
     .seconds_at = 2,
     .flags = TN_ALWAYS_WAITS,
     .attempt = attempt_join},
    {.name = "park",
     .slots = 1,
     .seconds_at = 1,
     .flags = TN_ALWAYS_WAITS,
     .prepare = prepare_park,
     .attempt = attempt_park},
    {0},
};

int tn_task_spawn_function(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, "spawn");
  tn_task_spawn(L, rt, lua_gettop(L) - 1);
  return 1;
}

int tn_task_current(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  if (!rt->current) {
    lua_pushnil(L);
  } else {
    tn_task_push(L, rt, rt->current);
  }
  return 1;
}
