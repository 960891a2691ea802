/* Readiness: see readiness.h. poll(2) tells the state of the moment; nothing is cached but what a
 * try_io learned. */
#include "binding/readiness.h"

#include "binding/interest.h"
#include "core/datagrams.h"

struct ready {
  struct tn_header header;
  int bits;
};

static const struct ready *check_ready(lua_State *L) {
  return tn_check(L, 1, TN_READY, "Ready");
}

/* As in Tokio, a side that is closed counts as ready: the next operation will not wait. */
static int has(lua_State *L, int bits) {
  lua_pushboolean(L, (check_ready(L)->bits & bits) != 0);
  return 1;
}

static int ready_is_readable(lua_State *L) {
  return has(L, TN_READABLE | TN_READ_CLOSED);
}

static int ready_is_writable(lua_State *L) {
  return has(L, TN_WRITABLE | TN_WRITE_CLOSED);
}

static int ready_is_read_closed(lua_State *L) {
  return has(L, TN_READ_CLOSED);
}

static int ready_is_write_closed(lua_State *L) {
  return has(L, TN_WRITE_CLOSED);
}

static int ready_is_error(lua_State *L) {
  return has(L, TN_ERROR);
}

static int ready_is_priority(lua_State *L) {
  return has(L, TN_PRIORITY);
}

static int ready_is_empty(lua_State *L) {
  lua_pushboolean(L, check_ready(L)->bits == 0);
  return 1;
}

const char *tn_ready_push_names(lua_State *L, int bits) {
  static const char *const names[] = {"readable",    "writable",     "priority",
                                      "read closed", "write closed", "error"};
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  const char *separator = "";
  for (int i = 0; i < 6; i++) {
    if (bits & 1 << i) {
      luaL_addstring(&text, separator);
      luaL_addstring(&text, names[i]);
      separator = ", ";
    }
  }
  luaL_pushresult(&text);
  return lua_tostring(L, -1);
}

static int meta_tostring(lua_State *L) {
  lua_pushfstring(L, "Ready (%s)", tn_ready_push_names(L, check_ready(L)->bits));
  return 1;
}

static const luaL_Reg functions[] = {{"is_readable", ready_is_readable},
                                     {"is_writable", ready_is_writable},
                                     {"is_read_closed", ready_is_read_closed},
                                     {"is_write_closed", ready_is_write_closed},
                                     {"is_error", ready_is_error},
                                     {"is_priority", ready_is_priority},
                                     {"is_empty", ready_is_empty},
                                     {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_ready_class = {"Ready", TN_READY, functions, metamethods};

/* --- methods --- */

enum { READABLE_KINDS = TN_READERS | TN_MESSAGERS, WRITABLE_KINDS = TN_WRITERS | TN_MESSAGERS };

/* The halves know one direction only. */
static int interest_of(lua_State *L, const struct tn_call *call) {
  uint64_t kind = tn_kind_of(call->self);
  int interest = tn_check_interest(L, 2);
  int possible = (kind & READABLE_KINDS ? TN_READABLE | TN_PRIORITY : 0) |
                 (kind & WRITABLE_KINDS ? TN_WRITABLE : 0);
  luaL_argcheck(L, interest & possible, 2, "interest: the other half has that direction");
  return interest & possible;
}

/* What matters to somebody with that interest, closed sides included. */
static int visible(int interest) {
  return interest | TN_ERROR | (interest & (TN_READABLE | TN_PRIORITY) ? TN_READ_CLOSED : 0) |
         (interest & TN_WRITABLE ? TN_WRITE_CLOSED : 0);
}

/* Has it something that has left the kernel and is not given out yet? */
static bool is_ahead(const struct tn_source *source) {
  return source->input.length > 0 || tn_datagrams_kept(source);
}

static int state_of(const struct tn_source *source, int interest) {
  int bits = tn_socket_poll(source->fd, interest);
  if (bits >= 0 && is_ahead(source)) {
    bits |= TN_READABLE & interest;
  }
  if (bits >= 0 && (interest & TN_WRITABLE) && source->write_shut) {
    bits |= TN_WRITE_CLOSED;
  }
  return bits < 0 ? bits : bits & visible(interest);
}

static int prepare_interest(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_interest(L, 2);
  return 0;
}

static int attempt_ready(lua_State *L, struct tn_call *call) {
  int interest = interest_of(L, call);
  int bits = state_of(call->source, interest);
  if (bits < 0) {
    return bits;
  }
  if (bits == 0) {
    call->wait_interest = interest | (interest & TN_PRIORITY ? TN_READ_CLOSED : 0);
    return TN_EAGAIN;
  }
  struct ready *ready = tn_new(L, call->rt, TN_READY, sizeof *ready, 0);
  ready->bits = bits;
  return 1;
}

static int attempt_able(lua_State *L, struct tn_call *call) {
  int bits = state_of(call->source, call->method->interest);
  if (bits <= 0) {
    return bits < 0 ? bits : TN_EAGAIN;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int prepare_try_io(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  int interest = tn_check_interest(L, 2);
  luaL_argcheck(L, (interest & (interest - 1)) == 0, 2, "interest: one direction expected");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  return 0;
}

static bool says_again(lua_State *L, const struct tn_runtime *rt, int first) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->again);
  bool again = lua_isnil(L, first) && lua_rawequal(L, first + 1, -1);
  lua_pop(L, 1);
  return again;
}

/* Runs the function if the direction is ready. Its EAGAIN is believed until the next event,
 * whatever poll(2) says. */
static int attempt_try_io(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  int interest = interest_of(L, call);
  /* that the kernel has no more says nothing of what was read ahead */
  if (tn_source_is_drained(source, interest) && !(interest == TN_READABLE && is_ahead(source))) {
    return TN_EAGAIN;
  }
  int bits = state_of(source, interest);
  if (bits <= 0) {
    return bits < 0 ? bits : TN_EAGAIN;
  }
  lua_pushvalue(L, 3);
  lua_call(L, 0, LUA_MULTRET);
  int results = lua_gettop(L) - 3;
  const struct tn_object *object = call->self;
  bool same =
      object->source == source && source->fd != TN_NO_FD; /* the function may have closed it */
  if (same && results >= 2 && says_again(L, call->rt, 4)) {
    int status = tn_source_arm(source, interest);
    if (status < 0) {
      return status;
    }
    source->drained |= (uint8_t)interest;
  }
  return results;
}

/* clang-format off */
const struct tn_method tn_readiness_methods[] = {
  {.name = "ready",    .kinds = READABLE_KINDS | WRITABLE_KINDS, .slots = 2, .prepare = prepare_interest, .attempt = attempt_ready},
  {.name = "readable", .kinds = READABLE_KINDS, .interest = TN_READABLE, .slots = 1, .attempt = attempt_able},
  {.name = "writable", .kinds = WRITABLE_KINDS, .interest = TN_WRITABLE, .slots = 1, .attempt = attempt_able},
  {.name = "try_io",   .kinds = READABLE_KINDS | WRITABLE_KINDS, .slots = 3, .flags = TN_NEVER_WAITS, .prepare = prepare_try_io,
   .attempt = attempt_try_io},
  {0},
};
/* clang-format on */
