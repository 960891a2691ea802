/* The one program of all fuzz targets: libFuzzer's input goes to targets/NAME.lua, NAME being what
 * TCPNET_FUZZ says, in a Lua state with the library linked in. An error that the target raises is a
 * finding. Lines of Lua count as coverage, so that a codec guides the fuzzer as the C core does. */
#include "binding/control.h"
#include "binding/runtime.h"
#include "core/status.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifdef __linux__
#include <linux/filter.h>
#endif

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern int luaopen_tcpnet_core(lua_State *L);

enum { COUNTERS = 1 << 13 };

/* libFuzzer looks into the section of that name. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static lua_State *state;
static struct tn_runtime *runtime;

static void count_line(lua_State *L, lua_Debug *frame) {
  lua_getinfo(L, "Sl", frame);
  uintptr_t place = (uintptr_t)frame->source / sizeof(void *) + (uintptr_t)frame->currentline;
  uint8_t *counter = &counters[place * 2654435761U >> 16 & (COUNTERS - 1)];
  if (*counter < UINT8_MAX) {
    ++*counter;
  }
}

/* decode_control(bytes) → list of control messages, as recvmsg gives it */
static int decode_control(lua_State *L) {
  struct tn_control *control = lua_newuserdatauv(L, sizeof *control, 0);
  const char *bytes = luaL_checklstring(L, 1, &control->length);
  luaL_argcheck(L, control->length <= sizeof control->bytes, 1, "too long");
  memcpy(control->bytes, bytes, control->length);
  tn_control_push(L, runtime, control);
  return 1;
}

/* encode_control(list) → bytes, as sendmsg takes them | nil, the name of a code */
static int encode_control(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  struct tn_control *control = lua_newuserdatauv(L, sizeof *control, 0);
  lua_insert(L, 1);
  const char *message = NULL;
  int status = tn_control_take(L, 2, 1, TN_NO_FD, control, &message);
  if (status < 0) {
    lua_pushnil(L);
    lua_pushstring(L, tn_status_name(status));
    return 2;
  }
  lua_pushlstring(L, control->bytes, control->length);
  return 1;
}

#ifdef SO_ATTACH_FILTER
/* attach(fd, bytes) → 0 or an errno: the system's answer to that program */
static int attach(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  size_t count = length / sizeof(struct sock_filter);
  struct sock_filter *program = lua_newuserdatauv(L, count * sizeof *program + 1, 0);
  memcpy(program, bytes, count * sizeof *program);
  struct sock_fprog list = {(unsigned short)count, program};
  int fd = (int)luaL_checkinteger(L, 1);
  int answer = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &list, sizeof list);
  lua_pushinteger(L, answer == 0 ? 0 : errno);
  return 1;
}

/* attached(fd) → the bytes of the program that the socket has, "" without one */
static int attached(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  socklen_t count = 0; /* the system counts instructions here, not bytes */
  if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &count) != 0 || count == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  size_t size = count * sizeof(struct sock_filter);
  char *bytes = lua_newuserdatauv(L, size, 0);
  if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, bytes, &count) != 0) {
    return luaL_error(L, "SO_GET_FILTER: %s", strerror(errno));
  }
  lua_pushlstring(L, bytes, size);
  return 1;
}
#endif

static const luaL_Reg helpers[] = {
    {"decode_control", decode_control},
    {"encode_control", encode_control},
#ifdef SO_ATTACH_FILTER
    {"attach", attach},
    {"attached", attached},
#endif
    {NULL, NULL},
};

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

/* A finding; the sanitizers and libFuzzer take it from here. */
static void fail(lua_State *L) {
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  abort();
}

static void end(void) {
  lua_close(state);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  const char *target = getenv("TCPNET_FUZZ");
  if (!target) {
    fputs("TCPNET_FUZZ names no target\n", stderr);
    exit(2);
  }
  lua_State *L = state = luaL_newstate();
  luaL_openlibs(L);
  lua_sethook(L, count_line, LUA_MASKLINE, 0);
  lua_pushcfunction(L, traceback);
  lua_getglobal(L, "package");
  lua_pushliteral(L, TCPNET_ROOT "/lua/?.lua;" TCPNET_ROOT "/lua/?/init.lua;" TCPNET_ROOT "/?.lua");
  lua_setfield(L, -2, "path");
  luaL_requiref(L, "tcpnet.core", luaopen_tcpnet_core, 0);
  lua_getfield(L, -1, "now"); /* any function of the core has the runtime as upvalue */
  lua_getupvalue(L, -1, 1);
  runtime = lua_touserdata(L, -1);
  luaL_newlib(L, helpers);
  lua_setglobal(L, "fuzz");
  lua_settop(L, 1);
  lua_getglobal(L, "require");
  lua_pushfstring(L, "fuzz.targets.%s", target);
  if (lua_pcall(L, 1, 1, 1) != LUA_OK) {
    fail(L);
  }
  atexit(end);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lua_settop(state, 2);
  lua_pushvalue(state, 2);
  lua_pushlstring(state, (const char *)data, size);
  if (lua_pcall(state, 1, 0, 1) != LUA_OK) {
    fail(state);
  }
  return 0;
}
