/* Threads with a Lua state: see worker.h.
 *
 * A worker's state is made where it is asked for, so that what fails there is told at once, and is
 * the thread's alone from then on. The thread needs nothing of the state that made it. What a
 * worker ended with is the first letter that its parent does not get before the worker's state is
 * closed. */
#include "binding/worker.h"

#include "binding/error.h"
#include "binding/field.h"
#include "binding/object.h"
#include "binding/parcel.h"
#include "binding/worker_port.h"
#include "core/crew.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

struct loader {
  const char *name;
  lua_CFunction function; /* NULL: the chunk of a Lua function */
  const char *chunk;
  size_t length;
};

/* What the new state needs of the old one, which keeps it meanwhile. */
struct plan {
  struct tn_reactor *reactor;
  const char *chunk, *path, *cpath, *used;
  size_t length;
  const struct loader *loaders;
  size_t loaders_count;
};

/* What the thread has. */
struct start {
  lua_State *L;
  const struct plan *plan; /* only while the state is made */
  struct tn_end *ends[2];  /* the parent's, until it has it, and the worker's */
  struct tn_post *arguments;
  struct tn_post *outcome;
  struct tn_crew *crew;
  lua_Integer index;
  struct tn_runtime *rt;
  lua_Alloc allocate; /* the state's own allocator, and its data */
  void *allocator;
  uint64_t stop_ns; /* a worker that computes is stopped then; 0: nobody wants that */
  bool closing;
};

enum { STOP_NS = 100000000 }; /* so long a worker that is not wanted any more may compute */

int tn_available_parallelism(lua_State *L) {
  lua_pushinteger(L, tn_crew_parallelism());
  return 1;
}

/* --- stopping one that computes --- */

/* As long as the worker has not heard of it: after that it ends as a cancelled task does. */
static void stop(lua_State *L, lua_Debug *frame) {
  (void)frame;
  void *start;
  lua_getallocf(L, &start);
  if (tn_end_is_unaware(((const struct start *)start)->ends[1])) {
    luaL_error(L, "the worker was closed while it computed");
  }
  lua_sethook(L, NULL, 0, 0);
}

/* Is it to have no memory any more? The hook is not called in a coroutine of Lua's own library that
 * the task resumed, which nothing tells of, nor in what another hook, or a finalizer, calls. */
static bool stop_soon(struct start *start) {
  struct tn_task *task = start->closing ? NULL : start->rt->current;
  uint64_t now = tn_now_ns();
  if (start->stop_ns == 0) {
    start->stop_ns = now + STOP_NS;
  }
  if (task && now >= start->stop_ns) {
    lua_sethook(tn_task_innermost(task), stop, LUA_MASKCOUNT, 1);
  }
  return !start->closing && now >= start->stop_ns + STOP_NS;
}

/* Another thread cannot reach into a running Lua state. But nearly all that runs allocates, and
 * here it is on its own thread, where a hook may be set as in a signal handler. */
static void *allocate(void *memory, void *block, size_t old_size, size_t size) {
  struct start *start = memory;
  bool grows = size > 0 && (!block || size > old_size);
  if (start->ends[1] && tn_end_is_unaware(start->ends[1]) && stop_soon(start) && grows) {
    return NULL;
  }
  return start->allocate(start->allocator, block, old_size, size);
}

/* --- in the worker's state --- */

/* As Lua's own, but it ends the process at once: on another thread than the program's first nothing
 * else can be closed. */
static int exit_process(lua_State *L) {
  int code = lua_isboolean(L, 1) ? (lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE)
                                 : (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  if (lua_toboolean(L, 2)) {
    void *memory;
    lua_getallocf(L, &memory);
    struct start *start = memory;
    start->closing = true;
    tn_end_abandon(start->ends[1]); /* the parent must not go on for a moment */
    lua_close(L);
  }
  tn_process_exit(code);
}

int tn_worker_adopt(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct start *start = lua_touserdata(L, 1);
  struct tn_worker_port *port = tn_worker_port_new(L, rt, TN_PARENT, start->index);
  int status = tn_thread_channel_open(start->plan->reactor, rt->reactor, start->ends);
  if (status < 0) {
    return luaL_error(L, "not enough memory");
  }
  port->end = tn_end_retain(start->ends[1]);
  start->rt = rt;
  tn_reactor_ignore_interrupt(rt->reactor);
  return 1;
}

static void set_loaders(lua_State *L, const struct plan *plan) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (size_t i = 0; i < plan->loaders_count; i++) {
    const struct loader *loader = &plan->loaders[i];
    if (loader->function) {
      lua_pushcfunction(L, loader->function);
    } else if (luaL_loadbufferx(L, loader->chunk, loader->length, loader->name, "b") != LUA_OK) {
      lua_error(L);
    }
    lua_setfield(L, -2, loader->name);
  }
  lua_pop(L, 1);
}

