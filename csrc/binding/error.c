/* Error values. The fields are a table in the userdata's user value: read by name, never written by
 * users. */
#include "binding/error.h"

#include "binding/field.h"

#include "core/status.h"

#include <string.h>

/* The first level of the call stack that is neither C nor a Lua file of the library. */
static void push_where(lua_State *L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); level++) {
    if (!tn_is_own_frame(L, L, &frame) && frame.currentline > 0) {
      lua_pushfstring(L, "%s:%d", frame.short_src, frame.currentline);
      return;
    }
  }
  lua_pushnil(L);
}

static void set_text(lua_State *L, const char *field, const char *text) {
  if (text) {
    tn_set_string(L, field, text);
  }
}

void tn_error_push(lua_State *L, struct tn_runtime *rt, int status, const char *op,
                   const char *address, const char *message) {
  luaL_checkstack(L, 8, NULL);
  tn_new(L, rt, TN_ERROR_VALUE, sizeof(struct tn_header), 1);
  lua_createtable(L, 0, 6);
  set_text(L, "code", tn_status_name(status));
  set_text(L, "op", op);
  set_text(L, "address", address);
  set_text(L, "message", message ? message : tn_status_message(status));
  if (tn_status_errno(status) != 0) {
    tn_set_integer(L, "errno", tn_status_errno(status));
  }
  if (status != TN_EAGAIN) {
    push_where(L);
    lua_setfield(L, -2, "where");
  }
  lua_setiuservalue(L, -2, 1);
}

int tn_fail(lua_State *L, struct tn_runtime *rt, int status, const char *op, const char *message) {
  lua_pushnil(L);
  if (status == TN_EAGAIN) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->again);
  } else {
    tn_error_push(L, rt, status, op, NULL, message);
  }
  return 2;
}

/* The one error of a would-block is shared, and stays as it is. */
static bool push_own_fields(lua_State *L, int index) {
  if (!tn_cast(L, index, TN_ERROR_VALUE)) {
    return false;
  }
  lua_getiuservalue(L, index, 1);
  lua_getfield(L, -1, "code");
  bool own = strcmp(lua_tostring(L, -1), tn_status_name(TN_EAGAIN)) != 0;
  lua_pop(L, own ? 1 : 2);
  return own;
}

void tn_error_set_traceback(lua_State *L, int index) {
  if (push_own_fields(L, index)) { /* the first one: who raises it again knows less */
    if (lua_getfield(L, -1, "traceback") == LUA_TNIL) {
      lua_pushvalue(L, -3);
      lua_setfield(L, -3, "traceback");
    }
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

/* locate(err): an error made in a task of the library's own stands where the caller is. */
int tn_error_locate(lua_State *L) {
  lua_settop(L, 1);
  if (push_own_fields(L, 1)) {
    if (lua_getfield(L, 2, "where") == LUA_TNIL) {
      push_where(L);
      lua_setfield(L, 2, "where");
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* new_error(code, op, address, message[, field, value]): for what the library's Lua files report.
 * The code is a name, or the system's number, as of io.open. */
int tn_error_new(lua_State *L) {
  int status =
      lua_isinteger(L, 1) ? -(int)lua_tointeger(L, 1) : tn_status_by_name(luaL_checkstring(L, 1));
  luaL_argcheck(L, status != 0, 1, "the name of a code expected");
  tn_error_push(L, tn_runtime_of(L), status, luaL_optstring(L, 2, NULL), luaL_optstring(L, 3, NULL),
                luaL_optstring(L, 4, NULL));
  if (lua_type(L, 5) == LUA_TSTRING) { /* a field of its own */
    lua_getiuservalue(L, -1, 1);
    lua_pushvalue(L, 5);
    lua_pushvalue(L, 6);
    lua_settable(L, -3);
    lua_pop(L, 1);
  }
  return 1;
}

static bool has_code(lua_State *L, int fields, int first, int last) {
  bool found = false;
  lua_getfield(L, fields, "code");
  for (int i = first; i <= last; i++) {
    found |= lua_rawequal(L, i, -1);
  }
  return found;
}

static void check_codes(lua_State *L, int first, int last) {
  for (int i = first; i <= last; i++) {
    luaL_checktype(L, i, LUA_TSTRING);
  }
}

static int method_is(lua_State *L) {
  tn_check(L, 1, TN_ERROR_VALUE, "Error");
  int last = lua_gettop(L);
  check_codes(L, 2, last);
  lua_getiuservalue(L, 1, 1);
  lua_pushboolean(L, has_code(L, lua_gettop(L), 2, last));
  return 1;
}

int tn_is_error(lua_State *L) {
  luaL_checkany(L, 1);
  bool is_error = tn_cast(L, 1, TN_ERROR_VALUE) != NULL;
  bool any = lua_isnoneornil(L, 2);
  lua_settop(L, 2);
  check_codes(L, 2, any ? 1 : 2);
  if (is_error && !any) {
    lua_getiuservalue(L, 1, 1);
    is_error = has_code(L, 3, 2, 2);
  }
  lua_pushboolean(L, is_error);
  return 1;
}

static const luaL_Reg functions[] = {{"is", method_is}, {NULL, NULL}};

static int meta_tostring(lua_State *L) {
  tn_check(L, 1, TN_ERROR_VALUE, "Error");
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  static const struct {
    const char *field, *before, *after;
  } parts[] = {{"op", "", ""},
               {"address", " ", ""},
               {"message", ": ", ""},
               {"code", " (", ")"},
               {"traceback", "\n", ""}};
  bool empty = true;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    bool there = lua_getfield(L, 2, parts[i].field) != LUA_TNIL;
    lua_pop(L, 1);
    if (there) {
      luaL_addstring(&text, empty ? "" : parts[i].before);
      lua_getfield(L, 2, parts[i].field);
      luaL_addvalue(&text);
      luaL_addstring(&text, parts[i].after);
      empty = false;
    }
  }
  luaL_pushresult(&text);
  return 1;
}

static const luaL_Reg metamethods[] = {{"__index", tn_index_fields},
                                       {"__tostring", meta_tostring},
                                       {"__concat", tn_concat},
                                       {NULL, NULL}};
const struct tn_class tn_error_class = {"Error", TN_ERROR_VALUE, functions, metamethods};
