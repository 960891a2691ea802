/* A program with a Lua state whose memory it controls: it counts the blocks, moves every one that
 * is resized, overwrites what is freed, and fails on command. For memory_spec.lua and
 * torture_walk.lua.
 *
 *   host run SCRIPT [ARGS...]         the script in a state of its own; complains of what is left
 *   host once|on SCRIPT [STEP]        the same for each allocation that fails (all from it on)
 *   host threads SCRIPT               many states in four threads */
#include <dirent.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct heap {
  long count, fail_at, blocks;
  int sticky, armed, hits;
};

static void release(void *block, size_t size) {
  memset(block, 0xDB, size);
  free(block);
}

static int fails(struct heap *heap) {
  heap->count++;
  if (!heap->fail_at || heap->count < heap->fail_at ||
      (heap->count > heap->fail_at && !heap->sticky)) {
    return 0;
  }
  heap->hits++;
  return 1;
}

/* A block that shrinks must not fail (lua_Alloc). */
static void *allocate(void *ud, void *old, size_t old_size, size_t size) {
  struct heap *heap = ud;
  if (size == 0) {
    if (old) {
      heap->blocks--;
      release(old, old_size);
    }
    return NULL;
  }
  if (heap->armed && (!old || size > old_size) && fails(heap)) {
    return NULL;
  }
  void *block = malloc(size);
  if (!block) {
    abort();
  }
  if (old) {
    memcpy(block, old, size < old_size ? size : old_size);
    release(old, old_size);
  } else {
    memset(block, 0xCD, size);
    heap->blocks++;
  }
  return block;
}

static int descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  int count = 0;
  while (dir && readdir(dir)) {
    count++;
  }
  if (dir) {
    closedir(dir);
  }
  return count;
}

/* How many are open that were not before. A lookup that was left behind closes its own when it
 * comes back. */
static int left_open(int before) {
  for (int i = 0; i < 500 && descriptors() != before; i++) {
    usleep(10000);
  }
  return descriptors() - before;
}

static struct heap *heap_of(lua_State *L) {
  void *heap;
  lua_getallocf(L, &heap);
  return heap;
}

static int disarm(lua_State *L) {
  heap_of(L)->armed = 0;
  return 0;
}

/* attempt(fn, n, sticky) → true or the error, how often memory failed. Nothing is allocated between
 * the end of fn and the end of that. */
static int attempt(lua_State *L) {
  struct heap *heap = heap_of(L);
  lua_Integer nth = luaL_checkinteger(L, 2);
  int sticky = lua_toboolean(L, 3);
  lua_settop(L, 1);
  alarm(20);
  *heap = (struct heap){.blocks = heap->blocks, .fail_at = nth, .sticky = sticky, .armed = 1};
  int status = lua_pcall(L, 0, 0, 0);
  heap->armed = 0;
  alarm(0);
  if (status == LUA_OK) {
    lua_pushboolean(L, 1);
  }
  lua_pushinteger(L, heap->hits);
  return 2;
}

static int count_descriptors(lua_State *L) {
  lua_pushinteger(L, descriptors());
  return 1;
}

/* The process ends after so many seconds, unless it is told again. */
static int time_limit(lua_State *L) {
  alarm((unsigned)luaL_checkinteger(L, 1));
  return 0;
}

static int raise_signal(lua_State *L) {
  kill(getpid(), (int)luaL_checkinteger(L, 1));
  return 0;
}

static int fork_process(lua_State *L) {
  fflush(NULL);
  lua_pushinteger(L, fork());
  return 1;
}

static int wait_for(lua_State *L) {
  int status = -1;
  waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
  return 1;
}

static int exit_at_once(lua_State *L) {
  fflush(NULL);
  _exit((int)luaL_checkinteger(L, 1));
}

static int print_error(lua_State *L) {
  fprintf(stderr, "%s\n", luaL_tolstring(L, 1, NULL));
  return 0;
}

static char **arguments;

