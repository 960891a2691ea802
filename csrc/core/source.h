/* A descriptor that can be waited for: its waiters, its claims and, for streams, the bytes read and
 * not yet given out. Objects of Lua hold references; the descriptor closes by tn_source_close or
 * with the last reference, and the memory goes with that. */
#ifndef TCPNET_SOURCE_H
#define TCPNET_SOURCE_H

#include "core/address.h"
#include "core/bytes.h"
#include "core/list.h"
#include "core/reactor.h"
#include "core/rights.h"
#include "core/selector.h"
#include "platform/platform.h"

struct tn_option_value;

/* In a waiter's interest: one event wakes one such waiter (accept), not all. */
enum { TN_EXCLUSIVE = 64 };

/* What only few sources have: made with the first of it. */
struct tn_rare {
  struct tn_splice *splice;               /* a copy's pipe, NULL without one */
  struct tn_rights *rights;               /* NULL until the first read of such a stream */
  struct tn_datagrams *datagrams;         /* that came joined; NULL until some did */
  struct tn_selector *selector;           /* its own, of a Poll, or the one that it is in */
  struct tn_option_value *accept_options; /* of a listener: what accepted streams get */
  uint64_t pause_until_ns;                /* of a listener: out of descriptors, no accept before */
  tn_fd stash; /* of a listener: accepted, but Lua had no memory for it */
};

/* There is one for each connection, idle ones too: what it need not have is in `rare`. */
struct tn_source {
  /* What a round trip touches, in as few lines of the CPU's cache as it fits: */
  struct tn_bytes input;
  tn_fd fd;           /* TN_NO_FD: closed */
  uint8_t armed;      /* what the poller listens for now */
  uint8_t drained;    /* directions known to be exhausted until the next event */
  uint8_t noise : 2;  /* events of an error queue in a row that nobody could do anything with */
  bool end_told : 1;  /* an event said that no more will come, and no read has found that yet */
  uint8_t type;       /* SOCK_STREAM and so on; 0: not asked yet */
  bool uncertain : 1; /* something may end a read early: a short one does not mean exhausted */
  bool by_level : 1;  /* poller_own.c: its edges cannot be trusted */
  bool is_pipe : 1;
  bool takes_fds : 1; /* descriptors that come with its bytes are kept for it */
  bool is_selector : 1;
  bool connecting : 1;
  bool write_shut : 1;
  bool read_shut : 1;
  bool close_later : 1; /* in the graveyard, to be closed whoever else holds it */
  bool in_grave : 1;    /* in that list, not in the reactor's other one */
  bool no_splice : 1;   /* it was tried, and cannot be done */
  bool sole : 1;        /* born here, and given to nobody: what closes has no copy elsewhere */
  uint8_t cuts : 2;     /* what is known of a socket of datagrams (core/datagrams.h) */
  uint8_t joins : 2;
  uint8_t sort;        /* what it counts as, below TN_SORTS */
  uint8_t peer_length; /* 0: not known; the kernel forgets it with the connection */
  int16_t loss;        /* the error that ended the connection: there is no end of stream any more */
  int16_t owed;        /* a failure in the middle of a batch, which the system tells once */
  struct tn_reactor *reactor; /* NULL once the reactor is gone */
  struct tn_rare *rare;       /* NULL: nothing of that */
  struct tn_queue waiters;
  union {
    uint32_t generation; /* poller_own.c: which owner of the descriptor */
    void *handle;        /* poller_uv.c: libuv's */
  };
  struct tn_claim reading;
  uint64_t read_timeout_ns; /* 0: none */
  struct tn_claim writing;
  /* The rest: */
  uint64_t write_timeout_ns;
  struct tn_member listed; /* in one of the reactor's lists */
  uint32_t references;
  uint32_t views; /* of the references, those that own nothing */
  struct sockaddr_in6 peer;
};

/* Is the descriptor a source's already? */
bool tn_source_owns(const struct tn_reactor *reactor, tn_fd fd);
/* Takes the descriptor over, with one reference; NULL without memory (the descriptor stays the
 * caller's). */
struct tn_source *tn_source_new(struct tn_reactor *reactor, tn_fd fd);
struct tn_source *tn_source_retain(struct tn_source *source);
void tn_source_release(struct tn_source *source);
/* The same from a finalizer, which may run in the middle of anybody's attempt: it ends with the
 * next tn_sources_bury. */
void tn_source_release_later(struct tn_source *source, bool close);
void tn_sources_bury(struct tn_reactor *reactor);
/* Would that end any? */
bool tn_sources_released(const struct tn_reactor *reactor);
/* What it has of that; NULL: no memory for it. */
struct tn_rare *tn_source_rare(struct tn_source *source);
/* Ends all of it. */
void tn_source_free_rare(struct tn_source *source);
/* It counts as one of that sort from now on. */
void tn_source_set_sort(struct tn_source *source, uint8_t sort);
/* Closes the descriptor now; every wait for it ends with TN_CLOSED. */
void tn_source_close(struct tn_source *source);
/* The same, but the descriptor stays open and is the caller's. */
tn_fd tn_source_into_fd(struct tn_source *source);
/* The reactor goes: its sources close, their objects live on as closed ones; later their spare
 * memory goes. */
