/* What is parked, and where.
 *
 * A waiter is one suspended thing: a task, or the caller of a blocking wait. While it waits it is
 * linked into the queue of whatever will wake it (a source, a lookup, another task); woken, it
 * moves to the ready list, which is such a queue too. So it stands in one queue at most, and
 * forgetting it is unlinking it.
 *
 * A claim is exclusive use that an operation keeps while it waits: the reading side of a stream,
 * its writing side, a Buffer on its way out. The waiter knows its claims, so whatever ends an
 * operation, a cancel included, frees them.
 *
 * Knows nothing of libuv: the reactor wakes, this only links. */
#ifndef TCPNET_WAITER_H
#define TCPNET_WAITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tn_reactor;
struct tn_waiter;

/* One pointer, for every task and every source has some: the last one is the first's `prev`. */
struct tn_queue {
  struct tn_waiter *head;
};

struct tn_claim {
  struct tn_waiter *holder;
  struct tn_claim *next_held;
  struct tn_queue queue;
};

/* What an operation waits for in something that grants it: a place, a message. What is granted is
 * the waiter's at once; where its task ends before it runs, it is revoked. */
struct tn_stake {
  void (*revoke)(struct tn_reactor *reactor, struct tn_stake *stake);
};

struct tn_waiter {
  struct tn_queue *queue;  /* where it is linked, or NULL */
  struct tn_waiter *prev;  /* of the first: the last */
  struct tn_waiter *next;  /* of the last: NULL */
  struct tn_claim *claims; /* what the operation keeps to itself */
  struct tn_stake *stake;  /* where it waits for a grant */
  const void *subject;     /* whose operation it is, of those that share a source */
  uint64_t deadline_ns;    /* when the wait ends at the latest; 0: never */
  uint64_t operation_ns;   /* the same for the whole operation, which may wait several times */
  uint32_t timer;          /* its place in the reactor's heap, from 1; 0: none */
  int reason;              /* 0, or the status that ended the wait */
  int top;                 /* of the operation's Lua stack; nothing of core's */
  uint8_t interest;        /* what of a source it waits for, bits of enum tn_ready */
  bool parked;
  bool external;    /* something outside the program can wake it */
  bool granted : 1; /* and has not taken it yet */
  bool in_task : 1; /* a task's; not so: a blocking wait */
  bool waited : 1;  /* the operation has, and was woken in vain */
};

static inline void tn_queue_push(struct tn_queue *queue, struct tn_waiter *waiter) {
  struct tn_waiter *head = queue->head;
  waiter->queue = queue;
  waiter->next = NULL;
  if (head) {
    waiter->prev = head->prev;
    head->prev->next = waiter;
    head->prev = waiter;
  } else {
    waiter->prev = waiter;
    queue->head = waiter;
  }
}

static inline void tn_queue_remove(struct tn_waiter *waiter) {
  struct tn_queue *queue = waiter->queue;
  if (queue) {
    struct tn_waiter *head = queue->head;
    *(waiter == head ? &queue->head : &waiter->prev->next) = waiter->next;
    (waiter->next ? waiter->next : head)->prev = waiter->prev;
    waiter->queue = NULL;
  }
}

/* Moves before those directly in front of it that have begun to wait since it was woken. */
static inline void tn_queue_rise(struct tn_waiter *waiter) {
  struct tn_queue *queue = waiter->queue;
  struct tn_waiter *next = waiter;
  while (next != queue->head && !next->prev->waited) {
    next = next->prev;
  }
  if (next != waiter) {
    tn_queue_remove(waiter);
    waiter->queue = queue;
    waiter->next = next;
    waiter->prev = next->prev;
    *(next == queue->head ? &queue->head : &next->prev->next) = waiter;
    next->prev = waiter;
  }
}

/* The first leaves; NULL: there is none. */
static inline struct tn_waiter *tn_queue_pop(struct tn_queue *queue) {
  struct tn_waiter *waiter = queue->head;
  if (waiter) {
    queue->head = waiter->next;
    if (waiter->next) {
      waiter->next->prev = waiter->prev;
    }
    waiter->queue = NULL;
  }
  return waiter;
}

static inline void tn_claim_take(struct tn_claim *claim, struct tn_waiter *waiter) {
  if (claim->holder != waiter) {
    claim->holder = waiter;
    claim->next_held = waiter->claims;
    waiter->claims = claim;
  }
}

/* Is it another operation's? */
static inline bool tn_claim_taken(const struct tn_claim *claim, const struct tn_waiter *waiter) {
  return claim->holder != NULL && claim->holder != waiter;
}

/* The holder has no other claim, and nobody stands in line for it: it is over. */
static inline bool tn_claim_end_one(struct tn_waiter *holder) {
  struct tn_claim *claim = holder->claims;
  if (claim->next_held || claim->queue.head) {
    return false;
  }
  claim->holder = NULL;
  holder->claims = NULL;
  return true;
}

/* What is claimed goes away: its holder forgets it. */
static inline void tn_claim_drop(struct tn_claim *claim) {
  if (claim->holder) {
    struct tn_claim **link = &claim->holder->claims;
    while (*link && *link != claim) {
      link = &(*link)->next_held;
    }
    *link = claim->next_held;
    claim->holder = NULL;
  }
}

#endif
