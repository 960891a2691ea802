/* Values of socket options: Lua's on one side, the system's bytes on the other. One codec for each
 * kind of value. */
#ifndef TCPNET_OPTION_CODEC_H
#define TCPNET_OPTION_CODEC_H

#include "core/option.h"

#include <lua.h>

/* Encodes the Lua value at `index`; an action has its further arguments behind it. Returns NULL, or
 * what is wrong with it. */
const char *tn_option_take(lua_State *L, int index, struct tn_option_value *value);
void tn_option_push(lua_State *L, const struct tn_option_value *value);
/* What its values are in Lua, for the reader of a manual: "integer or nil". */
const char *tn_option_type(enum tn_option_kind kind);

#endif
