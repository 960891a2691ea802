/* SocketAddr: see address.h. */
#include "binding/address.h"

#include "binding/error.h"
#include "core/socket_kind.h"
#include "core/status.h"

#include <string.h>

struct socket_addr {
  struct tn_header header;
  struct tn_address address; /* only as long as it has to be */
};

void tn_address_push(lua_State *L, struct tn_runtime *rt, const struct tn_address *address) {
  /* one that is cut short has zeros for what is missing, never somebody else's bytes */
  size_t used = offsetof(struct tn_address, storage) + address->length;
  size_t least = offsetof(struct tn_address, storage) + sizeof address->v6;
  struct socket_addr *addr =
      tn_new(L, rt, TN_SOCKET_ADDR,
             offsetof(struct socket_addr, address) + (used < least ? least : used), 0);
  memcpy(&addr->address, address, used);
}

TN_INLINE unsigned place_of(const struct tn_address *address) {
  const char *bytes = (const char *)&address->storage;
  uint64_t hash = 0;
  uint64_t word;
  for (size_t i = 0; i + sizeof word <= address->length && i < sizeof address->v6;
       i += sizeof word) {
    memcpy(&word, bytes + i, sizeof word);
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
  }
  return (unsigned)(hash >> 32) % TN_ADDRESSES_KEPT;
}

void tn_address_push_kept(lua_State *L, struct tn_runtime *rt, const struct tn_address *address) {
  struct tn_kept_address *kept = &rt->addresses[place_of(address)];
  if (kept->address && kept->address->length == address->length &&
      memcmp(&kept->address->storage, &address->storage, address->length) == 0) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, kept->place);
    return;
  }
  tn_address_push(L, rt, address);
  kept->address = tn_address_of(lua_touserdata(L, -1));
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, kept->place);
}

const struct tn_address *tn_address_of(const void *userdata) {
  return userdata ? &((const struct socket_addr *)userdata)->address : NULL;
}

const struct tn_address *tn_address_at(lua_State *L, int index) {
  const struct socket_addr *addr = tn_cast(L, index, TN_SOCKET_ADDR);
  return addr ? &addr->address : NULL;
}

const struct tn_address *tn_check_address(lua_State *L, int index) {
  return &((const struct socket_addr *)tn_check(L, index, TN_SOCKET_ADDR, "SocketAddr"))->address;
}

/* The text at index 1 is no address; all of it, a NUL included, is the error's. */
static int fail_text(lua_State *L, const char *op, const char *why) {
  lua_pushnil(L);
  tn_error_push(L, tn_runtime_of(L), TN_EINVAL, op, NULL, why);
  lua_getiuservalue(L, -1, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "address");
  lua_pop(L, 1);
  return 2;
}

