/* Buffer: see buffer.h. */
#include "binding/buffer.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

static struct tn_buffer *check_buffer(lua_State *L, int index) {
  return tn_check(L, index, TN_BUFFER, "Buffer");
}

/* --- writes that wait --- */

/* A claim ends without a word to its Buffer, which finds out when it looks. */
static void drop_idle(struct tn_buffer *buffer, struct tn_share **link) {
  struct tn_share *share = *link;
  *link = share->next;
  buffer->share_count--;
  free(share);
}

bool tn_buffer_is_claimed(struct tn_buffer *buffer, const struct tn_waiter *waiter) {
  struct tn_share **link = &buffer->shares;
  bool claimed = tn_claim_taken(&buffer->emptying, waiter);
  while (*link && !claimed) {
    claimed = tn_claim_taken(&(*link)->claim, waiter);
    if ((*link)->claim.holder) {
      link = &(*link)->next;
    } else { /* the next look need not go past it */
      drop_idle(buffer, link);
    }
  }
  return claimed;
}

struct tn_buffer *tn_check_free_buffer_slowly(lua_State *L, int index,
                                              const struct tn_waiter *waiter) {
  struct tn_buffer *buffer = check_buffer(L, index);
  luaL_argcheck(L, !tn_buffer_is_claimed(buffer, waiter), index,
                "a write of this Buffer is waiting");
  return buffer;
}

/* When there are twice as many as at the last look: so each costs the same, however many wait. */
static void sweep(struct tn_buffer *buffer) {
  enum { LEAST = 8 };
  struct tn_share **link = &buffer->shares;
  while (*link) {
    if ((*link)->claim.holder) {
      link = &(*link)->next;
    } else {
      drop_idle(buffer, link);
    }
  }
  buffer->sweep_at = 2 * buffer->share_count + LEAST;
}

/* A write claims all its Buffers at once, and once: where it has this one already, it was the last
 * to claim it. */
static int take_share(struct tn_buffer *buffer, struct tn_waiter *waiter) {
  if (buffer->shares && buffer->shares->claim.holder == waiter) {
    return 0;
  }
  if (buffer->share_count >= buffer->sweep_at) {
    sweep(buffer);
  }
  struct tn_share *share = buffer->shares;
  if (!share || share->claim.holder) {
    share = calloc(1, sizeof *share);
    if (!share) {
      return TN_ENOMEM;
    }
    share->next = buffer->shares;
    buffer->shares = share;
    buffer->share_count++;
  }
  tn_claim_take(&share->claim, waiter);
  return 0;
}

static int claim_buffer(struct tn_buffer *buffer, struct tn_waiter *waiter, bool empties) {
  if (buffer->finalized) { /* nobody would see to it that its claims end */
    return 0;
  }
  if (tn_claim_taken(&buffer->emptying, waiter)) {
    return TN_EBUSY;
  }
  if (empties) {
    tn_claim_take(&buffer->emptying, waiter);
    return 0;
  }
  return take_share(buffer, waiter);
}

/* Allocates nothing of Lua's: no finalizer may run between an attempt and its wait. */
static int claim_value(lua_State *L, int index, struct tn_waiter *waiter, bool empties, int depth) {
  int status = 0;
  if (!lua_istable(L, index)) {
    struct tn_buffer *buffer = tn_cast(L, index, TN_BUFFER);
    return buffer ? claim_buffer(buffer, waiter, empties) : 0;
  }
  if (depth == 0) {
    return 0;
  }
  lua_pushnil(L);
  while (status == 0 && lua_next(L, index)) {
    status = claim_value(L, lua_gettop(L), waiter, empties, depth - 1);
    lua_pop(L, 1);
  }
  return status;
}

int tn_buffers_claim(lua_State *L, struct tn_waiter *waiter, bool empties) {
  enum { DEPTH = 2 }; /* an item of a list */
  int top = lua_gettop(L);
  int status = lua_checkstack(L, 2 * DEPTH) ? 0 : TN_ENOMEM;
  for (int i = 2; i <= top && status == 0; i++) {
    status = claim_value(L, i, waiter, empties, DEPTH);
  }
  lua_settop(L, top);
  return status;
}

