/* Letters for a reactor, from any thread: the one way into a loop from outside it. Whoever posts
 * and the reactor share the mailbox, which goes with the last of them; a letter that comes too late
 * is told so. */
#ifndef TCPNET_MAILBOX_H
#define TCPNET_MAILBOX_H

#include "core/reactor.h"

struct tn_mailbox;

/* At the head of whatever is sent. */
struct tn_letter {
  struct tn_letter *next;
  /* On the reactor's thread, in the order of posting. `reactor` NULL: it is gone, and this is some
   * thread or other; what the letter holds is to be freed. */
  void (*deliver)(struct tn_letter *letter, struct tn_reactor *reactor);
};

/* The reactor's own, with a reference for the caller; NULL without memory or descriptors. */
struct tn_mailbox *tn_mailbox_of(struct tn_reactor *reactor);
void tn_mailbox_release(struct tn_mailbox *mailbox);

void tn_mailbox_post(struct tn_mailbox *mailbox, struct tn_letter *letter);
/* The same in two steps, for a letter that is finished only when it is sure to arrive: false where
 * the reactor is gone; else the second has to follow at once. */
bool tn_mailbox_begin(struct tn_mailbox *mailbox);
void tn_mailbox_finish(struct tn_mailbox *mailbox, struct tn_letter *letter);

/* Delivers what has come, for who cannot wait for the next turn. */
void tn_mailbox_look(struct tn_reactor *reactor);

/* The reactor goes. To be followed by a turn of the loop, then by the second. */
void tn_mailbox_close(struct tn_reactor *reactor);
void tn_mailbox_free(struct tn_reactor *reactor);

#endif
