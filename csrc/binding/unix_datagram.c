/* UnixDatagram: datagrams between programs of one machine. What it sends and receives is in
 * message_input.c, message_output.c and batch.c. */
#include "binding/unix_datagram.h"

#include "binding/object.h"

static int datagram_unbound(lua_State *L) {
  return tn_object_open(L, TN_UNIX_DATAGRAM, AF_UNIX, SOCK_DGRAM, 0, "unbound");
}

static int datagram_pair(lua_State *L) {
  return tn_object_open_pair(L, TN_UNIX_DATAGRAM, SOCK_DGRAM);
}

static int datagram_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_UNIX_DATAGRAM);
}

static const luaL_Reg functions[] = {{"unbound", datagram_unbound},
                                     {"pair", datagram_pair},
                                     {"from_fd", datagram_from_fd},
                                     {NULL, NULL}};
const struct tn_class tn_unix_datagram_class = {"UnixDatagram", TN_UNIX_DATAGRAM, functions,
                                                tn_object_metamethods};