/* The Buffer goes. */
static void end_claims(struct tn_buffer *buffer) {
  tn_claim_drop(&buffer->emptying);
  while (buffer->shares) {
    struct tn_share *share = buffer->shares;
    buffer->shares = share->next;
    tn_claim_drop(&share->claim);
    free(share);
  }
}

/* --- the same for writes in Lua --- */

/* In the place of a waiter, which is its task's, and waits in more than one operation while such a
 * write goes on. */
struct hold {
  struct tn_header header;
  struct tn_waiter waiter;
};

enum { VALUES = 1, NAME, HELD = NAME };

int tn_buffer_claim_new(lua_State *L) {
  lua_settop(L, HELD);
  tn_new(L, tn_runtime_of(L), TN_BUFFER_CLAIM, sizeof(struct hold), HELD);
  lua_insert(L, 1);
  lua_setiuservalue(L, 1, NAME);
  lua_setiuservalue(L, 1, VALUES);
  return 1;
}

static struct hold *check_hold(lua_State *L) {
  return tn_check(L, 1, TN_BUFFER_CLAIM, "claim");
}

static int take_claim(lua_State *L, struct hold *hold, bool empties) {
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, VALUES);
  int status = tn_buffers_claim(L, &hold->waiter, empties);
  if (status == TN_EBUSY) {
    lua_getiuservalue(L, 1, NAME);
    return tn_call_error(L, lua_tostring(L, -1), "a write_from of this Buffer is waiting");
  }
  return status < 0 ? luaL_error(L, "not enough memory") : 0;
}

/* Before a wait; raises while a write_from waits. Once it has them, it has them to its end. */
static int claim_share(lua_State *L) {
  struct hold *hold = check_hold(L);
  return hold->waiter.claims ? 0 : take_claim(L, hold, false);
}

/* empty(buffer): of a write_from; raises while any write waits. */
static int claim_empty(lua_State *L) {
  struct hold *hold = check_hold(L);
  tn_check_free_buffer(L, 2, &hold->waiter);
  return take_claim(L, hold, true);
}

/* consume(n): what has gone out of the one Buffer. */
static int claim_consume(lua_State *L) {
  check_hold(L);
  lua_Integer count = luaL_checkinteger(L, 2);
  lua_getiuservalue(L, 1, VALUES);
  struct tn_buffer *buffer = check_buffer(L, -1);
  tn_buffer_consume(buffer, (size_t)count < buffer->length ? (size_t)count : buffer->length);
  return 0;
}

static int claim_end(lua_State *L) {
  tn_claims_release(tn_runtime_of(L)->reactor, &check_hold(L)->waiter);
  return 0;
}

int tn_buffer_claimed(lua_State *L) {
  lua_pushboolean(L, tn_buffer_is_claimed(check_buffer(L, 1), NULL));
  return 1;
}

/* --- bytes --- */

/* The bytes move into memory of the Buffer's own. */
static void end_loan(struct tn_loan *loan) {
  struct tn_buffer *buffer = TN_CONTAINER(loan, struct tn_buffer, loan);
  memcpy(buffer->memory, tn_buffer_bytes(buffer), buffer->length);
  buffer->place = buffer->memory;
  buffer->start = 0;
}

ptrdiff_t tn_buffer_recv(struct tn_buffer *buffer, struct tn_source *source, size_t max) {
  ptrdiff_t count;
  size_t want = buffer->capacity < max ? buffer->capacity : max;
  if (buffer->length > 0 || want > TN_SCRATCH_SIZE || buffer->finalized ||
      tn_scratch_busy(source->reactor)) {
    struct tn_slice room = tn_buffer_room(buffer);
    count = tn_source_recv(source, room.base, room.length < max ? room.length : max);
  } else {
    char *bytes;
    count = tn_scratch_borrow(source, want, &buffer->loan, &bytes);
    buffer->place = count > 0 ? bytes : buffer->memory;
  }
  buffer->length += count > 0 ? (size_t)count : 0;
  return count;
}

