/* mio's layer: see poll.h. A Poll is a selector of the system's, and a source of the reactor like
 * any other: that it has something to tell makes it readable. */
#include "binding/poll.h"

#include "binding/error.h"
#include "binding/interest.h"
#include "binding/object.h"
#include "binding/readiness.h"

#include <limits.h>

/* --- Events, Event --- */

struct events {
  struct tn_header header;
  int capacity;
  int count;
  struct tn_selected list[];
};

struct event {
  struct tn_conditions conditions;
  lua_Integer token;
};

static struct events *check_events(lua_State *L, int index) {
  return tn_check(L, index, TN_EVENTS, "Events");
}

static int events_new(lua_State *L) {
  int capacity = (int)tn_check_integer(L, 1, "capacity", 1, 1 << 24);
  struct events *events = tn_new_with(L, tn_runtime_of(L), TN_EVENTS, sizeof *events,
                                      (size_t)capacity * sizeof events->list[0], 0);
  events->capacity = capacity;
  return 1;
}

static int events_capacity(lua_State *L) {
  lua_pushinteger(L, check_events(L, 1)->capacity);
  return 1;
}

static int events_len(lua_State *L) {
  lua_pushinteger(L, check_events(L, 1)->count);
  return 1;
}

static int events_is_empty(lua_State *L) {
  lua_pushboolean(L, check_events(L, 1)->count == 0);
  return 1;
}

static int events_clear(lua_State *L) {
  check_events(L, 1)->count = 0;
  lua_settop(L, 1);
  return 1;
}

/* The step of iter: upvalues are the runtime, the Events and how many were given. */
static int next_event(lua_State *L) {
  const struct events *events = lua_touserdata(L, lua_upvalueindex(2));
  lua_Integer position = lua_tointeger(L, lua_upvalueindex(3));
  if (position >= events->count) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, position + 1);
  lua_replace(L, lua_upvalueindex(3));
  struct event *event = tn_new(L, tn_runtime_of(L), TN_EVENT, sizeof *event, 0);
  event->conditions.bits = events->list[position].ready;
  event->token = (lua_Integer)events->list[position].token;
  return 1;
}

static int events_iter(lua_State *L) {
  check_events(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_event, 3);
  return 1;
}

static const luaL_Reg events_functions[] = {{"new", events_new},     {"capacity", events_capacity},
                                            {"iter", events_iter},   {"is_empty", events_is_empty},
                                            {"clear", events_clear}, {NULL, NULL}};
static const luaL_Reg events_metamethods[] = {{"__len", events_len}, {NULL, NULL}};
const struct tn_class tn_events_class = {"Events", TN_EVENTS, events_functions, events_metamethods};

static const struct event *check_event(lua_State *L) {
  return tn_check(L, 1, TN_EVENT, "Event");
}

static int event_token(lua_State *L) {
  lua_pushinteger(L, check_event(L)->token);
  return 1;
}

static int event_tostring(lua_State *L) {
  const struct event *event = check_event(L);
  const char *names = tn_conditions_push_names(L, event->conditions.bits);
  lua_pushfstring(L, "Event (token %I%s%s)", (LUAI_UACINT)event->token, *names ? ", " : "", names);
  return 1;
}

static const luaL_Reg event_functions[] = {{"token", event_token}, {NULL, NULL}};
static const luaL_Reg event_metamethods[] = {{"__tostring", event_tostring}, {NULL, NULL}};
const struct tn_class tn_event_class = {"Event", TN_EVENT, event_functions, event_metamethods};

/* --- Poll --- */

static int poll_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_opening_check(L, rt, "new");
  struct tn_object *poll = tn_object_new(L, rt, TN_POLL);
  int fd = tn_selector_open();
  if (fd < 0) {
    return tn_fail(L, rt, fd, "new", NULL);
  }
  struct tn_source *source = tn_source_take(L, rt, fd);
  tn_object_own(poll, source);
  source->is_selector = true;
  struct tn_rare *rare = tn_source_rare(source);
  if (!rare || !(rare->selector = tn_selector_new(fd))) {
    return luaL_error(L, "not enough memory");
  }
  return 1;
}

/* poll(events[, timeout]) */
static int prepare_poll(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_events(L, 2)->count = 0;
  return 0;
}

static bool is_over(lua_State *L, const struct tn_call *call) {
  if (!call->resumed) {
    return lua_type(L, 3) == LUA_TNUMBER && lua_tonumber(L, 3) == 0;
  }
  return call->waiter->operation_ns != 0 && call->waiter->operation_ns <= tn_now_ns();
}

static int attempt_poll(lua_State *L, struct tn_call *call) {
  struct events *events = lua_touserdata(L, 2);
  int count = tn_selector_wait(call->source->fd, events->list, events->capacity, 0);
  if (count < 0 || (count == 0 && !is_over(L, call))) {
    return count < 0 ? count : TN_EAGAIN;
  }
  events->count = count;
  lua_pushinteger(L, count);
  return 1;
}

/* --- Registry --- */

struct registry {
  struct tn_header header;
  struct tn_selector *selector; /* NULL: closed */
};

