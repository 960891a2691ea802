/* Processes and signals of platform.h, as POSIX has them. */
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __GLIBC__ /* elsewhere that header may be an error */
#include <malloc.h>
#endif

extern char **environ;

#define SIGNAL(name)                                                                               \
  { #name, name }
static const struct {
  const char *name;
  int number;
} signals[] = {
    SIGNAL(SIGHUP),  SIGNAL(SIGINT),   SIGNAL(SIGQUIT), SIGNAL(SIGILL),  SIGNAL(SIGTRAP),
    SIGNAL(SIGABRT), SIGNAL(SIGBUS),   SIGNAL(SIGFPE),  SIGNAL(SIGKILL), SIGNAL(SIGUSR1),
    SIGNAL(SIGSEGV), SIGNAL(SIGUSR2),  SIGNAL(SIGPIPE), SIGNAL(SIGALRM), SIGNAL(SIGTERM),
    SIGNAL(SIGCHLD), SIGNAL(SIGCONT),  SIGNAL(SIGSTOP), SIGNAL(SIGTSTP), SIGNAL(SIGTTIN),
    SIGNAL(SIGTTOU), SIGNAL(SIGURG),   SIGNAL(SIGXCPU), SIGNAL(SIGXFSZ), SIGNAL(SIGVTALRM),
    SIGNAL(SIGPROF), SIGNAL(SIGWINCH), SIGNAL(SIGIO),   SIGNAL(SIGSYS),
#ifdef SIGPWR
    SIGNAL(SIGPWR),
#endif
#ifdef SIGINFO
    SIGNAL(SIGINFO),
#endif
};
#undef SIGNAL

enum { SIGNALS = sizeof signals / sizeof signals[0] };

int tn_signal_number(const char *name) {
  for (int i = 0; i < SIGNALS; i++) {
    if (strcmp(signals[i].name, name) == 0) {
      return signals[i].number;
    }
  }
  return 0;
}

const char *tn_signal_name(int number) {
  for (int i = 0; i < SIGNALS; i++) {
    if (signals[i].number == number) {
      return signals[i].name;
    }
  }
  return NULL;
}

static bool is_handled_by(int number, void (*handler)(int)) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
         action.sa_handler == handler;
}

bool tn_signal_ignored(int number) {
  return is_handled_by(number, SIG_IGN);
}

void tn_signal_ignore(int number) {
  struct sigaction action = {.sa_handler = SIG_IGN};
  if (is_handled_by(number, SIG_DFL)) {
    sigaction(number, &action, NULL);
  }
}

void tn_standard_fds_fill(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      (void)open("/dev/null", O_RDWR); /* NOLINT(android-cloexec-open): children have it, too */
    }
  }
}

int tn_process_id(void) {
  return (int)getpid();
}

int tn_process_kill(int pid, int number) {
  return kill(pid, number) < 0 ? -errno : 0;
}

bool tn_process_reap(int pid, bool wait) {
  int result;
  do {
    result = waitpid(pid, NULL, wait ? 0 : WNOHANG);
  } while (result < 0 && errno == EINTR);
  return result != 0; /* an error says that somebody else was faster */
}

char *const *tn_environment(void) {
  return environ;
}

void tn_thread_admit_signals(void) {
  sigset_t admitted;
  sigemptyset(&admitted);
  for (int number = 1; number < NSIG; number++) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
        (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)) {
      sigaddset(&admitted, number);
    }
  }
  pthread_sigmask(SIG_UNBLOCK, &admitted, NULL);
}

void tn_memory_give_back(void) {
#ifdef M_TRIM_THRESHOLD
  malloc_trim(0);
#endif
}

void tn_process_exit(int code) {
  fflush(stdout);
  fflush(stderr);
  _exit(code);
}
