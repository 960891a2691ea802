/* Receiving messages: see message_input.h. Every form is one call of recvmsg. */
#include "binding/message_input.h"

#include "binding/address.h"
#include "binding/buffer.h"
#include "binding/control.h"
#include "binding/field.h"
#include "binding/message.h"
#include "binding/message_flags.h"
#include "binding/method_call.h"
#include "binding/slices.h"
#include "core/datagrams.h"
#include "core/scratch.h"

#include <limits.h>
#include <string.h>

/* What a receive waits for when there is nothing: urgent data and the error queue have an event of
 * their own, which does not fire for plain bytes. */
static int would_block(lua_State *L, struct tn_call *call, int flags) {
  int most = call->method->slots ? call->method->slots : 3;
  if (lua_gettop(L) > most) { /* attempts may be many: nothing of this one stays behind */
    lua_settop(L, most);
  }
  call->wait_interest = flags & MSG_OOB        ? TN_PRIORITY | TN_READ_CLOSED
                        : flags & MSG_ERRQUEUE ? TN_PRIORITY
                                               : 0;
  return TN_EAGAIN;
}

/* No urgent byte has come: it will, unless the peer has ended the stream. */
static ptrdiff_t no_urgent_byte(struct tn_source *source) {
  int inline_data = 0;
  socklen_t length = sizeof inline_data;
  tn_socket_get_option(source->fd, SOL_SOCKET, SO_OOBINLINE, &inline_data, &length);
  if (inline_data) {
    return TN_EINVAL;
  }
  int ready = tn_socket_poll(source->fd, TN_PRIORITY);
  int error = ready >= 0 && (ready & TN_ERROR) ? tn_source_take_error(source) : 0;
  return ready < 0 ? ready : error < 0 ? error : ready & TN_READ_CLOSED ? 0 : TN_EAGAIN;
}

/* Bytes into the slices, as many as there is room for: how many. */
static size_t scatter(const struct tn_message *message, const char *bytes, size_t length) {
  size_t total = 0;
  for (int i = 0; i < message->count && total < length; i++) {
    size_t left = length - total;
    size_t part = message->slices[i].length < left ? message->slices[i].length : left;
    memcpy(message->slices[i].base, bytes + total, part);
    total += part;
  }
  return total;
}

/* One of the datagrams that came joined; its real length. */
static ptrdiff_t receive_kept(struct tn_source *source, struct tn_message *message, int flags) {
  struct tn_datagram datagram;
  if (!tn_datagrams_kept(source)) {
    int status = tn_datagrams_receive(source, TN_DATAGRAMS_LIKELY);
    if (status < 0) {
      return status;
    }
    if (flags & MSG_PEEK) { /* it stays here, where no event tells of it */
      tn_source_wake(source, TN_READABLE, 0);
    }
  }
  tn_datagrams_first(source, &datagram);
  size_t given = scatter(message, datagram.bytes, datagram.length);
  if (message->address) {
    memcpy(message->address, &datagram.from.storage, datagram.from.length);
  }
  message->address_length = datagram.from.length;
  message->control_length = 0;
  message->flags = given < datagram.length ? MSG_TRUNC : 0;
  if (!(flags & MSG_PEEK)) {
    tn_datagrams_take(source);
  }
  return (ptrdiff_t)datagram.length;
}

/* One recvmsg. What a stream has read ahead, and what came joined, comes before what the kernel
 * has. Who takes control data with a message takes joined ones as they are. */
TN_INLINE ptrdiff_t receive(struct tn_source *source, struct tn_message *message, int flags) {
  bool plain = !(flags & (MSG_OOB | MSG_ERRQUEUE));
  if (plain && source->input.length > 0) {
    size_t total = scatter(message, tn_bytes_data(&source->input), source->input.length);
    if (!(flags & MSG_PEEK)) {
      tn_bytes_consume(&source->input, total);
    }
    message->address_length = 0;
    message->control_length = 0;
    message->flags = 0;
    return (ptrdiff_t)total;
  }
  bool whole = plain && !tn_source_is_stream(source);
  if (whole && tn_datagrams_joined(source) && (!message->control || tn_datagrams_kept(source))) {
    ptrdiff_t length = receive_kept(source, message, flags);
    if (length != TN_EAGAIN || !source->read_shut) {
      return length;
    }
  }
  if (whole) {
    flags |= MSG_TRUNC; /* the real length of a message that is cut */
  }
  ptrdiff_t count = tn_source_recv_message(source, message, flags);
  bool no_urgent = count == TN_EINVAL && (flags & MSG_OOB);
  bool is_over = count == TN_EAGAIN && plain && source->read_shut; /* Linux would say so for ever */
  if (no_urgent || is_over) {
    message->address_length = 0; /* nothing was filled in */
    message->control_length = 0;
    message->flags = 0;
    count = no_urgent ? no_urgent_byte(source) : 0;
  }
  return count;
}

