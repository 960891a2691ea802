/* UdpSocket: datagrams over IP. */
#ifndef TCPNET_UDP_SOCKET_H
#define TCPNET_UDP_SOCKET_H

#include "binding/method.h"

extern const struct tn_class tn_udp_socket_class;

#endif
