/* Control messages as Lua tables: see control.h. */
#include "binding/control.h"

#include "binding/address.h"
#include "binding/field.h"
#include "binding/object.h"
#include "core/address.h"
#include "core/datagrams.h"
#include "core/source.h"
#include "core/status.h"

#include <limits.h>
#include <string.h>
#include <time.h>

/* What one list is being encoded to; errors name the argument that it came in. */
struct taking {
  struct tn_control *control;
  tn_fd fd;
  int argument;
  int entry; /* stack index of the table */
  const char **message;
};

static int refuse(lua_State *L, const struct taking *taking, const char *expected) {
  return luaL_argerror(L, taking->argument, lua_pushfstring(L, "control: %s expected", expected));
}

/* Raises where the entry has a field that is none of those: what it says would go unheard. */
static void check_fields(lua_State *L, const struct taking *taking, const char *const *known) {
  const char *wrong = tn_key_problem(L, taking->entry, known, 0);
  if (wrong) {
    luaL_argerror(L, taking->argument, lua_pushfstring(L, "control: %s", wrong));
  }
}

static void append(lua_State *L, const struct taking *taking, int level, int number,
                   const void *data, size_t length) {
  if (!tn_control_append(taking->control, level, number, data, length)) {
    luaL_argerror(L, taking->argument,
                  lua_pushfstring(L, "control: at most %d bytes", (int)TN_CONTROL_MAX));
  }
}

static lua_Integer take_integer(lua_State *L, const struct taking *taking, const char *field,
                                lua_Integer least, lua_Integer most) {
  lua_Integer number;
  tn_raw_field(L, taking->entry, field);
  if (!tn_take_integer(L, -1, least, most, &number)) {
    refuse(L, taking,
           lua_pushfstring(L, "%s: integer from %I to %I", field, (LUAI_UACINT)least,
                           (LUAI_UACINT)most));
  }
  lua_pop(L, 1);
  return number;
}

static void take_number(lua_State *L, const struct taking *taking,
                        const struct tn_control_row *row) {
  static const char *const known[] = {"type", "value", NULL};
  check_fields(L, taking, known);
  lua_Integer most = row->size == 2             ? UINT16_MAX
                     : row->level == SOL_SOCKET ? UINT32_MAX /* a mark */
                                                : INT_MAX;
  lua_Integer number = take_integer(L, taking, "value", 0, most);
  int word = (int)number;
  uint16_t narrow = (uint16_t)number;
  append(L, taking, row->level, row->number, row->size == 2 ? (void *)&narrow : (void *)&word,
         row->size);
}

/* A descriptor cannot take the bytes along that its object has read ahead. */
int tn_control_fd(lua_State *L, int index, tn_fd *fd, const char **message) {
  const struct tn_object *object = tn_cast(L, index, TN_SOURCES);
  if (object) {
    if (!tn_object_is_open(object)) {
      *message = tn_object_push_end(L, object);
      return TN_CLOSED;
    }
    if (tn_source_buffered(object->source) > 0 || tn_datagrams_kept(object->source)) {
      *message = "bytes already read from the object would be lost";
      return TN_EBUSY;
    }
    *fd = object->source->fd;
    object->source->sole = false;
    return 0;
  }
  lua_Integer number;
  if (!tn_take_integer(L, index, 0, INT_MAX, &number)) {
    return TN_EINVAL;
  }
  *fd = (tn_fd)number;
  return 0;
}

