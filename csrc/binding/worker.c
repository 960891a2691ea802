/* Worker and Parent: see worker.h.
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
#include "core/crew.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* Worker, Parent, and what the task that stands for a worker holds of it. */
struct port {
  struct tn_header header;
  struct tn_end *end; /* NULL: never opened */
  lua_Integer index;
};

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
  struct port *port = tn_new(L, rt, TN_PARENT, sizeof *port, 0);
  int status = tn_thread_channel_open(start->plan->reactor, rt->reactor, start->ends);
  if (status < 0) {
    return luaL_error(L, "not enough memory");
  }
  port->end = tn_end_retain(start->ends[1]);
  port->index = start->index;
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
  struct port *worker = tn_new(L, rt, TN_WORKER, sizeof *worker, 0);
  struct port *outcome = tn_new(L, rt, TN_OUTCOME, sizeof *outcome, 0);
  worker->index = outcome->index = index;
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

/* --- objects --- */

static struct port *check_worker(lua_State *L) {
  return tn_check(L, 1, TN_WORKER, "Worker");
}

static bool is_open(const struct port *port) {
  return port->end && port->end->reactor;
}

static const char *what_is_closed(const struct port *port) {
  return port->header.kind & TN_WORKER ? "the Worker is closed" : "the Parent is closed";
}

static int port_close(lua_State *L) {
  const struct port *port = check_worker(L);
  if (port->end) {
    tn_end_close(port->end);
  }
  return 0;
}

static void port_release(struct port *port) {
  if (port->end) {
    tn_end_release(port->end);
    port->end = NULL;
  }
}

static int worker_gc(lua_State *L) {
  port_close(L);
  port_release(lua_touserdata(L, 1));
  return 0;
}

static int other_gc(lua_State *L) {
  port_release(tn_check(L, 1, TN_PARENT | TN_OUTCOME, "Parent"));
  return 0;
}

static int method_closed(lua_State *L) {
  lua_pushboolean(L, !is_open(check_worker(L)));
  return 1;
}

static int method_index(lua_State *L) {
  const struct port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
  lua_pushinteger(L, port->index);
  return 1;
}

/* finish() → true: what the other side receives comes to its end. */
static int method_finish(lua_State *L) {
  const struct port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
  tn_runtime_check(L, tn_runtime_of(L), "finish");
  if (!is_open(port)) {
    return tn_fail(L, tn_runtime_of(L), TN_CLOSED, "finish", what_is_closed(port));
  }
  tn_end_finish_sending(port->end);
  lua_pushboolean(L, 1);
  return 1;
}

/* cancel() → was it still there? */
static int method_cancel(lua_State *L) {
  const struct port *port = check_worker(L);
  tn_runtime_check(L, tn_runtime_of(L), "cancel");
  bool alive = is_open(port) && !port->end->other_closed;
  if (alive) {
    tn_end_cancel(port->end);
  }
  lua_pushboolean(L, alive);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
  const char *state = !is_open(port) ? ", closed" : port->end->other_closed ? ", ended" : "";
  lua_pushfstring(L, port->header.kind == TN_WORKER ? "Worker (%d%s)" : "Parent (of worker %d%s)",
                  (int)port->index, state);
  return 1;
}

/* --- methods --- */

/* What an operation finds where the port is no use any more. */
static int end_of(struct tn_call *call, const struct port *port, bool other) {
  call->message = !other                          ? what_is_closed(port)
                  : port->header.kind & TN_WORKER ? "the worker has ended"
                                                  : "the parent closed the worker";
  return TN_CLOSED;
}

static int wait_in(struct tn_call *call, struct tn_queue *queue) {
  call->queue = queue;
  call->external = true;
  return TN_EAGAIN;
}

/* A letter may be there that the loop has not seen yet: a try_ form is not to depend on its turns.
 */
static void look(const struct tn_call *call, const struct port *port) {
  if (!call->resumed && is_open(port)) {
    tn_mailbox_look(port->end->reactor);
  }
}

static int prepare_send(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_argcheck(L, !lua_isnoneornil(L, 2), 2,
                "a value expected, got nil: that is the end of a channel");
  return 0;
}

