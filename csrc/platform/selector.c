/* The selector of platform.h: epoll where the system has it. */
#include "platform/platform.h"

#include <errno.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<sys/epoll.h>)
#include <sys/epoll.h>
#include <sys/eventfd.h>
#define HAVE_EPOLL
#endif
#endif

#ifdef HAVE_EPOLL
enum { CHUNK = 128 };

int tn_selector_open(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int tn_selector_set(tn_fd selector, enum tn_selection what, tn_fd fd, int interest,
                    uint64_t token) {
  static const int operations[] = {[TN_SELECT_ADD] = EPOLL_CTL_ADD,
                                   [TN_SELECT_CHANGE] = EPOLL_CTL_MOD,
                                   [TN_SELECT_REMOVE] = EPOLL_CTL_DEL};
  struct epoll_event event = {.events = interest & TN_LEVEL ? 0 : EPOLLET, .data.u64 = token};
  event.events |= interest & TN_READABLE ? EPOLLIN | EPOLLRDHUP : 0;
  event.events |= interest & TN_WRITABLE ? EPOLLOUT : 0;
  event.events |= interest & TN_PRIORITY ? EPOLLPRI : 0;
  return epoll_ctl(selector, operations[what], fd, &event) < 0 ? -errno : 0;
}

/* As mio reads epoll's bits. */
static int ready_of(uint32_t events) {
  if (events == EPOLLIN) { /* nearly all */
    return TN_READABLE;
  }
  bool read_closed = (events & EPOLLHUP) || ((events & EPOLLIN) && (events & EPOLLRDHUP));
  bool write_closed =
      (events & EPOLLHUP) || ((events & EPOLLOUT) && (events & EPOLLERR)) || events == EPOLLERR;
  return (events & (EPOLLIN | EPOLLPRI) ? TN_READABLE : 0) | (events & EPOLLOUT ? TN_WRITABLE : 0) |
         (events & EPOLLPRI ? TN_PRIORITY : 0) | (events & EPOLLERR ? TN_ERROR : 0) |
         (read_closed ? TN_READ_CLOSED : 0) | (write_closed ? TN_WRITE_CLOSED : 0);
}

int tn_selector_wait(tn_fd selector, struct tn_selected *selected, int capacity, int timeout_ms) {
  struct epoll_event events[CHUNK];
  int total = 0;
  int asked, count;
  do {
    asked = capacity - total < CHUNK ? capacity - total : CHUNK;
    count = epoll_wait(selector, events, asked, timeout_ms);
    if (count < 0 && errno == EINTR) { /* what its handler has done may be among the events */
      count = epoll_wait(selector, events, asked, 0);
    }
    timeout_ms = 0;
    if (count < 0) {
      return total > 0 || errno == EINTR ? total : -errno;
    }
    for (int i = 0; i < count; i++) {
      selected[total++] = (struct tn_selected){events[i].data.u64, ready_of(events[i].events)};
    }
  } while (count == asked && total < capacity);
  return total;
}

int tn_waker_open(void) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* Every write is an edge; a counter that is full is emptied first. A signal handler may be what
 * calls: errno is left as it was. */
int tn_waker_wake(tn_fd waker) {
  const int saved = errno;
  const uint64_t one = 1;
  uint64_t count;
  int status = 0;
  while (status == 0 && write(waker, &one, sizeof one) < 0) {
    if (errno == EAGAIN) {
      (void)!read(waker, &count, sizeof count);
    } else if (errno != EINTR) {
      status = -errno;
    }
  }
  errno = saved;
  return status;
}
#else
int tn_selector_open(void) {
  return -ENOTSUP;
}

int tn_selector_set(tn_fd selector, enum tn_selection what, tn_fd fd, int interest,
                    uint64_t token) {
  (void)selector, (void)what, (void)fd, (void)interest, (void)token;
  return -ENOTSUP;
}

int tn_selector_wait(tn_fd selector, struct tn_selected *selected, int capacity, int timeout_ms) {
  (void)selector, (void)selected, (void)capacity, (void)timeout_ms;
  return -ENOTSUP;
}

int tn_waker_open(void) {
  return -ENOTSUP;
}

int tn_waker_wake(tn_fd waker) {
  (void)waker;
  return -ENOTSUP;
}
#endif
