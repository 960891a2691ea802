/* copy: see copy.h. The bytes wait in the reader's own buffer, so that what the writer did not take
 * stays readable. */
#include "binding/copy.h"

#include "binding/object.h"
#include "core/scratch.h"
#include "core/splice.h"

#include <stdint.h>

enum {
  CHUNK = 65536,
  SPLICE_FROM = 262144, /* bytes; before, a pipe costs more than it saves */
  SPLICE_LEAST = 16384, /* and so it does for pieces smaller than this */
};

static struct tn_object *check_reader(lua_State *L) {
  return tn_check(L, 1, TN_READERS, "reader");
}

static struct tn_object *check_writer(lua_State *L) {
  return tn_check(L, 2, TN_WRITERS, "writer");
}

/* Slots: reader, writer, max, copied. */
static int prepare_copy(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_reader(L);
  check_writer(L);
  lua_pushinteger(L, tn_opt_integer(L, 3, "max", 0, LUA_MAXINTEGER, LUA_MAXINTEGER));
  lua_replace(L, 3);
  lua_pushinteger(L, 0);
  lua_replace(L, 4);
  return 0;
}

static struct tn_source *open_source(struct tn_call *call, const struct tn_object *object,
                                     const char *closed) {
  if (tn_object_is_open(object)) {
    return object->source;
  }
  call->message = closed;
  return NULL;
}

/* The wait is for the other party; both sides stay claimed meanwhile. */
static int wait_for(struct tn_call *call, struct tn_source *source, int interest) {
  call->wait_source = source;
  call->wait_interest = interest;
  call->progressed = true;
  return TN_EAGAIN;
}

/* Moves bytes inside the kernel. What cannot be spliced goes on by reading and writing. */
static ptrdiff_t move_spliced(struct tn_source *from, struct tn_source *to, uint64_t left,
                              int *direction) {
  size_t want = left < SIZE_MAX ? (size_t)left : SIZE_MAX;
  *direction = TN_READABLE;
  if (tn_splice_held(from) == 0) {
    ptrdiff_t count = tn_splice_fill(from, want);
    if (count <= 0) {
      return count;
    }
  }
  *direction = TN_WRITABLE;
  return tn_splice_send(from, to, want);
}

/* What comes goes out again from the scratch memory; what the writer did not take is ahead of the
 * reader then. */
static ptrdiff_t move_through(struct tn_source *from, struct tn_source *to, size_t want,
                              int *direction) {
  const char *bytes;
  ptrdiff_t count = tn_scratch_recv(from, want, &bytes);
  if (count <= 0) {
    return count;
  }
  *direction = TN_WRITABLE;
  ptrdiff_t sent = tn_source_send(to, bytes, (size_t)count);
  tn_scratch_take_first(from->reactor, from, sent > 0 ? (size_t)sent : 0);
  return sent;
}

/* Each wait is one of the party's own, with the time that it allows. */
static ptrdiff_t move(struct tn_source *from, struct tn_source *to, uint64_t left, bool much,
                      int *direction) {
  size_t want = left < CHUNK ? (size_t)left : CHUNK;
  bool splices = much && tn_splice_begin(from, to);
  *direction = TN_READABLE;
  if (from->input.length == 0 && (splices || tn_source_has_splice(from))) {
    ptrdiff_t count = move_spliced(from, to, left, direction);
    if (count != TN_EINVAL || !from->no_splice) {
      return count;
    }
    count = tn_splice_end(from);
    if (count < 0) {
      return count;
    }
  }
  if (from->input.length == 0) {
    return move_through(from, to, want, direction);
  }
  *direction = TN_WRITABLE;
  want = from->input.length < left ? from->input.length : (size_t)left;
  ptrdiff_t sent = tn_source_send(to, tn_bytes_data(&from->input), want);
  if (sent > 0) {
    tn_bytes_consume(&from->input, (size_t)sent);
  }
  return sent;
}

static int claim(lua_State *L, struct tn_call *call, struct tn_source *from, struct tn_source *to) {
  if (tn_claim_taken(&from->reading, call->waiter)) {
    return tn_call_error(L, "copy", "another task is reading from the reader");
  }
  tn_claim_take(&from->reading, call->waiter);
  if (tn_claim_taken(&to->writing, call->waiter)) {
    call->queue = &to->writing.queue;
    return TN_EAGAIN;
  }
  tn_claim_take(&to->writing, call->waiter);
  return 0;
}

static int attempt_copy(lua_State *L, struct tn_call *call) {
  struct tn_source *from = open_source(call, check_reader(L), "the reader is closed");
  struct tn_source *to = open_source(call, check_writer(L), "the writer is closed");
  uint64_t max = (uint64_t)lua_tointeger(L, 3);
  uint64_t copied = (uint64_t)lua_tointeger(L, 4);
  if (!from || !to) {
    return TN_CLOSED;
  }
  if (tn_scratch_busy(from->reactor) && tn_in_finalizer(L)) {
    return TN_EAGAIN; /* what is there is on its way into Lua */
  }
  int status = tn_scratch_rescue(from->reactor);
  status = status < 0 ? status : claim(L, call, from, to);
  ptrdiff_t count = 0;
  for (int turns = 0; status == 0 && copied < max; turns++) {
    int direction;                /* of what comes next; one stream may be both */
    if (turns == TN_BUDGET / 2) { /* a fast pair must not starve the others */
      call->only_yield = true;
      status = TN_EAGAIN;
      break;
    }
    bool much = copied >= SPLICE_FROM && count >= SPLICE_LEAST;
    count = move(from, to, max - copied, much, &direction);
    struct tn_source *party = direction == TN_READABLE ? from : to;
    if (count == 0) {
      break;
    }
    if (count == TN_EAGAIN) {
      status = wait_for(call, party, direction);
    } else if (count < 0) {
      call->source = party;
      status = (int)count;
    } else {
      copied += (uint64_t)count;
      status = tn_scratch_rescue(from->reactor); /* what the writer did not take */
    }
  }
  if (status != TN_EAGAIN && tn_splice_end(from) < 0 && status == 0) {
    status = TN_ENOMEM;
  }
  lua_pushinteger(L, (lua_Integer)copied);
  lua_replace(L, 4);
  if (status == 0) {
    lua_pushvalue(L, 4);
    return 1;
  }
  return status;
}

/* `nil, err, copied` */
static int extras_copy(lua_State *L, struct tn_call *call) {
  (void)call;
  lua_pushvalue(L, 4);
  return 1;
}

/* Nothing but a close ends it: for a copy in Lua, which waits for the other party meanwhile. */
static int attempt_await_close(lua_State *L, struct tn_call *call) {
  (void)L;
  (void)call;
  return TN_EAGAIN;
}

const struct tn_method tn_copy_methods[] = {
    {.name = "copy",
     .slots = 4,
     .prepare = prepare_copy,
     .attempt = attempt_copy,
     .extras = extras_copy},
    {.name = "await_close",
     .kinds = TN_READERS | TN_WRITERS,
     .slots = 1,
     .flags = TN_PRIVATE,
     .attempt = attempt_await_close},
    {0},
};
