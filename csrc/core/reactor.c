/* The loop, the ready list and the timers: see reactor.h. Sources live in source.c.
 *
 * Timers are a heap of our own over one uv_timer_t, and lazy: a deadline that moves later, or goes
 * away, leaves its place in the heap alone until that place comes up. Deadlines are looked at after
 * the kernel has reported, so that what has arrived always beats what has run out. */
#include "core/reactor_private.h"

#include "core/resolver.h"
#include "core/source.h"
#include "core/status.h"
#include "core/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MS = 1000000 };

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
static int timer_set(struct tn_reactor *reactor, struct tn_waiter *waiter) {
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
  uint64_t now = reactor->heap_length > 0 ? tn_now_ns() : 0;
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

static void on_timer(uv_timer_t *timer) {
  struct tn_reactor *reactor = timer->loop->data;
  reactor->armed_ns = UINT64_MAX;
  /* libuv 1.44 runs timers before it polls, and would sleep after this one */
  uv_stop(timer->loop);
}

/* One uv_timer_t stands for the top of the heap. It is only ever set earlier: firing too early is
 * harmless. */
static void timer_arm(struct tn_reactor *reactor, uint64_t limit_ns) {
  uint64_t due = reactor->heap_length > 0 ? reactor->heap[0].due_ns : UINT64_MAX;
  if (limit_ns != 0 && limit_ns < due) {
    due = limit_ns;
  }
  if (due >= reactor->armed_ns) {
    return;
  }
  uv_update_time(&reactor->loop);
  uint64_t now_ms = uv_now(&reactor->loop);
  uint64_t due_ms = (due + MS - 1) / MS;
  uv_timer_start(&reactor->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
  reactor->armed_ns = due;
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

static void unpark(struct tn_reactor *reactor, struct tn_waiter *waiter) {
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

void tn_claims_release(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  while (waiter->claims) {
    struct tn_claim *claim = waiter->claims;
    struct tn_waiter *next = claim->queue.head;
    waiter->claims = claim->next_held;
    claim->holder = NULL;
    /* handed over, so that nobody who comes later gets in between */
    if (next) {
      tn_wake(reactor, next, 0);
      tn_claim_take(claim, next);
    }
  }
}

void tn_forget(struct tn_reactor *reactor, struct tn_waiter *waiter) {
  if (waiter->queue == &reactor->ready) {
    reactor->ready_length--;
  }
  unpark(reactor, waiter);
  tn_claims_release(reactor, waiter);
  if (waiter->timer != 0) {
    heap_remove(reactor, waiter);
  }
}

struct tn_waiter *tn_reactor_next_ready(struct tn_reactor *reactor) {
  struct tn_waiter *waiter = reactor->ready.head;
  if (waiter) {
    tn_queue_remove(waiter);
    reactor->ready_length--;
  }
  return waiter;
}

size_t tn_reactor_ready_length(const struct tn_reactor *reactor) {
  return reactor->ready_length;
}

bool tn_reactor_expects(const struct tn_reactor *reactor) {
  return reactor->expected > 0;
}

/* --- turning --- */

/* A child shares its parent's epoll and must leave it alone. */
static void uv_turn(struct tn_reactor *reactor, uv_run_mode mode) {
  if (tn_reactor_forked(reactor)) {
    return;
  }
  tn_sources_bury(reactor);
  reactor->turn++;
  reactor->turning = true;
  uv_run(&reactor->loop, mode);
  reactor->turning = false;
  timers_expire(reactor);
}

void tn_reactor_turn(struct tn_reactor *reactor, enum tn_turn mode, uint64_t limit_ns) {
  timer_arm(reactor, mode == TN_TURN_BLOCK ? limit_ns : 0);
  if (mode == TN_TURN_POLL) {
    uv_turn(reactor, UV_RUN_NOWAIT);
    return;
  }
  if (reactor->spin_ns != 0) {
    uint64_t until = tn_now_ns() + reactor->spin_ns;
    do {
      uv_turn(reactor, UV_RUN_NOWAIT);
      if (reactor->ready.head || (limit_ns != 0 && tn_now_ns() >= limit_ns)) {
        return;
      }
    } while (tn_now_ns() < until);
    timer_arm(reactor, limit_ns);
  }
  uv_turn(reactor, UV_RUN_ONCE);
}

void tn_reactor_set_spin(struct tn_reactor *reactor, uint64_t spin_ns) {
  reactor->spin_ns = spin_ns;
}

void tn_reactor_set_splice(struct tn_reactor *reactor, bool allowed) {
  reactor->no_splice = !allowed;
}

int tn_reactor_backend_fd(const struct tn_reactor *reactor) {
  return uv_backend_fd(&reactor->loop);
}

double tn_reactor_backend_timeout(struct tn_reactor *reactor) {
  if (reactor->ready.head) {
    return 0;
  }
  /* exact, for a foreign loop must not wake up for nothing */
  heap_settle(reactor);
  uv_timer_stop(&reactor->timer);
  reactor->armed_ns = UINT64_MAX;
  timer_arm(reactor, 0);
  uv_update_time(&reactor->loop);
  /* libuv says 0, too, where it has nothing at all to wait for */
  int timeout_ms = uv_loop_alive(&reactor->loop) ? uv_backend_timeout(&reactor->loop) : -1;
  return timeout_ms < 0 ? -1 : timeout_ms / 1e3;
}

/* --- SIGINT --- */

static void on_interrupt(uv_signal_t *signal, int number) {
  (void)number;
  struct tn_reactor *reactor = signal->data;
  reactor->interrupted = true;
  uv_stop(signal->loop);
}

void tn_reactor_watch_interrupt(struct tn_reactor *reactor) {
  if (reactor->interrupts_taken || reactor->interrupt ||
      !(reactor->interrupt = tn_interrupt_save())) {
    return;
  }
  uv_signal_start(&reactor->signal, on_interrupt, SIGINT);
}

bool tn_reactor_unwatch_interrupt(struct tn_reactor *reactor) {
  if (reactor->interrupt) {
    uv_signal_stop(&reactor->signal);
    tn_interrupt_restore(reactor->interrupt);
    reactor->interrupt = NULL;
  }
  bool interrupted = reactor->interrupted;
  reactor->interrupted = false;
  return interrupted;
}

/* --- life --- */

/* Out of descriptors in the middle libuv 1.44 leaves the first one open; before it has that, the
 * field says nothing. */
static bool loop_begin(uv_loop_t *loop) {
  int status = uv_loop_init(loop);
  if ((status == UV_EMFILE || status == UV_ENFILE) && loop->backend_fd > 0) {
    tn_socket_close(loop->backend_fd);
  }
  return status == 0;
}

struct tn_reactor *tn_reactor_new(void) {
  struct tn_reactor *reactor = calloc(1, sizeof *reactor);
  if (!reactor) {
    return NULL;
  }
  reactor->scratch = malloc(TN_SCRATCH_SIZE);
  reactor->fork_mark = tn_fork_mark_new();
  reactor->armed_ns = UINT64_MAX;
  if (!reactor->scratch || !reactor->fork_mark || !loop_begin(&reactor->loop)) {
    if (reactor->fork_mark) {
      tn_fork_mark_free(reactor->fork_mark);
    }
    free(reactor->scratch);
    free(reactor);
    return NULL;
  }
  reactor->loop.data = reactor;
  uv_timer_init(&reactor->loop, &reactor->timer);
  uv_signal_init(&reactor->loop, &reactor->signal);
  reactor->signal.data = reactor;
  return reactor;
}

static void free_memory(struct tn_reactor *reactor) {
  tn_sources_free(reactor);
  tn_fork_mark_free(reactor->fork_mark);
  free(reactor->heap);
  free(reactor->scratch);
  free(reactor->batch);
  free(reactor);
}

void tn_reactor_free(struct tn_reactor *reactor) {
  bool forked = tn_reactor_forked(reactor);
  tn_sources_bury(reactor);
  tn_sources_orphan(reactor);
  /* A child shares the parent's epoll: its loop is left as it is, and goes with the process. */
  if (!forked) {
    tn_reactor_unwatch_interrupt(reactor);
    uv_close((uv_handle_t *)&reactor->timer, NULL);
    uv_close((uv_handle_t *)&reactor->signal, NULL);
    tn_resolver_close(reactor);
    tn_watches_close(reactor);
    uv_run(&reactor->loop, UV_RUN_DEFAULT);
    tn_resolver_free(reactor);
    if (uv_loop_close(&reactor->loop) == 0) {
      free_memory(reactor);
    }
  }
}

bool tn_reactor_forked(const struct tn_reactor *reactor) {
  return *reactor->fork_mark == 0;
}

static void on_handle(uv_handle_t *handle, void *count) {
  *(size_t *)count += handle->type == UV_POLL;
}

struct tn_metrics *tn_reactor_metrics(struct tn_reactor *reactor) {
  reactor->metrics.handles = 0;
  uv_walk(&reactor->loop, on_handle, &reactor->metrics.handles);
  reactor->metrics.turns = reactor->turn;
  return &reactor->metrics;
}

uint64_t tn_reactor_wakes(const struct tn_reactor *reactor) {
  return reactor->metrics.wakes;
}

uint64_t tn_reactor_time_ns(const struct tn_reactor *reactor) {
  return uv_now(&reactor->loop) * MS;
}
