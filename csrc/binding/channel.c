/* Channels: see channel.h.
 *
 * The messages lie in a ring, a table that is a user value of both ends and of every permit. Who
 * waits stands in one of two queues. A place, or a message, that becomes free is granted to the
 * first of them before its task runs, so that whoever comes later cannot snatch it; where the task
 * is cancelled before it runs, the grant goes to the next. */
#include "binding/channel.h"

#include "binding/error.h"

#include <stddef.h>

struct channel {
  size_t head, count, size; /* of the ring: first message, messages, places */
  size_t granted;           /* of the messages, to receivers that have not run yet */
  lua_Integer room;         /* for messages, permits and granted senders taken off */
  lua_Integer senders;
  lua_Integer promised; /* permits that are out and may still send */
  bool bounded;
  bool closed; /* by its receiver */
  struct tn_queue sending, receiving;
};

/* A sender, a receiver or a permit. */
struct end {
  struct tn_header header;
  struct tn_stake stake; /* of an operation that waits in it */
  struct channel *channel;
  struct tn_claim waiting; /* of a sender: by the operation that waits in it */
  unsigned grants;         /* that were not taken yet */
  bool crowded;            /* more than one did at once */
  bool done;               /* closed, or used */
};

enum { RING = 1, CHANNEL = 2, USER_VALUES = 2, FIRST_SIZE = 4 };

#define TN_SENDERS (TN_SENDER | TN_UNBOUNDED_SENDER)

static struct end *check_end(lua_State *L, uint64_t kinds) {
  return tn_check(L, 1, kinds, tn_kind_name(kinds & -kinds));
}

static struct end *end_of(struct tn_stake *stake) {
  return TN_CONTAINER(stake, struct end, stake);
}

/* --- who gets what --- */

static bool has_ended(const struct channel *channel) {
  return (channel->senders == 0 || channel->closed) && channel->promised == 0;
}

static void grant_first(struct tn_reactor *reactor, struct tn_queue *queue) {
  struct tn_waiter *waiter = queue->head;
  waiter->granted = true;
  end_of(waiter->stake)->grants++;
  tn_wake(reactor, waiter, 0);
}

/* Each message that is nobody's to the next in line, and the end to all. */
static void serve_receivers(struct tn_reactor *reactor, struct channel *channel) {
  while (channel->receiving.head && channel->count > channel->granted) {
    channel->granted++;
    grant_first(reactor, &channel->receiving);
  }
  if (channel->receiving.head && channel->count == 0 && has_ended(channel)) {
    tn_wake_all(reactor, &channel->receiving, 0);
  }
}

static void give_place(struct tn_reactor *reactor, struct channel *channel) {
  if (channel->bounded) {
    channel->room++;
    if (channel->sending.head) {
      channel->room--;
      grant_first(reactor, &channel->sending);
    }
  }
}

static void revoke_place(struct tn_reactor *reactor, struct tn_stake *stake) {
  struct end *sender = end_of(stake);
  sender->grants--;
  give_place(reactor, sender->channel);
}

static void revoke_message(struct tn_reactor *reactor, struct tn_stake *stake) {
  struct end *receiver = end_of(stake);
  receiver->grants--;
  receiver->channel->granted--;
  serve_receivers(reactor, receiver->channel);
}

/* Was this call granted what it waited for? */
static bool take_grant(struct tn_call *call, struct end *end) {
  struct tn_waiter *waiter = call->waiter;
  if (!waiter || !waiter->granted) {
    return false;
  }
  if (!call->resumed) { /* of an operation that ended in a Lua error */
    tn_revoke(call->rt->reactor, waiter);
    return false;
  }
  waiter->granted = false;
  end->grants--;
  return true;
}

static int wait_in(struct tn_call *call, struct end *end, struct tn_queue *queue) {
  if (call->waiter) {
    call->waiter->stake = &end->stake;
    call->queue = queue;
  }
  return TN_EAGAIN;
}

/* --- the ring --- */

/* Twice the places. What has gone round the end goes behind it; nothing has changed where Lua has
 * no memory for that. A place that is free holds false, so that to fill it needs none. */
