/* Descriptors and who waits for them: see source.h. */
#include "core/source.h"

#include "core/datagrams.h"
#include "core/option.h"
#include "core/reactor_private.h"
#include "core/splice.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum {
#if defined(TCPNET_FAULTS) || defined(TCPNET_SANITIZE)
  FREE_LIST_MAX = 0, /* what fails on command, or is watched, is each one's own */
#else
  FREE_LIST_MAX = 1024,
#endif
  FILL_MOST = 65536, /* that a stream reads ahead by itself */
  NOISE_MAX = 3,
  NOISE_NS = 10000000,
};

bool tn_source_owns(const struct tn_reactor *reactor, tn_fd fd) {
  return (size_t)fd < reactor->owners_length && reactor->owners[fd] > 0;
}

/* A number has a second owner where the first one's descriptor was closed by somebody else. */
static bool make_owner(struct tn_reactor *reactor, tn_fd fd) {
  uint16_t *owners = tn_grow_by_fd(reactor->owners, &reactor->owners_length, fd, sizeof *owners);
  if (!owners) {
    return false;
  }
  reactor->owners = owners;
  reactor->owners[fd]++;
  return true;
}

static struct tn_source *take_from(struct tn_member **list) {
  struct tn_member *first = tn_list_take(list);
  return first ? TN_CONTAINER(first, struct tn_source, listed) : NULL;
}

struct tn_source *tn_source_new(struct tn_reactor *reactor, tn_fd fd) {
  if (!make_owner(reactor, fd)) {
    return NULL;
  }
  struct tn_source *source = take_from(&reactor->free_sources);
  if (source) {
    reactor->free_count--;
  } else {
    source = malloc(sizeof *source);
    if (!source) {
      reactor->owners[fd]--;
      return NULL;
    }
  }
  memset(source, 0, sizeof *source);
  source->fd = fd;
  source->references = 1;
  source->reactor = reactor;
  tn_list_enter(&reactor->sources, &source->listed);
  reactor->metrics.sources++;
  reactor->metrics.opened[0]++;
  return source;
}

void tn_source_set_sort(struct tn_source *source, uint8_t sort) {
  struct tn_metrics *metrics = &source->reactor->metrics;
  if (sort != source->sort) {
    metrics->closed[source->sort]++;
    metrics->opened[sort]++;
    source->sort = sort;
  }
}

struct tn_rare *tn_source_rare(struct tn_source *source) {
  if (!source->rare) {
    source->rare = malloc(sizeof *source->rare);
    if (source->rare) {
      *source->rare = (struct tn_rare){.stash = TN_NO_FD};
    }
  }
  return source->rare;
}

void tn_source_free_rare(struct tn_source *source) {
  struct tn_rare *rare = source->rare;
  if (!rare) {
    return;
  }
  tn_splice_drop(source);
  tn_rights_free(rare->rights);
  tn_datagrams_free(rare->datagrams);
  tn_option_values_free(rare->accept_options);
  if (rare->stash != TN_NO_FD) {
    tn_socket_close(rare->stash);
  }
  free(rare);
  source->rare = NULL;
}

static void recycle(struct tn_reactor *reactor, struct tn_source *source) {
  if (!reactor || reactor->free_count == FREE_LIST_MAX) {
    free(source);
    return;
  }
  tn_list_enter(&reactor->free_sources, &source->listed);
  reactor->free_count++;
}

/* Whoever holds it may be waiting elsewhere: a copy, for the other party. */
static void end_claim(struct tn_reactor *reactor, struct tn_claim *claim) {
  if (claim->holder) {
    tn_wake(reactor, claim->holder, TN_CLOSED);
    tn_claim_drop(claim);
  }
}

static struct tn_selector *selector_of(const struct tn_source *source) {
  return source->rare ? source->rare->selector : NULL;
}

/* A Poll ends its selector; a registered source leaves it, for a copy of the descriptor elsewhere
 * would keep it in there. */
void tn_source_leave_selector(struct tn_source *source) {
  struct tn_selector *selector = selector_of(source);
  if (!selector) {
    return;
  }
  if (source->is_selector) {
    selector->fd = TN_NO_FD;
  } else if (selector->fd != TN_NO_FD && !tn_reactor_forked(source->reactor)) {
    tn_selector_set(selector->fd, TN_SELECT_REMOVE, source->fd, 0, 0);
  }
  source->rare->selector = NULL;
  tn_selector_release(selector);
}

