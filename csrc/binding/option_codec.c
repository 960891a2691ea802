/* Values of socket options: see option_codec.h. */
#include "binding/option_codec.h"

#include "binding/address.h"
#include "binding/field.h"
#include "core/address.h"
#include "core/socket_kind.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* --- the system's bytes --- */

static const char *encode(struct tn_option_value *value, const void *bytes, size_t length) {
  memcpy(value->bytes, bytes, length);
  value->length = (socklen_t)length;
  return NULL;
}

static const char *encode_int(struct tn_option_value *value, int number) {
  return encode(value, &number, sizeof number);
}

/* The value's bytes in a structure, the rest of which is 0. */
static void decode(const struct tn_option_value *value, void *bytes, size_t size) {
  memset(bytes, 0, size);
  memcpy(bytes, value->bytes, size < value->length ? size : value->length);
}

/* A system may answer with fewer bytes than an int has. */
static int decode_int(const struct tn_option_value *value) {
  int number;
  unsigned char byte;
  if (value->length == sizeof byte) {
    decode(value, &byte, sizeof byte);
    return byte;
  }
  decode(value, &number, sizeof number);
  return number;
}

/* --- from Lua --- */

/* What is wrong with the Lua value at `index`, as a text on the stack. */
static const char *problem(lua_State *L, const struct tn_option *option, int index,
                           const char *expected) {
  lua_pushvalue(L, index);
  int type = lua_type(L, -1);
  const char *given = tn_given(L, -1);
  if (type == LUA_TSTRING && (option->access & TN_OPTION_DO)) { /* an address, a name */
    given = lua_pushfstring(L, "'%s'", tn_name_at(L, -1));
  }
  return lua_pushfstring(L, "%s: %s expected, got %s", option->name, expected, given);
}

/* The same with one of the further values of an action. */
static const char *problem_behind(lua_State *L, struct tn_option_value *value, int first,
                                  int behind, const char *expected) {
  value->behind = behind;
  return problem(L, value->option, first + behind, expected);
}

static const char *take_bool(lua_State *L, int index, struct tn_option_value *value) {
  if (!lua_isboolean(L, index)) { /* 0 is true in Lua: a number would be a trap */
    return problem(L, value->option, index, "boolean");
  }
  return encode_int(value, lua_toboolean(L, index));
}

static const char *take_int(lua_State *L, int index, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  lua_Integer number;
  if (!tn_take_integer(L, index, option->least, option->most, &number)) {
    return problem(L, option, index,
                   lua_pushfstring(L, "integer from %d to %d", option->least, option->most));
  }
  return encode_int(value, (int)number);
}

static const char *take_uint(lua_State *L, int index, struct tn_option_value *value) {
  lua_Integer number;
  if (!tn_take_integer(L, index, 0, UINT32_MAX, &number)) {
    return problem(L, value->option, index, "integer from 0 to 4294967295");
  }
  uint32_t narrow = (uint32_t)number;
  narrow = value->option->kind == TN_OPTION_SERVICE ? htonl(narrow) : narrow;
  return encode(value, &narrow, sizeof narrow);
}

static const char *take_uint64(lua_State *L, int index, struct tn_option_value *value) {
  lua_Integer number = -1;
  if (!lua_isnil(L, index) && !tn_take_integer(L, index, 0, LUA_MAXINTEGER, &number)) {
    return problem(L, value->option, index, "integer from 0, or nil for no limit,");
  }
  uint64_t wide = (uint64_t)number;
  return encode(value, &wide, sizeof wide);
}

/* Seconds at `index`, at most `most`; nil is `otherwise`. */
static bool take_seconds(lua_State *L, int index, double most, double otherwise, double *seconds) {
  *seconds = lua_isnil(L, index)                 ? otherwise
             : lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index)
                                                 : -1;
  return *seconds >= 0 && *seconds <= most;
}

static int units_per_second(enum tn_option_kind kind) {
  return kind == TN_OPTION_MILLISECONDS ? 1000 : kind == TN_OPTION_MICROSECONDS ? 1000000 : 1;
}

/* Rounded up: a time that is given is never shortened to none. What is above a whole number by the
 * error of the multiplication alone is that number. */
static double round_up(double units) {
  double nearest = nearbyint(units);
  return nearest > 0 && fabs(units - nearest) <= nearest * 1e-12 ? nearest : ceil(units);
}

