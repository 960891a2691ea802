/* TcpStream: a TCP connection. What it shares with other streams is in files of their own. */
#include "binding/tcp_stream.h"

#include "binding/object.h"

static int stream_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_TCP_STREAM);
}

static int attempt_reset(lua_State *L, struct tn_call *call) {
  int status = tn_socket_reset(call->source->fd);
  call->source = NULL;
  tn_object_close(L, call->self, false);
  if (status < 0) {
    return status;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"from_fd", stream_from_fd}, {NULL, NULL}};
const struct tn_class tn_tcp_stream_class = {"TcpStream", TN_TCP_STREAM, functions,
                                             tn_object_metamethods};

const struct tn_method tn_tcp_stream_methods[] = {
    {.name = "reset",
     .kinds = TN_TCP_STREAM,
     .slots = 1,
     .flags = TN_NEVER_WAITS,
     .attempt = attempt_reset},
    {0},
};
