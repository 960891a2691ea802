/* What a call does that is not over at once: see method_call.h. */
#include "binding/method_call.h"

#include "binding/address.h"
#include "binding/buffer.h"
#include "binding/error.h"
#include "core/splice.h"

static void end(struct tn_call *call) {
  struct tn_waiter *waiter = call->waiter;
  if (waiter && waiter->claims) {
    tn_claims_release(call->rt->reactor, waiter);
  }
}

/* "127.0.0.1:80", of the call or of the socket's peer; or the name that a call was given. */
static const char *address_text(lua_State *L, const struct tn_call *call, char *text, size_t size) {
  struct tn_address peer;
  int at = call->method->address_at;
  if (at && lua_type(L, at) == LUA_TSTRING) {
    return lua_tostring(L, at);
  }
  const struct tn_address *address = at ? tn_address_at(L, at) : NULL;
  if (!address) {
    if (!call->source || call->source->fd == TN_NO_FD || tn_source_peer(call->source, &peer) < 0) {
      return NULL;
    }
    address = &peer;
  }
  tn_address_format(address, text, size);
  return text;
}

TN_COLD static int fail(lua_State *L, struct tn_call *call, int status) {
  const struct tn_method *method = call->method;
  luaL_checkstack(L, 8, NULL);
  if (status == TN_CLOSED && (method->flags & TN_CLOSED_ENDS)) {
    end(call);
    lua_pushnil(L);
    return 1;
  }
  if (status == TN_EAGAIN) {
    tn_fail(L, call->rt, status, NULL, NULL);
  } else {
    char text[TN_ADDRESS_TEXT_MAX];
    if (!call->source && call->resumed && call->self &&
        (method->kinds & TN_SOURCES)) { /* it ran out of time before an attempt */
      call->source = ((const struct tn_object *)call->self)->source;
    }
    lua_pushnil(L);
    tn_error_push(L, call->rt, status, method->name, address_text(L, call, text, sizeof text),
                  call->message);
  }
  call->status = status;
  int extras = method->extras ? method->extras(L, call) : 0;
  end(call);
  return method->flags & TN_RAISES ? lua_error(L) : 2 + extras;
}

int tn_method_closed(lua_State *L, struct tn_call *call) {
  call->message = tn_object_push_end(L, call->self);
  return TN_CLOSED;
}

int tn_method_put_right(lua_State *L, const struct tn_call *call) {
  struct tn_source *source = call->source;
  int status = tn_source_has_splice(source) ? tn_splice_end(source) : 0;
  if (status < 0 || !tn_scratch_busy(source->reactor)) {
    return status;
  }
  if (!tn_in_finalizer(L)) {
    return tn_scratch_rescue(source->reactor);
  }
  return (call->method->flags & TN_READS) && tn_scratch_holds(source) ? TN_EAGAIN : 0;
}

int tn_method_busy(lua_State *L, const struct tn_call *call) {
  const char *kind = tn_kind_name(tn_kind_of(call->self));
  return tn_call_error(L, call->method->name,
                       lua_pushfstring(L, "another task is reading from this %s", kind));
}

static uint64_t timeout_of(lua_State *L, const struct tn_call *call) {
  const struct tn_method *method = call->method;
  if (method->seconds_at && !lua_isnoneornil(L, method->seconds_at)) {
    return tn_deadline_after(lua_tonumber(L, method->seconds_at));
  }
  const struct tn_source *source = call->wait_source ? call->wait_source : call->source;
  int interest = call->wait_source || !method->interest ? call->wait_interest : method->interest;
  uint64_t timeout = !source                                  ? 0
                     : interest & (TN_READABLE | TN_PRIORITY) ? source->read_timeout_ns
                     : interest & TN_WRITABLE                 ? source->write_timeout_ns
                                                              : 0;
  return timeout ? tn_now_ns() + timeout : 0;
}

/* Whole messages need no claim, but respect those of the stream that they are a view of. */
static bool claims(const struct tn_call *call) {
  return (tn_kind_of(call->self) & TN_STREAMS) || (call->method->flags & TN_WHOLE);
}

/* What a write that waits will send must stay as it is: 0, or a failure. */
TN_INLINE int claim_buffers(lua_State *L, const struct tn_method *method,
                            struct tn_waiter *waiter) {
  if (!(method->flags & TN_WRITES)) {
    return 0;
  }
  int status = tn_buffers_claim(L, waiter, method->flags & TN_EMPTIES);
  if (status == TN_EBUSY) {
    return tn_call_error(L, method->name, "a write_from of this Buffer is waiting");
  }
  return status;
}

/* Who only gives way does not wait for a deadline, but must not miss it either. */
static bool is_late(const struct tn_waiter *waiter) {
  return waiter->deadline_ns != 0 && waiter->deadline_ns <= tn_now_ns();
}

