/* Tasks: see task.h. Under each task's function stands one lua_pcallk, whose handler takes the
 * traceback before the to-be-closed variables are closed; so these may still wait. */
#include "binding/task.h"

#include "binding/join_set.h"
#include "binding/scheduler.h"
#include "binding/task_outcome.h"
#include "core/status.h"

enum {
  KILL_DEPTH_MAX = 100,        /* cancels within cancels on the C stack; deeper ones go to a list */
  SURE_ARGUMENTS = 8,          /* so many fit on any stack */
  SETTLE_STACK = LUA_MINSTACK, /* slots that ending a task may need: whoever drives has them */
};

/* A task's user values, of which each costs every task 16 bytes: what it keeps (task_outcome.h),
 * and the arguments until it starts. */
enum { KEPT = TN_TASK_KEPT, ARGUMENTS, ARGUMENTS_MAX = 16 };

/* What is at the foot of its thread, below the function and its arguments. */
enum { FOOT_RUNTIME = 1, FOOT_HANDLER };

/* --- threads --- */

int tn_task_yield(lua_State *L, int count, lua_KContext context, lua_KFunction continuation) {
  return lua_yieldk(L, count, context, continuation);
}

int tn_thread_resume(lua_State *thread, lua_State *from, int arguments, int *results) {
  return lua_resume(thread, from, arguments, results);
}

int tn_thread_close(lua_State *thread, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
  return lua_closethread(thread, from);
#else
  (void)from;
  return lua_resetthread(thread);
#endif
}

struct tn_thread tn_thread_take(lua_State *L, struct tn_runtime *rt) {
  if (rt->pool_length > 0) {
    return rt->pool[--rt->pool_length];
  }
  lua_State *state = lua_newthread(L);
  return (struct tn_thread){state, tn_anchor(L, &rt->anchors)};
}

void tn_thread_drop(lua_State *L, struct tn_runtime *rt, struct tn_thread thread) {
  if (thread.anchor != 0) {
    tn_anchor_leave(L, &rt->anchors, thread.anchor);
  }
}

void tn_thread_give(lua_State *L, struct tn_runtime *rt, struct tn_thread thread) {
  if (thread.anchor == 0 || rt->pool_length == TN_POOL_MAX || lua_status(thread.state) != LUA_OK) {
    tn_thread_drop(L, rt, thread);
    return;
  }
  lua_settop(thread.state, 0);
  rt->pool[rt->pool_length++] = thread;
}

static const char mark[] = "waits";

void tn_thread_mark(lua_State *thread) {
  lua_pushlightuserdata(thread, (void *)mark);
}

bool tn_thread_marked(lua_State *thread) {
  return lua_status(thread) == LUA_YIELD && lua_gettop(thread) > 0 &&
         lua_touserdata(thread, -1) == mark;
}

void tn_thread_unmark(lua_State *thread) {
  if (tn_thread_marked(thread)) { /* a stranger may have closed it, or gone on with it */
    lua_pop(thread, 1);
  }
}

/* --- waiting --- */

static const char in_a_finalizer[] = "in a finalizer; nothing can wait there";

static int cannot_wait(lua_State *L, const char *operation, const char *why) {
  return tn_call_error(L, operation, lua_pushfstring(L, "cannot wait here: %s", why));
}

void tn_finalizer_check(lua_State *L, const char *operation) {
  if (tn_in_finalizer(L)) {
    cannot_wait(L, operation, in_a_finalizer);
  }
}

static struct tn_waiter *refuse(lua_State *L, struct tn_runtime *rt, const char *operation) {
  const char *why =
      "inside a task, but below a C function that cannot yield (a callback of string.gsub or "
      "table.sort, say); wait before that call, in a coroutine of tcpnet.coroutine if need be";
  if (tn_in_finalizer(L)) {
    why = in_a_finalizer;
  } else if (rt->current && tn_task_innermost(rt->current) != L) {
    why = "in a coroutine that the task made with Lua's own coroutine library; make it with "
          "tcpnet.coroutine";
  } else if (rt->driving && !rt->current) {
    why = "while the reactor runs, outside every task (in an on_task_error handler?); spawn a task "
          "for it";
  }
  cannot_wait(L, operation, why);
  return NULL;
}

