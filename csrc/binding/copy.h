/* copy(reader, writer): bytes from one stream to another without going through Lua. */
#ifndef TCPNET_COPY_H
#define TCPNET_COPY_H

#include "binding/method.h"

extern const struct tn_method tn_copy_methods[];

#endif
