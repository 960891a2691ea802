/* The reactor's insides, for the files of core that live in its loop. */
#ifndef TCPNET_REACTOR_PRIVATE_H
#define TCPNET_REACTOR_PRIVATE_H

#include "core/list.h"
#include "core/poller.h"
#include "platform/platform.h"

#include <uv.h>

struct tn_timer {
  uint64_t due_ns;
  struct tn_waiter *waiter;
};

/* Who has a descriptor in the selector. */
struct tn_place {
  struct tn_source *source;
};

struct tn_reactor {
  uv_loop_t loop;
  const struct tn_poller *poller;
  uv_signal_t signal;
  struct tn_queue ready;
  size_t ready_length;
  size_t expected; /* parked waiters that the world outside can wake */
  struct tn_timer *heap;
  size_t heap_length;
  size_t heap_capacity;
  uint64_t now_ns;     /* as of the last turn */
  uint64_t recheck_ns; /* when the next tn_reactor_recheck is due */
  uint64_t spin_ns;
  unsigned wasted_spins; /* in a row */
  uint64_t turn;
  bool turning;   /* inside uv_run */
  bool no_splice; /* for tests: read and write serve for every copy */
  bool interrupted;
  bool no_interrupt;              /* SIGINT is another thread's */
  struct tn_interrupt *interrupt; /* the host's handler, to be put back when nobody listens */
  int interrupts_taken;           /* by Signal objects: SIGINT is theirs */
  struct tn_mailbox *mailbox;     /* made when another thread may write first */
  struct tn_resolver *resolver;   /* made at the first lookup */
  struct tn_member *watches;      /* signals and children */
  struct tn_member *ends;         /* of channels to other threads */
  struct tn_crew *crew;           /* made with the first worker */
  struct tn_member *sources;
  struct tn_member *free_sources;
  struct tn_member *graveyard; /* released by finalizers, and not among the others meanwhile */
  size_t free_count;
  uint16_t *owners; /* by descriptor: how many sources have that number */
  size_t owners_length;
  struct tn_source *unclaimed; /* whose bytes are on their way into Lua */
  size_t unclaimed_length;     /* so many of them lie in `scratch` */
  char *scratch;
  struct tn_loan *loan; /* of `scratch`, or NULL */
  char *batch;          /* NULL until it is asked for */
  int batch_count;
  volatile unsigned char *fork_mark;
  struct tn_metrics metrics;
  /* poller_own.c */
  tn_fd selector;
  struct tn_place *places; /* by descriptor */
  size_t place_count;
  uint32_t generation;
  /* poller_uv.c */
  uv_timer_t timer;  /* stands for all deadlines */
  uint64_t armed_ns; /* what it is set to; UINT64_MAX: not */
};

/* The array of `length` items of that size, or a larger one in its place that has an item for the
 * descriptor, what is new all 0; NULL without memory, and it is as it was. */
void *tn_grow_by_fd(void *array, size_t *length, tn_fd fd, size_t size);

/* Has a handle listen for SIGINT, and keeps the host's handler, if it has one. */
int tn_reactor_hear_interrupt(struct tn_reactor *reactor, uv_signal_t *signal,
                              uv_signal_cb callback);
/* That comes back where libuv listens no more, for another thread either. */
void tn_reactor_give_interrupt_back(struct tn_reactor *reactor);

#endif
