/* Life, addresses and timeouts of everything with a descriptor: see object.h. */
#include "binding/object.h"

#include "binding/address.h"
#include "binding/error.h"
#include "binding/method_call.h"
#include "core/datagrams.h"
#include "core/scratch.h"
#include "core/splice.h"

#include <limits.h>

static struct tn_object *check_object(lua_State *L) {
  return tn_check(L, 1, TN_SOURCES, "an object with a descriptor");
}

static bool is_last(const struct tn_source *source) {
  return source->references - source->views == 1;
}

/* An owned writing half that leaves says so to the peer, and to who writes by a view. */
static void end_writing(struct tn_source *source) {
  if (source->fd != TN_NO_FD && !source->write_shut && !tn_reactor_forked(source->reactor)) {
    source->write_shut = true;
    tn_socket_shutdown(source->fd, TN_SHUT_WRITE);
    tn_source_report(source, TN_WRITABLE, true); /* as of `shutdown` */
  }
}

static void drop(lua_State *L, struct tn_object *object, bool collected, bool forgotten) {
  struct tn_source *source = object->source;
  if (!source) {
    return;
  }
  object->source = NULL;
  bool owned_half = object->header.kind & (TN_OWNED_READ_HALF | TN_OWNED_WRITE_HALF);
  bool whole = owned_half ? is_last(source) : !object->view;
  if (!whole) {
    tn_source_end_waits_of(source, object);
    if (object->header.kind == TN_OWNED_WRITE_HALF && !forgotten) {
      end_writing(source);
    }
  }
  source->views -= object->view;
  if (collected || tn_in_finalizer(L)) {
    tn_source_release_later(source, whole && !collected);
    return;
  }
  if (whole && source->references > 1) { /* the last one closes it, and keeps its memory */
    tn_source_close(source);
  }
  tn_source_release(source);
}

void tn_object_close(lua_State *L, struct tn_object *object, bool collected) {
  drop(L, object, collected, false);
}

void tn_object_forget(lua_State *L, struct tn_object *half) {
  half->consumed_by = "forget";
  drop(L, half, false, true);
}

static int object_close(lua_State *L) {
  tn_object_close(L, check_object(L), false);
  return 0;
}

static int object_gc(lua_State *L) {
  tn_object_close(L, check_object(L), true);
  return 0;
}

static int object_closed(lua_State *L) {
  const struct tn_object *object = check_object(L);
  lua_pushboolean(L, !tn_object_is_open(object));
  return 1;
}

static int object_tostring(lua_State *L) {
  const struct tn_object *object = check_object(L);
  bool is_socket = object->header.kind == TN_SOCKET;
  const char *kind = object->view && is_socket ? "Socket view" : tn_kind_name(object->header.kind);
  if (!tn_object_is_open(object)) {
    lua_pushfstring(L, "%s (%s)", kind, object->consumed_by ? "consumed" : "closed");
    return 1;
  }
  struct tn_address local = {.length = sizeof local.storage};
  struct tn_address peer;
  char here[TN_ADDRESS_TEXT_MAX] = "unbound";
  char there[TN_ADDRESS_TEXT_MAX] = "";
  tn_fd fd = object->source->fd;
  if (object->source->is_pipe || object->source->is_selector) {
    lua_pushfstring(L, "%s (fd %d)", kind, fd);
    return 1;
  }
  if (tn_socket_name(fd, &local.any, &local.length) == 0) {
    tn_address_format(&local, here, sizeof here);
  }
  if (tn_source_peer(object->source, &peer) == 0) {
    tn_address_format(&peer, there, sizeof there);
  }
  lua_pushfstring(L, "%s (%s%s%s, fd %d)", kind, here, there[0] ? " -> " : "", there, fd);
  return 1;
}

const luaL_Reg tn_object_metamethods[] = {
    {"__gc", object_gc}, {"__close", object_close}, {"__tostring", object_tostring}, {NULL, NULL}};
