/* Writing bytes: see output.h. Nothing is joined or copied: strings and Buffers go to the kernel
 * from where they lie. How much has gone out is a slot at the top of the call's stack. */
#include "binding/output.h"

#include "binding/buffer.h"
#include "binding/slices.h"

static size_t sent_so_far(lua_State *L, int slot) {
  return (size_t)lua_tointeger(L, slot);
}

static void set_sent(lua_State *L, int slot, size_t sent) {
  lua_pushinteger(L, (lua_Integer)sent);
  lua_replace(L, slot);
}

/* Buffers whose write waits must stay as they are. */
static void claim_buffers(lua_State *L, struct tn_call *call, int first, int last) {
  for (int i = first; i <= last && call->waiter; i++) {
    struct tn_buffer *buffer = tn_cast(L, i, TN_BUFFER);
    if (buffer && !buffer->writing.holder) {
      tn_claim_take(&buffer->writing, call->waiter);
    }
  }
}

/* --- write: all of it --- */

static int prepare_write(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  int last = lua_gettop(L);
  if (last > LUA_MINSTACK / 2) {
    luaL_checkstack(L, LUA_MINSTACK, NULL);
  }
  for (int i = 2; i <= last; i++) {
    tn_check_bytes(L, i);
  }
  lua_pushinteger(L, 0);
  return 0;
}

static ptrdiff_t send_some(lua_State *L, struct tn_source *source, int last, size_t sent) {
  struct tn_slice slices[TN_SLICES_MAX];
  int count = tn_slices_of(L, 2, last, sent, slices);
  return count == 0   ? 0
         : count == 1 ? tn_source_send(source, slices[0].base, slices[0].length)
                      : tn_source_send_slices(source, slices, count);
}

/* Sends until everything has gone out; the status of what stopped it before. */
static int send_all(lua_State *L, struct tn_call *call, int slot, size_t sent) {
  ptrdiff_t count;
  int calls = 0;
  while ((count = send_some(L, call->source, slot - 1, sent)) > 0) {
    sent += (size_t)count;
    if (++calls == TN_CALLS_MAX) {
      count = tn_call_give_way(call);
      break;
    }
  }
  set_sent(L, slot, sent);
  if (count == TN_EAGAIN) {
    claim_buffers(L, call, 2, slot - 1);
  }
  return count == 0 ? 1 : (int)count;
}

static int attempt_write(lua_State *L, struct tn_call *call) {
  int slot = call->resumed ? call->top : lua_gettop(L);
  size_t sent = 0;
  if (call->resumed) {
    sent = sent_so_far(L, slot);
  } else if (slot == 3 &&
             lua_type(L, 2) == LUA_TSTRING) { /* the common case: one string, gone at once */
    size_t length;
    const char *bytes = lua_tolstring(L, 2, &length);
    ptrdiff_t count = length ? tn_source_send(call->source, bytes, length) : 0;
    if (count == (ptrdiff_t)length) {
      lua_pushinteger(L, count);
      return 1;
    }
    if (count < 0 && count != TN_EAGAIN) {
      return (int)count;
    }
    sent = count > 0 ? (size_t)count : 0;
  }
  return send_all(L, call, slot, sent);
}

/* `nil, err, sent` */
static int extras_write(lua_State *L, struct tn_call *call) {
  int slot = call->resumed ? call->top : lua_gettop(L) - 2;
  lua_pushinteger(L, lua_isinteger(L, slot) ? lua_tointeger(L, slot) : 0);
  return 1;
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

static int push_sent(lua_State *L, ptrdiff_t count) {
  if (count < 0) {
    return (int)count;
  }
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

static int attempt_write_some(lua_State *L, struct tn_call *call) {
  struct tn_slice bytes = tn_bytes_at(L, 2);
  size_t from = (size_t)lua_tointeger(L, 3) - 1;
  claim_buffers(L, call, 2, 2);
  if (from >= bytes.length) {
    return push_sent(L, 0);
  }
  return push_sent(L, tn_source_send(call->source, (char *)bytes.base + from, bytes.length - from));
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
  return push_sent(L, sent);
}

/* --- write_from: a Buffer, consumed as it goes --- */

static int prepare_write_from(lua_State *L, struct tn_runtime *rt) {
  tn_check_free_buffer(L, 2, rt->current ? NULL : &rt->blocking);
  lua_pushinteger(L, 0);
  lua_replace(L, 3);
  return 0;
}

static int attempt_write_from(lua_State *L, struct tn_call *call) {
  struct tn_buffer *buffer = lua_touserdata(L, 2);
  size_t sent = sent_so_far(L, 3);
  if (call->waiter) {
    tn_claim_take(&buffer->writing, call->waiter);
  }
  for (int calls = 0; buffer->length > 0; calls++) {
    ptrdiff_t count =
        calls < TN_CALLS_MAX
            ? tn_source_send(call->source, buffer->memory + buffer->start, buffer->length)
            : tn_call_give_way(call);
    if (count < 0) {
      set_sent(L, 3, sent);
      return (int)count;
    }
    sent += (size_t)count;
    tn_buffer_consume(buffer, (size_t)count);
  }
  set_sent(L, 3, sent);
  lua_pushvalue(L, 3);
  return 1;
}

static int extras_write_from(lua_State *L, struct tn_call *call) {
  (void)call;
  lua_pushvalue(L, 3);
  return 1;
}

/* clang-format off */
const struct tn_method tn_output_methods[] = {
  {.name = "write",          .kinds = TN_WRITERS, .interest = TN_WRITABLE, .flags = TN_WRITES,
   .prepare = prepare_write, .attempt = attempt_write, .extras = extras_write},
  {.name = "write_some",     .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES,
   .prepare = prepare_write_some, .attempt = attempt_write_some},
  {.name = "write",          .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES | TN_ONLY_TRY,
   .prepare = prepare_write_some, .attempt = attempt_write_some},
  {.name = "write_vectored", .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 2, .flags = TN_WRITES | TN_HAS_TRY,
   .prepare = prepare_write_vectored, .attempt = attempt_write_vectored},
  {.name = "write_from",     .kinds = TN_WRITERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES,
   .prepare = prepare_write_from, .attempt = attempt_write_from, .extras = extras_write_from},
  {0},
};
/* clang-format on */
