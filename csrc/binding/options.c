/* Option rows made visible: see options.h. */
#include "binding/options.h"

#include "binding/error.h"
#include "binding/field.h"
#include "binding/object.h"
#include "binding/option_codec.h"
#include "core/datagrams.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What the bare errno says too little about. */
static const char *message_of(const struct tn_option *option, int status) {
  return option->number == TN_ABSENT                       ? "this system has no such option"
         : status == -ENOPROTOOPT || status == -EOPNOTSUPP ? "this socket has no such option"
                                                           : NULL;
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

/* `nil, err` of a getter, or with the prefix "set_" of a setter. */
static int fail(lua_State *L, const struct tn_object *object, const char *prefix, int status) {
  const char *op = lua_pushfstring(L, "%s%s", prefix, option_of(L)->name);
  const char *message =
      status == TN_CLOSED ? tn_object_push_end(L, object) : message_of(option_of(L), status);
  return tn_fail(L, tn_runtime_of(L), status, op, message);
}

static void check_runtime(lua_State *L, const char *prefix) {
  if (tn_runtime_gone(tn_runtime_of(L))) {
    tn_runtime_check(L, tn_runtime_of(L), lua_pushfstring(L, "%s%s", prefix, option_of(L)->name));
  }
}

static int get_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_object *object = check_object(L, value.option);
  check_runtime(L, "");
  int status = tn_object_is_open(object) ? tn_option_get(object->source->fd, &value) : TN_CLOSED;
  if (status < 0) {
    return fail(L, object, "", status);
  }
  tn_option_push(L, &value);
  return 1;
}

static int set_option(lua_State *L) {
  struct tn_option_value value = {.option = option_of(L)};
  const struct tn_object *object = check_object(L, value.option);
  if (value.option->access & TN_OPTION_DO) {
    lua_settop(L, 4);
  } else if (value.option->kind != TN_OPTION_ZERO_LINGER) {
    lua_settop(L, 2);
  }
  const char *wrong = tn_option_take(L, 2, &value);
  if (wrong) {
    return luaL_argerror(L, 2 + value.behind, wrong);
  }
  const char *prefix = value.option->access & TN_OPTION_DO ? "" : "set_";
  check_runtime(L, prefix);
  int status = tn_object_is_open(object) ? tn_option_set(object->source->fd, &value) : TN_CLOSED;
  if (object->source) {
    tn_datagrams_forget(object->source);
  }
  if (status < 0) {
    return fail(L, object, prefix, status);
  }
  lua_settop(L, 1);
  return 1;
}

