/* UnixListener: a Unix domain socket that accepts connections. */
#ifndef TCPNET_UNIX_LISTENER_H
#define TCPNET_UNIX_LISTENER_H

#include "binding/method.h"

extern const struct tn_class tn_unix_listener_class;

#endif
