/* UdpSocket: datagrams over IP. What it sends and receives is in message_input.c, message_output.c
 * and batch.c. */
#include "binding/udp_socket.h"

#include "binding/object.h"

static int socket_new_v4(lua_State *L) {
  return tn_object_open(L, TN_UDP_SOCKET, AF_INET, SOCK_DGRAM, IPPROTO_UDP, "new_v4");
}

static int socket_new_v6(lua_State *L) {
  return tn_object_open(L, TN_UDP_SOCKET, AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "new_v6");
}

static int socket_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_UDP_SOCKET);
}

static const luaL_Reg functions[] = {{"new_v4", socket_new_v4},
                                     {"new_v6", socket_new_v6},
                                     {"from_fd", socket_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_udp_socket_class = {"UdpSocket", TN_UDP_SOCKET, functions,
                                             tn_object_metamethods};
