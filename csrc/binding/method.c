/* The one try-wait-retry loop: see method.h. */
#include "binding/method.h"

#include "binding/address.h"
#include "binding/error.h"
#include "core/splice.h"

#include <stdio.h>
#include <string.h>

/* The upvalue of a method: one look-up for both. */
struct bound {
  struct tn_runtime *rt;
  const struct tn_method *method;
};

static const struct bound *bound_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

static struct tn_call begin(const struct bound *bound, struct tn_waiter *waiter, void *self) {
  return (struct tn_call){
      .bound = bound, .rt = bound->rt, .method = bound->method, .waiter = waiter, .self = self};
}

static void *receiver(lua_State *L, const struct tn_method *method) {
  return method->kinds ? lua_touserdata(L, 1) : NULL;
}

static void end(struct tn_call *call) {
  struct tn_waiter *waiter = call->waiter;
  if (waiter && waiter->claims) {
    tn_claims_release(call->rt->reactor, waiter);
  }
}

/* "127.0.0.1:80", of the call or of the socket's peer. */
static const char *address_text(lua_State *L, const struct tn_call *call, char *text, size_t size) {
  struct tn_address peer;
  const struct tn_address *address =
      call->method->address_at ? tn_address_at(L, call->method->address_at) : NULL;
  if (!address) {
    if (!call->source || call->source->fd == TN_NO_FD || tn_source_peer(call->source, &peer) < 0) {
      return NULL;
    }
    address = &peer;
  }
  tn_address_format(address, text, size);
  return text;
}

static int fail(lua_State *L, struct tn_call *call, int status) {
  const struct tn_method *method = call->method;
  luaL_checkstack(L, 8, NULL);
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
  return 2 + extras;
}

static int closed(lua_State *L, struct tn_call *call) {
  call->message = tn_object_push_end(L, call->self);
  return TN_CLOSED;
}

static int attempt(lua_State *L, struct tn_call *call) {
  const struct tn_method *method = call->method;
  if (method->kinds & TN_SOURCES) {
    struct tn_source *source = ((struct tn_object *)call->self)->source;
    call->source = source;
    if (!source || source->fd == TN_NO_FD) {
      return closed(L, call);
    }
    if (source->splice) { /* a copy left bytes in its pipe */
      int status = tn_splice_end(source);
      if (status < 0) {
        return status;
      }
    }
    if (tn_scratch_busy(source->reactor) && lua_gc(L, LUA_GCCOUNT) >= 0) {
      int status = tn_scratch_rescue(source->reactor); /* Lua had no memory for the last read */
      if (status < 0) {
        return status;
      }
    }
    if ((method->flags & TN_READS) && tn_claim_taken(&source->reading, call->waiter)) {
      const char *kind = tn_kind_name(((struct tn_object *)call->self)->header.kind);
      return tn_call_error(L, method->name,
                           lua_pushfstring(L, "another task is reading from this %s", kind));
    }
    if ((method->flags & TN_WRITES) && tn_claim_taken(&source->writing, call->waiter)) {
      call->queue = &source->writing.queue;
      return TN_EAGAIN;
    }
    if ((method->flags & TN_NEEDS_BYTES) && source->input.length == 0 &&
        (source->drained & source->armed & TN_READABLE)) {
      return TN_EAGAIN;
    }
  }
  return method->attempt(L, call);
}

static uint64_t timeout_of(lua_State *L, const struct tn_call *call) {
  const struct tn_method *method = call->method;
  if (method->seconds_at && !lua_isnoneornil(L, method->seconds_at)) {
    return tn_deadline_after(lua_tonumber(L, method->seconds_at));
  }
  const struct tn_source *source = call->wait_source ? call->wait_source : call->source;
  int interest = call->wait_source ? call->wait_interest : method->interest;
  uint64_t timeout = !source                  ? 0
                     : interest & TN_READABLE ? source->read_timeout_ns
                     : interest & TN_WRITABLE ? source->write_timeout_ns
                                              : 0;
  return timeout ? tn_now_ns() + timeout : 0;
}

/* Whole messages need no claim, but respect those of the stream that they are a view of. */
static bool claims(const struct tn_call *call) {
  return (((const struct tn_object *)call->self)->header.kind & TN_STREAMS) ||
         (call->method->flags & TN_WHOLE);
}

static int resume(lua_State *L, int status, lua_KContext context);

