/* Option rows made visible: see options.h. One codec for each kind of value. */
#include "binding/options.h"

#include "binding/error.h"
#include "binding/method.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- codecs --- */

static void encode(struct tn_option_value *value, const void *bytes, size_t length) {
  memcpy(value->bytes, bytes, length);
  value->length = (socklen_t)length;
}

static int decode_int(const struct tn_option_value *value) {
  int number = 0;
  memcpy(&number, value->bytes, sizeof number < value->length ? sizeof number : value->length);
  return number;
}

static struct linger decode_linger(const struct tn_option_value *value) {
  struct linger linger;
  memcpy(&linger, value->bytes, sizeof linger);
  return linger;
}

/* What is wrong with the Lua value at `index`, as a text on the stack. */
static const char *problem(lua_State *L, const struct tn_option *option, int index,
                           const char *expected) {
  lua_pushvalue(L, index);
  const char *given = lua_type(L, -1) == LUA_TNUMBER ? lua_tostring(L, -1) : luaL_typename(L, -1);
  return lua_pushfstring(L, "%s: %s expected, got %s", option->name, expected, given);
}

static const char *take_int(lua_State *L, int index, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  int is_integer = 0;
  lua_Integer number =
      lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
  if (!is_integer || number < option->least || number > option->most) {
    return problem(L, option, index,
                   lua_pushfstring(L, "integer from %d to %d", option->least, option->most));
  }
  int narrow = (int)number;
  encode(value, &narrow, sizeof narrow);
  return NULL;
}

static const char *take_bool(lua_State *L, int index, struct tn_option_value *value) {
  if (!lua_isboolean(L, index)) { /* 0 is true in Lua: a number would be a trap */
    return problem(L, value->option, index, "boolean");
  }
  int on = lua_toboolean(L, index);
  encode(value, &on, sizeof on);
  return NULL;
}

static const char *take_linger(lua_State *L, int index, struct tn_option_value *value) {
  struct linger linger = {0};
  if (!lua_isnil(L, index)) {
    double seconds = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : -1;
    if (!(seconds >= 0 && seconds <= value->option->most)) {
      return problem(L, value->option, index, "seconds from 0 to 65535, or nil,");
    }
    linger = (struct linger){.l_onoff = 1, .l_linger = (int)ceil(seconds)};
  }
  encode(value, &linger, sizeof linger);
  return NULL;
}

static const char *take_text(lua_State *L, int index, struct tn_option_value *value) {
  size_t length = 0;
  const char *text = "";
  if (!lua_isnil(L, index)) {
    text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
    if (!text || length > (size_t)value->option->most || memchr(text, '\0', length)) {
      return problem(L, value->option, index,
                     lua_pushfstring(L, "name of at most %d bytes, or nil,", value->option->most));
    }
  }
  encode(value, text, length + 1);
  return NULL;
}

/* Setting it says it all; in a table its value must be true. */
static const char *take_zero_linger(lua_State *L, int index, struct tn_option_value *value) {
  struct linger zero = {.l_onoff = 1, .l_linger = 0};
  if (!lua_isnone(L, index) && !(lua_isboolean(L, index) && lua_toboolean(L, index))) {
    return problem(L, value->option, index, "true");
  }
  encode(value, &zero, sizeof zero);
  return NULL;
}

/* Encodes the Lua value at `index`. Returns what is wrong with it, or NULL. */
static const char *take_value(lua_State *L, int index, struct tn_option_value *value) {
  static const char *(*const codecs[])(lua_State *, int, struct tn_option_value *) = {
      [TN_OPTION_BOOL] = take_bool,     [TN_OPTION_INT] = take_int,
      [TN_OPTION_LINGER] = take_linger, [TN_OPTION_ZERO_LINGER] = take_zero_linger,
      [TN_OPTION_TEXT] = take_text,
  };
  return codecs[value->option->kind](L, index, value);
}

static void push_value(lua_State *L, const struct tn_option_value *value) {
  switch (value->option->kind) {
  case TN_OPTION_BOOL:
    lua_pushboolean(L, decode_int(value) != 0);
    break;
  case TN_OPTION_INT:
    lua_pushinteger(L, decode_int(value));
    break;
  case TN_OPTION_LINGER: {
    struct linger linger = decode_linger(value);
    if (linger.l_onoff) {
      lua_pushinteger(L, linger.l_linger);
    } else {
      lua_pushnil(L);
    }
    break;
  }
  case TN_OPTION_ZERO_LINGER: {
    struct linger linger = decode_linger(value);
    lua_pushboolean(L, linger.l_onoff && linger.l_linger == 0);
    break;
  }
  case TN_OPTION_TEXT:
    if (value->length == 0 || value->bytes[0] == '\0') {
      lua_pushnil(L);
    } else {
      lua_pushlstring(L, value->bytes, strnlen(value->bytes, value->length));
    }
    break;
  }
}

/* --- name() and set_name(v) --- */

static const struct tn_option *option_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(2));
}

static struct tn_object *check_object(lua_State *L, const struct tn_option *option) {
  struct tn_object *object = tn_cast(L, 1, option->classes & TN_SOURCES);
  if (!object) {
    luaL_typeerror(L, 1, "socket that has this option");
  }
  return object;
}

static bool is_open(const struct tn_object *object) {
  return object->source && object->source->fd != TN_NO_FD;
}

