/* UnixSocket: a Unix domain socket before it becomes a stream, a listener or datagrams. */
#include "binding/unix_socket.h"

#include "binding/object.h"

static int socket_new_stream(lua_State *L) {
  return tn_object_open(L, TN_UNIX_SOCKET, AF_UNIX, SOCK_STREAM, 0, "new_stream");
}

static int socket_new_datagram(lua_State *L) {
  return tn_object_open(L, TN_UNIX_SOCKET, AF_UNIX, SOCK_DGRAM, 0, "new_datagram");
}

static int socket_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_UNIX_SOCKET);
}

static int attempt_datagram(lua_State *L, struct tn_call *call) {
  if (tn_source_is_stream(call->source)) {
    call->message = "cannot be called on a stream socket";
    return TN_EINVAL;
  }
  return tn_object_become(L, call, TN_UNIX_DATAGRAM);
}

static const luaL_Reg functions[] = {{"new_stream", socket_new_stream},
                                     {"new_datagram", socket_new_datagram},
                                     {"from_fd", socket_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_unix_socket_class = {"UnixSocket", TN_UNIX_SOCKET, functions,
                                              tn_object_metamethods};

const struct tn_method tn_unix_socket_methods[] = {
    {.name = "datagram",
     .kinds = TN_UNIX_SOCKET,
     .slots = 1,
     .flags = TN_NEVER_WAITS,
     .attempt = attempt_datagram},
    {0},
};
