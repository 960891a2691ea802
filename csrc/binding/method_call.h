/* The way of a call: checks, the first attempt, and the next one after a wait.
 *
 * method.c compiles these functions once, for all rows. A row that busy programs call for every few
 * bytes has them compiled for itself (TN_METHOD_COMPILED): what its flags decide is then decided,
 * and its attempt is no call. Whatever is not over with an attempt goes on in method.c. */
#ifndef TCPNET_METHOD_CALL_H
#define TCPNET_METHOD_CALL_H

#include "binding/address.h"
#include "binding/method.h"
#include "core/scratch.h"

/* --- what method.c does --- */

/* The call after an attempt that answered `status`: results, `nil, err`, or a wait. */
int tn_method_go_on(lua_State *L, struct tn_call *call, int status);
/* The first attempt, on its own: of a call that was not over before anything was set up. */
int tn_method_first(lua_State *L, const struct tn_bound *bound, struct tn_waiter *waiter,
                    void *self, int prepared);
/* Everybody else first. */
TN_COLD int tn_method_give_way(lua_State *L, const struct tn_bound *bound,
                               struct tn_waiter *waiter);
TN_COLD void tn_method_wrong_receiver(lua_State *L, const struct tn_method *method);
/* TN_CLOSED, and why. */
TN_COLD int tn_method_closed(lua_State *L, struct tn_call *call);
/* Another task reads: raises. */
TN_COLD int tn_method_busy(lua_State *L, const struct tn_call *call);
/* Bytes that a copy left in its pipe, or that Lua had no memory for, come first: 0, or a failure.
 * In a finalizer there is nothing to read while another read of the same source gives out its
 * bytes.
 */
TN_COLD int tn_method_put_right(lua_State *L, const struct tn_call *call);
/* Puts the receiver and the argument of an iterator where those of a method are. */
void tn_iterator_spread(lua_State *L);
/* Why the wait ended, where that ends the operation; 0: it goes on. */
TN_COLD int tn_method_reason(lua_State *L, struct tn_call *call);

/* --- what is compiled into each --- */

TN_INLINE const struct tn_bound *tn_bound_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

TN_INLINE struct tn_call tn_call_begin(const struct tn_bound *bound, const struct tn_method *method,
                                       struct tn_waiter *waiter, void *self) {
  return (struct tn_call){
      .bound = bound, .rt = bound->rt, .method = method, .waiter = waiter, .self = self};
}

TN_INLINE void *tn_method_receiver(lua_State *L, const struct tn_method *method) {
  return method->kinds ? lua_touserdata(L, 1) : NULL;
}

TN_INLINE void *tn_method_check_receiver(lua_State *L, const struct tn_method *method) {
  void *self = method->kinds ? tn_cast(L, 1, method->kinds) : NULL;
  if (!self && method->kinds) {
    tn_method_wrong_receiver(L, method);
  }
  return self;
}

/* Anything but a SocketAddr with nothing behind the place of a port, of which it needs none. */
TN_INLINE bool tn_method_wants_name(lua_State *L, const struct tn_method *method) {
  int at = method->address_at;
  return (method->flags & TN_NAMES) && !(lua_isnoneornil(L, at + 2) && tn_address_at(L, at));
}

TN_INLINE int tn_method_check_arguments(lua_State *L, struct tn_runtime *rt,
                                        const struct tn_method *method) {
  if (method->slots && lua_gettop(L) != method->slots) {
    lua_settop(L, method->slots);
  }
  if (method->seconds_at && !lua_isnil(L, method->seconds_at)) {
    tn_check_seconds(L, method->seconds_at);
  }
  return method->prepare ? method->prepare(L, rt) : 0;
}

TN_INLINE int tn_call_try(lua_State *L, struct tn_call *call, const struct tn_method *method) {
  if ((method->kinds & TN_SOURCES) && call->self) {
    struct tn_source *source = ((struct tn_object *)call->self)->source;
    call->source = source;
    if (!source || source->fd == TN_NO_FD) {
      return tn_method_closed(L, call);
    }
    if (tn_source_has_splice(source) || tn_scratch_busy(source->reactor)) {
      int status = tn_method_put_right(L, call);
      if (status < 0) {
        return status;
      }
    }
    if ((method->flags & TN_READS) && tn_claim_taken(&source->reading, call->waiter)) {
      return tn_method_busy(L, call);
    }
    if ((method->flags & TN_WRITES) && tn_claim_taken(&source->writing, call->waiter)) {
      call->queue = &source->writing.queue;
      return TN_EAGAIN;
    }
    if ((method->flags & TN_NEEDS_BYTES) && source->input.length == 0 &&
        tn_source_is_drained(source, TN_READABLE)) {
      return TN_EAGAIN;
    }
  }
  return method->attempt(L, call);
}

