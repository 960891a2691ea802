/* TcpListener: a TCP socket that accepts connections. */
#include "binding/tcp_listener.h"

#include "binding/object.h"

static int listener_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_TCP_LISTENER);
}

static const luaL_Reg functions[] = {{"from_fd", listener_from_fd}, {NULL, NULL}};
const struct tn_class tn_tcp_listener_class = {"TcpListener", TN_TCP_LISTENER, functions,
                                               tn_object_metamethods};