static int take_fds(lua_State *L, const struct taking *taking, const struct tn_control_row *row) {
  static const char *const known[] = {"type", "fds", NULL};
  tn_fd fds[TN_FDS_MAX];
  check_fields(L, taking, known);
  if (tn_raw_field(L, taking->entry, "fds") != LUA_TTABLE) {
    refuse(L, taking, "fds: list of objects or descriptors");
  }
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  if (count < 1 || count > TN_FDS_MAX) {
    refuse(L, taking, "fds: 1 to 253 descriptors");
  }
  for (lua_Integer i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    int status = tn_control_fd(L, lua_gettop(L), &fds[i], taking->message);
    if (status == TN_EINVAL) {
      return refuse(L, taking, "fds: list of objects or descriptors");
    }
    if (status < 0) {
      return status;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  append(L, taking, row->level, row->number, fds, (size_t)count * sizeof fds[0]);
  return 0;
}

static void take_credentials(lua_State *L, const struct taking *taking,
                             const struct tn_control_row *row) {
  static const char *const known[] = {"type", "pid", "uid", "gid", NULL};
  check_fields(L, taking, known);
  struct tn_credentials who = {
      .pid = (int)take_integer(L, taking, "pid", 0, INT_MAX),
      .uid = (unsigned)take_integer(L, taking, "uid", 0, UINT_MAX),
      .gid = (unsigned)take_integer(L, taking, "gid", 0, UINT_MAX),
  };
  append(L, taking, row->level, row->number, &who, sizeof who);
}

/* nil, an index or a name. */
static unsigned take_interface(lua_State *L, const struct taking *taking) {
  unsigned number = 0;
  int type = tn_raw_field(L, taking->entry, "interface");
  if (type == LUA_TNUMBER) {
    number = (unsigned)take_integer(L, taking, "interface", 0, INT_MAX);
  } else if (type == LUA_TSTRING) {
    number = tn_interface_index(tn_name_at(L, -1));
  }
  if (type != LUA_TNIL && type != LUA_TNUMBER && number == 0) {
    refuse(L, taking, "interface: name or index of an interface");
  }
  lua_pop(L, 1);
  return number;
}

/* {address =, interface =}: where the datagram is to come from. `local_address` is of one that was
 * received, and may stay. */
static void take_pktinfo(lua_State *L, const struct taking *taking) {
  static const char *const known[] = {"type", "address", "interface", "local_address", NULL};
  check_fields(L, taking, known);
  struct tn_address source = {.length = sizeof source.storage};
  bool literal;
  int type = tn_raw_field(L, taking->entry, "address");
  if (type == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    if (tn_address_parse_ip(text, length, 0, &source, &literal)) {
      refuse(L, taking, "address: IP address");
    }
  } else if (type != LUA_TNIL) {
    refuse(L, taking, "address: IP address");
  } else if (tn_socket_name(taking->fd, &source.any, &source.length) == 0) {
    sa_family_t family = source.any.sa_family;
    memset(&source.storage, 0, sizeof source.storage);
    source.any.sa_family = family;
  }
  unsigned interface = take_interface(L, taking);
  if (source.any.sa_family == AF_INET6) {
    struct in6_pktinfo info = {.ipi6_addr = source.v6.sin6_addr, .ipi6_ifindex = interface};
    append(L, taking, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  } else {
    struct in_pktinfo info = {.ipi_ifindex = (int)interface, .ipi_spec_dst = source.v4.sin_addr};
    append(L, taking, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  }
  lua_pop(L, 1);
}

static void take_raw(lua_State *L, const struct taking *taking) {
  static const char *const known[] = {"type", "level", "number", "data", NULL};
  check_fields(L, taking, known);
  int level = (int)take_integer(L, taking, "level", INT_MIN, INT_MAX);
  int number = (int)take_integer(L, taking, "number", INT_MIN, INT_MAX);
  size_t length;
  if (tn_raw_field(L, taking->entry, "data") != LUA_TSTRING) {
    refuse(L, taking, "data: string");
  }
  const char *data = lua_tolstring(L, -1, &length);
  append(L, taking, level, number, data, length);
  lua_pop(L, 1);
}

static const struct tn_control_row *row_named(const char *type) {
  const struct tn_control_row *row = tn_control_rows;
  while (row->type && strcmp(row->type, type) != 0) {
    row++;
  }
  return row;
}

static int take_entry(lua_State *L, const struct taking *taking) {
  if (!lua_istable(L, taking->entry)) {
    return refuse(L, taking, "list of tables with a type");
  }
  if (tn_raw_field(L, taking->entry, "type") != LUA_TSTRING) {
    return refuse(L, taking, "type: string");
  }
  const char *type = tn_name_at(L, -1);
  const struct tn_control_row *row = row_named(type);
  int status = 0;
  if (strcmp(type, "raw") == 0) {
    take_raw(L, taking);
  } else if (row->type && row->number == TN_ABSENT) {
    status = -ENOTSUP;
  } else if (row->type && row->kind == TN_CONTROL_FDS) {
    status = take_fds(L, taking, row);
  } else if (row->type && row->kind == TN_CONTROL_CREDENTIALS) {
    take_credentials(L, taking, row);
  } else if (row->type && row->kind == TN_CONTROL_PKTINFO_V4) {
    take_pktinfo(L, taking);
  } else if (row->type && row->kind == TN_CONTROL_INT && row->size > 0) {
    take_number(L, taking, row);
  } else {
    luaL_argerror(L, taking->argument,
                  lua_pushfstring(L,
                                  row->type ? "control: '%s' can only be received"
                                            : "control: unknown type '%s'",
                                  type));
  }
  return status;
}

int tn_control_take(lua_State *L, int index, int argument, tn_fd fd, struct tn_control *control,
                    const char **message) {
  control->length = 0;
  lua_Integer count = (lua_Integer)lua_rawlen(L, index);
  lua_pushnil(L);
  if (count == 0 && lua_next(L, index)) { /* one message, without the list around it */
    luaL_argerror(L, argument, "control: list of tables with a type expected");
  }
  lua_settop(L, index);
  for (lua_Integer i = 1; i <= count; i++) {
    int top = lua_gettop(L);
    lua_rawgeti(L, index, i);
    struct taking taking = {control, fd, argument, top + 1, message};
    int status = take_entry(L, &taking);
    if (status < 0) {
      return status;
    }
    lua_settop(L, top);
  }
  return 0;
}

/* --- what arrived --- */

/* The bytes of the entry in a structure; what a short one lacks is 0. */
static void decode(const struct tn_control_entry *entry, void *bytes, size_t size) {
  memset(bytes, 0, size);
  memcpy(bytes, entry->data, size < entry->length ? size : entry->length);
}

static lua_Integer integer_of(const struct tn_control_entry *entry) {
  uint8_t byte;
  uint16_t narrow;
  uint32_t word;
  int64_t wide;
  switch (entry->length) {
  case sizeof byte:
    decode(entry, &byte, sizeof byte);
    return byte;
  case sizeof narrow:
    decode(entry, &narrow, sizeof narrow);
    return narrow;
  case sizeof word:
    decode(entry, &word, sizeof word);
    return word;
  default:
    decode(entry, &wide, sizeof wide);
    return wide;
  }
}

static void set_ip(lua_State *L, const char *name, int family, const void *ip) {
  struct tn_address address;
  char text[TN_ADDRESS_TEXT_MAX];
  memset(&address, 0, sizeof address);
  address.any.sa_family = (sa_family_t)family;
  if (family == AF_INET) {
    memcpy(&address.v4.sin_addr, ip, sizeof address.v4.sin_addr);
  } else {
    memcpy(&address.v6.sin6_addr, ip, sizeof address.v6.sin6_addr);
  }
  tn_address_format_ip(&address, text, sizeof text);
  tn_set_string(L, name, text);
}

static void set_pktinfo_v4(lua_State *L, const struct tn_control_entry *entry) {
  struct in_pktinfo info;
  decode(entry, &info, sizeof info);
  tn_set_integer(L, "interface", info.ipi_ifindex);
  set_ip(L, "address", AF_INET, &info.ipi_addr);
  set_ip(L, "local_address", AF_INET, &info.ipi_spec_dst);
}

static void set_pktinfo_v6(lua_State *L, const struct tn_control_entry *entry) {
  struct in6_pktinfo info;
  decode(entry, &info, sizeof info);
  tn_set_integer(L, "interface", info.ipi6_ifindex);
  set_ip(L, "address", AF_INET6, &info.ipi6_addr);
}

/* Whatever the bytes say: integers wrap around, as Lua's do. */
static lua_Integer nanoseconds(int64_t seconds, int64_t rest, uint64_t unit) {
  uint64_t sum = (uint64_t)seconds * 1000000000 + (uint64_t)rest * unit;
  return (lua_Integer)sum;
}

static lua_Integer nanoseconds_of(const struct timespec *time) {
  return nanoseconds(time->tv_sec, time->tv_nsec, 1);
}

static void set_times(lua_State *L, const struct tn_control_entry *entry) {
  struct timespec times[3];
  decode(entry, times, sizeof times);
  if (nanoseconds_of(&times[0]) != 0) {
    tn_set_integer(L, "software", nanoseconds_of(&times[0]));
  }
  if (nanoseconds_of(&times[2]) != 0) {
    tn_set_integer(L, "hardware", nanoseconds_of(&times[2]));
  }
}

static void set_address(lua_State *L, struct tn_runtime *rt, const char *name, const void *bytes,
                        size_t length) {
  struct tn_address address = {.length = 0};
  if (length >= sizeof address.v4 && length <= sizeof address.storage) {
    memcpy(&address.storage, bytes, length);
    address.length = (socklen_t)length;
    tn_address_push(L, rt, &address);
    lua_setfield(L, -2, name);
  }
}

static void set_error(lua_State *L, struct tn_runtime *rt, const struct tn_control_entry *entry) {
  static const char *const origins[] = {"none", "local", "icmp", "icmp6", "timestamp", "zerocopy"};
  struct tn_extended_error error;
  decode(entry, &error, sizeof error);
  bool is_known = error.number <= INT_MAX;
  tn_set_string(L, "code", tn_status_name(is_known ? -(int)error.number : INT_MIN));
  tn_set_integer(L, "errno", error.number);
  if (error.origin < sizeof origins / sizeof origins[0]) {
    tn_set_string(L, "origin", origins[error.origin]);
  } else {
    tn_set_integer(L, "origin", error.origin);
  }
  tn_set_integer(L, "icmp_type", error.type);
  tn_set_integer(L, "icmp_code", error.code);
  tn_set_integer(L, "info", error.info);
  tn_set_integer(L, "data", error.data);
  const struct sockaddr *offender = (const void *)((const char *)entry->data + sizeof error);
  sa_family_t family = AF_UNSPEC;
  if (entry->length >= sizeof error + sizeof *offender) {
    memcpy(&family, &offender->sa_family, sizeof family);
  }
  if (family == AF_INET || family == AF_INET6) {
    size_t length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (entry->length >= sizeof error + length) {
      set_address(L, rt, "offender", offender, length);
    }
  }
}

static void set_fds(lua_State *L, const struct tn_control_entry *entry) {
  size_t count = entry->length / sizeof(tn_fd);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    tn_fd fd;
    memcpy(&fd, (const tn_fd *)entry->data + i, sizeof fd);
    lua_pushinteger(L, fd);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "fds");
}

static void set_timestamp(lua_State *L, const struct tn_control_entry *entry,
                          enum tn_control_kind kind) {
  struct timespec time;
  struct timeval coarse;
  if (kind == TN_CONTROL_TIMEVAL) {
    decode(entry, &coarse, sizeof coarse);
    tn_set_integer(L, "value", nanoseconds(coarse.tv_sec, coarse.tv_usec, 1000));
  } else {
    decode(entry, &time, sizeof time);
    tn_set_integer(L, "value", nanoseconds_of(&time));
  }
}

static void push_entry(lua_State *L, struct tn_runtime *rt, const struct tn_control_entry *entry) {
  const struct tn_control_row *row = tn_control_row_of(entry);
  lua_createtable(L, 0, 4);
  tn_set_string(L, "type", row ? row->type : "raw");
  switch (row ? row->kind : TN_CONTROL_RAW) {
  case TN_CONTROL_INT:
    tn_set_integer(L, "value", integer_of(entry));
    break;
  case TN_CONTROL_FDS:
    set_fds(L, entry);
    break;
  case TN_CONTROL_CREDENTIALS: {
    struct tn_credentials who;
    decode(entry, &who, sizeof who);
    tn_set_credentials(L, &who);
    break;
  }
  case TN_CONTROL_PKTINFO_V4:
    set_pktinfo_v4(L, entry);
    break;
  case TN_CONTROL_PKTINFO_V6:
    set_pktinfo_v6(L, entry);
    break;
  case TN_CONTROL_TIMEVAL:
  case TN_CONTROL_TIMESPEC:
    set_timestamp(L, entry, row->kind);
    break;
  case TN_CONTROL_TIMESPECS:
    set_times(L, entry);
    break;
  case TN_CONTROL_ADDRESS:
    set_address(L, rt, "address", entry->data, entry->length);
    break;
  case TN_CONTROL_ERROR:
    set_error(L, rt, entry);
    break;
  case TN_CONTROL_RAW:
    tn_set_integer(L, "level", entry->level);
    tn_set_integer(L, "number", entry->number);
    lua_pushlstring(L, entry->data, entry->length);
    lua_setfield(L, -2, "data");
    break;
  }
}

void tn_control_push(lua_State *L, struct tn_runtime *rt, const struct tn_control *control) {
  struct tn_control_entry entry;
  size_t position = 0;
  lua_newtable(L);
  while (tn_control_next(control, &position, &entry)) {
    push_entry(L, rt, &entry);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
}