/* Parks the waiter where the attempt said. In a task this does not return. */
static int wait_for(lua_State *L, struct tn_call *call, lua_KFunction continuation) {
  struct tn_runtime *rt = call->rt;
  struct tn_waiter *waiter = call->waiter;
  const struct tn_method *method = call->method;
  if (!call->only_yield && (!call->resumed || call->progressed)) {
    waiter->operation_ns = timeout_of(L, call);
  }
  waiter->waited = call->resumed;
  if (waiter->granted) { /* of an operation that ended in a Lua error */
    tn_revoke(rt->reactor, waiter);
  }
  struct tn_source *source = call->wait_source ? call->wait_source : call->source;
  if (source && !call->until_ns && !call->queue) {
    call->until_ns = tn_source_noisy_until(source);
  }
  int status = tn_task_limit(waiter, call->until_ns);
  if (status == 0 && !call->resumed) { /* it has them until its end */
    status = claim_buffers(L, method, waiter);
  }
  if (status < 0) {
    return status;
  }
  int interest = call->wait_interest ? call->wait_interest : method->interest;
  /* Events alone must not keep it from being late; but what only the loop tells of (a child, a
   * signal) may have happened, and the loop is asked once. */
  bool asks_loop = call->external && !call->resumed;
  if (call->only_yield || (is_late(waiter) && !asks_loop)) {
    tn_make_ready(rt->reactor, waiter, is_late(waiter) ? TN_TIMEOUT : 0);
  } else if (call->queue || !source) {
    waiter->interest = (uint8_t)interest;
    status = tn_park(rt->reactor, waiter, call->queue, call->external);
  } else {
    status = tn_source_park(source, waiter, call->until_ns ? 0 : interest);
  }
  if (status < 0) {
    return status;
  }
  if (call->source && !call->queue && claims(call)) {
    if (method->flags & TN_READS) {
      tn_claim_take(&call->source->reading, waiter);
    }
    if (method->flags & TN_WRITES) {
      tn_claim_take(&call->source->writing, waiter);
    }
  }
  call->top = waiter->top = lua_gettop(L);
  waiter->subject = call->self;
  tn_task_suspend(L, rt, waiter, (lua_KContext)call->bound, continuation);
  return 0;
}

/* Has the operation's own time run out? Another deadline is only a reason to try again. */
static bool timed_out(const struct tn_waiter *waiter) {
  return waiter->reason == TN_TIMEOUT && waiter->operation_ns != 0 &&
         waiter->operation_ns <= tn_now_ns();
}

int tn_method_reason(lua_State *L, struct tn_call *call) {
  int reason = call->waiter->reason;
  if (reason == TN_TIMEOUT) {
    bool judges_itself = call->method->flags & TN_OWN_TIMEOUT;
    return !judges_itself && timed_out(call->waiter) ? TN_TIMEOUT : 0;
  }
  if (reason == TN_CLOSED && call->self && (call->method->kinds & TN_SOURCES)) {
    tn_method_closed(L, call);
  } else if (reason == TN_CLOSED && !call->self) {
    return 0; /* a function: the attempt finds out which of its objects it was, and says so */
  }
  return reason;
}

static int resume(lua_State *L, int status, lua_KContext context);

int tn_method_go_on(lua_State *L, struct tn_call *call, int status) {
  const struct tn_method *method = call->method;
  while (status < 0) {
    if (status != TN_EAGAIN || !call->waiter) {
      return fail(L, call, status);
    }
    status = wait_for(L, call, method->continuation ? method->continuation : resume);
    if (status < 0) {
      return fail(L, call, status);
    }
    int top = call->top; /* the caller was blocked until here */
    *call = tn_call_begin(call->bound, method, call->waiter, call->self);
    call->top = top;
    status = tn_call_resume(L, call, method);
  }
  end(call);
  return status;
}

static int resume(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const struct tn_bound *bound = (const struct tn_bound *)context;
  return tn_method_resume(L, bound, bound->method);
}

int tn_method_first(lua_State *L, const struct tn_bound *bound, struct tn_waiter *waiter,
                    void *self, int prepared) {
  struct tn_call call = tn_call_begin(bound, bound->method, waiter, self);
  call.prepared = prepared;
  waiter->operation_ns = 0;
  return tn_method_go_on(L, &call, tn_call_try(L, &call, bound->method));
}

/* The same after giving way. */
static int start(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const struct tn_bound *bound = (const struct tn_bound *)context;
  struct tn_waiter *waiter = tn_task_resumed(L, bound->rt);
  return tn_method_first(L, bound, waiter, tn_method_receiver(L, bound->method), 0);
}

/* The same where that was all. */
static int gave_way(lua_State *L, int status, lua_KContext context) {
  (void)status;
  tn_task_resumed(L, ((const struct tn_bound *)context)->rt);
  return 0;
}

int tn_method_give_way(lua_State *L, const struct tn_bound *bound, struct tn_waiter *waiter) {
  struct tn_runtime *rt = bound->rt;
  waiter->operation_ns = 0;
  const unsigned flags = bound->method->flags;
  int status = !(flags & TN_YIELDS) || (flags & TN_BEFORE) ? tn_task_limit_before(waiter)
                                                           : tn_task_limit(waiter, 0);
  status = status < 0 ? status : claim_buffers(L, bound->method, waiter);
  tn_budget_renew(rt);
  if (status == 0) {
    tn_make_ready(rt->reactor, waiter, is_late(waiter) ? TN_TIMEOUT : 0);
    tn_task_suspend(L, rt, waiter, (lua_KContext)bound, flags & TN_YIELDS ? gave_way : start);
  } else if (flags & TN_YIELDS) {
    struct tn_call call = tn_call_begin(bound, bound->method, waiter, NULL);
    return fail(L, &call, status);
  }
  return tn_method_first(L, bound, waiter, tn_method_receiver(L, bound->method), 0);
}