static const char *take_time(lua_State *L, int index, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  int scale = units_per_second(option->kind);
  double seconds;
  bool none = lua_isnil(L, index) && option->least == 0;
  if (!take_seconds(L, index, (double)option->most / scale, none ? 0 : -1, &seconds) ||
      (!none && round_up(seconds * scale) < option->least)) {
    const char *range =
        lua_pushfstring(L, "seconds from %f to %f", (lua_Number)option->least / scale,
                        (lua_Number)option->most / scale);
    return problem(L, option, index, range);
  }
  return encode_int(value, (int)fmin(round_up(seconds * scale), option->most));
}

static const char *take_timeval(lua_State *L, int index, struct tn_option_value *value) {
  double seconds;
  if (!take_seconds(L, index, INT_MAX, 0, &seconds)) {
    return problem(L, value->option, index, "seconds, or nil,");
  }
  int64_t microseconds = (int64_t)round_up(seconds * 1e6);
  struct timeval time = {.tv_sec = microseconds / 1000000, .tv_usec = microseconds % 1000000};
  return encode(value, &time, sizeof time);
}

static const char *take_linger(lua_State *L, int index, struct tn_option_value *value) {
  double seconds;
  if (!take_seconds(L, index, value->option->most, 0, &seconds)) {
    return problem(L, value->option, index, "seconds from 0 to 65535, or nil,");
  }
  struct linger linger = {.l_onoff = !lua_isnil(L, index), .l_linger = (int)ceil(seconds)};
  return encode(value, &linger, sizeof linger);
}

/* Setting it says it all; in a table its value must be true. */
static const char *take_zero_linger(lua_State *L, int index, struct tn_option_value *value) {
  struct linger zero = {.l_onoff = 1, .l_linger = 0};
  if (!lua_isnone(L, index) && !(lua_isboolean(L, index) && lua_toboolean(L, index))) {
    return problem(L, value->option, index, "true");
  }
  return encode(value, &zero, sizeof zero);
}

static const char *take_text(lua_State *L, int index, struct tn_option_value *value) {
  size_t length = 0;
  const char *text = "";
  if (!lua_isnil(L, index)) {
    text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
    if (!text || length > (size_t)value->option->most || memchr(text, '\0', length)) {
      return problem(L, value->option, index,
                     lua_pushfstring(L, "name of at most %d bytes, or nil,", value->option->most));
    }
  }
  return encode(value, text, length + 1);
}

/* An IP address without port: its text, or a SocketAddr. */
static bool take_ip(lua_State *L, int index, int family, struct tn_address *address) {
  const struct tn_address *given = tn_address_at(L, index);
  if (given) {
    *address = (struct tn_address){.length = given->length};
    memcpy(&address->storage, &given->storage, given->length);
    return address->any.sa_family == family;
  }
  size_t length;
  bool literal;
  const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
  return text && !tn_address_parse_ip(text, length, 0, address, &literal) &&
         address->any.sa_family == family;
}

/* An interface: nil for the system's choice, an index, a name; where `v4` is not NULL, an IPv4
 * address of it as well. False: the value is none of these. */
static bool take_interface(lua_State *L, int index, unsigned *number, struct in_addr *v4,
                           int *status) {
  lua_Integer integer;
  struct tn_address address;
  *number = 0;
  if (lua_isnoneornil(L, index)) {
    return true;
  }
  if (lua_type(L, index) == LUA_TNUMBER) {
    bool is_index = tn_take_integer(L, index, 0, INT_MAX, &integer);
    *number = (unsigned)integer;
    return is_index;
  }
  if (v4 && take_ip(L, index, AF_INET, &address)) {
    *v4 = address.v4.sin_addr;
    return true;
  }
  size_t length = 0;
  const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
  if (!name || length == 0 || memchr(name, '\0', length)) {
    return false;
  }
  *number = tn_interface_index(name);
  *status = *number ? 0 : -ENODEV;
  return true;
}

static const char *take_interface_index(lua_State *L, int index, struct tn_option_value *value) {
  unsigned number;
  if (!take_interface(L, index, &number, NULL, &value->status)) {
    return problem(L, value->option, index, "name or index of an interface, or nil,");
  }
  return encode_int(value, (int)number);
}

/* A group of IPv4 and the interface at the next index; without a group for the interface alone. */
static const char *take_group_v4(lua_State *L, int index, struct tn_option_value *value) {
  struct tn_address group;
  struct ip_mreqn request;
  unsigned number;
  int behind = 0;
  memset(&request, 0, sizeof request);
  if (value->option->kind == TN_OPTION_GROUP_V4) {
    if (!take_ip(L, index, AF_INET, &group) || !tn_address_is_multicast(&group)) {
      return problem(L, value->option, index, "group: multicast address of IPv4");
    }
    request.imr_multiaddr = group.v4.sin_addr;
    behind = 1;
  }
  if (!take_interface(L, index + behind, &number, &request.imr_address, &value->status)) {
    return problem_behind(L, value, index, behind,
                          "interface: an IPv4 address of it, its name, its index, or nil,");
  }
  request.imr_ifindex = (int)number;
  if (number != 0 && value->option->kind == TN_OPTION_INTERFACE_V4) {
    tn_interface_address(number, &request.imr_address); /* the system gives back nothing else */
  }
  return encode(value, &request, sizeof request);
}

