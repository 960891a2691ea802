/* TcpListener: accepts connections. */
#ifndef TCPNET_TCP_LISTENER_H
#define TCPNET_TCP_LISTENER_H

#include "binding/method.h"

extern const struct tn_class tn_tcp_listener_class;

#endif
