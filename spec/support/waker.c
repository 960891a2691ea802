/* tcpnet_waker_wake() as a C program around Lua calls it: from another thread, from a signal
 * handler. A module for spec/poll_spec.lua, which compiles it; the function is looked up in
 * tcpnet/core.so as it is loaded. */
#include "tcpnet.h"

#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*wake)(int fd);
static int handled_fd;
static volatile sig_atomic_t handled;

/* find(path of core.so): takes the function from there. */
static int find(lua_State *L) {
  void *core = dlopen(luaL_checkstring(L, 1), RTLD_NOW | RTLD_NOLOAD);
  *(void **)&wake = core ? dlsym(core, "tcpnet_waker_wake") : NULL;
  return wake ? 0 : luaL_error(L, "no tcpnet_waker_wake: %s", dlerror());
}

struct job {
  pthread_t thread;
  int fd, times, status;
  useconds_t delay;
};

static void *run(void *argument) {
  struct job *job = argument;
  usleep(job->delay);
  for (int i = 0; i < job->times && job->status == 0; i++) {
    job->status = wake(job->fd);
  }
  return NULL;
}

/* start(fd, seconds, times) -> a thread that wakes so often after so long. */
static int start(lua_State *L) {
  struct job *job = lua_newuserdatauv(L, sizeof *job, 0);
  *job = (struct job){.fd = (int)luaL_checkinteger(L, 1),
                      .delay = (useconds_t)(luaL_checknumber(L, 2) * 1e6),
                      .times = (int)luaL_checkinteger(L, 3)};
  return pthread_create(&job->thread, NULL, run, job) == 0 ? 1 : luaL_error(L, "no thread");
}

/* join(thread) -> what its last call returned. */
static int join(lua_State *L) {
  struct job *job = lua_touserdata(L, 1);
  pthread_join(job->thread, NULL);
  lua_pushinteger(L, job->status);
  return 1;
}

static void on_signal(int number) {
  (void)number;
  handled += wake(handled_fd) == 0;
}

/* handle(signal, fd): a handler that wakes. */
static int handle(lua_State *L) {
  struct sigaction action = {.sa_handler = on_signal};
  handled_fd = (int)luaL_checkinteger(L, 2);
  sigaction((int)luaL_checkinteger(L, 1), &action, NULL);
  return 0;
}

/* raise(signal), here and now -> how many wakes of the handler have succeeded. */
static int raise_signal(lua_State *L) {
  raise((int)luaL_checkinteger(L, 1));
  lua_pushinteger(L, handled);
  return 1;
}

/* fill(fd): brings the counter of an eventfd to its end, where a write would wait. */
static int fill(lua_State *L) {
  const uint64_t most = UINT64_MAX - 1;
  uint64_t count;
  int fd = (int)luaL_checkinteger(L, 1);
  (void)!read(fd, &count, sizeof count);
  lua_pushboolean(L, write(fd, &most, sizeof most) == sizeof most);
  return 1;
}

/* wake(fd) -> what the function returned, errno afterwards; it was 0 before. */
static int wake_here(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  errno = 0;
  lua_pushinteger(L, wake(fd));
  lua_pushinteger(L, errno);
  return 2;
}

static int fork_here(lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

/* wait(pid) -> exit status, or -1. */
static int wait_for(lua_State *L) {
  int status = 0;
  waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 1;
}

int luaopen_waker(lua_State *L);

int luaopen_waker(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"find", find},          {"start", start}, {"join", join},      {"handle", handle},
      {"raise", raise_signal}, {"fill", fill},   {"wake", wake_here}, {"fork", fork_here},
      {"wait", wait_for},      {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