struct tn_waiter *tn_task_enter_slowly(lua_State *L, struct tn_runtime *rt, const char *operation) {
  tn_runtime_check(L, rt, operation);
  struct tn_task *task = rt->current;
  if (task) {
    bool may_yield = !task->stuck && lua_isyieldable(L);
    if (tn_task_innermost(task) == L && (may_yield || task->closing)) {
      return &task->waiter;
    }
    return refuse(L, rt, operation);
  }
  return rt->driving || tn_in_finalizer(L) ? refuse(L, rt, operation) : &rt->blocking;
}

/* It may catch the error and wait anew, in another task: whoever it was taken from must not go on
 * with that. */
int tn_task_resumed_by_stranger(lua_State *L, struct tn_runtime *rt) {
  luaL_checkstack(L, 4, NULL);
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->anchors.list);
  for (lua_Integer slot = (lua_Integer)lua_rawlen(L, -1); slot > 0; slot--) {
    lua_rawgeti(L, -1, slot);
    struct tn_task *task = tn_cast(L, -1, TN_TASK);
    if (task && task != rt->current) {
      task->stolen |= task->thread == L;
      for (int i = 0; i < task->depth; i++) {
        tn_task_nest(task)[i].stolen |= tn_task_nest(task)[i].thread == L;
      }
    }
    lua_pop(L, 1);
  }
  return luaL_error(L, "a coroutine that waits was resumed by somebody else than the reactor");
}

static int limit(struct tn_waiter *waiter, uint64_t until_ns, bool tried) {
  struct tn_task *task = tn_task_of(waiter);
  uint64_t soonest = waiter->operation_ns != 0 ? waiter->operation_ns : UINT64_MAX;
  if (until_ns != 0 && until_ns < soonest) {
    soonest = until_ns;
  }
  if (task) {
    if (task->closing) {
      return TN_CANCELED;
    }
    for (int i = 0; i < task->depth; i++) {
      const struct tn_inner *inner = &tn_task_nest(task)[i];
      uint64_t deadline = tried || !inner->begins ? inner->deadline_ns : 0;
      soonest = deadline != 0 && deadline < soonest ? deadline : soonest;
    }
  }
  waiter->deadline_ns = soonest == UINT64_MAX ? 0 : soonest;
  return 0;
}

int tn_task_limit(struct tn_waiter *waiter, uint64_t until_ns) {
  return limit(waiter, until_ns, true);
}

int tn_task_limit_before(struct tn_waiter *waiter) {
  return limit(waiter, 0, false);
}

/* For tests: something has to hold whatever a waiting operation needs. */
static void collect_while_waiting(lua_State *L) {
#ifdef TCPNET_COLLECT
  if (lua_gc(L, LUA_GCISRUNNING)) {
    lua_gc(L, LUA_GCCOLLECT);
  }
#else
  (void)L;
#endif
}

void tn_task_suspend(lua_State *L, struct tn_runtime *rt, struct tn_waiter *waiter,
                     lua_KContext context, lua_KFunction continuation) {
  struct tn_task *task = tn_task_of(waiter);
  if (task) {
    task->waits = true;
    if (task->depth > 0) {
      tn_thread_mark(L);
    }
    tn_task_yield(L, 0, context, continuation);
  } else {
    collect_while_waiting(L);
    tn_drive_until_woken(L, rt, waiter);
  }
}

/* --- the bottom of a task's stack --- */

static int end_body(lua_State *L, const struct tn_runtime *rt, struct tn_task *task, int status) {
  task->failed = status != LUA_OK && status != LUA_YIELD;
  if (rt->current != task && rt->reactor) {
    tn_wake(rt->reactor, &task->waiter,
            0); /* ended by a stranger's resume: the scheduler settles it */
  }
  return task->failed ? 1 : lua_gettop(L) - FOOT_HANDLER;
}

static int finish(lua_State *L, int status, lua_KContext context) {
  return end_body(L, lua_touserdata(L, FOOT_RUNTIME), (struct tn_task *)context, status);
}

static int body(lua_State *L) {
  const struct tn_runtime *rt = lua_touserdata(L, FOOT_RUNTIME);
  struct tn_task *task = rt->current; /* nobody else could call this with its arguments */
  task->started = true;
  int arguments = lua_gettop(L) - FOOT_HANDLER - 1;
  int status = lua_pcallk(L, arguments, LUA_MULTRET, FOOT_HANDLER, (lua_KContext)task, finish);
  return end_body(L, rt, task, status);
}

/* --- life --- */

