/* send_many and recv_many: several datagrams in one system call. */
#ifndef TCPNET_BATCH_H
#define TCPNET_BATCH_H

#include "binding/method.h"

extern const struct tn_method tn_batch_methods[];

#endif
