/* TcpSocket: a TCP socket before it becomes a stream or a listener. */
#include "binding/tcp_socket.h"

#include "binding/object.h"

static int socket_new_v4(lua_State *L) {
  return tn_object_open(L, TN_TCP_SOCKET, AF_INET, SOCK_STREAM, IPPROTO_TCP, "new_v4");
}

static int socket_new_v6(lua_State *L) {
  return tn_object_open(L, TN_TCP_SOCKET, AF_INET6, SOCK_STREAM, IPPROTO_TCP, "new_v6");
}

static int socket_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_TCP_SOCKET);
}

static const luaL_Reg functions[] = {{"new_v4", socket_new_v4},
                                     {"new_v6", socket_new_v6},
                                     {"from_fd", socket_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_tcp_socket_class = {"TcpSocket", TN_TCP_SOCKET, functions,
                                             tn_object_metamethods};
