/* Reading bytes: see input.h. What was read ahead lies in the source's buffer and comes first;
 * bytes leave it only as the results of a call, so that whatever ends a call early has lost none.
 */
#include "binding/input.h"

#include "binding/buffer.h"
#include "binding/method_call.h"
#include "binding/slices.h"
#include "core/scratch.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* How much one read asks for: what is read ahead at least, and at once at most. */
static const size_t fill_least = 16384;
static const size_t fill_most = 65536;

/* Gives out the first `count` of the bytes ahead, which are these; `consumed`, as many or more, are
 * gone then. */
TN_INLINE int give_first(lua_State *L, struct tn_source *source, const char *bytes, size_t count,
                         size_t consumed) {
  struct tn_reactor *reactor = source->reactor;
  bool held = tn_scratch_hold_ahead(source);
  lua_pushlstring(L, bytes, count);
  if (!held || tn_scratch_take(reactor, source)) {
    tn_bytes_consume(&source->input, consumed);
  }
  return 1;
}

/* The same of what one read brought into the scratch memory; the others are ahead then. */
TN_INLINE int give_come(lua_State *L, struct tn_source *source, const char *bytes, size_t count,
                        size_t consumed) {
  struct tn_reactor *reactor = source->reactor;
  lua_pushlstring(L, bytes, count);
  tn_scratch_take_first(reactor, source, consumed);
  return 1;
}

/* With nothing ahead bytes come by way of the scratch memory: a stream that gets what it asks for
 * needs no buffer of its own. Not where a finalizer reads in the middle of another read. */
TN_INLINE bool comes_by_scratch(const struct tn_source *source) {
  return source->input.length == 0 && !tn_scratch_busy(source->reactor);
}

int tn_give_ahead(lua_State *L, struct tn_source *source, size_t count) {
  const char *bytes = count ? tn_bytes_data(&source->input) : "";
  return give_first(L, source, bytes, count, count);
}

/* --- read --- */

TN_INLINE int prepare_read(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  if (!lua_isnoneornil(L, 2)) {
    tn_check_integer(L, 2, "max", 1, INT_MAX);
  }
  return 0;
}

static size_t max_of(lua_State *L, const struct tn_call *call) {
  return (size_t)(lua_type(L, 2) == LUA_TNUMBER ? lua_tointeger(L, 2) : call->rt->buffer_size);
}

TN_INLINE int attempt_read(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  size_t max = max_of(L, call);
  if (source->input.length == 0 &&
      tn_scratch_busy(source->reactor)) { /* a finalizer reads, in the middle of another read */
    ptrdiff_t filled = tn_source_fill(source, max < fill_most ? max : fill_most);
    if (filled <= 0) {
      return filled == 0 ? (lua_pushnil(L), 1) : (int)filled;
    }
  }
  if (source->input.length > 0) {
    return tn_give_ahead(L, source, source->input.length < max ? source->input.length : max);
  }
  const char *bytes;
  ptrdiff_t count = tn_scratch_recv(source, max, &bytes);
  if (count > 0) {
    lua_pushlstring(L, bytes, (size_t)count);
    tn_scratch_take(call->rt->reactor, source);
    return 1;
  }
  if (count == 0) {
    lua_pushnil(L);
    return 1;
  }
  return (int)count;
}

/* --- a certain amount --- */

static int prepare_read_exact(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_integer(L, 2, "n", 0, (lua_Integer)1 << 40);
  return 0;
}

/* Reads until `want` bytes are buffered; 0: the stream ended before. */
static ptrdiff_t fill_to(struct tn_call *call, size_t want) {
  struct tn_source *source = call->source;
  for (int calls = 0; source->input.length < want; calls++) {
    if (calls == TN_CALLS_MAX) {
      return tn_call_give_way(call);
    }
    size_t missing = want - source->input.length;
    ptrdiff_t count = tn_source_fill(
        source, missing < fill_most ? (missing < fill_least ? fill_least : missing) : fill_most);
    if (count <= 0) {
      return count;
    }
  }
  return 1;
}

