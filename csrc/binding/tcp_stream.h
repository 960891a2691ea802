/* TcpStream: a connection; and its halves. */
#ifndef TCPNET_TCP_STREAM_H
#define TCPNET_TCP_STREAM_H

#include "binding/method.h"

extern const struct tn_class tn_tcp_stream_class;
extern const struct tn_method tn_tcp_stream_methods[];

#endif
