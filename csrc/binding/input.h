/* Reading bytes: the methods of everything that has a reading side. */
#ifndef TCPNET_INPUT_H
#define TCPNET_INPUT_H

#include "binding/method.h"

extern const struct tn_method tn_input_methods[];

#endif