static int push_registry(lua_State *L, struct tn_runtime *rt, struct tn_selector *selector) {
  struct registry *registry = tn_new(L, rt, TN_REGISTRY, sizeof *registry, 0);
  registry->selector = tn_selector_retain(selector);
  return 1;
}

static int attempt_registry(lua_State *L, struct tn_call *call) {
  return push_registry(L, call->rt, call->source->rare->selector);
}

static struct registry *check_registry(lua_State *L, int index) {
  return tn_check(L, index, TN_REGISTRY, "Registry");
}

static int registry_gc(lua_State *L) {
  struct registry *registry = check_registry(L, 1);
  if (registry->selector) {
    tn_selector_release(registry->selector);
    registry->selector = NULL;
  }
  return 0;
}

static bool is_closed(const struct registry *registry) {
  return !registry->selector || registry->selector->fd == TN_NO_FD;
}

static int registry_try_clone(lua_State *L) {
  const struct registry *registry = check_registry(L, 1);
  tn_runtime_check(L, tn_runtime_of(L), "try_clone");
  if (is_closed(registry)) {
    return tn_fail(L, tn_runtime_of(L), TN_CLOSED, "try_clone", "the Poll is closed");
  }
  return push_registry(L, tn_runtime_of(L), registry->selector);
}

/* A descriptor that somebody else owns. Nothing but its number, as in mio: what is registered is
 * the descriptor, and another SourceFd of it serves as well. */
struct source_fd {
  struct tn_header header;
  tn_fd fd;
};

/* The reactor's own descriptor has this Poll in it whenever a task waits for the Poll. */
static int select_fd(lua_State *L, const struct source_fd *raw, struct tn_selector *selector,
                     enum tn_selection what, int interest, uint64_t token) {
  if (raw->fd == tn_reactor_backend_fd(tn_runtime_of(L)->reactor)) {
    return -ELOOP;
  }
  return tn_selector_set(selector->fd, what, raw->fd, interest, token);
}

static const char *message_of(int status) {
  return status == -EEXIST    ? "the source is registered already, with this Poll or another"
         : status == -ENOENT  ? "the source is not registered with this Poll"
         : status == TN_EBUSY ? "a task is waiting for the source"
         : status == -ELOOP   ? "the Poll would be in itself, or too deep in others"
         : status == -EPERM   ? "the system cannot poll a descriptor of that kind"
                              : NULL;
}

static int set(lua_State *L, enum tn_selection what, const char *op) {
  struct tn_runtime *rt = tn_runtime_of(L);
  const struct registry *registry = check_registry(L, 1);
  const struct source_fd *raw = tn_cast(L, 2, TN_SOURCE_FD);
  const struct tn_object *object =
      raw ? NULL : tn_check(L, 2, TN_SOURCES & ~TN_HALVES & ~TN_POLL, "socket, pipe or SourceFd");
  uint64_t token = 0;
  int interest = 0;
  if (what != TN_SELECT_REMOVE) {
    token = (uint64_t)tn_check_integer(L, 3, "token", LUA_MININTEGER, LUA_MAXINTEGER);
    interest = tn_check_interest(L, 4);
  }
  tn_runtime_check(L, rt, op);
  if (is_closed(registry)) {
    return tn_fail(L, rt, TN_CLOSED, op, "the Poll is closed");
  }
  if (object && !tn_object_is_open(object)) {
    return tn_fail(L, rt, TN_CLOSED, op, tn_object_push_end(L, object));
  }
  int status = object ? tn_source_select(object->source, registry->selector, what, interest, token)
                      : select_fd(L, raw, registry->selector, what, interest, token);
  if (status < 0) {
    return tn_fail(L, rt, status, op, message_of(status));
  }
  lua_settop(L, 1);
  return 1;
}

static int registry_register(lua_State *L) {
  return set(L, TN_SELECT_ADD, "register");
}

static int registry_reregister(lua_State *L) {
  return set(L, TN_SELECT_CHANGE, "reregister");
}

static int registry_deregister(lua_State *L) {
  return set(L, TN_SELECT_REMOVE, "deregister");
}

static const luaL_Reg registry_functions[] = {{"register", registry_register},
                                              {"reregister", registry_reregister},
                                              {"deregister", registry_deregister},
                                              {"try_clone", registry_try_clone},
                                              {NULL, NULL}};
static const luaL_Reg registry_metamethods[] = {{"__gc", registry_gc}, {NULL, NULL}};
const struct tn_class tn_registry_class = {"Registry", TN_REGISTRY, registry_functions,
                                           registry_metamethods};

/* --- SourceFd --- */

static struct source_fd *check_source_fd(lua_State *L) {
  return tn_check(L, 1, TN_SOURCE_FD, "SourceFd");
}

static int source_fd_new(lua_State *L) {
  tn_fd fd = (tn_fd)tn_check_integer(L, 1, "fd", 0, INT_MAX);
  struct source_fd *raw = tn_new(L, tn_runtime_of(L), TN_SOURCE_FD, sizeof *raw, 0);
  raw->fd = fd;
  return 1;
}

