/* Socket: see socket.h. What it sends and receives is in message_input.c and
 * message_output.c, how it connects in connection.c. */
#include "binding/socket.h"

#include "binding/error.h"
#include "binding/object.h"
#include "core/socket_kind.h"

#include <limits.h>
#include <stdio.h>

/* --- making them --- */

/* A name of `kinds` or a number; nil is 0 where that is allowed. */
static int take_kind(lua_State *L, int index, const char *what, const struct tn_socket_kind *kinds,
                     bool optional) {
  if (optional && lua_isnoneornil(L, index)) {
    return 0;
  }
  if (lua_type(L, index) == LUA_TNUMBER) {
    return (int)tn_check_integer(L, index, what, 0, INT_MAX);
  }
  const char *name = tn_name_at(L, index);
  const struct tn_socket_kind *kind = tn_socket_kind_named(kinds, name);
  if (kind) {
    return kind->number;
  }
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  luaL_addstring(&text, what);
  luaL_addstring(&text, ": a number or one of");
  for (; kinds->name; kinds++) {
    luaL_addchar(&text, ' ');
    luaL_addstring(&text, kinds->name);
  }
  luaL_addstring(&text, " expected, got ");
  luaL_addstring(&text, name);
  luaL_pushresult(&text);
  return luaL_argerror(L, index, lua_tostring(L, -1));
}

struct kinds {
  int domain, type, protocol;
};

static struct kinds take_kinds(lua_State *L) {
  return (struct kinds){take_kind(L, 1, "domain", tn_domains, false),
                        take_kind(L, 2, "type", tn_types, false),
                        take_kind(L, 3, "protocol", tn_protocols, true)};
}

static bool is_absent(const struct kinds *kinds) {
  return kinds->domain == TN_ABSENT || kinds->type == TN_ABSENT || kinds->protocol == TN_ABSENT;
}

static int fail_kind(lua_State *L, int status, const char *op) {
  bool unknown = status == -EAFNOSUPPORT || status == -EPROTONOSUPPORT ||
                 status == -ESOCKTNOSUPPORT || status == -ENOTSUP || status == -EPROTOTYPE;
  return tn_fail(L, tn_runtime_of(L), status, op,
                 unknown ? "this system has no socket of that domain, type and protocol" : NULL);
}

static int socket_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct kinds kinds = take_kinds(L);
  tn_opening_check(L, rt, "new");
  struct tn_object *object = tn_object_new(L, rt, TN_SOCKET);
  int fd = is_absent(&kinds) ? -ENOTSUP : tn_socket_open(kinds.domain, kinds.type, kinds.protocol);
  if (fd < 0) {
    return fail_kind(L, fd, "new");
  }
  tn_object_own(object, tn_source_take(L, rt, fd));
  return 1;
}

static int socket_pair(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  struct kinds kinds = take_kinds(L);
  tn_opening_check(L, rt, "pair");
  tn_object_new(L, rt, TN_SOCKET);
  tn_object_new(L, rt, TN_SOCKET);
  tn_fd fds[2];
  int status =
      is_absent(&kinds) ? -ENOTSUP : tn_socket_pair(kinds.domain, kinds.type, kinds.protocol, fds);
  return status < 0 ? fail_kind(L, status, "pair")
                    : tn_object_pair(L, rt, TN_SOCKET, TN_SOCKET, fds);
}

static int socket_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_SOCKET);
}

/* --- other objects of the same socket --- */

static int attempt_try_clone(lua_State *L, struct tn_call *call) {
  struct tn_object *clone = tn_object_new(L, call->rt, TN_SOCKET);
  int fd = tn_fd_clone(call->source->fd);
  if (fd < 0) {
    return fd;
  }
  tn_object_own(clone, tn_source_take(L, call->rt, fd));
  call->source->sole = false;
  return 1;
}