static const char *take_group_v6(lua_State *L, int index, struct tn_option_value *value) {
  struct tn_address group;
  struct ipv6_mreq request;
  unsigned number;
  if (!take_ip(L, index, AF_INET6, &group) || !tn_address_is_multicast(&group)) {
    return problem(L, value->option, index, "group: multicast address of IPv6");
  }
  if (!take_interface(L, index + 1, &number, NULL, &value->status)) {
    return problem_behind(L, value, index, 1, "interface: its name, its index, or nil,");
  }
  memset(&request, 0, sizeof request);
  request.ipv6mr_multiaddr = group.v6.sin6_addr;
  request.ipv6mr_interface = number ? number : group.v6.sin6_scope_id;
  return encode(value, &request, sizeof request);
}

static const char *take_source(lua_State *L, int index, struct tn_option_value *value) {
  bool is_v4 = value->option->kind == TN_OPTION_SOURCE_V4;
  int family = is_v4 ? AF_INET : AF_INET6;
  struct tn_address source, group;
  struct group_source_req request;
  struct in_addr v4 = {0};
  unsigned number;
  if (!take_ip(L, index, family, &source)) {
    return problem(L, value->option, index,
                   is_v4 ? "source: address of IPv4" : "source: address of IPv6");
  }
  if (!take_ip(L, index + 1, family, &group) || !tn_address_is_multicast(&group)) {
    return problem_behind(L, value, index, 1,
                          is_v4 ? "group: multicast address of IPv4"
                                : "group: multicast address of IPv6");
  }
  if (!take_interface(L, index + 2, &number, is_v4 ? &v4 : NULL, &value->status)) {
    return problem_behind(L, value, index, 2, "interface: its name, its index, or nil,");
  }
  if (v4.s_addr != 0) {
    number = tn_interface_with(&v4);
    value->status = number ? 0 : -ENODEV;
  }
  memset(&request, 0, sizeof request);
  request.gsr_interface = number;
  memcpy(&request.gsr_group, &group.storage, group.length);
  memcpy(&request.gsr_source, &source.storage, source.length);
  return encode(value, &request, sizeof request);
}

/* {address =, key =[, prefix =]} */
static const char *take_md5sig(lua_State *L, int index, struct tn_option_value *value) {
#ifdef TCP_MD5SIG_MAXKEYLEN
  static const char *const known[] = {"address", "key", "prefix", NULL};
  struct tn_address address;
  struct tcp_md5sig signature;
  lua_Integer prefix = 0;
  size_t length = 0;
  memset(&signature, 0, sizeof signature);
  if (!lua_istable(L, index)) {
    return problem(L, value->option, index, "table {address =, key =}");
  }
  /* a misspelt key would take the peer's away */
  const char *wrong = tn_key_problem(L, index, known, 0);
  if (wrong) {
    return lua_pushfstring(L, "%s: %s", value->option->name, wrong);
  }
  tn_raw_field(L, index, "address");
  if (!take_ip(L, lua_gettop(L), AF_INET, &address) &&
      !take_ip(L, lua_gettop(L), AF_INET6, &address)) {
    return problem(L, value->option, lua_gettop(L), "address: an IP address");
  }
  if (tn_raw_field(L, index, "key") != LUA_TNIL) {
    const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    if (!key || length > sizeof signature.tcpm_key) {
      return problem(L, value->option, lua_gettop(L), "key: string of at most 80 bytes, or nil,");
    }
    memcpy(signature.tcpm_key, key, length);
    signature.tcpm_keylen = (uint16_t)length;
  }
  lua_Integer most = address.any.sa_family == AF_INET ? 32 : 128;
  if (tn_raw_field(L, index, "prefix") != LUA_TNIL) {
    if (!tn_take_integer(L, lua_gettop(L), 0, most, &prefix)) {
      int given = lua_gettop(L);
      return problem(L, value->option, given,
                     lua_pushfstring(L, "prefix: integer from 0 to %d", (int)most));
    }
    signature.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
    signature.tcpm_prefixlen = (uint8_t)prefix;
  }
  lua_pop(L, 3);
  tn_address_set_port(&address, 0);
  memcpy(&signature.tcpm_addr, &address.storage, address.length);
  return encode(value, &signature, sizeof signature);
#else
  (void)L;
  (void)index;
  return encode_int(value, 0); /* the row is absent, and answers so */
#endif
}

