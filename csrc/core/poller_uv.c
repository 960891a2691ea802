/* libuv's poll handles: see poller.h.
 *
 * Arming costs system calls, so a handle stays armed after it woke somebody, and is narrowed only
 * when it fires with nobody waiting. Polling is level-triggered: what a short read left behind, or
 * what nobody fetched, is reported again. */
#include "core/poller.h"

#include "core/reactor_private.h"
#include "core/source.h"
#include "core/status.h"

#include <stdlib.h>

enum { MS = 1000000 };

/* Outlives its source, until libuv has let go of it. */
struct handle {
  uv_poll_t poll;
  struct tn_source *source;
  uint64_t woken_turn;
};

static void on_timer(uv_timer_t *timer) {
  struct tn_reactor *reactor = timer->loop->data;
  reactor->armed_ns = UINT64_MAX;
  /* libuv 1.44 runs timers before it polls, and would sleep after this one */
  uv_stop(timer->loop);
}

static int open_timer(struct tn_reactor *reactor) {
  reactor->armed_ns = UINT64_MAX;
  return uv_timer_init(&reactor->loop, &reactor->timer);
}

static void close_timer(struct tn_reactor *reactor) {
  uv_close((uv_handle_t *)&reactor->timer, NULL);
}

/* One uv_timer_t stands for all deadlines. It is only ever set earlier: firing too early is
 * harmless. */
static void arm_timer(struct tn_reactor *reactor, uint64_t due_ns) {
  if (due_ns >= reactor->armed_ns) {
    return;
  }
  uv_update_time(&reactor->loop);
  uint64_t now_ms = uv_now(&reactor->loop);
  uint64_t due_ms = (due_ns + MS - 1) / MS;
  uv_timer_start(&reactor->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
  reactor->armed_ns = due_ns;
}

static int to_uv(int interest) {
  return (interest & TN_READABLE ? UV_READABLE : 0) | (interest & TN_WRITABLE ? UV_WRITABLE : 0) |
         (interest & TN_PRIORITY ? UV_PRIORITIZED : 0) |
         (interest & (TN_READABLE | TN_READ_CLOSED) ? UV_DISCONNECT : 0);
}

static int from_uv(int events) {
  return (events & UV_READABLE ? TN_READABLE : 0) | (events & UV_WRITABLE ? TN_WRITABLE : 0) |
         (events & UV_PRIORITIZED ? TN_PRIORITY : 0) |
         (events & UV_DISCONNECT ? TN_READ_CLOSED : 0);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static int set_armed(struct handle *handle, int interest) {
  int status = interest ? uv_poll_start(&handle->poll, to_uv(interest), on_poll)
                        : uv_poll_stop(&handle->poll);
  if (status == 0) {
    handle->source->armed = (uint8_t)interest;
  }
  return status;
}

/* Any POLLERR arrives as a status, with the handle stopped: the attempt that is woken learns what
 * happened. */
static void on_poll(uv_poll_t *poll, int status, int events) {
  struct handle *handle = poll->data;
  struct tn_source *source = handle->source;
  uint64_t turn = source->reactor->turn;
  if (status < 0) {
    source->armed = 0;
    tn_source_note_noise(source);
  }
  if (tn_source_report(source, status < 0 ? TN_ALL_INTERESTS : from_uv(events), status < 0)) {
    handle->woken_turn = turn;
  } else if (status == 0 && handle->woken_turn != turn) {
    /* with very many descriptors libuv reports twice in a turn, before the woken task could run:
     * that is no reason */
    set_armed(handle, tn_source_wanted(source));
  }
}

/* libuv ends the process where epoll refuses a descriptor later than at first: a selector may have
 * got others into it since, in a ring or too deep. */
static int check_nesting(const struct tn_source *source) {
  tn_fd backend = uv_backend_fd(&source->reactor->loop);
  int status = tn_selector_set(backend, TN_SELECT_ADD, source->fd, TN_READABLE, 0);
  if (status == 0) {
    tn_selector_set(backend, TN_SELECT_REMOVE, source->fd, 0, 0);
  }
  return status == -EEXIST ? 0 : status;
}

static int open_handle(struct tn_source *source) {
  struct handle *handle = malloc(sizeof *handle);
  if (!handle) {
    return TN_ENOMEM;
  }
  int status = uv_poll_init(&source->reactor->loop, &handle->poll, source->fd);
  if (status < 0) {
    free(handle);
    return status;
  }
  handle->poll.data = handle;
  handle->source = source;
  handle->woken_turn = 0;
  source->handle = handle;
  source->reactor->metrics.handles++;
  return 0;
}

static int watch(struct tn_source *source, int interest) {
  int status = source->is_selector && source->armed == 0 ? check_nesting(source) : 0;
  if (status == 0 && !source->handle) {
    status = open_handle(source);
  }
  interest |= source->armed;
  return status < 0 || interest == source->armed ? status : set_armed(source->handle, interest);
}

static void on_close(uv_handle_t *poll) {
  struct tn_reactor *reactor = poll->loop->data;
  reactor->metrics.handles--;
  free(poll->data);
}

static void forget(struct tn_source *source, bool closes) {
  (void)closes;
  struct handle *handle = source->handle;
  if (handle) {
    uv_close((uv_handle_t *)&handle->poll, on_close);
    source->handle = NULL;
    source->armed = 0;
  }
}

static void turn(struct tn_reactor *reactor, bool block, uint64_t due_ns) {
  arm_timer(reactor, due_ns);
  tn_reactor_run_uv(reactor, block);
}

static tn_fd backend(const struct tn_reactor *reactor) {
  return uv_backend_fd(&reactor->loop);
}

/* Exact, for a foreign loop must not wake up for nothing. libuv says 0, too, where it has nothing
 * at all to wait for. */
static int sleep_ms(struct tn_reactor *reactor, uint64_t due_ns) {
  uv_timer_stop(&reactor->timer);
  reactor->armed_ns = UINT64_MAX;
  arm_timer(reactor, due_ns);
  uv_update_time(&reactor->loop);
  return uv_loop_alive(&reactor->loop) ? uv_backend_timeout(&reactor->loop) : -1;
}

const struct tn_poller tn_poller_uv = {"libuv", open_timer, close_timer, watch,   forget,
                                       NULL,    turn,       backend,     sleep_ms};
