/* The loop around the reactor: see scheduler.h. It never ends because libuv has nothing to do, only
 * because what it was asked for is there; and it never sleeps where nothing could wake it. */
#include "binding/scheduler.h"

#include "binding/join_set.h"
#include "binding/task_outcome.h"
#include "binding/waits.h"

/* What one caller drives for: a waiter to be woken, or a task to end. */
struct drive {
  struct tn_runtime *rt;
  lua_State *caller;
  struct tn_waiter *waiter;
  const struct tn_task *task;
  lua_Hook hook; /* of the main thread when it began */
  int hook_mask;
  int hook_count;
};

enum {
  RESUMES_PER_POLL = 61, /* the kernel is not asked more often than that by a busy ready list */
  IDLE_NS = 50000000,    /* so long without an event, and the collector gets a turn */
  CHORES_SHARE = 20,     /* what an idle program does takes one part in so many */
  GIVE_BACK_KB = 1024,   /* so much garbage at once, and the system gets its memory back */
  CANCEL_STACK = 3 * LUA_MINSTACK,
};

/* The driver has the main thread's hook: a task's thread gets that of the thread it is made on. */
static struct drive begin_drive(lua_State *L, struct tn_runtime *rt) {
  struct drive drive = {.rt = rt,
                        .caller = L,
                        .hook = lua_gethook(rt->main),
                        .hook_mask = lua_gethookmask(rt->main),
                        .hook_count = lua_gethookcount(rt->main)};
  lua_sethook(rt->driver, drive.hook, drive.hook_mask, drive.hook_count);
  return drive;
}

static bool is_done(const struct drive *drive) {
  return drive->waiter ? !drive->waiter->parked && !drive->waiter->queue
                       : drive->task->state != TN_TASK_ALIVE;
}

static bool is_quiet(const struct tn_runtime *rt) {
  return tn_reactor_ready_length(rt->reactor) == 0 && !rt->doomed.head;
}

/* While a task runs, what the next one will need comes into the CPU's cache: the object of its
 * operation, and Lua's thread. Behind that lie its stack and then its frames, where the memory was
 * fresh; where it was not, nothing is gained. */
static void look_ahead(const struct tn_runtime *rt) {
  enum { OBJECT = 80, BEFORE_OBJECT = 40, THREAD = 512, FRAMES_AT = 960, FRAMES = 256 };
  struct tn_waiter *waiter = tn_reactor_peek_ready(rt->reactor);
  const struct tn_task *task = waiter ? tn_task_of(waiter) : NULL;
  if (task) {
    tn_prefetch(waiter->subject, -BEFORE_OBJECT, OBJECT);
    tn_prefetch(task->thread, 0, THREAD);
    tn_prefetch(task->thread, FRAMES_AT, FRAMES);
  }
}

/* Runs what is ready now, and a few of those that become ready meanwhile: everybody gets a turn
 * between two polls. */
static bool drain(lua_State *L, struct tn_runtime *rt, const struct drive *drive) {
  size_t left = tn_reactor_ready_length(rt->reactor);
  bool ran = false;
  left = left > RESUMES_PER_POLL ? left : RESUMES_PER_POLL;
  tn_task_cancel_doomed(L, rt);
  while (left-- > 0) {
    struct tn_waiter *waiter = tn_reactor_next_ready(rt->reactor);
    if (!waiter) {
      break;
    }
    ran = true;
    look_ahead(rt);
    struct tn_task *task = tn_task_of(waiter);
    if (task) {
      tn_task_run(L, rt, task);
      tn_task_cancel_doomed(L, rt);
    }
    if (drive && is_done(drive)) {
      break;
    }
  }
  return ran;
}

static bool collector_runs(lua_State *L) {
  return lua_gc(L, LUA_GCISRUNNING);
}

static double memory_kb(lua_State *L) {
  return lua_gc(L, LUA_GCCOUNT) + lua_gc(L, LUA_GCCOUNTB) / 1024.0;
}

/* A forgotten socket would keep its peer waiting for ever in a program that has nothing left to
 * allocate: an idle one collects its garbage. A whole cycle, for in generational mode, the
 * interpreter's, steps never end one. Where many tasks have gone, what is free lies in pieces
 * between what is not, and the next tasks would be spread over them. */