void tn_sources_orphan(struct tn_reactor *reactor);
void tn_sources_free(struct tn_reactor *reactor);

/* The waiter, its deadline already set, waits for `interest`; 0 waits for the deadline alone. */
int tn_source_park(struct tn_source *source, struct tn_waiter *waiter, int interest);
/* Ends every wait: the source goes on under another object. */
void tn_source_end_waits(struct tn_source *source);
/* Ends those of one object that shares it, which closes. */
void tn_source_end_waits_of(struct tn_source *source, const void *subject);
/* Ends the waits for any of `interest`. */
void tn_source_wake(struct tn_source *source, int interest, int reason);
/* It is ready, as the kernel says or by what was just done to it: clears what was known to be
 * exhausted, and wakes. Of exclusive waiters one, or all (`everybody`). Was anybody woken? */
bool tn_source_report(struct tn_source *source, int ready, bool everybody);
/* Listens for `interest` although nobody waits, so that the next event clears `drained`. */
int tn_source_arm(struct tn_source *source, int interest);

/* Enters it into a selector, changes or ends that: 0, -EEXIST, -ENOENT, or -EBUSY while somebody
 * waits for it. */
int tn_source_select(struct tn_source *source, struct tn_selector *selector, enum tn_selection what,
                     int interest, uint64_t token);

/* The same selection ends, whichever it is in; a Poll ends its selector. */
void tn_source_leave_selector(struct tn_source *source);

/* Whom it is connected to, as long as the source lives: 0, or a failure. */
void tn_source_set_peer(struct tn_source *source, const struct tn_address *address);
int tn_source_peer(const struct tn_source *source, struct tn_address *address);
/* SO_ERROR: 0, or the error negative. */
int tn_source_take_error(struct tn_source *source);

/* One read into the caller's memory; 0: end of stream. A short one is remembered as drained. */
ptrdiff_t tn_source_recv(struct tn_source *source, void *bytes, size_t length);
ptrdiff_t tn_source_send(struct tn_source *source, const void *bytes, size_t length);
ptrdiff_t tn_source_send_slices(struct tn_source *source, const struct tn_slice *slices, int count);
ptrdiff_t tn_source_recv_slices(struct tn_source *source, const struct tn_slice *slices, int count);
ptrdiff_t tn_source_peek(struct tn_source *source, void *bytes, size_t length);
ptrdiff_t tn_source_send_message(struct tn_source *source, const struct tn_message *message,
                                 int flags);
ptrdiff_t tn_source_recv_message(struct tn_source *source, struct tn_message *message, int flags);
/* Several messages at once; none at all is the end of what is received. */
int tn_source_send_messages(struct tn_source *source, struct tn_message *messages, int count,
                            size_t *lengths);
int tn_source_recv_messages(struct tn_source *source, struct tn_message *messages, int count,
                            size_t *lengths);
/* Bytes to, or from, an end of a pipe (core/splice.h). */
ptrdiff_t tn_source_splice_in(struct tn_source *source, tn_fd pipe, size_t count);
ptrdiff_t tn_source_splice_out(struct tn_source *source, tn_fd pipe, size_t count);
/* Has it a copy's pipe? */
static inline bool tn_source_has_splice(const struct tn_source *source) {
  return source->rare && source->rare->splice;
}
/* Bytes that have left the kernel's socket and are not given out yet, wherever they lie. */
size_t tn_source_buffered(const struct tn_source *source);
ptrdiff_t tn_source_send_file(struct tn_source *source, int file, int64_t offset, uint64_t count);
/* SOCK_STREAM and so on; 0: not known. */
int tn_source_ask_type(struct tn_source *source);
/* A stream of bytes, not messages. */
static inline bool tn_source_is_stream(struct tn_source *source) {
  return (source->type ? source->type : tn_source_ask_type(source)) == SOCK_STREAM;
}
/* Nothing can have changed since the direction came up empty: its event, which is armed, would
 * have said so. */
static inline bool tn_source_is_drained(const struct tn_source *source, int direction) {
  return source->drained & source->armed & direction;
}
/* It has a peer, who may end it. */
static inline bool tn_source_has_end(struct tn_source *source) {
  return tn_source_is_stream(source) || source->type == SOCK_SEQPACKET;
}
/* Nothing was received: is that its end, not an empty message? Once the peer has ended, a record of
 * nothing looks the same unless bytes come next. */
bool tn_source_is_over(struct tn_source *source);
/* Its error queue fires again and again with nobody reading it: not to be armed before that time;
 * 0: it may be. */
uint64_t tn_source_noisy_until(const struct tn_source *source);
/* One read of `want` bytes, or of as many more as there is room for, behind those in `input`. */
ptrdiff_t tn_source_fill(struct tn_source *source, size_t want);

#endif