const luaL_Reg tn_object_functions[] = {
    {"close", object_close}, {"closed", object_closed}, {NULL, NULL}};

/* --- adoption --- */

/* What a socket has to be, beside connected or listening, for an object of these kinds. */
static const struct fit {
  uint64_t kinds;
  int type; /* 0: any */
  bool is_unix;
  const char *wrong;
} fits[] = {
    {TN_TCP_SOCKET | TN_TCP_STREAM | TN_TCP_LISTENER, SOCK_STREAM, false,
     "the descriptor is not a TCP socket"},
    {TN_UDP_SOCKET, SOCK_DGRAM, false, "the descriptor is not a UDP socket"},
    {TN_UNIX_SOCKET, 0, true, "the descriptor is not a Unix socket"},
    {TN_UNIX_STREAM | TN_UNIX_LISTENER, SOCK_STREAM, true,
     "the descriptor is not a Unix stream socket"},
    {TN_UNIX_DATAGRAM, SOCK_DGRAM, true, "the descriptor is not a Unix datagram socket"},
};

/* An integer option of SOL_SOCKET; negative: a failure. */
static int property(tn_fd fd, int number) {
  int value = 0;
  socklen_t length = sizeof value;
  int status = tn_socket_get_option(fd, SOL_SOCKET, number, &value, &length);
  return status < 0 ? status : value;
}

static int check_fit(const struct fit *fit, tn_fd fd, const char **message) {
  int type = property(fd, SO_TYPE);
  struct tn_address local = {.length = sizeof local.storage};
  int status = type < 0 ? type : tn_socket_name(fd, &local.any, &local.length);
  int family = local.any.sa_family;
  bool right = fit->is_unix ? family == AF_UNIX : family == AF_INET || family == AF_INET6;
  if (status == 0 && (!right || (fit->type && type != fit->type))) {
    *message = fit->wrong;
    return TN_EINVAL;
  }
  return status;
}

static int check_connected(tn_fd fd) {
  struct tn_address peer = {.length = sizeof peer.storage};
  return tn_socket_peer(fd, &peer.any, &peer.length);
}

static int check_listening(tn_fd fd, const char **message) {
  int listens = property(fd, SO_ACCEPTCONN);
  if (listens == 0) {
    *message = "the socket does not listen";
    return TN_EINVAL;
  }
  return listens < 0 ? listens : 0;
}

static int check_pipe(uint64_t kind, tn_fd fd, const char **message) {
  bool sends = kind == TN_PIPE_SENDER;
  int status = tn_pipe_check(fd, sends ? TN_PIPE_WRITE : TN_PIPE_READ);
  if (status == TN_EINVAL) {
    *message = sends ? "the descriptor is not a pipe open for writing"
                     : "the descriptor is not a pipe open for reading";
  }
  return status;
}

static int check_socket(tn_fd fd, const char **message) {
  int type = property(fd, SO_TYPE);
  if (type == -ENOTSOCK) {
    *message = "the descriptor is not a socket";
  }
  return type < 0 ? type : 0;
}

int tn_object_check_fd(uint64_t kind, tn_fd fd, const char **message) {
  if (kind & TN_PIPES) {
    return check_pipe(kind, fd, message);
  }
  if (kind == TN_SOCKET) {
    return check_socket(fd, message);
  }
  const struct fit *fit = fits;
  while (!(fit->kinds & kind)) {
    fit++;
  }
  int status = check_fit(fit, fd, message);
  if (status == 0 && (kind & TN_WHOLE_STREAMS)) {
    status = check_connected(fd);
  } else if (status == 0 && (kind & TN_LISTENERS)) {
    status = check_listening(fd, message);
  }
  return status;
}

int tn_opening_prepare(lua_State *L, struct tn_runtime *rt) {
  if (rt->reactor && tn_sources_released(rt->reactor) && !tn_in_finalizer(L)) {
    tn_sources_bury(rt->reactor);
  }
  return 0;
}

