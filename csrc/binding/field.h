/* Fields of the table on top of the stack. */
#ifndef TCPNET_FIELD_H
#define TCPNET_FIELD_H

#include "platform/platform.h"

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

static inline void tn_set_credentials(lua_State *L, const struct tn_credentials *who) {
  tn_set_integer(L, "pid", who->pid);
  tn_set_integer(L, "uid", (lua_Integer)who->uid);
  tn_set_integer(L, "gid", (lua_Integer)who->gid);
}

#endif
