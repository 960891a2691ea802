/* lookup(host, port, family) → array of SocketAddr: the resolver for Lua. */
#ifndef TCPNET_LOOKUP_H
#define TCPNET_LOOKUP_H

#include "binding/method.h"

extern const struct tn_class tn_lookup_class;
extern const struct tn_method tn_lookup_methods[];

#endif
