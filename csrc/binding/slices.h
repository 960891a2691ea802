/* Bytes that are arguments, or in a list, as slices of memory: what is sent from where it lies, and
 * Buffers to receive into. Nothing is copied. */
#ifndef TCPNET_SLICES_H
#define TCPNET_SLICES_H

#include "platform/platform.h"

#include <lua.h>

/* Raises unless it is a string, a number (made a string) or a Buffer. */
void tn_check_bytes(lua_State *L, int index);
/* Raises unless it is a list of such. */
void tn_check_bytes_list(lua_State *L, int index);
/* The slices of the values at `first` to `last`, less their first `skip` bytes; how many. */
int tn_slices_of(lua_State *L, int first, int last, uint64_t skip, struct tn_slice *slices);
/* The slices of a list. Its values are left on top of the stack as long as the slices are used. */
int tn_slices_of_list(lua_State *L, int index, struct tn_slice *slices);

/* Raises unless it is a list of Buffers that may be changed, with room in one at least. */
void tn_check_rooms(lua_State *L, int index);
/* Their rooms; how many. */
int tn_rooms_at(lua_State *L, int index, struct tn_slice *slices);
/* `count` bytes were received into the rooms. */
void tn_rooms_fill(lua_State *L, int index, size_t count);

#endif