static int attempt_as_socket(lua_State *L, struct tn_call *call) {
  struct tn_object *view = tn_object_new(L, call->rt, TN_SOCKET);
  view->view = true;
  call->source->views++;
  view->source = tn_source_retain(call->source);
  return 1;
}

/* The socket becomes an object of `kind` if it is right for one. */
static int convert(lua_State *L, struct tn_call *call, uint64_t kind) {
  struct tn_object *object = call->self;
  struct tn_address peer = {.length = sizeof peer.storage};
  int status = tn_object_check_owner(object, &call->message);
  status = status < 0 ? status : tn_object_check_fd(kind, call->source->fd, &call->message);
  if (status < 0) {
    return status;
  }
  tn_source_end_waits(call->source);
  if ((kind & TN_STREAMS) && tn_socket_peer(call->source->fd, &peer.any, &peer.length) == 0) {
    tn_source_set_peer(call->source, &peer);
  }
  return tn_object_become(L, call, kind);
}

static int attempt_into_tcp_socket(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_TCP_SOCKET);
}

static int attempt_into_tcp_stream(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_TCP_STREAM);
}

static int attempt_into_tcp_listener(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_TCP_LISTENER);
}

static int attempt_into_udp_socket(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_UDP_SOCKET);
}

static int attempt_into_unix_socket(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_UNIX_SOCKET);
}

static int attempt_into_unix_stream(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_UNIX_STREAM);
}

static int attempt_into_unix_listener(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_UNIX_LISTENER);
}

static int attempt_into_unix_datagram(lua_State *L, struct tn_call *call) {
  return convert(L, call, TN_UNIX_DATAGRAM);
}

/* --- sendfile(file, offset, count); slot 5: how much has gone out --- */

static FILE *file_at(lua_State *L) {
  luaL_Stream *stream = luaL_testudata(L, 2, LUA_FILEHANDLE);
  return stream && stream->closef ? stream->f : NULL;
}

static int prepare_sendfile(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checkudata(L, 2, LUA_FILEHANDLE);
  luaL_argcheck(L, file_at(L), 2, "the file is closed");
  tn_opt_integer(L, 3, "offset", 0, LUA_MAXINTEGER, 0);
  tn_opt_integer(L, 4, "count", 0, LUA_MAXINTEGER, 0);
  fflush(file_at(L)); /* what this program wrote itself is to be sent too */
  lua_pushinteger(L, 0);
  lua_replace(L, 5);
  return 0;
}

static int attempt_sendfile(lua_State *L, struct tn_call *call) {
  FILE *file = file_at(L);
  lua_Integer offset = lua_isnil(L, 3) ? 0 : lua_tointeger(L, 3);
  lua_Integer most = lua_isnil(L, 4) ? LUA_MAXINTEGER : lua_tointeger(L, 4);
  lua_Integer sent = lua_tointeger(L, 5);
  if (!file) {
    call->message = "the file was closed";
    return TN_CLOSED;
  }
  ptrdiff_t count = 1;
  for (int calls = 0; sent < most && count > 0; calls++) {
    count = calls < TN_CALLS_MAX ? tn_source_send_file(call->source, fileno(file), offset + sent,
                                                       (uint64_t)(most - sent))
                                 : tn_call_give_way(call);
    sent += count > 0 ? count : 0;
  }
  lua_pushinteger(L, sent);
  lua_replace(L, 5);
  if (count < 0) {
    return (int)count;
  }
  lua_pushvalue(L, 5);
  return 1;
}

/* `nil, err, sent` */
static int extras_sendfile(lua_State *L, struct tn_call *call) {
  (void)call;
  lua_pushvalue(L, 5);
  return 1;
}

/* --- packet filters --- */