TN_INLINE int attempt_read_exact(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  size_t want = tn_size_at(L, 2);
  if (want > 0 && want <= TN_SCRATCH_SIZE && comes_by_scratch(source)) {
    const char *bytes;
    ptrdiff_t count = tn_scratch_recv(source, want < fill_least ? fill_least : want, &bytes);
    if (count <= 0) {
      return count == 0 ? TN_EOF : (int)count;
    }
    if ((size_t)count >= want) {
      return give_come(L, source, bytes, want, want);
    }
    int status = tn_scratch_rescue(source->reactor);
    if (status < 0) {
      return status;
    }
  }
  ptrdiff_t status = fill_to(call, want);
  if (status <= 0) {
    return status == 0 ? TN_EOF : (int)status;
  }
  return tn_give_ahead(L, call->source, want);
}

/* `nil, err, partial`: the bytes that did come, which stay readable. */
static int extras_read_exact(lua_State *L, struct tn_call *call) {
  const struct tn_source *source = call->source;
  if (call->status != TN_EOF) {
    return 0;
  }
  lua_pushlstring(L, source->input.length ? tn_bytes_data(&source->input) : "",
                  source->input.length);
  return 1;
}

static int prepare_read_to_end(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  lua_pushinteger(L, tn_opt_integer(L, 2, "max", 0, LUA_MAXINTEGER, LUA_MAXINTEGER));
  lua_replace(L, 2);
  return 0;
}

static int attempt_read_to_end(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  size_t max = tn_size_at(L, 2);
  for (int calls = 0; calls < TN_CALLS_MAX; calls++) {
    if (source->input.length > max) {
      return TN_LIMIT;
    }
    ptrdiff_t count = tn_source_fill(source, fill_most);
    if (count == 0) {
      return tn_give_ahead(L, source, source->input.length);
    }
    if (count < 0) {
      return (int)count;
    }
  }
  return tn_call_give_way(call);
}

/* --- up to a delimiter; the slot after the last argument: how far the bytes are known to hold none
 * --- */

/* The argument `max`, which is the last; what follows is for the search. */
TN_INLINE int prepare_limit(lua_State *L, int index) {
  int top = lua_gettop(L);
  if (top > index) {
    lua_settop(L, index);
  }
  return top < index || lua_isnil(L, index) ? TN_SCRATCH_SIZE
                                            : (int)tn_check_integer(L, index, "max", 1, INT_MAX);
}

TN_INLINE size_t limit_of(lua_State *L, const struct tn_call *call, int index) {
  return call->prepared ? (size_t)call->prepared
                        : (size_t)luaL_optinteger(L, index, TN_SCRATCH_SIZE);
}

/* So many of the bytes ahead are looked through: what ends behind `max` is too long. */
TN_INLINE size_t ahead_within(const struct tn_source *source, size_t max) {
  return source->input.length < max ? source->input.length : max;
}

/* Nothing is found before `from`; what there is, if anything, comes with the next attempt. */
static ptrdiff_t not_found(lua_State *L, int slot, size_t from, ptrdiff_t status) {
  lua_settop(L, slot - 1);
  lua_pushinteger(L, (lua_Integer)from);
  return status;
}

/* Reads until something is found, or the stream ends. */
static ptrdiff_t fill_to_delimiter(lua_State *L, struct tn_call *call, int slot, size_t from,
                                   const char *delimiter, size_t length, size_t max) {
  struct tn_bytes *input = &call->source->input;
  for (int calls = 0; input->length < max; calls++) {
    ptrdiff_t count =
        calls < TN_CALLS_MAX ? tn_source_fill(call->source, fill_least) : tn_call_give_way(call);
    if (count <= 0) {
      return not_found(L, slot, from, count);
    }
    size_t found = tn_bytes_find(tn_bytes_data(input), input->length, &from, delimiter, length);
    if (found > 0) {
      return found <= max ? (ptrdiff_t)found : TN_LIMIT;
    }
  }
  return TN_LIMIT;
}

/* The length of the prefix that ends with the delimiter, which is `*bytes`; 0: the stream ended
 * without one. */
