/* What ends a stream, and its halves: see stream.h. */
#include "binding/stream.h"

#include "binding/error.h"
#include "binding/method_call.h"
#include "binding/object.h"

#include <string.h>

/* --- ends --- */

static int take_direction(lua_State *L) {
  static const char *const names[] = {"read", "write", "both", NULL};
  static const enum tn_direction directions[] = {TN_SHUT_READ, TN_SHUT_WRITE, TN_SHUT_BOTH};
  const char *name = lua_isnoneornil(L, 2) ? "write" : tn_name_at(L, 2);
  for (int i = 0; names[i]; i++) {
    if (strcmp(names[i], name) == 0) {
      return directions[i];
    }
  }
  return luaL_argerror(
      L, 2, lua_pushfstring(L, "\"read\", \"write\" or \"both\" expected, got \"%s\"", name));
}

static int prepare_shutdown(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  const struct tn_object *object = lua_touserdata(L, 1);
  enum tn_direction direction = take_direction(L);
  luaL_argcheck(L, direction == TN_SHUT_WRITE || !(object->header.kind & TN_HALVES), 2,
                "\"write\" expected: the writing half cannot shut down reading");
  return 0;
}

static int attempt_shutdown(lua_State *L, struct tn_call *call) {
  enum tn_direction direction = take_direction(L);
  int status = tn_socket_shutdown(call->source->fd, direction);
  if (status < 0 && status != -ENOTCONN) {
    return status;
  }
  call->source->read_shut |= direction != TN_SHUT_WRITE;
  if (direction != TN_SHUT_READ) {
    call->source->write_shut = true;
    /* Linux has no event for it where a Unix socket's queue is full */
    tn_source_report(call->source, TN_WRITABLE, true);
  }
  lua_settop(L, 1);
  return 1;
}

/* --- halves --- */

static struct tn_object *push_half(lua_State *L, struct tn_call *call, uint64_t kind) {
  struct tn_object *half = tn_object_new(L, call->rt, kind);
  half->source = tn_source_retain(call->source);
  half->half_of = (uint32_t)tn_kind_of(call->self);
  half->view = !(kind & (TN_OWNED_READ_HALF | TN_OWNED_WRITE_HALF));
  call->source->views += half->view;
  return half;
}

static int attempt_split(lua_State *L, struct tn_call *call) {
  push_half(L, call, TN_READ_HALF);
  push_half(L, call, TN_WRITE_HALF);
  return 2;
}

static int attempt_into_split(lua_State *L, struct tn_call *call) {
  tn_source_end_waits(call->source);
  push_half(L, call, TN_OWNED_READ_HALF);
  push_half(L, call, TN_OWNED_WRITE_HALF);
  struct tn_object *stream = call->self;
  if (stream->source != call->source) { /* a finalizer closed it */
    return tn_method_closed(L, call);
  }
  stream->source = NULL;
  stream->consumed_by = "into_split";
  tn_source_release(call->source);
  return 2;
}

static int prepare_reunite(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check(L, 2, TN_OWNED_WRITE_HALF, "OwnedWriteHalf");
  return 0;
}

static int attempt_reunite(lua_State *L, struct tn_call *call) {
  struct tn_object *read_half = call->self;
  struct tn_object *write_half = lua_touserdata(L, 2);
  if (!write_half->source || write_half->source->fd == TN_NO_FD) {
    call->message = "the OwnedWriteHalf is closed";
    return TN_CLOSED;
  }
  if (write_half->source != read_half->source) {
    call->message = "the halves are not of one stream";
    return TN_EINVAL;
  }
  struct tn_object *stream = tn_object_new(L, call->rt, read_half->half_of);
  if (read_half->source != call->source) { /* a finalizer closed it, or the other */
    return tn_method_closed(L, call);
  }
  if (write_half->source != call->source) {
    call->message = tn_object_push_end(L, write_half);
    return TN_CLOSED;
  }
  tn_source_end_waits(call->source);
  tn_object_move(stream, read_half, "reunite");
  write_half->source = NULL;
  write_half->consumed_by = "reunite";
  tn_source_release(call->source);
  return 1;
}

static int attempt_forget(lua_State *L, struct tn_call *call) {
  tn_object_forget(L, call->self);
  return 0;
}

const struct tn_class tn_half_classes[] = {
    {"ReadHalf", TN_READ_HALF, NULL, tn_object_metamethods},
    {"WriteHalf", TN_WRITE_HALF, NULL, tn_object_metamethods},
    {"OwnedReadHalf", TN_OWNED_READ_HALF, NULL, tn_object_metamethods},
    {"OwnedWriteHalf", TN_OWNED_WRITE_HALF, NULL, tn_object_metamethods},
    {NULL, 0, NULL, NULL}};

/* clang-format off */
const struct tn_method tn_stream_methods[] = {
  {.name = "shutdown",   .kinds = (TN_WRITERS & ~TN_PIPES) | TN_MESSAGERS, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_shutdown, .attempt = attempt_shutdown},
  {.name = "split",      .kinds = TN_WHOLE_STREAMS, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_split},
  {.name = "into_split", .kinds = TN_WHOLE_STREAMS, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_into_split},
  {.name = "reunite",    .kinds = TN_OWNED_READ_HALF, .slots = 2, .flags = TN_NEVER_WAITS,
   .prepare = prepare_reunite, .attempt = attempt_reunite},
  {.name = "forget",     .kinds = TN_OWNED_WRITE_HALF, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_forget},
  {0},
};
/* clang-format on */
