/* TcpListener: accepts connections. */
#include "binding/tcp_listener.h"

#include "binding/address.h"
#include "binding/object.h"

enum { PAUSE_NS = 100000000 }; /* how long a listener rests that found no free descriptor */

static int check_listening(tn_fd fd, const char **message) {
  int status = tn_check_tcp_fd(fd, message);
  if (status == 0 && tn_socket_property(fd, SO_ACCEPTCONN) != 1) {
    *message = "the socket does not listen";
    return TN_EINVAL;
  }
  return status;
}

static int listener_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_TCP_LISTENER, check_listening);
}

/* A connection: its descriptor waits in the stash until Lua has an object for it. */
static int take_connection(struct tn_source *listener, struct tn_address *peer) {
  if (listener->stash != TN_NO_FD) {
    return tn_socket_peer(listener->stash, &peer->any, &peer->length) < 0 ? (peer->length = 0) : 0;
  }
  if ((listener->drained & listener->armed & TN_READABLE) != 0) {
    return TN_EAGAIN;
  }
  int fd = tn_socket_accept(listener->fd, &peer->any, &peer->length);
  if (fd < 0) {
    listener->drained |= fd == TN_EAGAIN ? TN_READABLE : 0;
    return fd;
  }
  listener->stash = fd;
  return 0;
}

static int set_options(const struct tn_option_value *value, tn_fd fd) {
  for (; value; value = value->next) {
    int status = tn_option_set(fd, value);
    if (status < 0) {
      return status;
    }
  }
  return 0;
}

static int attempt_accept(lua_State *L, struct tn_call *call) {
  struct tn_source *listener = call->source;
  struct tn_address peer = {.length = sizeof peer.storage};
  if (listener->pause_until_ns != 0) {
    if (tn_now_ns() < listener->pause_until_ns) {
      call->until_ns = listener->pause_until_ns;
      return TN_EAGAIN;
    }
    listener->pause_until_ns = 0;
  }
  int status = take_connection(listener, &peer);
  if (status < 0) {
    if (tn_is_exhaustion(status)) {
      listener->pause_until_ns = tn_now_ns() + PAUSE_NS;
    }
    return status;
  }
  struct tn_object *stream = tn_object_new(L, call->rt, TN_TCP_STREAM, NULL);
  tn_address_push(L, call->rt, &peer);
  stream->source = tn_source_new(listener->reactor, listener->stash);
  if (!stream->source) {
    return TN_ENOMEM;
  }
  listener->stash = TN_NO_FD;
  if (peer.length > 0) {
    tn_source_set_peer(stream->source, &peer);
  }
  /* a connection that died meanwhile takes no options: its reader will learn why */
  set_options(listener->accept_options, stream->source->fd);
  return 2;
}

static const luaL_Reg functions[] = {{"from_fd", listener_from_fd}, {NULL, NULL}};
const struct tn_class tn_tcp_listener_class = {"TcpListener", TN_TCP_LISTENER, functions,
                                               tn_object_metamethods};

const struct tn_method tn_tcp_listener_methods[] = {
    {.name = "accept",
     .kinds = TN_TCP_LISTENER,
     .interest = TN_READABLE | TN_EXCLUSIVE,
     .slots = 1,
     .flags = TN_HAS_TRY,
     .attempt = attempt_accept},
    {0},
};