int tn_source_select(struct tn_source *source, struct tn_selector *selector, enum tn_selection what,
                     int interest, uint64_t token) {
  struct tn_selector *its = selector_of(source);
  if (its && its->fd == TN_NO_FD && !source->is_selector) {
    tn_selector_release(its); /* that Poll is closed */
    its = source->rare->selector = NULL;
  }
  if (what == TN_SELECT_ADD && its) {
    return -EEXIST;
  }
  if (what != TN_SELECT_ADD && (!its || its != selector)) {
    return -ENOENT;
  }
  if (what == TN_SELECT_ADD &&
      (source->waiters.head || source->reading.holder || source->writing.holder)) {
    return TN_EBUSY;
  }
  if (what == TN_SELECT_REMOVE) {
    tn_source_leave_selector(source);
    return 0;
  }
  struct tn_rare *rare = tn_source_rare(source);
  if (!rare) {
    return TN_ENOMEM;
  }
  int status = tn_selector_set(selector->fd, what, source->fd, interest, token);
  if (status == 0 && what == TN_SELECT_ADD) {
    rare->selector = tn_selector_retain(selector);
  }
  return status;
}

void tn_source_end_waits(struct tn_source *source) {
  end_claim(source->reactor, &source->reading);
  end_claim(source->reactor, &source->writing);
  tn_wake_all(source->reactor, &source->waiters, TN_CLOSED);
  tn_wake_all(source->reactor, &source->writing.queue, TN_CLOSED);
}

static tn_fd leave(struct tn_source *source, bool closes) {
  struct tn_reactor *reactor = source->reactor;
  tn_fd fd = source->fd;
  if (fd == TN_NO_FD || !reactor) {
    return TN_NO_FD;
  }
  tn_source_end_waits(source);
  if (reactor->unclaimed == source) {
    reactor->unclaimed = NULL;
  }
  /* A child must not touch the epoll that it shares with its parent. */
  if (!tn_reactor_forked(reactor)) {
    reactor->poller->forget(source, closes);
  }
  tn_source_leave_selector(source);
  reactor->owners[fd]--;
  source->fd = TN_NO_FD;
  tn_bytes_free(&source->input);
  tn_source_free_rare(source);
  if (!source->in_grave) {
    tn_list_leave(&source->listed);
  }
  reactor->metrics.sources--;
  reactor->metrics.closed[source->sort]++;
  source->reactor = NULL; /* may be gone before the last object */
  return fd;
}

tn_fd tn_source_into_fd(struct tn_source *source) {
  return leave(source, false);
}

/* The poller is told first: a number that is used again would otherwise lose its registration. */
void tn_source_close(struct tn_source *source) {
  tn_fd fd = leave(source, true);
  if (fd != TN_NO_FD) {
    tn_socket_close(fd);
  }
}

void tn_sources_orphan(struct tn_reactor *reactor) {
  while (reactor->sources) {
    tn_source_close(TN_CONTAINER(reactor->sources, struct tn_source, listed));
  }
}

void tn_sources_free(struct tn_reactor *reactor) {
  for (struct tn_source *source; (source = take_from(&reactor->free_sources));) {
    free(source);
  }
}

struct tn_source *tn_source_retain(struct tn_source *source) {
  source->references++;
  return source;
}

void tn_source_release(struct tn_source *source) {
  if (--source->references > 0) {
    return;
  }
  struct tn_reactor *reactor = source->reactor;
  tn_source_close(source);
  recycle(reactor, source);
}

void tn_source_release_later(struct tn_source *source, bool close) {
  struct tn_reactor *reactor = source->reactor;
  if (!reactor) { /* closed already: nothing of it is in use */
    tn_source_release(source);
    return;
  }
  if (source->in_grave) { /* a half of the same stream was here before */
    source->close_later |= close;
    source->references--;
    return;
  }
  source->in_grave = true;
  source->views++; /* what it holds in there owns nothing */
  source->close_later = close;
  tn_list_leave(&source->listed);
  tn_list_enter(&reactor->graveyard, &source->listed);
}

