/* To be preloaded: sockets and pipes move one byte for each call, and would wait every other time.
 * Messages stay whole. The interpreter's own files and libuv's own descriptors are left alone. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { FDS = 4096 };

static unsigned char turns[2][FDS];

/* Every other call of a direction says that it would wait. */
static int waits(int direction, int fd) {
  if (fd < 0 || fd >= FDS || (turns[direction][fd] ^= 1) == 0) {
    return 0;
  }
  errno = EAGAIN;
  return 1;
}

static size_t one(int fd, size_t length) {
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  int saved = errno;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  errno = saved;
  return length > 1 && type == SOCK_STREAM ? 1 : length;
}

static void *real(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) {
    abort();
  }
  return function;
}

#define PRELOAD(direction, fd, result, name, parameters, arguments, shorten)                       \
  result name parameters {                                                                         \
    static result(*function) parameters;                                                           \
    if (!function) {                                                                               \
      *(void **)&function = real(#name);                                                           \
    }                                                                                              \
    if (waits(direction, fd)) {                                                                    \
      return -1;                                                                                   \
    }                                                                                              \
    shorten;                                                                                       \
    return function arguments;                                                                     \
  }

static struct iovec first_byte(int fd, const struct iovec *slices, size_t *count) {
  for (size_t i = 0; i < *count; i++) {
    if (slices[i].iov_len > 0 && one(fd, 2) == 1) {
      *count = 1;
      return (struct iovec){slices[i].iov_base, 1};
    }
  }
  return (struct iovec){0};
}

/* clang-format off */
PRELOAD(0, fd, ssize_t, recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags),
        length = one(fd, length))
PRELOAD(1, fd, ssize_t, send, (int fd, const void *bytes, size_t length, int flags), (fd, bytes, length, flags),
        length = one(fd, length))
PRELOAD(1, to, ssize_t, sendfile, (int to, int from, off_t *offset, size_t count), (to, from, offset, count),
        count = one(to, count))
PRELOAD(0, from, ssize_t, splice, (int from, loff_t *in, int to, loff_t *out, size_t count, unsigned flags),
        (from, in, to, out, count, flags), count = one(to, count))
PRELOAD(0, fd, ssize_t, readv, (int fd, const struct iovec *slices, int count), (fd, slices, count),
        size_t left = (size_t)count; struct iovec byte = first_byte(fd, slices, &left);
        if (byte.iov_len > 0) { slices = &byte; count = 1; })
PRELOAD(1, fd, ssize_t, writev, (int fd, const struct iovec *slices, int count), (fd, slices, count),
        size_t left = (size_t)count; struct iovec byte = first_byte(fd, slices, &left);
        if (byte.iov_len > 0) { slices = &byte; count = 1; })
PRELOAD(0, fd, ssize_t, recvmsg, (int fd, struct msghdr *header, int flags), (fd, header, flags),
        struct iovec byte = first_byte(fd, header->msg_iov, &header->msg_iovlen);
        if (byte.iov_len > 0) { header->msg_iov = &byte; })
PRELOAD(1, fd, ssize_t, sendmsg, (int fd, const struct msghdr *given, int flags), (fd, header, flags),
        struct msghdr copy = *given; struct msghdr *header = &copy;
        struct iovec byte = first_byte(fd, copy.msg_iov, &copy.msg_iovlen);
        if (byte.iov_len > 0) { copy.msg_iov = &byte; })
/* clang-format on */
