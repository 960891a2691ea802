/* TcpSocket: a TCP socket before it becomes a stream or a listener. */
#ifndef TCPNET_TCP_SOCKET_H
#define TCPNET_TCP_SOCKET_H

#include "binding/method.h"

extern const struct tn_class tn_tcp_socket_class;

#endif
