/* How sockets meet: see connection.h. What a socket becomes by it is a row. */
#include "binding/connection.h"

#include "binding/address.h"
#include "binding/method_call.h"
#include "binding/object.h"

#include <limits.h>

enum {
  PAUSE_NS = 100000000, /* how long a listener rests that found no free descriptor */
  AGAIN_NS = 5000000,   /* and a connect whose listener's queue is full: nothing tells of room */
};

static const struct {
  uint64_t kind;
  uint64_t connected, listening, accepted; /* the same kind: it stays what it is */
} rows[] = {
    {TN_TCP_SOCKET, TN_TCP_STREAM, TN_TCP_LISTENER, 0},
    {TN_TCP_LISTENER, 0, 0, TN_TCP_STREAM},
    {TN_SOCKET, TN_SOCKET, TN_SOCKET, TN_SOCKET},
    {TN_UDP_SOCKET, TN_UDP_SOCKET, 0, 0},
    {TN_UNIX_SOCKET, TN_UNIX_STREAM, TN_UNIX_LISTENER, 0},
    {TN_UNIX_LISTENER, 0, 0, TN_UNIX_STREAM},
    {TN_UNIX_DATAGRAM, TN_UNIX_DATAGRAM, 0, 0},
};

enum {
  BINDING = TN_TCP_SOCKET | TN_UNIX_SOCKET | TN_MESSAGERS,
  LISTENING = TN_TCP_SOCKET | TN_UNIX_SOCKET | TN_SOCKET,
};

static size_t row_of(const struct tn_call *call) {
  size_t row = 0;
  while (rows[row].kind != tn_kind_of(call->self)) {
    row++;
  }
  return row;
}

/* Leaves what the socket is from now on. */
static int become(lua_State *L, struct tn_call *call, uint64_t kind) {
  if (kind != tn_kind_of(call->self)) {
    return tn_object_become(L, call, kind);
  }
  lua_settop(L, 1);
  return 1;
}

static int prepare_address(lua_State *L, struct tn_runtime *rt) {
  tn_check_address(L, 2);
  return tn_opening_prepare(L, rt);
}

static int attempt_bind(lua_State *L, struct tn_call *call) {
  const struct tn_address *address = tn_address_at(L, 2);
  int status = tn_socket_bind(call->source->fd, &address->any, address->length);
  if (status < 0) {
    return status;
  }
  lua_settop(L, 1);
  return 1;
}

/* The other kinds become something else with their connection. */
static bool is_connected_already(const struct tn_call *call) {
  struct tn_address peer = {.length = sizeof peer.storage};
  return !call->resumed && tn_kind_of(call->self) == TN_SOCKET && tn_source_has_end(call->source) &&
         tn_socket_peer(call->source->fd, &peer.any, &peer.length) == 0;
}

static int connect_step(struct tn_call *call, const struct tn_address *address) {
  struct tn_source *source = call->source;
  if (source->connecting &&
      !call->resumed) { /* an earlier call gave up; where it went is unknown */
    if (source->waiters.head || tn_socket_disconnect(source->fd) < 0) {
      return -EALREADY;
    }
    source->connecting = false;
  }
  if (source->connecting) {
    int status = tn_socket_connected(source->fd);
    source->connecting = status == TN_EAGAIN;
    if (status < 0 && status != TN_EAGAIN) {
      tn_socket_disconnect(source->fd); /* or Linux answers ECONNABORTED to the next connect */
    }
    return status;
  }
  if (is_connected_already(call)) {
    return -EISCONN; /* Linux says so only to the second who asks */
  }
  if (source->loss < 0) { /* of its last connection, which the system would tell of first */
    tn_socket_disconnect(source->fd);
    source->loss = 0;
    source->read_shut = source->write_shut = false;
  }
  int status = tn_socket_connect(source->fd, &address->any, address->length);
  source->connecting = status == -EINPROGRESS;
  if (status == TN_EAGAIN) {
    call->until_ns = tn_now_ns() + AGAIN_NS;
  }
  return source->connecting ? TN_EAGAIN : status;
}

static int attempt_connect(lua_State *L, struct tn_call *call) {
  int status = connect_step(call, tn_address_at(L, 2));
  if (status < 0) {
    return status;
  }
  uint64_t kind = rows[row_of(call)].connected;
  if (kind & TN_STREAMS) { /* not what was asked for: 0.0.0.0 is this machine, a zone may go */
    struct tn_address peer = {.length = sizeof peer.storage};
    bool known = tn_socket_peer(call->source->fd, &peer.any, &peer.length) == 0;
    tn_source_set_peer(call->source, known ? &peer : tn_address_at(L, 2));
  }
  return become(L, call, kind);
}

static int prepare_listen(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  lua_pushinteger(L, tn_opt_integer(L, 2, "backlog", 0, INT_MAX, 1024));
  lua_replace(L, 2);
  return 0;
}

static int attempt_listen(lua_State *L, struct tn_call *call) {
  int status = tn_socket_listen(call->source->fd, (int)lua_tointeger(L, 2));
  return status < 0 ? status : become(L, call, rows[row_of(call)].listening);
}

