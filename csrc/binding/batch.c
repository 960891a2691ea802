/* Several datagrams in one system call: see batch.h. */
#include "binding/batch.h"

#include "binding/address.h"
#include "binding/buffer.h"
#include "binding/field.h"
#include "binding/input.h"
#include "binding/message_input.h"
#include "core/datagrams.h"
#include "core/scratch.h"

#include <string.h>

enum { CHUNK = 64, MANY_MAX = 1024 };

/* --- send_many{bytes | {data, address}, …}; slot 3: how many have gone out --- */

/* What one item is, in memory that the list keeps. */
struct item {
  struct tn_slice bytes;
  const struct tn_address *address; /* NULL: to the peer */
  struct tn_address literal;
};

/* The keys of an item, on the stack while items are looked at: no metamethod is asked, for it could
 * make bytes that nobody keeps, or close the socket. */
struct keys {
  int data, address;
};

static struct keys push_keys(lua_State *L) {
  lua_pushliteral(L, "data");
  lua_pushliteral(L, "address");
  return (struct keys){lua_gettop(L) - 1, lua_gettop(L)};
}

/* item[key], or else item[position]; left on the stack. */
static void push_part(lua_State *L, int item, int key, int position) {
  lua_pushvalue(L, key);
  if (lua_rawget(L, item) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_rawgeti(L, item, position);
  }
}

/* "127.0.0.1:53", or a path for a Unix socket. Names are not looked up here. */
static bool parse_address(lua_State *L, uint64_t kind, struct tn_address *address) {
  size_t length;
  if (lua_type(L, -1) != LUA_TSTRING) {
    return false;
  }
  const char *text = lua_tolstring(L, -1, &length);
  return kind == TN_UNIX_DATAGRAM ? !tn_address_parse_local(text, length, address)
                                  : !tn_address_parse(text, length, address);
}

/* The bytes on top of the stack. The text of a number is at `text`; 0: not made yet. */
static bool take_bytes(lua_State *L, int text, struct item *item) {
  bool is_number = lua_type(L, -1) == LUA_TNUMBER;
  item->bytes = tn_bytes_at(L, is_number && text ? text : -1);
  return item->bytes.base || (is_number && !text);
}

/* The item on top of the stack, which it leaves there. Returns what is wrong with it, or NULL. */
static const char *take_item(lua_State *L, uint64_t kind, const struct keys *keys, int text,
                             struct item *item) {
  static const char *const known[] = {"data", "address", "length", NULL}; /* as received, too */
  const char *wrong = NULL;
  int top = lua_gettop(L);
  bool is_fine;
  item->address = NULL;
  if (!lua_istable(L, top)) {
    is_fine = take_bytes(L, text, item);
  } else {
    push_part(L, top, keys->data, 1);
    is_fine = take_bytes(L, text, item);
    push_part(L, top, keys->address, 2);
    item->address = tn_address_at(L, -1);
    if (lua_isnil(L, -1)) { /* misspelt, it would go to the peer */
      wrong = tn_key_problem(L, top, known, 2);
    } else if (item->address) {
      wrong = tn_address_misfit(kind, item->address);
    } else if (parse_address(L, kind, &item->literal)) {
      item->address = &item->literal;
    } else {
      wrong = "a SocketAddr or the text of an address expected";
    }
    if (wrong) { /* its text may be on the stack */
      return wrong;
    }
    lua_settop(L, top);
  }
  return is_fine ? NULL : "string, number, Buffer or {data, address} expected";
}

static void check_item(lua_State *L, const struct keys *keys, lua_Integer position, int text,
                       struct item *item) {
  lua_rawgeti(L, 2, position);
  const char *wrong = take_item(L, tn_kind_of(lua_touserdata(L, 1)), keys, text, item);
  if (wrong) {
    luaL_argerror(L, 2, lua_pushfstring(L, "item %I: %s", (LUAI_UACINT)position, wrong));
  }
  lua_pop(L, 1);
}

