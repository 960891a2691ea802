/* What an operating system must supply, in the order in which a socket lives.
 * Every call answers 0 or more, or a negative errno as libuv has them; EINTR never gets out, no
 * call raises SIGPIPE, and a descriptor made here is non-blocking and close-on-exec from birth.
 * Knows nothing of libuv, the reactor or Lua. */
#ifndef TCPNET_PLATFORM_H
#define TCPNET_PLATFORM_H

#include "platform/constants.h"
#include "platform/tcp_info.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/un.h>

/* For what a round trip goes through: no call, wherever it stands. */
#if defined(__GNUC__)
#define TN_INLINE static inline __attribute__((always_inline))
/* And a call, always: so that what makes it now and then is small enough to be none itself. */
#define TN_APART static __attribute__((noinline))
/* Where no busy program comes by: whatever leads there is laid out of the way of what does. */
#define TN_COLD __attribute__((cold))
#else
#define TN_INLINE static inline
#define TN_APART static
#define TN_COLD
#endif

/* What the pointer's target is a member of. */
#define TN_CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* `size` bytes from `offset` of there on are about to be used: they may come into the CPU's cache
 * meanwhile. Any address will do. */
TN_INLINE void tn_prefetch(const void *base, ptrdiff_t offset, size_t size) {
#if defined(__GNUC__)
  uintptr_t first = (uintptr_t)base + (uintptr_t)offset;
#pragma GCC unroll 16
  for (size_t i = 0; i < size; i += 64) { /* lines of the usual size */
    __builtin_prefetch((const void *)(first + i));
  }
  __builtin_prefetch((const void *)(first + size - 1));
#else
  (void)base;
  (void)offset;
  (void)size;
#endif
}

/* The place of the lowest bit of a number that is not 0. */
TN_INLINE int tn_lowest_bit(uint64_t number) {
#if defined(__GNUC__)
  return __builtin_ctzll(number);
#else
  int place = 0;
  for (; !(number & 1); number >>= 1) {
    place++;
  }
  return place;
#endif
}

typedef int tn_fd;
#define TN_NO_FD (-1)

/* One piece of a scattered read or write: the system's iovec under a portable name. */
struct tn_slice {
  void *base;
  size_t length;
};

enum { TN_SLICES_MAX = 64 };

/* Conditions of a descriptor, as bits; the first three are also what one can wait for. */
enum tn_ready {
  TN_READABLE = 1,
  TN_WRITABLE = 2,
  TN_PRIORITY = 4,
  TN_READ_CLOSED = 8,
  TN_WRITE_CLOSED = 16,
  TN_ERROR = 32,
};

enum tn_direction { TN_SHUT_READ, TN_SHUT_WRITE, TN_SHUT_BOTH };

int tn_socket_open(int domain, int type, int protocol);
int tn_socket_pair(int domain, int type, int protocol, tn_fd fds[2]);
/* Another descriptor of the same socket. */
int tn_fd_clone(tn_fd fd);
/* Makes a descriptor from elsewhere non-blocking and close-on-exec. */
int tn_socket_adopt(tn_fd fd);
int tn_socket_bind(tn_fd fd, const struct sockaddr *address, socklen_t length);
/* 0 when connected; -EINPROGRESS while the handshake goes on. */
int tn_socket_connect(tn_fd fd, const struct sockaddr *address, socklen_t length);
/* After EINPROGRESS: 0 when connected, -EAGAIN while it goes on, the error that ended it. */
int tn_socket_connected(tn_fd fd);
/* Drops the connection, or the attempt to make one; the socket can connect again. */
int tn_socket_disconnect(tn_fd fd);
int tn_socket_listen(tn_fd fd, int backlog);
/* A new descriptor. Connections that died in the queue are passed over. */
int tn_socket_accept(tn_fd fd, struct sockaddr *address, socklen_t *length);

ptrdiff_t tn_socket_recv(tn_fd fd, void *bytes, size_t length);
ptrdiff_t tn_socket_peek(tn_fd fd, void *bytes, size_t length);
ptrdiff_t tn_socket_send(tn_fd fd, const void *bytes, size_t length);

/* A message: data in slices, whom it is for or from, control data. Receiving puts the lengths that
 * came into `address_length` and `control_length`, and the system's flags into `flags`; descriptors
 * that arrive are close-on-exec. */
