/* Values kept alive by number: see anchor.h. */
#include "binding/anchor.h"

#include <lauxlib.h>

void tn_anchors_open(lua_State *L, struct tn_anchors *anchors) {
  lua_newtable(L);
  *anchors = (struct tn_anchors){.list = luaL_ref(L, LUA_REGISTRYINDEX)};
}

/* One more place, which is free. */
static int add_place(lua_State *L) {
  struct tn_anchors *anchors = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, anchors->list);
  lua_pushinteger(L, anchors->free);
  lua_rawseti(L, -2, anchors->length + 1);
  anchors->free = ++anchors->length;
  return 0;
}

bool tn_anchor_reserve(lua_State *L, struct tn_anchors *anchors) {
  if (anchors->free != 0) {
    return true;
  }
  lua_pushcfunction(L, add_place);
  lua_pushlightuserdata(L, anchors);
  return lua_pcall(L, 1, 0, 0) == LUA_OK;
}

int tn_anchor(lua_State *L, struct tn_anchors *anchors) {
  int place = anchors->free;
  int next = 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, anchors->list);
  if (place != 0) {
    lua_rawgeti(L, -1, place);
    next = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  } else {
    place = anchors->length + 1;
  }
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, place);
  lua_pop(L, 2);
  anchors->free = next;
  anchors->length += place > anchors->length;
  return place;
}

void tn_anchor_push(lua_State *L, const struct tn_anchors *anchors, int place) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, anchors->list);
  lua_rawgeti(L, -1, place);
  lua_replace(L, -2);
}

void tn_anchor_replace(lua_State *L, struct tn_anchors *anchors, int place) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, anchors->list);
  lua_insert(L, -2);
  lua_rawseti(L, -2, place);
  lua_pop(L, 1);
}

void tn_anchor_leave(lua_State *L, struct tn_anchors *anchors, int place) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, anchors->list);
  lua_pushinteger(L, anchors->free);
  lua_rawseti(L, -2, place);
  lua_pop(L, 1);
  anchors->free = place;
}