void tn_task_push(lua_State *L, struct tn_runtime *rt, const struct tn_task *task) {
  tn_anchor_push(L, &rt->anchors, task->slot);
}

/* The task at `self` gets a thread, with the function and its arguments on top, which are popped.
 */
static void equip(lua_State *L, struct tn_runtime *rt, int self, int arguments) {
  struct tn_task *task = lua_touserdata(L, self);
  bool is_new = rt->pool_length == 0;
  struct tn_thread thread = {NULL, 0};
  if (is_new) {
    thread.state = lua_newthread(L);
  } else {
    thread = tn_thread_take(L, rt);
  }
  if (!lua_checkstack(thread.state, arguments + LUA_MINSTACK)) {
    tn_thread_give(L, rt, thread);
    luaL_error(L, "too many arguments");
  }
  if (is_new) {
    tn_task_keep(L, task, self);
  }
  lua_pushcfunction(thread.state, body);
  lua_pushlightuserdata(thread.state, rt);
  lua_rawgeti(thread.state, LUA_REGISTRYINDEX, rt->handler);
  lua_xmove(L, thread.state, arguments + 1);
  task->thread = thread.state;
  task->anchor = thread.anchor;
}

/* What a task needs a thread for begins now: many that are spawned at once and do not wait share a
 * few. Without memory for one it stays ready. */
TN_APART void start(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  int arguments = task->arguments;
  bool sure = rt->pool_length > 0 && arguments <= SURE_ARGUMENTS;
  if (!sure) {
    tn_make_ready(rt->reactor, &task->waiter, 0);
    luaL_checkstack(L, arguments + 6, NULL);
  }
  tn_task_push(L, rt, task);
  int self = lua_gettop(L);
  tn_task_push_kept(L, task, self);
  for (int i = 0; i < arguments; i++) {
    lua_getiuservalue(L, self, ARGUMENTS + i);
  }
  equip(L, rt, self, arguments);
  for (int i = 0; i < arguments; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, self, ARGUMENTS + i);
  }
  task->wake_arguments = 0;
  lua_pop(L, 1);
  if (!sure && !task->dying) { /* a finalizer may have cancelled it: its place is then elsewhere */
    tn_forget(rt->reactor, &task->waiter);
  }
}

struct tn_task *tn_task_new(lua_State *L, struct tn_runtime *rt, int arguments) {
  bool few = arguments <= ARGUMENTS_MAX;
  luaL_checkstack(L, 6, "too many arguments");
  struct tn_task *task = tn_new(L, rt, TN_TASK, sizeof *task, KEPT + (few ? arguments : 0));
  lua_insert(L, -arguments - 2);
  int self = lua_gettop(L) - arguments - 1;
  task->waiter.in_task = true;
  task->in_run = rt->running;
  if (few) {
    task->arguments = arguments;
    for (int i = arguments - 1; i >= 0; i--) {
      lua_setiuservalue(L, self, ARGUMENTS + i);
    }
    lua_setiuservalue(L, self, KEPT);
  } else {
    equip(L, rt, self, arguments);
  }
  return task;
}

void tn_task_begin(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  lua_pushvalue(L, -1);
  task->slot = tn_anchor(L, &rt->anchors);
  rt->live++;
  tn_make_ready(rt->reactor, &task->waiter, 0);
}

struct tn_task *tn_task_spawn(lua_State *L, struct tn_runtime *rt, int arguments) {
  struct tn_task *task = tn_task_new(L, rt, arguments);
  tn_task_begin(L, rt, task);
  return task;
}

static int new_list(lua_State *L) {
  lua_createtable(L, (int)lua_tointeger(L, 1), 0);
  return 1;
}

/* The results on top of the thread are more than a task can keep, and become a list of them; where
 * Lua has no memory for it, the error. Was there any? */
static bool gather(lua_State *L, lua_State *thread, int count) {
  lua_pushcfunction(L, new_list);
  lua_pushinteger(L, count);
  bool done = lua_pcall(L, 1, 1, 0) == LUA_OK;
  for (int i = count; i > 0 && done; i--) {
    lua_xmove(thread, L, 1);
    lua_rawseti(L, -2, i);
  }
  lua_pop(thread, done ? 0 : count);
  lua_xmove(L, thread, 1);
  return done;
}

/* The thread of a task that has ended goes to the pool, if it can: one that was made for the task
 * takes its place among the anchors, which needs no memory. */
