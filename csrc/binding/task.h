/* Tasks: coroutines that the reactor resumes. This is the only place that yields and the only place
 * that resumes.
 *
 * A task's life: ready (spawned, or woken) → running → waiting → ready … → done, failed or
 * cancelled. While it lives the list of anchors holds it, it holds its thread, and the thread's
 * stack holds whatever its operation needs: dropping the coroutine drops the operation. */
#ifndef TCPNET_TASK_H
#define TCPNET_TASK_H

#include "binding/runtime.h"

#include <stddef.h>

/* A coroutine that runs inside the task, on behalf of its body or of another such:
 * tcpnet.coroutine, timeout. */
struct tn_inner {
  lua_State *thread;
  int anchor;           /* 0: not yet, it has never waited */
  bool stolen;          /* somebody else resumed it while it waited */
  bool begins;          /* of a timeout: it has not given way or waited yet */
  uint64_t deadline_ns; /* of a timeout; 0: none */
};

enum tn_task_state { TN_TASK_ALIVE, TN_TASK_DONE, TN_TASK_FAILED, TN_TASK_CANCELLED };

struct tn_join_set;

struct tn_task {
  struct tn_header header;
  /* What a wait touches: */
  struct tn_waiter waiter;
  lua_State *thread; /* NULL before its first run, and once it has ended */
  uint16_t depth;    /* of the nest */
  bool started : 1;
  bool on_stack : 1; /* its thread runs, or something that it runs does */
  bool waits : 1;    /* its yield is a wait, not one of its own */
  bool woken : 1;    /* a wait may go on: since then it has entered or closed no coroutine */
  bool failed : 1;
  bool dying : 1;   /* a cancel closes it */
  bool closing : 1; /* nothing may wait: variables are being closed by a cancel or a timeout */
  bool stuck : 1;   /* nothing may wait: below an inner coroutine stands what cannot yield */
  bool cancel_pending : 1;
  bool in_run : 1; /* spawned during `run`: ends with it */
  bool joined : 1; /* somebody has seen how it ended */
  bool many : 1;   /* more than one inner coroutine stood in the nest, which is a list since */
  bool noted : 1;  /* it has a table of notes */
  bool stolen : 1; /* its own coroutine, as one of the nest */
  uint8_t state : 2;
  union {
    int arguments;      /* user values, until it starts */
    int wake_arguments; /* of unpark, on the innermost thread */
    int results;        /* once it has ended */
  };
  /* The rest: */
  union { /* the inner coroutines, innermost last */
    struct tn_inner one;
    struct {
      struct tn_inner *list;
      int anchor; /* of it */
      int capacity;
    } more;
  } nest;
  int anchor; /* of the thread, if that is from the pool */
  int slot;   /* its own, among the anchors */
  struct tn_queue joiners;
  struct tn_join_set *set; /* takes the task when it ends, or NULL */
};

/* The inner coroutines, innermost last. */
static inline struct tn_inner *tn_task_nest(struct tn_task *task) {
  return task->many ? task->nest.more.list : &task->nest.one;
}

/* The task that waits, or NULL for a blocking wait. */
static inline struct tn_task *tn_task_of(struct tn_waiter *waiter) {
  return waiter->in_task ? TN_CONTAINER(waiter, struct tn_task, waiter) : NULL;
}

TN_INLINE lua_State *tn_task_innermost(struct tn_task *task) {
  return task->depth > 0 ? tn_task_nest(task)[task->depth - 1].thread : task->thread;
}

/* The innermost coroutine is over, or leaves the task. */
static inline struct tn_thread tn_nest_pop(struct tn_task *task) {
  struct tn_inner inner = tn_task_nest(task)[--task->depth];
  return (struct tn_thread){inner.thread, inner.anchor};
}

/* Raises in a finalizer: below it may stand a call that counts on the reactor not to turn. */
void tn_finalizer_check(lua_State *L, const char *operation);

/* --- waiting: what method.c is made of --- */

/* Who would wait here: the running task, or a blocking caller. Raises where nobody can; NULL for
 * `operation`: what the user called. */
