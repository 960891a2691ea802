/* The calls of platform.h on BSD sockets.
 * Differences between systems are tests on constants, never on the names of systems. */
#include "platform/platform.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__has_include)
#if __has_include(<linux/filter.h>)
#include <linux/filter.h>
#define HAVE_FILTER
#endif
#if __has_include(<sys/syscall.h>)
#include <sys/syscall.h>
#endif
#if __has_include(<sys/sendfile.h>)
#include <sys/sendfile.h>
#define HAVE_SENDFILE
#endif
#endif

_Static_assert(sizeof(struct tn_slice) == sizeof(struct iovec), "tn_slice is the system's iovec");
_Static_assert(offsetof(struct tn_slice, length) == offsetof(struct iovec, iov_len), "same order");

/* Linux moves at most 0x7ffff000 bytes in a call; asking for less is the same everywhere. */
static const size_t io_max = 0x7ffff000;

static int status_of(int result) {
  return result < 0 ? -errno : result;
}

static size_t io_length(size_t length) {
  return length < io_max ? length : io_max;
}

int tn_socket_adopt(tn_fd fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)) {
    return -errno;
  }
  flags = fcntl(fd, F_GETFD);
  if (flags < 0 || (!(flags & FD_CLOEXEC) && fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)) {
    return -errno;
  }
#if SO_NOSIGPIPE != TN_ABSENT
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  return 0;
}

#ifndef SOCK_NONBLOCK
/* A descriptor that the system could not make right in one call. */
static int adopted(int fd) {
  if (fd < 0) {
    return -errno;
  }
  int status = tn_socket_adopt(fd);
  if (status < 0) {
    close(fd);
    return status;
  }
  return fd;
}

/* The same of two. */
static int adopted_pair(int result, const tn_fd fds[2]) {
  if (result < 0) {
    return -errno;
  }
  int status = tn_socket_adopt(fds[0]);
  status = status < 0 ? status : tn_socket_adopt(fds[1]);
  if (status < 0) {
    close(fds[0]);
    close(fds[1]);
  }
  return status;
}
#endif

int tn_socket_open(int domain, int type, int protocol) {
#ifdef SOCK_NONBLOCK
  return status_of(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
#else
  return adopted(socket(domain, type, protocol));
#endif
}

int tn_socket_pair(int domain, int type, int protocol, tn_fd fds[2]) {
#ifdef SOCK_NONBLOCK
  return status_of(socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol, fds));
#else
  return adopted_pair(socketpair(domain, type, protocol, fds), fds);
#endif
}

