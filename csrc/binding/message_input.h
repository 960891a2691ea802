/* Receiving messages, in every form but several at once: the methods of every socket that is used
 * message by message. */
#ifndef TCPNET_MESSAGE_INPUT_H
#define TCPNET_MESSAGE_INPUT_H

#include "binding/method.h"

/* Has the sender of a message that came for the call's object an address? None on a stream; one
 * that says so where a Unix socket has no name. */
TN_INLINE bool tn_sender_has_address(const struct tn_call *call, struct tn_address *sender) {
  if (sender->length == 0 && tn_kind_of(call->self) == TN_UNIX_DATAGRAM) {
    tn_address_parse_local("", 0, sender);
  }
  return sender->length > 0;
}

extern const struct tn_method tn_message_input_methods[];

#endif