void tn_opening_check(lua_State *L, struct tn_runtime *rt, const char *operation) {
  tn_runtime_check(L, rt, operation);
  tn_opening_prepare(L, rt);
}

struct tn_source *tn_source_take(lua_State *L, struct tn_runtime *rt, tn_fd fd) {
  struct tn_source *source = tn_source_new(rt->reactor, fd);
  if (!source) {
    tn_socket_close(fd);
    luaL_error(L, "not enough memory");
  }
  return source;
}

int tn_object_open(lua_State *L, uint64_t kind, int domain, int type, int protocol,
                   const char *op) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_opening_check(L, rt, op);
  struct tn_object *object = tn_object_new(L, rt, kind);
  int fd = tn_socket_open(domain, type, protocol);
  if (fd < 0) {
    return tn_fail(L, rt, fd, op, NULL);
  }
  tn_object_own(object, tn_source_take(L, rt, fd));
  object->source->sole = true;
  return 1;
}

int tn_object_pair(lua_State *L, struct tn_runtime *rt, uint64_t first, uint64_t second,
                   const tn_fd fds[2]) {
  struct tn_source *sources[2] = {tn_source_new(rt->reactor, fds[0]),
                                  tn_source_new(rt->reactor, fds[1])};
  for (int i = 0; i < 2; i++) {
    if (sources[i] && !sources[1 - i]) {
      tn_source_release(sources[i]);
    } else if (!sources[i]) {
      tn_socket_close(fds[i]);
    }
  }
  if (!sources[0] || !sources[1]) {
    return luaL_error(L, "not enough memory");
  }
  struct tn_object *objects[2] = {tn_cast(L, -2, first), tn_cast(L, -1, second)};
  tn_object_own(objects[0], sources[0]);
  tn_object_own(objects[1], sources[1]);
  return 2;
}

int tn_object_open_pair(lua_State *L, uint64_t kind, int type) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_opening_check(L, rt, "pair");
  tn_object_new(L, rt, kind);
  tn_object_new(L, rt, kind);
  tn_fd fds[2];
  int status = tn_socket_pair(AF_UNIX, type, 0, fds);
  return status < 0 ? tn_fail(L, rt, status, "pair", NULL) : tn_object_pair(L, rt, kind, kind, fds);
}

int tn_object_from_fd(lua_State *L, uint64_t kind) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_fd fd = (tn_fd)tn_check_integer(L, 1, "fd", 0, INT_MAX);
  const char *message = NULL;
  tn_opening_check(L, rt, "from_fd");
  struct tn_object *object = tn_object_new(L, rt, kind);
  int status = 0;
  if (tn_source_owns(rt->reactor, fd)) {
    status = TN_EBUSY;
    message = "another object has this descriptor";
  }
  status = status < 0 ? status : tn_object_check_fd(kind, fd, &message);
  status = status < 0 ? status : tn_socket_adopt(fd);
  if (status < 0) {
    return tn_fail(L, rt, status, "from_fd", message);
  }
  struct tn_source *source = tn_source_new(rt->reactor, fd);
  if (!source) {
    return luaL_error(L, "not enough memory");
  }
  tn_object_own(object, source);
  return 1;
}

int tn_object_become(lua_State *L, struct tn_call *call, uint64_t kind) {
  struct tn_object *object = tn_object_new(L, call->rt, kind);
  struct tn_object *from = call->self;
  if (from->source != call->source) {
    return tn_method_closed(L, call);
  }
  tn_object_move(object, from, call->method->name);
  return 1;
}

/* --- methods --- */

static int attempt_local_addr(lua_State *L, struct tn_call *call) {
  struct tn_address address = {.length = sizeof address.storage};
  int status = tn_socket_name(call->source->fd, &address.any, &address.length);
  if (status < 0) {
    return status;
  }
  tn_address_push(L, call->rt, &address);
  return 1;
}