bool tn_sources_released(const struct tn_reactor *reactor) {
  return reactor->graveyard != NULL;
}

void tn_sources_bury(struct tn_reactor *reactor) {
  for (struct tn_source *source; (source = take_from(&reactor->graveyard));) {
    source->views--;
    if (source->close_later) {
      tn_source_close(source);
    }
    if (source->references > 1 && source->fd != TN_NO_FD) { /* others go on with it */
      source->in_grave = false;
      tn_list_enter(&reactor->sources, &source->listed);
    }
    tn_source_release(source);
  }
}

/* --- waiting --- */

TN_INLINE bool wake_matching(struct tn_source *source, int ready, int reason, bool all) {
  bool woke_any = false;
  bool woke_exclusive = false;
  for (struct tn_waiter *waiter = source->waiters.head, *next; waiter; waiter = next) {
    next = waiter->next;
    if (!(waiter->interest & ready)) {
      continue;
    }
    bool exclusive = waiter->interest & TN_EXCLUSIVE;
    if (exclusive && woke_exclusive && !all) {
      continue;
    }
    woke_any = true;
    woke_exclusive |= exclusive;
    tn_wake(source->reactor, waiter, reason);
  }
  return woke_any;
}

int tn_source_wanted(const struct tn_source *source) {
  int interest = 0;
  for (const struct tn_waiter *waiter = source->waiters.head; waiter; waiter = waiter->next) {
    interest |= waiter->interest & TN_ALL_INTERESTS;
  }
  return interest;
}

bool tn_source_report(struct tn_source *source, int ready, bool everybody) {
  source->drained &= (uint8_t)~ready;
  source->end_told |= (ready & TN_READ_CLOSED) != 0;
  return wake_matching(source, ready, 0, everybody);
}

void tn_source_note_noise(struct tn_source *source) {
  source->noise = source->noise < NOISE_MAX ? source->noise + 1U : NOISE_MAX;
}

int tn_source_arm(struct tn_source *source, int interest) {
  return (interest & ~source->armed) ? source->reactor->poller->watch(source, interest) : 0;
}

int tn_source_park(struct tn_source *source, struct tn_waiter *waiter, int interest) {
  int status = interest ? tn_source_arm(source, interest & TN_ALL_INTERESTS) : 0;
  if (status < 0) {
    return status;
  }
  waiter->interest = (uint8_t)interest;
  status = tn_park(source->reactor, waiter, &source->waiters, interest != 0);
  if (status == 0 && waiter->waited && (interest & TN_EXCLUSIVE)) {
    tn_queue_rise(
        waiter); /* an edge wakes all; who got nothing is before who did, and came again */
  }
  return status;
}

static void end_of(struct tn_reactor *reactor, struct tn_queue *queue, const void *subject) {
  for (struct tn_waiter *waiter = queue->head, *next; waiter; waiter = next) {
    next = waiter->next;
    if (waiter->subject == subject) {
      tn_wake(reactor, waiter, TN_CLOSED);
    }
  }
}

void tn_source_end_waits_of(struct tn_source *source, const void *subject) {
  struct tn_claim *claims[] = {&source->reading, &source->writing};
  end_of(source->reactor, &source->writing.queue, subject); /* before somebody else is the next */
  for (int i = 0; i < 2; i++) {
    struct tn_waiter *holder = claims[i]->holder;
    if (holder && holder->subject == subject) {
      tn_wake(source->reactor, holder, TN_CLOSED);
      tn_claim_release(source->reactor, claims[i]);
    } else if (holder && !holder->subject) { /* a function's, which looks whose end it is */
      tn_wake(source->reactor, holder, 0);
    }
  }
  end_of(source->reactor, &source->waiters, subject);
}

void tn_source_wake(struct tn_source *source, int interest, int reason) {
  wake_matching(source, interest, reason, true);
}

/* --- bytes --- */

/* Some errors tell of a single packet (IP_RECVERR), and the connection goes on. */
static bool is_gone(struct tn_source *source, ptrdiff_t status) {
  struct tn_address peer = {.length = sizeof peer.storage};
  switch (status) {
  case UV_ECONNRESET:
    return tn_source_has_end(source);
  case UV_EACCES:
  case UV_ECONNABORTED:
  case UV_ECONNREFUSED:
  case UV_EHOSTDOWN:
  case UV_EHOSTUNREACH:
  case UV_ENETDOWN:
  case UV_ENETUNREACH:
  case UV_ENOPROTOOPT:
  case UV_EPROTO:
  case UV_ETIMEDOUT:
    return tn_source_has_end(source) && tn_socket_peer(source->fd, &peer.any, &peer.length) < 0;
  default:
    return false;
  }
}

