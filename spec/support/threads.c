/* Lua states in threads of one process, for spec/threads_spec.lua:  threads COUNT ROUNDS CORE
 * SCRIPT runs SCRIPT in COUNT threads at once, ROUNDS times. What a script has besides Lua: index,
 * count, post(slot, integer), fetch(slot) -> integer or nil, wake(fd) of tcpnet.h, found in CORE.
 */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MAX = 16, SLOTS = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  bool taken;
  lua_Integer value;
} board[SLOTS];
static int (*wake)(int fd);
static const char *script;
static int count;

struct job {
  pthread_t thread;
  int index;
  bool failed;
};

static int slot_at(lua_State *L) {
  lua_Integer slot = luaL_checkinteger(L, 1);
  luaL_argcheck(L, slot >= 0 && slot < SLOTS, 1, "no such slot");
  return (int)slot;
}

static int post(lua_State *L) {
  int slot = slot_at(L);
  lua_Integer value = luaL_checkinteger(L, 2);
  pthread_mutex_lock(&lock);
  board[slot].taken = true;
  board[slot].value = value;
  pthread_mutex_unlock(&lock);
  return 0;
}

static int fetch(lua_State *L) {
  int slot = slot_at(L);
  pthread_mutex_lock(&lock);
  bool taken = board[slot].taken;
  lua_Integer value = board[slot].value;
  pthread_mutex_unlock(&lock);
  if (!taken) {
    return 0;
  }
  lua_pushinteger(L, value);
  return 1;
}

static int wake_other(lua_State *L) {
  lua_pushinteger(L, wake((int)luaL_checkinteger(L, 1)));
  return 1;
}

static void *run(void *argument) {
  struct job *job = argument;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_pushinteger(L, job->index);
  lua_setglobal(L, "index");
  lua_pushinteger(L, count);
  lua_setglobal(L, "count");
  lua_register(L, "post", post);
  lua_register(L, "fetch", fetch);
  lua_register(L, "wake", wake_other);
  job->failed = luaL_dofile(L, script) != LUA_OK;
  if (job->failed) {
    fprintf(stderr, "thread %d: %s\n", job->index, lua_tostring(L, -1));
  }
  lua_close(L);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    return 2;
  }
  count = atoi(argv[1]);
  script = argv[4];
  void *core = dlopen(argv[3], RTLD_NOW);
  *(void **)&wake = core ? dlsym(core, "tcpnet_waker_wake") : NULL;
  if (!wake || count > THREADS_MAX) {
    fprintf(stderr, "no tcpnet_waker_wake, or too many threads\n");
    return 2;
  }
  bool failed = false;
  for (int round = atoi(argv[2]); round > 0; round--) {
    struct job jobs[THREADS_MAX] = {0};
    for (int i = 0; i < SLOTS; i++) {
      board[i].taken = false;
    }
    for (int i = 0; i < count; i++) {
      jobs[i].index = i;
      failed = pthread_create(&jobs[i].thread, NULL, run, &jobs[i]) != 0 || failed;
    }
    for (int i = 0; i < count; i++) {
      pthread_join(jobs[i].thread, NULL);
      failed = failed || jobs[i].failed;
    }
  }
  puts(failed ? "failed" : "fine");
  return failed;
}