static lua_Integer instruction_field(lua_State *L, lua_Integer line, int position,
                                     lua_Integer least, lua_Integer most) {
  static const char *const names[] = {"", "code", "jt", "jf", "k"};
  lua_Integer number;
  lua_rawgeti(L, -1, position);
  if (!tn_take_integer(L, -1, least, most, &number)) {
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "instruction %d: %s: integer from %I to %I expected",
                                  (int)line, names[position], (LUAI_UACINT)least,
                                  (LUAI_UACINT)most));
  }
  lua_pop(L, 1);
  return number;
}

/* The list becomes the system's program, in its place. */
static int prepare_attach_filter(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  luaL_argcheck(L, count >= 1 && count <= TN_FILTER_MAX, 2, "1 to 4096 instructions expected");
  struct tn_instruction *program = lua_newuserdatauv(L, (size_t)count * sizeof *program, 0);
  for (lua_Integer i = 1; i <= count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 2, i) == LUA_TTABLE, 2,
                  "list of instructions {code, jt, jf, k} expected");
    program[i - 1] = (struct tn_instruction){
        .code = (uint16_t)instruction_field(L, i, 1, 0, UINT16_MAX),
        .if_true = (uint8_t)instruction_field(L, i, 2, 0, UINT8_MAX),
        .if_false = (uint8_t)instruction_field(L, i, 3, 0, UINT8_MAX),
        .k = (uint32_t)instruction_field(L, i, 4, INT32_MIN, UINT32_MAX),
    };
    lua_pop(L, 1);
  }
  lua_replace(L, 2);
  return 0;
}

static int attempt_attach_filter(lua_State *L, struct tn_call *call) {
  int count = (int)(lua_rawlen(L, 2) / sizeof(struct tn_instruction));
  int status = tn_socket_attach_filter(call->source->fd, lua_touserdata(L, 2), count);
  if (status == TN_EINVAL) {
    call->message = "the system refuses the program: a jump, an instruction or its end is wrong";
  }
  lua_settop(L, 1);
  return status < 0 ? status : 1;
}

static int attempt_detach_filter(lua_State *L, struct tn_call *call) {
  int status = tn_socket_detach_filter(call->source->fd);
  if (status == -ENOENT) {
    call->message = "no filter is attached";
  }
  lua_settop(L, 1);
  return status < 0 ? status : 1;
}

static const luaL_Reg functions[] = {
    {"new", socket_new}, {"pair", socket_pair}, {"from_fd", socket_from_fd}, {NULL, NULL}};
const struct tn_class tn_socket_class = {"Socket", TN_SOCKET, functions, tn_object_metamethods};

/* clang-format off */
#define INTO(kind) {.name = "into_" #kind, .kinds = TN_SOCKET, .slots = 1, .flags = TN_NEVER_WAITS, \
                    .attempt = attempt_into_##kind}
const struct tn_method tn_socket_methods[] = {
  {.name = "try_clone", .kinds = TN_SOCKET, .slots = 1, .flags = TN_NEVER_WAITS,
   .prepare = tn_opening_prepare, .attempt = attempt_try_clone},
  {.name = "as_socket", .kinds = TN_SOURCES & ~TN_HALVES & ~TN_PIPES & ~TN_POLL, .slots = 1, .flags = TN_NEVER_WAITS,
   .attempt = attempt_as_socket},
  INTO(tcp_socket), INTO(tcp_stream), INTO(tcp_listener), INTO(udp_socket), INTO(unix_socket), INTO(unix_stream),
  INTO(unix_listener), INTO(unix_datagram),
  {.name = "sendfile", .kinds = TN_SOCKET | (TN_WRITERS & ~TN_PIPES), .interest = TN_WRITABLE, .slots = 5, .flags = TN_WRITES | TN_WHOLE,
   .prepare = prepare_sendfile, .attempt = attempt_sendfile, .extras = extras_sendfile},
  {.name = "attach_filter", .kinds = TN_SOCKET, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_attach_filter, .attempt = attempt_attach_filter},
  {.name = "detach_filter", .kinds = TN_SOCKET, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_detach_filter},
  {0},
};
/* clang-format on */