/* --- to Lua --- */

static void push_bool(lua_State *L, const struct tn_option_value *value) {
  lua_pushboolean(L, decode_int(value) != 0);
}

static void push_int(lua_State *L, const struct tn_option_value *value) {
  lua_pushinteger(L, decode_int(value));
}

static void push_uint(lua_State *L, const struct tn_option_value *value) {
  uint32_t number = (uint32_t)decode_int(value);
  number = value->option->kind == TN_OPTION_SERVICE ? ntohl(number) : number;
  lua_pushinteger(L, (lua_Integer)number);
}

static void push_bytes(lua_State *L, const struct tn_option_value *value) {
  if (value->length == 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, value->bytes, value->length);
  }
}

static void push_text(lua_State *L, const struct tn_option_value *value) {
  size_t length = strnlen(value->bytes, value->length);
  if (length == 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, value->bytes, length);
  }
}

static void push_uint64(lua_State *L, const struct tn_option_value *value) {
  uint64_t wide;
  decode(value, &wide, sizeof wide);
  if (wide == UINT64_MAX) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, (lua_Integer)wide);
  }
}

static void push_linger(lua_State *L, const struct tn_option_value *value) {
  struct linger linger;
  decode(value, &linger, sizeof linger);
  if (value->option->kind == TN_OPTION_ZERO_LINGER) {
    lua_pushboolean(L, linger.l_onoff && linger.l_linger == 0);
  } else if (linger.l_onoff) {
    lua_pushinteger(L, linger.l_linger);
  } else {
    lua_pushnil(L);
  }
}

static void push_time(lua_State *L, const struct tn_option_value *value) {
  int number = decode_int(value);
  int scale = units_per_second(value->option->kind);
  if (scale == 1) {
    lua_pushinteger(L, number);
  } else if (number == 0 && value->option->kind == TN_OPTION_MILLISECONDS) {
    lua_pushnil(L); /* not set */
  } else {
    lua_pushnumber(L, (double)number / scale);
  }
}

static void push_timeval(lua_State *L, const struct tn_option_value *value) {
  struct timeval time;
  decode(value, &time, sizeof time);
  if (time.tv_sec == 0 && time.tv_usec == 0) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, (double)time.tv_sec + (double)time.tv_usec / 1e6);
  }
}

static void push_kind(lua_State *L, const struct tn_socket_kind *kinds, int number) {
  const struct tn_socket_kind *kind = tn_socket_kind_numbered(kinds, number);
  if (kind) {
    lua_pushstring(L, kind->name);
  } else if (number == 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, number);
  }
}

static void push_domain(lua_State *L, const struct tn_option_value *value) {
  push_kind(L, tn_domains, decode_int(value));
}

static void push_type(lua_State *L, const struct tn_option_value *value) {
  push_kind(L, tn_types, decode_int(value));
}

static void push_protocol(lua_State *L, const struct tn_option_value *value) {
  push_kind(L, tn_protocols, decode_int(value));
}

static void push_index(lua_State *L, const struct tn_option_value *value) {
  int number = decode_int(value);
  if (number == 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, number);
  }
}

static void push_interface_v4(lua_State *L, const struct tn_option_value *value) {
  struct tn_address address = {.length = sizeof address.v4};
  char text[TN_ADDRESS_TEXT_MAX];
  address.v4.sin_family = AF_INET;
  decode(value, &address.v4.sin_addr, sizeof address.v4.sin_addr);
  if (tn_address_is_unspecified(&address)) {
    lua_pushnil(L);
  } else {
    tn_address_format_ip(&address, text, sizeof text);
    lua_pushstring(L, text);
  }
}

static void push_address(lua_State *L, const struct tn_option_value *value) {
  struct tn_address address = {.length = 0};
  decode(value, &address.storage, sizeof address.storage);
  /* the firewall that answers leaves the length as it was */
  address.length = address.any.sa_family == AF_INET6 ? sizeof address.v6 : sizeof address.v4;
  tn_address_push(L, tn_runtime_of(L), &address);
}

static void push_credentials(lua_State *L, const struct tn_option_value *value) {
  struct tn_credentials who;
  decode(value, &who, sizeof who);
  lua_createtable(L, 0, 3);
  tn_set_credentials(L, &who);
}

