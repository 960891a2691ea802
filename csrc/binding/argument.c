/* Arguments: see argument.h. */
#include "binding/argument.h"

#include "binding/method.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const char sources_key[] = "tcpnet.sources"; /* in the registry */

void tn_own_sources_set(lua_State *L) {
  lua_setfield(L, LUA_REGISTRYINDEX, sources_key);
}

bool tn_is_own_frame(lua_State *L, lua_State *thread, lua_Debug *frame) {
  bool own = false;
  lua_getinfo(thread, "Sl", frame);
  if (lua_getfield(L, LUA_REGISTRYINDEX, sources_key) == LUA_TSTRING) {
    size_t length;
    const char *prefix = lua_tolstring(L, -1, &length);
    own = strncmp(frame->source, prefix, length) == 0;
  }
  lua_pop(L, 1);
  return own;
}

/* Of the core: all of those have an upvalue of that kind, Lua's own that call functions none. */
static bool is_core_function(lua_State *L, lua_Debug *frame) {
  if (*frame->what != 'C') {
    return false;
  }
  lua_getinfo(L, "f", frame);
  bool found = lua_getupvalue(L, -1, 1) && lua_islightuserdata(L, -1);
  lua_pop(L, found ? 2 : 1);
  return found;
}

/* The call into the library, whose name it asks for, and its level. */
static int find_call(lua_State *L, lua_Debug *called) {
  lua_Debug caller;
  int level = 0;
  bool was_own = false;
  lua_getstack(L, level, called); /* the function of C that asks */
  while (lua_getstack(L, level + 1, &caller)) {
    bool own = tn_is_own_frame(L, L, &caller);
    if (!own && !(was_own && is_core_function(L, &caller))) { /* one may call such a file */
      break;
    }
    was_own = own;
    *called = caller;
    level++;
  }
  lua_getinfo(L, "n", called);
  return level;
}

int tn_argument_error(lua_State *L, int argument, const char *message) {
  lua_Debug called;
  int level = find_call(L, &called);
  const char *name = called.name;
  bool method = strcmp(called.namewhat, "method") == 0;
  if (!name) { /* called by C, or by a tail call */
    const struct tn_method *row = tn_running_method(L);
    name = row ? row->name : "?";
    method = row && row->kinds && argument > 1;
  }
  luaL_where(L, level + 1);
  const char *where = lua_tostring(L, -1);
  if (method && --argument == 0) {
    lua_pushfstring(L, "%scalling '%s' on bad self (%s)", where, name, message);
  } else {
    lua_pushfstring(L, "%sbad argument #%d to '%s' (%s)", where, argument, name, message);
  }
  return lua_error(L);
}

int tn_call_error(lua_State *L, const char *operation, const char *message) {
  lua_Debug called;
  int level = find_call(L, &called);
  luaL_where(L, level + 1);
  lua_pushfstring(L, "%s%s: %s", lua_tostring(L, -1), operation, message);
  return lua_error(L);
}

int tn_type_error(lua_State *L, int argument, const char *expected) {
  const char *given = luaL_getmetafield(L, argument, "__name") == LUA_TSTRING ? lua_tostring(L, -1)
                      : lua_type(L, argument) == LUA_TLIGHTUSERDATA           ? "light userdata"
                                                                    : luaL_typename(L, argument);
  return tn_argument_error(L, argument, lua_pushfstring(L, "%s expected, got %s", expected, given));
}

void tn_check_type(lua_State *L, int argument, int type) {
  if (lua_type(L, argument) != type) {
    tn_type_error(L, argument, lua_typename(L, type));
  }
}

const char *tn_given(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index) : luaL_typename(L, index);
}

bool tn_take_integer(lua_State *L, int index, lua_Integer least, lua_Integer most,
                     lua_Integer *value) {
  int is_integer = 0;
  *value = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
  return is_integer && *value >= least && *value <= most;
}

lua_Integer tn_check_integer_of(lua_State *L, int argument, int index, const char *name,
                                lua_Integer least, lua_Integer most) {
  lua_Integer value;
  if (!tn_take_integer(L, index, least, most, &value)) {
    luaL_argerror(L, argument,
                  lua_pushfstring(L, "%s: integer from %I to %I expected, got %s", name,
                                  (LUAI_UACINT)least, (LUAI_UACINT)most, tn_given(L, index)));
  }
  return value;
}

lua_Integer tn_check_integer(lua_State *L, int index, const char *name, lua_Integer least,
                             lua_Integer most) {
  return tn_check_integer_of(L, index, index, name, least, most);
}

lua_Integer tn_opt_integer(lua_State *L, int index, const char *name, lua_Integer least,
                           lua_Integer most, lua_Integer otherwise) {
  return lua_isnoneornil(L, index) ? otherwise : tn_check_integer(L, index, name, least, most);
}

double tn_check_seconds(lua_State *L, int index) {
  double seconds = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : NAN;
  if (!(seconds >= 0)) {
    luaL_argerror(L, index,
                  lua_pushfstring(L, "seconds, 0 or more, expected, got %s", tn_given(L, index)));
  }
  return seconds;
}

const char *tn_name_at(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TNUMBER) { /* not in its place, where a traversal needs it */
    lua_pushvalue(L, index);
    return lua_tostring(L, -1);
  }
  if (lua_type(L, index) != LUA_TSTRING) {
    return luaL_typename(L, index);
  }
  const char *name = lua_tostring(L, index);
  return strlen(name) == lua_rawlen(L, index) ? name : lua_pushfstring(L, "%s\\0...", name);
}

static bool is_known(lua_State *L, int key, const char *const *known, int places) {
  lua_Integer place;
  if (lua_type(L, key) != LUA_TSTRING) {
    return tn_take_integer(L, key, 1, places, &place);
  }
  const char *name = lua_tostring(L, key);
  while (*known && strcmp(*known, name) != 0) {
    known++;
  }
  return *known && strlen(*known) == lua_rawlen(L, key);
}

const char *tn_key_problem(lua_State *L, int index, const char *const *known, int places) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (!is_known(L, -2, known, places)) {
      return lua_pushfstring(L, "unknown field '%s'", tn_name_at(L, -2));
    }
  }
  return NULL;
}

void tn_check_keys(lua_State *L, int index, const char *const *known) {
  const char *wrong = tn_key_problem(L, index, known, 0);
  if (wrong) {
    luaL_argerror(L, index, wrong);
  }
}

size_t tn_size_at(lua_State *L, int index) {
  lua_Integer size = lua_tointeger(L, index);
  return size < PTRDIFF_MAX ? (size_t)size : PTRDIFF_MAX;
}

double tn_opt_seconds(lua_State *L, int index) {
  return lua_isnoneornil(L, index) ? HUGE_VAL : tn_check_seconds(L, index);
}

int tn_raw_field(lua_State *L, int index, const char *name) {
  index = lua_absindex(L, index);
  lua_pushstring(L, name);
  return lua_rawget(L, index);
}