struct tn_message {
  struct sockaddr *address;
  const struct tn_slice *slices;
  void *control;
  size_t control_length;
  socklen_t address_length;
  int count;
  int flags;
  bool plain; /* one slice, nothing but its bytes and address: the system has less to copy */
};

ptrdiff_t tn_socket_send_message(tn_fd fd, const struct tn_message *message, int flags);
ptrdiff_t tn_socket_recv_message(tn_fd fd, struct tn_message *message, int flags);
/* Sends bytes of a file, fewer where the socket takes no more or the file ends (0). */
ptrdiff_t tn_socket_send_file(tn_fd fd, int file, int64_t offset, size_t count);

/* Several messages in one call where the system can: how many went or came before a failure; the
 * failure of the first. `lengths`: of each, in bytes. */
int tn_socket_send_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths);
int tn_socket_recv_messages(tn_fd fd, struct tn_message *messages, int count, size_t *lengths);

/* Pipes: both ends of an anonymous one (the reading one first), or an end of a FIFO in the file
 * system. */
enum tn_pipe_end { TN_PIPE_READ = 1, TN_PIPE_WRITE = 2 };
int tn_pipe_open(tn_fd fds[2]);
/* `ends`: both bits open it for both. -EINVAL where the path is no FIFO, unless that is unchecked.
 */
int tn_fifo_open(const char *path, int ends, bool unchecked);
/* 0 for a pipe that is open for that end. */
int tn_pipe_check(tn_fd fd, enum tn_pipe_end end);
/* -EAGAIN, not the end, before the first writer has come. */
ptrdiff_t tn_pipe_recv(tn_fd fd, const struct tn_slice *slices, int count);
ptrdiff_t tn_pipe_send(tn_fd fd, const struct tn_slice *slices, int count);
/* A pipe for splicing, of about that size; bytes from or to one of its ends without passing through
 * this program. -ENOTSUP, -EINVAL: that cannot be done. */
int tn_splice_open(tn_fd fds[2], size_t size);
ptrdiff_t tn_splice_move(tn_fd from, tn_fd to, size_t count);
/* For a descriptor that is given to a program that does not expect another. */
int tn_fd_set_blocking(tn_fd fd);

/* 1 for the file of a socket, 0 for any other, negative where there is none. */
int tn_path_is_socket(const char *path);

/* An instruction of the classic BSD packet filter. */
struct tn_instruction {
  uint16_t code;
  uint8_t if_true, if_false;
  uint32_t k;
};

enum { TN_FILTER_MAX = 4096 };

int tn_socket_attach_filter(tn_fd fd, const struct tn_instruction *program, int count);
int tn_socket_detach_filter(tn_fd fd);

/* Who is at the other end, or sent a message. */
struct tn_credentials {
  int pid;
  unsigned uid, gid;
};

/* What the error queue tells beside an address (ip(7), sock_extended_err). */
struct tn_extended_error {
  uint32_t number;
  uint8_t origin, type, code, unused;
  uint32_t info, data;
};

/* The conditions of the moment, as bits of `enum tn_ready`. */
int tn_socket_poll(tn_fd fd, int interest);
/* The same of several in one call. */
enum { TN_POLLED_MAX = 256 };
struct tn_polled {
  tn_fd fd;
  int interest;
  int ready;
};
int tn_sockets_poll(struct tn_polled *list, int count);
/* A selector reports what has become ready since it was asked last: edges (epoll(7)), or, with
 * TN_LEVEL in the interest, what is ready. */
enum { TN_LEVEL = 256 };

struct tn_selected {
  uint64_t token;
  int ready; /* bits of `enum tn_ready`, as the system says them */
};

enum tn_selection { TN_SELECT_ADD, TN_SELECT_CHANGE, TN_SELECT_REMOVE };

int tn_selector_open(void);
/* -EEXIST: it is in there already; -ENOENT: it is not. */
int tn_selector_set(tn_fd selector, enum tn_selection what, tn_fd fd, int interest, uint64_t token);
/* How many there are; where there are none, waits so many milliseconds at most (-1: for ever). A
 * signal ends the waiting. */
