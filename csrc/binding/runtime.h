/* What one Lua state has of tcpnet: its reactor, the task that runs, and the places in the
 * registry. A userdata made before all others, so that it is finalized after them. */
#ifndef TCPNET_RUNTIME_H
#define TCPNET_RUNTIME_H

#include "binding/anchor.h"
#include "binding/class.h"
#include "core/reactor.h"

#include <lua.h>

#if defined(LUA_VERSION_RELEASE_NUM) && LUA_VERSION_RELEASE_NUM < 50404
#error "tcpnet needs Lua 5.4.4 or later: before, lua_gc does not tell what runs in a finalizer"
#endif

struct tn_task;

/* Lua calls a finalizer wherever it makes a value: in the middle of any call. In there lua_gc
 * refuses, since 5.4.4. */
static inline bool tn_in_finalizer(lua_State *L) {
  return lua_gc(L, LUA_GCCOUNT) < 0;
}

enum {
  TN_BUDGET = 128,           /* operations in a row before a task gives way */
  TN_OPERATION_BYTES = 4096, /* so many bytes count as one operation more */
  TN_POOL_MAX = 64,          /* more kept threads only slow the collector down */
  TN_ADDRESSES_KEPT = 256,
  TN_FAILURES_MAX = 64, /* that `run` remembers */
};

/* A thread that a task or a timeout runs in, and where it is kept alive. */
struct tn_thread {
  lua_State *state;
  int anchor; /* in the runtime's `anchors`; 0: nowhere */
};

/* A SocketAddr, and where it is in the registry; NULL: none yet. */
struct tn_kept_address {
  const struct tn_address *address;
  int place;
};

struct tn_runtime {
  struct tn_header header;
  struct tn_reactor *reactor;              /* NULL once the state closes */
  const volatile unsigned char *fork_mark; /* 0 in a fork, and once the state closes */
  const struct tn_metrics *metrics;
  lua_State *main;
  lua_State *driver; /* what drives runs on it */
  struct tn_task *current;
  struct tn_waiter blocking; /* whoever waits outside every task */
  int64_t budget;            /* see tn_budget_spend */
  int kill_depth;
  struct tn_queue doomed;             /* tasks to cancel as soon as that is possible */
  bool driving;                       /* somebody turns the reactor */
  bool running;                       /* that somebody is `run` */
  size_t live;                        /* tasks that have not ended */
  struct tn_thread pool[TN_POOL_MAX]; /* to use again, anchored all the time */
  int pool_length;
  struct tn_anchors anchors; /* the one root of all that waits: tasks, and what those need */
  double collected_kb;       /* Lua's memory after the last idle collection */
  uint64_t idle_due_ns;      /* the end of the period that may turn out idle; 0: none */
  uint64_t idle_wakes;       /* wakes when it began */
  uint64_t chores_after_ns;  /* nothing of what an idle program does before */
  double spin;
  lua_Integer buffer_size;
  /* in the registry */
  int detours; /* name → Lua function that does what the one in C cannot */
  struct tn_kept_address addresses[TN_ADDRESSES_KEPT]; /* of peers, made lately, by hash */
  int sets;                                            /* JoinSet by address, weak */
  int failures; /* tasks that failed during `run` and were not joined, in order */
  int on_task_error;
  int handler; /* the message handler under every task */
  int again;   /* the one error of a would-block */
  int metatables[TN_KINDS];
};

/* The budget is in bytes, which the metrics count already: it is where they will be when the task
 * has to give way, and comes nearer with each operation. */
static inline int64_t tn_bytes_moved(const struct tn_runtime *rt) {
  return (int64_t)(rt->metrics->bytes_read + rt->metrics->bytes_written);
}

static inline void tn_budget_renew(struct tn_runtime *rt) {
  rt->budget = tn_bytes_moved(rt) + (int64_t)(TN_BUDGET + 1) * TN_OPERATION_BYTES - 1;
}

/* Does the task have to give way? */
static inline bool tn_budget_spent(const struct tn_runtime *rt) {
  return rt->budget < tn_bytes_moved(rt);
}

/* One operation begins; does the task have to give way before it? */
static inline bool tn_budget_spend(struct tn_runtime *rt) {
  rt->budget -= TN_OPERATION_BYTES;
  return tn_budget_spent(rt);
}

/* The operation that has begun was so many; where nothing came of it, it was one all the same. */
static inline void tn_budget_spend_more(struct tn_runtime *rt, lua_Integer operations) {
  if (operations > 1) {
    rt->budget -= (operations - 1) * TN_OPERATION_BYTES;
  }
}

/* Every C function of the module has the runtime as its first upvalue. */
static inline struct tn_runtime *tn_runtime_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* Its state closes, or the process is a fork: nothing of this runtime may be used. */
static inline bool tn_runtime_gone(const struct tn_runtime *rt) {
  return *rt->fork_mark == 0;
}
/* Raises where that is so. */
void tn_runtime_check(lua_State *L, const struct tn_runtime *rt, const char *operation);

/* Makes it, with its reactor: kept until the state closes. */
struct tn_runtime *tn_runtime_new(lua_State *L);
/* Where there can be no reactor, the status is left in the registry, under that address. */
extern const char tn_runtime_failure[];

/* metrics() → table; configure([settings]) → the settings as they are then. */
int tn_metrics_table(lua_State *L);
int tn_configure(lua_State *L);

/* Opens the module, in this state or in another. */
LUAMOD_API int luaopen_tcpnet_core(lua_State *L);

#endif
