/* The reactor's own selector: see poller.h. A descriptor enters it once and is told of edges, so
 * that a connection costs one call of the kernel for all its life; libuv, whose descriptor is in
 * there too, runs only when it has something to do.
 *
 * An edge is told once. What makes that safe: whoever begins to wait has asked the kernel since the
 * last report and heard "nothing", or has read less than it asked for while nothing was about that
 * ends a read early (a source's `uncertain`). And an edge wakes all that wait for it, so that none
 * is lost with a waiter that is cancelled before it acts. A descriptor that says "nothing" while
 * there is something (a tracer's, an odd driver's) is found out when the program is idle, or once a
 * second, and watched by its level from then on. */
#include "core/poller.h"

#include "core/reactor_private.h"
#include "core/source.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 256 };
enum { AHEAD = 4 }; /* so many reports are looked ahead for what will be needed */

/* A report names the descriptor and which of its owners it is about: one that is closed may live on
 * in another process, and be reported still. */
static uint64_t token_of(const struct tn_source *source) {
  return (uint64_t)source->generation << 32 | (uint32_t)source->fd;
}

static const uint64_t libuv_token = 0;

static int open_selector(struct tn_reactor *reactor) {
  int fd = tn_selector_open();
  if (fd < 0) {
    return fd;
  }
  int status = tn_selector_set(fd, TN_SELECT_ADD, uv_backend_fd(&reactor->loop),
                               TN_READABLE | TN_LEVEL, libuv_token);
  if (status < 0) {
    tn_socket_close(fd);
    return status;
  }
  reactor->selector = fd;
  return 0;
}

static void close_selector(struct tn_reactor *reactor) {
  tn_socket_close(reactor->selector);
  free(reactor->places);
  reactor->places = NULL;
  reactor->place_count = 0;
}

static bool make_place(struct tn_reactor *reactor, tn_fd fd) {
  struct tn_place *places =
      tn_grow_by_fd(reactor->places, &reactor->place_count, fd, sizeof *places);
  reactor->places = places ? places : reactor->places;
  return places != NULL;
}

/* Whose the descriptor is now. */
TN_INLINE struct tn_source *source_at(const struct tn_reactor *reactor, uint64_t token) {
  uint32_t fd = (uint32_t)token;
  return fd < reactor->place_count ? reactor->places[fd].source : NULL;
}

TN_INLINE struct tn_source *source_of(const struct tn_reactor *reactor, uint64_t token) {
  struct tn_source *source = source_at(reactor, token);
  return source && source->generation == token >> 32 ? source : NULL;
}

static int set(const struct tn_source *source, enum tn_selection what, int interest) {
  return tn_selector_set(source->reactor->selector, what, source->fd,
                         interest | (source->by_level ? TN_LEVEL : 0), token_of(source));
}

/* Urgent data, which ends a read early, is heard of with the rest. */
static int watch(struct tn_source *source, int interest) {
  struct tn_reactor *reactor = source->reactor;
  bool known = source->armed != 0;
  interest |= source->armed;
  if (interest & (TN_READABLE | TN_PRIORITY | TN_READ_CLOSED)) {
    interest |= TN_READABLE | TN_PRIORITY | TN_READ_CLOSED;
  }
  if (!known) {
    if (!make_place(reactor, source->fd)) {
      return TN_ENOMEM;
    }
    source->generation = ++reactor->generation;
  }
  int status = set(source, known ? TN_SELECT_CHANGE : TN_SELECT_ADD, interest);
  if (status < 0) {
    return status;
  }
  if (!known) {
    reactor->places[source->fd].source = source;
    reactor->metrics.handles++;
  }
  source->armed = (uint8_t)interest;
  return 0;
}

/* The kernel forgets what closes, unless the descriptor has a copy elsewhere: that would be
 * reported on and on, and by its level without end. A fork, which nothing tells of, may have one,
 * too: its reports are of no source any more. */
static void forget(struct tn_source *source, bool closes) {
  struct tn_reactor *reactor = source->reactor;
  if (source->armed == 0) {
    return;
  }
  if (!closes || !source->sole || source->by_level) {
    tn_selector_set(reactor->selector, TN_SELECT_REMOVE, source->fd, 0, 0);
  }
  if (reactor->places[source->fd].source == source) {
    reactor->places[source->fd].source = NULL;
  }
  source->armed = 0;
  reactor->metrics.handles--;
}

