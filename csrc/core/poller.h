/* How a reactor hears from the kernel: by a selector of its own, edge-triggered, with libuv's
 * descriptor a member of it, where the system has one (poller_own.c); by libuv's poll handles
 * elsewhere and on request (poller_uv.c). Nothing above the reactor knows which. */
#ifndef TCPNET_POLLER_H
#define TCPNET_POLLER_H

#include "core/reactor.h"
#include "platform/platform.h"

struct tn_source;

struct tn_poller {
  const char *name;
  /* 0, or a failure that leaves nothing behind. */
  int (*open)(struct tn_reactor *reactor);
  /* Its sources have been forgotten; what libuv still has to let go of goes with the loop. */
  void (*close)(struct tn_reactor *reactor);
  /* Listens for `interest` as well; the source's `armed` says what it listens for now. */
  int (*watch)(struct tn_source *source, int interest);
  /* The descriptor is about to close (`closes`), or to be somebody else's. */
  void (*forget)(struct tn_source *source, bool closes);
  /* Was anything missed? Costs a call for each source that is waited for; NULL: nothing can be. */
  void (*recheck)(struct tn_reactor *reactor);
  /* Lets the kernel report once; with `block` sleeps until it does or `due_ns` is reached
   * (UINT64_MAX: never). */
  void (*turn)(struct tn_reactor *reactor, bool block, uint64_t due_ns);
  /* For a foreign loop: what to watch, and the milliseconds that it may sleep (-1: for ever). */
  tn_fd (*backend)(const struct tn_reactor *reactor);
  int (*sleep_ms)(struct tn_reactor *reactor, uint64_t due_ns);
};

extern const struct tn_poller tn_poller_own;
extern const struct tn_poller tn_poller_uv;

/* --- what a poller calls --- */

enum { TN_ALL_INTERESTS = TN_READABLE | TN_WRITABLE | TN_PRIORITY | TN_READ_CLOSED };

/* What those want that wait now. */
int tn_source_wanted(const struct tn_source *source);
/* An event of its error queue, which will be told again if nobody reads that. */
void tn_source_note_noise(struct tn_source *source);
/* Runs libuv, without sleeping or until something happens. */
void tn_reactor_run_uv(struct tn_reactor *reactor, bool block);
/* Milliseconds until then, rounded up, INT_MAX at most; -1 for UINT64_MAX. */
int tn_ms_until(uint64_t due_ns);

#endif
