/* Writing bytes: the methods of everything that has a writing side. */
#ifndef TCPNET_OUTPUT_H
#define TCPNET_OUTPUT_H

#include "binding/method.h"

extern const struct tn_method tn_output_methods[];

#endif
