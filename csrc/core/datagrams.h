/* Datagrams that the kernel cuts when they are sent, and joins when they come (udp(7), UDP_SEGMENT
 * and UDP_GRO).
 *
 * Datagrams of one size for one address go out as one message, wherever the system can cut it. What
 * came joined is kept here, in order, and given out one datagram at a time to whoever receives
 * next. */
#ifndef TCPNET_DATAGRAMS_H
#define TCPNET_DATAGRAMS_H

#include "core/address.h"
#include "core/source.h"

struct tn_datagrams;

enum {
  TN_DATAGRAMS_MAX = 16,   /* messages in one receive */
  TN_DATAGRAMS_LIKELY = 0, /* as many as the last receives found, and one more */
};

struct tn_datagram {
  const char *bytes; /* until the next receive */
  size_t length;
  struct tn_address from;
};

/* The socket's options may have changed: they are asked for again. */
void tn_datagrams_forget(struct tn_source *source);
/* Sends as many of the messages, of one slice each and these in one array, as one call takes: how
 * many. On the wire they are the same, cut by the kernel or not. */
int tn_datagrams_send(struct tn_source *source, struct tn_message *messages, int count);

/* Must receiving go through here: is UDP_GRO on, or is something kept? */
bool tn_datagrams_joined(struct tn_source *source);
bool tn_datagrams_kept(const struct tn_source *source);
/* Receives up to so many messages, joined ones among them, where nothing is kept: how many. */
int tn_datagrams_receive(struct tn_source *source, int count);
/* The first that is kept; false: there is none. And takes it away. */
bool tn_datagrams_first(const struct tn_source *source, struct tn_datagram *datagram);
void tn_datagrams_take(struct tn_source *source);
void tn_datagrams_free(struct tn_datagrams *datagrams);

#endif
