/* Worker and Parent: see worker_port.h. */
#include "binding/worker_port.h"

#include "binding/error.h"
#include "binding/parcel.h"

struct tn_worker_port *tn_worker_port_new(lua_State *L, struct tn_runtime *rt, uint64_t kind,
                                          lua_Integer index) {
  struct tn_worker_port *port = tn_new(L, rt, kind, sizeof *port, 0);
  port->index = index;
  return port;
}

static struct tn_worker_port *check_worker(lua_State *L) {
  return tn_check(L, 1, TN_WORKER, "Worker");
}

static bool is_open(const struct tn_worker_port *port) {
  return port->end && port->end->reactor;
}

static const char *what_is_closed(const struct tn_worker_port *port) {
  return port->header.kind & TN_WORKER ? "the Worker is closed" : "the Parent is closed";
}

static int port_close(lua_State *L) {
  const struct tn_worker_port *port = check_worker(L);
  if (port->end) {
    tn_end_close(port->end);
  }
  return 0;
}

static void port_release(struct tn_worker_port *port) {
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
  const struct tn_worker_port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
  lua_pushinteger(L, port->index);
  return 1;
}

/* finish() → true: what the other side receives comes to its end. */
static int method_finish(lua_State *L) {
  const struct tn_worker_port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
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
  const struct tn_worker_port *port = check_worker(L);
  tn_runtime_check(L, tn_runtime_of(L), "cancel");
  bool alive = is_open(port) && !port->end->other_closed;
  if (alive) {
    tn_end_cancel(port->end);
  }
  lua_pushboolean(L, alive);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct tn_worker_port *port = tn_check(L, 1, TN_WORKER | TN_PARENT, "Worker");
  const char *state = !is_open(port) ? ", closed" : port->end->other_closed ? ", ended" : "";
  lua_pushfstring(L, port->header.kind == TN_WORKER ? "Worker (%d%s)" : "Parent (of worker %d%s)",
                  (int)port->index, state);
  return 1;
}

/* --- methods --- */

/* What an operation finds where the port is no use any more. */
static int end_of(struct tn_call *call, const struct tn_worker_port *port, bool other) {
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
static void look(const struct tn_call *call, const struct tn_worker_port *port) {
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
  struct tn_worker_port *port = call->self;
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
  struct tn_worker_port *port = call->self;
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
  const struct tn_worker_port *port = call->self;
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
  const struct tn_worker_port *port = call->self;
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
  const struct tn_worker_port *port = tn_check(L, 1, TN_OUTCOME, "outcome");
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
