/* What ends a stream of any kind, and its halves. */
#ifndef TCPNET_STREAM_H
#define TCPNET_STREAM_H

#include "binding/method.h"

extern const struct tn_class tn_half_classes[]; /* ends with an empty row */
extern const struct tn_method tn_stream_methods[];

#endif
