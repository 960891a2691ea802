/* Faults on command, in builds for tests alone: the linker puts these functions in front of the
 * real ones
 * (--wrap), so that no other file knows. The one place with state of the whole process. */
#include "platform/platform.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

struct fault {
  const char *call;
  int skip;
  int times;
  int error;
};

enum call {
  SOCKET,
  CONNECT,
  ACCEPT4,
  RECV,
  SEND,
  SENDMSG,
  RECVMSG,
  GETSOCKOPT,
  SETSOCKOPT,
  POLL,
  MALLOC,
  CALLOC,
  REALLOC
};

/* clang-format off */
static struct fault faults[] = {
  [SOCKET] = {.call = "socket"}, [CONNECT] = {.call = "connect"}, [ACCEPT4] = {.call = "accept4"},
  [RECV] = {.call = "recv"}, [SEND] = {.call = "send"}, [SENDMSG] = {.call = "sendmsg"},
  [RECVMSG] = {.call = "recvmsg"}, [GETSOCKOPT] = {.call = "getsockopt"},
  [SETSOCKOPT] = {.call = "setsockopt"}, [POLL] = {.call = "poll"},
  [MALLOC] = {.call = "malloc"}, [CALLOC] = {.call = "calloc"}, [REALLOC] = {.call = "realloc"},
};
/* clang-format on */
static int struck;

bool tn_fault_set(const char *call, int nth, int times, int error) {
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    if (strcmp(faults[i].call, call) == 0) {
      faults[i].skip = nth - 1;
      faults[i].times = times;
      faults[i].error = error;
      return true;
    }
  }
  return false;
}

int tn_fault_clear(void) {
  int count = struck;
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    faults[i].times = 0;
  }
  struck = 0;
  return count;
}

static bool strikes(enum call call) {
  struct fault *fault = &faults[call];
  if (fault->times == 0) {
    return false;
  }
  if (fault->skip > 0) {
    fault->skip--;
    return false;
  }
  fault->times--;
  struck++;
  if (fault->error != TN_FAULT_SHORT) {
    errno = fault->error;
  }
  return true;
}

/* A call without length: it fails or it goes through. */
#define WRAP(index, name, result, failure, parameters, arguments)                                  \
  result __real_##name parameters;                                                                 \
  result __wrap_##name parameters;                                                                 \
  result __wrap_##name parameters {                                                                \
    return strikes(index) ? (failure) : __real_##name arguments;                                   \
  }

/* A call that may move one byte instead of `length`. */
#define WRAP_BYTES(index, name, parameters, arguments, length)                                     \
  ssize_t __real_##name parameters;                                                                \
  ssize_t __wrap_##name parameters;                                                                \
  ssize_t __wrap_##name parameters {                                                               \
    if (strikes(index)) {                                                                          \
      if (faults[index].error != TN_FAULT_SHORT) {                                                 \
        return -1;                                                                                 \
      }                                                                                            \
      (length) = (length) > 1 ? 1 : (length);                                                      \
    }                                                                                              \
    return __real_##name arguments;                                                                \
  }

struct pollfd;

WRAP(SOCKET, socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(CONNECT, connect, int, -1, (int fd, const struct sockaddr *address, socklen_t length),
     (fd, address, length))
WRAP(ACCEPT4, accept4, int, -1, (int fd, struct sockaddr *address, socklen_t *length, int flags),
     (fd, address, length, flags))
WRAP(GETSOCKOPT, getsockopt, int, -1, (int fd, int level, int name, void *value, socklen_t *length),
     (fd, level, name, value, length))
WRAP(SETSOCKOPT, setsockopt, int, -1,
     (int fd, int level, int name, const void *value, socklen_t length),
     (fd, level, name, value, length))
WRAP(POLL, poll, int, -1, (struct pollfd * entries, unsigned long count, int timeout),
     (entries, count, timeout))
WRAP_BYTES(RECV, recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags),
           length)
WRAP_BYTES(SEND, send, (int fd, const void *bytes, size_t length, int flags),
           (fd, bytes, length, flags), length)
WRAP(SENDMSG, sendmsg, ssize_t, -1, (int fd, const struct msghdr *header, int flags),
     (fd, header, flags))
WRAP(RECVMSG, recvmsg, ssize_t, -1, (int fd, struct msghdr *header, int flags), (fd, header, flags))
WRAP(MALLOC, malloc, void *, NULL, (size_t size), (size))
WRAP(CALLOC, calloc, void *, NULL, (size_t count, size_t size), (count, size))
WRAP(REALLOC, realloc, void *, NULL, (void *memory, size_t size), (memory, size))
