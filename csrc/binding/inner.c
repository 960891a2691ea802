/* Coroutines inside a task: see inner.h.
 *
 * Resuming one makes it the task's innermost coroutine. A yield with the task's `waits` flag set is
 * a wait: every level above yields too, down to the scheduler, and is resumed in the same order.
 * Any other yield is the coroutine's own: its resumer gets the values, except under `timeout`,
 * which hands them on, so that a generator may use it. */
#include "binding/inner.h"

#include "binding/error.h"
#include "binding/method.h"
#include "binding/task_outcome.h"
#include "binding/waits.h"
#include "core/status.h"

#include <lualib.h>
#include <string.h>

enum mode { RESUME, WRAP, TIMEOUT };

/* In every frame here index 1 is the coroutine, and under `timeout` index 2 its deadline, or the
 * guard that has it. */
static lua_State *coroutine_of(lua_State *L) {
  return lua_tothread(L, 1);
}

/* The task in whose innermost coroutine L runs, or NULL. */
static struct tn_task *task_on(lua_State *L, const struct tn_runtime *rt) {
  struct tn_task *task = rt->current;
  return task && tn_task_innermost(task) == L ? task : NULL;
}

static int capacity_of(const struct tn_task *task) {
  return task->many ? task->nest.more.capacity : 1;
}

static void grow(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  int capacity = capacity_of(task) * 2;
  if (capacity > UINT16_MAX) {
    luaL_error(L, "too many coroutines within each other");
  }
  struct tn_inner *nest = lua_newuserdatauv(L, (size_t)capacity * sizeof *nest, 0);
  int anchor = tn_anchor(L, &rt->anchors);
  memcpy(nest, tn_task_nest(task), task->depth * sizeof *nest);
  if (task->many) {
    tn_anchor_leave(L, &rt->anchors, task->nest.more.anchor);
  }
  task->many = true;
  task->nest.more.list = nest;
  task->nest.more.anchor = anchor;
  task->nest.more.capacity = capacity;
}

/* Makes room for one more. */
static void nest_reserve(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  if (task->depth == capacity_of(task)) {
    grow(L, rt, task);
  }
}

/* A coroutine that waits in another task would take this one's for its own: it is the program that
 * runs, not a wait that goes on. */
static void nest_push(struct tn_task *task, struct tn_thread thread, uint64_t deadline_ns) {
  task->woken = false;
  tn_task_nest(task)[task->depth++] = (struct tn_inner){
      .thread = thread.state, .anchor = thread.anchor, .deadline_ns = deadline_ns};
}

/* Closes what is pending in a coroutine of L's, where nothing may wait meanwhile. The status, with
 * the error on the coroutine's stack. */
static int close_thread(lua_State *L, struct tn_runtime *rt, lua_State *thread) {
  struct tn_task *task = task_on(L, rt);
  if (!task) {
    return tn_thread_close(thread, L);
  }
  bool closing = task->closing;
  nest_reserve(L, rt, task);
  nest_push(task, (struct tn_thread){thread, 0}, 0);
  task->closing = true;
  int status = tn_thread_close(thread, L);
  task->closing = closing;
  tn_thread_drop(L, rt, tn_nest_pop(task));
  return status;
}

/* --- generators that yield through `timeout` --- */

/* To be closed, in the frame of `timeout`: whoever closes the generator does not know of the
 * coroutine inside. Its user value, until that has ended. Only what yields of its own needs one: a
 * coroutine that waits is in the nest. */
struct guard {
  struct tn_header header;
  uint64_t deadline_ns;
};

