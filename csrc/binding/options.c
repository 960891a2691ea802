/* Option rows made visible: see options.h. One codec for each kind of value. */
#include "binding/options.h"

#include "binding/error.h"
#include "binding/method.h"

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

static int refuse_value(lua_State *L, int argument, const struct tn_option *option, int index,
                        const char *expected) {
  const char *given =
      lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index) : luaL_typename(L, index);
  return luaL_argerror(
      L, argument, lua_pushfstring(L, "%s: %s expected, got %s", option->name, expected, given));
}

static void take_int(lua_State *L, int argument, int index, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  int is_integer = 0;
  lua_Integer number =
      lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
  if (!is_integer || number < option->least || number > option->most) {
    refuse_value(L, argument, option, index,
                 lua_pushfstring(L, "integer from %d to %d", option->least, option->most));
  }
  int narrow = (int)number;
  encode(value, &narrow, sizeof narrow);
}

static void take_bool(lua_State *L, int argument, int index, struct tn_option_value *value) {
  if (!lua_isboolean(L, index)) { /* 0 is true in Lua: a number would be a trap */
    refuse_value(L, argument, value->option, index, "boolean");
  }
  int on = lua_toboolean(L, index);
  encode(value, &on, sizeof on);
}

static void take_linger(lua_State *L, int argument, int index, struct tn_option_value *value) {
  struct linger linger = {0};
  if (!lua_isnil(L, index)) {
    double seconds = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : -1;
    if (!(seconds >= 0 && seconds <= value->option->most)) {
      refuse_value(L, argument, value->option, index, "seconds from 0 to 65535, or nil,");
    }
    linger = (struct linger){.l_onoff = 1, .l_linger = (int)seconds};
  }
  encode(value, &linger, sizeof linger);
}

static void take_text(lua_State *L, int argument, int index, struct tn_option_value *value) {
  size_t length = 0;
  const char *text = "";
  if (!lua_isnil(L, index)) {
    text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
    if (!text || length > (size_t)value->option->most || memchr(text, '\0', length)) {
      refuse_value(L, argument, value->option, index,
                   lua_pushfstring(L, "name of at most %d bytes, or nil,", value->option->most));
      return;
    }
  }
  encode(value, text, length + 1);
}

/* Encodes the Lua value at `index`; errors name the argument. */
static void take_value(lua_State *L, int argument, int index, struct tn_option_value *value) {
  switch (value->option->kind) {
  case TN_OPTION_BOOL:
    take_bool(L, argument, index, value);
    break;
  case TN_OPTION_INT:
    take_int(L, argument, index, value);
    break;
  case TN_OPTION_LINGER:
    take_linger(L, argument, index, value);
    break;
  case TN_OPTION_ZERO_LINGER: {
    struct linger zero = {.l_onoff = 1, .l_linger = 0};
    encode(value, &zero, sizeof zero);
    break;
  }
  case TN_OPTION_TEXT:
    take_text(L, argument, index, value);
    break;
  }
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

static struct tn_source *open_source(lua_State *L, const struct tn_option *option) {
  struct tn_object *object = tn_cast(L, 1, option->classes & TN_SOURCES);
  if (!object) {
    luaL_typeerror(L, 1, "socket that has this option");
    return NULL;
  }
  return object->source && object->source->fd != TN_NO_FD ? object->source : NULL;
}

static int get_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_source *source = open_source(L, value.option);
  int status = source ? tn_option_get(source->fd, &value) : TN_CLOSED;
  if (status < 0) {
    return tn_fail(L, tn_runtime_of(L), status, value.option->name, NULL);
  }
  push_value(L, &value);
  return 1;
}

static int set_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_source *source = open_source(L, value.option);
  lua_settop(L, 2);
  take_value(L, 2, 2, &value);
  int status = source ? tn_option_set(source->fd, &value) : TN_CLOSED;
  if (status < 0) {
    return tn_fail(L, tn_runtime_of(L), status, lua_pushfstring(L, "set_%s", value.option->name),
                   NULL);
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

/* The option at the top of a table's traversal: key below, value on top. */
static void take_entry(lua_State *L, unsigned kind, struct tn_option_value *value) {
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
  value->option = tn_option_find(name, kind);
  luaL_argcheck(L, value->option, 2, lua_pushfstring(L, "unknown option '%s'", name));
  take_value(L, 2, value->option->kind == TN_OPTION_ZERO_LINGER ? -1 : lua_absindex(L, -1), value);
}

static int prepare_table(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  struct tn_object *object = lua_touserdata(L, 1);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    struct tn_option_value value;
    take_entry(L, object->header.kind, &value);
  }
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
     .prepare = prepare_table,
     .attempt = attempt_set_options},
    {.name = "set_accept_options",
     .kinds = TN_TCP_LISTENER,
     .slots = 2,
     .flags = TN_NEVER_WAITS,
     .prepare = prepare_table,
     .attempt = attempt_set_accept_options},
    {0},
};
