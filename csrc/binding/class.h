/* Classes: what every userdata begins with, how it is recognised, how a class table is made.
 *
 * A userdata starts with a header; the check of a receiver compares it without looking at any
 * table, which is the largest single item in the cost of a small read. Class tables hold
 * constructors and methods and are the metatable's __index, so that tcpnet.TcpStream.read(s) is
 * s:read(). */
#ifndef TCPNET_CLASS_H
#define TCPNET_CLASS_H

#include "binding/argument.h"
#include "core/option.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct tn_runtime;
struct tn_source;

/* A kind of object is a bit, so that a method names all that have it. */
enum tn_kind {
  TN_TCP_SOCKET = TN_ON_TCP_SOCKET,
  TN_TCP_STREAM = TN_ON_TCP_STREAM,
  TN_TCP_LISTENER = TN_ON_TCP_LISTENER,
  TN_READ_HALF = 1 << 3,
  TN_WRITE_HALF = 1 << 4,
  TN_OWNED_READ_HALF = 1 << 5,
  TN_OWNED_WRITE_HALF = 1 << 6,
  TN_BUFFER = 1 << 7,
  TN_SOCKET_ADDR = 1 << 8,
  TN_ERROR_VALUE = 1 << 9,
  TN_READY = 1 << 10,
  TN_TASK = 1 << 11,
  TN_JOIN_SET = 1 << 12,
  TN_LOOKUP = 1 << 13,
  TN_RUNTIME = 1 << 14,
  TN_SOCKET = TN_ON_SOCKET,
  TN_MESSAGE = 1 << 16,
  TN_UDP_SOCKET = TN_ON_UDP_SOCKET,
  TN_UNIX_SOCKET = TN_ON_UNIX_SOCKET,
  TN_UNIX_STREAM = TN_ON_UNIX_STREAM,
  TN_UNIX_LISTENER = TN_ON_UNIX_LISTENER,
  TN_UNIX_DATAGRAM = TN_ON_UNIX_DATAGRAM,
  TN_PIPE_SENDER = 1 << 22,
  TN_PIPE_RECEIVER = 1 << 23,
  TN_POLL = 1 << 24,
  TN_SIGNAL = 1 << 25,
  TN_CHILD = 1 << 26,
};

/* Further kinds, beyond what an enum can hold; none of them has a descriptor of its own. */
#define TN_INTEREST (UINT64_C(1) << 32)
#define TN_REGISTRY (UINT64_C(1) << 33)
#define TN_EVENTS (UINT64_C(1) << 34)
#define TN_EVENT (UINT64_C(1) << 35)
#define TN_WAKER (UINT64_C(1) << 36)
#define TN_SOURCE_FD (UINT64_C(1) << 37)
#define TN_SENDER (UINT64_C(1) << 38)
#define TN_UNBOUNDED_SENDER (UINT64_C(1) << 39)
#define TN_RECEIVER (UINT64_C(1) << 40)
#define TN_CHANNEL_PERMIT (UINT64_C(1) << 41)
#define TN_WORKER (UINT64_C(1) << 42)
#define TN_PARENT (UINT64_C(1) << 43)
#define TN_OUTCOME (UINT64_C(1) << 44)
#define TN_GUARD (UINT64_C(1) << 45)
#define TN_BUFFER_CLAIM (UINT64_C(1) << 46)
/* Classes that scripts find as the metatable of their objects, not in the module. */
#define TN_NAMELESS (TN_SENDER | TN_UNBOUNDED_SENDER | TN_RECEIVER | TN_CHANNEL_PERMIT)
/* And those in which there is nothing for scripts to see. */
#define TN_HIDDEN (TN_LOOKUP | TN_OUTCOME | TN_GUARD | TN_BUFFER_CLAIM)
/* Values that say for what a source is ready, or is to be. */
#define TN_CONDITIONS (TN_READY | TN_INTEREST | TN_EVENT)