static void collect_when_idle(lua_State *L, struct tn_runtime *rt) {
  double before_kb = memory_kb(L);
  if (collector_runs(L) && before_kb != rt->collected_kb) {
    lua_gc(L, LUA_GCCOLLECT);
    rt->collected_kb = memory_kb(L);
    if (before_kb - rt->collected_kb > GIVE_BACK_KB) {
      tn_memory_give_back();
    }
  }
}

/* The interpreter reacts to SIGINT with a hook on the main thread, which would act when the wait is
 * over. */
static void check_interrupt(lua_State *L, struct tn_runtime *rt, const struct drive *drive) {
  if (lua_gethook(rt->main) != drive->hook) {
    lua_sethook(rt->main, drive->hook, drive->hook_mask, drive->hook_count);
    luaL_error(L, "interrupted!");
  }
}

/* An idle program listens for SIGINT where the interpreter does, and does its chores, in at most a
 * twentieth of the time. */
TN_COLD static void be_idle(lua_State *L, struct tn_runtime *rt) {
  uint64_t began = tn_now_ns();
  tn_reactor_watch_interrupt(rt->reactor);
  if (began < rt->chores_after_ns) {
    rt->idle_due_ns = rt->chores_after_ns;
    return;
  }
  tn_reactor_recheck(rt->reactor);
  collect_when_idle(L, rt);
  uint64_t ended = tn_now_ns();
  rt->chores_after_ns = ended + CHORES_SHARE * (ended - began);
}

/* Until when to sleep at the longest: the end of the current period, which is looked at by the
 * loop's own clock, for asking the system each time costs more than the rest of a wait. A period in
 * which nobody was woken is idle; after it the program sleeps for good, until somebody is. */
static uint64_t idle_limit(lua_State *L, struct tn_runtime *rt, bool *idle) {
  uint64_t now = tn_reactor_time_ns(rt->reactor);
  uint64_t wakes = tn_reactor_wakes(rt->reactor);
  bool over = rt->idle_due_ns != 0 && now >= rt->idle_due_ns;
  if (over && wakes == rt->idle_wakes) {
    rt->idle_due_ns = 0;
    be_idle(L, rt);
  } else if (over || (rt->idle_due_ns == 0 && (wakes != rt->idle_wakes || !*idle))) {
    rt->idle_due_ns = now + IDLE_NS;
    rt->idle_wakes = wakes;
  }
  return rt->idle_due_ns;
}

/* Nothing is ready, and will not ever be: what the collector closes wakes nobody either. */
TN_COLD static bool is_stuck(lua_State *L, struct tn_runtime *rt) {
  if (!tn_reactor_expects(rt->reactor) && collector_runs(L)) {
    lua_gc(L, LUA_GCCOLLECT);
  }
  return is_quiet(rt) && !tn_reactor_expects(rt->reactor);
}

/* Nothing is ready: waits until something is, or it is time to look around. */
static void wait_for_event(lua_State *L, const struct drive *drive, bool *idle) {
  struct tn_runtime *rt = drive->rt;
  if (!tn_reactor_expects(rt->reactor)) {
    if (is_stuck(L, rt)) {
      tn_deadlock_raise(L, rt, drive->caller);
    }
    return;
  }
  uint64_t limit_ns = idle_limit(L, rt, idle);
  if (is_quiet(rt)) { /* the collector may have woken somebody */
    tn_reactor_turn(rt->reactor, TN_TURN_BLOCK, limit_ns);
  }
  /* only while it sleeps: a task that computes must be stopped as in the interpreter */
  if (tn_reactor_unwatch_interrupt(rt->reactor)) {
    luaL_error(L, "interrupted!");
  }
}

static int drive_loop(lua_State *L) {
  struct drive *drive = lua_touserdata(L, 1);
  struct tn_runtime *rt = drive->rt;
  bool idle = false;
  bool turned = false;
  for (;; turned = true) {
    drain(L, rt, drive);
    if (is_done(drive)) {
      /* Where a program outside tasks does nothing but what is over so soon, the kernel would never
       * be asked for those that wait. */
      if (drive->waiter && !turned) {
        tn_reactor_turn(rt->reactor, TN_TURN_POLL, 0);
      }
      return 0;
    }
    if (is_quiet(rt)) {
      wait_for_event(L, drive, &idle);
    } else {
      tn_reactor_turn(rt->reactor, TN_TURN_POLL, 0);
    }
    check_interrupt(L, rt, drive);
    tn_runtime_check(L, rt, "run");
  }
}

