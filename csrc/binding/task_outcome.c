/* How tasks end: see task_outcome.h. */
#include "binding/task_outcome.h"

#include "binding/error.h"
#include "core/status.h"

#include <stdio.h>

enum { TRACEBACK_MAX = 4096 }; /* an error raised again and again does not gather more */

/* --- notes --- */

void tn_task_push_notes(lua_State *L, int index, bool make) {
  struct tn_task *task = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  if (make && !task->noted) {
    lua_createtable(L, TN_TASK_KEPT_IN_NOTES, 2);
    tn_task_push_kept(L, task, index);
    lua_rawseti(L, -2, TN_TASK_KEPT_IN_NOTES);
    if (!task->noted) { /* a finalizer may have been here */
      lua_setiuservalue(L, index, TN_TASK_KEPT);
      task->noted = true;
    } else {
      lua_pop(L, 1);
    }
  }
  if (task->noted) {
    lua_getiuservalue(L, index, TN_TASK_KEPT);
  } else {
    lua_pushnil(L);
  }
}

struct note {
  struct tn_runtime *rt;
  struct tn_task *task;
  lua_State *thread;
  int level;
};

/* note_traceback(note, error). Raised again on its way out an error keeps the tracebacks it has;
 * those of another error, which somebody caught, are forgotten. */
static int note_traceback(lua_State *L) {
  enum { NOTE = 1, ERROR, TASK, NOTES };
  const struct note *note = lua_touserdata(L, NOTE);
  tn_task_push(L, note->rt, note->task);
  tn_task_push_notes(L, TASK, true);
  lua_getfield(L, NOTES, "error");
  bool same = lua_rawequal(L, -1, ERROR);
  lua_getfield(L, NOTES, "traceback");
  bool short_enough = lua_rawlen(L, -1) < TRACEBACK_MAX;
  int level = note->thread == L ? note->level + 1 : note->level;
  luaL_traceback(L, note->thread, same && short_enough ? lua_tostring(L, -1) : NULL, level);
  lua_setfield(L, NOTES, "traceback");
  lua_pushvalue(L, ERROR);
  lua_setfield(L, NOTES, "error");
  return 0;
}

void tn_task_note_traceback(lua_State *L, struct tn_runtime *rt, struct tn_task *task,
                            lua_State *thread, int level) {
  struct note note = {rt, task, thread, level};
  const int error = lua_gettop(L);
  lua_pushcfunction(L, note_traceback);
  lua_pushlightuserdata(L, &note);
  lua_pushvalue(L, error);
  lua_pcall(L, 2, 0, 0); /* without memory there is no traceback, and all else goes on */
  lua_settop(L, error - 1);
}

static int handle_error(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  if (rt->current && rt->current->thread == L) {
    lua_pushvalue(L, 1);
    tn_task_note_traceback(L, rt, rt->current, L, 1);
  }
  return 1;
}

/* Leaves the traceback of the task at `index` on top, or nil. */
static const char *push_traceback(lua_State *L, int index) {
  tn_task_push_notes(L, index, false);
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "traceback");
    lua_remove(L, -2);
  }
  return lua_tostring(L, -1);
}

/* --- errors that nobody waits for --- */

static int report_by_default(lua_State *L) {
  tn_task_push_title(L, 1);
  const char *task = lua_tostring(L, -1);
  const char *error = luaL_tolstring(L, 2, NULL);
  const char *traceback = lua_tostring(L, 3);
  fprintf(stderr, "tcpnet: %s failed: %s\n", task, error);
  if (traceback && !tn_cast(L, 2, TN_ERROR_VALUE)) { /* an Error shows its own */
    fprintf(stderr, "%s\n", traceback);
  }
  return 0;
}

/* call_handler(runtime, task, error) → what on_task_error answered. */
static int call_handler(lua_State *L) {
  const struct tn_runtime *rt = lua_touserdata(L, 1);
  if (push_traceback(L, 2) && tn_cast(L, 3, TN_ERROR_VALUE)) {
    lua_pushvalue(L, 4);
    tn_error_set_traceback(L, 3);
  }
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, rt->on_task_error) != LUA_TFUNCTION) {
    lua_pop(L, 1);
    lua_pushcfunction(L, report_by_default);
  }
  lua_replace(L, 1);
  lua_call(L, 3, 1);
  return 1;
}