static void grow(lua_State *L, struct channel *channel) {
  size_t size = channel->size ? channel->size * 2 : FIRST_SIZE;
  lua_getiuservalue(L, 1, RING);
  for (size_t i = channel->size; i < size; i++) {
    if (i - channel->size < channel->head) {
      lua_rawgeti(L, -1, (lua_Integer)(i - channel->size) + 1);
    } else {
      lua_pushboolean(L, 0);
    }
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  for (size_t i = 0; i < channel->head; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  channel->size = size;
  lua_pop(L, 1);
}

static inline lua_Integer place_of(const struct channel *channel, size_t index) {
  return (lua_Integer)((channel->head + index) & (channel->size - 1)) + 1;
}

/* The value at index 2, from the end at index 1; there is a place. */
static void push_message(lua_State *L, struct tn_reactor *reactor, struct channel *channel) {
  lua_getiuservalue(L, 1, RING);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, place_of(channel, channel->count));
  lua_pop(L, 1);
  channel->count++;
  if (channel->receiving.head) {
    serve_receivers(reactor, channel);
  }
}

static void make_place(lua_State *L, struct channel *channel) {
  if (channel->count == channel->size) {
    grow(L, channel);
  }
}

/* Leaves the first message on top. */
static void pop_message(lua_State *L, struct tn_reactor *reactor, struct channel *channel) {
  lua_Integer place = place_of(channel, 0);
  lua_getiuservalue(L, 1, RING);
  lua_rawgeti(L, -1, place);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -3, place);
  channel->head = (channel->head + 1) & (channel->size - 1);
  channel->count--;
  give_place(reactor, channel);
  if (channel->receiving.head) {
    serve_receivers(reactor, channel); /* it may have been the last before the end */
  }
}

/* --- sending --- */

static bool is_refused(const struct end *sender) {
  return sender->done || sender->channel->closed;
}

static int refusal(struct tn_call *call, const struct end *sender) {
  call->message = sender->done ? "the sender is closed" : "the receiver is closed";
  return TN_CLOSED;
}

static void check_message(lua_State *L) {
  if (lua_isnil(L, 2)) {
    luaL_argerror(L, 2, "a value expected, got nil: that is the end of a channel");
  }
}

static int prepare_send(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  check_message(L);
  return 0;
}

static bool has_room(const struct channel *channel) {
  return !channel->bounded || channel->room > 0;
}

/* Takes a place: 0, or a failure. */
static int take_place(struct tn_call *call, struct end *sender) {
  struct channel *channel = sender->channel;
  bool granted = take_grant(call, sender);
  if (is_refused(sender)) {
    if (granted) {
      give_place(call->rt->reactor, channel);
    }
    return refusal(call, sender);
  }
  if (!granted && !has_room(channel)) {
    if (call->waiter && tn_claim_taken(&sender->waiting, call->waiter)) {
      sender->crowded = true;
    } else if (call->waiter) {
      tn_claim_take(&sender->waiting, call->waiter);
    }
    return wait_in(call, sender, &channel->sending);
  }
  channel->room -= !granted;
  return 0;
}

static int attempt_send(lua_State *L, struct tn_call *call) {
  struct end *sender = call->self;
  make_place(L, sender->channel);
  int status = take_place(call, sender);
  if (status < 0) {
    return status;
  }
  push_message(L, call->rt->reactor, sender->channel);
  lua_pushboolean(L, 1);
  return 1;
}

static struct end *new_end(lua_State *L, struct tn_runtime *rt, uint64_t kind, struct end *other) {
  struct end *end = tn_new(L, rt, kind, sizeof *end, USER_VALUES);
  end->done = true; /* until it is whole */
  end->channel = other->channel;
  end->stake.revoke = kind & TN_SENDERS ? revoke_place : revoke_message;
  for (int i = 1; i <= USER_VALUES; i++) {
    lua_getiuservalue(L, 1, i);
    lua_setiuservalue(L, -2, i);
  }
  return end;
}

/* The permit is there before its place is: whatever is finalized meanwhile. */
static int attempt_reserve(lua_State *L, struct tn_call *call) {
  struct end *sender = call->self;
  struct end *permit = new_end(L, call->rt, TN_CHANNEL_PERMIT, sender);
  int status = take_place(call, sender);
  if (status < 0) {
    lua_settop(L, 1);
    return status;
  }
  sender->channel->promised++;
  permit->done = false;
  return 1;
}

static int permit_send(lua_State *L) {
  struct end *permit = check_end(L, TN_CHANNEL_PERMIT);
  struct channel *channel = permit->channel;
  lua_settop(L, 2);
  check_message(L);
  luaL_argcheck(L, !permit->done, 1, "the permit was used or released");
  struct tn_runtime *rt = tn_runtime_of(L);
  tn_runtime_check(L, rt, "send");
  make_place(L, channel);
  permit->done = true;
  channel->promised--;
  push_message(L, rt->reactor, channel);
  lua_pushboolean(L, 1);
  return 1;
}

