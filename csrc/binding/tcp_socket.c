/* TcpSocket: a TCP socket before it becomes a stream or a listener. */
#include "binding/tcp_socket.h"

#include "binding/address.h"
#include "binding/error.h"
#include "binding/object.h"

#include <limits.h>

static int open_socket(lua_State *L, int domain, const char *op) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, op);
  struct tn_object *object = tn_object_new(L, rt, TN_TCP_SOCKET, NULL);
  int fd = tn_socket_open(domain, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) {
    return tn_fail(L, rt, fd, op, NULL);
  }
  object->source = tn_source_take(L, rt, fd);
  return 1;
}

static int socket_new_v4(lua_State *L) {
  return open_socket(L, AF_INET, "new_v4");
}

static int socket_new_v6(lua_State *L) {
  return open_socket(L, AF_INET6, "new_v6");
}

static int socket_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_TCP_SOCKET, tn_check_tcp_fd);
}

/* --- methods --- */

static int prepare_address(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_address(L, 2);
  return 0;
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

static int connect_step(struct tn_source *source, const struct tn_address *address) {
  if (source->connecting) {
    return tn_socket_connected(source->fd);
  }
  int status = tn_socket_connect(source->fd, &address->any, address->length);
  source->connecting = status == -EINPROGRESS;
  return source->connecting ? TN_EAGAIN : status;
}

static int attempt_connect(lua_State *L, struct tn_call *call) {
  int status = connect_step(call->source, tn_address_at(L, 2));
  if (status < 0) {
    return status;
  }
  call->source->connecting = false;
  tn_source_set_peer(call->source, tn_address_at(L, 2));
  tn_object_move(L, call->rt, TN_TCP_STREAM, call->self, "connect");
  return 1;
}

static int prepare_listen(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  lua_pushinteger(L, tn_opt_integer(L, 2, "backlog", 0, INT_MAX, 1024));
  lua_replace(L, 2);
  return 0;
}

static int attempt_listen(lua_State *L, struct tn_call *call) {
  int status = tn_socket_listen(call->source->fd, (int)lua_tointeger(L, 2));
  if (status < 0) {
    return status;
  }
  tn_object_move(L, call->rt, TN_TCP_LISTENER, call->self, "listen");
  return 1;
}

static const luaL_Reg functions[] = {{"new_v4", socket_new_v4},
                                     {"new_v6", socket_new_v6},
                                     {"from_fd", socket_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_tcp_socket_class = {"TcpSocket", TN_TCP_SOCKET, functions,
                                             tn_object_metamethods};

/* `bind` and `connect` take a SocketAddr here; names and options are for Lua. */
const struct tn_method tn_tcp_socket_methods[] = {
    {.name = "bind",
     .kinds = TN_TCP_SOCKET,
     .slots = 2,
     .flags = TN_NEVER_WAITS | TN_PRIVATE | TN_TO_ADDRESS,
     .prepare = prepare_address,
     .attempt = attempt_bind},
    {.name = "connect",
     .kinds = TN_TCP_SOCKET,
     .interest = TN_WRITABLE,
     .slots = 3,
     .seconds_at = 3,
     .flags = TN_PRIVATE | TN_TO_ADDRESS,
     .prepare = prepare_address,
     .attempt = attempt_connect},
    {.name = "listen",
     .kinds = TN_TCP_SOCKET,
     .slots = 2,
     .flags = TN_NEVER_WAITS,
     .prepare = prepare_listen,
     .attempt = attempt_listen},
    {0},
};
