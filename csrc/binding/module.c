/* luaopen_tcpnet_core: makes the runtime and the classes of this Lua state, once, and fills the
 * module. The only file that knows every class. */
#include "binding/address.h"
#include "binding/batch.h"
#include "binding/buffer.h"
#include "binding/channel.h"
#include "binding/child.h"
#include "binding/clock.h"
#include "binding/connection.h"
#include "binding/copy.h"
#include "binding/error.h"
#include "binding/field.h"
#include "binding/inner.h"
#include "binding/input.h"
#include "binding/interest.h"
#include "binding/join_set.h"
#include "binding/lookup.h"
#include "binding/message.h"
#include "binding/message_flags.h"
#include "binding/message_input.h"
#include "binding/message_output.h"
#include "binding/object.h"
#include "binding/options.h"
#include "binding/output.h"
#include "binding/pipe.h"
#include "binding/poll.h"
#include "binding/readiness.h"
#include "binding/scheduler.h"
#include "binding/signal.h"
#include "binding/socket.h"
#include "binding/stream.h"
#include "binding/task_class.h"
#include "binding/task_outcome.h"
#include "binding/tcp_listener.h"
#include "binding/tcp_socket.h"
#include "binding/tcp_stream.h"
#include "binding/udp_socket.h"
#include "binding/unix_datagram.h"
#include "binding/unix_listener.h"
#include "binding/unix_socket.h"
#include "binding/unix_stream.h"
#include "binding/waits.h"
#include "binding/worker.h"
#include "binding/worker_port.h"

#include "core/source.h"
#include "core/status.h"

#include <limits.h>
#include <string.h>

/* Every row of every method; a class takes those that name its kind. */
static const struct tn_method *const method_tables[] = {
    tn_object_methods,         tn_option_methods,
    tn_input_methods,          tn_output_methods,
    tn_readiness_methods,      tn_connection_methods,
    tn_tcp_stream_methods,     tn_message_input_methods,
    tn_message_output_methods, tn_batch_methods,
    tn_stream_methods,         tn_unix_socket_methods,
    tn_unix_stream_methods,    tn_pipe_methods,
    tn_poll_methods,           tn_signal_methods,
    tn_child_methods,          tn_socket_methods,
    tn_task_methods,           tn_join_set_methods,
    tn_channel_methods,        tn_clock_methods,
    tn_lookup_methods,         tn_copy_methods,
    tn_worker_methods,         NULL,
};

static const struct tn_class *const classes[] = {
    &tn_error_class,         &tn_socket_addr_class,
    &tn_buffer_class,        &tn_ready_class,
    &tn_task_class,          &tn_join_set_class,
    &tn_lookup_class,        &tn_tcp_socket_class,
    &tn_tcp_stream_class,    &tn_tcp_listener_class,
    &tn_half_classes[0],     &tn_half_classes[1],
    &tn_half_classes[2],     &tn_half_classes[3],
    &tn_socket_class,        &tn_message_class,
    &tn_udp_socket_class,    &tn_unix_socket_class,
    &tn_unix_stream_class,   &tn_unix_listener_class,
    &tn_unix_datagram_class, &tn_signal_class,
    &tn_child_class,         &tn_poll_class,
    &tn_registry_class,      &tn_events_class,
    &tn_event_class,         &tn_waker_class,
    &tn_source_fd_class,     &tn_interest_class,
    &tn_pipe_sender_class,   &tn_pipe_receiver_class,
    &tn_sender_class,        &tn_unbounded_sender_class,
    &tn_receiver_class,      &tn_channel_permit_class,
    &tn_worker_class,        &tn_parent_class,
    &tn_outcome_class,       &tn_guard_class,
    &tn_buffer_claim_class,
};

/* The library's own Lua files are not where a user's call was made: how their names begin. */
static int hide_sources(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  tn_own_sources_set(L);
  return 0;
}

static int process_id(lua_State *L) {
  lua_pushinteger(L, tn_process_id());
  return 1;
}

