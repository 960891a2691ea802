/* TcpSocket: a TCP socket before it becomes a stream or a listener. */
#include "binding/tcp_socket.h"

#include "binding/error.h"
#include "binding/object.h"

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

static const luaL_Reg functions[] = {{"new_v4", socket_new_v4},
                                     {"new_v6", socket_new_v6},
                                     {"from_fd", socket_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_tcp_socket_class = {"TcpSocket", TN_TCP_SOCKET, functions,
                                             tn_object_metamethods};