static void give_thread(lua_State *L, struct tn_runtime *rt, struct tn_task *task, bool reusable) {
  struct tn_thread thread = {task->thread, task->anchor};
  if (thread.anchor == 0 && reusable && rt->pool_length < TN_POOL_MAX) {
    lua_pushthread(thread.state);
    lua_xmove(thread.state, L, 1);
    tn_anchor_replace(L, &rt->anchors, task->slot);
    thread.anchor = task->slot;
  } else {
    tn_anchor_leave(L, &rt->anchors, task->slot);
  }
  if (reusable) {
    tn_thread_give(L, rt, thread);
  } else {
    tn_thread_drop(L, rt, thread);
  }
  task->thread = NULL;
}

/* The task has ended: its results are on top of its thread. Nothing here may raise: the task is in
 * no queue any more, and would neither live nor end. */
static void settle(lua_State *L, struct tn_runtime *rt, struct tn_task *task,
                   enum tn_task_state state, int count) {
  if (count > 1 && !gather(L, task->thread, count)) {
    state = TN_TASK_FAILED;
    count = 1;
  }
  tn_task_push(L, rt, task);
  for (int i = 0; !task->started && i < task->arguments; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, -2, ARGUMENTS + i);
  }
  if (count > 0) {
    lua_xmove(task->thread, L, 1);
  } else {
    lua_pushnil(L);
  }
  task->results = count;
  tn_task_keep(L, task, -2);
  task->state = (uint8_t)state;
  /* one that was closed keeps its message handler, until 5.4.5 */
  give_thread(L, rt, task, state == TN_TASK_DONE || task->failed);
  rt->live--;
  tn_forget(rt->reactor, &task->waiter);
  while (task->depth > 0) { /* without memory an error may have left some */
    tn_thread_drop(L, rt, tn_nest_pop(task));
  }
  if (task->many) {
    tn_anchor_leave(L, &rt->anchors, task->nest.more.anchor);
    task->many = false;
  }
  bool in_set = task->set && tn_join_set_finished(L, rt, task);
  bool awaited = task->joiners.head || in_set || task->joined;
  if (task->joiners.head) {
    tn_wake_all(rt->reactor, &task->joiners, 0);
  }
  if (state == TN_TASK_FAILED && !awaited) {
    tn_task_report(L, rt);
  } else if (state == TN_TASK_FAILED && !task->joined && !in_set && rt->running) {
    /* whoever waits for it may be cancelled before it hears of it */
    tn_task_remember_failure(L, rt);
  }
  lua_pop(L, 1);
}

/* Closes a thread of the task; what its variables raise meanwhile is reported. They cannot wait:
 * what yields in there is a generator. */
static void close_thread(lua_State *L, struct tn_runtime *rt, struct tn_task *task,
                         lua_State *thread) {
  task->waits = task->woken = false;
  if (tn_thread_close(thread, L) != LUA_OK) {
    tn_task_push(L, rt, task);
    lua_xmove(thread, L, 1);
    tn_task_report_error(L, rt, lua_gettop(L) - 1);
    lua_pop(L, 1);
  }
}

void tn_task_close_inner(lua_State *L, struct tn_runtime *rt, struct tn_task *task, int depth) {
  bool closing = task->closing;
  task->closing = true;
  while (task->depth > depth) {
    close_thread(L, rt, task, tn_task_innermost(task));
    tn_thread_drop(L, rt, tn_nest_pop(task));
  }
  task->closing = closing;
}

static int new_text(lua_State *L) {
  lua_pushstring(L, lua_touserdata(L, 1));
  return 1;
}

/* The task ended without returning, by a yield of its own or by a stranger who resumed or closed
 * its coroutine. NULL for `why`: the error is on top of the stack. */
TN_COLD static void fail(lua_State *L, struct tn_runtime *rt, struct tn_task *task,
                         const char *why) {
  if (why) {
    lua_pushcfunction(L, new_text);
    lua_pushlightuserdata(L, (void *)why);
    lua_pcall(L, 1, 1, 0); /* or that there is no memory */
  }
  lua_pushvalue(L, -1);
  tn_task_note_traceback(L, rt, task, task->thread, 0);
  rt->current = task;
  task->on_stack = true; /* it cannot be cancelled in here */
  tn_task_close_inner(L, rt, task, 0);
  task->closing = true;
  close_thread(L, rt, task, task->thread);
  task->closing = false;
  task->on_stack = false;
  rt->current = NULL;
  lua_settop(task->thread, 0);
  lua_xmove(L, task->thread, 1);
  settle(L, rt, task, TN_TASK_FAILED, 1);
}

