/* Reading bytes: the methods of everything that has a reading side. */
#ifndef TCPNET_INPUT_H
#define TCPNET_INPUT_H

#include "binding/method.h"

extern const struct tn_method tn_input_methods[];

/* Gives out the first `count` bytes read ahead as one result. Where Lua has no memory for them they
 * stay; a finalizer that Lua calls then cannot read them too, but close the stream. */
int tn_give_ahead(lua_State *L, struct tn_source *source, size_t count);

#endif