/* Calls a function on the driver's thread. What it raises is left on top; the status tells. On the
 * main thread the interpreter's hook for SIGINT would raise in whatever is called there next, be it
 * in the middle of a task's end, and whoever caught that would have it. */
static int call_as_driver(lua_State *L, struct tn_runtime *rt, lua_CFunction function,
                          void *argument) {
  lua_pushcfunction(rt->driver, function);
  lua_pushlightuserdata(rt->driver, argument);
  int status = lua_pcall(rt->driver, 1, 0, 0);
  if (status != LUA_OK) {
    lua_xmove(rt->driver, L, 1);
  }
  return status;
}

/* One that was due before the drive has raised on the driver, and taken itself off there. It would
 * once more, on the main thread. */
static void end_due_hook(struct drive *drive) {
  const struct tn_runtime *rt = drive->rt;
  if (lua_gethook(rt->driver) != drive->hook && lua_gethook(rt->main) == drive->hook) {
    drive->hook = lua_gethook(rt->driver);
    drive->hook_mask = lua_gethookmask(rt->driver);
    drive->hook_count = lua_gethookcount(rt->driver);
    lua_sethook(rt->main, drive->hook, drive->hook_mask, drive->hook_count);
  }
}

/* Runs `loop` as the one that drives. */
static int drive_protected(lua_State *L, struct drive *drive, lua_CFunction loop, void *argument) {
  struct tn_runtime *rt = drive->rt;
  rt->driving = true;
  int status = call_as_driver(L, rt, loop, argument);
  rt->driving = false;
  if (status != LUA_OK) {
    end_due_hook(drive);
  }
  rt->current = NULL; /* whatever was raised where */
  rt->kill_depth = 0;
  if (rt->reactor) {
    tn_reactor_unwatch_interrupt(rt->reactor);
  }
  return status;
}

void tn_drive_until_woken(lua_State *L, struct tn_runtime *rt, struct tn_waiter *waiter) {
  struct drive drive = begin_drive(L, rt);
  drive.waiter = waiter;
  luaL_checkstack(L, 4, NULL);
  if (drive_protected(L, &drive, drive_loop, &drive) != LUA_OK) {
    tn_forget(rt->reactor, waiter);
    lua_error(L);
  }
}

/* --- run --- */

/* Ends what was spawned meanwhile; what their closing variables spawn never starts. What failed in
 * a set is reported: nobody took it in time. */
static int end_spawned(lua_State *L) {
  struct tn_runtime *rt = lua_touserdata(L, 1);
  bool found = true;
  while (found) {
    found = false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->anchors.list);
    lua_Integer length = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer slot = 1; slot <= length; slot++) {
      lua_rawgeti(L, -1, slot);
      struct tn_task *task = tn_cast(L, -1, TN_TASK);
      found |= task && task->in_run && tn_task_cancel(L, rt, task) && !task->cancel_pending;
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
    tn_task_cancel_doomed(L, rt);
    found |= tn_join_sets_report(L, rt);
  }
  return 0;
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* What Lua needs for that call, which it keeps: there may be no memory in the end. */
static int reserve_cancel(lua_State *L) {
  luaL_checkstack(L, CANCEL_STACK, NULL);
  lua_pushcfunction(L, nothing);
  lua_call(L, 0, 0);
  return 0;
}

/* Leaves the first task on top that failed, was reported, and nobody joined since; or nothing. */
static bool push_first_failure(lua_State *L, struct tn_runtime *rt) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->failures);
  lua_Integer length = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, -1, i);
    const struct tn_task *task = lua_touserdata(L, -1);
    if (!task->joined) {
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return false;
}

/* They have their places, so that the end of a task needs no memory. */
static void forget_failures(lua_State *L, struct tn_runtime *rt) {
  lua_createtable(L, TN_FAILURES_MAX, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->failures);
}