/* One closure serves every class. */
static void add_accessor(lua_State *L, struct tn_runtime *rt, const struct tn_option *option,
                         const char *name, lua_CFunction function) {
  lua_pushlightuserdata(L, rt);
  lua_pushlightuserdata(L, (void *)option);
  lua_pushcclosure(L, function, 2);
  for (uint64_t kind = 1; kind <= TN_SOURCES; kind <<= 1) {
    if (option->classes & kind & TN_SOURCES) {
      lua_getfield(L, -2, tn_kind_name(kind));
      lua_pushvalue(L, -2);
      lua_setfield(L, -2, name);
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static void add_option(lua_State *L, struct tn_runtime *rt, const struct tn_option *option) {
  if (option->access & TN_OPTION_GET) {
    add_accessor(L, rt, option, option->name, get_option);
  }
  if (option->access & TN_OPTION_SET) {
    char name[64] = "set_";
    add_accessor(L, rt, option, strncat(name, option->name, sizeof name - sizeof "set_"),
                 set_option);
  }
  if (option->access & TN_OPTION_DO) {
    add_accessor(L, rt, option, option->name, set_option);
  }
}

void tn_options_add(lua_State *L, struct tn_runtime *rt) {
  for (size_t i = 0; i < tn_options_count; i++) {
    add_option(L, rt, &tn_options[i]);
  }
  for (const struct tn_option_alias *alias = tn_option_aliases; alias->option; alias++) {
    const struct tn_option *option = tn_option_find(alias->option, TN_ON_ANY);
    if (alias->getter) {
      add_accessor(L, rt, option, alias->getter, get_option);
    }
    if (alias->setter) {
      add_accessor(L, rt, option, alias->setter, set_option);
    }
  }
}

/* --- by the system's names --- */

static uint64_t kind_of(lua_State *L) {
  return tn_kind_of(lua_touserdata(L, 1));
}

/* The option that argument 2 names, the system's way or ours. */
static const struct tn_option *named(lua_State *L) {
  const char *name = tn_name_at(L, 2);
  const struct tn_option *option = tn_option_by_system_name(name, kind_of(L));
  return option ? option : tn_option_find(name, kind_of(L));
}

static const struct tn_option *check_named(lua_State *L, unsigned access) {
  const struct tn_option *option = lua_type(L, 2) == LUA_TSTRING ? named(L) : NULL;
  if (!option) {
    luaL_argerror(L, 2,
                  lua_type(L, 2) == LUA_TSTRING
                      ? lua_pushfstring(L, "unknown option '%s'", tn_name_at(L, 2))
                      : "name of an option, or level and number expected");
  } else if (!(option->access & access)) {
    luaL_argerror(L, 2,
                  lua_pushfstring(L,
                                  access == TN_OPTION_GET ? "%s cannot be read"
                                                          : "%s cannot be set by its name",
                                  option->name));
  }
  return option;
}

static bool is_raw(lua_State *L) {
  return lua_type(L, 2) == LUA_TNUMBER;
}

static void check_raw(lua_State *L) {
  tn_check_integer(L, 2, "level", INT_MIN, INT_MAX);
  tn_check_integer(L, 3, "number", INT_MIN, INT_MAX);
}

/* The failure of a method that is not the option's own, whose name it tells. */
static int fail_entry(lua_State *L, struct tn_call *call, const struct tn_option *option,
                      int status) {
  const char *message = message_of(option, status);
  call->message =
      lua_pushfstring(L, "%s: %s", option->name, message ? message : tn_status_message(status));
  return status;
}

static int prepare_get(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  if (is_raw(L)) {
    check_raw(L);
    tn_opt_integer(L, 4, "size", 0, TN_OPTION_VALUE_MAX, 0);
  } else {
    check_named(L, TN_OPTION_GET);
  }
  return 0;
}

/* get(level, number[, size]) → the system's bytes */
static int get_raw(lua_State *L, struct tn_call *call) {
  /* Linux counts the length of SO_GET_FILTER in instructions of 8 bytes, and takes some structures
   * for input too: how many entries, or to which address */
  char bytes[TN_OPTION_VALUE_MAX * 8] = {0};
  socklen_t length = (socklen_t)(lua_isnil(L, 4) ? TN_OPTION_VALUE_MAX : lua_tointeger(L, 4));
  int status = tn_socket_get_option(call->source->fd, (int)lua_tointeger(L, 2),
                                    (int)lua_tointeger(L, 3), bytes, &length);
  if (status < 0) {
    return status;
  }
  lua_pushlstring(L, bytes, length < sizeof bytes ? length : sizeof bytes);
  return 1;
}

static int attempt_get(lua_State *L, struct tn_call *call) {
  if (is_raw(L)) {
    return get_raw(L, call);
  }
  struct tn_option_value value = {.option = check_named(L, TN_OPTION_GET)};
  int status = tn_option_get(call->source->fd, &value);
  if (status < 0) {
    return fail_entry(L, call, value.option, status);
  }
  tn_option_push(L, &value);
  return 1;
}

static int prepare_set(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  if (is_raw(L)) {
    check_raw(L);
    luaL_checktype(L, 4, LUA_TSTRING);
    return 0;
  }
  struct tn_option_value value = {.option = check_named(L, TN_OPTION_SET)};
  const char *wrong = tn_option_take(L, 3, &value);
  return wrong ? luaL_argerror(L, 3, wrong) : (lua_settop(L, 4), 0);
}

static int attempt_set(lua_State *L, struct tn_call *call) {
  int status;
  if (is_raw(L)) {
    size_t length;
    const char *bytes = lua_tolstring(L, 4, &length);
    status = tn_socket_set_option(call->source->fd, (int)lua_tointeger(L, 2),
                                  (int)lua_tointeger(L, 3), bytes, (socklen_t)length);
  } else {
    struct tn_option_value value = {.option = check_named(L, TN_OPTION_SET)};
    tn_option_take(L, 3, &value);
    status = tn_option_set(call->source->fd, &value);
    if (status < 0) {
      return fail_entry(L, call, value.option, status);
    }
  }
  tn_datagrams_forget(call->source);
  lua_settop(L, 1);
  return status < 0 ? status : 1;
}

/* What reading would take away: a SYN is given out once. */
static bool reading_takes(const struct tn_option *option) {
  return option->kind == TN_OPTION_BYTES && option->level == IPPROTO_TCP;
}

/* options() → name → value of all that this socket has now. */
static int attempt_options(lua_State *L, struct tn_call *call) {
  uint64_t kind = kind_of(L);
  lua_newtable(L);
  for (size_t i = 0; i < tn_options_count; i++) {
    struct tn_option_value value = {.option = &tn_options[i]};
    if ((tn_options[i].classes & kind) && (tn_options[i].access & TN_OPTION_GET) &&
        !reading_takes(&tn_options[i]) && tn_option_get(call->source->fd, &value) >= 0) {
      tn_option_push(L, &value);
      lua_setfield(L, -2, tn_options[i].name);
    }
  }
  return 1;
}

/* --- the rows as data --- */

static void append(lua_State *L, const char *text) {
  lua_pushstring(L, text);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* The names of the classes that have it, a list. */
static void push_classes(lua_State *L, unsigned classes) {
  lua_newtable(L);
  for (uint64_t kind = 1; kind <= TN_SOURCES; kind <<= 1) {
    if (classes & kind & TN_SOURCES) {
      append(L, tn_kind_name(kind));
    }
  }
}

/* Other names; that of a setter only where it is not the getter's with "set_". */
static void push_aliases(lua_State *L, const struct tn_option *option) {
  lua_newtable(L);
  for (const struct tn_option_alias *alias = tn_option_aliases; alias->option; alias++) {
    if (strcmp(alias->option, option->name) != 0) {
      continue;
    }
    if (alias->getter) {
      append(L, alias->getter);
    }
    if (alias->setter && strncmp(alias->setter, "set_", 4) != 0) {
      append(L, alias->setter);
    }
  }
}

static void push_row(lua_State *L, const struct tn_option *option) {
  lua_createtable(L, 0, 16);
  tn_set_string(L, "name", option->name);
  tn_set_string(L, "system_name", option->system_name);
  tn_set_string(L, "type", tn_option_type(option->kind));
  tn_set_string(L, "unit", option->unit);
  tn_set_string(L, "platforms", option->platforms);
  tn_set_string(L, "text", option->text);
  tn_set_integer(L, "level", option->level);
  tn_set_integer(L, "number", option->number);
  tn_set_integer(L, "least", option->least);
  tn_set_integer(L, "most", option->most);
  tn_set_boolean(L, "get", option->access & TN_OPTION_GET);
  tn_set_boolean(L, "set", option->access & TN_OPTION_SET);
  tn_set_boolean(L, "inherited", option->access & TN_OPTION_INHERITED);
  tn_set_boolean(L, "present", option->number != TN_ABSENT);
  push_classes(L, option->classes);
  lua_setfield(L, -2, "classes");
  push_aliases(L, option);
  lua_setfield(L, -2, "aliases");
}

int tn_option_rows(lua_State *L) {
  lua_createtable(L, (int)tn_options_count, 0);
  for (size_t i = 0; i < tn_options_count; i++) {
    push_row(L, &tn_options[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

int tn_option_info_rows(lua_State *L) {
  static const char *const types[] = {[TN_INFO_COUNT] = "integer",
                                      [TN_INFO_SECONDS] = "number",
                                      [TN_INFO_FLAG] = "boolean",
                                      [TN_INFO_STATE] = "string",
                                      [TN_INFO_CA_STATE] = "string"};
  lua_newtable(L);
  for (const struct tn_tcp_info_row *row = tn_tcp_info_rows; row->name; row++) {
    lua_createtable(L, 0, 3);
    tn_set_string(L, "name", row->name);
    tn_set_string(L, "type", types[row->kind]);
    tn_set_string(L, "unit", row->unit);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  return 1;
}

/* --- tables of options --- */

/* The entry at the top of a table's traversal: its name below, its value on top. */
static const char *take_entry(lua_State *L, uint64_t kind, struct tn_option_value *value) {
  const char *name = tn_name_at(L, -2);
  value->option = tn_option_find(name, kind);
  if (!value->option || !(value->option->access & TN_OPTION_SET)) {
    return lua_pushfstring(
        L, value->option ? "'%s' cannot be set in a table of options" : "unknown option '%s'",
        name);
  }
  return tn_option_take(L, lua_gettop(L), value);
}

/* Leaves what is wrong with the options in the table at `index` on top, or nil. */
static const char *push_table_problem(lua_State *L, int index, uint64_t kind) {
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

int tn_option_problem(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *class = luaL_checkstring(L, 2);
  uint64_t kind = 1;
  while (strcmp(tn_kind_name(kind), class) != 0) {
    kind <<= 1;
  }
  push_table_problem(L, 1, kind);
  return 1;
}

static int check_table(lua_State *L, uint64_t kind) {
  luaL_checktype(L, 2, LUA_TTABLE);
  const char *wrong = push_table_problem(L, 2, kind);
  if (wrong) {
    return luaL_argerror(L, 2, wrong);
  }
  lua_pop(L, 1);
  return 0;
}

static int prepare_options(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  return check_table(L, kind_of(L));
}

/* What a listener accepts. */
static uint64_t accepted_kind(lua_State *L) {
  return kind_of(L) == TN_TCP_LISTENER ? TN_TCP_STREAM : TN_UNIX_STREAM;
}

static int prepare_accept_options(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  return check_table(L, accepted_kind(L));
}

/* set_options{name = value, …}: all of them, or the first failure. */
static int attempt_set_options(lua_State *L, struct tn_call *call) {
  uint64_t kind = kind_of(L);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    struct tn_option_value value;
    const char *wrong = take_entry(L, kind, &value);
    if (wrong) { /* a finalizer has changed the table */
      return luaL_argerror(L, 2, wrong);
    }
    int status = tn_option_set(call->source->fd, &value);
    tn_datagrams_forget(call->source);
    if (status < 0) {
      return fail_entry(L, call, value.option, status);
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* Puts a copy before the others. */
static int keep_value(struct tn_option_value **first, const struct tn_option_value *value) {
  if (value->status < 0) {
    return value->status;
  }
  struct tn_option_value *kept = malloc(sizeof *kept);
  if (!kept) {
    return TN_ENOMEM;
  }
  *kept = *value;
  kept->next = *first;
  *first = kept;
  return 0;
}

/* Options for accepted streams. What a listener hands down is set on it, and costs nothing for each
 * connection. */
static int attempt_set_accept_options(lua_State *L, struct tn_call *call) {
  struct tn_option_value *first = NULL;
  struct tn_option_value value = {0};
  struct tn_rare *rare = tn_source_rare(call->source);
  int status = 0;
  if (!rare) {
    return TN_ENOMEM;
  }
  for (lua_pushnil(L); status >= 0 && lua_next(L, 2); lua_pop(L, 1)) {
    const char *wrong = take_entry(L, accepted_kind(L), &value);
    if (wrong) { /* the table was changed meanwhile */
      tn_option_values_free(first);
      return luaL_argerror(L, 2, wrong);
    }
    bool inherited = (value.option->access & TN_OPTION_INHERITED) && kind_of(L) == TN_TCP_LISTENER;
    status = inherited ? tn_option_set(call->source->fd, &value) : keep_value(&first, &value);
  }
  if (status < 0) {
    tn_option_values_free(first);
    return fail_entry(L, call, value.option, status);
  }
  tn_option_values_free(rare->accept_options);
  rare->accept_options = first;
  lua_settop(L, 1);
  return 1;
}

/* clang-format off */
const struct tn_method tn_option_methods[] = {
  {.name = "get", .kinds = TN_ON_ANY, .slots = 4, .flags = TN_NEVER_WAITS, .prepare = prepare_get, .attempt = attempt_get},
  {.name = "set", .kinds = TN_ON_ANY, .slots = 4, .flags = TN_NEVER_WAITS, .prepare = prepare_set, .attempt = attempt_set},
  {.name = "options", .kinds = TN_ON_ANY, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_options},
  {.name = "set_options", .kinds = TN_ON_ANY, .slots = 2, .flags = TN_NEVER_WAITS | TN_PRIVATE,
   .prepare = prepare_options, .attempt = attempt_set_options},
  {.name = "set_accept_options", .kinds = TN_LISTENERS, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_accept_options, .attempt = attempt_set_accept_options},
  {0},
};
/* clang-format on */