TN_COLD struct tn_waiter *tn_task_enter_slowly(lua_State *L, struct tn_runtime *rt,
                                               const char *operation);
static inline struct tn_waiter *tn_task_enter(lua_State *L, struct tn_runtime *rt,
                                              const char *operation) {
  struct tn_task *task = rt->current;
  return task && !tn_runtime_gone(rt) && tn_task_innermost(task) == L && !task->stuck &&
                 lua_isyieldable(L)
             ? &task->waiter
             : tn_task_enter_slowly(L, rt, operation);
}
/* The same after a wait: raises where somebody else resumed the coroutine. */
TN_COLD int tn_task_resumed_by_stranger(lua_State *L, struct tn_runtime *rt);
static inline struct tn_waiter *tn_task_resumed(lua_State *L, struct tn_runtime *rt) {
  struct tn_task *task = rt->current;
  if (!task || !task->woken || tn_task_innermost(task) != L) {
    tn_task_resumed_by_stranger(L, rt);
  }
  return &task->waiter;
}
/* Settles until when the waiter may wait. TN_CANCELED: not at all, its variables are closing. */
int tn_task_limit(struct tn_waiter *waiter, uint64_t until_ns);
/* The same for one that only gives way, before its operation is tried: not by a timeout that
 * begins, whose function is tried before the clock is looked at. */
int tn_task_limit_before(struct tn_waiter *waiter);
/* Gives way until the waiter is woken. In a task this does not return: `continuation` goes on. */
void tn_task_suspend(lua_State *L, struct tn_runtime *rt, struct tn_waiter *waiter,
                     lua_KContext context, lua_KFunction continuation);
/* Yields values of the coroutine's own, or passes on the wait of an inner one. */
int tn_task_yield(lua_State *L, int count, lua_KContext context, lua_KFunction continuation);
int tn_thread_resume(lua_State *thread, lua_State *from, int arguments, int *results);
/* Closes a thread's pending variables; the status, with the error on the thread's stack. */
int tn_thread_close(lua_State *thread, lua_State *from);

/* --- life --- */

/* A thread from the pool, or a new one; and back, or away with it. */
struct tn_thread tn_thread_take(lua_State *L, struct tn_runtime *rt);
void tn_thread_give(lua_State *L, struct tn_runtime *rt, struct tn_thread thread);
void tn_thread_drop(lua_State *L, struct tn_runtime *rt, struct tn_thread thread);
/* A mark on top of an inner coroutine that waits in its task: others must leave it alone. It is
 * taken off before the coroutine goes on. */
void tn_thread_mark(lua_State *thread);
void tn_thread_unmark(lua_State *thread);
bool tn_thread_marked(lua_State *thread);

/* The function and its arguments on top are replaced by a task, which is garbage until it begins.
 */
struct tn_task *tn_task_new(lua_State *L, struct tn_runtime *rt, int arguments);
/* The task on top, which stays there: it needs no memory but a place among the anchors. */
void tn_task_begin(lua_State *L, struct tn_runtime *rt, struct tn_task *task);
/* Both. */
struct tn_task *tn_task_spawn(lua_State *L, struct tn_runtime *rt, int arguments);
/* Lets a ready task run until it waits or ends. */
void tn_task_run(lua_State *L, struct tn_runtime *rt, struct tn_task *task);
/* How many values `unpark` left on that thread, if it is the one that waits. */
int tn_task_take_arguments(struct tn_task *task, lua_State *thread);
/* Was it still alive? */
bool tn_task_cancel(lua_State *L, struct tn_runtime *rt, struct tn_task *task);
/* Cancels that could not be done where they were asked for. */
void tn_task_cancel_doomed(lua_State *L, struct tn_runtime *rt);
void tn_task_push(lua_State *L, struct tn_runtime *rt, const struct tn_task *task);
/* Closes the inner coroutines beyond `depth`, innermost first. */
void tn_task_close_inner(lua_State *L, struct tn_runtime *rt, struct tn_task *task, int depth);

#endif
