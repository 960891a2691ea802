/* UnixDatagram: datagrams between programs of one machine. */
#ifndef TCPNET_UNIX_DATAGRAM_H
#define TCPNET_UNIX_DATAGRAM_H

#include "binding/method.h"

extern const struct tn_class tn_unix_datagram_class;

#endif
