/* Flags of messages, which calls take as a name or a list of names, and report as a table. */
#ifndef TCPNET_MESSAGE_FLAGS_H
#define TCPNET_MESSAGE_FLAGS_H

#include "platform/platform.h"

#include <lua.h>
#include <stdbool.h>

/* The bits of what is at `index`, nil or flags of a message that is sent, or received. Raises with
 * the names that there are. */
int tn_check_flags(lua_State *L, int index, int argument, bool sends);
/* The same, and names become the bits that attempts look for. */
void tn_fix_flags(lua_State *L, int index, bool sends);

/* flags_problem(flags) → what is wrong with flags of a message that is sent, or nothing. */
int tn_flags_problem(lua_State *L);

TN_INLINE int tn_flags_at(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TNUMBER ? (int)lua_tointeger(L, index) : 0;
}

/* Leaves a table of those that a message came with. */
void tn_push_flags(lua_State *L, int bits);

#endif
