/* UnixStream: a connection between programs of one machine. */
#ifndef TCPNET_UNIX_STREAM_H
#define TCPNET_UNIX_STREAM_H

#include "binding/method.h"

extern const struct tn_class tn_unix_stream_class;
extern const struct tn_method tn_unix_stream_methods[];

#endif