static int prepare_send_many(lua_State *L, struct tn_runtime *rt) {
  struct item item;
  (void)rt;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  struct keys keys = push_keys(L);
  /* what one system call takes is checked when it is gathered, before any of it is sent */
  for (lua_Integer i = 1; count > CHUNK && i <= count; i++) {
    check_item(L, &keys, i, 0, &item);
  }
  lua_settop(L, 3);
  lua_pushinteger(L, 0);
  lua_replace(L, 3);
  return 0;
}

/* What the items behind the first `sent` have to send, numbers as texts; returns the slot before.
 * A text is made, which may run a finalizer, before any item's memory is looked at. */
static int push_texts(lua_State *L, const struct keys *keys, lua_Integer sent, int chunk) {
  int before = lua_gettop(L);
  luaL_checkstack(L, chunk + LUA_MINSTACK, NULL);
  for (int i = 0; i < chunk; i++) {
    if (lua_rawgeti(L, 2, sent + i + 1) == LUA_TTABLE) {
      push_part(L, lua_gettop(L), keys->data, 1);
      lua_remove(L, -2);
    }
    if (lua_type(L, -1) == LUA_TNUMBER) {
      lua_tostring(L, -1);
    }
  }
  return before;
}

/* Gathers the items behind the first `sent`; false where it needs the texts of numbers. */
static bool take_items(lua_State *L, const struct keys *keys, lua_Integer sent, int chunk,
                       int before, struct item *items) {
  for (int i = 0; i < chunk; i++) {
    check_item(L, keys, sent + i + 1, before ? before + i + 1 : 0, &items[i]);
    if (!items[i].bytes.base) {
      return false;
    }
  }
  return true;
}

/* As many of the items behind the first `sent` as one call takes; how many have gone out. */
static int send_chunk(lua_State *L, struct tn_call *call, lua_Integer sent, lua_Integer count) {
  struct item items[CHUNK];
  struct tn_message messages[CHUNK];
  struct tn_slice slices[CHUNK];
  int chunk = (int)(count - sent < CHUNK ? count - sent : CHUNK);
  struct keys keys = push_keys(L);
  if (!take_items(L, &keys, sent, chunk, 0, items)) {
    take_items(L, &keys, sent, chunk, push_texts(L, &keys, sent, chunk), items);
  }
  for (int i = 0; i < chunk; i++) {
    slices[i] = items[i].bytes;
    messages[i] = (struct tn_message){.slices = &slices[i], .count = 1};
    tn_message_to(&messages[i], items[i].address);
  }
  lua_settop(L, 3);
  return tn_datagrams_send(call->source, messages, chunk);
}

static int attempt_send_many(lua_State *L, struct tn_call *call) {
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  lua_Integer before = lua_tointeger(L, 3);
  lua_Integer sent = before;
  int status = 0;
  for (int calls = 0; status >= 0 && sent < count; calls++) {
    status = calls < TN_CALLS_MAX ? send_chunk(L, call, sent, count) : tn_call_give_way(call);
    sent += status > 0 ? status : 0;
  }
  tn_budget_spend_more(call->rt, sent - before);
  lua_pushinteger(L, sent);
  lua_replace(L, 3);
  if (status < 0) {
    return status;
  }
  lua_pushvalue(L, 3);
  return 1;
}

/* `nil, err, sent` */
static int extras_send_many(lua_State *L, struct tn_call *call) {
  (void)call;
  lua_pushvalue(L, 3);
  return 1;
}

/* --- recv_many(n[, max]) → list of {data =, address =} --- */

static int prepare_recv_many(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_integer(L, 2, "n", 1, MANY_MAX);
  lua_pushinteger(L, tn_opt_integer(L, 3, "max", 1, TN_SCRATCH_SIZE, TN_SCRATCH_SIZE));
  lua_replace(L, 3);
  return 0;
}