/* A connection: its descriptor waits in the stash until Lua has an object for it. */
static int take_connection(struct tn_source *listener, struct tn_address *peer) {
  tn_fd stash = listener->rare->stash;
  if (stash != TN_NO_FD) {
    return tn_socket_peer(stash, &peer->any, &peer->length) < 0 ? (peer->length = 0) : 0;
  }
  if (tn_source_is_drained(listener, TN_READABLE)) {
    return TN_EAGAIN;
  }
  int fd = tn_socket_accept(listener->fd, &peer->any, &peer->length);
  if (fd < 0) {
    listener->drained |= fd == TN_EAGAIN ? TN_READABLE : 0;
    return fd;
  }
  listener->rare->stash = fd;
  return 0;
}

/* What a connection does not take, a dead one all of them, does not keep it from the rest. */
static void set_options(const struct tn_option_value *value, tn_fd fd) {
  for (; value; value = value->next) {
    (void)tn_option_set(fd, value);
  }
}

static int attempt_accept(lua_State *L, struct tn_call *call) {
  struct tn_source *listener = call->source;
  struct tn_address peer = {.length = sizeof peer.storage};
  struct tn_rare *rare = tn_source_rare(listener);
  if (!rare) {
    return TN_ENOMEM;
  }
  if (rare->pause_until_ns != 0 && call->waiter) { /* a try never pauses: no event would follow */
    if (tn_now_ns() < rare->pause_until_ns) {
      call->until_ns = rare->pause_until_ns;
      return TN_EAGAIN;
    }
    rare->pause_until_ns = 0;
  }
  int status = take_connection(listener, &peer);
  if (status < 0) {
    if (tn_is_exhaustion(status)) {
      rare->pause_until_ns = tn_now_ns() + PAUSE_NS;
    }
    return status;
  }
  tn_fd fd = rare->stash;
  struct tn_object *accepted = tn_object_new(L, call->rt, rows[row_of(call)].accepted);
  tn_address_push(L, call->rt, &peer);
  if (((const struct tn_object *)call->self)->source != listener) { /* a finalizer closed it */
    return tn_method_closed(L, call);
  }
  if (rare->stash != fd) { /* a finalizer accepted it */
    lua_settop(L, 1);
    return attempt_accept(L, call);
  }
  struct tn_source *source = tn_source_new(listener->reactor, fd);
  if (!source) {
    return TN_ENOMEM;
  }
  source->sole = true;
  tn_object_own(accepted, source);
  rare->stash = TN_NO_FD;
  if (peer.length > 0) {
    tn_source_set_peer(accepted->source, &peer);
  }
  set_options(rare->accept_options, accepted->source->fd);
  return 2;
}

/* Nobody need see the lack of descriptors, or of memory: the connection waits. The `prepare` of an
 * iterator runs once, when it is made. */
static int attempt_next(lua_State *L, struct tn_call *call) {
  tn_opening_prepare(L, call->rt);
  int top = lua_gettop(L);
  int status = attempt_accept(L, call);
  if (tn_is_exhaustion(status)) {
    lua_settop(L, top);
    call->until_ns = tn_now_ns() + PAUSE_NS;
    return TN_EAGAIN;
  }
  return status;
}

TN_METHOD_COMPILED(next)

/* clang-format off */
static const struct tn_method iterator =
  {.name = "accept", .kinds = TN_LISTENERS, .interest = TN_READABLE | TN_EXCLUSIVE,
   .flags = TN_RAISES | TN_CLOSED_ENDS, .prepare = tn_opening_prepare, .attempt = attempt_next,
   .function = call_next, .continuation = resume_next};
/* clang-format on */

static int incoming(lua_State *L) {
  return tn_iterator_new(L, &iterator);
}

/* `bind` and `connect` take a SocketAddr here; names and options are for Lua. */
/* clang-format off */
const struct tn_method tn_connection_methods[] = {
  {.name = "bind", .kinds = BINDING, .slots = 2, .flags = TN_NEVER_WAITS | TN_PRIVATE,
   .address_at = 2, .prepare = prepare_address, .attempt = attempt_bind},
  {.name = "connect", .kinds = BINDING, .interest = TN_WRITABLE, .slots = 3, .seconds_at = 3,
   .address_at = 2, .flags = TN_PRIVATE, .prepare = prepare_address, .attempt = attempt_connect},
  {.name = "listen", .kinds = LISTENING, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_listen, .attempt = attempt_listen},
  {.name = "accept", .kinds = TN_LISTENERS | TN_SOCKET, .interest = TN_READABLE | TN_EXCLUSIVE, .slots = 1,
   .flags = TN_HAS_TRY, .prepare = tn_opening_prepare, .attempt = attempt_accept},
  {.name = "incoming", .kinds = TN_LISTENERS, .function = incoming},
  {0},
};
/* clang-format on */

TN_ITERATOR_COMPILE(next, &iterator)