static int permit_release(lua_State *L) {
  struct end *permit = check_end(L, TN_CHANNEL_PERMIT);
  struct tn_reactor *reactor = tn_runtime_of(L)->reactor;
  if (!permit->done) {
    permit->done = true;
    permit->channel->promised--;
    if (reactor) {
      give_place(reactor, permit->channel);
      serve_receivers(reactor, permit->channel);
    }
  }
  return 0;
}

static int sender_clone(lua_State *L) {
  struct end *sender = check_end(L, TN_SENDERS);
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_settop(L, 1);
  struct end *clone = new_end(L, rt, sender->header.kind, sender);
  if (sender->done) { /* not before: a finalizer may just have closed it */
    return tn_fail(L, rt, TN_CLOSED, "clone", "the sender is closed");
  }
  sender->channel->senders++;
  clone->done = false;
  return 1;
}

static void wake_if_own(struct tn_reactor *reactor, struct tn_waiter *waiter, struct end *sender) {
  if (waiter->queue == &sender->channel->sending && waiter->stake == &sender->stake) {
    tn_wake(reactor, waiter, 0);
  }
}

/* Ends the waits in this one: mostly one, or none, in a line where all the others wait. */
static void wake_own(struct tn_reactor *reactor, struct end *sender) {
  if (sender->crowded) {
    for (struct tn_waiter *waiter = sender->channel->sending.head, *next; waiter; waiter = next) {
      next = waiter->next;
      wake_if_own(reactor, waiter, sender);
    }
  } else if (sender->waiting.holder) {
    wake_if_own(reactor, sender->waiting.holder, sender);
  }
}

static void close_sender(lua_State *L, struct end *sender) {
  struct tn_reactor *reactor = tn_runtime_of(L)->reactor;
  if (!sender->done) {
    sender->done = true;
    sender->channel->senders--;
    if (reactor) {
      wake_own(reactor, sender);
      serve_receivers(reactor, sender->channel);
    }
  }
}

static int sender_close(lua_State *L) {
  close_sender(L, check_end(L, TN_SENDERS));
  return 0;
}

static int sender_is_closed(lua_State *L) {
  lua_pushboolean(L, is_refused(check_end(L, TN_SENDERS)));
  return 1;
}

static int sender_capacity(lua_State *L) {
  const struct channel *channel = check_end(L, TN_SENDERS)->channel;
  if (channel->bounded) {
    lua_pushinteger(L, channel->room);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* Granted to a task whose coroutine somebody closed, which the scheduler does not know yet. */
static void drop_grants(lua_State *L, struct end *end) {
  struct tn_reactor *reactor = tn_runtime_of(L)->reactor;
  if (reactor && end->grants > 0) {
    tn_revoke_all(reactor, &end->stake);
  }
}

static int sender_gc(lua_State *L) {
  struct end *sender = check_end(L, TN_SENDERS);
  close_sender(L, sender);
  tn_claim_drop(&sender->waiting);
  drop_grants(L, sender);
  return 0;
}

/* --- receiving --- */

static int attempt_recv(lua_State *L, struct tn_call *call) {
  struct end *receiver = call->self;
  struct channel *channel = receiver->channel;
  if (take_grant(call, receiver)) {
    channel->granted--;
  } else if (channel->count == 0 && has_ended(channel)) {
    lua_pushnil(L);
    return 1;
  } else if (channel->count == channel->granted) {
    return wait_in(call, receiver, &channel->receiving);
  }
  pop_message(L, call->rt->reactor, channel);
  return 1;
}

static void close_receiver(lua_State *L, struct end *receiver) {
  struct channel *channel = receiver->channel;
  struct tn_reactor *reactor = tn_runtime_of(L)->reactor;
  if (!channel->closed) {
    channel->closed = true;
    if (reactor) {
      tn_wake_all(reactor, &channel->sending, 0);
      serve_receivers(reactor, channel);
    }
  }
}

static int receiver_close(lua_State *L) {
  close_receiver(L, check_end(L, TN_RECEIVER));
  return 0;
}

static int receiver_is_closed(lua_State *L) {
  lua_pushboolean(L, check_end(L, TN_RECEIVER)->channel->closed);
  return 1;
}

static int receiver_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_end(L, TN_RECEIVER)->channel->count);
  return 1;
}