struct arrived {
  struct tn_message messages[CHUNK];
  struct tn_address addresses[CHUNK];
  struct tn_slice slices[CHUNK];
  size_t lengths[CHUNK];
};

/* `own`: memory for them, or NULL for the reactor's. 0: the end. */
static int receive_chunk(struct tn_call *call, char *own, struct arrived *arrived, int count,
                         size_t max) {
  char *memory = own ? own : tn_reactor_batch(call->rt->reactor, count);
  if (!memory) {
    return TN_ENOMEM;
  }
  for (int i = 0; i < count; i++) {
    arrived->slices[i] = (struct tn_slice){memory + (size_t)i * TN_BATCH_STRIDE, max};
    arrived->messages[i] =
        (struct tn_message){.slices = &arrived->slices[i],
                            .count = 1,
                            .address = &arrived->addresses[i].any,
                            .address_length = sizeof arrived->addresses[i].storage};
  }
  return tn_source_recv_messages(call->source, arrived->messages, count, arrived->lengths);
}

/* The list that is made. Datagrams of one sender mostly come in a row. */
struct list {
  struct keys keys;
  int sender; /* the last one's address, on the stack */
  struct tn_address last;
};

static struct list begin_list(lua_State *L) {
  struct list list = {.keys = push_keys(L), .last.length = 0};
  lua_pushnil(L);
  list.sender = lua_gettop(L);
  return list;
}

static void push_sender(lua_State *L, struct tn_call *call, struct list *list,
                        struct tn_address *address) {
  if (address->length == list->last.length &&
      memcmp(&address->storage, &list->last.storage, address->length) == 0) {
    lua_pushvalue(L, list->sender);
    return;
  }
  tn_address_push_kept(L, call->rt, address);
  lua_copy(L, -1, list->sender);
  list->last.length = address->length;
  memcpy(&list->last.storage, &address->storage, address->length);
}

/* Fills the table on top. The bytes are first: others may take their place when Lua collects. */
static void fill_item(lua_State *L, struct tn_call *call, struct list *list,
                      struct tn_datagram *datagram, size_t max) {
  size_t length = datagram->length;
  struct tn_address *address = &datagram->from;
  lua_pushvalue(L, list->keys.data);
  lua_pushlstring(L, datagram->bytes, length < max ? length : max);
  lua_rawset(L, -3);
  if (tn_sender_has_address(call, address)) {
    lua_pushvalue(L, list->keys.address);
    push_sender(L, call, list, address);
    lua_rawset(L, -3);
  }
  if (length > max) { /* it was cut */
    tn_set_integer(L, "length", (lua_Integer)length);
  }
}

/* Where datagrams come joined. A finalizer may receive in between, or close the socket. */
static int receive_joined(lua_State *L, struct tn_call *call, int wanted, size_t max) {
  const struct tn_object *object = call->self;
  struct tn_source *source = call->source;
  struct tn_datagram datagram;
  bool more = true;
  int status = 0;
  int total = 0;
  struct list list = begin_list(L);
  while (total < wanted && object->source == source && (more || tn_datagrams_kept(source))) {
    if (!tn_datagrams_kept(source)) {
      status = tn_datagrams_receive(source, wanted - total);
      more = status == wanted - total || status == TN_DATAGRAMS_MAX;
      continue;
    }
    if (lua_gettop(L) == list.sender) {
      lua_createtable(L, wanted < CHUNK ? wanted : CHUNK, 0);
    }
    lua_createtable(L, 0, 2);
    if (object->source == source && tn_datagrams_first(source, &datagram)) {
      tn_datagrams_take(source);
      fill_item(L, call, &list, &datagram, max);
      lua_rawseti(L, -2, ++total);
    } else {
      lua_pop(L, 1);
    }
  }
  if (total == 0) {
    lua_settop(L, 3);
    return status < 0 ? status : object->source == source ? TN_EAGAIN : TN_CLOSED;
  }
  if (status < 0 && status != TN_EAGAIN && status != TN_ENOMEM && object->source == source) {
    source->owed = (int16_t)status; /* a failure is told to the next call */
  }
  return 1;
}