/* `nil, err` of a getter or, with the prefix "set_", a setter. */
static int fail(lua_State *L, const struct tn_object *object, const char *prefix, int status) {
  const char *op = lua_pushfstring(L, "%s%s", prefix, option_of(L)->name);
  const char *message = status == TN_CLOSED ? tn_object_push_end(L, object) : NULL;
  return tn_fail(L, tn_runtime_of(L), status, op, message);
}

static int get_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_object *object = check_object(L, value.option);
  int status = is_open(object) ? tn_option_get(object->source->fd, &value) : TN_CLOSED;
  if (status < 0) {
    return fail(L, object, "", status);
  }
  push_value(L, &value);
  return 1;
}

static int set_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_object *object = check_object(L, value.option);
  if (value.option->kind != TN_OPTION_ZERO_LINGER) {
    lua_settop(L, 2);
  }
  const char *wrong = take_value(L, 2, &value);
  if (wrong) {
    return luaL_argerror(L, 2, wrong);
  }
  int status = is_open(object) ? tn_option_set(object->source->fd, &value) : TN_CLOSED;
  if (status < 0) {
    return fail(L, object, "set_", status);
  }
  lua_settop(L, 1);
  return 1;
}

static void add_accessor(lua_State *L, struct tn_runtime *rt, const struct tn_option *option,
                         const char *prefix, lua_CFunction function) {
  lua_pushfstring(L, "%s%s", prefix, option->name);
  lua_pushlightuserdata(L, rt);
  lua_pushlightuserdata(L, (void *)option);
  lua_pushcclosure(L, function, 2);
  lua_rawset(L, -3);
}

void tn_options_add(lua_State *L, struct tn_runtime *rt, unsigned kind) {
  for (size_t i = 0; i < tn_options_count; i++) {
    if (tn_options[i].classes & kind) {
      add_accessor(L, rt, &tn_options[i], "", get_option);
      add_accessor(L, rt, &tn_options[i], "set_", set_option);
    }
  }
  if (lua_getfield(L, -1, "set_device") != LUA_TNIL) {
    lua_setfield(L, -2, "bind_device"); /* Tokio's name for it */
  } else {
    lua_pop(L, 1);
  }
}

/* --- tables of options --- */

/* The entry at the top of a table's traversal: its name below, its value on top. */
static const char *take_entry(lua_State *L, unsigned kind, struct tn_option_value *value) {
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
  value->option = tn_option_find(name, kind);
  if (!value->option) {
    return lua_pushfstring(L, "unknown option '%s'", name);
  }
  return take_value(L, lua_gettop(L), value);
}

/* Leaves what is wrong with the options in the table at `index` on top, or nil. */
static const char *push_table_problem(lua_State *L, int index, unsigned kind) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    struct tn_option_value value;
    const char *wrong = take_entry(L, kind, &value);
    if (wrong) {
      return wrong;
    }
  }
  lua_pushnil(L);
  return NULL;
}

/* option_problem(options) → what is wrong with them for a TcpSocket, or nil. */
int tn_option_problem(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_table_problem(L, 1, TN_TCP_SOCKET);
  return 1;
}

static int prepare_options(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  const struct tn_header *header = lua_touserdata(L, 1);
  const char *wrong = push_table_problem(L, 2, header->kind);
  if (wrong) {
    return luaL_argerror(L, 2, wrong);
  }
  lua_pop(L, 1);
  return 0;
}

static int prepare_accept_options(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  const char *wrong = push_table_problem(L, 2, TN_TCP_STREAM);
  if (wrong) {
    return luaL_argerror(L, 2, wrong);
  }
  lua_pop(L, 1);
  return 0;
}

/* set_options{name = value, …}: all of them, or the first failure. */
static int attempt_set_options(lua_State *L, struct tn_call *call) {
  unsigned kind = ((struct tn_object *)call->self)->header.kind;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    struct tn_option_value value;
    take_entry(L, kind, &value);
    int status = tn_option_set(call->source->fd, &value);
    if (status < 0) {
      call->message = lua_pushfstring(L, "%s: %s", value.option->name, tn_status_message(status));
      return status;
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* Options for accepted streams. What a listener hands down is set on it, and costs nothing for each
 * connection. */
static int attempt_set_accept_options(lua_State *L, struct tn_call *call) {
  struct tn_option_value *first = NULL;
  int status = 0;
  for (lua_pushnil(L); status == 0 && lua_next(L, 2); lua_pop(L, 1)) {
    struct tn_option_value value;
    take_entry(L, TN_TCP_STREAM, &value);
    if (value.option->classes & TN_INHERITED) {
      status = tn_option_set(call->source->fd, &value);
      continue;
    }
    struct tn_option_value *kept = malloc(sizeof *kept);
    if (!kept) {
      status = TN_ENOMEM;
      continue;
    }
    *kept = value;
    kept->next = first;
    first = kept;
  }
  if (status < 0) {
    tn_option_values_free(first);
    return status;
  }
  tn_option_values_free(call->source->accept_options);
  call->source->accept_options = first;
  lua_settop(L, 1);
  return 1;
}

const struct tn_method tn_option_methods[] = {
    {.name = "set_options",
     .kinds = TN_ON_TCP,
     .slots = 2,
     .flags = TN_NEVER_WAITS | TN_PRIVATE,
     .prepare = prepare_options,
     .attempt = attempt_set_options},
    {.name = "set_accept_options",
     .kinds = TN_TCP_LISTENER,
     .slots = 2,
     .flags = TN_NEVER_WAITS,
     .prepare = prepare_accept_options,
     .attempt = attempt_set_accept_options},
    {0},
};
