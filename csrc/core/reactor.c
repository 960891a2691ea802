/* The loop, the ready list and the timers: see reactor.h. Sources live in source.c.
 *
 * Timers are a heap of our own, and lazy: a deadline that moves later, or goes
 * away, leaves its place in the heap alone until that place comes up. Deadlines are looked at after
 * the kernel has reported, so that what has arrived always beats what has run out. */
#include "core/reactor_private.h"

#include "core/crew.h"
#include "core/mailbox.h"
#include "core/resolver.h"
#include "core/scratch.h"
#include "core/source.h"
#include "core/status.h"
#include "core/thread_channel.h"
#include "core/watch.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  MS = 1000000,
  WASTED_SPINS_MAX = 16,
  SPIN_EVERY = 64,
  RECHECK_NS = 1000000000,
  DISMISS_NS = 1000000000 /* so long threads have to leave at the end of the program */
};

uint64_t tn_now_ns(void) {
  return uv_hrtime();
}

uint64_t tn_deadline_after(double seconds) {
  /* a century is for ever, and keeps the sum far from overflow */
  if (!(seconds < 3.2e9)) {
    return 0;
  }
  return tn_now_ns() + (uint64_t)ceil(seconds * 1e9);
}

void *tn_grow_by_fd(void *array, size_t *length, tn_fd fd, size_t size) {
  enum { LEAST = 64 };
  size_t count = *length ? *length : LEAST;
  while (count <= (size_t)fd) {
    count *= 2;
  }
  if (count == *length) {
    return array;
  }
  char *larger = realloc(array, count * size);
  if (larger) {
    memset(larger + *length * size, 0, (count - *length) * size);
    *length = count;
  }
  return larger;
}

/* --- the heap of deadlines --- */

static void heap_set(struct tn_reactor *reactor, size_t at, struct tn_timer timer) {
  reactor->heap[at] = timer;
  timer.waiter->timer = (uint32_t)at + 1;
}