/* The kernel tells once why a connection is gone, to whoever asks first; after that it says "end of
 * stream" to a reader, which it is not. So it is remembered. */
static ptrdiff_t note_loss(struct tn_source *source, ptrdiff_t count) {
  if (count < 0 && count != TN_EAGAIN && is_gone(source, count)) {
    source->loss = (int16_t)count;
  }
  return count == 0 && source->loss < 0 ? source->loss : count;
}

/* An event told of an end, and nothing is left before it. A socket of datagrams has one where
 * another descriptor of it has shut reading down, and Linux says "nothing" there for ever. */
static void note_end(struct tn_source *source) {
  source->end_told = false;
  if (!source->is_pipe && !source->read_shut && !tn_source_has_end(source)) {
    int ready = tn_socket_poll(source->fd, 0);
    source->read_shut = ready > 0 && (ready & TN_READ_CLOSED);
  }
}

/* Moved less than asked for, or nothing: the kernel has no more, or no more room, for now. */
TN_INLINE void note(struct tn_source *source, ptrdiff_t count, size_t asked, int direction) {
  if (count == TN_EAGAIN) {
    source->drained |= (uint8_t)direction;
    if (direction == TN_READABLE && source->end_told) {
      note_end(source);
    }
    return;
  }
  if (count > 0 && (size_t)count < asked && !source->uncertain) {
    source->drained |= (uint8_t)direction;
  }
  source->noise = 0;
}

TN_INLINE ptrdiff_t note_received(struct tn_source *source, ptrdiff_t count, size_t asked) {
  note(source, count, asked, TN_READABLE);
  if (count <= 0) {
    return note_loss(source, count);
  }
  source->reactor->metrics.bytes_read += (uint64_t)count;
  return count;
}

/* Where descriptors may come with the bytes, they are kept. */
static ptrdiff_t recv_with_fds(struct tn_source *source, const struct tn_slice *slices, int count) {
  struct tn_control control;
  struct tn_message message = {.slices = slices,
                               .count = count,
                               .control = control.bytes,
                               .control_length = sizeof control.bytes};
  struct tn_rare *rare = tn_source_rare(source);
  if (!rare || !tn_rights_prepare(&rare->rights, source->input.length)) {
    return TN_ENOMEM;
  }
  ptrdiff_t received = tn_socket_recv_message(source->fd, &message, 0);
  if (received > 0) {
    source->uncertain |=
        message.control_length > 0; /* such a read ends before the next that brings some */
    control.length = message.control_length;
    tn_rights_note(&rare->rights, &control, message.flags & MSG_CTRUNC, (size_t)received);
  }
  return received;
}

TN_INLINE ptrdiff_t recv_plain(struct tn_source *source, void *bytes, size_t length) {
  struct tn_slice slice = {bytes, length};
  return source->is_pipe     ? tn_pipe_recv(source->fd, &slice, 1)
         : source->takes_fds ? recv_with_fds(source, &slice, 1)
                             : tn_socket_recv(source->fd, bytes, length);
}

ptrdiff_t tn_source_recv(struct tn_source *source, void *bytes, size_t length) {
  if (tn_source_is_drained(source, TN_READABLE)) {
    return TN_EAGAIN;
  }
  return note_received(source, recv_plain(source, bytes, length), length);
}

ptrdiff_t tn_source_recv_slices(struct tn_source *source, const struct tn_slice *slices,
                                int count) {
  if (tn_source_is_drained(source, TN_READABLE)) {
    return TN_EAGAIN;
  }
  if (source->is_pipe || source->takes_fds) {
    return note_received(source,
                         source->is_pipe ? tn_pipe_recv(source->fd, slices, count)
                                         : recv_with_fds(source, slices, count),
                         0);
  }
  struct tn_message message = {.slices = slices, .count = count};
  return tn_source_recv_message(source, &message, 0);
}

