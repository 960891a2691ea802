/* Who waits where: see waits.h. */
#include "binding/waits.h"

#include "binding/task.h"
#include "binding/task_outcome.h"

/* The operation at `index` and the place behind it become those of the program's call that the
 * thread is in, unless its name is lost by a tail call; was it made there? Otherwise in the thread
 * that this one is in. */
static bool find_wait(lua_State *L, lua_State *thread, int index) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(thread, level, &frame); level++) {
    bool own = tn_is_own_frame(L, thread, &frame);
    if (!own && frame.currentline > 0) {
      lua_pushfstring(L, " at %s:%d", frame.short_src, frame.currentline);
      lua_replace(L, index + 1);
      return true;
    }
    lua_getinfo(thread, "n", &frame);
    if (own || level == 0) { /* not a pcall around it */
      lua_pushstring(L, frame.name);
      lua_replace(L, index);
    }
  }
  return false;
}

/* Leaves a line about who waits, from the title on top: a task, or `caller`. */
static void describe(lua_State *L, struct tn_task *task, lua_State *caller) {
  int title = lua_gettop(L);
  luaL_checkstack(L, 10, NULL);
  lua_pushnil(L);
  lua_pushliteral(L, "");
  bool found = !task && find_wait(L, caller, title + 1);
  for (int i = task ? task->depth : 0; i > 0 && !found; i--) {
    found = find_wait(L, tn_task_nest(task)[i - 1].thread, title + 1);
  }
  if (task && !found && task->thread) {
    find_wait(L, task->thread, title + 1);
  }
  lua_pushfstring(L, "%s waits%s%s%s", lua_tostring(L, title),
                  lua_isnil(L, title + 1) ? "" : " in ", luaL_optstring(L, title + 1, ""),
                  lua_tostring(L, title + 2));
  lua_replace(L, title);
  lua_settop(L, title);
}

/* "task 3 (reader) waits in read at server.lua:12" */
static void describe_task(lua_State *L, int index) {
  struct tn_task *task = lua_touserdata(L, index);
  int title = lua_gettop(L) + 1;
  luaL_checkstack(L, 4, NULL);
  tn_task_push_title(L, index);
  lua_replace(L, title);
  lua_settop(L, title);
  describe(L, task, NULL);
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
    lua_pushliteral(L, "the program");
    describe(L, NULL, caller);
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