static void set_up(lua_State *L, const struct plan *plan) {
  luaL_openlibs(L);
  lua_getglobal(L, LUA_OSLIBNAME);
  lua_pushcfunction(L, exit_process);
  lua_setfield(L, -2, "exit");
  lua_getglobal(L, LUA_LOADLIBNAME);
  tn_set_string(L, "path", plan->path);
  tn_set_string(L, "cpath", plan->cpath);
  lua_settop(L, 0);
  set_loaders(L, plan);
}

/* prepare(start) → run_worker, start, parent, fn, used */
static int prepare(lua_State *L) {
  struct start *start = lua_touserdata(L, 1);
  const struct plan *plan = start->plan;
  set_up(L, plan);
  luaL_requiref(L, "tcpnet.core", luaopen_tcpnet_core, 0);
  lua_getfield(L, 1, "private");
  lua_getfield(L, 2, "run_worker");
  lua_pushlightuserdata(L, start);
  lua_getfield(L, 2, "adopt_worker");
  lua_pushlightuserdata(L, start);
  lua_call(L, 1, 1);
  if (luaL_loadbufferx(L, plan->chunk, plan->length, "=worker", "b") != LUA_OK) {
    return lua_error(L);
  }
  lua_pushstring(L, plan->used);
  return 5;
}

/* Leaves the values from `first` on as what the worker ended with; raises where they cannot go. */
static void keep_outcome(lua_State *L, struct start *start, int first) {
  struct tn_parcel parcel = tn_parcel_measure(L, first, lua_gettop(L), TN_PARCEL_RESULTS);
  struct tn_post *post = tn_parcel_write(L, &parcel);
  const char *message = "not enough memory";
  int status = post ? tn_parcel_check(L, post, &message) : TN_ENOMEM;
  if (status < 0) {
    tn_post_discard(post);
    luaL_error(L, "a result cannot go to another thread: %s",
               status == TN_EBUSY ? "it is being read" : message);
  }
  tn_parcel_pack(post, "the end of its worker");
  start->outcome = post;
}

int tn_worker_run(lua_State *L) {
  struct start *start = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tcpnet");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "private");
  lua_getfield(L, -1, "work");
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 4);
  int count = tn_parcel_read(L, tn_runtime_of(L), start->arguments);
  if (count < 0) {
    return count == TN_PARCEL_RAISED ? lua_error(L) : luaL_error(L, "not enough memory");
  }
  int function = lua_gettop(L) - count - 3;
  lua_call(L, count + 3, LUA_MULTRET);
  keep_outcome(L, start, function);
  return 0;
}

/* keep_failure(start, error): an error that cannot go is told in words. */
static int keep_failure(lua_State *L) {
  lua_pushliteral(L, "failed");
  lua_pushvalue(L, 2);
  keep_outcome(L, lua_touserdata(L, 1), lua_gettop(L) - 1);
  return 0;
}

static int keep_words(lua_State *L) {
  luaL_tolstring(L, 2, NULL);
  lua_replace(L, 2);
  lua_settop(L, 2);
  return keep_failure(L);
}

static bool try_to_keep(lua_State *L, struct start *start, lua_CFunction how) {
  lua_settop(L, 1); /* the error */
  if (!lua_checkstack(L, 8)) {
    return false;
  }
  lua_pushcfunction(L, how);
  lua_pushlightuserdata(L, start);
  lua_pushvalue(L, 1);
  return lua_pcall(L, 2, 0, 0) == LUA_OK;
}

/* --- the thread --- */

static void work(void *argument) {
  struct start *start = argument;
  struct tn_crew *crew = start->crew;
  lua_State *L = start->L;
  tn_thread_admit_signals();
  if (lua_pcall(L, 4, 0, 0) != LUA_OK && !try_to_keep(L, start, keep_failure)) {
    try_to_keep(L, start, keep_words);
  }
  tn_post_discard(start->arguments);
  tn_end_leave(start->ends[1], start->outcome);
  start->closing = true;
  lua_close(L); /* with the reactor the end closes, and that tells the parent */
  tn_end_release(start->ends[1]);
  free(start);
  tn_crew_leave(crew);
}

/* --- making one --- */