struct tn_slice tn_buffer_room(struct tn_buffer *buffer) {
  tn_loan_end(&buffer->loan);
  if (buffer->start > 0 && buffer->start + buffer->length == buffer->capacity) {
    memmove(buffer->memory, buffer->memory + buffer->start, buffer->length);
    buffer->start = 0;
  }
  size_t end = buffer->start + buffer->length;
  return (struct tn_slice){buffer->memory + end, buffer->capacity - end};
}

void tn_buffer_consume(struct tn_buffer *buffer, size_t count) {
  buffer->start += count;
  buffer->length -= count;
  if (buffer->length == 0) {
    tn_loan_end(&buffer->loan);
    buffer->start = 0;
  }
}

struct tn_slice tn_bytes_at(lua_State *L, int index) {
  struct tn_slice slice = {NULL, 0};
  if (lua_type(L, index) == LUA_TSTRING) {
    slice.base = (void *)lua_tolstring(L, index, &slice.length);
    return slice;
  }
  struct tn_buffer *buffer = tn_cast(L, index, TN_BUFFER);
  if (buffer) {
    slice = (struct tn_slice){tn_buffer_bytes(buffer), buffer->length};
  }
  return slice;
}

static int buffer_new(lua_State *L) {
  tn_check_integer(L, 1, "capacity", 1, (lua_Integer)1 << 40);
  size_t capacity = tn_size_at(L, 1);
  struct tn_buffer *buffer =
      tn_new_with(L, tn_runtime_of(L), TN_BUFFER, sizeof *buffer, capacity, 0);
  buffer->capacity = capacity;
  buffer->place = buffer->memory;
  buffer->loan.end = end_loan;
  return 1;
}

static int buffer_capacity(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_buffer(L, 1)->capacity);
  return 1;
}

/* string.sub's rules for where a range begins and ends; `to` of 0 and less than `from` is an empty
 * one. */
static size_t first_of(lua_Integer at, size_t length) {
  if (at > 0) { /* right behind the end there is an empty string; all places after it are one */
    return (lua_Unsigned)at < length + 2 ? (size_t)at : length + 2;
  }
  return at == 0 || at < -(lua_Integer)length ? 1 : length + (size_t)at + 1;
}

static size_t last_of(lua_Integer at, size_t length) {
  if (at >= 0) {
    return (lua_Unsigned)at < length ? (size_t)at : length;
  }
  return at < -(lua_Integer)length ? 0 : length + (size_t)at + 1;
}

static struct tn_slice range(const struct tn_buffer *buffer, lua_Integer first, lua_Integer last) {
  size_t from = first_of(first, buffer->length);
  size_t to = last_of(last, buffer->length);
  if (from > to) {
    return (struct tn_slice){tn_buffer_bytes(buffer), 0};
  }
  return (struct tn_slice){tn_buffer_bytes(buffer) + from - 1, to - from + 1};
}

static int buffer_sub(lua_State *L) {
  struct tn_buffer *buffer = check_buffer(L, 1);
  struct tn_slice slice = range(buffer, luaL_checkinteger(L, 2), luaL_optinteger(L, 3, -1));
  lua_pushlstring(L, slice.base, slice.length);
  return 1;
}

static int buffer_byte(lua_State *L) {
  const struct tn_buffer *buffer = check_buffer(L, 1);
  lua_Integer first = luaL_optinteger(L, 2, 1);
  struct tn_slice slice = range(buffer, first, luaL_optinteger(L, 3, first));
  luaL_checkstack(L, slice.length > 1 << 20 ? 1 << 30 : (int)slice.length, "string slice too long");
  for (size_t i = 0; i < slice.length; i++) {
    lua_pushinteger(L, ((const unsigned char *)slice.base)[i]);
  }
  return (int)slice.length;
}

