/* Writing bytes: see output.h. Nothing is joined or copied: strings and Buffers go to the kernel
 * from where they lie. */
#include "binding/output.h"

#include "binding/buffer.h"
#include "binding/method_call.h"
#include "binding/slices.h"

/* How much has gone out: an integer on top of the arguments, which are none, once there has been a
 * wait or a failure. */
static bool has_sent(lua_State *L, int slot) {
  return lua_type(L, slot) == LUA_TNUMBER;
}

static uint64_t sent_so_far(lua_State *L, int slot) {
  return has_sent(L, slot) ? (uint64_t)lua_tointeger(L, slot) : 0;
}

/* Everything has gone out, or what kept it from that. */
static int end_sending(lua_State *L, struct tn_call *call, uint64_t sent, ptrdiff_t status) {
  lua_pushinteger(L, (lua_Integer)sent);
  if (status >= 0) {
    return 1;
  }
  call->top = lua_gettop(L);
  return (int)status;
}

/* `nil, err, sent` */
static int extras_sent(lua_State *L, struct tn_call *call) {
  lua_pushinteger(L, call->top ? (lua_Integer)sent_so_far(L, call->top) : 0);
  return 1;
}

/* --- write: all of it --- */

/* Is it one string? */
TN_INLINE int prepare_write(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  int last = lua_gettop(L);
  if (last == 2 && lua_type(L, 2) == LUA_TSTRING) {
    return 1;
  }
  if (last > LUA_MINSTACK / 2) {
    luaL_checkstack(L, LUA_MINSTACK, NULL);
  }
  for (int i = 2; i <= last; i++) {
    tn_check_bytes(L, i);
  }
  return 0;
}

/* Of the pieces from `*first` on `*sent` bytes are gone; those that are gone whole are passed over
 * for good. */
static ptrdiff_t send_some(lua_State *L, struct tn_source *source, int *first, int last,
                           uint64_t *sent) {
  struct tn_slice slices[TN_SLICES_MAX];
  for (; *sent > 0 && *first <= last; ++*first) {
    size_t length = tn_bytes_at(L, *first).length;
    if (length > *sent) {
      break;
    }
    *sent -= length;
  }
  int count = tn_slices_of(L, *first, last, *sent, slices);
  return count == 0   ? 0
         : count == 1 ? tn_source_send(source, slices[0].base, slices[0].length)
                      : tn_source_send_slices(source, slices, count);
}

/* Sends until everything has gone out, or something stops it. Below the integer of all that has
 * gone are two more then: the first piece that has not, and how much of that has. */
static int send_all(lua_State *L, struct tn_call *call, uint64_t sent) {
  int last = call->resumed ? call->top : lua_gettop(L);
  int first = 2;
  uint64_t gone = sent;
  if (has_sent(L, last)) {
    last -= 3;
    first = (int)lua_tointeger(L, last + 1);
    gone = (uint64_t)lua_tointeger(L, last + 2);
  }
  lua_settop(L, last);
  ptrdiff_t count;
  int calls = 0;
  while ((count = send_some(L, call->source, &first, last, &gone)) > 0) {
    sent += (size_t)count;
    gone += (size_t)count;
    if (++calls == TN_CALLS_MAX) {
      count = tn_call_give_way(call);
      break;
    }
  }
  if (count < 0) {
    lua_pushinteger(L, first);
    lua_pushinteger(L, (lua_Integer)gone);
  }
  return end_sending(L, call, sent, count);
}

TN_INLINE int attempt_write(lua_State *L, struct tn_call *call) {
  if (!call->prepared) {
    return send_all(L, call, call->resumed ? sent_so_far(L, call->top) : 0);
  }
  /* the common case: one string, gone at once */
  size_t length;
  const char *bytes = lua_tolstring(L, 2, &length);
  ptrdiff_t count = length ? tn_source_send(call->source, bytes, length) : 0;
  if (count == (ptrdiff_t)length || (count < 0 && count != TN_EAGAIN)) {
    return end_sending(L, call, count > 0 ? (size_t)count : 0, count);
  }
  return send_all(L, call, count > 0 ? (size_t)count : 0);
}