static void push_name(lua_State *L, const char *const *names, size_t count, uint64_t number) {
  if (number < count && names[number]) {
    lua_pushstring(L, names[number]);
  } else {
    lua_pushinteger(L, (lua_Integer)number);
  }
}

static void push_tcp_info(lua_State *L, const struct tn_option_value *value) {
  static const char *const states[] = {
      NULL,    "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",   "time_wait",
      "close", "close_wait",  "last_ack", "listen",   "closing",   "new_syn_recv"};
  static const char *const ca_states[] = {"open", "disorder", "cwr", "recovery", "loss"};
  lua_newtable(L);
  for (const struct tn_tcp_info_row *row = tn_tcp_info_rows; row->name; row++) {
    uint64_t number;
    if (!tn_tcp_info_field(row, value->bytes, value->length, &number)) {
      continue;
    }
    switch (row->kind) {
    case TN_INFO_COUNT:
      lua_pushinteger(L, (lua_Integer)number);
      break;
    case TN_INFO_SECONDS:
      lua_pushnumber(L, (double)number / row->scale);
      break;
    case TN_INFO_FLAG:
      lua_pushboolean(L, (number & row->scale) != 0);
      break;
    case TN_INFO_STATE:
      push_name(L, states, sizeof states / sizeof states[0], number);
      break;
    case TN_INFO_CA_STATE:
      push_name(L, ca_states, sizeof ca_states / sizeof ca_states[0], number);
      break;
    }
    lua_setfield(L, -2, row->name);
  }
}

/* --- each kind --- */

struct codec {
  const char *type; /* in Lua, for the reader of a manual */
  const char *(*take)(lua_State *L, int index, struct tn_option_value *value);
  void (*push)(lua_State *L, const struct tn_option_value *value);
};

/* Without a `take` it is only read, without a `push` only set. */
static const struct codec codecs[] = {
    [TN_OPTION_BOOL] = {"boolean", take_bool, push_bool},
    [TN_OPTION_INT] = {"integer", take_int, push_int},
    [TN_OPTION_UINT] = {"integer", take_uint, push_uint},
    [TN_OPTION_UINT64] = {"integer or nil", take_uint64, push_uint64},
    [TN_OPTION_SECONDS] = {"integer", take_time, push_time},
    [TN_OPTION_MILLISECONDS] = {"number or nil", take_time, push_time},
    [TN_OPTION_MICROSECONDS] = {"number", take_time, push_time},
    [TN_OPTION_TIMEVAL] = {"number or nil", take_timeval, push_timeval},
    [TN_OPTION_LINGER] = {"integer or nil", take_linger, push_linger},
    [TN_OPTION_ZERO_LINGER] = {"boolean", take_zero_linger, push_linger},
    [TN_OPTION_TEXT] = {"string or nil", take_text, push_text},
    [TN_OPTION_BYTES] = {"string or nil", NULL, push_bytes},
    [TN_OPTION_DOMAIN] = {"string", NULL, push_domain},
    [TN_OPTION_TYPE] = {"string", NULL, push_type},
    [TN_OPTION_PROTOCOL] = {"string or nil", NULL, push_protocol},
    [TN_OPTION_INTERFACE] = {"integer or nil", take_interface_index, push_index},
    [TN_OPTION_INTERFACE_V4] = {"string or nil", take_group_v4, push_interface_v4},
    [TN_OPTION_ADDRESS] = {"SocketAddr", NULL, push_address},
    [TN_OPTION_CREDENTIALS] = {"table", NULL, push_credentials},
    [TN_OPTION_SERVICE] = {"integer", take_uint, push_uint},
    [TN_OPTION_MD5SIG] = {"table", take_md5sig, NULL},
    [TN_OPTION_TCP_INFO] = {"table", NULL, push_tcp_info},
    [TN_OPTION_GROUP_V4] = {"action", take_group_v4, NULL},
    [TN_OPTION_GROUP_V6] = {"action", take_group_v6, NULL},
    [TN_OPTION_SOURCE_V4] = {"action", take_source, NULL},
    [TN_OPTION_SOURCE_V6] = {"action", take_source, NULL},
};

const char *tn_option_take(lua_State *L, int index, struct tn_option_value *value) {
  value->status = 0;
  value->behind = 0;
  return codecs[value->option->kind].take(L, index, value);
}

void tn_option_push(lua_State *L, const struct tn_option_value *value) {
  codecs[value->option->kind].push(L, value);
}

const char *tn_option_type(enum tn_option_kind kind) {
  return codecs[kind].type;
}
