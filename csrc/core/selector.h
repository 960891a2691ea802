/* A selector that several objects share: the Poll, its registries and wakers, and every source that
 * is registered with it. It closes with the Poll; its memory goes with the last of them. */
#ifndef TCPNET_SELECTOR_H
#define TCPNET_SELECTOR_H

#include "platform/platform.h"

struct tn_selector {
  tn_fd fd; /* TN_NO_FD: the Poll is closed */
  unsigned references;
  bool has_waker;
};

/* With one reference, around the descriptor; NULL without memory. */
struct tn_selector *tn_selector_new(tn_fd fd);
struct tn_selector *tn_selector_retain(struct tn_selector *selector);
void tn_selector_release(struct tn_selector *selector);

#endif
