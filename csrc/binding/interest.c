/* Interest: see interest.h. */
#include "binding/interest.h"

#include "binding/readiness.h"

#include <string.h>

static const struct {
  const char *name; /* of the constant, or NULL */
  const char *text;
  int bits;
} rows[] = {
    {"READABLE", "r", TN_READABLE},
    {"WRITABLE", "w", TN_WRITABLE},
    {"PRIORITY", "p", TN_PRIORITY},
    {NULL, "rw", TN_READABLE | TN_WRITABLE},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static void push(lua_State *L, struct tn_runtime *rt, int bits) {
  struct tn_conditions *interest = tn_new(L, rt, TN_INTEREST, sizeof *interest, 0);
  interest->bits = bits;
}

int tn_check_interest(lua_State *L, int index) {
  const struct tn_conditions *interest = tn_cast(L, index, TN_INTEREST);
  if (interest) {
    return interest->bits;
  }
  const char *text = tn_name_at(L, index);
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].text, text) == 0) {
      return rows[i].bits;
    }
  }
  return luaL_argerror(L, index, "interest: \"r\", \"w\", \"rw\", \"p\" or an Interest expected");
}

void tn_interest_constants(lua_State *L, struct tn_runtime *rt) {
  for (size_t i = 0; i < ROWS; i++) {
    if (rows[i].name) {
      push(L, rt, rows[i].bits);
      lua_setfield(L, -2, rows[i].name);
    }
  }
}

/* a + b: either; a - b: what is left, nil for nothing. */
static int meta_add(lua_State *L) {
  push(L, tn_runtime_of(L), tn_check_interest(L, 1) | tn_check_interest(L, 2));
  return 1;
}

static int meta_sub(lua_State *L) {
  int bits = tn_check_interest(L, 1) & ~tn_check_interest(L, 2);
  if (bits) {
    push(L, tn_runtime_of(L), bits);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int meta_eq(lua_State *L) {
  const struct tn_conditions *a = tn_cast(L, 1, TN_INTEREST);
  const struct tn_conditions *b = tn_cast(L, 2, TN_INTEREST);
  lua_pushboolean(L, a && b && a->bits == b->bits);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct tn_conditions *interest = tn_check(L, 1, TN_INTEREST, "Interest");
  lua_pushliteral(L, "Interest (");
  const char *separator = "";
  for (size_t i = 0; i < ROWS; i++) {
    if (rows[i].name && (interest->bits & rows[i].bits)) {
      lua_pushfstring(L, "%s%s", separator, rows[i].name);
      lua_concat(L, 2);
      separator = " + ";
    }
  }
  lua_pushliteral(L, ")");
  lua_concat(L, 2);
  return 1;
}

static const luaL_Reg metamethods[] = {{"__add", meta_add},           {"__bor", meta_add},
                                       {"__sub", meta_sub},           {"__eq", meta_eq},
                                       {"__tostring", meta_tostring}, {NULL, NULL}};
const struct tn_class tn_interest_class = {"Interest", TN_INTEREST, NULL, metamethods};
