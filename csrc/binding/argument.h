/* Arguments: checks that raise errors which name the argument and what was expected, at the line of
 * the user's call, be it that a Lua file of the library stands in between. */
#ifndef TCPNET_ARGUMENT_H
#define TCPNET_ARGUMENT_H

#include "platform/platform.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

/* The library's own Lua files: how their names begin is the string on top, which is popped. */
void tn_own_sources_set(lua_State *L);
/* Is the thread's frame, of which it asks the source and line, in one of them? */
bool tn_is_own_frame(lua_State *L, lua_State *thread, lua_Debug *frame);

/* As Lua's functions of those names, but the line and the name are those of the call into the
 * library, where a file of its own stands in between. */
int tn_argument_error(lua_State *L, int argument, const char *message);
TN_COLD int tn_type_error(lua_State *L, int argument, const char *expected);
void tn_check_type(lua_State *L, int argument, int type);
/* Raises "operation: message" at the line of that call. */
TN_COLD int tn_call_error(lua_State *L, const char *operation, const char *message);
#undef luaL_argcheck
#define luaL_argerror tn_argument_error
#define luaL_typeerror tn_type_error
#define luaL_checktype tn_check_type
#define luaL_argcheck(L, condition, argument, message)                                             \
  ((void)((condition) || tn_argument_error(L, (argument), (message))))

/* The value at `index` as messages tell of it: a number, or the name of its type. */
const char *tn_given(lua_State *L, int index);
/* Is it an integer of that range? A string is none. */
bool tn_take_integer(lua_State *L, int index, lua_Integer least, lua_Integer most,
                     lua_Integer *value);
lua_Integer tn_check_integer(lua_State *L, int index, const char *name, lua_Integer least,
                             lua_Integer most);
/* The same for what is at `index` and in the argument, which is a table. */
lua_Integer tn_check_integer_of(lua_State *L, int argument, int index, const char *name,
                                lua_Integer least, lua_Integer most);
lua_Integer tn_opt_integer(lua_State *L, int index, const char *name, lua_Integer least,
                           lua_Integer most, lua_Integer otherwise);
/* The name at `index`, or what messages call a value that can be none: the digits of a number, the
 * type of anything else; of a string with a NUL, which would be cut there, what is before and
 * "\0...". May push something. */
const char *tn_name_at(lua_State *L, int index);
/* What is wrong with the table at `index`, as a text on the stack, where it has a field that is
 * none of those, which end with NULL, and none of its first `places` items; else NULL. */
const char *tn_key_problem(lua_State *L, int index, const char *const *known, int places);
/* Raises it, where there are to be no items. */
void tn_check_keys(lua_State *L, int index, const char *const *known);
/* A number of bytes that was checked, no more than memory can have: an integer of Lua has 64 bits
 * everywhere, a size has not. */
size_t tn_size_at(lua_State *L, int index);
/* Seconds, not negative and not NaN; nil is math.huge: no limit. */
double tn_opt_seconds(lua_State *L, int index);
double tn_check_seconds(lua_State *L, int index);

/* Pushes t[name] without metamethods, and returns its type: what a call reads twice must not run a
 * program in between, which might close what the call is about. */
int tn_raw_field(lua_State *L, int index, const char *name);

#endif