static void heap_up(struct tn_reactor *reactor, size_t at, struct tn_timer timer) {
  while (at > 0 && reactor->heap[(at - 1) / 2].due_ns > timer.due_ns) {
    heap_set(reactor, at, reactor->heap[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  heap_set(reactor, at, timer);
}

static void heap_down(struct tn_reactor *reactor, size_t at, struct tn_timer timer) {
  for (;;) {
    size_t child = 2 * at + 1;
    if (child + 1 < reactor->heap_length &&
        reactor->heap[child + 1].due_ns < reactor->heap[child].due_ns) {
      child++;
    }
    if (child >= reactor->heap_length || reactor->heap[child].due_ns >= timer.due_ns) {
      break;
    }
    heap_set(reactor, at, reactor->heap[child]);
    at = child;
  }
  heap_set(reactor, at, timer);
}

static void heap_remove(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  size_t at = waiter->timer - 1;
  waiter->timer = 0;
  struct tn_timer last = reactor->heap[--reactor->heap_length];
  if (at == reactor->heap_length) {
    return;
  }
  if (at > 0 && reactor->heap[(at - 1) / 2].due_ns > last.due_ns) {
    heap_up(reactor, at, last);
  } else {
    heap_down(reactor, at, last);
  }
}

static bool heap_grow(struct tn_reactor *reactor) {
  if (reactor->heap_length < reactor->heap_capacity) {
    return true;
  }
  size_t capacity = reactor->heap_capacity ? reactor->heap_capacity * 2 : 64;
  struct tn_timer *heap = realloc(reactor->heap, capacity * sizeof *heap);
  if (!heap) {
    return false;
  }
  reactor->heap = heap;
  reactor->heap_capacity = capacity;
  return true;
}

/* Sees to it that the heap looks at the waiter no later than its deadline. */
TN_APART int timer_set(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  struct tn_timer timer = {waiter->deadline_ns, waiter};
  if (waiter->timer == 0) {
    if (!heap_grow(reactor)) {
      return TN_ENOMEM;
    }
    heap_up(reactor, reactor->heap_length++, timer);
  } else if (reactor->heap[waiter->timer - 1].due_ns > timer.due_ns) {
    heap_up(reactor, waiter->timer - 1, timer);
  }
  return 0;
}

/* Brings the top of the heap up to date: what does not wait any more, or waits longer, is no reason
 * to wake up. */
static void heap_settle(struct tn_reactor *reactor) {
  while (reactor->heap_length > 0) {
    struct tn_timer top = reactor->heap[0];
    if (!top.waiter->parked || top.waiter->deadline_ns == 0) {
      heap_remove(reactor, top.waiter);
    } else if (top.waiter->deadline_ns > top.due_ns) {
      heap_down(reactor, 0, (struct tn_timer){top.waiter->deadline_ns, top.waiter});
    } else {
      break;
    }
  }
}

static void timers_expire(struct tn_reactor *reactor) {
  uint64_t now = reactor->now_ns;
  while (reactor->heap_length > 0 && reactor->heap[0].due_ns <= now) {
    struct tn_waiter *waiter = reactor->heap[0].waiter;
    if (waiter->parked && waiter->deadline_ns != 0 && waiter->deadline_ns <= now) {
      heap_remove(reactor, waiter);
      tn_wake(reactor, waiter, TN_TIMEOUT);
    } else {
      heap_settle(reactor);
    }
  }
}

/* The first deadline, or `limit_ns` (0: none) if that comes before. */
static uint64_t first_due(const struct tn_reactor *reactor, uint64_t limit_ns) {
  uint64_t due = reactor->heap_length > 0 ? reactor->heap[0].due_ns : UINT64_MAX;
  return limit_ns != 0 && limit_ns < due ? limit_ns : due;
}

int tn_ms_until(uint64_t due_ns) {
  uint64_t now = tn_now_ns();
  uint64_t ms = due_ns > now ? (due_ns - now + MS - 1) / MS : 0;
  return due_ns == UINT64_MAX ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

/* --- park and wake --- */

int tn_park(struct tn_reactor *reactor, struct tn_waiter *waiter, struct tn_queue *queue,
            bool external) {
  if (waiter->deadline_ns != 0) {
    int status = timer_set(reactor, waiter);
    if (status < 0) {
      return status;
    }
    external = true;
    reactor->metrics.timers++;
  }
  if (queue) {
    tn_queue_push(queue, waiter);
  }
  waiter->parked = true;
  waiter->reason = 0;
  waiter->external = external;
  reactor->expected += external;
  return 0;
}

TN_INLINE void unpark(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  tn_queue_remove(waiter);
  if (waiter->parked) {
    waiter->parked = false;
    reactor->expected -= waiter->external;
    reactor->metrics.timers -= waiter->deadline_ns != 0;
  }
}

void tn_make_ready(struct tn_reactor *reactor, struct tn_waiter *waiter, int reason) {
  waiter->reason = reason;
  tn_queue_push(&reactor->ready, waiter);
  reactor->ready_length++;
}

void tn_wake(struct tn_reactor *reactor, struct tn_waiter *waiter, int reason) {
  if (!waiter->parked) {
    return;
  }
  unpark(reactor, waiter);
  tn_make_ready(reactor, waiter, reason);
  reactor->metrics.wakes++;
  if (reactor->turning) {
    uv_stop(&reactor->loop);
  }
}

void tn_wake_all(struct tn_reactor *reactor, struct tn_queue *queue, int reason) {
  while (queue->head) {
    tn_wake(reactor, queue->head, reason);
  }
}

void tn_claim_release(struct tn_reactor *reactor, struct tn_claim *claim) {
  struct tn_waiter *next = claim->queue.head;
  tn_claim_drop(claim);
  if (next) { /* handed over, so that nobody who comes later gets in between */
    tn_wake(reactor, next, 0);
    tn_claim_take(claim, next);
  }
}

void tn_claims_release(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  while (waiter->claims) {
    tn_claim_release(reactor, waiter->claims);
  }
}

void tn_revoke(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  waiter->granted = false;
  waiter->stake->revoke(reactor, waiter->stake);
}

void tn_revoke_all(struct tn_reactor *reactor, const struct tn_stake *stake) {
  for (struct tn_waiter *waiter = reactor->ready.head; waiter; waiter = waiter->next) {
    if (waiter->granted && waiter->stake == stake) {
      tn_revoke(reactor, waiter);
    }
  }
}

void tn_forget(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  if (waiter->queue == &reactor->ready) {
    reactor->ready_length--;
  }
  unpark(reactor, waiter);
  tn_claims_release(reactor, waiter);
  if (waiter->granted) {
    tn_revoke(reactor, waiter);
  }
  if (waiter->timer != 0) {
    heap_remove(reactor, waiter);
  }
}

struct tn_waiter *tn_reactor_next_ready(struct tn_reactor *reactor) {
  struct tn_waiter *waiter = tn_queue_pop(&reactor->ready);
  reactor->ready_length -= waiter != NULL;
  return waiter;
}

struct tn_waiter *tn_reactor_peek_ready(const struct tn_reactor *reactor) {
  return reactor->ready.head;
}

size_t tn_reactor_ready_length(const struct tn_reactor *reactor) {
  return reactor->ready_length;
}

bool tn_reactor_expects(const struct tn_reactor *reactor) {
  return reactor->expected > 0;
}

/* --- turning --- */

void tn_reactor_run_uv(struct tn_reactor *reactor, bool block) {
  reactor->turning = true;
  uv_run(&reactor->loop, block ? UV_RUN_ONCE : UV_RUN_NOWAIT);
  reactor->turning = false;
}

void tn_reactor_recheck(struct tn_reactor *reactor) {
  tn_sources_bury(reactor); /* those in there are looked at, too */
  if (reactor->poller->recheck) {
    reactor->poller->recheck(reactor);
  }
  reactor->recheck_ns = tn_now_ns() + RECHECK_NS;
}

/* A child shares its parent's epoll and must leave it alone. */
static void turn(struct tn_reactor *reactor, bool block, uint64_t limit_ns) {
  if (tn_reactor_forked(reactor)) {
    return;
  }
  tn_sources_bury(reactor);
  reactor->turn++;
  reactor->poller->turn(reactor, block, first_due(reactor, limit_ns));
  reactor->now_ns = tn_now_ns();
  timers_expire(reactor);
  if (reactor->now_ns >= reactor->recheck_ns) { /* a program that is never idle */
    tn_reactor_recheck(reactor);
  }
}

/* Where it never paid lately, it is tried only now and then. */
static bool spin_may_pay(const struct tn_reactor *reactor) {
  return reactor->spin_ns != 0 &&
         (reactor->wasted_spins < WASTED_SPINS_MAX || reactor->turn % SPIN_EVERY == 0);
}

/* Polls without sleeping until something happens, an interrupt too; did it? */
static bool spin(struct tn_reactor *reactor, uint64_t limit_ns) {
  uint64_t until = tn_now_ns() + reactor->spin_ns;
  do {
    turn(reactor, false, 0);
    if (reactor->ready.head) {
      reactor->wasted_spins = 0;
      return true;
    }
    if (reactor->interrupted || (limit_ns != 0 && reactor->now_ns >= limit_ns)) {
      return true;
    }
  } while (reactor->now_ns < until);
  reactor->wasted_spins++;
  return false;
}

void tn_reactor_turn(struct tn_reactor *reactor, enum tn_turn mode, uint64_t limit_ns) {
  bool block = mode == TN_TURN_BLOCK;
  if (!block || !spin_may_pay(reactor) || !spin(reactor, limit_ns)) {
    turn(reactor, block, block ? limit_ns : 0);
  }
}

void tn_reactor_set_spin(struct tn_reactor *reactor, uint64_t spin_ns) {
  reactor->spin_ns = spin_ns;
}

void tn_reactor_set_splice(struct tn_reactor *reactor, bool allowed) {
  reactor->no_splice = !allowed;
}

int tn_reactor_backend_fd(const struct tn_reactor *reactor) {
  return reactor->poller->backend(reactor);
}

double tn_reactor_backend_timeout(struct tn_reactor *reactor) {
  if (reactor->ready.head || reactor->graveyard) {
    return 0;
  }
  heap_settle(reactor);
  int timeout_ms = reactor->poller->sleep_ms(reactor, first_due(reactor, 0));
  return timeout_ms < 0 ? -1 : timeout_ms / 1e3;
}

/* --- SIGINT --- */

static void on_interrupt(uv_signal_t *signal, int number) {
  (void)number;
  struct tn_reactor *reactor = signal->data;
  reactor->interrupted = true;
  uv_stop(signal->loop);
}

/* Where libuv listens already it does so for another thread, and its handler is nobody's to keep.
 */
int tn_reactor_hear_interrupt(struct tn_reactor *reactor, uv_signal_t *signal,
                              uv_signal_cb callback) {
  if (!reactor->interrupt) {
    reactor->interrupt = tn_interrupt_save();
  }
  int status = uv_signal_start(signal, callback, SIGINT);
  if (reactor->interrupt && tn_interrupt_stands(reactor->interrupt)) {
    tn_interrupt_drop(reactor->interrupt);
    reactor->interrupt = NULL;
  }
  return status;
}

void tn_reactor_give_interrupt_back(struct tn_reactor *reactor) {
  if (reactor->interrupt && tn_interrupt_restore(reactor->interrupt)) {
    reactor->interrupt = NULL;
  }
}

/* Not where another thread's Signal has taken it. */
void tn_reactor_watch_interrupt(struct tn_reactor *reactor) {
  if (reactor->no_interrupt || reactor->interrupts_taken ||
      uv_is_active((uv_handle_t *)&reactor->signal)) {
    return;
  }
  tn_reactor_give_interrupt_back(reactor);
  if (!reactor->interrupt && (reactor->interrupt = tn_interrupt_save())) {
    tn_reactor_hear_interrupt(reactor, &reactor->signal, on_interrupt);
    if (!reactor->interrupt) {
      uv_signal_stop(&reactor->signal);
    }
  }
}

void tn_reactor_ignore_interrupt(struct tn_reactor *reactor) {
  reactor->no_interrupt = true;
}

bool tn_reactor_unwatch_interrupt(struct tn_reactor *reactor) {
  if (uv_is_active((uv_handle_t *)&reactor->signal)) {
    uv_signal_stop(&reactor->signal);
    tn_reactor_give_interrupt_back(reactor);
  }
  bool interrupted = reactor->interrupted;
  reactor->interrupted = false;
  return interrupted;
}

/* --- life --- */

/* The system's selector, unless somebody asks for libuv's handles or there is none. */
static int open_poller(struct tn_reactor *reactor) {
  const char *wanted = getenv("TCPNET_POLLER");
  if (!wanted || strcmp(wanted, tn_poller_uv.name) != 0) {
    reactor->poller = &tn_poller_own;
    int status = reactor->poller->open(reactor);
    if (status != -ENOTSUP) {
      return status;
    }
  }
  reactor->poller = &tn_poller_uv;
  return reactor->poller->open(reactor);
}

/* libuv ends the process where its first loop finds no pipe for signals. A loop takes as many
 * descriptors as two pipes. */
static bool has_descriptors(int pipes) {
  tn_fd fds[2];
  if (pipes == 0) {
    return true;
  }
  if (tn_pipe_open(fds) < 0) {
    return false;
  }
  bool enough = has_descriptors(pipes - 1);
  tn_socket_close(fds[0]);
  tn_socket_close(fds[1]);
  return enough;
}

/* Out of descriptors in the middle libuv 1.44 leaves the first one open; before it has that, the
 * field says nothing. */
static int loop_begin(uv_loop_t *loop) {
  int status = uv_loop_init(loop);
  if ((status == UV_EMFILE || status == UV_ENFILE) && loop->backend_fd > 0) {
    tn_socket_close(loop->backend_fd);
  }
  return status;
}

static int open_loop(struct tn_reactor *reactor) {
  int status = has_descriptors(2) ? loop_begin(&reactor->loop) : -EMFILE;
  if (status < 0) {
    return status;
  }
  reactor->loop.data = reactor;
  uv_signal_init(&reactor->loop, &reactor->signal);
  reactor->signal.data = reactor;
  status = open_poller(reactor);
  if (status < 0) {
    uv_close((uv_handle_t *)&reactor->signal, NULL);
    uv_run(&reactor->loop, UV_RUN_DEFAULT);
    uv_loop_close(&reactor->loop);
  }
  return status;
}

struct tn_reactor *tn_reactor_new(int *status) {
  struct tn_reactor *reactor = calloc(1, sizeof *reactor);
  *status = TN_ENOMEM;
  if (!reactor) {
    return NULL;
  }
  tn_standard_fds_fill();
  reactor->scratch = malloc(TN_SCRATCH_SIZE);
  reactor->fork_mark = tn_fork_mark_new();
  reactor->now_ns = tn_now_ns();
  reactor->recheck_ns = reactor->now_ns + RECHECK_NS;
  if (!reactor->scratch || !reactor->fork_mark || (*status = open_loop(reactor)) < 0) {
    if (reactor->fork_mark) {
      tn_fork_mark_free(reactor->fork_mark);
    }
    free(reactor->scratch);
    free(reactor);
    return NULL;
  }
  return reactor;
}

static void free_memory(struct tn_reactor *reactor) {
  tn_sources_free(reactor);
  tn_fork_mark_free(reactor->fork_mark);
  free(reactor->heap);
  free(reactor->scratch);
  free(reactor->batch);
  free(reactor->owners);
  free(reactor);
}

void tn_reactor_free(struct tn_reactor *reactor) {
  bool forked = tn_reactor_forked(reactor);
  tn_reactor_scratch(reactor); /* ends the loan */
  tn_sources_bury(reactor);
  tn_sources_orphan(reactor);
  /* A child shares the parent's epoll: its loop is left as it is, and goes with the process. */
  if (!forked) {
    tn_reactor_unwatch_interrupt(reactor);
    uv_close((uv_handle_t *)&reactor->signal, NULL);
    tn_mailbox_close(reactor);
    tn_watches_close(reactor);
    tn_interrupt_drop(reactor->interrupt);
    reactor->poller->close(reactor);
    uv_run(&reactor->loop, UV_RUN_DEFAULT);
    tn_ends_close(reactor);
    tn_crew_dismiss(reactor, DISMISS_NS);
    tn_mailbox_free(reactor);
    tn_resolver_free(reactor);
    if (uv_loop_close(&reactor->loop) == 0) {
      free_memory(reactor);
    }
  }
}

const volatile unsigned char *tn_reactor_fork_mark(const struct tn_reactor *reactor) {
  return reactor->fork_mark;
}

bool tn_reactor_forked(const struct tn_reactor *reactor) {
  return *reactor->fork_mark == 0;
}

struct tn_metrics *tn_reactor_metrics(struct tn_reactor *reactor) {
  reactor->metrics.turns = reactor->turn;
  reactor->metrics.poller = reactor->poller->name;
  return &reactor->metrics;
}

uint64_t tn_reactor_wakes(const struct tn_reactor *reactor) {
  return reactor->metrics.wakes;
}

uint64_t tn_reactor_time_ns(const struct tn_reactor *reactor) {
  return reactor->now_ns;
}
