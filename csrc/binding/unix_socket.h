/* UnixSocket: a Unix domain socket before it becomes a stream, a listener or datagrams. */
#ifndef TCPNET_UNIX_SOCKET_H
#define TCPNET_UNIX_SOCKET_H

#include "binding/method.h"

extern const struct tn_class tn_unix_socket_class;
extern const struct tn_method tn_unix_socket_methods[];

#endif
