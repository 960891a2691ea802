/* Messages: send and recv in all their forms, and what recvmsg returns. For every socket that is
 * used message by message. */
#ifndef TCPNET_MESSAGE_BINDING_H
#define TCPNET_MESSAGE_BINDING_H

#include "binding/method.h"

extern const struct tn_class tn_message_class;
extern const struct tn_method tn_message_methods[];

#endif