int tn_selector_wait(tn_fd selector, struct tn_selected *selected, int capacity, int timeout_ms);
/* A descriptor that becomes readable when it is woken, from any thread and in a signal handler. */
int tn_waker_open(void);
int tn_waker_wake(tn_fd waker);

int tn_socket_name(tn_fd fd, struct sockaddr *address, socklen_t *length);
int tn_socket_peer(tn_fd fd, struct sockaddr *address, socklen_t *length);
/* Reads and clears the pending error: 0, or the error negative. */
int tn_socket_take_error(tn_fd fd);
int tn_socket_get_option(tn_fd fd, int level, int name, void *value, socklen_t *length);
int tn_socket_set_option(tn_fd fd, int level, int name, const void *value, socklen_t length);
int tn_socket_shutdown(tn_fd fd, enum tn_direction direction);
/* Ends the connection with an RST, whoever else holds the descriptor; the caller closes it
 * afterwards. */
int tn_socket_reset(tn_fd fd);
int tn_socket_close(tn_fd fd);

/* 0 where the system has no interface of that name. */
unsigned tn_interface_index(const char *name);
/* Of the interface that has this address. */
unsigned tn_interface_with(const struct in_addr *address);
/* The first address of that interface; false: it has none. */
bool tn_interface_address(unsigned index, struct in_addr *address);

/* Signals by name ("SIGTERM"); 0, or NULL, where there is none. */
int tn_signal_number(const char *name);
const char *tn_signal_name(int number);
/* Is it ignored by this process? And from now on, unless somebody listens still: libuv, which hears
 * of its children so, or another thread. */
bool tn_signal_ignored(int number);
void tn_signal_ignore(int number);

int tn_process_id(void);
int tn_process_kill(int pid, int number);
/* Takes a child that has ended off the system's list; false: it has not. */
bool tn_process_reap(int pid, bool wait);
/* "NAME=value" each, NULL behind the last. */
char *const *tn_environment(void);

/* Runs `work` on a thread that nobody waits for, and keeps the library in memory: it may outlive
 * the Lua state. */
int tn_thread_start(void (*work)(void *), void *argument);

/* For a thread that runs more than the library's own code, such a thread having every signal
 * blocked: those that the program does not handle are let through, so that programs started there
 * begin as they should. */
void tn_thread_admit_signals(void);
/* Opens /dev/null in place of each standard stream that the process began without, so that no other
 * descriptor gets its number: libuv aborts where one of its own has, and children would inherit it.
 * Where that fails the place stays empty. */
void tn_standard_fds_fill(void);
/* Pages of freed memory go back to the system, where the allocator keeps them (malloc_trim(3)):
 * what is left of it lies together then. */
void tn_memory_give_back(void);
/* Ends the process at once, from any thread: what stdio holds of the standard streams goes out,
 * nothing else is closed or run. */
_Noreturn void tn_process_exit(int code);

/* Out of descriptors or memory: trying again at once would only spin. */
bool tn_is_exhaustion(int status);

/* One byte that a forked child sees as 0 while the parent reads 1. NULL without memory. */
volatile unsigned char *tn_fork_mark_new(void);
void tn_fork_mark_free(volatile unsigned char *mark);

/* SIGINT as the host program handles it, kept while somebody else does. NULL: it does not. */
struct tn_interrupt;
struct tn_interrupt *tn_interrupt_save(void);
/* Is it handled now as it was then? */
bool tn_interrupt_stands(const struct tn_interrupt *saved);
/* Puts it back and frees it; false, and nothing: somebody handles SIGINT still. */
bool tn_interrupt_restore(struct tn_interrupt *saved);
void tn_interrupt_drop(struct tn_interrupt *saved);

/* Only in builds for tests: the calls and allocations above fail as a script says (faults.c). */
/* How a call fails: with an errno, or by moving the least that it can. */
enum { TN_FAULT_SHORT = -1 };

/* From the `nth` call from now on, `times` calls of that name fail so. False: there is no such
 * call. */
bool tn_fault_set(const char *call, int nth, int times, int error);
/* Meanwhile nothing fails and nothing is counted. */
void tn_fault_hold(bool hold);
/* The calls that can fail, by number, NULL behind the last; and how many were made. */
const char *tn_fault_name(int index);
int tn_fault_calls(int index);
/* Forgets all of that; how many calls were made to fail since. */
int tn_fault_clear(void);

#endif