/* send(value, ...) → true. Whoever waits already is before a newcomer. */
static int attempt_send(lua_State *L, struct tn_call *call) {
  struct port *port = call->self;
  struct tn_end *end = port->end;
  struct tn_parcel parcel = tn_parcel_measure(L, 2, lua_gettop(L), TN_PARCEL_MESSAGE);
  if (is_open(port) && !tn_end_has_room(end)) {
    look(call, port);
  }
  if (!is_open(port)) {
    return end_of(call, port, false);
  }
  if (end->other_closed) {
    return end_of(call, port, true);
  }
  if (end->finished) {
    call->message = "nothing can be sent after finish";
    return TN_CLOSED;
  }
  if (!tn_end_has_room(end) || (end->senders.head && !call->resumed)) {
    return wait_in(call, &end->senders);
  }
  struct tn_post *post = tn_parcel_write(L, &parcel);
  int status = post ? tn_parcel_check(L, post, &call->message) : TN_ENOMEM;
  if (status == 0 && !tn_end_begin(end)) {
    status = end_of(call, port, true);
  }
  if (status < 0) {
    tn_post_discard(post);
    return status;
  }
  tn_parcel_pack(post, "send");
  tn_end_finish(end, post);
  lua_pushboolean(L, 1);
  return 1;
}

/* recv([seconds]) → value, ... | nil at the end */
static int attempt_recv(lua_State *L, struct tn_call *call) {
  struct port *port = call->self;
  if (!is_open(port)) {
    return end_of(call, port, false);
  }
  struct tn_post *post = tn_end_take(port->end);
  if (!post) {
    look(call, port);
    post = tn_end_take(port->end);
  }
  if (!post && !port->end->other_closed && !port->end->other_finished) {
    return wait_in(call, &port->end->receivers);
  }
  if (!post) {
    lua_pushnil(L);
    return 1;
  }
  int count = tn_parcel_read(L, call->rt, post);
  if (count < 0) {
    tn_end_put_back(port->end, post);
    return count == TN_PARCEL_RAISED ? lua_error(L) : count;
  }
  tn_end_acknowledge(port->end, post);
  return count;
}

/* wait_outcome(outcome) → "done" | "failed" | "cancelled", values */
static int attempt_outcome(lua_State *L, struct tn_call *call) {
  const struct port *port = call->self;
  struct tn_end *end = port->end;
  if (!is_open(port)) {
    return end_of(call, port, false);
  }
  if (!end->other_closed) {
    return wait_in(call, &end->watchers);
  }
  if (!end->outcome) {
    call->message = "the worker had no memory left to say how it ended";
    return TN_ENOMEM;
  }
  int count = tn_parcel_read(L, call->rt, end->outcome);
  if (count < 0) {
    return count == TN_PARCEL_RAISED ? lua_error(L) : count;
  }
  tn_post_discard(end->outcome);
  end->outcome = NULL;
  return count;
}

/* wait_cancel(parent): until the parent wants the worker to end. */
static int attempt_cancel(lua_State *L, struct tn_call *call) {
  (void)L;
  const struct port *port = call->self;
  if (!is_open(port)) {
    return end_of(call, port, false);
  }
  return port->end->cancelled || port->end->other_closed ? 0 : wait_in(call, &port->end->watchers);
}

static const luaL_Reg worker_functions[] = {{"cancel", method_cancel}, {"close", port_close},
                                            {"closed", method_closed}, {"finish", method_finish},
                                            {"index", method_index},   {NULL, NULL}};
static const luaL_Reg worker_metamethods[] = {
    {"__close", port_close}, {"__gc", worker_gc}, {"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_worker_class = {"Worker", TN_WORKER, worker_functions, worker_metamethods};

static const luaL_Reg parent_functions[] = {
    {"finish", method_finish}, {"index", method_index}, {NULL, NULL}};
static const luaL_Reg parent_metamethods[] = {
    {"__gc", other_gc}, {"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_parent_class = {"Parent", TN_PARENT, parent_functions, parent_metamethods};

/* The task that stands for the worker ends. Where the worker has ended too, what it sent can still
 * be received. */
static int outcome_close(lua_State *L) {
  const struct port *port = tn_check(L, 1, TN_OUTCOME, "outcome");
  if (port->end && !port->end->other_closed) {
    tn_end_close(port->end);
  }
  return 0;
}

static const luaL_Reg outcome_metamethods[] = {
    {"__close", outcome_close}, {"__gc", other_gc}, {NULL, NULL}};
const struct tn_class tn_outcome_class = {"outcome", TN_OUTCOME, NULL, outcome_metamethods};

const struct tn_method tn_worker_methods[] = {
    {.name = "send",
     .kinds = TN_WORKER | TN_PARENT,
     .flags = TN_HAS_TRY,
     .prepare = prepare_send,
     .attempt = attempt_send},
    {.name = "recv",
     .kinds = TN_WORKER | TN_PARENT,
     .slots = 2,
     .seconds_at = 2,
     .flags = TN_HAS_TRY,
     .attempt = attempt_recv},
    {.name = "wait_outcome",
     .kinds = TN_OUTCOME,
     .slots = 1,
     .flags = TN_PRIVATE,
     .attempt = attempt_outcome},
    {.name = "wait_cancel",
     .kinds = TN_PARENT,
     .slots = 1,
     .flags = TN_PRIVATE,
     .attempt = attempt_cancel},
    {0},
};