static void kill(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  struct tn_task *outer = rt->current;
  tn_forget(rt->reactor, &task->waiter);
  task->dying = true;
  rt->current = task;
  rt->kill_depth++;
  tn_task_close_inner(L, rt, task, 0);
  task->closing = true;
  if (task->started) {
    close_thread(L, rt, task, task->thread);
  }
  if (task->thread) {
    lua_settop(task->thread, 0);
  }
  rt->kill_depth--;
  rt->current = outer;
  settle(L, rt, task, TN_TASK_CANCELLED, 0);
}

void tn_task_cancel_doomed(lua_State *L, struct tn_runtime *rt) {
  while (rt->doomed.head) {
    kill(L, rt, tn_task_of(rt->doomed.head));
  }
}

static bool is_running(lua_State *thread) {
  lua_Debug frame;
  return lua_status(thread) == LUA_OK && lua_getstack(thread, 0, &frame);
}

/* Has a stranger resumed a coroutine of the task, which runs this moment? It cannot be closed then:
 * its stack is in use. */
TN_COLD static bool is_run_by_stranger(struct tn_task *task) {
  bool running = task->thread && is_running(task->thread);
  for (int i = 0; i < task->depth && !running; i++) {
    running = is_running(tn_task_nest(task)[i].thread);
  }
  return running;
}

bool tn_task_cancel(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  if (task->state != TN_TASK_ALIVE || task->dying || !rt->reactor) {
    return false;
  }
  if (task->on_stack) {
    task->cancel_pending = true;
  } else if (is_run_by_stranger(task)) {
    task->cancel_pending = true;
    tn_wake(rt->reactor, &task->waiter, 0);
  } else if (rt->kill_depth >= KILL_DEPTH_MAX || tn_in_finalizer(L) ||
             !lua_checkstack(L, SETTLE_STACK)) {
    task->dying = true;
    tn_forget(rt->reactor, &task->waiter);
    tn_queue_push(&rt->doomed, &task->waiter);
  } else {
    kill(L, rt, task);
    if (rt->kill_depth == 0) {
      tn_task_cancel_doomed(L, rt);
    }
  }
  return true;
}

int tn_task_take_arguments(struct tn_task *task, lua_State *thread) {
  int arguments = thread == tn_task_innermost(task) ? task->wake_arguments : 0;
  task->wake_arguments -= arguments;
  int top = arguments > 0 ? lua_gettop(thread) : 0; /* a stranger may have closed it since */
  return arguments < top ? arguments : top;
}

void tn_task_run(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  if (!task->thread) {
    start(L, rt, task);
    if (task->dying) {
      return;
    }
  }
  lua_State *thread = task->thread;
  bool intact = !task->started || (lua_status(thread) == LUA_YIELD && !task->stolen);
  if ((!intact || task->depth > 0) && is_run_by_stranger(task)) {
    tn_make_ready(rt->reactor, &task->waiter, task->waiter.reason);
    return;
  }
  if (!intact) {
    fail(L, rt, task,
         "the task's coroutine was resumed or closed by somebody else than the reactor");
    return;
  }
  int arguments = task->started ? tn_task_take_arguments(task, thread) : lua_gettop(thread) - 1;
  task->on_stack = true;
  task->waits = false;
  task->woken = true;
  rt->current = task;
  tn_budget_renew(rt);
  int results = 0;
  int status = tn_thread_resume(thread, L, arguments, &results);
  rt->current = NULL;
  task->on_stack = false;
  if (status == LUA_OK) {
    settle(L, rt, task, task->failed ? TN_TASK_FAILED : TN_TASK_DONE, results);
  } else if (status == LUA_YIELD && task->waits) {
    if (task->cancel_pending) {
      tn_task_cancel(L, rt, task);
    }
    collect_while_waiting(L);
  } else if (status == LUA_YIELD) {
    fail(L, rt, task,
         "coroutine.yield in the body of a task: nobody gets what it yields "
         "(tcpnet.yield gives way)");
  } else {
    lua_xmove(thread, L, 1); /* raised below the task's own pcall: out of memory or of stack */
    fail(L, rt, task, NULL);
  }
}
