/* Sending messages: see message_output.h. Every form is one call of sendmsg. */
#include "binding/message_output.h"

#include "binding/address.h"
#include "binding/buffer.h"
#include "binding/control.h"
#include "binding/message_flags.h"
#include "binding/method_call.h"
#include "binding/slices.h"

/* The address of a call that has been looked at. */
TN_INLINE const struct tn_address *address_of(lua_State *L, int index) {
  return index ? tn_address_of(lua_touserdata(L, index)) : NULL;
}

/* Slots: bytes, [address,] flags. */
TN_INLINE int send_bytes(lua_State *L, struct tn_call *call, int address_at, int last) {
  struct tn_slice slice;
  if (call->prepared) {
    slice.base = (void *)lua_tolstring(L, 2, &slice.length);
  } else {
    slice = tn_bytes_at(L, 2);
  }
  const struct tn_address *address = address_of(L, address_at);
  int flags = call->prepared ? 0 : tn_flags_at(L, last);
  struct tn_message message = {.slices = &slice, .count = 1, .plain = true};
  tn_message_to(&message, address);
  return tn_call_count(L, tn_source_send_message(call->source, &message, flags));
}

/* Is it a string, and are there no flags, which would be the last? */
TN_INLINE int prepare_bytes(lua_State *L, int last) {
  if (lua_gettop(L) < last && lua_type(L, 2) == LUA_TSTRING) {
    return 1;
  }
  tn_check_bytes(L, 2);
  tn_fix_flags(L, last, true);
  return 0;
}

TN_INLINE int prepare_send(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  return prepare_bytes(L, 3);
}

TN_INLINE int attempt_send(lua_State *L, struct tn_call *call) {
  return send_bytes(L, call, 0, 3);
}

/* That there is an address was seen to before: TN_NAMES. */
TN_INLINE void check_family(lua_State *L) {
  const char *wrong = tn_address_misfit(tn_kind_of(lua_touserdata(L, 1)), address_of(L, 3));
  if (wrong) {
    luaL_argerror(L, 3, wrong);
  }
}

TN_INLINE int prepare_send_to(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_family(L);
  return prepare_bytes(L, 4);
}

TN_INLINE int attempt_send_to(lua_State *L, struct tn_call *call) {
  return send_bytes(L, call, 3, 4);
}

static int prepare_send_out_of_band(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_bytes(L, 2);
  lua_pushinteger(L, MSG_OOB);
  lua_replace(L, 3);
  return 0;
}

/* All of the list is one message, of which nothing may be left out; it may grow during a wait. */
static void check_length(lua_State *L) {
  luaL_argcheck(L, lua_rawlen(L, 2) <= TN_SLICES_MAX, 2,
                "a list of at most 64 strings, numbers or Buffers expected");
}

static void check_pieces(lua_State *L) {
  tn_check_bytes_list(L, 2);
  check_length(L);
}

static int prepare_send_vectored(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_pieces(L);
  tn_fix_flags(L, 3, true);
  return 0;
}

static int prepare_send_to_vectored(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_family(L);
  check_pieces(L);
  tn_fix_flags(L, 4, true);
  return 0;
}

static int send_list(lua_State *L, struct tn_call *call, int address_at, int last) {
  struct tn_slice slices[TN_SLICES_MAX];
  check_length(L);
  const struct tn_address *address = address_of(L, address_at);
  struct tn_message message = {.slices = slices, .count = tn_slices_of_list(L, 2, slices)};
  tn_message_to(&message, address);
  ptrdiff_t sent = tn_source_send_message(call->source, &message, tn_flags_at(L, last));
  lua_settop(L, last);
  return tn_call_count(L, sent);
}

static int attempt_send_vectored(lua_State *L, struct tn_call *call) {
  return send_list(L, call, 0, 3);
}

static int attempt_send_to_vectored(lua_State *L, struct tn_call *call) {
  return send_list(L, call, 3, 4);
}

/* --- sendmsg{data =, control =, flags =}, address --- */

/* Encodes the fields of the table; what is wrong with them is raised. Leaves values in use on the
 * stack. */