/* --- write_some: one call of the kernel --- */

static int prepare_write_some(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_bytes(L, 2);
  struct tn_slice bytes = tn_bytes_at(L, 2);
  lua_pushinteger(L, tn_opt_integer(L, 3, "i", 1, (lua_Integer)bytes.length + 1, 1));
  lua_replace(L, 3);
  return 0;
}

static int attempt_write_some(lua_State *L, struct tn_call *call) {
  struct tn_slice bytes = tn_bytes_at(L, 2);
  size_t from = (size_t)lua_tointeger(L, 3) - 1;
  if (from >= bytes.length) {
    return tn_call_count(L, 0);
  }
  return tn_call_count(
      L, tn_source_send(call->source, (char *)bytes.base + from, bytes.length - from));
}

/* --- write_vectored{bytes, …}: the same for a list --- */

static int prepare_write_vectored(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_bytes_list(L, 2);
  return 0;
}

static int attempt_write_vectored(lua_State *L, struct tn_call *call) {
  int top = lua_gettop(L);
  struct tn_slice slices[TN_SLICES_MAX];
  int count = tn_slices_of_list(L, 2, slices);
  ptrdiff_t sent = count ? tn_source_send_slices(call->source, slices, count) : 0;
  lua_settop(L, top);
  return tn_call_count(L, sent);
}

/* --- write_from: a Buffer, consumed as it goes --- */

TN_INLINE int prepare_write_from(lua_State *L, struct tn_runtime *rt) {
  tn_check_free_buffer(L, 2, rt->current ? NULL : &rt->blocking);
  return 0;
}

TN_INLINE int attempt_write_from(lua_State *L, struct tn_call *call) {
  struct tn_buffer *buffer = lua_touserdata(L, 2);
  uint64_t sent = call->resumed ? sent_so_far(L, call->top) : 0;
  ptrdiff_t count = 0;
  for (int calls = 0; buffer->length > 0; calls++) {
    count = calls < TN_CALLS_MAX
                ? tn_source_send(call->source, tn_buffer_bytes(buffer), buffer->length)
                : tn_call_give_way(call);
    if (count < 0) {
      break;
    }
    sent += (size_t)count;
    tn_buffer_consume(buffer, (size_t)count);
  }
  lua_settop(L, 2);
  return end_sending(L, call, sent, count);
}

TN_METHOD_COMPILED(write)
TN_METHOD_COMPILED(write_from)

enum { WRITE, WRITE_FROM };

/* clang-format off */
const struct tn_method tn_output_methods[] = {
  [WRITE] =
  {.name = "write",          .kinds = TN_WRITERS, .interest = TN_WRITABLE, .flags = TN_WRITES,
   .prepare = prepare_write, .attempt = attempt_write, .extras = extras_sent,
   .function = call_write, .continuation = resume_write},
  [WRITE_FROM] =
  {.name = "write_from",     .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 2, .flags = TN_WRITES | TN_EMPTIES,
   .prepare = prepare_write_from, .attempt = attempt_write_from, .extras = extras_sent,
   .function = call_write_from, .continuation = resume_write_from},
  {.name = "write_some",     .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES,
   .prepare = prepare_write_some, .attempt = attempt_write_some},
  {.name = "write",          .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES | TN_ONLY_TRY,
   .prepare = prepare_write_some, .attempt = attempt_write_some},
  {.name = "write_vectored", .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 2, .flags = TN_WRITES | TN_HAS_TRY,
   .prepare = prepare_write_vectored, .attempt = attempt_write_vectored},
  {0},
};
/* clang-format on */

TN_METHOD_COMPILE(write, &tn_output_methods[WRITE])
TN_METHOD_COMPILE(write_from, &tn_output_methods[WRITE_FROM])