/* set_splice(allowed): for tests, which compare both ways of copying. */
static int set_splice(lua_State *L) {
  tn_reactor_set_splice(tn_runtime_of(L)->reactor, lua_toboolean(L, 1));
  return 0;
}

/* buffer_size() → so many bytes a read takes at most that is told no number. */
static int buffer_size(lua_State *L) {
  lua_pushinteger(L, tn_runtime_of(L)->buffer_size);
  return 1;
}

/* owns_fd(fd) → is it an open object's? For a child process. */
static int owns_fd(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_Integer fd = luaL_checkinteger(L, 1);
  tn_opening_check(L, rt, "spawn");
  lua_pushboolean(L, fd <= INT_MAX && tn_source_owns(rt->reactor, (tn_fd)fd));
  return 1;
}

/* environment() → list of "NAME=value". */
static int environment(lua_State *L) {
  lua_newtable(L);
  lua_Integer count = 0;
  for (char *const *entry = tn_environment(); entry && *entry; entry++) {
    lua_pushstring(L, *entry);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* is_socket_file(path) → boolean, or nil where there is no file. */
static int is_socket_file(lua_State *L) {
  int answer = tn_path_is_socket(luaL_checkstring(L, 1));
  if (answer < 0) {
    lua_pushnil(L);
  } else {
    lua_pushboolean(L, answer);
  }
  return 1;
}

/* alive(operation) raises where nothing can be done: in a fork. */
static int alive(lua_State *L) {
  tn_runtime_check(L, tn_runtime_of(L), luaL_checkstring(L, 1));
  return 0;
}

/* enter(operation) raises where nothing can wait. */
static int enter(lua_State *L) {
  tn_task_enter(L, tn_runtime_of(L), luaL_checkstring(L, 1));
  return 0;
}

/* spend(operation): enter, and one of the task's operations begins. Does it have to give way? */
static int spend(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_task_enter(L, rt, luaL_checkstring(L, 1));
  lua_pushboolean(L, tn_budget_spend(rt));
  return 1;
}

/* kind(value) → the name of its class, or nil. */
static int kind(lua_State *L) {
  const struct tn_header *header = tn_cast(L, 1, UINT64_MAX);
  if (header) {
    lua_pushstring(L, tn_kind_name(header->kind));
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static const luaL_Reg functions[] = {
    {"run", tn_run},
    {"spawn", tn_task_spawn_function},
    {"current", tn_task_current},
    {"step", tn_step},
    {"backend_fd", tn_backend_fd},
    {"backend_timeout", tn_backend_timeout},
    {"metrics", tn_metrics_table},
    {"configure", tn_configure},
    {"now", tn_now},
    {"signal", tn_signal_new},
    {"is_error", tn_is_error},
    {"timeout", tn_timeout},
    {"available_parallelism", tn_available_parallelism},
    {NULL, NULL},
};

#ifdef TCPNET_FAULTS
/* fault(call, nth, times, code | "short") makes the library's own calls fail; fault() forgets it →
 * how many failed, and the number of calls of each name since. */
static int fault(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_newtable(L);
    const char *name;
    for (int i = 0; (name = tn_fault_name(i)) != NULL; i++) {
      tn_set_integer(L, name, tn_fault_calls(i));
    }
    lua_pushinteger(L, tn_fault_clear());
    lua_insert(L, -2);
    return 2;
  }
  const char *code = luaL_checkstring(L, 4);
  int error =
      strcmp(code, "short") == 0 ? TN_FAULT_SHORT : tn_status_errno(tn_status_by_name(code));
  luaL_argcheck(L, error != 0, 4, "the name of a code expected");
  bool known = tn_fault_set(luaL_checkstring(L, 1), (int)luaL_checkinteger(L, 2),
                            (int)luaL_checkinteger(L, 3), error);
  luaL_argcheck(L, known, 1, "the name of a call expected");
  return 0;
}

/* fault_hold(boolean): nothing fails, nothing counts. */
static int fault_hold(lua_State *L) {
  tn_fault_hold(lua_toboolean(L, 1));
  return 0;
}
#endif

static const luaL_Reg private_functions[] = {
#ifdef TCPNET_FAULTS
    {"fault", fault},
    {"fault_hold", fault_hold},
#endif
    {"new_channel", tn_channel_new},
    {"new_claim", tn_buffer_claim_new},
    {"is_claimed", tn_buffer_claimed},
    {"new_error", tn_error_new},
    {"target", tn_address_target},
    {"hide_sources", hide_sources},
    {"pid", process_id},
    {"kind", kind},
    {"locate", tn_error_locate},
    {"alive", alive},
    {"enter", enter},
    {"spend", spend},
    {"new_pipe", tn_pipe_new},
    {"spawn_child", tn_child_new},
    {"environment", environment},
    {"buffer_size", buffer_size},
    {"owns_fd", owns_fd},
    {"leaving", tn_object_leaving},
    {"waits", tn_waits},
    {"set_splice", set_splice},
    {"detour", tn_set_detour},
    {"open_fifo", tn_pipe_open_fifo},
    {"is_socket_file", is_socket_file},
    {"option_problem", tn_option_problem},
    {"flags_problem", tn_flags_problem},
    {"option_rows", tn_option_rows},
    {"tcp_info_rows", tn_option_info_rows},
    {"start_worker", tn_worker_start},
    {"adopt_worker", tn_worker_adopt},
    {"run_worker", tn_worker_run},
    {NULL, NULL},
};

static void open_classes(lua_State *L, struct tn_runtime *rt) {
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
    tn_class_open(L, rt, classes[i]);
    lua_getfield(L, -1, classes[i]->name);
    if (classes[i]->kind & TN_SOURCES) {
      tn_functions_add(L, rt, tn_object_functions);
    }
    if (classes[i]->kind & TN_CONDITIONS) {
      tn_conditions_add(L, rt, classes[i]);
    }
    for (const struct tn_method *const *table = method_tables; *table; table++) {
      tn_methods_add(L, rt, classes[i]->kind, *table);
    }
    lua_pop(L, 1);
    if (classes[i]->kind & (TN_NAMELESS | TN_HIDDEN)) {
      lua_pushnil(L);
      lua_setfield(L, -2, classes[i]->name);
    }
  }
  tn_channel_open(L, rt);
  tn_options_add(L, rt);
  lua_getfield(L, -1, tn_interest_class.name);
  tn_interest_constants(L, rt);
  lua_pop(L, 1);
}

static void open_functions(lua_State *L, struct tn_runtime *rt) {
  tn_functions_add(L, rt, functions);
  tn_coroutine_push(L, rt);
  lua_setfield(L, -2, "coroutine");
  lua_newtable(L);
  tn_functions_add(L, rt, private_functions);
  for (const struct tn_method *const *table = method_tables; *table; table++) {
    tn_methods_add_private(L, rt, *table);
  }
  lua_setfield(L, -2, "private");
  for (const struct tn_method *const *table = method_tables; *table; table++) {
    tn_methods_add(L, rt, 0, *table);
  }
}

/* Of tcpnet.h, for programs around Lua. */
LUAMOD_API int tcpnet_waker_wake(int fd);

int tcpnet_waker_wake(int fd) {
  return tn_waker_wake(fd);
}

LUAMOD_API int luaopen_tcpnet_core(lua_State *L) {
  /* once for a state, however often it is required again: live objects keep their classes */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, tn_magic) != LUA_TNIL) {
    return 1;
  }
  struct tn_runtime *rt = tn_runtime_new(L);
  tn_task_outcomes_open(L, rt);
  lua_newtable(L);
  open_classes(L, rt);
  open_functions(L, rt);
  tn_error_push(L, rt, TN_EAGAIN, NULL, NULL, NULL);
  rt->again = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, tn_magic);
  return 1;
}