static void set_guard(lua_State *L, struct tn_runtime *rt) {
  if (lua_isuserdata(L, 2)) {
    return;
  }
  struct guard *guard = tn_new(L, rt, TN_GUARD, sizeof *guard, 1);
  guard->deadline_ns = (uint64_t)lua_tointeger(L, 2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  lua_replace(L, 2);
  lua_toclose(L, 2);
}

/* The coroutine has ended, and its thread may be somebody else's from now on. */
static void dismiss_guard(lua_State *L) {
  if (lua_isuserdata(L, 2)) {
    lua_pushnil(L);
    lua_setiuservalue(L, 2, 1);
  }
}

static int guard_close(lua_State *L) {
  tn_check(L, 1, TN_GUARD, "guard");
  lua_getiuservalue(L, 1, 1);
  lua_State *thread = lua_tothread(L, -1);
  if (thread && lua_status(thread) == LUA_YIELD &&
      close_thread(L, tn_runtime_of(L), thread) != LUA_OK) {
    lua_xmove(thread, L, 1);
    return lua_error(L);
  }
  return 0;
}

static const luaL_Reg guard_metamethods[] = {{"__close", guard_close}, {NULL, NULL}};
const struct tn_class tn_guard_class = {"guard", TN_GUARD, NULL, guard_metamethods};

/* --- resuming --- */

static int after_wait(lua_State *L, int status, lua_KContext context);
static int after_yield(lua_State *L, int status, lua_KContext context);

/* The coroutine failed: its variables close, what it raised moves to L. */
static void close_failed(lua_State *L, struct tn_runtime *rt, struct tn_task *task) {
  lua_State *thread = coroutine_of(L);
  bool closing = task && task->closing;
  lua_xmove(thread, L, 1); /* before 5.4.3 closing would lose it */
  if (task) {
    lua_pushvalue(L, -1);
    tn_task_note_traceback(L, rt, task, thread, 0);
    task->closing = true;
  }
  lua_pushvalue(L, -1);
  lua_xmove(L, thread, 1);
  if (tn_thread_close(thread, L) != LUA_OK && lua_gettop(thread) > 0) {
    lua_pop(L, 1);
    lua_xmove(thread, L, 1);
  }
  if (task) {
    task->closing = closing;
  }
}

static int failed(lua_State *L, struct tn_runtime *rt, struct tn_task *task, int index,
                  enum mode mode) {
  if (task && task->depth > index + 1) { /* a stranger closed it under what waited inside */
    tn_task_close_inner(L, rt, task, index + 1);
    task->wake_arguments = 0;
  }
  if (mode == RESUME) {
    lua_pushboolean(L, 0);
    lua_xmove(coroutine_of(L), L, 1);
  } else {
    close_failed(L, rt, task);
  }
  if (task) {
    tn_thread_drop(L, rt, tn_nest_pop(task));
  }
  if (mode == RESUME) {
    return 2;
  }
  if (mode == WRAP && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    if (task) { /* still the same error, with its traceback */
      tn_task_push(L, rt, task);
      tn_task_push_notes(L, -1, true);
      lua_pushvalue(L, -3);
      lua_setfield(L, -2, "error");
      lua_pop(L, 2);
    }
  }
  return lua_error(L);
}

/* The coroutine has `count` values for its resumer: it ended, or yielded of its own. */
static int give(lua_State *L, struct tn_runtime *rt, enum mode mode, struct tn_thread thread,
                int count, bool ended) {
  if (mode == TIMEOUT && ended) {
    dismiss_guard(L);
  } else if (mode == TIMEOUT) {
    tn_thread_drop(L, rt, thread); /* before the guard, for which there may be no memory */
    thread.anchor = 0;
    set_guard(L, rt);
  }
  if (!lua_checkstack(L, count + 4)) {
    lua_pop(thread.state, count);
    tn_thread_drop(L, rt, thread);
    return luaL_error(L, "too many results");
  }
  if (mode == RESUME) {
    lua_pushboolean(L, 1);
  }
  lua_xmove(thread.state, L, count);
  if (mode == TIMEOUT && ended) {
    tn_thread_give(L, rt, thread);
  } else {
    tn_thread_drop(L, rt, thread);
  }
  return mode != TIMEOUT ? count + (mode == RESUME)
         : ended         ? count
                         : tn_task_yield(L, count, 0, after_yield);
}

/* Where a level stands in the nest, and its mode, while it waits. */
static lua_KContext context_of(int index, enum mode mode) {
  return (lua_KContext)index * 4 + (lua_KContext)mode;
}

/* Passes the wait of the coroutine on to whoever resumed this one. What the nest names must not be
 * collected meanwhile, whatever becomes of the stack that it was resumed from. */
static int pass_on(lua_State *L, struct tn_runtime *rt, struct tn_task *task, int index,
                   enum mode mode) {
  struct tn_inner *inner = &tn_task_nest(task)[index];
  inner->begins = false;
  if (inner->anchor == 0) {
    if (!tn_anchor_reserve(L, &rt->anchors)) {
      tn_forget(rt->reactor, &task->waiter);
      tn_task_close_inner(L, rt, task, index);
      return lua_error(L);
    }
    lua_pushvalue(L, 1);
    inner->anchor = tn_anchor(L, &rt->anchors);
  }
  if (index > 0) {
    tn_thread_mark(L);
  }
  return tn_task_yield(L, 0, context_of(index, mode), after_wait);
}

/* A wait would have to pass L on its way down: where L cannot yield, the coroutine may have yields
 * of its own alone, and so may whatever it resumes. */
static int resume(lua_State *L, struct tn_task *task, lua_State *thread, int arguments,
                  int *results) {
  if (!task) {
    return tn_thread_resume(thread, L, arguments, results);
  }
  bool stuck = task->stuck;
  task->stuck = stuck || !lua_isyieldable(L);
  int status = tn_thread_resume(thread, L, arguments, results);
  task->stuck = stuck;
  return status;
}

/* Resumes the coroutine, which stands in the nest at `index` if there is a task, with the arguments
 * on its stack. */
static int proceed(lua_State *L, struct tn_runtime *rt, struct tn_task *task, int index,
                   enum mode mode, int arguments) {
  struct tn_thread thread = {coroutine_of(L), 0};
  int results = 0;
  int status = resume(L, task, thread.state, arguments, &results);
  if (status == LUA_YIELD && task && task->waits) {
    return pass_on(L, rt, task, index, mode);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    return failed(L, rt, task, index, mode);
  }
  if (task) {
    thread = tn_nest_pop(task);
  }
  return give(L, rt, mode, thread, results, status == LUA_OK);
}

static int after_wait(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_State *thread = coroutine_of(L);
  struct tn_task *task = rt->current;
  enum mode mode = (enum mode)(context % 4);
  int index = (int)(context / 4);
  if (!task || !task->woken || index >= task->depth || tn_task_nest(task)[index].thread != thread) {
    return tn_task_resumed_by_stranger(L, rt);
  }
  uint64_t deadline_ns = tn_task_nest(task)[index].deadline_ns;
  if (mode == TIMEOUT && task->waiter.reason == TN_TIMEOUT && deadline_ns != 0 &&
      deadline_ns <= tn_now_ns()) {
    tn_forget(rt->reactor, &task->waiter);
    struct tn_wait wait = tn_wait_within(L, task, index);
    tn_task_close_inner(L, rt, task, index);
    return tn_fail(L, rt, TN_TIMEOUT, "timeout", tn_wait_push(L, "timed out", &wait));
  }
  if (tn_task_nest(task)[index].stolen && lua_status(thread) == LUA_YIELD) {
    tn_forget(rt->reactor, &task->waiter);
    tn_task_close_inner(L, rt, task, index);
    lua_pushboolean(L, 0);
    lua_pushliteral(L, "the coroutine was resumed by somebody else than the reactor");
    return mode == RESUME ? 2 : lua_error(L);
  }
  tn_thread_unmark(thread);
  return proceed(L, rt, task, index, mode, tn_task_take_arguments(task, thread));
}

/* A generator yielded through `timeout`, and is resumed. */
static int after_yield(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  struct tn_runtime *rt = tn_runtime_of(L);
  struct tn_task *task = task_on(L, rt);
  lua_State *thread = coroutine_of(L);
  int arguments = lua_gettop(L) - 2;
  if (!task) {
    return luaL_error(L, "timeout: its coroutine was resumed outside its task");
  }
  if (!lua_checkstack(thread, arguments + LUA_MINSTACK)) {
    return luaL_error(L, "too many arguments");
  }
  nest_reserve(L, rt, task);
  const struct guard *guard = lua_touserdata(L, 2);
  nest_push(task, (struct tn_thread){thread, 0}, guard->deadline_ns);
  lua_xmove(L, thread, arguments);
  return proceed(L, rt, task, task->depth - 1, TIMEOUT, arguments);
}

static const char *status_of(const lua_State *L, lua_State *thread) {
  lua_Debug frame;
  if (thread == L) {
    return "running";
  }
  if (tn_thread_marked(thread)) {
    return "normal";
  }
  switch (lua_status(thread)) {
  case LUA_YIELD:
    return "suspended";
  case LUA_OK:
    return lua_getstack(thread, 0, &frame) ? "normal"
           : lua_gettop(thread) == 0       ? "dead"
                                           : "suspended";
  default:
    return "dead";
  }
}

/* What keeps the coroutine at index 1 from being resumed with so many arguments, or NULL. */
static const char *refusal(const lua_State *L, lua_State *thread, int arguments) {
  const char *status = status_of(L, thread);
  if (tn_thread_marked(thread)) {
    return "cannot resume a coroutine that waits in a task";
  }
  if (strcmp(status, "suspended") != 0) {
    return strcmp(status, "dead") == 0 ? "cannot resume dead coroutine"
                                       : "cannot resume non-suspended coroutine";
  }
  return lua_checkstack(thread, arguments + LUA_MINSTACK) ? NULL : "too many arguments to resume";
}

/* L's stack: the coroutine, then arguments for it. */
static int enter(lua_State *L, struct tn_runtime *rt, enum mode mode) {
  lua_State *thread = coroutine_of(L);
  int arguments = lua_gettop(L) - 1;
  const char *why = refusal(L, thread, arguments);
  if (why && mode == WRAP) {
    return luaL_error(L, "%s", why);
  }
  if (why) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, why);
    return 2;
  }
  struct tn_task *task = task_on(L, rt);
  int index = 0;
  if (task) {
    nest_reserve(L, rt, task);
    index = task->depth;
    nest_push(task, (struct tn_thread){thread, 0}, 0);
  }
  lua_xmove(L, thread, arguments);
  return proceed(L, rt, task, index, mode, arguments);
}

