/* Faults on command, in builds for tests alone: the linker puts these functions in front of the
 * real ones (--wrap, for the names in the table below), so that no other file knows. The one place
 * with state of the whole process. */
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <malloc.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Every call that the library makes and that can fail. CMakeLists.txt reads the names here. */
/* clang-format off */
#define CALLS \
  X(socket) X(socketpair) X(bind) X(listen) X(connect) X(accept4) X(shutdown) X(close) \
  X(getsockname) X(getpeername) X(getsockopt) X(setsockopt) X(poll) X(fcntl) \
  X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(send) X(sendto) X(sendmsg) X(sendmmsg) \
  X(sendfile) X(splice) X(pipe2) X(open) X(fstat) X(lstat) X(readv) X(writev) X(read) X(write) \
  X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(eventfd) \
  X(kill) X(waitpid) X(sigaction) X(mmap) X(pthread_create) \
  X(getifaddrs) X(if_nametoindex) X(getaddrinfo) \
  X(malloc) X(calloc) X(realloc) X(free)
/* clang-format on */

enum call {
#define X(name) CALL_##name,
  CALLS
#undef X
      CALL_COUNT
};

static const char *const names[] = {
#define X(name) #name,
    CALLS
#undef X
};

/* Lookups call from threads of their own. */
static struct fault {
  atomic_int skip, times, calls;
  int error;
} faults[CALL_COUNT];
static atomic_int struck;
static atomic_bool held;

const char *tn_fault_name(int index) {
  return index < CALL_COUNT ? names[index] : NULL;
}

int tn_fault_calls(int index) {
  return faults[index].calls;
}

bool tn_fault_set(const char *call, int nth, int times, int error) {
  for (int i = 0; i < CALL_COUNT; i++) {
    if (strcmp(names[i], call) == 0) {
      faults[i].error = error;
      faults[i].skip = nth - 1;
      faults[i].times = times;
      return true;
    }
  }
  return false;
}

void tn_fault_hold(bool hold) {
  held = hold;
}

int tn_fault_clear(void) {
  int count = struck;
  for (int i = 0; i < CALL_COUNT; i++) {
    faults[i].times = 0;
    faults[i].calls = 0;
  }
  struck = 0;
  return count;
}

/* 0: it goes through. */
static int strikes(enum call call) {
  struct fault *fault = &faults[call];
  if (held) {
    return 0;
  }
  fault->calls++;
  if (fault->times <= 0 || fault->skip-- > 0) {
    return 0;
  }
  fault->times--;
  struck++;
  if (fault->error != TN_FAULT_SHORT) {
    errno = fault->error;
  }
  return fault->error;
}

/* A call without length: it fails or it goes through. */
#define WRAP(name, result, failure, parameters, arguments)                                         \
  result __real_##name parameters;                                                                 \
  result __wrap_##name parameters;                                                                 \
  result __wrap_##name parameters {                                                                \
    return strikes(CALL_##name) ? (failure) : __real_##name arguments;                             \
  }

/* A call that may move less: `shorten` makes it so. */
#define WRAP_SHORT(name, result, parameters, arguments, shorten)                                   \
  result __real_##name parameters;                                                                 \
  result __wrap_##name parameters;                                                                 \
  result __wrap_##name parameters {                                                                \
    int error = strikes(CALL_##name);                                                              \
    if (error != 0 && error != TN_FAULT_SHORT) {                                                   \
      return -1;                                                                                   \
    }                                                                                              \
    if (error == TN_FAULT_SHORT) {                                                                 \
      shorten;                                                                                     \
    }                                                                                              \
    return __real_##name arguments;                                                                \
  }