static void discard(struct start *start) {
  if (start->L) {
    lua_close(start->L);
  }
  for (int i = 0; i < 2; i++) {
    if (start->ends[i]) {
      tn_end_close(start->ends[i]);
      tn_end_release(start->ends[i]);
    }
  }
  if (start->crew) {
    tn_crew_leave(start->crew);
  }
  tn_post_discard(start->arguments);
  free(start);
}

/* 0, or a failure with a message, to be freed; nothing in here can raise. */
static int make_state(struct start *start, const struct plan *plan, char **message) {
  start->L = luaL_newstate();
  if (!start->L) {
    return TN_ENOMEM;
  }
  start->plan = plan;
  start->allocate = lua_getallocf(start->L, &start->allocator);
  lua_setallocf(start->L, allocate, start);
  lua_pushcfunction(start->L, prepare);
  lua_pushlightuserdata(start->L, start);
  int status = lua_pcall(start->L, 1, LUA_MULTRET, 0);
  start->plan = NULL;
  if (status == LUA_OK) {
    return 0;
  }
  if (lua_rawgetp(start->L, LUA_REGISTRYINDEX, tn_runtime_failure) == LUA_TNUMBER) {
    return (int)lua_tointeger(start->L, -1);
  }
  lua_pop(start->L, 1);
  size_t length;
  const char *text =
      lua_type(start->L, -1) == LUA_TSTRING ? lua_tolstring(start->L, -1, &length) : NULL;
  if (text && status != LUA_ERRMEM && (*message = malloc(length + 1))) {
    memcpy(*message, text, length + 1);
    return TN_EINVAL;
  }
  return TN_ENOMEM;
}

/* The list of loaders at the index, in memory that is left on the stack. */
static void take_loaders(lua_State *L, int list, struct plan *plan) {
  size_t count = lua_rawlen(L, list) / 2;
  struct loader *loaders = lua_newuserdatauv(L, (count + 1) * sizeof *loaders, 0);
  for (size_t i = 0; i < count; i++) {
    lua_Integer at = (lua_Integer)i * 2;
    lua_rawgeti(L, list, at + 1);
    lua_rawgeti(L, list, at + 2);
    loaders[i] = (struct loader){.name = lua_tostring(L, -2), .function = lua_tocfunction(L, -1)};
    loaders[i].chunk = lua_tolstring(L, -1, &loaders[i].length);
    lua_pop(L, 2);
  }
  plan->loaders = loaders;
  plan->loaders_count = count;
}

static void take_plan(lua_State *L, struct plan *plan) {
  plan->chunk = lua_tolstring(L, 2, &plan->length);
  lua_rawgeti(L, 1, 2);
  plan->path = lua_tostring(L, -1);
  lua_rawgeti(L, 1, 3);
  plan->cpath = lua_tostring(L, -1);
  lua_rawgeti(L, 1, 5);
  plan->used = lua_tostring(L, -1);
  lua_rawgeti(L, 1, 4);
  take_loaders(L, lua_gettop(L), plan);
}

int tn_worker_start(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_opening_check(L, rt, "workers");
  int last = lua_gettop(L);
  struct plan plan = {.reactor = rt->reactor};
  luaL_checkstack(L, 16, NULL);
  lua_rawgeti(L, 1, 1);
  lua_Integer index = lua_tointeger(L, -1);
  take_plan(L, &plan);
  struct tn_worker_port *worker = tn_worker_port_new(L, rt, TN_WORKER, index);
  struct tn_worker_port *outcome = tn_worker_port_new(L, rt, TN_OUTCOME, index);
  struct tn_parcel arguments = tn_parcel_measure(L, 3, last, TN_PARCEL_ARGUMENTS);
  struct start *start = calloc(1, sizeof *start);
  if (!start) {
    return tn_fail(L, rt, TN_ENOMEM, "workers", NULL);
  }
  char *message = NULL;
  start->index = index;
  start->arguments = tn_parcel_write(L, &arguments);
  start->crew = start->arguments ? tn_crew_join(rt->reactor) : NULL;
  int status = start->crew ? make_state(start, &plan, &message) : TN_ENOMEM;
  struct tn_end *end = start->ends[0];
  if (status == 0) {
    worker->end = tn_end_retain(end);
    outcome->end = tn_end_retain(end);
    status = tn_thread_start(work, start);
  }
  if (status < 0) {
    discard(start);
    lua_pushstring(L, message ? message : tn_status_message(status));
    free(message);
    return tn_fail(L, rt, status, "workers", lua_tostring(L, -1));
  }
  tn_end_release(end);
  return 2;
}