bool tn_task_report_error(lua_State *L, struct tn_runtime *rt, int index) {
  const int error = lua_gettop(L);
  lua_pushcfunction(L, call_handler);
  lua_pushlightuserdata(L, rt);
  lua_pushvalue(L, index);
  lua_pushvalue(L, error);
  struct tn_task *outer = rt->current;
  bool driving = rt->driving;
  rt->current = NULL; /* the handler is not the task, and must not wait */
  rt->driving = true;
  bool failed = lua_pcall(L, 3, 1, 0) != LUA_OK;
  rt->current = outer;
  rt->driving = driving;
  bool dealt_with = !failed && lua_isboolean(L, -1) && lua_toboolean(L, -1);
  if (failed) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
    fprintf(stderr, "tcpnet: error in on_task_error: %s\n", text);
  }
  lua_settop(L, error - 1);
  return dealt_with;
}

/* Leaves out of the list on top those that somebody has joined since; how many are left. */
static lua_Integer forget_joined(lua_State *L) {
  lua_Integer length = (lua_Integer)lua_rawlen(L, -1);
  lua_Integer kept = 0;
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, -1, i);
    const struct tn_task *task = lua_touserdata(L, -1);
    if (task->joined) {
      lua_pop(L, 1);
    } else {
      lua_rawseti(L, -2, ++kept);
    }
  }
  for (lua_Integer i = length; i > kept; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  return kept;
}

void tn_task_remember_failure(lua_State *L, struct tn_runtime *rt) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->failures);
  lua_Integer length = (lua_Integer)lua_rawlen(L, -1);
  if (length == TN_FAILURES_MAX) {
    length = forget_joined(L);
  }
  if (length < TN_FAILURES_MAX) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, length + 1);
  }
  lua_pop(L, 1);
}

void tn_task_report(lua_State *L, struct tn_runtime *rt) {
  struct tn_task *task = lua_touserdata(L, -1);
  tn_task_push_kept(L, task, -1);
  task->joined = tn_task_report_error(L, rt, lua_gettop(L) - 1);
  if (!task->joined && rt->running) {
    tn_task_remember_failure(L, rt);
  }
}

/* --- outcomes --- */

/* The running task gets an error, and its traceback on top, which is popped: that goes before the
 * task's own if it raises the same error. */
static void hand_on_traceback(lua_State *L, struct tn_runtime *rt) {
  enum { ERROR = -4, TRACEBACK = -3, NOTES = -1 };
  if (rt->current && lua_isstring(L, -1)) {
    luaL_checkstack(L, 5, NULL);
    tn_task_push(L, rt, rt->current);
    tn_task_push_notes(L, -1, true);
    lua_pushvalue(L, ERROR);
    lua_setfield(L, NOTES - 1, "error");
    lua_pushvalue(L, TRACEBACK);
    lua_setfield(L, NOTES - 1, "traceback");
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

int tn_task_push_outcome(lua_State *L, struct tn_runtime *rt, int index) {
  struct tn_task *task = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  luaL_checkstack(L, task->results + 6, "too many results");
  task->joined = true;
  if (task->state == TN_TASK_CANCELLED) {
    return tn_fail(L, rt, TN_CANCELED, "join", "the task was cancelled");
  }
  if (task->state == TN_TASK_FAILED) {
    lua_pushnil(L);
    tn_task_push_kept(L, task, index);
    if (push_traceback(L, index) && tn_cast(L, -2, TN_ERROR_VALUE)) {
      tn_error_set_traceback(L, lua_gettop(L) - 1);
    } else {
      hand_on_traceback(L, rt);
    }
    return 2;
  }
  lua_pushboolean(L, 1);
  if (task->results == 1) {
    tn_task_push_kept(L, task, index);
  } else if (task->results > 1) {
    tn_task_push_kept(L, task, index);
    for (int i = 1; i <= task->results; i++) {
      lua_rawgeti(L, -i, i);
    }
    lua_remove(L, -task->results - 1);
  }
  return 1 + task->results;
}

int tn_task_raise(lua_State *L, struct tn_runtime *rt, int index) {
  tn_task_push_outcome(L, rt, index);
  if (lua_type(L, -1) == LUA_TSTRING) {
    const char *traceback = push_traceback(L, index);
    if (traceback) {
      lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), traceback);
    } else {
      lua_pop(L, 1);
    }
  }
  return lua_error(L);
}

/* --- what they are called --- */

/* The name, or the number that tells it from the others that live. */
void tn_task_push_title(lua_State *L, int index) {
  const struct tn_task *task = lua_touserdata(L, index);
  tn_task_push_notes(L, index, false);
  if (lua_istable(L, -1) && lua_getfield(L, -1, "name") == LUA_TSTRING) {
    lua_pushfstring(L, "task %d (%s)", task->slot, lua_tostring(L, -1));
  } else {
    lua_pushfstring(L, "task %d", task->slot);
  }
}

void tn_task_outcomes_open(lua_State *L, struct tn_runtime *rt) {
  lua_pushlightuserdata(L, rt);
  lua_pushcclosure(L, handle_error, 1);
  rt->handler = luaL_ref(L, LUA_REGISTRYINDEX);
}