int tn_timeout(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  double seconds = tn_check_seconds(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  tn_task_enter(L, rt, "timeout");
  if (!rt->current) {
    return tn_take_detour(L, rt, "", "timeout");
  }
  struct tn_task *task = rt->current;
  int count = lua_gettop(L) - 1;
  uint64_t deadline_ns = tn_deadline_after(seconds);
  nest_reserve(L, rt, task);
  struct tn_thread thread = tn_thread_take(L, rt);
  if (!lua_checkstack(thread.state, count + LUA_MINSTACK)) {
    tn_thread_give(L, rt, thread);
    return luaL_error(L, "too many arguments");
  }
  nest_push(task, thread, deadline_ns);
  tn_task_nest(task)[task->depth - 1].begins = true;
  lua_xmove(L, thread.state, count);
  lua_pushthread(thread.state);
  lua_xmove(thread.state, L, 1);
  lua_replace(L, 1);
  lua_pushinteger(L, (lua_Integer)deadline_ns);
  return proceed(L, rt, task, task->depth - 1, TIMEOUT, count - 1);
}

/* --- the table of tcpnet.coroutine --- */

static lua_State *check_thread(lua_State *L) {
  lua_State *thread = lua_tothread(L, 1);
  luaL_argexpected(L, thread, 1, "coroutine");
  return thread;
}

static int coroutine_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *thread = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  return 1;
}