/* The failure that is owed. */
static int pay(struct tn_source *source) {
  int status = source->owed;
  source->owed = 0;
  return status;
}

/* Urgent data and the error queue are apart from what the readable event is about. */
ptrdiff_t tn_source_recv_message(struct tn_source *source, struct tn_message *message, int flags) {
  if (source->owed < 0) {
    return pay(source);
  }
  if (flags & (MSG_OOB | MSG_ERRQUEUE)) {
    ptrdiff_t received = tn_socket_recv_message(source->fd, message, flags);
    source->noise = received == TN_EAGAIN ? source->noise : 0;
    return received;
  }
  if (tn_source_is_drained(source, TN_READABLE)) {
    return TN_EAGAIN;
  }
  return note_received(source, tn_socket_recv_message(source->fd, message, flags), 0);
}

ptrdiff_t tn_source_splice_in(struct tn_source *source, tn_fd pipe, size_t count) {
  if (tn_source_is_drained(source, TN_READABLE)) {
    return TN_EAGAIN;
  }
  return note_received(source, tn_splice_move(source->fd, pipe, count), 0);
}

size_t tn_source_buffered(const struct tn_source *source) {
  return source->input.length + tn_splice_held(source);
}

int tn_source_ask_type(struct tn_source *source) {
  int type = 0;
  socklen_t length = sizeof type;
  if (source->fd != TN_NO_FD) {
    tn_socket_get_option(source->fd, SOL_SOCKET, SO_TYPE, &type, &length);
    source->type = (uint8_t)type;
  }
  return source->type;
}

/* A queue that is read in time makes no second event. */
uint64_t tn_source_noisy_until(const struct tn_source *source) {
  return source->noise == NOISE_MAX ? tn_now_ns() + NOISE_NS : 0;
}

ptrdiff_t tn_source_peek(struct tn_source *source, void *bytes, size_t length) {
  return note_loss(source, tn_socket_peek(source->fd, bytes, length));
}

int tn_source_take_error(struct tn_source *source) {
  int status = tn_socket_take_error(source->fd);
  note_loss(source, status ? status : 1);
  return status;
}

void tn_source_set_peer(struct tn_source *source, const struct tn_address *address) {
  if (address->length <= sizeof source->peer) {
    source->peer_length = (uint8_t)address->length;
    memcpy(&source->peer, &address->storage, address->length);
  }
}

int tn_source_peer(const struct tn_source *source, struct tn_address *address) {
  if (source->peer_length == 0) {
    address->length = sizeof address->storage;
    return tn_socket_peer(source->fd, &address->any, &address->length);
  }
  address->length = source->peer_length;
  memcpy(&address->storage, &source->peer, source->peer_length);
  return 0;
}

TN_INLINE ptrdiff_t note_sent(struct tn_source *source, ptrdiff_t count, size_t asked) {
  if (count != 0) {
    note(source, count, asked, TN_WRITABLE);
  }
  if (count < 0) {
    return note_loss(source, count);
  }
  source->reactor->metrics.bytes_written += (uint64_t)count;
  return count;
}

ptrdiff_t tn_source_send(struct tn_source *source, const void *bytes, size_t length) {
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  struct tn_slice slice = {(void *)bytes, length};
  return note_sent(source,
                   source->is_pipe ? tn_pipe_send(source->fd, &slice, 1)
                                   : tn_socket_send(source->fd, bytes, length),
                   length);
}

ptrdiff_t tn_source_send_slices(struct tn_source *source, const struct tn_slice *slices,
                                int count) {
  size_t asked = 0;
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  for (int i = 0; i < count; i++) {
    asked += slices[i].length;
  }
  struct tn_message message = {.slices = slices, .count = count};
  return note_sent(source,
                   source->is_pipe ? tn_pipe_send(source->fd, slices, count)
                                   : tn_socket_send_message(source->fd, &message, 0),
                   asked);
}

/* The queue of the receiver is full, not that of this socket, whose event would fire again and
 * again (unix(7)): nothing tells of room, so the next attempt is after a pause. */
static ptrdiff_t note_full(struct tn_source *source, const struct tn_message *message,
                           ptrdiff_t count) {
  if (count == TN_EAGAIN && message->address_length > 0 &&
      (tn_socket_poll(source->fd, TN_WRITABLE) & TN_WRITABLE)) {
    source->drained &= (uint8_t)~TN_WRITABLE;
    source->noise = NOISE_MAX;
  }
  return count;
}