int tn_fd_clone(tn_fd fd) {
  return status_of(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int tn_socket_bind(tn_fd fd, const struct sockaddr *address, socklen_t length) {
  return status_of(bind(fd, address, length));
}

int tn_socket_connect(tn_fd fd, const struct sockaddr *address, socklen_t length) {
  int result;
  bool interrupted = false; /* it goes on by itself then (POSIX connect) */
  do {
    result = connect(fd, address, length);
    interrupted |= result < 0 && errno == EINTR;
  } while (result < 0 && errno == EINTR);
  if (result == 0 || (interrupted && errno == EISCONN)) {
    return 0;
  }
  return interrupted && errno == EALREADY ? -EINPROGRESS : -errno;
}

int tn_socket_connected(tn_fd fd) {
  int status = tn_socket_take_error(fd);
  if (status < 0) {
    return status;
  }
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  status = tn_socket_peer(fd, (struct sockaddr *)&peer, &length);
  if (status != -ENOTCONN) {
    return status;
  }
  /* No error, not connected: it goes on, or its end came between the two questions. */
  status = tn_socket_take_error(fd);
  return status < 0 ? status : -EAGAIN;
}

int tn_socket_disconnect(tn_fd fd) {
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  return status_of(connect(fd, &nobody, sizeof nobody));
}

int tn_socket_listen(tn_fd fd, int backlog) {
  return status_of(listen(fd, backlog));
}

/* A connection that failed while it waited in the queue concerns nobody (accept(2)). */
static bool died_in_queue(int code) {
  switch (code) {
  case EINTR:
  case ECONNABORTED:
  case EPROTO:
  case EPERM:
  case ENETDOWN:
  case ENETUNREACH:
  case EHOSTDOWN:
  case EHOSTUNREACH:
  case ENOPROTOOPT:
  case ETIMEDOUT:
    return true;
  default:
    return false;
  }
}

int tn_socket_accept(tn_fd fd, struct sockaddr *address, socklen_t *length) {
  const socklen_t room = *length;
  for (;;) {
    *length = room;
#ifdef SOCK_NONBLOCK
    int accepted = status_of(accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
#else
    int accepted = adopted(accept(fd, address, length));
#endif
    if (accepted >= 0 || !died_in_queue(-accepted)) {
      return accepted;
    }
  }
}

static ptrdiff_t receive(tn_fd fd, void *bytes, size_t length, int flags) {
  ssize_t count;
  do {
    count = recv(fd, bytes, io_length(length), flags);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

ptrdiff_t tn_socket_recv(tn_fd fd, void *bytes, size_t length) {
  return receive(fd, bytes, length, 0);
}

ptrdiff_t tn_socket_peek(tn_fd fd, void *bytes, size_t length) {
  return receive(fd, bytes, length, MSG_PEEK);
}

ptrdiff_t tn_socket_send(tn_fd fd, const void *bytes, size_t length) {
  ssize_t count;
  do {
    count = send(fd, bytes, io_length(length), MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

static struct msghdr header_of(const struct tn_message *message) {
  struct msghdr header;
  memset(&header, 0, sizeof header);
  header.msg_name = message->address;
  header.msg_namelen = message->address_length;
  header.msg_iov = (struct iovec *)message->slices;
  header.msg_iovlen = (size_t)(message->count < TN_SLICES_MAX ? message->count : TN_SLICES_MAX);
  if (message->count == 0) { /* BSD refuses a message without a place for bytes */
    static const struct iovec nothing;
    header.msg_iov = (struct iovec *)&nothing;
    header.msg_iovlen = 1;
  }
  header.msg_control = message->control_length > 0 ? message->control : NULL;
  header.msg_controllen = message->control_length;
  return header;
}

/* musl copies control data to clear what the kernel takes for the upper half of a length, and has
 * room for 1 KiB of it. Ours is clear already, so it goes to the kernel as it is. */
static ssize_t send_header(tn_fd fd, const struct msghdr *header, int flags) {
#if defined(SYS_sendmsg) && defined(__linux__) && !defined(__GLIBC__)
  return syscall(SYS_sendmsg, fd, header, flags);
#else
  return sendmsg(fd, header, flags);
#endif
}

ptrdiff_t tn_socket_send_message(tn_fd fd, const struct tn_message *message, int flags) {
  ssize_t sent;
  if (message->plain) {
    do {
      sent = sendto(fd, message->slices->base, message->slices->length, flags | MSG_NOSIGNAL,
                    message->address, message->address_length);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
  }
  struct msghdr header = header_of(message);
  do {
    sent = send_header(fd, &header, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

ptrdiff_t tn_socket_recv_message(tn_fd fd, struct tn_message *message, int flags) {
  struct msghdr header;
  ssize_t received;
  if (message->plain) {
    const socklen_t room = message->address_length;
    do {
      message->address_length = room;
      received = recvfrom(fd, message->slices->base, message->slices->length, flags,
                          message->address, message->address ? &message->address_length : NULL);
    } while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
  }
  int cloexec = message->control_length > 0 ? MSG_CMSG_CLOEXEC : 0;
  for (;;) {
    header = header_of(message);
    received = recvmsg(fd, &header, flags | cloexec);
    if (received < 0 && errno == EINVAL && cloexec) {
      cloexec = 0; /* packet sockets know no such flag, and carry no descriptors */
    } else if (received >= 0 || errno != EINTR) {
      break;
    }
  }
  if (received < 0) {
    return -errno;
  }
  message->address_length = header.msg_namelen;
  message->control_length = header.msg_controllen;
  message->flags = header.msg_flags;
  return received;
}

/* For the calls that know no MSG_NOSIGNAL: the signal of this thread is held back and taken away,
 * unless the program holds it back itself. splice and sendfile send page by page, and where a later
 * page meets a connection that is gone they raise it and answer what went out before. */
static void hold_sigpipe(sigset_t *before) {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, before);
}

static void drop_sigpipe(const sigset_t *before, bool raised) {
  sigset_t pipe, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  if (raised && !sigismember(before, SIGPIPE) && sigpending(&pending) == 0 &&
      sigismember(&pending, SIGPIPE)) {
    int taken;
    sigwait(&pipe, &taken);
  }
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

#ifdef HAVE_SENDFILE
ptrdiff_t tn_socket_send_file(tn_fd fd, int file, int64_t offset, size_t count) {
  off_t from = offset;
  sigset_t before;
  hold_sigpipe(&before);
  ssize_t sent;
  do {
    sent = sendfile(fd, file, &from, io_length(count));
  } while (sent < 0 && errno == EINTR);
  ptrdiff_t result = sent < 0 ? -errno : sent;
  drop_sigpipe(&before, result == -EPIPE || (result > 0 && (size_t)result < count));
  return result;
}
#else
ptrdiff_t tn_socket_send_file(tn_fd fd, int file, int64_t offset, size_t count) {
  char bytes[16384];
  ssize_t got;
  do {
    got = pread(file, bytes, count < sizeof bytes ? count : sizeof bytes, offset);
  } while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got == 0 ? 0 : tn_socket_send(fd, bytes, (size_t)got);
}
#endif

#ifdef MSG_WAITFORONE
enum { MESSAGES_MAX = 64 };

static int headers_of(struct mmsghdr *headers, const struct tn_message *messages, int count) {
  count = count < MESSAGES_MAX ? count : MESSAGES_MAX;
  for (int i = 0; i < count; i++) {
    headers[i] = (struct mmsghdr){.msg_hdr = header_of(&messages[i])};
  }
  return count;
}

int tn_socket_send_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths) {
  struct mmsghdr headers[MESSAGES_MAX];
  count = headers_of(headers, messages, count);
  int sent;
  do {
    sent = sendmmsg(fd, headers, (unsigned)count, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  for (int i = 0; i < sent; i++) {
    lengths[i] = headers[i].msg_len;
  }
  return status_of(sent);
}

int tn_socket_recv_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths) {
  struct mmsghdr headers[MESSAGES_MAX];
  count = headers_of(headers, messages, count);
  int received;
  do {
    received = recvmmsg(fd, headers, (unsigned)count, MSG_TRUNC, NULL);
  } while (received < 0 && errno == EINTR);
  for (int i = 0; i < received; i++) {
    lengths[i] = headers[i].msg_len;
    messages[i].address_length = headers[i].msg_hdr.msg_namelen;
    messages[i].control_length = headers[i].msg_hdr.msg_controllen;
    messages[i].flags = headers[i].msg_hdr.msg_flags;
  }
  return status_of(received);
}
#else
int tn_socket_send_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths) {
  for (int i = 0; i < count; i++) {
    ptrdiff_t sent = tn_socket_send_message(fd, &messages[i], 0);
    if (sent < 0) {
      return i > 0 ? i : (int)sent;
    }
    lengths[i] = (size_t)sent;
  }
  return count;
}

int tn_socket_recv_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths) {
  for (int i = 0; i < count; i++) {
    ptrdiff_t received = tn_socket_recv_message(fd, &messages[i], 0);
    if (received < 0) {
      return i > 0 ? i : (int)received;
    }
    lengths[i] = (size_t)received;
  }
  return count;
}
#endif

int tn_pipe_open(tn_fd fds[2]) {
#ifdef SOCK_NONBLOCK
  return status_of(pipe2(fds, O_NONBLOCK | O_CLOEXEC));
#else
  return adopted_pair(pipe(fds), fds);
#endif
}

int tn_fifo_open(const char *path, int ends, bool unchecked) {
  int mode = ends == TN_PIPE_READ ? O_RDONLY : ends == TN_PIPE_WRITE ? O_WRONLY : O_RDWR;
  int fd;
  do {
    fd = open(path, mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    return -errno;
  }
  struct stat file;
  int status = unchecked ? 0 : status_of(fstat(fd, &file));
  if (status == 0 && !unchecked && !S_ISFIFO(file.st_mode)) {
    status = -EINVAL;
  }
  if (status < 0) {
    close(fd);
    return status;
  }
  return fd;
}

int tn_pipe_check(tn_fd fd, enum tn_pipe_end end) {
  struct stat file;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &file) < 0) {
    return -errno;
  }
  int mode = flags & O_ACCMODE;
  bool open_so = mode == O_RDWR || mode == (end == TN_PIPE_READ ? O_RDONLY : O_WRONLY);
  return S_ISFIFO(file.st_mode) && open_so ? 0 : -EINVAL;
}

static ptrdiff_t read_slices(tn_fd fd, const struct tn_slice *slices, int count) {
  ssize_t received;
  do {
    received = readv(fd, (const struct iovec *)slices, count);
  } while (received < 0 && errno == EINTR);
  return received < 0 ? -errno : received;
}

/* A FIFO that nobody has opened for writing since it was opened for reading reads as if all writers
 * had gone; poll(2) alone knows the difference. One may have come since the read. */
ptrdiff_t tn_pipe_recv(tn_fd fd, const struct tn_slice *slices, int count) {
  ptrdiff_t received = read_slices(fd, slices, count);
  if (received != 0) {
    return received;
  }
  struct stat file;
  int ready = fstat(fd, &file) < 0     ? -errno
              : S_ISFIFO(file.st_mode) ? tn_socket_poll(fd, TN_READABLE)
                                       : TN_READ_CLOSED;
  if (ready > 0) {
    return ready & TN_READABLE ? read_slices(fd, slices, count) : 0;
  }
  return ready == 0 ? -EAGAIN : ready;
}

ptrdiff_t tn_pipe_send(tn_fd fd, const struct tn_slice *slices, int count) {
  sigset_t before;
  ssize_t sent;
  hold_sigpipe(&before);
  do {
    sent = writev(fd, (const struct iovec *)slices, count);
  } while (sent < 0 && errno == EINTR);
  ptrdiff_t result = sent < 0 ? -errno : sent;
  drop_sigpipe(&before, result == -EPIPE);
  return result;
}

#ifdef SPLICE_F_MOVE
int tn_splice_open(tn_fd fds[2], size_t size) {
  int status = tn_pipe_open(fds);
  if (status == 0) {
    fcntl(fds[1], F_SETPIPE_SZ, (int)size); /* the system may allow less */
  }
  return status;
}

ptrdiff_t tn_splice_move(tn_fd from, tn_fd to, size_t count) {
  sigset_t before;
  ssize_t moved;
  hold_sigpipe(&before);
  do {
    moved = splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (moved < 0 && errno == EINTR);
  ptrdiff_t result = moved < 0 ? -errno : moved;
  drop_sigpipe(&before, result == -EPIPE || (result > 0 && (size_t)result < count));
  return result;
}
#else
int tn_splice_open(tn_fd fds[2], size_t size) {
  (void)fds, (void)size;
  return -ENOTSUP;
}

ptrdiff_t tn_splice_move(tn_fd from, tn_fd to, size_t count) {
  (void)from, (void)to, (void)count;
  return -ENOTSUP;
}
#endif

int tn_fd_set_blocking(tn_fd fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : status_of(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}

int tn_path_is_socket(const char *path) {
  struct stat file;
  return lstat(path, &file) < 0 ? -errno : S_ISSOCK(file.st_mode);
}

#ifdef HAVE_FILTER
_Static_assert(sizeof(struct tn_instruction) == sizeof(struct sock_filter), "the system's own");
_Static_assert(offsetof(struct tn_instruction, k) == offsetof(struct sock_filter, k), "same order");

int tn_socket_attach_filter(tn_fd fd, const struct tn_instruction *program, int count) {
  struct sock_fprog filter = {.len = (unsigned short)count,
                              .filter = (struct sock_filter *)program};
  return tn_socket_set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

int tn_socket_detach_filter(tn_fd fd) {
  int unused = 0;
  return tn_socket_set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}
#else
int tn_socket_attach_filter(tn_fd fd, const struct tn_instruction *program, int count) {
  (void)fd, (void)program, (void)count;
  return -ENOTSUP;
}

int tn_socket_detach_filter(tn_fd fd) {
  (void)fd;
  return -ENOTSUP;
}
#endif

static struct pollfd entry_of(tn_fd fd, int interest) {
  struct pollfd entry = {.fd = fd};
#ifdef POLLRDHUP
  entry.events |= POLLRDHUP;
#endif
  entry.events |=
      (short)((interest & TN_READABLE ? POLLIN : 0) | (interest & TN_WRITABLE ? POLLOUT : 0) |
              (interest & TN_PRIORITY ? POLLPRI : 0));
  return entry;
}

static int ready_of(short events) {
  int ready = (events & POLLIN ? TN_READABLE : 0) | (events & POLLOUT ? TN_WRITABLE : 0) |
              (events & POLLPRI ? TN_PRIORITY : 0) |
              (events & POLLERR ? TN_ERROR | TN_WRITE_CLOSED : 0) |
              (events & POLLHUP ? TN_READ_CLOSED | TN_WRITE_CLOSED : 0);
#ifdef POLLRDHUP
  ready |= events & POLLRDHUP ? TN_READ_CLOSED : 0;
#endif
  return ready;
}

int tn_socket_poll(tn_fd fd, int interest) {
  struct pollfd entry = entry_of(fd, interest);
  int count;
  do {
    count = poll(&entry, 1, 0);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : entry.revents & POLLNVAL ? -EBADF : ready_of(entry.revents);
}

int tn_sockets_poll(struct tn_polled *list, int count) {
  struct pollfd entries[TN_POLLED_MAX];
  for (int i = 0; i < count; i++) {
    entries[i] = entry_of(list[i].fd, list[i].interest);
  }
  while (count > 0 && poll(entries, (nfds_t)count, 0) < 0) {
    if (errno != EINTR) {
      return -errno;
    }
  }
  for (int i = 0; i < count; i++) {
    list[i].ready = ready_of(entries[i].revents);
  }
  return count;
}

int tn_socket_name(tn_fd fd, struct sockaddr *address, socklen_t *length) {
  return status_of(getsockname(fd, address, length));
}

int tn_socket_peer(tn_fd fd, struct sockaddr *address, socklen_t *length) {
  return status_of(getpeername(fd, address, length));
}

int tn_socket_take_error(tn_fd fd) {
  int error = 0;
  socklen_t length = sizeof error;
  int status = tn_socket_get_option(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return status < 0 ? status : -error;
}

int tn_socket_get_option(tn_fd fd, int level, int name, void *value, socklen_t *length) {
  return status_of(getsockopt(fd, level, name, value, length));
}

int tn_socket_set_option(tn_fd fd, int level, int name, const void *value, socklen_t length) {
  return status_of(setsockopt(fd, level, name, value, length));
}

int tn_socket_shutdown(tn_fd fd, enum tn_direction direction) {
  static const int how[] = {
      [TN_SHUT_READ] = SHUT_RD, [TN_SHUT_WRITE] = SHUT_WR, [TN_SHUT_BOTH] = SHUT_RDWR};
  return status_of(shutdown(fd, how[direction]));
}

int tn_socket_reset(tn_fd fd) {
#ifdef TCP_REPAIR
  /* Linux: sends the RST at once, even where the descriptor is shared; linger 0 and close would
   * not. */
  if (tn_socket_disconnect(fd) == 0) {
    return 0;
  }
#endif
  struct linger abort_on_close = {.l_onoff = 1, .l_linger = 0};
  return status_of(setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close));
}

int tn_socket_close(tn_fd fd) {
  /* The descriptor is gone whatever close() says: never call it twice. */
  return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

unsigned tn_interface_index(const char *name) {
  return if_nametoindex(name);
}

unsigned tn_interface_with(const struct in_addr *address) {
  struct ifaddrs *first = NULL;
  unsigned index = 0;
  if (getifaddrs(&first) < 0) {
    return 0;
  }
  for (const struct ifaddrs *entry = first; entry && index == 0; entry = entry->ifa_next) {
    if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_INET &&
        ((const struct sockaddr_in *)entry->ifa_addr)->sin_addr.s_addr == address->s_addr) {
      index = if_nametoindex(entry->ifa_name);
    }
  }
  freeifaddrs(first);
  return index;
}

bool tn_interface_address(unsigned index, struct in_addr *address) {
  struct ifaddrs *first = NULL;
  bool found = false;
  if (getifaddrs(&first) < 0) {
    return false;
  }
  for (const struct ifaddrs *entry = first; entry && !found; entry = entry->ifa_next) {
    if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_INET &&
        if_nametoindex(entry->ifa_name) == index) {
      *address = ((const struct sockaddr_in *)entry->ifa_addr)->sin_addr;
      found = true;
    }
  }
  freeifaddrs(first);
  return found;
}

enum { STACK_MIN = 1 << 20 };

struct start {
  void (*work)(void *);
  void *argument;
};

static void *run_thread(void *memory) {
  struct start start = *(struct start *)memory;
  free(memory);
  start.work(start.argument);
  return NULL;
}

/* lua_close unloads the module; a thread that is still in it must not notice. */
static void stay_loaded(void) {
  Dl_info info;
  if (dladdr(tn_socket_open, &info) && info.dli_fname) {
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

int tn_thread_start(void (*work)(void *), void *argument) {
  struct start *start = malloc(sizeof *start);
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  if (!start || pthread_attr_init(&attributes) != 0) {
    free(start);
    return -ENOMEM;
  }
  *start = (struct start){work, argument};
  stay_loaded();
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  size_t stack = 0; /* some systems have less than Lua may need */
  if (pthread_attr_getstacksize(&attributes, &stack) == 0 && stack < STACK_MIN) {
    pthread_attr_setstacksize(&attributes, STACK_MIN);
  }
  sigfillset(&all); /* signals are the main thread's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, &attributes, run_thread, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    free(start);
  }
  return error == 0 ? 0 : -ENOMEM; /* it may say EAGAIN, which means something else here */
}

bool tn_is_exhaustion(int status) {
  return status == -EMFILE || status == -ENFILE || status == -ENOBUFS || status == -ENOMEM;
}

volatile unsigned char *tn_fork_mark_new(void) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  volatile unsigned char *mark =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mark == MAP_FAILED) {
    return NULL;
  }
#if defined(MADV_WIPEONFORK)
  madvise((void *)mark, size, MADV_WIPEONFORK);
#elif defined(INHERIT_ZERO)
  minherit((void *)mark, size, INHERIT_ZERO);
#endif
  *mark = 1;
  return mark;
}

void tn_fork_mark_free(volatile unsigned char *mark) {
  munmap((void *)mark, (size_t)sysconf(_SC_PAGESIZE));
}

struct tn_interrupt {
  struct sigaction action;
};

struct tn_interrupt *tn_interrupt_save(void) {
  struct sigaction action;
  if (sigaction(SIGINT, NULL, &action) < 0) {
    return NULL;
  }
  bool handled = (action.sa_flags & SA_SIGINFO) ||
                 (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
  struct tn_interrupt *saved = handled ? malloc(sizeof *saved) : NULL;
  if (saved) {
    saved->action = action;
  }
  return saved;
}

bool tn_interrupt_stands(const struct tn_interrupt *saved) {
  struct sigaction action;
  return sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == saved->action.sa_handler;
}

bool tn_interrupt_restore(struct tn_interrupt *saved) {
  struct sigaction action;
  if (sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler != SIG_DFL) {
    return false;
  }
  sigaction(SIGINT, &saved->action, NULL);
  free(saved);
  return true;
}

void tn_interrupt_drop(struct tn_interrupt *saved) {
  free(saved);
}