static int buffer_find(lua_State *L) {
  const struct tn_buffer *buffer = check_buffer(L, 1);
  size_t length;
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *plain = lua_tolstring(L, 2, &length);
  size_t from = first_of(luaL_optinteger(L, 3, 1), buffer->length);
  const char *data = tn_buffer_bytes(buffer);
  for (size_t at = from - 1; at + length <= buffer->length; at++) {
    const char *hit =
        length ? memchr(data + at, plain[0], buffer->length - length - at + 1) : data + at;
    if (!hit) {
      break;
    }
    at = (size_t)(hit - data);
    if (memcmp(hit, plain, length) == 0) {
      lua_pushinteger(L, (lua_Integer)at + 1);
      lua_pushinteger(L, (lua_Integer)at + (lua_Integer)length);
      return 2;
    }
  }
  lua_pushnil(L);
  return 1;
}

static int buffer_append(lua_State *L) {
  struct tn_buffer *buffer = tn_check_free_buffer(L, 1, NULL);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_tostring(L, 2);
  }
  tn_loan_end(
      &buffer->loan); /* not before: Lua may have run a finalizer, which may have read into it */
  struct tn_slice bytes = tn_bytes_at(L, 2);
  if (!bytes.base) {
    return luaL_typeerror(L, 2, "string, number or Buffer");
  }
  if (bytes.length > buffer->capacity - buffer->length) {
    return luaL_argerror(L, 2,
                         lua_pushfstring(L, "the Buffer has room for %I bytes more, got %I",
                                         (LUAI_UACINT)(buffer->capacity - buffer->length),
                                         (LUAI_UACINT)bytes.length));
  }
  if (buffer->start + buffer->length + bytes.length > buffer->capacity) {
    bool own = bytes.base == buffer->memory + buffer->start;
    memmove(buffer->memory, buffer->memory + buffer->start, buffer->length);
    buffer->start = 0;
    bytes.base = own ? buffer->memory : bytes.base;
  }
  memmove(buffer->memory + buffer->start + buffer->length, bytes.base, bytes.length);
  buffer->length += bytes.length;
  lua_settop(L, 1);
  return 1;
}

static int buffer_consume(lua_State *L) {
  struct tn_buffer *buffer = tn_check_free_buffer(L, 1, NULL);
  tn_buffer_consume(buffer, (size_t)tn_check_integer(L, 2, "n", 0, (lua_Integer)buffer->length));
  lua_settop(L, 1);
  return 1;
}

static int buffer_clear(lua_State *L) {
  struct tn_buffer *buffer = tn_check_free_buffer(L, 1, NULL);
  tn_buffer_consume(buffer, buffer->length);
  lua_settop(L, 1);
  return 1;
}

static int meta_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_buffer(L, 1)->length);
  return 1;
}

static int meta_tostring(lua_State *L) {
  const struct tn_buffer *buffer = check_buffer(L, 1);
  lua_pushlstring(L, tn_buffer_bytes(buffer), buffer->length);
  return 1;
}

static int meta_gc(lua_State *L) {
  struct tn_buffer *buffer = check_buffer(L, 1);
  end_claims(buffer);
  tn_loan_end(&buffer->loan);
  buffer->finalized = true;
  return 0;
}

static const luaL_Reg claim_functions[] = {
    {"share", claim_share}, {"empty", claim_empty}, {"consume", claim_consume}, {NULL, NULL}};
static const luaL_Reg claim_metamethods[] = {
    {"__close", claim_end}, {"__gc", claim_end}, {NULL, NULL}};
const struct tn_class tn_buffer_claim_class = {"claim", TN_BUFFER_CLAIM, claim_functions,
                                               claim_metamethods};

static const luaL_Reg functions[] = {
    {"new", buffer_new},         {"capacity", buffer_capacity}, {"sub", buffer_sub},
    {"byte", buffer_byte},       {"find", buffer_find},         {"append", buffer_append},
    {"consume", buffer_consume}, {"clear", buffer_clear},       {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__len", meta_len}, {"__tostring", meta_tostring}, {"__gc", meta_gc}, {NULL, NULL}};
const struct tn_class tn_buffer_class = {"Buffer", TN_BUFFER, functions, metamethods};
