/* Asynchronous methods as rows, and the one loop that tries, waits and tries again.
 *
 * A row names the method, the kinds of object that have it, what of the descriptor it waits for,
 * and an attempt that never waits: it answers the count of its results, a failure, or TN_EAGAIN.
 * Its try_ form comes from the same row. What an operation must remember between attempts lies in
 * its own stack slots, so that dropping the coroutine drops it. */
#ifndef TCPNET_METHOD_H
#define TCPNET_METHOD_H

#include "binding/runtime.h"
#include "binding/task.h"
#include "core/address.h"
#include "core/source.h"
#include "core/status.h"

enum tn_method_flags {
  TN_READS = 1,    /* takes bytes: one task at a time */
  TN_WRITES = 2,   /* sends bytes: one call after the other */
  TN_HAS_TRY = 4,  /* there is a try_ form */
  TN_ONLY_TRY = 8, /* there is no other */
  TN_NEVER_WAITS = 16,
  TN_OWN_TIMEOUT = 32, /* running out of time is for the attempt to judge */
  TN_PRIVATE = 64,     /* not in the class: for the library's Lua files */
  TN_WHOLE = 128,  /* of many system calls: nothing may come in between, on any kind of socket */
  TN_NAMES = 256,  /* an address that is no SocketAddr is for a Lua function to look up */
  TN_YIELDS = 512, /* gives way, and does nothing else */
  TN_NEEDS_BYTES = 1024, /* can do nothing while there are none */
  /* At once: to give way before would be another wait, which nobody ends, and in which nobody sees
   * who waits. */
  TN_ALWAYS_WAITS = 2048,
  TN_EMPTIES = 4096,      /* the Buffer that it writes from */
  TN_RAISES = 8192,       /* where others answer `nil, err`: an iterator */
  TN_CLOSED_ENDS = 16384, /* an iterator that has its end with its object's */
  TN_BEFORE = 32768,      /* gives way before an operation in Lua, which is tried then */
};

/* In a waiter's interest: it waits in `park`. */
enum { TN_PARKED = 128 };

struct tn_method;

/* The first upvalue of a method: one look-up for both, which is quickest for a light userdata; the
 * last one keeps the memory. */
struct tn_bound {
  struct tn_runtime *rt;
  const struct tn_method *method;
};

/* The same of an iterator, which is a method of one object: receiver and argument, the upvalues in
 * between, are checked once, when it is made. */
struct tn_iterator {
  struct tn_bound bound;
  void *self;
  int prepared;
};

/* One attempt of one call. */
struct tn_call {
  const struct tn_bound *bound;
  struct tn_runtime *rt;
  const struct tn_method *method;
  struct tn_waiter *waiter; /* NULL: not allowed to wait */
  void *self;               /* the receiver, of one of the method's kinds */
  struct tn_source *source; /* of a receiver that has one */
  bool resumed;             /* it has waited before */
  int prepared;             /* what the row's `prepare` answered; 0 once it has waited */
  int top;                  /* of the stack, when it began to wait */
  /* What to wait for, where it is not the row's interest in its own source: */
  struct tn_source *wait_source;
  int wait_interest;
  struct tn_queue *queue;
  bool external;     /* the queue is woken from outside the program */
  bool only_yield;   /* just to the back of the run queue */
  uint64_t until_ns; /* try again then at the latest */
  bool progressed;   /* the time for waiting begins anew */
  /* About the failure: */
  int status;
  const char *message;
};

/* How many system calls one attempt makes before everybody else gets a turn. */
enum { TN_CALLS_MAX = 64 };

/* To be returned by an attempt that has made so many. */
static inline int tn_call_give_way(struct tn_call *call) {
  call->only_yield = true;
  return TN_EAGAIN;
}

/* To be returned by one that moved so many bytes, its result, or failed. */
static inline int tn_call_count(lua_State *L, ptrdiff_t count) {
  if (count < 0) {
    return (int)count;
  }
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

struct tn_method {
  const char *name;
  uint64_t kinds; /* 0: a function without receiver */
  int interest;
  int slots;      /* arguments and state, receiver included, to pad to; 0: as many as are given */
  int seconds_at; /* the argument that limits the time, or 0 */
  int address_at; /* the argument that is the address, or name, which an error tells, or 0 */
  unsigned flags;
  int (*prepare)(lua_State *L, struct tn_runtime *rt); /* checks the arguments, once; a hint */
  /* Of a read: gives what lies ahead of the reader, or answers false and has touched nothing. Most
   * calls of a row that has it end here, before anything is set up that a wait would need. */
  bool (*give)(lua_State *L, struct tn_source *source, int prepared);
  int (*attempt)(lua_State *L, struct tn_call *call);
  int (*extras)(lua_State *L, struct tn_call *call); /* results behind `nil, err` */
  /* Compiled for this row alone (method_call.h); NULL: the ones for all. */
  lua_CFunction function;
  lua_KFunction continuation;
};

/* detour(name, function): the Lua function that a function of that name hands its arguments to
 * where it cannot do it alone: the address among them is none yet, or there is no task. */
int tn_set_detour(lua_State *L);
/* All that is on the stack goes there; to be returned. */
int tn_take_detour(lua_State *L, struct tn_runtime *rt, const char *prefix, const char *name);

/* Adds the rows that objects of that kind have (0: functions) to the table on top, private ones
 * left out. */
void tn_methods_add(lua_State *L, struct tn_runtime *rt, uint64_t kind,
                    const struct tn_method *rows);
/* Adds the private ones, of every kind. */
void tn_methods_add_private(lua_State *L, struct tn_runtime *rt, const struct tn_method *rows);
/* Pushes the function of one row. */
void tn_method_push(lua_State *L, struct tn_runtime *rt, const struct tn_method *row);
/* The row whose function runs, or NULL. */
const struct tn_method *tn_running_method(lua_State *L);
/* Pushes an iterator over calls of that row, which raises: the function of another row, with the
 * same receiver and one argument, which may be missing. */
int tn_iterator_new(lua_State *L, const struct tn_method *row);

#endif