/* clang-format off */
WRAP(socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(socketpair, int, -1, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
WRAP(bind, int, -1, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
WRAP(listen, int, -1, (int fd, int backlog), (fd, backlog))
WRAP(connect, int, -1, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
WRAP(accept4, int, -1, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags))
WRAP(shutdown, int, -1, (int fd, int how), (fd, how))
WRAP(getsockname, int, -1, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
WRAP(getpeername, int, -1, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
WRAP(getsockopt, int, -1, (int fd, int level, int name, void *value, socklen_t *length), (fd, level, name, value, length))
WRAP(setsockopt, int, -1, (int fd, int level, int name, const void *value, socklen_t length), (fd, level, name, value, length))
WRAP(poll, int, -1, (struct pollfd *entries, nfds_t count, int timeout), (entries, count, timeout))
WRAP(pipe2, int, -1, (int fds[2], int flags), (fds, flags))
WRAP(fstat, int, -1, (int fd, struct stat *file), (fd, file))
WRAP(lstat, int, -1, (const char *path, struct stat *file), (path, file))
WRAP(epoll_create1, int, -1, (int flags), (flags))
WRAP(eventfd, int, -1, (unsigned count, int flags), (count, flags))
WRAP(kill, int, -1, (pid_t pid, int number), (pid, number))
WRAP(waitpid, pid_t, -1, (pid_t pid, int *status, int options), (pid, status, options))
WRAP(sigaction, int, -1, (int number, const struct sigaction *action, struct sigaction *old), (number, action, old))
WRAP(mmap, void *, MAP_FAILED, (void *at, size_t size, int protection, int flags, int fd, off_t offset), (at, size, protection, flags, fd, offset))
WRAP(pthread_create, int, EAGAIN, (pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument), (thread, attributes, work, argument))
WRAP(getifaddrs, int, -1, (struct ifaddrs **list), (list))
WRAP(if_nametoindex, unsigned, 0, (const char *name), (name))
WRAP(getaddrinfo, int, EAI_AGAIN, (const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **results), (host, service, hints, results))
WRAP(malloc, void *, NULL, (size_t size), (size))
WRAP(calloc, void *, NULL, (size_t count, size_t size), (count, size))
/* clang-format on */

/* What is freed is overwritten, and what is resized moves: nobody may still look there. */
void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory) {
  if (memory) {
    memset(memory, 0xDB, malloc_usable_size(memory));
  }
  __real_free(memory);
}

void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size) {
  void *moved = strikes(CALL_realloc) ? NULL : __real_malloc(size);
  if (moved && memory) {
    size_t old_size = malloc_usable_size(memory);
    memcpy(moved, memory, size < old_size ? size : old_size);
    __wrap_free(memory);
  }
  return moved;
}

/* A message is sent and received whole, whatever happens. */
static bool is_stream(int fd) {
  int type = SOCK_STREAM;
  socklen_t length = sizeof type;
  __real_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
  return type == SOCK_STREAM;
}

static size_t one_byte(int fd, size_t length) {
  return length > 1 && is_stream(fd) ? 1 : length;
}

/* The first slice that is not empty, cut to a byte. */
static struct iovec first_byte(const struct iovec *slices, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (slices[i].iov_len > 0) {
      return (struct iovec){slices[i].iov_base, 1};
    }
  }
  return (struct iovec){0};
}

/* clang-format off */
WRAP_SHORT(recv, ssize_t, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags),
           length = one_byte(fd, length))
WRAP_SHORT(send, ssize_t, (int fd, const void *bytes, size_t length, int flags), (fd, bytes, length, flags),
           length = one_byte(fd, length))
WRAP_SHORT(recvfrom, ssize_t,
           (int fd, void *bytes, size_t length, int flags, struct sockaddr *address, socklen_t *size),
           (fd, bytes, length, flags, address, size), length = one_byte(fd, length))
WRAP_SHORT(sendto, ssize_t,
           (int fd, const void *bytes, size_t length, int flags, const struct sockaddr *address, socklen_t size),
           (fd, bytes, length, flags, address, size), length = one_byte(fd, length))
WRAP_SHORT(read, ssize_t, (int fd, void *bytes, size_t length), (fd, bytes, length), (void)length)
WRAP_SHORT(write, ssize_t, (int fd, const void *bytes, size_t length), (fd, bytes, length), (void)length)
WRAP_SHORT(sendfile, ssize_t, (int to, int from, off_t *offset, size_t count), (to, from, offset, count),
           count = count > 1 ? 1 : count)
WRAP_SHORT(splice, ssize_t, (int from, off_t *in, int to, off_t *out, size_t count, unsigned flags),
           (from, in, to, out, count, flags), count = count > 1 ? 1 : count)
WRAP_SHORT(recvmmsg, int, (int fd, struct mmsghdr *headers, unsigned count, int flags, struct timespec *timeout),
           (fd, headers, count, flags, timeout), count = count > 1 ? 1 : count)
WRAP_SHORT(sendmmsg, int, (int fd, struct mmsghdr *headers, unsigned count, int flags),
           (fd, headers, count, flags), count = count > 1 ? 1 : count)
WRAP_SHORT(epoll_wait, int, (int epoll, struct epoll_event *events, int capacity, int timeout),
           (epoll, events, capacity, timeout), capacity = capacity > 1 ? 1 : capacity)
WRAP_SHORT(readv, ssize_t, (int fd, const struct iovec *slices, int count), (fd, slices, count),
           struct iovec byte = first_byte(slices, (size_t)count); slices = &byte; count = 1;
           return __real_readv(fd, slices, count))
WRAP_SHORT(writev, ssize_t, (int fd, const struct iovec *slices, int count), (fd, slices, count),
           struct iovec byte = first_byte(slices, (size_t)count); slices = &byte; count = 1;
           return __real_writev(fd, slices, count))
/* clang-format on */

/* The header comes back as the call left it, but for the slices. */
#define WRAP_MESSAGE(name, qualifier)                                                              \
  ssize_t __real_##name(int fd, qualifier struct msghdr *header, int flags);                       \
  ssize_t __wrap_##name(int fd, qualifier struct msghdr *header, int flags);                       \
  ssize_t __wrap_##name(int fd, qualifier struct msghdr *header, int flags) {                      \
    int error = strikes(CALL_##name);                                                              \
    if (error != 0 && error != TN_FAULT_SHORT) {                                                   \
      return -1;                                                                                   \
    }                                                                                              \
    if (error == 0 || header->msg_iovlen == 0 || !is_stream(fd)) {                                 \
      return __real_##name(fd, header, flags);                                                     \
    }                                                                                              \
    struct msghdr *changed = (struct msghdr *)header;                                              \
    const struct msghdr before = *header;                                                          \
    struct iovec byte = first_byte(header->msg_iov, header->msg_iovlen);                           \
    changed->msg_iov = &byte;                                                                      \
    changed->msg_iovlen = 1;                                                                       \
    ssize_t moved = __real_##name(fd, header, flags);                                              \
    changed->msg_iov = before.msg_iov;                                                             \
    changed->msg_iovlen = before.msg_iovlen;                                                       \
    return moved;                                                                                  \
  }

WRAP_MESSAGE(sendmsg, const)
WRAP_MESSAGE(recvmsg, )

/* The descriptor is gone, whatever it answers. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
  int result = __real_close(fd);
  return strikes(CALL_close) ? -1 : result;
}

/* Taking one out needs nothing. */
int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event) {
  bool fails = what != EPOLL_CTL_DEL && strikes(CALL_epoll_ctl);
  return fails ? -1 : __real_epoll_ctl(epoll, what, fd, event);
}

/* Those of any number of arguments have one more than is named at most. */
int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...) {
  va_list rest;
  va_start(rest, what);
  long argument = va_arg(rest, long);
  va_end(rest);
  return strikes(CALL_fcntl) ? -1 : __real_fcntl(fd, what, argument);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  return strikes(CALL_open) ? -1 : __real_open(path, flags, 0);
}
