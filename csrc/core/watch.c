/* Signals and child processes: see watch.h. */
#include "core/watch.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <signal.h>
#include <stdlib.h>

struct tn_watch {
  union {
    struct tn_signal signal;
    struct tn_child child;
  };
  struct tn_member listed; /* among those of the reactor */
  struct tn_reactor *reactor;
  void **holder; /* NULL once it is closed */
  bool is_child;
  bool was_ignored; /* the signal, before the first of those that listen to it now */
  union {
    uv_handle_t handle;
    uv_signal_t on_signal;
    uv_process_t process;
  };
};

static struct tn_watch *new_watch(struct tn_reactor *reactor, bool is_child, void **holder) {
  struct tn_watch *watch = calloc(1, sizeof *watch);
  if (watch) {
    watch->reactor = reactor;
    watch->is_child = is_child;
    watch->holder = holder;
  }
  return watch;
}

static void enter(struct tn_watch *watch) {
  tn_list_enter(&watch->reactor->watches, &watch->listed);
  *watch->holder = watch;
  watch->reactor->metrics.watches++;
}

static void on_close(uv_handle_t *handle) {
  free(handle->data);
}

static void on_leave(uv_handle_t *handle) {
  struct tn_watch *watch = handle->data;
  watch->reactor->metrics.watches--;
  free(watch);
}

static void leave(struct tn_watch *watch) {
  tn_list_leave(&watch->listed);
  uv_close(&watch->handle, on_leave);
}

/* Nobody holds it any more. */
static void give_up(struct tn_watch *watch, struct tn_queue *waiters) {
  if (watch->holder) {
    *watch->holder = NULL;
    watch->holder = NULL;
  }
  tn_wake_all(watch->reactor, waiters, TN_CLOSED);
}

/* --- signals --- */

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  struct tn_watch *watch = handle->data;
  watch->signal.pending = true;
  tn_wake_all(watch->reactor, &watch->signal.waiters, 0);
}

/* libuv leaves the default action of SIGINT behind, which is not what the host program had. */
static int listen_to(struct tn_watch *watch, int number) {
  struct tn_reactor *reactor = watch->reactor;
  if (number != SIGINT) {
    return uv_signal_start(&watch->on_signal, on_signal, number);
  }
  tn_reactor_unwatch_interrupt(reactor);
  int status = tn_reactor_hear_interrupt(reactor, &watch->on_signal, on_signal);
  reactor->interrupts_taken += status == 0;
  return status;
}

static void stop_listening(struct tn_watch *watch) {
  struct tn_reactor *reactor = watch->reactor;
  uv_signal_stop(&watch->on_signal);
  if (watch->signal.number == SIGINT && --reactor->interrupts_taken == 0) {
    tn_reactor_give_interrupt_back(reactor);
  }
}

/* The last of those that listen to it, or NULL. */
static const struct tn_watch *listener_of(const struct tn_reactor *reactor, int number) {
  for (struct tn_member *member = reactor->watches; member; member = member->next) {
    const struct tn_watch *watch = TN_CONTAINER(member, struct tn_watch, listed);
    if (!watch->is_child && watch->signal.number == number) {
      return watch;
    }
  }
  return NULL;
}

int tn_signal_open(struct tn_reactor *reactor, int number, struct tn_signal **holder) {
  struct tn_watch *watch = new_watch(reactor, false, (void **)holder);
  if (!watch) {
    return TN_ENOMEM;
  }
  uv_signal_init(&reactor->loop, &watch->on_signal);
  watch->handle.data = watch;
  const struct tn_watch *other = listener_of(reactor, number);
  watch->was_ignored = other ? other->was_ignored : tn_signal_ignored(number);
  int status = listen_to(watch, number);
  if (status < 0) {
    uv_close(&watch->handle, on_close);
    return status;
  }
  watch->signal.number = number;
  enter(watch);
  return 0;
}

void tn_signal_close(struct tn_signal *signal) {
  struct tn_watch *watch = (struct tn_watch *)signal;
  give_up(watch, &signal->waiters);
  if (!tn_reactor_forked(watch->reactor)) {
    stop_listening(watch);
    leave(watch);
    if (watch->was_ignored && !listener_of(watch->reactor, signal->number)) {
      tn_signal_ignore(signal->number);
    }
  }
}

/* --- children --- */

static void on_exit_of_child(uv_process_t *process, int64_t code, int signal) {
  struct tn_watch *watch = process->data;
  watch->child.exited = true;
  watch->child.code = code;
  watch->child.signal = signal;
  tn_wake_all(watch->reactor, &watch->child.waiters, 0);
  if (!watch->holder) { /* it was killed, and has been reaped now */
    leave(watch);
  }
}

static void set_stdio(uv_stdio_container_t *container, int fd) {
  container->flags = fd == TN_STDIO_NULL ? UV_IGNORE : UV_INHERIT_FD;
  container->data.fd = fd;
}

int tn_child_spawn(struct tn_reactor *reactor, const struct tn_child_options *options,
                   struct tn_child **holder) {
  struct tn_watch *watch = new_watch(reactor, true, (void **)holder);
  if (!watch) {
    return TN_ENOMEM;
  }
  uv_stdio_container_t stdio[TN_STDIO];
  for (int i = 0; i < TN_STDIO; i++) {
    set_stdio(&stdio[i], options->stdio[i]);
  }
  uv_process_options_t settings = {
      .exit_cb = on_exit_of_child,
      .file = options->program,
      .args = options->arguments,
      .env = options->environment,
      .cwd = options->directory,
      .flags = options->detached ? UV_PROCESS_DETACHED : 0,
      .stdio_count = TN_STDIO,
      .stdio = stdio,
  };
  int status = uv_spawn(&reactor->loop, &watch->process, &settings);
  watch->handle.data = watch;
  if (status < 0) {
    uv_close(&watch->handle, on_close);
    return status;
  }
  watch->child.pid = watch->process.pid;
  enter(watch);
  return 0;
}

/* Reaped here where it is waited for or dead at once, else by libuv when it is. */
static void close_child(struct tn_watch *watch, bool wait) {
  struct tn_child *child = &watch->child;
  give_up(watch, &child->waiters);
  if (tn_reactor_forked(watch->reactor)) { /* it is the parent's child */
    return;
  }
  if (!child->exited) {
    tn_process_kill(child->pid, SIGKILL);
    if (!tn_process_reap(child->pid, wait)) {
      return;
    }
  }
  leave(watch);
}

void tn_child_close(struct tn_child *child) {
  close_child((struct tn_watch *)child, false);
}

void tn_watches_close(struct tn_reactor *reactor) {
  for (struct tn_member *member = reactor->watches, *next; member; member = next) {
    struct tn_watch *watch = TN_CONTAINER(member, struct tn_watch, listed);
    next = member->next;
    if (watch->is_child) {
      close_child(watch, true);
    } else {
      tn_signal_close(&watch->signal);
    }
  }
}