TN_INLINE ptrdiff_t find_delimiter(lua_State *L, struct tn_call *call, int slot,
                                   const char *delimiter, size_t length, size_t max,
                                   const char **bytes) {
  struct tn_source *source = call->source;
  size_t from = call->resumed ? (size_t)lua_tointeger(L, slot) : 0;
  size_t found = 0;
  if (comes_by_scratch(source)) {
    ptrdiff_t count = tn_scratch_recv(source, fill_least, bytes);
    if (count <= 0) {
      return not_found(L, slot, from, count);
    }
    found = tn_bytes_find(*bytes, (size_t)count, &from, delimiter, length);
    if (found > 0 && found <= max) {
      return (ptrdiff_t)found;
    }
    int status = tn_scratch_rescue(source->reactor);
    if (status < 0) {
      return not_found(L, slot, 0, status);
    }
  } else if (source->input.length > 0) {
    found = tn_bytes_find(tn_bytes_data(&source->input), ahead_within(source, max), &from,
                          delimiter, length);
  }
  ptrdiff_t result = found == 0     ? fill_to_delimiter(L, call, slot, from, delimiter, length, max)
                     : found <= max ? (ptrdiff_t)found
                                    : TN_LIMIT;
  *bytes = source->input.length > 0 ? tn_bytes_data(&source->input) : "";
  return result;
}

/* The first `count` of what was found, unless that is more than `max`; it ends after `consumed`. */
TN_INLINE int give_found(lua_State *L, struct tn_source *source, const char *bytes, size_t count,
                         size_t consumed, size_t max) {
  if (count > max) {
    int status = tn_scratch_holds(source) ? tn_scratch_rescue(source->reactor) : 0;
    return status < 0 ? status : TN_LIMIT;
  }
  return tn_scratch_holds(source) ? give_come(L, source, bytes, count, consumed)
                                  : give_first(L, source, bytes, count, consumed);
}

TN_INLINE int prepare_read_line(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  return prepare_limit(L, 2);
}

/* So much of a line of `total` bytes is before its ending. */
TN_INLINE size_t without_ending(const char *line, size_t total) {
  size_t length = total - 1;
  return length > 0 && line[length - 1] == '\r' ? length - 1 : length;
}

TN_INLINE bool give_line(lua_State *L, struct tn_source *source, int prepared) {
  const char *line = tn_bytes_data(&source->input);
  const char *end = memchr(line, '\n', ahead_within(source, (size_t)prepared + 2));
  if (!end) {
    return false;
  }
  size_t total = (size_t)(end - line) + 1;
  size_t length = without_ending(line, total);
  if (length > (size_t)prepared) {
    return false;
  }
  give_first(L, source, line, length, total);
  return true;
}

TN_INLINE int attempt_read_line(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  /* the ending is not counted */
  size_t max = limit_of(L, call, 2);
  const char *line;
  ptrdiff_t found = find_delimiter(L, call, 3, "\n", 1, max + 2, &line);
  if (found < 0) {
    return (int)found;
  }
  size_t total = found > 0 ? (size_t)found : source->input.length;
  if (total == 0) {
    lua_pushnil(L);
    return 1;
  }
  size_t length = found > 0 ? without_ending(line, total) : total;
  return give_found(L, source, line, length, total, max);
}

TN_INLINE int prepare_read_until(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  luaL_checktype(L, 2, LUA_TSTRING);
  luaL_argcheck(L, lua_rawlen(L, 2) > 0, 2, "delimiter: at least one byte expected");
  return prepare_limit(L, 3);
}

TN_INLINE int attempt_read_until(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  size_t length;
  const char *delimiter = lua_tolstring(L, 2, &length);
  size_t max = limit_of(L, call, 3);
  const char *bytes;
  /* one byte more, or the end, tells whether so many are all that is left */
  ptrdiff_t found = find_delimiter(L, call, 4, delimiter, length, max + 1, &bytes);
  if (found < 0) {
    return (int)found;
  }
  size_t total = found > 0 ? (size_t)found : source->input.length;
  if (total == 0) {
    lua_pushnil(L);
    return 1;
  }
  return give_found(L, source, bytes, total, total, max);
}

/* --- into a Buffer --- */

