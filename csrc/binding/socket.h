/* Socket: a socket of any domain, type and protocol, as socket2 has it; and the views of every
 * other kind that share its options. */
#ifndef TCPNET_SOCKET_BINDING_H
#define TCPNET_SOCKET_BINDING_H

#include "binding/method.h"

extern const struct tn_class tn_socket_class;
extern const struct tn_method tn_socket_methods[];

#endif