void tn_method_wrong_receiver(lua_State *L, const struct tn_method *method) {
  luaL_typeerror(L, 1, tn_kind_name(method->kinds & -method->kinds));
}

int tn_set_detour(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_rawgeti(L, LUA_REGISTRYINDEX, tn_runtime_of(L)->detours);
  lua_insert(L, 1);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

static int arrived(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  return lua_gettop(L);
}

int tn_take_detour(lua_State *L, struct tn_runtime *rt, const char *prefix, const char *name) {
  tn_runtime_check(L, rt, name);
  luaL_checkstack(L, 4, NULL);
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->detours);
  lua_pushfstring(L, "%s%s", prefix, name);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, arrived);
  return lua_gettop(L);
}

static int call_method(lua_State *L) {
  const struct tn_bound *bound = tn_bound_of(L);
  return tn_method_call(L, bound, bound->method);
}

static int call_try(lua_State *L) {
  const struct tn_bound *bound = tn_bound_of(L);
  const struct tn_method *method = bound->method;
  void *self = tn_method_check_receiver(L, method);
  if (tn_method_wants_name(L, method)) {
    return tn_take_detour(L, bound->rt, "try_", method->name);
  }
  int prepared = tn_method_check_arguments(L, bound->rt, method);
  tn_runtime_check(L, bound->rt, method->name);
  if (method->kinds & TN_SOURCES) {
    struct tn_source *source = ((struct tn_object *)self)->source;
    if (source) {
      source->drained = 0; /* it asks the kernel, whatever the last read left behind */
    }
  }
  struct tn_call call = tn_call_begin(bound, method, NULL, self);
  call.prepared = prepared;
  return tn_method_go_on(L, &call, tn_call_try(L, &call, method));
}

static void push_bound(lua_State *L, struct tn_runtime *rt, const struct tn_method *row,
                       lua_CFunction function) {
  struct tn_bound *bound = lua_newuserdatauv(L, sizeof *bound, 0);
  *bound = (struct tn_bound){rt, row};
  lua_pushlightuserdata(L, bound);
  lua_insert(L, -2);
  lua_pushcclosure(L, function, 2);
}

const struct tn_method *tn_running_method(lua_State *L) {
  const struct tn_bound *bound = lua_touserdata(L, lua_upvalueindex(1));
  return bound && bound == lua_touserdata(L, lua_upvalueindex(2)) ? bound->method : NULL;
}

void tn_method_push(lua_State *L, struct tn_runtime *rt, const struct tn_method *row) {
  push_bound(L, rt, row, row->function ? row->function : call_method);
}

int tn_iterator_new(lua_State *L, const struct tn_method *row) {
  struct tn_runtime *rt = tn_bound_of(L)->rt;
  void *self = tn_method_check_receiver(L, row);
  lua_settop(L, 2);
  int prepared = row->prepare(L, rt);
  struct tn_iterator *iterator = lua_newuserdatauv(L, sizeof *iterator, 0);
  *iterator = (struct tn_iterator){{rt, row}, self, prepared};
  lua_pushlightuserdata(L, iterator);
  lua_insert(L, 1);
  lua_pushcclosure(L, row->function, 4);
  return 1;
}

void tn_iterator_spread(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, lua_upvalueindex(3));
}

/* Adds the method to the table on top, or its try_ form. */
static void add_row(lua_State *L, struct tn_runtime *rt, const struct tn_method *row, bool try) {
  lua_pushfstring(L, try ? "try_%s" : "%s", row->name);
  if (try) {
    push_bound(L, rt, row, call_try);
  } else {
    tn_method_push(L, rt, row);
  }
  lua_rawset(L, -3);
}

void tn_methods_add(lua_State *L, struct tn_runtime *rt, uint64_t kind,
                    const struct tn_method *rows) {
  for (const struct tn_method *row = rows; row->name; row++) {
    if ((row->flags & TN_PRIVATE) || (kind ? !(row->kinds & kind) : row->kinds != 0)) {
      continue;
    }
    if (!(row->flags & TN_ONLY_TRY)) {
      add_row(L, rt, row, false);
    }
    if (row->flags & (TN_HAS_TRY | TN_ONLY_TRY)) {
      add_row(L, rt, row, true);
    }
  }
}

void tn_methods_add_private(lua_State *L, struct tn_runtime *rt, const struct tn_method *rows) {
  for (const struct tn_method *row = rows; row->name; row++) {
    if (row->flags & TN_PRIVATE) {
      add_row(L, rt, row, false);
      if (row->flags & TN_HAS_TRY) {
        add_row(L, rt, row, true);
      }
    }
  }
}