/* Who only gives way does not wait for a deadline, but must not miss it either. */
static bool is_late(const struct tn_waiter *waiter) {
  return waiter->deadline_ns != 0 && waiter->deadline_ns <= tn_now_ns();
}

/* Parks the waiter where the attempt said. In a task this does not return. */
static int wait(lua_State *L, struct tn_call *call) {
  struct tn_runtime *rt = call->rt;
  struct tn_waiter *waiter = call->waiter;
  const struct tn_method *method = call->method;
  if (!call->only_yield && (!call->resumed || call->progressed)) {
    waiter->operation_ns = timeout_of(L, call);
  }
  struct tn_source *source = call->wait_source ? call->wait_source : call->source;
  if (source && !call->until_ns && !call->queue) {
    call->until_ns = tn_source_noisy_until(source);
  }
  int status = tn_task_limit(waiter, call->until_ns);
  if (status < 0) {
    return status;
  }
  int interest = call->wait_interest ? call->wait_interest : method->interest;
  if (call->only_yield || is_late(waiter)) { /* events alone must not keep it from being late */
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
  tn_task_suspend(L, rt, waiter, (lua_KContext)call->bound, resume);
  return 0;
}

/* Has the operation's own time run out? Another deadline is only a reason to try again. */
static bool timed_out(const struct tn_waiter *waiter) {
  return waiter->reason == TN_TIMEOUT && waiter->operation_ns != 0 &&
         waiter->operation_ns <= tn_now_ns();
}

static int advance(lua_State *L, struct tn_call *call) {
  for (;;) {
    int status = 0;
    if (call->resumed && call->waiter->reason != 0) {
      bool judges_itself = call->method->flags & TN_OWN_TIMEOUT;
      status = call->waiter->reason != TN_TIMEOUT          ? call->waiter->reason
               : !judges_itself && timed_out(call->waiter) ? TN_TIMEOUT
                                                           : 0;
      if (status == TN_CLOSED && call->self && (call->method->kinds & TN_SOURCES)) {
        closed(L, call);
      }
    }
    status = status < 0 ? status : attempt(L, call);
    if (status >= 0) {
      end(call);
      return status;
    }
    if (status != TN_EAGAIN || !call->waiter) {
      return fail(L, call, status);
    }
    status = wait(L, call);
    if (status < 0) {
      return fail(L, call, status);
    }
    int top = call->top;
    *call = begin(call->bound, call->waiter, call->self);
    call->resumed = true;
    call->top = top;
  }
}

static int resume(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const struct bound *bound = (const struct bound *)context;
  struct tn_call call = begin(bound, tn_task_resumed(L, bound->rt), receiver(L, bound->method));
  call.resumed = true;
  call.top = call.waiter->top;
  return advance(L, &call);
}

/* The same after giving way before the first attempt. */
static int start(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const struct bound *bound = (const struct bound *)context;
  struct tn_runtime *rt = bound->rt;
  struct tn_waiter *waiter = rt->current ? tn_task_resumed(L, rt) : &rt->blocking;
  struct tn_call call = begin(bound, waiter, receiver(L, bound->method));
  return advance(L, &call);
}

/* Everybody else first. */
static int give_way(lua_State *L, const struct bound *bound, struct tn_waiter *waiter) {
  struct tn_runtime *rt = bound->rt;
  int status = tn_task_limit(waiter, 0);
  tn_budget_renew(rt);
  if (status == 0) {
    tn_make_ready(rt->reactor, waiter, is_late(waiter) ? TN_TIMEOUT : 0);
    tn_task_suspend(L, rt, waiter, (lua_KContext)bound, start);
  } else if (bound->method->flags & TN_YIELDS) {
    struct tn_call call = begin(bound, waiter, NULL);
    return fail(L, &call, status);
  }
  return start(L, LUA_OK, (lua_KContext)bound);
}

static inline void *check_receiver(lua_State *L, const struct tn_method *method) {
  if (method->kinds == 0) {
    return NULL;
  }
  void *self = tn_cast(L, 1, method->kinds);
  if (!self) {
    luaL_typeerror(L, 1, tn_kind_name(method->kinds & -method->kinds));
  }
  return self;
}

static inline void check_arguments(lua_State *L, struct tn_runtime *rt,
                                   const struct tn_method *method) {
  if (method->slots) {
    lua_settop(L, method->slots);
  }
  if (method->seconds_at && !lua_isnil(L, method->seconds_at)) {
    tn_check_seconds(L, method->seconds_at);
  }
  if (method->prepare) {
    method->prepare(L, rt);
  }
}

int tn_method_on_name(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_rawgeti(L, LUA_REGISTRYINDEX, tn_runtime_of(L)->by_name);
  lua_insert(L, 1);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

static int named(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  return lua_gettop(L);
}

/* The same call by way of the Lua function that knows names. */
static int call_by_name(lua_State *L, const struct bound *bound, const char *prefix) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, bound->rt->by_name);
  lua_pushfstring(L, "%s%s", prefix, bound->method->name);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, named);
  return lua_gettop(L);
}