ptrdiff_t tn_source_send_message(struct tn_source *source, const struct tn_message *message,
                                 int flags) {
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  ptrdiff_t sent = tn_socket_send_message(source->fd, message, flags);
  return note_full(source, message, note_sent(source, sent, 0));
}

static uint64_t total(const size_t *lengths, int count) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; i++) {
    bytes += lengths[i];
  }
  return bytes;
}

int tn_source_send_messages(struct tn_source *source, struct tn_message *messages, int count,
                            size_t *lengths) {
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  int sent = tn_socket_send_messages(source->fd, messages, count, lengths);
  source->reactor->metrics.bytes_written += total(lengths, sent);
  note(source, sent, 0, TN_WRITABLE);
  return (int)note_full(source, messages, sent);
}

int tn_source_recv_messages(struct tn_source *source, struct tn_message *messages, int count,
                            size_t *lengths) {
  if (source->owed < 0) {
    return pay(source);
  }
  if (tn_source_is_drained(source, TN_READABLE)) {
    return TN_EAGAIN;
  }
  int received = tn_socket_recv_messages(source->fd, messages, count, lengths);
  source->reactor->metrics.bytes_read += total(lengths, received);
  note(source, received, (size_t)count, TN_READABLE);
  if (received > 0 && lengths[received - 1] == 0 && tn_source_is_over(source)) {
    while (received > 0 && lengths[received - 1] == 0) { /* its end was found again each time */
      received--;
    }
  }
  return received > 0 ? received : (int)note_loss(source, received);
}

/* Has the peer not ended its side? What it sent may be on its way then. */
static bool is_open(const struct tn_source *source) {
  return tn_socket_poll(source->fd, TN_READ_CLOSED) == 0;
}

bool tn_source_is_over(struct tn_source *source) {
  char byte;
  return tn_source_is_stream(source) || (source->type == SOCK_SEQPACKET && !is_open(source) &&
                                         tn_socket_peek(source->fd, &byte, 1) <= 0);
}

/* Of a call that sends piece by piece. Where the connection ends between two of them, the kernel
 * tells how much went out, and has forgotten the error. */
static ptrdiff_t note_pieces(struct tn_source *source, ptrdiff_t count, size_t asked,
                             bool was_open) {
  struct tn_address peer;
  if (was_open && count > 0 && (size_t)count < asked && !is_open(source) &&
      tn_source_is_stream(source)) {
    peer.length = sizeof peer.storage;
    if (tn_socket_peer(source->fd, &peer.any, &peer.length) < 0) {
      source->loss = UV_ECONNRESET;
    }
  }
  return note_sent(source, count, 0);
}

ptrdiff_t tn_source_splice_out(struct tn_source *source, tn_fd pipe, size_t count) {
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  bool was_open = is_open(source);
  return note_pieces(source, tn_splice_move(pipe, source->fd, count), count, was_open);
}

ptrdiff_t tn_source_send_file(struct tn_source *source, int file, int64_t offset, uint64_t count) {
  if (tn_source_is_drained(source, TN_WRITABLE)) {
    return TN_EAGAIN;
  }
  size_t asked = count < SIZE_MAX ? (size_t)count : SIZE_MAX;
  bool was_open = is_open(source);
  return note_pieces(source, tn_socket_send_file(source->fd, file, offset, asked), asked, was_open);
}

ptrdiff_t tn_source_fill(struct tn_source *source, size_t want) {
  const struct tn_block *block = source->input.block;
  /* what filled its room left more behind: the next read has twice as much */
  if (tn_bytes_is_full(&source->input) && block->capacity < FILL_MOST) {
    want = want > block->capacity ? want : block->capacity;
  }
  char *room = tn_bytes_reserve(&source->input, want);
  if (!room) {
    return TN_ENOMEM;
  }
  block = source->input.block;
  size_t more = (size_t)(block->memory + block->capacity - room);
  ptrdiff_t count = tn_source_recv(source, room, more);
  if (count > 0) {
    tn_bytes_commit(&source->input, (size_t)count);
  } else if (source->input.length == 0) {
    tn_bytes_free(&source->input);
  }
  return count;
}
