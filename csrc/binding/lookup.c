/* Name lookup: see lookup.h. The request hangs on a userdata in the call's own stack slot: a
 * cancelled call lets go of it when that is collected. */
#include "binding/lookup.h"

#include "binding/address.h"
#include "core/resolver.h"

struct lookup {
  struct tn_header header;
  struct tn_lookup *request;
};

static int meta_gc(lua_State *L) {
  struct lookup *lookup = tn_check(L, 1, TN_LOOKUP, "lookup");
  if (lookup->request && tn_runtime_of(L)->reactor) {
    tn_wake_all(tn_runtime_of(L)->reactor, &lookup->request->waiters, TN_CLOSED);
    tn_lookup_release(lookup->request);
  }
  lookup->request = NULL;
  return 0;
}

static const luaL_Reg metamethods[] = {{"__gc", meta_gc}, {NULL, NULL}};
const struct tn_class tn_lookup_class = {"lookup", TN_LOOKUP, NULL, metamethods};

static int family_of(lua_State *L) {
  static const char *const names[] = {"any", "inet", "inet6", NULL};
  static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
  return families[luaL_checkoption(L, 3, "any", names)];
}

static int prepare_lookup(lua_State *L, struct tn_runtime *rt) {
  luaL_checktype(L, 1, LUA_TSTRING);
  tn_check_integer(L, 2, "port", 0, 65535);
  family_of(L);
  tn_new(L, rt, TN_LOOKUP, sizeof(struct lookup), 0);
  return 0;
}

static int attempt_lookup(lua_State *L, struct tn_call *call) {
  struct lookup *lookup = lua_touserdata(L, 5);
  if (!lookup->request) {
    int status = tn_lookup_start(call->rt->reactor, lua_tostring(L, 1), family_of(L),
                                 (uint16_t)lua_tointeger(L, 2), &lookup->request);
    if (status < 0) {
      return status;
    }
  }
  struct tn_lookup *request = lookup->request;
  if (!request->done) {
    call->queue = &request->waiters;
    call->external = true;
    return TN_EAGAIN;
  }
  if (request->status < 0) {
    return request->status;
  }
  lua_createtable(L, (int)request->count, 0);
  for (size_t i = 0; i < request->count; i++) {
    tn_address_push(L, call->rt, &request->addresses[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* lookup(host, port, family, seconds) */
const struct tn_method tn_lookup_methods[] = {
    {.name = "lookup_host",
     .slots = 4,
     .seconds_at = 4,
     .address_at = 1,
     .flags = TN_PRIVATE,
     .prepare = prepare_lookup,
     .attempt = attempt_lookup},
    {0},
};