static size_t room_of(const struct tn_message *message) {
  size_t room = 0;
  for (int i = 0; i < message->count; i++) {
    room += message->slices[i].length;
  }
  return room;
}

/* Nothing came where bytes must: the end. An empty datagram is data; so is an empty record with
 * control data, which the end of a stream may have too (credentials, inq). */
TN_INLINE bool is_end(struct tn_source *source, ptrdiff_t count, const struct tn_message *message,
                      int flags) {
  if (count != 0 || room_of(message) == 0 || (flags & MSG_ERRQUEUE)) {
    return false;
  }
  return (flags & MSG_OOB) || source->read_shut || tn_source_is_stream(source) ||
         (message->control_length == 0 && tn_source_is_over(source));
}

/* Where a message is received. Bytes of a stream that Lua has no memory for stay readable, so no
 * more than fit into the reactor's memory come at once; a datagram is lost then. */
struct place {
  char *bytes; /* NULL: no memory */
  size_t size;
  bool kept;  /* bytes of a stream, on their way out of it */
  bool ahead; /* in the source's own buffer, for a finalizer in the middle of another read */
};

TN_INLINE struct place place_for(lua_State *L, const struct tn_call *call, size_t max, int flags) {
  struct tn_source *source = call->source;
  struct tn_reactor *reactor = call->rt->reactor;
  bool leaves = !(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE));
  bool is_stream = (leaves || max > TN_SCRATCH_SIZE) && tn_source_is_stream(source);
  struct place place = {.size = max};
  if (is_stream && max > TN_SCRATCH_SIZE) {
    place.size = TN_SCRATCH_SIZE;
  }
  place.kept = is_stream && leaves;
  place.ahead = place.kept && tn_scratch_busy(reactor);
  if (place.ahead) {
    place.bytes = tn_bytes_reserve(&source->input, place.size + 1);
  } else if (place.size <= TN_SCRATCH_SIZE && !tn_scratch_busy(reactor)) {
    place.bytes = tn_reactor_scratch(reactor);
  } else {
    place.bytes = lua_newuserdatauv(L, place.size, 0);
  }
  return place;
}

TN_INLINE ptrdiff_t receive_at(struct tn_source *source, const struct place *place,
                               struct tn_message *message, int flags) {
  struct tn_bytes *input = &source->input;
  if (!place->ahead) {
    return receive(source, message, flags);
  }
  bool is_there = input->length > 0;
  ptrdiff_t count = receive(source, message, is_there ? flags | MSG_PEEK : flags);
  if (count > 0 && !is_there) {
    tn_bytes_commit(input, (size_t)count);
  } else if (input->length == 0) {
    tn_bytes_free(input);
  }
  return count;
}

TN_INLINE void hold(struct tn_source *source, const struct place *place, size_t count) {
  if (place->kept && !place->ahead) {
    tn_scratch_hold(source, place->bytes, count);
  }
}

/* Lua has them. */
TN_INLINE void take(struct tn_source *source, const struct tn_call *call, const struct place *place,
                    size_t count) {
  if (!place->ahead) {
    tn_scratch_take(call->rt->reactor, source);
  } else if (count > 0) {
    tn_bytes_consume(&source->input, count);
  }
}

/* Whom a message is from, or nil. */
TN_INLINE void push_sender(lua_State *L, struct tn_call *call, struct tn_address *address,
                           socklen_t length) {
  address->length = length;
  if (tn_sender_has_address(call, address)) {
    tn_address_push_kept(L, call->rt, address);
  } else {
    lua_pushnil(L);
  }
}

/* data[, address or nil[, real length]] */
TN_INLINE int receive_data(lua_State *L, struct tn_call *call, int flags, bool with_address) {
  struct tn_source *source = call->source;
  struct tn_address address;
  size_t max = TN_SCRATCH_SIZE;
  if (!call->prepared) {
    max = lua_type(L, 2) == LUA_TNUMBER ? (size_t)lua_tointeger(L, 2) : max;
    flags |= tn_flags_at(L, 3);
  }
  struct place place = place_for(L, call, max, flags);
  struct tn_slice slice = {place.bytes, place.size};
  struct tn_message message = {.slices = &slice, .count = 1, .plain = true};
  if (!place.bytes) {
    return TN_ENOMEM;
  }
  if (with_address) {
    message.address = &address.any;
    message.address_length = sizeof address.storage;
  }
  ptrdiff_t count = receive_at(source, &place, &message, flags);
  if (count < 0) {
    return count == TN_EAGAIN ? would_block(L, call, flags) : (int)count;
  }
  if (is_end(source, count, &message, flags)) {
    lua_pushnil(L);
    return 1;
  }
  size_t given = (size_t)count < max ? (size_t)count : max;
  hold(source, &place, given);
  lua_pushlstring(L, slice.base, given); /* before anything else of Lua's: the memory is shared */
  take(source, call, &place, given);
  if (with_address) {
    push_sender(L, call, &address, message.address_length);
  }
  if ((size_t)count <= max) {
    return with_address ? 2 : 1;
  }
  lua_settop(L, lua_gettop(L) + !with_address);
  lua_pushinteger(L, count);
  return 3;
}

