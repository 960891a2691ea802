/* The loop: one per Lua state. It owns the libuv loop, the ready list, the timers and the memory of
 * all sources. Nothing here resumes anything: callbacks of libuv end in tn_wake(), and whoever
 * turned the reactor then drains the ready list. */
#ifndef TCPNET_REACTOR_H
#define TCPNET_REACTOR_H

#include "core/waiter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tn_source;
struct tn_reactor;

/* Sorts of source, which whoever makes them tells apart; 0: not told yet. */
enum { TN_SORTS = 32 };

/* Counters since the start, and what there is now. */
struct tn_metrics {
  uint64_t turns;
  uint64_t wakes;
  uint64_t bytes_read;
  uint64_t bytes_written;
  size_t sources;
  size_t handles; /* descriptors that the kernel is asked about, or libuv has not let go of */
  size_t timers;
  const char *poller; /* what asks it: "epoll" or "libuv" */
  size_t watches;     /* signals and children, those that are closing included */
  uint64_t opened[TN_SORTS];
  uint64_t closed[TN_SORTS];
};

/* NULL without memory or descriptors: the status says which. */
struct tn_reactor *tn_reactor_new(int *status);
/* Closes every source and waits until libuv has let go of them. Objects may outlive it. */
void tn_reactor_free(struct tn_reactor *reactor);

/* Made in another process: nothing of it may be used here. */
bool tn_reactor_forked(const struct tn_reactor *reactor);
/* 0 in such a process; for who asks often. */
const volatile unsigned char *tn_reactor_fork_mark(const struct tn_reactor *reactor);
struct tn_metrics *tn_reactor_metrics(struct tn_reactor *reactor);
/* Waiters woken so far; and the clock as of the last turn, which costs no system call. */
uint64_t tn_reactor_wakes(const struct tn_reactor *reactor);
uint64_t tn_reactor_time_ns(const struct tn_reactor *reactor);
/* Monotonic nanoseconds: the one clock. */
uint64_t tn_now_ns(void);
/* A deadline so many seconds from now; what lies beyond the clock's range is no deadline (0). */
uint64_t tn_deadline_after(double seconds);

/* The waiter begins to wait in `queue` (NULL: only its deadline or a tn_wake by name ends it).
 * `external`: the queue's owner is woken from outside the program. Returns 0, or TN_ENOMEM: no
 * place for the deadline. */
int tn_park(struct tn_reactor *reactor, struct tn_waiter *waiter, struct tn_queue *queue,
            bool external);
/* Ends the wait, once; a waiter that does not wait is left alone. */
void tn_wake(struct tn_reactor *reactor, struct tn_waiter *waiter, int reason);
void tn_wake_all(struct tn_reactor *reactor, struct tn_queue *queue, int reason);
/* To the back of the ready list without having waited. */
void tn_make_ready(struct tn_reactor *reactor, struct tn_waiter *waiter, int reason);
/* Ends whatever the waiter is in: nothing will wake it. Frees its claims and its timer. */
void tn_forget(struct tn_reactor *reactor, struct tn_waiter *waiter);
/* What is claimed is free for the next in line. */
void tn_claim_release(struct tn_reactor *reactor, struct tn_claim *claim);
/* The operation is over: so are its claims. */
void tn_claims_release(struct tn_reactor *reactor, struct tn_waiter *waiter);

/* Takes back what was granted to the waiter; to all those that were woken, in that stake. */
void tn_revoke(struct tn_reactor *reactor, struct tn_waiter *waiter);
void tn_revoke_all(struct tn_reactor *reactor, const struct tn_stake *stake);

struct tn_waiter *tn_reactor_next_ready(struct tn_reactor *reactor);
/* The one after that, which stays there. */
struct tn_waiter *tn_reactor_peek_ready(const struct tn_reactor *reactor);
size_t tn_reactor_ready_length(const struct tn_reactor *reactor);
/* Can anything outside the program still wake a waiter? */
bool tn_reactor_expects(const struct tn_reactor *reactor);

enum tn_turn { TN_TURN_POLL, TN_TURN_BLOCK };

/* Lets the kernel report once, then ends the waits whose time is up. TN_TURN_BLOCK sleeps until
 * something happens or `limit_ns` (0: none) is reached. */
void tn_reactor_turn(struct tn_reactor *reactor, enum tn_turn mode, uint64_t limit_ns);
/* Polls without sleeping for so long before a blocking turn sleeps. */
void tn_reactor_set_spin(struct tn_reactor *reactor, uint64_t spin_ns);
/* For an idle program: sees to it that nothing was missed. */
void tn_reactor_recheck(struct tn_reactor *reactor);
/* For a foreign loop: the descriptor to watch, and the seconds until the next timer (negative:
 * none). */
int tn_reactor_backend_fd(const struct tn_reactor *reactor);
double tn_reactor_backend_timeout(struct tn_reactor *reactor);

/* May a copy move bytes inside the kernel? */
void tn_reactor_set_splice(struct tn_reactor *reactor, bool allowed);

/* Listens for SIGINT where the host program handles it, until told to leave. */
void tn_reactor_watch_interrupt(struct tn_reactor *reactor);
/* It is not for this reactor: it runs on another thread than the host program. */
void tn_reactor_ignore_interrupt(struct tn_reactor *reactor);
/* Puts the host's handler back; was there an interrupt? */
bool tn_reactor_unwatch_interrupt(struct tn_reactor *reactor);

#endif