/* Bytes of a stream are one message, and what was read ahead comes first. */
static int receive_bytes(lua_State *L, struct tn_source *source, size_t max) {
  ptrdiff_t count = source->input.length > 0 ? 1 : tn_source_fill(source, max);
  if (count < 0) {
    return (int)count;
  }
  if (count == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 1, 0);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "data");
  if (source->input.length == 0) { /* a finalizer has read them, or closed it */
    lua_settop(L, 3);
    return TN_EAGAIN;
  }
  tn_give_ahead(L, source, source->input.length < max ? source->input.length : max);
  lua_rawset(L, -3);
  lua_rawseti(L, -2, 1);
  return 1;
}

static int receive_many(lua_State *L, struct tn_call *call) {
  struct arrived arrived;
  int wanted = (int)lua_tointeger(L, 2);
  size_t max = (size_t)lua_tointeger(L, 3);
  int total = 0;
  char *own = NULL;
  if (tn_source_is_stream(call->source)) {
    return receive_bytes(L, call->source, max);
  }
  if (tn_datagrams_joined(call->source)) {
    return receive_joined(L, call, wanted, max);
  }
  struct list list = begin_list(L);
  if (tn_in_finalizer(L)) { /* others' datagrams may be on their way to Lua */
    own = lua_newuserdatauv(L, (size_t)(wanted < CHUNK ? wanted : CHUNK) * TN_BATCH_STRIDE, 0);
  }
  for (int came = CHUNK; came == CHUNK && total < wanted; total += came) {
    int room = wanted - total < CHUNK ? wanted - total : CHUNK;
    came = receive_chunk(call, own, &arrived, room, max);
    if (came < 0) {
      if (total == 0) {
        lua_settop(L, 3);
        return came;
      }
      call->source->owed = came == TN_EAGAIN || came == TN_ENOMEM ? 0 : (int16_t)came;
      break; /* a failure is told to the next call */
    }
    if (total == 0 && came == 0) {
      lua_pushnil(L);
      return 1;
    }
    if (total == 0) {
      lua_createtable(L, came, 0);
    }
    for (int i = 0; i < came; i++) {
      struct tn_datagram datagram = {arrived.slices[i].base,
                                     arrived.lengths[i],
                                     {.length = arrived.messages[i].address_length}};
      memcpy(&datagram.from.storage, &arrived.addresses[i].storage, datagram.from.length);
      lua_createtable(L, 0, 2);
      fill_item(L, call, &list, &datagram, max);
      lua_rawseti(L, -2, total + i + 1);
    }
  }
  return 1;
}

static int attempt_recv_many(lua_State *L, struct tn_call *call) {
  int status = receive_many(L, call);
  if (status == TN_EAGAIN && call->source->read_shut) { /* Linux would say so for ever */
    lua_pushnil(L);
    return 1;
  }
  if (status > 0 && lua_istable(L, -1)) {
    tn_budget_spend_more(call->rt, (lua_Integer)lua_rawlen(L, -1));
  }
  return status;
}

/* clang-format off */
const struct tn_method tn_batch_methods[] = {
  {.name = "send_many", .kinds = TN_MESSAGERS, .interest = TN_WRITABLE, .slots = 3, .flags = TN_WRITES | TN_HAS_TRY,
   .prepare = prepare_send_many, .attempt = attempt_send_many, .extras = extras_send_many},
  {.name = "recv_many", .kinds = TN_MESSAGERS, .interest = TN_READABLE | TN_EXCLUSIVE, .slots = 3,
   .flags = TN_READS | TN_HAS_TRY, .prepare = prepare_recv_many, .attempt = attempt_recv_many},
  {0},
};
/* clang-format on */