/* Is there nothing to look at? */
TN_INLINE int prepare_recv(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  if (lua_gettop(L) == 1) {
    return 1;
  }
  if (!lua_isnoneornil(L, 2)) {
    tn_check_integer(L, 2, "max", 0, INT_MAX);
  }
  tn_fix_flags(L, 3, false);
  return 0;
}

TN_INLINE int attempt_recv(lua_State *L, struct tn_call *call) {
  return receive_data(L, call, 0, false);
}

TN_INLINE int attempt_recv_from(lua_State *L, struct tn_call *call) {
  return receive_data(L, call, 0, true);
}

static int attempt_peek(lua_State *L, struct tn_call *call) {
  return receive_data(L, call, MSG_PEEK, false);
}

static int attempt_peek_from(lua_State *L, struct tn_call *call) {
  return receive_data(L, call, MSG_PEEK, true);
}

static int attempt_recv_out_of_band(lua_State *L, struct tn_call *call) {
  return receive_data(L, call, MSG_OOB, false);
}

/* Whom the next datagram is from. */
static int attempt_peek_sender(lua_State *L, struct tn_call *call) {
  struct tn_address address;
  char byte;
  struct tn_slice slice = {&byte, 1};
  struct tn_message message = {.slices = &slice,
                               .count = 1,
                               .plain = true,
                               .address = &address.any,
                               .address_length = sizeof address.storage};
  ptrdiff_t count = receive(call->source, &message, MSG_PEEK);
  if (count < 0) {
    return (int)count;
  }
  if (is_end(call->source, count, &message, MSG_PEEK)) {
    lua_pushnil(L);
  } else {
    push_sender(L, call, &address, message.address_length);
  }
  return 1;
}

static int prepare_recv_vectored(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_rooms(L, 2);
  tn_fix_flags(L, 3, false);
  return 0;
}

/* count[, address], flags */
static int receive_vectored(lua_State *L, struct tn_call *call, bool with_address) {
  struct tn_address address = {.length = 0};
  struct tn_slice slices[TN_SLICES_MAX];
  int flags = tn_flags_at(L, 3);
  struct tn_message message = {.slices = slices, .count = tn_rooms_at(L, 2, slices)};
  if (with_address) {
    message.address = &address.any;
    message.address_length = sizeof address.storage;
  }
  size_t room = room_of(&message);
  ptrdiff_t count = receive(call->source, &message, flags);
  if (count < 0) {
    return count == TN_EAGAIN ? would_block(L, call, flags) : (int)count;
  }
  if (is_end(call->source, count, &message, flags)) {
    lua_pushnil(L);
    return 1;
  }
  size_t given = (size_t)count < room ? (size_t)count : room;
  tn_rooms_fill(L, 2, given);
  lua_pushinteger(L, (lua_Integer)given);
  if (with_address) {
    push_sender(L, call, &address, message.address_length);
  }
  tn_push_flags(L, message.flags);
  return with_address ? 3 : 2;
}

static int attempt_recv_vectored(lua_State *L, struct tn_call *call) {
  return receive_vectored(L, call, false);
}

static int attempt_recv_from_vectored(lua_State *L, struct tn_call *call) {
  return receive_vectored(L, call, true);
}

/* --- recvmsg{data =, control =, flags =}; slots: data, control, flags --- */

/* An integer field; where it is missing, the default. */
static lua_Integer size_field(lua_State *L, int index, const char *name, lua_Integer most,
                              lua_Integer otherwise) {
  lua_Integer size = tn_raw_field(L, index, name) == LUA_TNIL
                         ? otherwise
                         : tn_check_integer_of(L, index, -1, name, 0, most);
  lua_pop(L, 1);
  return size;
}