/* How many bytes; nil at the end of the stream. */
static int give_count(lua_State *L, size_t count) {
  if (count == 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, (lua_Integer)count);
  }
  return 1;
}

static size_t move_buffered(struct tn_source *source, void *bytes, size_t room) {
  size_t count = source->input.length < room ? source->input.length : room;
  if (count > 0) {
    memcpy(bytes, tn_bytes_data(&source->input), count);
    tn_bytes_consume(&source->input, count);
  }
  return count;
}

TN_INLINE int prepare_read_into(lua_State *L, struct tn_runtime *rt) {
  const struct tn_buffer *buffer = tn_check_free_buffer(L, 2, rt->current ? NULL : &rt->blocking);
  luaL_argcheck(L, buffer->length < buffer->capacity, 2, "the Buffer is full");
  if (!lua_isnoneornil(L, 3)) {
    tn_check_integer(L, 3, "max", 1, LUA_MAXINTEGER);
  }
  return 0;
}

TN_INLINE int attempt_read_into(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  struct tn_buffer *buffer = lua_touserdata(L, 2);
  if (tn_buffer_is_claimed(buffer, call->waiter)) {
    tn_check_free_buffer(L, 2, call->waiter);
  }
  size_t max = lua_type(L, 3) == LUA_TNUMBER ? tn_size_at(L, 3) : SIZE_MAX;
  if (buffer->length == buffer->capacity) {
    return luaL_argerror(L, 2, "the Buffer is full");
  }
  if (source->input.length > 0) {
    struct tn_slice room = tn_buffer_room(buffer);
    size_t count = move_buffered(source, room.base, room.length < max ? room.length : max);
    buffer->length += count;
    return give_count(L, count);
  }
  ptrdiff_t received = tn_buffer_recv(buffer, source, max);
  return received < 0 ? (int)received : give_count(L, (size_t)received);
}

/* read_vectored{buffer, …} fills them in order. */
static int prepare_read_vectored(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_rooms(L, 2);
  return 0;
}

static int attempt_read_vectored(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  struct tn_slice slices[TN_SLICES_MAX];
  int count = tn_rooms_at(L, 2, slices);
  size_t total = 0;
  for (int i = 0; i < count; i++) {
    total += move_buffered(source, slices[i].base, slices[i].length);
  }
  if (total == 0) {
    ptrdiff_t received = tn_source_recv_slices(source, slices, count);
    if (received < 0) {
      return (int)received;
    }
    total = (size_t)received;
  }
  tn_rooms_fill(L, 2, total);
  return give_count(L, total);
}

/* --- peek --- */

static int attempt_peek(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  size_t max = max_of(L, call);
  max = max < TN_SCRATCH_SIZE ? max : TN_SCRATCH_SIZE;
  if (source->is_pipe && source->input.length == 0) { /* nothing can be looked at in a pipe */
    ptrdiff_t filled = tn_source_fill(source, max);
    if (filled < 0) {
      return (int)filled;
    }
  }
  size_t ahead = source->input.length < max ? source->input.length : max;
  if (tn_scratch_busy(source->reactor)) {
    return luaL_error(L, "peek: not in a finalizer that runs in the middle of a read");
  }
  char *bytes = tn_reactor_scratch(call->rt->reactor);
  ptrdiff_t count = 0;
  if (ahead > 0) {
    memcpy(bytes, tn_bytes_data(&source->input), ahead);
  }
  if (ahead < max && !source->is_pipe) {
    count = tn_source_peek(source, bytes + ahead, max - ahead);
  }
  if (ahead == 0 && count < 0) {
    return (int)count;
  }
  size_t total = ahead + (count > 0 ? (size_t)count : 0);
  if (total == 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, bytes, total);
  }
  return 1;
}

static int attempt_buffered(lua_State *L, struct tn_call *call) {
  lua_pushinteger(L, (lua_Integer)call->source->input.length);
  return 1;
}

TN_METHOD_COMPILED(read)
TN_METHOD_COMPILED(read_into)
TN_METHOD_COMPILED(read_exact)
TN_METHOD_COMPILED(read_line)
TN_METHOD_COMPILED(read_until)
TN_METHOD_COMPILED(next_line)
TN_METHOD_COMPILED(next_chunk)

