/* How sockets meet: bind, connect, listen, accept, for every class that has them. */
#ifndef TCPNET_CONNECTION_H
#define TCPNET_CONNECTION_H

#include "binding/method.h"

extern const struct tn_method tn_connection_methods[];

#endif