static int prepare_recvmsg(lua_State *L, struct tn_runtime *rt) {
  static const char *const known[] = {"data", "control", "flags", NULL};
  (void)rt;
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  tn_check_keys(L, 2, known);
  lua_pushinteger(L, size_field(L, 2, "data", INT_MAX, TN_SCRATCH_SIZE));
  lua_replace(L, 3);
  lua_pushinteger(L, size_field(L, 2, "control", TN_CONTROL_MAX, 2048));
  lua_replace(L, 4);
  tn_raw_field(L, 2, "flags");
  lua_pushinteger(L, tn_check_flags(L, lua_gettop(L), 2, false));
  lua_replace(L, 5);
  lua_settop(L, 5);
  return 0;
}

static int attempt_recvmsg(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  struct tn_control control;
  struct tn_address address;
  size_t max = (size_t)lua_tointeger(L, 3);
  size_t control_max = (size_t)lua_tointeger(L, 4);
  int flags = (int)lua_tointeger(L, 5);
  /* the owner of descriptors is there before they can come */
  int room = (int)(control_max / sizeof(tn_fd));
  struct tn_received *result = tn_received_new(L, call->rt, room);
  int result_at = lua_gettop(L);
  struct place place = place_for(L, call, max, flags);
  struct tn_slice slice = {place.bytes, place.size};
  struct tn_message message = {.slices = &slice,
                               .count = 1,
                               .address = &address.any,
                               .address_length = sizeof address.storage,
                               .control = control.bytes,
                               .control_length = control_max};
  if (!place.bytes) {
    return TN_ENOMEM;
  }
  ptrdiff_t count = receive_at(source, &place, &message, flags);
  if (count < 0) {
    return count == TN_EAGAIN ? would_block(L, call, flags) : (int)count;
  }
  control.length = message.control_length;
  result->count = tn_control_fds(&control, result->fds, room);
  if (is_end(source, count, &message, flags)) {
    lua_pushnil(L);
    return 1;
  }
  size_t given = (size_t)count < max ? (size_t)count : max;
  hold(source, &place, given);
  lua_pushlstring(L, slice.base, given);
  lua_createtable(L, 0, 5);
  lua_insert(L, -2);
  lua_setfield(L, -2, "data");
  tn_set_integer(L, "length", count);
  push_sender(L, call, &address, message.address_length);
  lua_setfield(L, -2, "address");
  tn_push_flags(L, message.flags);
  lua_setfield(L, -2, "flags");
  tn_control_push(L, call->rt, &control);
  lua_setfield(L, -2, "control");
  lua_setiuservalue(L, result_at, 1);
  lua_pushvalue(L, result_at);
  take(source, call, &place, given); /* not before the last that needs memory */
  return 1;
}

TN_METHOD_COMPILED(recv)
TN_METHOD_COMPILED(recv_from)

enum { RECV, RECV_FROM };

/* clang-format off */
#define RECEIVES(method_name, count, checks) \
  .name = #method_name, .kinds = TN_MESSAGERS, .interest = TN_READABLE | TN_EXCLUSIVE, .slots = (count), \
   .flags = TN_READS | TN_HAS_TRY, .prepare = prepare_##checks, .attempt = attempt_##method_name
const struct tn_method tn_message_input_methods[] = {
  [RECV]      = {RECEIVES(recv, 0, recv), .function = call_recv, .continuation = resume_recv},
  [RECV_FROM] = {RECEIVES(recv_from, 0, recv), .function = call_recv_from, .continuation = resume_recv_from},
  {RECEIVES(peek, 3, recv)},
  {RECEIVES(peek_from, 3, recv)},
  {.name = "recv_out_of_band", .kinds = TN_SOCKET, .interest = TN_READABLE | TN_EXCLUSIVE, .slots = 3,
   .flags = TN_READS | TN_HAS_TRY, .prepare = prepare_recv, .attempt = attempt_recv_out_of_band},
  {RECEIVES(recv_vectored, 3, recv_vectored)},
  {RECEIVES(recv_from_vectored, 3, recv_vectored)},
  {.name = "peek_sender", .kinds = TN_MESSAGERS, .interest = TN_READABLE, .slots = 1, .flags = TN_READS | TN_HAS_TRY,
   .attempt = attempt_peek_sender},
  {.name = "recvmsg", .kinds = TN_MESSAGERS, .interest = TN_READABLE | TN_EXCLUSIVE, .slots = 5,
   .flags = TN_READS | TN_HAS_TRY, .prepare = prepare_recvmsg, .attempt = attempt_recvmsg},
  {0},
};
/* clang-format on */

TN_METHOD_COMPILE(recv, &tn_message_input_methods[RECV])
TN_METHOD_COMPILE(recv_from, &tn_message_input_methods[RECV_FROM])