static int addr_new(lua_State *L) {
  size_t length;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *ip = lua_tolstring(L, 1, &length);
  uint16_t port = (uint16_t)tn_check_integer(L, 2, "port", 0, 65535);
  struct tn_address address;
  bool literal;
  const char *why = tn_address_parse_ip(ip, length, port, &address, &literal);
  if (why) {
    return fail_text(L, "new", why);
  }
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

static int addr_parse(lua_State *L) {
  size_t length;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *text = lua_tolstring(L, 1, &length);
  struct tn_address address;
  const char *why = tn_address_parse(text, length, &address);
  if (why) {
    return fail_text(L, "parse", why);
  }
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

/* unix(path): a path, "@name" in Linux's abstract namespace, "" for no name. */
static int addr_unix(lua_State *L) {
  size_t length;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *path = lua_tolstring(L, 1, &length);
  struct tn_address address;
  const char *why = tn_address_parse_local(path, length, &address);
  if (why) {
    return fail_text(L, "unix", why);
  }
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

/* vsock(cid, port) */
static int addr_vsock(lua_State *L) {
  struct tn_address address;
  unsigned cid = (unsigned)tn_check_integer(L, 1, "cid", 0, UINT32_MAX);
  unsigned port = (unsigned)tn_check_integer(L, 2, "port", 0, UINT32_MAX);
  if (!tn_address_set_vsock(&address, cid, port)) {
    return tn_fail(L, tn_runtime_of(L), -ENOTSUP, "vsock", NULL);
  }
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

/* packet(interface[, protocol]): the interface by name or index, the protocol an Ethernet type. */
static int addr_packet(lua_State *L) {
  struct tn_address address;
  struct tn_link link = {.protocol = (uint16_t)tn_opt_integer(L, 2, "protocol", 0, 65535, 0)};
  if (lua_type(L, 1) == LUA_TSTRING) {
    size_t length;
    const char *name = lua_tolstring(L, 1, &length);
    link.interface = memchr(name, '\0', length) ? 0 : (int)tn_interface_index(name);
    luaL_argcheck(L, link.interface != 0, 1, "there is no interface of that name");
  } else {
    link.interface = (int)tn_check_integer(L, 1, "interface", 0, INT32_MAX);
  }
  if (!tn_address_set_link(&address, &link)) {
    return tn_fail(L, tn_runtime_of(L), -ENOTSUP, "packet", NULL);
  }
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

/* from_bytes(bytes): the system's sockaddr, of whatever family. */
static int addr_from_bytes(lua_State *L) {
  size_t length;
  struct tn_address address;
  const char *bytes = luaL_checklstring(L, 1, &length);
  memset(&address, 0, sizeof address);
  luaL_argcheck(L, length >= sizeof address.any.sa_family && length <= sizeof address.storage, 1,
                "bytes of a sockaddr expected");
  memcpy(&address.storage, bytes, length);
  address.length = (socklen_t)length;
  tn_address_push(L, tn_runtime_of(L), &address);
  return 1;
}

static int addr_bytes(lua_State *L) {
  const struct tn_address *address = tn_check_address(L, 1);
  lua_pushlstring(L, (const char *)&address->storage, address->length);
  return 1;
}

/* cid() of a vsock address; interface(), protocol(), hardware() of a packet socket's; nil for other
 * families. */
static int addr_cid(lua_State *L) {
  unsigned cid, port;
  if (!tn_address_vsock(tn_check_address(L, 1), &cid, &port)) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, cid);
  return 1;
}

static int addr_interface(lua_State *L) {
  struct tn_link link;
  if (!tn_address_link(tn_check_address(L, 1), &link)) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, link.interface);
  return 1;
}

static int addr_protocol(lua_State *L) {
  struct tn_link link;
  if (!tn_address_link(tn_check_address(L, 1), &link)) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, link.protocol);
  return 1;
}

static int addr_hardware(lua_State *L) {
  struct tn_link link;
  if (!tn_address_link(tn_check_address(L, 1), &link)) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, (const char *)link.hardware, link.hardware_length);
  return 1;
}

static int misused(lua_State *L, int position, const char *expected) {
  const char *given = tn_given(L, position);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushinteger(L, position);
  lua_pushfstring(L, "%s expected, got %s", expected, given);
  return 4;
}

/* The host and port that the arguments name. */
static const char *take_host(lua_State *L, const char **host, size_t *length, uint16_t *port) {
  *host = lua_tolstring(L, 1, length);
  if (!lua_isnoneornil(L, 2)) {
    const char *inner;
    size_t inner_length;
    *port = (uint16_t)lua_tointeger(L, 2);
    if (!tn_address_split(*host, *length, &inner, &inner_length, &(uint16_t){0})) {
      return "the address has a port, and another was given beside it";
    }
    return NULL;
  }
  return tn_address_split(*host, *length, host, length, port);
}

int tn_address_target(lua_State *L) {
  if (tn_address_at(L, 1)) {
    if (!lua_isnoneornil(L, 2)) {
      return misused(L, 2, "no port beside a SocketAddr");
    }
    lua_settop(L, 1);
    return 1;
  }
  if (lua_type(L, 1) != LUA_TSTRING) {
    return misused(L, 1, "SocketAddr, \"host:port\" or host, port");
  }
  lua_Integer number;
  if (!lua_isnoneornil(L, 2) && !tn_take_integer(L, 2, 0, 65535, &number)) {
    return misused(L, 2, "port: integer from 0 to 65535");
  }
  const char *host;
  size_t length;
  uint16_t port = 0;
  struct tn_address address;
  bool literal = false;
  const char *why = take_host(L, &host, &length, &port);
  if (!why && length > TN_HOST_MAX) {
    why = "a host's name has at most 255 bytes";
  } else if (!why && length == 0) {
    why = "the host is missing";
  } else if (!why) {
    why = tn_address_parse_ip(host, length, port, &address, &literal);
    if (!why) {
      tn_address_push(L, tn_runtime_of(L), &address);
      return 1;
    }
    if (!literal && !memchr(host, '\0', length)) {
      lua_pushboolean(L, 0);
      lua_pushlstring(L, host, length);
      lua_pushinteger(L, port);
      return 3;
    }
  }
  return fail_text(L, "address", why);
}

static int addr_ip(lua_State *L) {
  char text[TN_ADDRESS_TEXT_MAX];
  tn_address_format_ip(tn_check_address(L, 1), text, sizeof text);
  if (text[0] == '\0') {
    lua_pushnil(L);
  } else {
    lua_pushstring(L, text);
  }
  return 1;
}

static int addr_port(lua_State *L) {
  lua_pushinteger(L, tn_address_port(tn_check_address(L, 1)));
  return 1;
}

static int addr_family(lua_State *L) {
  int family = tn_check_address(L, 1)->any.sa_family;
  const struct tn_socket_kind *kind = tn_socket_kind_numbered(tn_domains, family);
  if (kind) {
    lua_pushstring(L, kind->name);
  } else {
    lua_pushinteger(L, family);
  }
  return 1;
}

static const struct tn_address *check_v6(lua_State *L) {
  const struct tn_address *address = tn_check_address(L, 1);
  return address->any.sa_family == AF_INET6 ? address : NULL;
}

static int addr_scope_id(lua_State *L) {
  const struct tn_address *address = check_v6(L);
  lua_pushinteger(L, address ? address->v6.sin6_scope_id : 0);
  return 1;
}

static int addr_flowinfo(lua_State *L) {
  const struct tn_address *address = check_v6(L);
  lua_pushinteger(L, address ? ntohl(address->v6.sin6_flowinfo) : 0);
  return 1;
}

static bool is_unnamed(const struct tn_address *address) {
  return address->any.sa_family == AF_UNIX &&
         address->length <= offsetof(struct sockaddr_un, sun_path);
}

static int addr_path(lua_State *L) {
  const struct tn_address *address = tn_check_address(L, 1);
  if (address->any.sa_family != AF_UNIX || is_unnamed(address)) {
    lua_pushnil(L);
    return 1;
  }
  const char *path = address->local.sun_path;
  size_t length = address->length - offsetof(struct sockaddr_un, sun_path);
  if (path[0] == '\0') {
    lua_pushliteral(L, "@");
    lua_pushlstring(L, path + 1, length - 1);
    lua_concat(L, 2);
  } else {
    lua_pushlstring(L, path, strnlen(path, length));
  }
  return 1;
}

static int addr_is_unix(lua_State *L) {
  lua_pushboolean(L, tn_check_address(L, 1)->any.sa_family == AF_UNIX);
  return 1;
}

static int addr_is_unnamed(lua_State *L) {
  lua_pushboolean(L, is_unnamed(tn_check_address(L, 1)));
  return 1;
}

static int addr_is_ipv4(lua_State *L) {
  lua_pushboolean(L, tn_check_address(L, 1)->any.sa_family == AF_INET);
  return 1;
}

static int addr_is_ipv6(lua_State *L) {
  lua_pushboolean(L, check_v6(L) != NULL);
  return 1;
}

static int addr_is_loopback(lua_State *L) {
  lua_pushboolean(L, tn_address_is_loopback(tn_check_address(L, 1)));
  return 1;
}

static int addr_is_unspecified(lua_State *L) {
  lua_pushboolean(L, tn_address_is_unspecified(tn_check_address(L, 1)));
  return 1;
}

static int addr_is_multicast(lua_State *L) {
  lua_pushboolean(L, tn_address_is_multicast(tn_check_address(L, 1)));
  return 1;
}

static int meta_eq(lua_State *L) {
  const struct tn_address *a = tn_address_at(L, 1);
  const struct tn_address *b = tn_address_at(L, 2);
  lua_pushboolean(L, a && b && tn_address_compare(a, b) == 0);
  return 1;
}

static int meta_lt(lua_State *L) {
  lua_pushboolean(L, tn_address_compare(tn_check_address(L, 1), tn_check_address(L, 2)) < 0);
  return 1;
}

static int meta_le(lua_State *L) {
  lua_pushboolean(L, tn_address_compare(tn_check_address(L, 1), tn_check_address(L, 2)) <= 0);
  return 1;
}

static int meta_tostring(lua_State *L) {
  char text[TN_ADDRESS_TEXT_MAX];
  tn_address_format(tn_check_address(L, 1), text, sizeof text);
  lua_pushstring(L, text);
  return 1;
}

static const luaL_Reg functions[] = {
    {"new", addr_new},
    {"parse", addr_parse},
    {"ip", addr_ip},
    {"port", addr_port},
    {"family", addr_family},
    {"scope_id", addr_scope_id},
    {"flowinfo", addr_flowinfo},
    {"path", addr_path},
    {"unix", addr_unix},
    {"vsock", addr_vsock},
    {"packet", addr_packet},
    {"from_bytes", addr_from_bytes},
    {"bytes", addr_bytes},
    {"cid", addr_cid},
    {"interface", addr_interface},
    {"protocol", addr_protocol},
    {"hardware", addr_hardware},
    {"is_unix", addr_is_unix},
    {"is_unnamed", addr_is_unnamed},
    {"is_ipv4", addr_is_ipv4},
    {"is_ipv6", addr_is_ipv6},
    {"is_loopback", addr_is_loopback},
    {"is_unspecified", addr_is_unspecified},
    {"is_multicast", addr_is_multicast},
    {NULL, NULL},
};
static const luaL_Reg metamethods[] = {{"__eq", meta_eq},
                                       {"__lt", meta_lt},
                                       {"__le", meta_le},
                                       {"__concat", tn_concat},
                                       {"__tostring", meta_tostring},
                                       {NULL, NULL}};
const struct tn_class tn_socket_addr_class = {"SocketAddr", TN_SOCKET_ADDR, functions, metamethods};
