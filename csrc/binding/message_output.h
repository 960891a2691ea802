/* Sending messages, in every form but several at once: the methods of every socket that is used
 * message by message. */
#ifndef TCPNET_MESSAGE_OUTPUT_H
#define TCPNET_MESSAGE_OUTPUT_H

#include "binding/method.h"

extern const struct tn_method tn_message_output_methods[];

#endif