static int source_fd_fd(lua_State *L) {
  lua_pushinteger(L, check_source_fd(L)->fd);
  return 1;
}

static const luaL_Reg source_fd_functions[] = {
    {"new", source_fd_new}, {"fd", source_fd_fd}, {NULL, NULL}};
static int source_fd_tostring(lua_State *L) {
  lua_pushfstring(L, "SourceFd (fd %d)", check_source_fd(L)->fd);
  return 1;
}

static const luaL_Reg source_fd_metamethods[] = {{"__tostring", source_fd_tostring}, {NULL, NULL}};
const struct tn_class tn_source_fd_class = {"SourceFd", TN_SOURCE_FD, source_fd_functions,
                                            source_fd_metamethods};

/* --- Waker --- */

struct waker {
  struct tn_header header;
  tn_fd fd; /* TN_NO_FD: closed */
  struct tn_selector *selector;
};

static struct waker *check_waker(lua_State *L) {
  return tn_check(L, 1, TN_WAKER, "Waker");
}

static int waker_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  const struct registry *registry = check_registry(L, 1);
  uint64_t token = (uint64_t)tn_check_integer(L, 2, "token", LUA_MININTEGER, LUA_MAXINTEGER);
  tn_opening_check(L, rt, "new");
  struct waker *waker = tn_new(L, rt, TN_WAKER, sizeof *waker, 0);
  waker->fd = TN_NO_FD;
  if (is_closed(registry)) {
    return tn_fail(L, rt, TN_CLOSED, "new", "the Poll is closed");
  }
  if (registry->selector->has_waker) {
    return tn_fail(L, rt, -EEXIST, "new", "the Poll has a Waker already");
  }
  int fd = tn_waker_open();
  int status =
      fd < 0 ? fd : tn_selector_set(registry->selector->fd, TN_SELECT_ADD, fd, TN_READABLE, token);
  if (status < 0) {
    if (fd >= 0) {
      tn_socket_close(fd);
    }
    return tn_fail(L, rt, status, "new", NULL);
  }
  waker->fd = fd;
  waker->selector = tn_selector_retain(registry->selector);
  waker->selector->has_waker = true;
  return 1;
}

static int waker_wake(lua_State *L) {
  const struct waker *waker = check_waker(L);
  tn_runtime_check(L, tn_runtime_of(L), "wake");
  int status = waker->fd == TN_NO_FD ? TN_CLOSED : tn_waker_wake(waker->fd);
  if (status < 0) {
    return tn_fail(L, tn_runtime_of(L), status, "wake",
                   status == TN_CLOSED ? "the Waker is closed" : NULL);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* For tcpnet_waker_wake() of another thread or a signal handler. */
static int waker_fd(lua_State *L) {
  const struct waker *waker = check_waker(L);
  if (waker->fd == TN_NO_FD) {
    return tn_fail(L, tn_runtime_of(L), TN_CLOSED, "fd", "the Waker is closed");
  }
  lua_pushinteger(L, waker->fd);
  return 1;
}

static int waker_close(lua_State *L) {
  struct waker *waker = check_waker(L);
  if (waker->fd != TN_NO_FD) {
    tn_socket_close(waker->fd);
    waker->fd = TN_NO_FD;
    waker->selector->has_waker = false;
    tn_selector_release(waker->selector);
  }
  return 0;
}

static int waker_closed(lua_State *L) {
  lua_pushboolean(L, check_waker(L)->fd == TN_NO_FD);
  return 1;
}

static int waker_tostring(lua_State *L) {
  const struct waker *waker = check_waker(L);
  if (waker->fd == TN_NO_FD) {
    lua_pushliteral(L, "Waker (closed)");
  } else {
    lua_pushfstring(L, "Waker (fd %d)", waker->fd);
  }
  return 1;
}

static const luaL_Reg waker_functions[] = {{"new", waker_new},       {"wake", waker_wake},
                                           {"fd", waker_fd},         {"close", waker_close},
                                           {"closed", waker_closed}, {NULL, NULL}};
static const luaL_Reg waker_metamethods[] = {
    {"__gc", waker_close}, {"__close", waker_close}, {"__tostring", waker_tostring}, {NULL, NULL}};
const struct tn_class tn_waker_class = {"Waker", TN_WAKER, waker_functions, waker_metamethods};

static const luaL_Reg poll_functions[] = {{"new", poll_new}, {NULL, NULL}};
const struct tn_class tn_poll_class = {"Poll", TN_POLL, poll_functions, tn_object_metamethods};

const struct tn_method tn_poll_methods[] = {
    {.name = "poll",
     .kinds = TN_POLL,
     .interest = TN_READABLE,
     .slots = 3,
     .seconds_at = 3,
     .flags = TN_OWN_TIMEOUT,
     .prepare = prepare_poll,
     .attempt = attempt_poll},
    {.name = "registry",
     .kinds = TN_POLL,
     .slots = 1,
     .flags = TN_NEVER_WAITS,
     .attempt = attempt_registry},
    {0},
};
