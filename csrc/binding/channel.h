/* Channels of tcpnet.sync, bounded and unbounded: messages from many senders, each to one receiver,
 * in order (Tokio's mpsc). */
#ifndef TCPNET_CHANNEL_H
#define TCPNET_CHANNEL_H

#include "binding/method.h"

/* new_channel([capacity]) → sender, receiver; without a capacity there is always room. */
int tn_channel_new(lua_State *L);
/* Makes receivers iterators. */
void tn_channel_open(lua_State *L, struct tn_runtime *rt);

extern const struct tn_class tn_sender_class, tn_unbounded_sender_class, tn_receiver_class,
    tn_channel_permit_class;
extern const struct tn_method tn_channel_methods[];

#endif