static int attempt_peer_addr(lua_State *L, struct tn_call *call) {
  struct tn_address address;
  int status = tn_source_peer(call->source, &address);
  if (status < 0) {
    return status;
  }
  tn_address_push(L, call->rt, &address);
  return 1;
}

static int attempt_take_error(lua_State *L, struct tn_call *call) {
  int status = tn_source_take_error(call->source);
  if (status == 0) {
    lua_pushnil(L);
  } else {
    tn_error_push(L, call->rt, status, "take_error", NULL, NULL);
  }
  return 1;
}

static int attempt_fd(lua_State *L, struct tn_call *call) {
  lua_pushinteger(L, call->source->fd);
  call->source->sole = false;
  return 1;
}

int tn_object_check_owner(const struct tn_object *object, const char **message) {
  if (!object->view) {
    return 0;
  }
  *message = "as_socket() gave a view; the object that it is of owns the descriptor";
  return TN_EINVAL;
}

int tn_object_check_leaving(lua_State *L, const struct tn_object *object, const char **message) {
  int status = tn_object_check_owner(object, message);
  if (status < 0) {
    return status;
  }
  if (tn_datagrams_kept(object->source)) {
    *message = "datagrams already received would be lost; receive them first";
    return TN_EBUSY;
  }
  if (tn_in_finalizer(L)) {
    *message = "not in a finalizer, which may run in the middle of another call";
    return TN_EBUSY;
  }
  return 0;
}

int tn_object_check_moving(lua_State *L, const struct tn_object *object, const char **message) {
  struct tn_source *source = object->source;
  if (!tn_object_is_open(object)) {
    *message = tn_object_push_end(L, object);
    return TN_CLOSED;
  }
  int status = tn_object_check_leaving(L, object, message);
  return status == 0 && tn_source_has_splice(source) ? tn_splice_end(source) : status;
}

/* The descriptor goes alone: what was read of it would stay behind. */
static int check_moving_alone(lua_State *L, const struct tn_object *object, const char **message) {
  const struct tn_source *source = object->source;
  int status = tn_object_check_moving(L, object, message);
  if (status == 0 && source->input.length > 0) {
    *message =
        lua_pushfstring(L, "%I bytes read ahead would be lost", (LUAI_UACINT)source->input.length);
    return TN_EBUSY;
  }
  if (status == 0 && source->rare && tn_rights_count(source->rare->rights) > 0) {
    *message = "descriptors that came would be lost";
    return TN_EBUSY;
  }
  return status;
}

int tn_object_leaving(lua_State *L) {
  const struct tn_object *object = tn_cast(L, 1, TN_MOVABLE);
  const char *message = NULL;
  int status = object ? check_moving_alone(L, object, &message) : 0;
  if (status < 0) {
    message = message ? message : tn_status_message(status);
    lua_pushfstring(L, "%s: %s", luaL_checkstring(L, 2), message);
    return tn_fail(L, tn_runtime_of(L), status, "spawn", lua_tostring(L, -1));
  }
  lua_pushboolean(L, object != NULL);
  return 1;
}

static int attempt_into_fd(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  struct tn_object *object = call->self;
  size_t buffered = source->input.length;
  int status = tn_object_check_leaving(L, object, &call->message);
  if (status < 0) {
    return status;
  }
  if (source->rare && tn_rights_count(source->rare->rights) > 0 && !lua_toboolean(L, 2)) {
    call->message = "descriptors that came would be lost; into_fd(true) closes them";
    return TN_EBUSY;
  }
  if (buffered > 0 && !lua_toboolean(L, 2)) {
    call->message = "bytes already read would be lost; into_fd(true) returns them";
    return TN_EBUSY;
  }
  bool held = tn_scratch_hold_ahead(source);
  lua_pushnil(L);
  lua_pushlstring(L, buffered ? tn_bytes_data(&source->input) : "", buffered);
  bool open = !held || tn_scratch_take(call->rt->reactor, source);
  if (!open || object->source != source) { /* a finalizer closed it */
    return tn_method_closed(L, call);
  }
  lua_pushinteger(L, tn_source_into_fd(source));
  lua_replace(L, -3);
  object->source = NULL;
  object->consumed_by = "into_fd";
  tn_source_release(source);
  return lua_toboolean(L, 2) ? 2 : (lua_pop(L, 1), 1);
}