/* What nobody waits for would be told again at once. */
TN_COLD static void narrow(struct tn_source *source) {
  int wanted = tn_source_wanted(source);
  forget(source, false);
  if (wanted) {
    watch(source, wanted);
  }
}

static void report(struct tn_source *source, int ready) {
  if (ready & (TN_READ_CLOSED | TN_WRITE_CLOSED | TN_ERROR | TN_PRIORITY)) {
    source->uncertain = true;
  }
  if (ready & (TN_WRITE_CLOSED | TN_ERROR)) {
    ready = TN_ALL_INTERESTS;
  }
  if (!tn_source_report(source, ready, true) && source->by_level) {
    narrow(source);
  }
}

TN_COLD static void distrust(struct tn_source *source) {
  source->by_level = true;
  source->uncertain = true;
  set(source, TN_SELECT_CHANGE, source->armed);
}

static void recheck(struct tn_reactor *reactor) {
  struct tn_polled polled[TN_POLLED_MAX];
  struct tn_member *member = reactor->sources;
  while (member) {
    int count = 0;
    for (; member && count < TN_POLLED_MAX; member = member->next) {
      const struct tn_source *source = TN_CONTAINER(member, struct tn_source, listed);
      int wanted = source->by_level ? 0 : tn_source_wanted(source) & source->armed;
      if (wanted) {
        polled[count++] = (struct tn_polled){.fd = source->fd, .interest = wanted};
      }
    }
    count = tn_sockets_poll(polled, count);
    for (int i = 0; i < count; i++) {
      int wanted = polled[i].interest | (polled[i].interest & TN_READABLE ? TN_READ_CLOSED : 0);
      if (polled[i].ready & wanted) {
        distrust(reactor->places[polled[i].fd].source);
      }
    }
  }
}

/* Handles that close, or have just been opened, wait for libuv to run. */
static bool libuv_is_due(const struct tn_reactor *reactor) {
  return uv_loop_alive(&reactor->loop) && uv_backend_timeout(&reactor->loop) == 0;
}

/* With many connections nearly all that is known of the next one has left the CPU's cache. */
TN_INLINE void look_ahead(const struct tn_reactor *reactor, const struct tn_selected *selected,
                          int i, int count) {
  enum { SOURCE = 112 };
  if (i + 2 * AHEAD < count) {
    tn_prefetch(source_at(reactor, selected[i + 2 * AHEAD].token), 0, SOURCE);
  }
  const struct tn_source *source =
      i + AHEAD < count ? source_at(reactor, selected[i + AHEAD].token) : NULL;
  if (source) {
    tn_prefetch(source->waiters.head, 0, sizeof *source->waiters.head);
  }
}

static void turn(struct tn_reactor *reactor, bool block, uint64_t due_ns) {
  struct tn_selected selected[EVENTS_MAX];
  bool run_libuv = libuv_is_due(reactor);
  if (run_libuv) {
    tn_reactor_run_uv(reactor, false);
    block = false;
  }
  int count =
      tn_selector_wait(reactor->selector, selected, EVENTS_MAX, block ? tn_ms_until(due_ns) : 0);
  run_libuv = false;
  for (int i = 0; i < count; i++) {
    look_ahead(reactor, selected, i, count);
    struct tn_source *source = source_of(reactor, selected[i].token);
    if (selected[i].token == libuv_token) {
      run_libuv = true;
    } else if (source) {
      report(source, selected[i].ready);
    }
  }
  if (run_libuv) {
    tn_reactor_run_uv(reactor, false);
  }
}

static tn_fd backend(const struct tn_reactor *reactor) {
  return reactor->selector;
}

static int sleep_ms(struct tn_reactor *reactor, uint64_t due_ns) {
  return libuv_is_due(reactor) ? 0 : tn_ms_until(due_ns);
}

const struct tn_poller tn_poller_own = {"epoll", open_selector, close_selector, watch,   forget,
                                        recheck, turn,          backend,        sleep_ms};
