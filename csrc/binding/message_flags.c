/* Flags of messages: see message_flags.h. */
#include "binding/message_flags.h"

#include "binding/argument.h"
#include "binding/field.h"
#include "core/message.h"

#include <string.h>

static int flag_bit(lua_State *L, int index, bool sends) {
  const char *name = tn_name_at(L, index);
  for (const struct tn_message_flag *flag = tn_message_flags; flag->name; flag++) {
    if ((sends ? flag->sends : flag->receives) && strcmp(flag->name, name) == 0) {
      return flag->bit;
    }
  }
  return -1;
}

/* The flags at `index`: a name, or a list of names; -1: not that. */
static int take_flags(lua_State *L, int index, bool sends) {
  if (!lua_istable(L, index)) {
    return flag_bit(L, index, sends);
  }
  int bits = 0;
  int count = (int)lua_rawlen(L, index);
  for (int i = 1; i <= count && bits >= 0; i++) {
    lua_rawgeti(L, index, i);
    int bit = flag_bit(L, lua_gettop(L), sends);
    bits = bit < 0 ? -1 : bits | bit;
    lua_pop(L, 1);
  }
  return bits;
}

/* Leaves what was expected in their place on the stack. */
static const char *push_expected(lua_State *L, bool sends) {
  luaL_Buffer names;
  luaL_buffinit(L, &names);
  luaL_addstring(&names, "flags: list of");
  for (const struct tn_message_flag *flag = tn_message_flags; flag->name; flag++) {
    if (sends ? flag->sends : flag->receives) {
      luaL_addchar(&names, ' ');
      luaL_addstring(&names, flag->name);
    }
  }
  luaL_addstring(&names, " expected");
  luaL_pushresult(&names);
  return lua_tostring(L, -1);
}

int tn_check_flags(lua_State *L, int index, int argument, bool sends) {
  int bits = lua_isnoneornil(L, index) ? 0 : take_flags(L, index, sends);
  return bits >= 0 ? bits : luaL_argerror(L, argument, push_expected(L, sends));
}

int tn_flags_problem(lua_State *L) {
  bool fine = lua_isnoneornil(L, 1) || take_flags(L, 1, true) >= 0;
  return fine ? 0 : (push_expected(L, true), 1);
}

void tn_fix_flags(lua_State *L, int index, bool sends) {
  if (!lua_isnoneornil(L, index)) {
    lua_pushinteger(L, tn_check_flags(L, index, index, sends));
    lua_replace(L, index);
  }
}

void tn_push_flags(lua_State *L, int bits) {
  lua_newtable(L);
  for (const struct tn_message_flag *flag = tn_message_flags; flag->name; flag++) {
    if (flag->reports && (bits & flag->bit)) {
      tn_set_boolean(L, flag->name, true);
    }
  }
}
