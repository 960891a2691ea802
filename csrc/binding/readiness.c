/* Readiness: see readiness.h. poll(2) tells the state of the moment; nothing is cached but what a
 * try_io learned. */
#include "binding/readiness.h"

#include "binding/interest.h"
#include "core/datagrams.h"

/* A bit of `enum tn_ready`, by name. */
static const struct condition {
  const char *method, *name;
  int bit;
  int closed;     /* counts too for a Ready, as in Tokio: the next operation will not wait */
  uint64_t kinds; /* whose values may have it */
} conditions[] = {
    {"is_readable", "readable", TN_READABLE, TN_READ_CLOSED, TN_CONDITIONS},
    {"is_writable", "writable", TN_WRITABLE, TN_WRITE_CLOSED, TN_CONDITIONS},
    {"is_priority", "priority", TN_PRIORITY, 0, TN_CONDITIONS},
    {"is_read_closed", "read closed", TN_READ_CLOSED, 0, TN_READY | TN_EVENT},
    {"is_write_closed", "write closed", TN_WRITE_CLOSED, 0, TN_READY | TN_EVENT},
    {"is_error", "error", TN_ERROR, 0, TN_READY | TN_EVENT},
};

enum { CONDITIONS = sizeof conditions / sizeof conditions[0] };

/* The function of a condition: upvalues are the runtime, the row and the class. */
static int has(lua_State *L) {
  const struct condition *row = lua_touserdata(L, lua_upvalueindex(2));
  const struct tn_class *class = lua_touserdata(L, lua_upvalueindex(3));
  const struct tn_conditions *value = tn_check(L, 1, class->kind, class->name);
  int bits = class->kind & TN_READY ? row->bit | row->closed : row->bit;
  lua_pushboolean(L, value->bits & bits);
  return 1;
}

void tn_conditions_add(lua_State *L, struct tn_runtime *rt, const struct tn_class *class) {
  for (const struct condition *row = conditions; row < conditions + CONDITIONS; row++) {
    if (row->kinds & class->kind) {
      lua_pushlightuserdata(L, rt);
      lua_pushlightuserdata(L, (void *)row);
      lua_pushlightuserdata(L, (void *)class);
      lua_pushcclosure(L, has, 3);
      lua_setfield(L, -2, row->method);
    }
  }
}

static const struct tn_conditions *check_ready(lua_State *L) {
  return tn_check(L, 1, TN_READY, "Ready");
}

static int ready_is_empty(lua_State *L) {
  lua_pushboolean(L, check_ready(L)->bits == 0);
  return 1;
}

const char *tn_conditions_push_names(lua_State *L, int bits) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  const char *separator = "";
  for (const struct condition *row = conditions; row < conditions + CONDITIONS; row++) {
    if (bits & row->bit) {
      luaL_addstring(&text, separator);
      luaL_addstring(&text, row->name);
      separator = ", ";
    }
  }
  luaL_pushresult(&text);
  return lua_tostring(L, -1);
}

static int meta_tostring(lua_State *L) {
  lua_pushfstring(L, "Ready (%s)", tn_conditions_push_names(L, check_ready(L)->bits));
  return 1;
}

static const luaL_Reg functions[] = {{"is_empty", ready_is_empty}, {NULL, NULL}};
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
  struct tn_conditions *ready = tn_new(L, call->rt, TN_READY, sizeof *ready, 0);
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