static int take_message(lua_State *L, const struct tn_object *object, struct tn_slice *slices,
                        struct tn_message *message, struct tn_control *control,
                        const char **problem) {
  int status = 0;
  int data_type = tn_raw_field(L, 2, "data");
  int data = lua_gettop(L);
  if (data_type == LUA_TNUMBER) {
    lua_tostring(L, data);
  }
  int type = tn_raw_field(L, 2, "control"); /* makes values: before there are slices */
  if (type != LUA_TNIL) {
    luaL_argcheck(L, type == LUA_TTABLE, 2, "control: list of tables with a type expected");
    tn_fd fd = object->source ? object->source->fd : TN_NO_FD;
    status = tn_control_take(L, lua_gettop(L), 2, fd, control, problem);
    message->control = control->bytes;
    message->control_length = control->length;
  }
  if (data_type == LUA_TTABLE) {
    luaL_argcheck(L, lua_rawlen(L, data) > 0 && lua_rawlen(L, data) <= TN_SLICES_MAX, 2,
                  "data: a list of 1 to 64 strings, numbers or Buffers expected");
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, data); i++) {
      int item = lua_rawgeti(L, data, i);
      luaL_argcheck(L, item == LUA_TSTRING || item == LUA_TNUMBER || tn_cast(L, -1, TN_BUFFER), 2,
                    "data: a list of 1 to 64 strings, numbers or Buffers expected");
      lua_pop(L, 1);
    }
    message->count = tn_slices_of_list(L, data, slices);
  } else if (data_type != LUA_TNIL) {
    slices[0] = tn_bytes_at(L, data);
    luaL_argcheck(L, slices[0].base, 2, "data: string, number, Buffer or a list of them expected");
    message->count = 1;
  }
  message->slices = slices;
  return status;
}

static int prepare_sendmsg(lua_State *L, struct tn_runtime *rt) {
  static const char *const known[] = {"data", "address", "control", "flags", NULL};
  struct tn_slice slices[TN_SLICES_MAX];
  struct tn_control control;
  struct tn_message message = {0};
  const char *problem;
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  tn_check_keys(L, 2, known);
  tn_raw_field(L, 2, "flags");
  lua_pushinteger(L, tn_check_flags(L, lua_gettop(L), 2, true));
  lua_replace(L, 4);
  if (!lua_isnil(L, 3)) {
    tn_check_address(L, 3);
  }
  take_message(L, lua_touserdata(L, 1), slices, &message, &control, &problem);
  lua_settop(L, 4);
  return 0;
}

/* Encoded anew for each attempt: an object among the descriptors may have been closed meanwhile,
 * and its number may be another's. */
static int attempt_sendmsg(lua_State *L, struct tn_call *call) {
  struct tn_slice slices[TN_SLICES_MAX];
  struct tn_control control;
  struct tn_message message = {0};
  const struct tn_address *address = tn_address_at(L, 3);
  int status = take_message(L, call->self, slices, &message, &control, &call->message);
  const struct tn_object *object = call->self;
  if (object->source != call->source || call->source->fd == TN_NO_FD) {
    call->source = object->source; /* a finalizer closed it */
    call->message = tn_object_push_end(L, object);
    return TN_CLOSED;
  }
  if (status < 0) {
    return status;
  }
  tn_message_to(&message, address);
  ptrdiff_t sent = tn_source_send_message(call->source, &message, (int)lua_tointeger(L, 4));
  if (sent == TN_EAGAIN) {
    lua_settop(L, 4);
  }
  return tn_call_count(L, sent);
}

TN_METHOD_COMPILED(send)
TN_METHOD_COMPILED(send_to)

enum { SEND, SEND_TO };

/* clang-format off */
#define SENDS(method_name, count) \
  .name = #method_name, .kinds = TN_MESSAGERS, .interest = TN_WRITABLE, .slots = (count), \
   .prepare = prepare_##method_name, .attempt = attempt_##method_name
const struct tn_method tn_message_output_methods[] = {
  [SEND]    = {SENDS(send, 0), .flags = TN_WRITES | TN_HAS_TRY,
               .function = call_send, .continuation = resume_send},
  [SEND_TO] = {SENDS(send_to, 0), .flags = TN_WRITES | TN_HAS_TRY | TN_NAMES, .address_at = 3,
               .function = call_send_to, .continuation = resume_send_to},
  {.name = "send_out_of_band", .kinds = TN_SOCKET, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES | TN_HAS_TRY,
   .prepare = prepare_send_out_of_band, .attempt = attempt_send},
  {SENDS(send_vectored, 3), .flags = TN_WRITES | TN_HAS_TRY},
  {SENDS(send_to_vectored, 4), .flags = TN_WRITES | TN_HAS_TRY | TN_NAMES, .address_at = 3},
  {.name = "sendmsg", .kinds = TN_MESSAGERS, .interest = TN_WRITABLE, .slots = 4,
   .flags = TN_WRITES | TN_HAS_TRY | TN_PRIVATE, .address_at = 3, .prepare = prepare_sendmsg, .attempt = attempt_sendmsg},
  {0},
};
/* clang-format on */

TN_METHOD_COMPILE(send, &tn_message_output_methods[SEND])
TN_METHOD_COMPILE(send_to, &tn_message_output_methods[SEND_TO])