static int open_libraries(lua_State *L) {
  static const luaL_Reg functions[] = {{"disarm", disarm},
                                       {"attempt", attempt},
                                       {"descriptors", count_descriptors},
                                       {"raise_signal", raise_signal},
                                       {"time_limit", time_limit},
                                       {"fork", fork_process},
                                       {"wait_for", wait_for},
                                       {"exit_at_once", exit_at_once},
                                       {NULL, NULL}};
  luaL_openlibs(L);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
  lua_newtable(L);
  for (int i = 0; arguments && arguments[i]; i++) {
    lua_pushstring(L, arguments[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setglobal(L, "arg");
  return 0;
}

/* Runs a script in a state of its own. 0: it ended without an error. */
static int run(struct heap *heap, const char *script, int arm) {
  lua_State *L = lua_newstate(allocate, heap);
  lua_pushcfunction(L, open_libraries);
  int status = lua_pcall(L, 0, 0, 0);
  if (status == LUA_OK) {
    status = luaL_loadfile(L, script);
  }
  if (status == LUA_OK) {
    heap->armed = arm;
    status = lua_pcall(L, 0, 0, 0);
    heap->armed = 0;
  }
  if (status != LUA_OK && !arm) {
    lua_pushcfunction(L, print_error);
    lua_insert(L, -2);
    lua_pcall(L, 1, 0, 0);
  }
  lua_close(L);
  return status;
}

static const char *script;

static void *thread(void *ud) {
  for (int i = 0; i < 10; i++) {
    struct heap heap = {0};
    if (run(&heap, script, 0) != LUA_OK || heap.blocks != 0) {
      *(int *)ud = 1;
    }
  }
  return NULL;
}

static int run_in_threads(void) {
  pthread_t threads[4];
  int failed[4] = {0};
  int before = descriptors();
  for (int i = 0; i < 4; i++) {
    pthread_create(&threads[i], NULL, thread, &failed[i]);
  }
  int sum = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    sum += failed[i];
  }
  printf(sum == 0 && left_open(before) == 0 ? "fine\n" : "failed\n");
  return sum;
}

/* The library stays loaded: Lua itself loses it where memory runs out between loading it and noting
 * that. And libuv keeps a pipe for the whole process, from the first loop on. */
static lua_State *keep_library(void) {
  lua_State *keeper = luaL_newstate();
  luaL_openlibs(keeper);
  if (luaL_dostring(keeper, "require 'tcpnet'") != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(keeper, -1));
    exit(1);
  }
  return keeper;
}

static int fail_each(int sticky, int step) {
  int complaints = 0;
  for (long n = 1; complaints < 10; n += step) {
    int before = descriptors();
    struct heap heap = {.fail_at = n, .sticky = sticky};
    alarm(10);
    run(&heap, script, 1);
    if (heap.blocks != 0 || left_open(before) != 0) {
      printf("allocation %ld: %ld blocks, %d descriptors are left\n", n, heap.blocks,
             descriptors() - before);
      complaints++;
    }
    if (heap.hits == 0) {
      printf("fine after %s\n", n > 100 ? "many" : "few");
      break;
    }
  }
  return complaints != 0;
}

static int run_once(void) {
  struct heap heap = {0};
  int before = descriptors();
  int status = run(&heap, script, 0);
  if (heap.blocks != 0 || left_open(before) != 0) {
    printf("%ld blocks, %d descriptors are left\n", heap.blocks, descriptors() - before);
    status = 1;
  }
  return status;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    return 2;
  }
  const char *mode = argv[1];
  script = argv[2];
  arguments = argv + 3;
  setvbuf(stdout, NULL, _IONBF, 0); /* what was found before a crash */
  lua_State *keeper = keep_library();
  int status = strcmp(mode, "once") == 0 || strcmp(mode, "on") == 0
                   ? fail_each(mode[2] == '\0', argc > 3 ? atoi(argv[3]) : 1)
               : strcmp(mode, "threads") == 0 ? run_in_threads()
                                              : run_once();
  lua_close(keeper);
  return status;
}
