/* UnixListener: a Unix domain socket that accepts connections. */
#include "binding/unix_listener.h"

#include "binding/object.h"

static int listener_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_UNIX_LISTENER);
}

static const luaL_Reg functions[] = {{"from_fd", listener_from_fd}, {NULL, NULL}};
const struct tn_class tn_unix_listener_class = {"UnixListener", TN_UNIX_LISTENER, functions,
                                                tn_object_metamethods};