static bool wants_name(lua_State *L, const struct tn_method *method) {
  return (method->flags & TN_NAMES) && !tn_address_at(L, method->address_at);
}

static int call_method(lua_State *L) {
  const struct bound *bound = bound_of(L);
  struct tn_runtime *rt = bound->rt;
  const struct tn_method *method = bound->method;
  void *self = check_receiver(L, method);
  if (wants_name(L, method)) {
    return call_by_name(L, bound, "");
  }
  check_arguments(L, rt, method);
  struct tn_waiter *waiter = NULL;
  if (method->flags & TN_NEVER_WAITS) {
    tn_runtime_check(L, rt, method->name);
  } else {
    waiter = tn_task_enter(L, rt, method->name);
    waiter->operation_ns = 0;
    if (waiter->claims) { /* of an operation that ended in a Lua error */
      tn_claims_release(rt->reactor, waiter);
    }
    bool tired = tn_budget_spend(rt) && !(method->flags & TN_ALWAYS_WAITS);
    if (tired || (method->flags & TN_YIELDS)) {
      return give_way(L, bound, waiter);
    }
  }
  struct tn_call call = begin(bound, waiter, self);
  return advance(L, &call);
}

static int call_try(lua_State *L) {
  const struct bound *bound = bound_of(L);
  void *self = check_receiver(L, bound->method);
  if (wants_name(L, bound->method)) {
    return call_by_name(L, bound, "try_");
  }
  check_arguments(L, bound->rt, bound->method);
  tn_runtime_check(L, bound->rt, bound->method->name);
  if (bound->method->kinds & TN_SOURCES) {
    struct tn_source *source = ((struct tn_object *)self)->source;
    if (source) {
      source->drained = 0; /* it asks the kernel, whatever the last read left behind */
    }
  }
  struct tn_call call = begin(bound, NULL, self);
  return advance(L, &call);
}

static void push_bound(lua_State *L, struct tn_runtime *rt, const struct tn_method *row,
                       lua_CFunction function) {
  struct bound *bound = lua_newuserdatauv(L, sizeof *bound, 0);
  *bound = (struct bound){rt, row};
  lua_pushcclosure(L, function, 1);
}

void tn_method_push(lua_State *L, struct tn_runtime *rt, const struct tn_method *row) {
  push_bound(L, rt, row, call_method);
}

static void add_row(lua_State *L, struct tn_runtime *rt, const struct tn_method *row,
                    const char *prefix, lua_CFunction function) {
  lua_pushfstring(L, "%s%s", prefix, row->name);
  push_bound(L, rt, row, function);
  lua_rawset(L, -3);
}

void tn_methods_add(lua_State *L, struct tn_runtime *rt, uint64_t kind,
                    const struct tn_method *rows) {
  for (const struct tn_method *row = rows; row->name; row++) {
    if ((row->flags & TN_PRIVATE) || (kind ? !(row->kinds & kind) : row->kinds != 0)) {
      continue;
    }
    if (!(row->flags & TN_ONLY_TRY)) {
      add_row(L, rt, row, "", call_method);
    }
    if (row->flags & (TN_HAS_TRY | TN_ONLY_TRY)) {
      add_row(L, rt, row, "try_", call_try);
    }
  }
}

void tn_methods_add_private(lua_State *L, struct tn_runtime *rt, const struct tn_method *rows) {
  for (const struct tn_method *row = rows; row->name; row++) {
    if (row->flags & TN_PRIVATE) {
      add_row(L, rt, row, "", call_method);
      if (row->flags & TN_HAS_TRY) {
        add_row(L, rt, row, "try_", call_try);
      }
    }
  }
}
