/* A channel between two reactors, each on a thread of its own. Either end belongs to its reactor
 * and is touched on that thread alone; all that goes across is letters. What was sent and not yet
 * taken counts against the sender, until the receiver sends the empty letter back.
 *
 * Knows nothing of what the bytes of a message mean. */
#ifndef TCPNET_THREAD_CHANNEL_H
#define TCPNET_THREAD_CHANNEL_H

#include "core/goods.h"
#include "core/mailbox.h"

enum { TN_CHANNEL_MESSAGES = 128, TN_CHANNEL_BYTES = 1 << 20 };

struct tn_end;

/* A message, in one piece of memory. */
struct tn_post {
  struct tn_letter letter;
  struct tn_end *to;
  struct tn_post *next;
  size_t length;
  uint32_t count; /* of goods */
  char *bytes;
  struct tn_goods goods[];
};

struct tn_end {
  struct tn_reactor *reactor; /* NULL: closed */
  struct tn_queue receivers;  /* waits for a message */
  struct tn_queue senders;    /* for room */
  struct tn_queue watchers;   /* for a cancel, or the end of the other end */
  bool finished;              /* nothing more is sent from here */
  bool other_finished;        /* or from there */
  bool other_closed;
  bool cancelled;          /* the other end asks this one to end */
  struct tn_post *outcome; /* what the other end left, once it is closed; or NULL */
};

/* The end of `first` with one reference, and that of the other; or TN_ENOMEM. */
int tn_thread_channel_open(struct tn_reactor *first, struct tn_reactor *second,
                           struct tn_end *ends[2]);
struct tn_end *tn_end_retain(struct tn_end *end);
void tn_end_release(struct tn_end *end);
/* Wakes whoever waits here, drops what was not taken, tells the other end. */
void tn_end_close(struct tn_end *end);
/* The process ends: nobody is told any more. */
void tn_end_abandon(struct tn_end *end);
/* Has the other end closed, and this one's reactor not been turned since? The one thing that is
 * asked without a letter. */
bool tn_end_is_unaware(const struct tn_end *end);
/* Those of a reactor that goes. */
void tn_ends_close(struct tn_reactor *reactor);

/* NULL without memory. To be sent, or discarded with what is in it. */
struct tn_post *tn_post_new(size_t length, uint32_t goods);
void tn_post_discard(struct tn_post *post);

bool tn_end_has_room(const struct tn_end *end);
/* In two steps, so that goods are packed only if there is somebody at the other end: false where
 * there is not; else the second has to follow at once. */
bool tn_end_begin(struct tn_end *end);
void tn_end_finish(struct tn_end *end, struct tn_post *post);

/* The next message, which is then the caller's; NULL: none yet. */
struct tn_post *tn_end_take(struct tn_end *end);
/* It could not be read: the next again. */
void tn_end_put_back(struct tn_end *end, struct tn_post *post);
/* It was read. */
void tn_end_acknowledge(struct tn_end *end, struct tn_post *post);

/* Of an open end: it sends no more. */
void tn_end_finish_sending(struct tn_end *end);
/* Asks the other end to end. */
void tn_end_cancel(struct tn_end *end);
/* What the other end is to find as the outcome, once this one is closed. */
void tn_end_leave(struct tn_end *end, struct tn_post *outcome);

#endif
