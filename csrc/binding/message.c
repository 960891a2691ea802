/* Message: see message.h. */
#include "binding/message.h"

#include "binding/runtime.h"

struct tn_received *tn_received_new(lua_State *L, struct tn_runtime *rt, int room) {
  return tn_new_with(L, rt, TN_MESSAGE, sizeof(struct tn_received), (size_t)room * sizeof(tn_fd),
                     1);
}

static struct tn_received *check_message(lua_State *L) {
  return tn_check(L, 1, TN_MESSAGE, "Message");
}

static int message_next(lua_State *L) {
  check_message(L);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  lua_insert(L, 2);
  return lua_next(L, 2) ? 2 : (lua_pushnil(L), 1);
}

/* pairs(message) goes through its fields; the table itself is nobody else's. */
static int message_pairs(lua_State *L) {
  check_message(L);
  lua_pushcfunction(L, message_next);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

static int message_close(lua_State *L) {
  struct tn_received *message = check_message(L);
  while (message->count > 0) {
    tn_socket_close(message->fds[--message->count]);
  }
  return 0;
}

/* take_fds() → list of the descriptors that came, the caller's from now on. */
static int message_take_fds(lua_State *L) {
  struct tn_received *message = check_message(L);
  lua_createtable(L, message->count, 0);
  for (int i = 0; i < message->count; i++) {
    lua_pushinteger(L, message->fds[i]);
    lua_rawseti(L, -2, i + 1);
  }
  message->count = 0;
  return 1;
}

/* find(type) → the first control message of that type, or nil. */
static int message_find(lua_State *L) {
  check_message(L);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  if (lua_getfield(L, 3, "control") != LUA_TTABLE) {
    lua_pushnil(L); /* somebody changed the fields that pairs gave */
    return 1;
  }
  for (lua_Integer i = 1; lua_rawgeti(L, 4, i) == LUA_TTABLE; i++) {
    lua_getfield(L, 5, "type");
    if (lua_rawequal(L, 6, 2)) {
      lua_pop(L, 1);
      return 1;
    }
    lua_settop(L, 4);
  }
  lua_pushnil(L);
  return 1;
}

static int message_tostring(lua_State *L) {
  const struct tn_received *message = check_message(L);
  lua_getiuservalue(L, 1, 1);
  lua_getfield(L, -1, "length");
  lua_pushfstring(L, "Message (%I bytes, %d descriptors)", (LUAI_UACINT)lua_tointeger(L, -1),
                  message->count);
  return 1;
}

static const luaL_Reg functions[] = {
    {"take_fds", message_take_fds}, {"find", message_find}, {"close", message_close}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__index", tn_index_fields},     {"__pairs", message_pairs},
                                       {"__gc", message_close},          {"__close", message_close},
                                       {"__tostring", message_tostring}, {NULL, NULL}};
const struct tn_class tn_message_class = {"Message", TN_MESSAGE, functions, metamethods};