static int receiver_gc(lua_State *L) {
  struct end *receiver = check_end(L, TN_RECEIVER);
  struct tn_reactor *reactor = tn_runtime_of(L)->reactor;
  close_receiver(L, receiver);
  drop_grants(L, receiver);
  if (reactor) { /* none that still runs, for its stack would hold the receiver */
    tn_wake_all(reactor, &receiver->channel->receiving, 0);
  }
  return 0;
}

/* --- life --- */

int tn_channel_new(lua_State *L) {
  struct tn_runtime *rt = tn_runtime_of(L);
  lua_Integer capacity = luaL_optinteger(L, 1, 0);
  struct channel *channel = lua_newuserdatauv(L, sizeof *channel, 0);
  *channel = (struct channel){.bounded = capacity > 0, .room = capacity, .senders = 1};
  struct end *sender =
      tn_new(L, rt, capacity > 0 ? TN_SENDER : TN_UNBOUNDED_SENDER, sizeof *sender, USER_VALUES);
  sender->stake.revoke = revoke_place;
  sender->channel = channel;
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, CHANNEL);
  lua_createtable(L, FIRST_SIZE, 0);
  lua_setiuservalue(L, -2, RING);
  lua_replace(L, 1);
  lua_settop(L, 1);
  new_end(L, rt, TN_RECEIVER, sender);
  return 2;
}

static int end_tostring(lua_State *L) {
  const struct end *end = check_end(L, TN_SENDERS | TN_RECEIVER);
  const char *name = tn_kind_name(end->header.kind);
  if (end->header.kind == TN_RECEIVER ? end->channel->closed : is_refused(end)) {
    lua_pushfstring(L, "%s (closed)", name);
  } else {
    lua_pushfstring(L, "%s (%I messages)", name, (LUAI_UACINT)end->channel->count);
  }
  return 1;
}

static const luaL_Reg sender_functions[] = {{"clone", sender_clone},
                                            {"close", sender_close},
                                            {"is_closed", sender_is_closed},
                                            {"capacity", sender_capacity},
                                            {NULL, NULL}};
static const luaL_Reg sender_metamethods[] = {
    {"__close", sender_close}, {"__gc", sender_gc}, {"__tostring", end_tostring}, {NULL, NULL}};
const struct tn_class tn_sender_class = {"Sender", TN_SENDER, sender_functions, sender_metamethods};
const struct tn_class tn_unbounded_sender_class = {"Sender", TN_UNBOUNDED_SENDER, sender_functions,
                                                   sender_metamethods};

static const luaL_Reg receiver_functions[] = {
    {"close", receiver_close}, {"is_closed", receiver_is_closed}, {NULL, NULL}};
static const luaL_Reg receiver_metamethods[] = {{"__close", receiver_close},
                                                {"__gc", receiver_gc},
                                                {"__len", receiver_len},
                                                {"__tostring", end_tostring},
                                                {NULL, NULL}};
const struct tn_class tn_receiver_class = {"Receiver", TN_RECEIVER, receiver_functions,
                                           receiver_metamethods};

static const luaL_Reg permit_functions[] = {
    {"send", permit_send}, {"release", permit_release}, {NULL, NULL}};
static const luaL_Reg permit_metamethods[] = {
    {"__close", permit_release}, {"__gc", permit_release}, {NULL, NULL}};
const struct tn_class tn_channel_permit_class = {"ChannelPermit", TN_CHANNEL_PERMIT,
                                                 permit_functions, permit_metamethods};

/* clang-format off */
const struct tn_method tn_channel_methods[] = {
  {.name = "send", .kinds = TN_SENDER, .slots = 2, .flags = TN_HAS_TRY, .prepare = prepare_send, .attempt = attempt_send},
  {.name = "send", .kinds = TN_UNBOUNDED_SENDER, .slots = 2, .flags = TN_HAS_TRY | TN_NEVER_WAITS, .prepare = prepare_send,
   .attempt = attempt_send},
  {.name = "reserve", .kinds = TN_SENDERS, .slots = 1, .attempt = attempt_reserve},
  {.name = "recv", .kinds = TN_RECEIVER, .slots = 1, .flags = TN_HAS_TRY, .attempt = attempt_recv},
  {0},
};
/* clang-format on */

void tn_channel_open(lua_State *L, struct tn_runtime *rt) {
  /* in a for loop nil would be the end: a failure is raised */
  static const struct tn_method next = {.name = "recv",
                                        .kinds = TN_RECEIVER,
                                        .slots = 1,
                                        .flags = TN_RAISES,
                                        .attempt = attempt_recv};
  tn_metatable_push(L, rt, TN_RECEIVER);
  tn_method_push(L, rt, &next);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
}
