/* What else of libuv's the reactor listens to: signals and child processes. Each is held by one
 * place, which is emptied when the thing closes, be it with the reactor; the memory goes back once
 * libuv has let go of it. */
#ifndef TCPNET_WATCH_H
#define TCPNET_WATCH_H

#include "core/reactor.h"

/* A signal of this process. */
struct tn_signal {
  struct tn_queue waiters;
  int number;
  bool pending; /* it came, and nobody was told yet */
};

/* Listens; 0, or a failure. */
int tn_signal_open(struct tn_reactor *reactor, int number, struct tn_signal **holder);
/* Ends every wait for it with TN_CLOSED. */
void tn_signal_close(struct tn_signal *signal);

/* A child process. */
struct tn_child {
  struct tn_queue waiters;
  int pid;
  bool exited;
  int64_t code;
  int signal; /* that ended it, or 0 */
};

enum { TN_STDIO = 3, TN_STDIO_NULL = -1 };

struct tn_child_options {
  const char *program;
  char **arguments;      /* with the program's own name, NULL behind the last */
  char **environment;    /* the same; NULL: this process's */
  const char *directory; /* or NULL */
  bool detached;
  int stdio[TN_STDIO]; /* descriptors, or TN_STDIO_NULL */
};

int tn_child_spawn(struct tn_reactor *reactor, const struct tn_child_options *options,
                   struct tn_child **holder);
/* Kills it if it still runs; it is reaped as soon as it has ended. */
void tn_child_close(struct tn_child *child);

/* Closes all that are left. */
void tn_watches_close(struct tn_reactor *reactor);

#endif