/* The next attempt, after a wait. */
TN_INLINE int tn_call_resume(lua_State *L, struct tn_call *call, const struct tn_method *method) {
  call->resumed = true;
  int status = call->waiter->reason ? tn_method_reason(L, call) : 0;
  return status < 0 ? status : tn_call_try(L, call, method);
}

TN_INLINE int tn_method_resume(lua_State *L, const struct tn_bound *bound,
                               const struct tn_method *method) {
  struct tn_waiter *waiter = tn_task_resumed(L, bound->rt);
  /* not the waiter's subject: where a stranger went on with the coroutine that may be of another
   * operation */
  struct tn_call call = tn_call_begin(bound, method, waiter, tn_method_receiver(L, method));
  call.top = waiter->top;
  int status = tn_call_resume(L, &call, method);
  if (status < 0) {
    return tn_method_go_on(L, &call, status);
  }
  if (waiter->claims && !tn_claim_end_one(waiter)) {
    tn_claims_release(bound->rt->reactor, waiter);
  }
  return status;
}

/* Is there something ahead of the reader that no other claims, and that nothing comes before? A
 * source that is closed has nothing. */
TN_INLINE bool tn_source_is_ahead(const struct tn_source *source) {
  return source && source->input.length > 0 && !tn_source_has_splice(source) &&
         !source->reading.holder && !tn_scratch_busy(source->reactor);
}

/* The call, its receiver and arguments checked; those of an iterator are in there. */
TN_INLINE int tn_method_begin(lua_State *L, const struct tn_bound *bound,
                              const struct tn_method *method, const struct tn_iterator *iterator,
                              void *self, int prepared) {
  struct tn_runtime *rt = bound->rt;
  struct tn_waiter *waiter = NULL;
  if (method->flags & TN_NEVER_WAITS) {
    tn_runtime_check(L, rt, method->name);
  } else {
    waiter = tn_task_enter(L, rt, method->name);
    if (waiter->claims) { /* of an operation that ended in a Lua error */
      tn_claims_release(rt->reactor, waiter);
    }
    bool tired = tn_budget_spend(rt) && !(method->flags & TN_ALWAYS_WAITS);
    if (tired || (method->flags & TN_YIELDS)) {
      if (iterator) {
        tn_iterator_spread(L);
      }
      return tn_method_give_way(L, bound, waiter);
    }
  }
  if (method->give) {
    struct tn_object *object = iterator ? iterator->self : self;
    struct tn_source *source = object->source;
    if (tn_source_is_ahead(source) &&
        method->give(L, source, iterator ? iterator->prepared : prepared)) {
      return 1;
    }
  }
  if (iterator) {
    tn_iterator_spread(L);
    return tn_method_first(L, bound, waiter, iterator->self, iterator->prepared);
  }
  if (method->give) {
    return tn_method_first(L, bound, waiter, self, prepared);
  }
  if (waiter) {
    waiter->operation_ns = 0;
  }
  struct tn_call call = tn_call_begin(bound, method, waiter, self);
  call.prepared = prepared;
  int status = tn_call_try(L, &call, method);
  return status >= 0 && (!waiter || !waiter->claims) ? status : tn_method_go_on(L, &call, status);
}

TN_INLINE int tn_method_call(lua_State *L, const struct tn_bound *bound,
                             const struct tn_method *method) {
  void *self = tn_method_check_receiver(L, method);
  if (tn_method_wants_name(L, method)) {
    return tn_take_detour(L, bound->rt, "", method->name);
  }
  int prepared = tn_method_check_arguments(L, bound->rt, method);
  return tn_method_begin(L, bound, method, NULL, self, prepared);
}

TN_INLINE int tn_iterator_call(lua_State *L, const struct tn_method *method) {
  const struct tn_iterator *iterator = lua_touserdata(L, lua_upvalueindex(1));
  return tn_method_begin(L, &iterator->bound, method, iterator, NULL, 0);
}

/* Declares what a row names as its .function and .continuation, and defines them, behind the
 * rows. */
#define TN_METHOD_COMPILED(name)                                                                   \
  static int call_##name(lua_State *L);                                                            \
  static int resume_##name(lua_State *L, int status, lua_KContext context);
#define TN_METHOD_COMPILE(name, row)                                                               \
  TN_CALL_COMPILE(name, row, tn_method_call(L, tn_bound_of(L), (row)))
/* The same for the row of an iterator. */
#define TN_ITERATOR_COMPILE(name, row) TN_CALL_COMPILE(name, row, tn_iterator_call(L, (row)))
#define TN_CALL_COMPILE(name, row, begin)                                                          \
  static int call_##name(lua_State *L) {                                                           \
    return begin;                                                                                  \
  }                                                                                                \
  static int resume_##name(lua_State *L, int status, lua_KContext context) {                       \
    (void)status;                                                                                  \
    return tn_method_resume(L, (const struct tn_bound *)context, (row));                           \
  }

#endif