static uint64_t to_ns(double seconds) {
  return seconds < 3.2e9 ? (uint64_t)(seconds * 1e9 + 0.5) + 1 : 0;
}

static void push_timeout(lua_State *L, uint64_t timeout_ns) {
  if (timeout_ns == 0) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, (double)(timeout_ns - 1) / 1e9);
  }
}

static int prepare_seconds(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_opt_seconds(L, 2);
  return 0;
}

static int set_timeouts(lua_State *L, struct tn_call *call, bool reading, bool writing) {
  uint64_t timeout_ns = to_ns(tn_opt_seconds(L, 2));
  if (reading) {
    call->source->read_timeout_ns = timeout_ns;
  }
  if (writing) {
    call->source->write_timeout_ns = timeout_ns;
  }
  lua_settop(L, 1);
  return 1;
}

static int attempt_set_timeout(lua_State *L, struct tn_call *call) {
  return set_timeouts(L, call, true, true);
}

static int attempt_set_read_timeout(lua_State *L, struct tn_call *call) {
  return set_timeouts(L, call, true, false);
}

static int attempt_set_write_timeout(lua_State *L, struct tn_call *call) {
  return set_timeouts(L, call, false, true);
}

static int attempt_read_timeout(lua_State *L, struct tn_call *call) {
  push_timeout(L, call->source->read_timeout_ns);
  return 1;
}

static int attempt_write_timeout(lua_State *L, struct tn_call *call) {
  push_timeout(L, call->source->write_timeout_ns);
  return 1;
}

enum {
  TIMED = TN_WHOLE_STREAMS | TN_PIPES | TN_LISTENERS | TN_MESSAGERS,
  READ_TIMED = TN_READERS | TN_MESSAGERS,
  WRITE_TIMED = TN_WRITERS | TN_MESSAGERS,
};

/* clang-format off */
const struct tn_method tn_object_methods[] = {
  {.name = "local_addr", .kinds = TN_SOURCES & ~TN_PIPES & ~TN_POLL, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_local_addr},
  {.name = "peer_addr",  .kinds = (TN_STREAMS & ~TN_PIPES) | TN_MESSAGERS, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_peer_addr},
  {.name = "take_error", .kinds = TN_ON_ANY,  .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_take_error},
  {.name = "fd",         .kinds = TN_SOURCES, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_fd},
  {.name = "into_fd",    .kinds = TN_SOURCES & ~TN_HALVES & ~TN_POLL,  .slots = 2, .flags = TN_NEVER_WAITS, .attempt = attempt_into_fd},
  {.name = "set_timeout", .kinds = TIMED, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_seconds, .attempt = attempt_set_timeout},
  {.name = "set_read_timeout",  .kinds = READ_TIMED, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_seconds, .attempt = attempt_set_read_timeout},
  {.name = "set_write_timeout", .kinds = WRITE_TIMED, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_seconds, .attempt = attempt_set_write_timeout},
  {.name = "timeout",       .kinds = TIMED, .slots = 1, .flags = TN_NEVER_WAITS,
   .attempt = attempt_read_timeout},
  {.name = "read_timeout",  .kinds = READ_TIMED, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_read_timeout},
  {.name = "write_timeout", .kinds = WRITE_TIMED, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_write_timeout},
  {0},
};
/* clang-format on */
