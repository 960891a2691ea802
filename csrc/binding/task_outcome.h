/* How tasks end: what a task keeps for those who ask, and who hears of one that failed. */
#ifndef TCPNET_TASK_OUTCOME_H
#define TCPNET_TASK_OUTCOME_H

#include "binding/task.h"

/* The user value with what a task keeps: its function, then its thread, unless that is from the
 * pool, and in the end its results. One with notes has them there, and what it keeps is their first
 * entry. */
enum { TN_TASK_KEPT = 1 };
enum { TN_TASK_KEPT_IN_NOTES = 1 };

/* Of the task, which is at `index`; left on top. */
TN_INLINE void tn_task_push_kept(lua_State *L, const struct tn_task *task, int index) {
  lua_getiuservalue(L, index, TN_TASK_KEPT);
  if (task->noted) {
    lua_rawgeti(L, -1, TN_TASK_KEPT_IN_NOTES);
    lua_replace(L, -2);
  }
}

/* Pops the value on top: the task, which is at `index`, keeps it. Needs no memory. */
TN_INLINE void tn_task_keep(lua_State *L, const struct tn_task *task, int index) {
  if (task->noted) {
    lua_getiuservalue(L, index, TN_TASK_KEPT);
    lua_insert(L, -2);
    lua_rawseti(L, -2, TN_TASK_KEPT_IN_NOTES);
    lua_pop(L, 1);
  } else {
    lua_setiuservalue(L, index, TN_TASK_KEPT);
  }
}

/* Leaves {traceback = …, name = …} of the task at `index` on top, or nil. */
void tn_task_push_notes(lua_State *L, int index, bool make);
/* "task 3 (reader)" */
void tn_task_push_title(lua_State *L, int index);
/* An inner coroutine failed, or the task did, with the error on top of the stack, which is popped:
 * the thread's traceback goes before those noted already. Raises nothing. */
void tn_task_note_traceback(lua_State *L, struct tn_runtime *rt, struct tn_task *task,
                            lua_State *thread, int level);

/* Hands the error on top of the stack, raised by the task at `index`, to on_task_error; pops it.
 * Was it dealt with? Raises nothing itself, whatever the handler does. */
bool tn_task_report_error(lua_State *L, struct tn_runtime *rt, int index);
/* The task on top, which stays there, failed and nobody waits for it: on_task_error hears of that,
 * and `run` raises it in the end. Raises nothing. */
void tn_task_report(lua_State *L, struct tn_runtime *rt);
/* The last part alone: the task on top of the stack failed while `run` goes on, which may have to
 * raise that in the end. */
void tn_task_remember_failure(lua_State *L, struct tn_runtime *rt);

/* Pushes `true, ...` or `nil, err` of a task at `index` that has ended. */
int tn_task_push_outcome(lua_State *L, struct tn_runtime *rt, int index);
/* Raises what a failed task at `index` raised: a string with its traceback, any other value
 * unchanged. */
int tn_task_raise(lua_State *L, struct tn_runtime *rt, int index);

void tn_task_outcomes_open(lua_State *L, struct tn_runtime *rt);

#endif