static int coroutine_resume(lua_State *L) {
  check_thread(L);
  return enter(L, tn_runtime_of(L), RESUME);
}

static int wrapped(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  return enter(L, tn_runtime_of(L), WRAP);
}

static int coroutine_wrap(lua_State *L) {
  coroutine_create(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, -2);
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

static int coroutine_status(lua_State *L) {
  lua_State *thread = check_thread(L);
  lua_pushstring(L, status_of(L, thread));
  return 1;
}

static int coroutine_close(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_State *thread = check_thread(L);
  const char *status = status_of(L, thread);
  if (status[0] == 'n' || status[0] == 'r') {
    return luaL_error(L, "cannot close a %s coroutine", status);
  }
  int result = close_thread(L, rt, thread);
  lua_pushboolean(L, result == LUA_OK);
  if (result != LUA_OK) {
    lua_xmove(thread, L, 1);
    return 2;
  }
  return 1;
}

void tn_coroutine_push(lua_State *L, struct tn_runtime *rt) {
  static const luaL_Reg functions[] = {{"create", coroutine_create}, {"resume", coroutine_resume},
                                       {"wrap", coroutine_wrap},     {"status", coroutine_status},
                                       {"close", coroutine_close},   {NULL, NULL}};
  static const char *const own[] = {"yield", "isyieldable", "running"};
  lua_newtable(L);
  tn_functions_add(L, rt, functions);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, LUA_COLIBNAME);
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
    lua_getfield(L, -1, own[i]);
    lua_setfield(L, -4, own[i]);
  }
  lua_pop(L, 2);
}
