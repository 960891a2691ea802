/* Bytes as slices of memory: see slices.h. */
#include "binding/slices.h"

#include "binding/buffer.h"

void tn_check_bytes(lua_State *L, int index) {
  int type = lua_type(L, index);
  if (type == LUA_TNUMBER) {
    lua_tostring(L, index);
  } else if (type != LUA_TSTRING && !tn_cast(L, index, TN_BUFFER)) {
    luaL_typeerror(L, index, "string, number or Buffer");
  }
}

void tn_check_bytes_list(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, index);
  luaL_argcheck(L, count > 0, index, "a list of at least one string or Buffer expected");
  for (lua_Integer i = 1; i <= count; i++) {
    int type = lua_rawgeti(L, index, i);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && !tn_cast(L, -1, TN_BUFFER)) {
      luaL_argerror(L, index,
                    lua_pushfstring(L,
                                    "a list of strings, numbers or Buffers expected, got %s at %d",
                                    luaL_typename(L, -1), (int)i));
    }
    lua_pop(L, 1);
  }
}

int tn_slices_of(lua_State *L, int first, int last, uint64_t skip, struct tn_slice *slices) {
  int count = 0;
  for (int i = first; i <= last && count < TN_SLICES_MAX; i++) {
    struct tn_slice slice = tn_bytes_at(L, i);
    if (skip >= slice.length) {
      skip -= slice.length;
      continue;
    }
    size_t from = (size_t)skip;
    slices[count++] = (struct tn_slice){(char *)slice.base + from, slice.length - from};
    skip = 0;
  }
  return count;
}

int tn_slices_of_list(lua_State *L, int index, struct tn_slice *slices) {
  int top = lua_gettop(L);
  int count = (int)lua_rawlen(L, index);
  count = count < TN_SLICES_MAX ? count : TN_SLICES_MAX;
  luaL_checkstack(L, count + 4, NULL);
  for (int i = 1; i <= count; i++) {
    if (lua_rawgeti(L, index, i) == LUA_TNUMBER) {
      lua_tostring(L, -1);
    }
    if (!tn_bytes_at(L, -1).base) {
      luaL_argerror(L, index,
                    "a list of strings or Buffers expected; it was changed while the call waited");
    }
  }
  return tn_slices_of(L, top + 1, top + count, 0, slices);
}

static struct tn_buffer *room_at(lua_State *L, int index, lua_Integer position) {
  lua_rawgeti(L, index, position);
  struct tn_buffer *buffer = tn_cast(L, -1, TN_BUFFER);
  luaL_argcheck(L, buffer && !tn_buffer_is_claimed(buffer, NULL), index,
                "a list of Buffers expected, none with a write waiting");
  lua_pop(L, 1);
  return buffer;
}

void tn_check_rooms(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, index);
  luaL_argcheck(L, count >= 1 && count <= TN_SLICES_MAX, index,
                "a list of 1 to 64 Buffers expected");
  bool room = false;
  for (lua_Integer i = 1; i <= count; i++) {
    const struct tn_buffer *buffer = room_at(L, index, i);
    room |= buffer->length < buffer->capacity;
    for (lua_Integer j = 1; j < i; j++) {
      luaL_argcheck(L, room_at(L, index, j) != buffer, index, "each Buffer once expected");
    }
  }
  luaL_argcheck(L, room, index, "the Buffers are full");
}

int tn_rooms_at(lua_State *L, int index, struct tn_slice *slices) {
  int count = (int)lua_rawlen(L, index);
  count = count < TN_SLICES_MAX ? count : TN_SLICES_MAX;
  for (int i = 0; i < count; i++) {
    slices[i] = tn_buffer_room(room_at(L, index, i + 1));
  }
  return count;
}

void tn_rooms_fill(lua_State *L, int index, size_t count) {
  for (lua_Integer i = 1; count > 0 && i <= (lua_Integer)lua_rawlen(L, index); i++) {
    struct tn_buffer *buffer = room_at(L, index, i);
    size_t room = tn_buffer_room(buffer).length;
    size_t got = room < count ? room : count;
    buffer->length += got;
    count -= got;
  }
}