enum { READ, READ_INTO, READ_EXACT, READ_LINE, READ_UNTIL };
enum { NEXT_LINE, NEXT_CHUNK };

/* clang-format off */
static const struct tn_method iterators[] = {
  [NEXT_LINE] =
  {.name = "read_line",    .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES | TN_RAISES,
   .prepare = prepare_read_line, .give = give_line, .attempt = attempt_read_line,
   .function = call_next_line, .continuation = resume_next_line},
  [NEXT_CHUNK] =
  {.name = "read",         .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES | TN_RAISES,
   .prepare = prepare_read, .attempt = attempt_read, .function = call_next_chunk, .continuation = resume_next_chunk},
};
/* clang-format on */

/* Both raise errors, and end with the stream. */
static int lines(lua_State *L) {
  return tn_iterator_new(L, &iterators[NEXT_LINE]);
}

static int chunks(lua_State *L) {
  return tn_iterator_new(L, &iterators[NEXT_CHUNK]);
}

/* clang-format off */
const struct tn_method tn_input_methods[] = {
  [READ] =
  {.name = "read",         .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES | TN_HAS_TRY,
   .prepare = prepare_read, .attempt = attempt_read, .function = call_read, .continuation = resume_read},
  [READ_INTO] =
  {.name = "read_into",    .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES | TN_HAS_TRY,
   .prepare = prepare_read_into, .attempt = attempt_read_into, .function = call_read_into, .continuation = resume_read_into},
  [READ_EXACT] =
  {.name = "read_exact",   .kinds = TN_READERS, .interest = TN_READABLE, .slots = 2, .flags = TN_READS,
   .prepare = prepare_read_exact, .attempt = attempt_read_exact, .extras = extras_read_exact,
   .function = call_read_exact, .continuation = resume_read_exact},
  [READ_LINE] =
  {.name = "read_line",    .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES,
   .prepare = prepare_read_line, .give = give_line, .attempt = attempt_read_line,
   .function = call_read_line, .continuation = resume_read_line},
  [READ_UNTIL] =
  {.name = "read_until",   .kinds = TN_READERS, .interest = TN_READABLE, .flags = TN_READS | TN_NEEDS_BYTES,
   .prepare = prepare_read_until, .attempt = attempt_read_until, .function = call_read_until, .continuation = resume_read_until},
  {.name = "read_to_end",  .kinds = TN_READERS, .interest = TN_READABLE, .slots = 2, .flags = TN_READS | TN_NEEDS_BYTES,
   .prepare = prepare_read_to_end, .attempt = attempt_read_to_end},
  {.name = "read_vectored", .kinds = TN_READERS, .interest = TN_READABLE, .slots = 2, .flags = TN_READS | TN_ONLY_TRY,
   .prepare = prepare_read_vectored, .attempt = attempt_read_vectored},
  {.name = "peek",         .kinds = TN_READERS, .interest = TN_READABLE, .slots = 2, .flags = TN_READS | TN_HAS_TRY,
   .prepare = prepare_read, .attempt = attempt_peek},
  {.name = "lines",        .kinds = TN_READERS, .function = lines},
  {.name = "chunks",       .kinds = TN_READERS, .function = chunks},
  {.name = "buffered",     .kinds = TN_READERS, .slots = 1, .flags = TN_NEVER_WAITS, .attempt = attempt_buffered},
  {0},
};
/* clang-format on */

TN_METHOD_COMPILE(read, &tn_input_methods[READ])
TN_METHOD_COMPILE(read_into, &tn_input_methods[READ_INTO])
TN_METHOD_COMPILE(read_exact, &tn_input_methods[READ_EXACT])
TN_METHOD_COMPILE(read_line, &tn_input_methods[READ_LINE])
TN_METHOD_COMPILE(read_until, &tn_input_methods[READ_UNTIL])
TN_ITERATOR_COMPILE(next_line, &iterators[NEXT_LINE])
TN_ITERATOR_COMPILE(next_chunk, &iterators[NEXT_CHUNK])