enum {
  TN_KINDS = 47,
  TN_PIPES = TN_PIPE_SENDER | TN_PIPE_RECEIVER,
  TN_WHOLE_STREAMS = TN_TCP_STREAM | TN_UNIX_STREAM,
  TN_READERS = TN_WHOLE_STREAMS | TN_READ_HALF | TN_OWNED_READ_HALF | TN_PIPE_RECEIVER,
  TN_WRITERS = TN_WHOLE_STREAMS | TN_WRITE_HALF | TN_OWNED_WRITE_HALF | TN_PIPE_SENDER,
  TN_STREAMS = TN_READERS | TN_WRITERS,
  TN_LISTENERS = TN_TCP_LISTENER | TN_UNIX_LISTENER,
  /* used message by message */
  TN_MESSAGERS = TN_SOCKET | TN_UDP_SOCKET | TN_UNIX_DATAGRAM,
  TN_HALVES = TN_READ_HALF | TN_WRITE_HALF | TN_OWNED_READ_HALF | TN_OWNED_WRITE_HALF,
  TN_SOURCES = TN_STREAMS | TN_LISTENERS | TN_MESSAGERS | TN_TCP_SOCKET | TN_UNIX_SOCKET | TN_POLL,
  /* what has a descriptor to itself, and so may leave this Lua state with it */
  TN_MOVABLE = TN_SOURCES & ~TN_HALVES & ~TN_POLL,
};

struct tn_header {
  const char *magic;
  uint64_t kind;
};

/* Of a userdata of this library. */
static inline uint64_t tn_kind_of(const void *object) {
  return ((const struct tn_header *)object)->kind;
}

/* A userdata that owns a reference to a source. */
struct tn_object {
  struct tn_header header;
  struct tn_source *source; /* NULL: closed or consumed */
  const char *consumed_by;  /* the method that took the source, or NULL */
  uint32_t half_of;         /* the kind of the stream that it is a half of */
  bool view;                /* another object's: closing it closes nothing */
};

struct tn_class {
  const char *name;
  uint64_t kind;
  const luaL_Reg *functions; /* constructors and plain methods */
  const luaL_Reg *metamethods;
};

extern const char tn_magic[];

/* The userdata at `index` if it is one of `kinds`, or NULL. */
static inline void *tn_cast(lua_State *L, int index, uint64_t kinds) {
  struct tn_header *header = lua_touserdata(L, index);
  if (header && lua_rawlen(L, index) >= sizeof *header && header->magic == tn_magic &&
      (header->kind & kinds)) {
    return header;
  }
  return NULL;
}

/* The same; raises the argument error that names what was expected. */
void *tn_check(lua_State *L, int index, uint64_t kinds, const char *expected);
/* A new zeroed userdata of that kind, with its metatable. */
void *tn_new(lua_State *L, struct tn_runtime *rt, uint64_t kind, size_t size, int user_values);
/* The same with `more` bytes behind it, which stay as they are. */
void *tn_new_with(lua_State *L, struct tn_runtime *rt, uint64_t kind, size_t size, size_t more,
                  int user_values);
/* A new object without a source: what may run a finalizer, or find no memory, comes first. */
struct tn_object *tn_object_new(lua_State *L, struct tn_runtime *rt, uint64_t kind);
/* Gives it one reference to the source. */
void tn_object_own(struct tn_object *object, struct tn_source *source);
/* Moves the source to a new object; `by`: the method that consumes the old one. */
void tn_object_move(struct tn_object *object, struct tn_object *from, const char *by);

/* "the TcpStream is closed", or what consumed it; the text is left on the stack. */
TN_COLD const char *tn_object_push_end(lua_State *L, const struct tn_object *object);

void tn_metatable_push(lua_State *L, struct tn_runtime *rt, uint64_t kind);
/* Makes the class table and leaves it as a field of the table on top of the stack. */
void tn_class_open(lua_State *L, struct tn_runtime *rt, const struct tn_class *class);
/* Fills the table on top with functions that have the runtime as upvalue. */
void tn_functions_add(lua_State *L, struct tn_runtime *rt, const luaL_Reg *functions);
const char *tn_kind_name(uint64_t kind);
/* __index of a class whose values have fields, in a table that is their user value, before what
 * the class has. */
int tn_index_fields(lua_State *L);
/* __concat of what reads as text. */
int tn_concat(lua_State *L);

#endif
