/* Who waits where: see waits.h. */
#include "binding/waits.h"

#include "binding/task.h"
#include "binding/task_outcome.h"

#include <stdio.h>
#include <string.h>

/* The wait becomes that of the program's call that the thread is in, unless its name is lost by a
 * tail call; was it made there? Otherwise in the thread that this one is in. */
static bool find_wait(lua_State *L, lua_State *thread, struct tn_wait *wait) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(thread, level, &frame); level++) {
    bool own = tn_is_own_frame(L, thread, &frame);
    if (!own && frame.currentline > 0) {
      memcpy(wait->source, frame.short_src, sizeof wait->source);
      wait->line = frame.currentline;
      return true;
    }
    lua_getinfo(thread, "n", &frame);
    if (own || level == 0) { /* not a pcall around it */
      snprintf(wait->operation, sizeof wait->operation, "%s", frame.name ? frame.name : "");
    }
  }
  return false;
}

struct tn_wait tn_wait_within(lua_State *L, struct tn_task *task, int depth) {
  struct tn_wait wait = {0};
  for (int i = task->depth; i > depth; i--) {
    if (find_wait(L, tn_task_nest(task)[i - 1].thread, &wait)) {
      break;
    }
  }
  return wait;
}

const char *tn_wait_push(lua_State *L, const char *what, const struct tn_wait *wait) {
  const char *in = *wait->operation ? " in " : "";
  return wait->line == 0 ? lua_pushfstring(L, "%s%s%s", what, in, wait->operation)
                         : lua_pushfstring(L, "%s%s%s at %s:%d", what, in, wait->operation,
                                           wait->source, wait->line);
}

/* "task 3 (reader) waits in read at server.lua:12" */
static void describe_task(lua_State *L, int index) {
  struct tn_task *task = lua_touserdata(L, index);
  int title = lua_gettop(L) + 1;
  luaL_checkstack(L, 4, NULL);
  struct tn_wait wait = tn_wait_within(L, task, 0);
  if (wait.line == 0 && task->thread) {
    find_wait(L, task->thread, &wait);
  }
  tn_task_push_title(L, index);
  lua_pushfstring(L, "%s waits", lua_tostring(L, -1));
  tn_wait_push(L, lua_tostring(L, -1), &wait);
  lua_replace(L, title);
  lua_settop(L, title);
}

/* Pushes a list with a line for each task that waits: where it does. */
static int push_waits(lua_State *L, struct tn_runtime *rt) {
  int waiting = 0;
  lua_newtable(L);
  int list = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->anchors.list);
  for (lua_pushnil(L); lua_next(L, list + 1); lua_pop(L, 1)) {
    struct tn_task *task = tn_cast(L, -1, TN_TASK);
    if (task && task->waiter.parked) {
      describe_task(L, lua_gettop(L));
      lua_rawseti(L, list, ++waiting);
    }
  }
  lua_settop(L, list);
  return waiting;
}

int tn_waits(lua_State *L) {
  push_waits(L, tn_runtime_of(L));
  return 1;
}

int tn_deadlock_raise(lua_State *L, struct tn_runtime *rt, lua_State *caller) {
  luaL_Buffer text;
  lua_settop(L, 0);
  int waiting = push_waits(L, rt);
  luaL_buffinit(L, &text);
  if (waiting > 0) {
    lua_pushfstring(L, "deadlock: %d task%s waiting and nothing can wake %s", waiting,
                    waiting == 1 ? " is" : "s are", waiting == 1 ? "it" : "them");
  } else {
    lua_pushliteral(L, "deadlock: nothing can end this wait");
  }
  luaL_addvalue(&text);
  if (rt->blocking.parked) {
    luaL_addstring(&text, "\n  ");
    struct tn_wait wait = {0};
    find_wait(L, caller, &wait);
    tn_wait_push(L, "the program waits", &wait);
    luaL_addvalue(&text);
  }
  for (int i = 1; i <= waiting; i++) {
    luaL_addstring(&text, "\n  ");
    lua_rawgeti(L, 1, i);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  return lua_error(L);
}
