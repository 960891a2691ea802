/* Fields of the table on top of the stack. */
#ifndef TCPNET_FIELD_H
#define TCPNET_FIELD_H

#include <lua.h>
#include <stdbool.h>

static inline void tn_set_integer(lua_State *L, const char *name, lua_Integer number) {
  lua_pushinteger(L, number);
  lua_setfield(L, -2, name);
}

static inline void tn_set_string(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static inline void tn_set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

#endif