int tn_run(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  tn_runtime_check(L, rt, "run");
  if (rt->driving || rt->current) {
    return luaL_error(L, "run: the reactor runs already; use spawn, or call the function");
  }
  tn_finalizer_check(L, "run");
  if (call_as_driver(L, rt, reserve_cancel, NULL) != LUA_OK) {
    return lua_error(L);
  }
  forget_failures(L, rt);
  tn_claims_release(rt->reactor, &rt->blocking); /* of an operation that ended in a Lua error */
  struct tn_task *task = tn_task_spawn(L, rt, lua_gettop(L) - 1);
  rt->running = true;
  task->in_run = true;
  task->joined = true; /* its error is raised below, not reported */
  struct drive drive = begin_drive(L, rt);
  drive.task = task;
  int status = drive_protected(L, &drive, drive_loop, &drive);
  int cancelled = drive_protected(L, &drive, end_spawned, rt);
  tn_reactor_turn(rt->reactor, TN_TURN_POLL, 0); /* libuv lets go of what was closed */
  rt->running = false;
  check_interrupt(L, rt, &drive); /* one that came last: the program's own pcall is to catch it */
  if (status != LUA_OK || cancelled != LUA_OK) {
    return lua_error(L);
  }
  if (task->state == TN_TASK_DONE) {
    if (push_first_failure(L, rt)) {
      forget_failures(L, rt);
      return tn_task_raise(L, rt, lua_gettop(L));
    }
    return tn_task_push_outcome(L, rt, 1) - 1;
  }
  if (task->state == TN_TASK_CANCELLED) {
    return tn_task_push_outcome(L, rt, 1);
  }
  return tn_task_raise(L, rt, 1);
}

/* --- one turn, for a foreign loop --- */

struct step {
  struct drive drive;
  uint64_t limit_ns; /* 0: none */
  bool block;
  bool slept;
  bool ran;
};

/* Sleeps until something happens or the step is over. SIGINT is listened for once that takes long:
 * short steps, of which a loop takes many, come back in time for the interpreter. */
static void sleep_in_step(lua_State *L, struct step *step) {
  struct tn_runtime *rt = step->drive.rt;
  uint64_t limit_ns = step->limit_ns;
  if (step->slept) {
    tn_reactor_watch_interrupt(rt->reactor);
    check_interrupt(L, rt, &step->drive); /* one that came just before */
  } else {
    uint64_t soon_ns = tn_now_ns() + IDLE_NS;
    limit_ns = limit_ns != 0 && limit_ns < soon_ns ? limit_ns : soon_ns;
  }
  step->slept = true;
  tn_reactor_turn(rt->reactor, TN_TURN_BLOCK, limit_ns);
  if (tn_reactor_unwatch_interrupt(rt->reactor)) {
    luaL_error(L, "interrupted!");
  }
  check_interrupt(L, rt, &step->drive);
}

static int step_once(lua_State *L) {
  struct step *step = lua_touserdata(L, 1);
  struct tn_runtime *rt = step->drive.rt;
  bool over = !step->block;
  for (;;) {
    if (!over && step->limit_ns == 0 && is_quiet(rt)) {
      over = is_stuck(L, rt);
    }
    if (!over && is_quiet(rt)) {
      sleep_in_step(L, step);
    } else {
      tn_reactor_turn(rt->reactor, TN_TURN_POLL, 0);
    }
    step->ran = drain(L, rt, NULL);
    if (step->ran || over) {
      return 0;
    }
    over = step->limit_ns != 0 && tn_now_ns() >= step->limit_ns;
  }
}

int tn_step(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  double seconds = lua_isnoneornil(L, 1) ? 0 : tn_check_seconds(L, 1);
  tn_runtime_check(L, rt, "step");
  if (rt->driving || rt->current) {
    return luaL_error(L, "step: the reactor runs already");
  }
  tn_finalizer_check(L, "step");
  tn_claims_release(rt->reactor, &rt->blocking); /* of an operation that ended in a Lua error */
  struct step step = {
      .drive = begin_drive(L, rt), .block = seconds > 0, .limit_ns = tn_deadline_after(seconds)};
  if (drive_protected(L, &step.drive, step_once, &step) != LUA_OK) {
    return lua_error(L);
  }
  lua_pushboolean(L, step.ran);
  return 1;
}

int tn_backend_fd(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, "backend_fd");
  lua_pushinteger(L, tn_reactor_backend_fd(rt->reactor));
  return 1;
}

int tn_backend_timeout(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, "backend_timeout");
  double seconds = rt->doomed.head ? 0 : tn_reactor_backend_timeout(rt->reactor);
  if (seconds < 0) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, seconds);
  }
  return 1;
}
